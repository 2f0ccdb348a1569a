//! What stands between the browser and the server.

use std::{
    fs,
    net::{SocketAddr, TcpStream},
    process::{Child, Command, Stdio},
};

use crate::place::{Place, free_address, tool, wait_until};

/// A way to the server.
#[derive(Debug, Clone, Copy)]
pub enum Door {
    /// The server itself.
    Open,
    /// An nginx that was told nothing of WebSockets, and passes no upgrade on.
    NoUpgrade,
    /// One that keeps what it gets until it has a bufferful, too, whatever the server asks for.
    Hoarding,
    /// One that refuses event streams with a 502.
    NoEvents,
}

/// The address to go to. What was started for it ends with this.
pub struct Way {
    pub address: SocketAddr,
    proxy: Option<Child>,
}

impl Door {
    /// Starts what it takes to come to this place.
    pub fn open(self, place: &Place) -> Way {
        let to = place.address();
        let events = match self {
            Self::Open => return Way { address: to, proxy: None },
            Self::NoUpgrade => "",
            Self::Hoarding => "proxy_buffering on; proxy_buffers 8 64k; proxy_buffer_size 64k; proxy_ignore_headers X-Accel-Buffering;",
            Self::NoEvents => "location /v1/sse { return 502; }",
        };
        let address = free_address();
        let folder = place.dir().join("nginx");
        fs::create_dir(&folder).unwrap();
        fs::write(folder.join("nginx.conf"), configuration(address, to, events)).unwrap();
        let mut proxy = Command::new(tool("HUBBUB_TEST_NGINX"))
            .arg("-p")
            .arg(&folder)
            .args(["-c", "nginx.conf", "-e", "stderr"])
            .current_dir(&folder)
            .stdin(Stdio::null())
            .spawn()
            .unwrap();
        wait_until("nginx listens", || {
            assert_eq!(proxy.try_wait().unwrap(), None, "it has ended instead");
            TcpStream::connect(address).is_ok()
        });
        Way { address, proxy: Some(proxy) }
    }
}

impl Drop for Way {
    fn drop(&mut self) {
        if let Some(proxy) = &mut self.proxy {
            let _ = proxy.kill();
            let _ = proxy.wait();
        }
    }
}

/// One process, and all its files in its own folder. It passes the `Host` on, which tells the server its own origin.
fn configuration(listen: SocketAddr, to: SocketAddr, events: &str) -> String {
    let paths: String =
        ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"].iter().map(|name| format!("    {name}_temp_path {name};\n")).collect();
    format!(
        "daemon off;
master_process off;
pid nginx.pid;
error_log stderr crit;
events {{}}
http {{
    access_log off;
{paths}    server {{
        listen {listen};
        proxy_set_header Host $http_host;
        {events}
        location / {{ proxy_pass http://{to}; }}
    }}
}}
"
    )
}
