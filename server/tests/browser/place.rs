//! The server that a scenario plays on: the real binary, as a process that can be killed and started again.

use std::{
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpListener, TcpStream},
    path::Path,
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant, SystemTime},
};

use hubbub_server::auth::{Action, Claims, Grant, mint};
use tempfile::TempDir;

/// How long a test waits for a process that starts.
const PATIENCE: Duration = Duration::from_secs(20);

/// A folder with a database, and a port. The server is killed, and the folder is gone, when this is dropped.
pub struct Place {
    dir: TempDir,
    address: SocketAddr,
    server: Option<Child>,
}

impl Place {
    /// With a server that is ready.
    pub fn new() -> Self {
        let mut place = Self { dir: TempDir::new().unwrap(), address: free_address(), server: None };
        place.start();
        place
    }

    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// `hubbub serve` on the same port and file as before.
    pub fn start(&mut self) {
        assert!(self.server.is_none(), "it runs");
        let mut command = Command::new(env!("CARGO_BIN_EXE_hubbub"));
        // No setting but the test's own.
        for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("HUBBUB_")) {
            command.env_remove(name);
        }
        command.arg("serve").current_dir(self.dir()).env("HUBBUB_HTTP__LISTEN", self.address.to_string()).env("HUBBUB_LOG__FILTER", "warn");
        let mut server = command.stdin(Stdio::null()).spawn().unwrap();
        wait_until("the server is ready", || {
            assert_eq!(server.try_wait().unwrap(), None, "it has ended instead");
            let Ok(mut stream) = TcpStream::connect(self.address) else { return false };
            let _ = stream.write_all(b"GET /readyz HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n");
            let mut answer = String::new();
            let _ = stream.read_to_string(&mut answer);
            answer.starts_with("HTTP/1.1 200")
        });
        self.server = Some(server);
    }

    /// `kill -9`.
    pub fn kill(&mut self) {
        let mut server = self.server.take().expect("it runs");
        server.kill().unwrap();
        server.wait().unwrap();
    }

    /// A token for `user` that allows everything for some seconds from now.
    pub fn token(&self, user: &str, seconds: u64) -> String {
        let secret = std::fs::read(self.dir().join("hubbub.db.secret")).expect("the server has made itself a secret");
        let now = SystemTime::UNIX_EPOCH.elapsed().unwrap().as_secs();
        let everything = Grant { channels: vec!["*".to_owned()], actions: Action::ALL.to_vec() };
        let claims = Claims {
            sub: user.to_owned(),
            iat: now,
            exp: now + seconds,
            aud: Some("hubbub".to_owned()),
            iss: None,
            grants: vec![everything],
        };
        mint(&secret, &claims).unwrap()
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if self.server.is_some() {
            self.kill();
        }
    }
}

/// An address that nobody listens on.
pub fn free_address() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

pub fn wait_until(what: &str, mut condition: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !condition() {
        assert!(begun.elapsed() < PATIENCE, "never: {what}");
        thread::sleep(Duration::from_millis(10));
    }
}

/// What `.ci/services.sh` says of a tool.
pub fn tool(name: &str) -> String {
    std::env::var(name)
        .unwrap_or_else(|_| panic!("{name} is not set: `make test` gets the tools, and `.ci/services.sh COMMAND` names them"))
}
