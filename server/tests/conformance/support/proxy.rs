//! nginx and HAProxy as they are recommended: the files of `config/proxies`, with other addresses and paths.

use std::{
    net::{Ipv4Addr, SocketAddr, TcpListener},
    path::Path,
    process::{Child, Command, Stdio},
    time::Duration,
};

use tempfile::TempDir;

use super::client::{Client, Request};

const NGINX: &str = include_str!("../../../../config/proxies/nginx.conf");
const HAPROXY: &str = include_str!("../../../../config/proxies/haproxy.cfg");
/// The instances in both files.
const INSTANCES: [&str; 2] = ["127.0.0.1:8081", "127.0.0.1:8082"];

/// Which one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Proxy {
    Nginx,
    Haproxy,
}

impl Proxy {
    /// Debian's, unless the environment names another.
    fn program(self) -> String {
        let (name, usual) = match self {
            Proxy::Nginx => ("HUBBUB_TEST_NGINX", "/usr/sbin/nginx"),
            Proxy::Haproxy => ("HUBBUB_TEST_HAPROXY", "/usr/sbin/haproxy"),
        };
        let program = std::env::var(name).unwrap_or_else(|_| usual.to_owned());
        assert!(Path::new(&program).exists(), "{program} is not there: `make tools` gets it, or {name} names another");
        program
    }

    fn file(self, listen: SocketAddr, instances: &[SocketAddr], folder: &Path) -> String {
        let (text, changes) = match self {
            Proxy::Nginx => (NGINX, vec![("listen 80;", format!("listen {listen};"))]),
            Proxy::Haproxy => (HAPROXY, vec![("bind :80\n", format!("bind {listen}\n"))]),
        };
        let paths = ["/run/", "/var/log/nginx/", "/var/lib/nginx/"].map(|path| (path, format!("{}/", folder.display())));
        assert_eq!(instances.len(), INSTANCES.len());
        let instances = INSTANCES.iter().zip(instances).map(|(from, to)| (*from, to.to_string()));
        let mut text = text.to_owned();
        for (from, to) in changes.into_iter().chain(instances) {
            assert_eq!(text.matches(from).count(), 1, "{from} in {self:?}");
            text = text.replace(from, &to);
        }
        for (from, to) in paths {
            text = text.replace(from, &to);
        }
        text
    }
}

/// One that runs before two instances.
pub struct Running {
    kind: Proxy,
    process: Child,
    address: SocketAddr,
    folder: TempDir,
}

impl Running {
    /// Starts it, and waits until it finds an instance that is ready.
    pub async fn start(kind: Proxy, instances: &[SocketAddr]) -> Self {
        let folder = TempDir::new().unwrap();
        // Its workers may be another user's.
        let readable = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        std::fs::set_permissions(folder.path(), readable).unwrap();
        let address = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap();
        let file = folder.path().join("proxy.conf");
        std::fs::write(&file, kind.file(address, instances, folder.path())).unwrap();
        let log = std::fs::File::create(folder.path().join("log")).unwrap();
        let mut command = Command::new(kind.program());
        match kind {
            Proxy::Nginx => command.arg("-p").arg(folder.path()).arg("-e").arg("log").args(["-g", "daemon off;"]).arg("-c").arg(&file),
            Proxy::Haproxy => command.args(["-W", "-db", "-f"]).arg(&file),
        };
        let process = command.stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log).spawn().unwrap();
        let running = Self { kind, process, address, folder };
        running.ready().await;
        running
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Has it read its file again, as a package's `reload` does: new processes take over, the old ones keep their connections.
    pub async fn reload(&self) {
        self.signal(match self.kind {
            Proxy::Nginx => "HUP",
            Proxy::Haproxy => "USR2",
        });
        // Neither says when it is done.
        tokio::time::sleep(Duration::from_millis(700)).await;
        self.ready().await;
    }

    async fn ready(&self) {
        let mut client = Client::new(&[self.address]);
        for _ in 0..30 {
            if client.ask(&Request::get("/readyz")).await.is_ok_and(|answer| answer.status() == 200) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("{:?} is not ready: {}", self.kind, std::fs::read_to_string(self.folder.path().join("log")).unwrap());
    }

    fn signal(&self, signal: &str) {
        let sent = Command::new("kill").arg(format!("-{signal}")).arg(self.process.id().to_string()).status().unwrap();
        assert!(sent.success());
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It ends its workers, which a killed one would leave behind.
        if self.process.try_wait().is_ok_and(|ended| ended.is_none()) {
            self.signal("TERM");
            let _ = self.process.wait();
        }
    }
}
