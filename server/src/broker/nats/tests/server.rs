//! NATS servers: the shared one, and private processes.

use std::{
    env, fs,
    io::{Read, Write},
    net::TcpStream,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use tempfile::TempDir;

/// The address of the server that tests share.
pub(super) fn shared() -> String {
    variable("HUBBUB_TEST_NATS")
}

fn variable(name: &str) -> String {
    env::var(name).unwrap_or_else(|_| panic!("set {name}, or run `make test`, which starts one"))
}

/// A server of a test's own, ended with it.
pub(super) struct Server {
    dir: TempDir,
    args: Vec<String>,
    process: Child,
    pub(super) port: u16,
    monitor: u16,
}

impl Server {
    /// On a free port, with `args` besides.
    pub(super) fn start(args: &[&str]) -> Self {
        let dir = TempDir::new().unwrap();
        let args: Vec<_> = args.iter().map(|&arg| arg.to_owned()).collect();
        let process = spawn(&dir, &args, -1);
        let mut server = Self { dir, args, process, port: 0, monitor: 0 };
        [server.port, server.monitor] = server.ports();
        server
    }

    pub(super) fn url(&self) -> String {
        format!("nats://127.0.0.1:{}", self.port)
    }

    /// Kills it.
    pub(super) fn stop(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }

    /// Starts it again on its port.
    pub(super) fn restart(&mut self) {
        self.process = spawn(&self.dir, &self.args, self.port.into());
        [self.port, self.monitor] = self.ports();
    }

    /// Lets it stand still, its connections open.
    pub(super) fn pause(&self) {
        self.signal("STOP");
    }

    /// Lets it go on.
    pub(super) fn resume(&self) {
        self.signal("CONT");
    }

    fn signal(&self, signal: &str) {
        let done = Command::new("kill").args(["-s", signal, &self.process.id().to_string()]).status().unwrap();
        assert!(done.success());
    }

    /// The subjects subscribed, as the server tells.
    pub(super) fn subjects(&self) -> Vec<String> {
        let json = self.ask("/subsz?subs=1&limit=10000");
        let subscriptions = json["subscriptions_list"].as_array().cloned().unwrap_or_default();
        subscriptions.iter().map(|subscription| subscription["subject"].as_str().unwrap().to_owned()).collect()
    }

    /// Messages that clients have sent it.
    pub(super) fn messages(&self) -> u64 {
        self.ask("/varz")["in_msgs"].as_u64().unwrap()
    }

    /// The port for other servers of its cluster.
    pub(super) fn route(&self) -> u16 {
        self.ask("/varz")["cluster"]["cluster_port"].as_u64().unwrap().try_into().unwrap()
    }

    /// Its connections to other servers of its cluster.
    pub(super) fn routes(&self) -> u64 {
        self.ask("/routez")["num_routes"].as_u64().unwrap()
    }

    fn ask(&self, path: &str) -> serde_json::Value {
        let mut stream = TcpStream::connect(("127.0.0.1", self.monitor)).unwrap();
        write!(stream, "GET {path} HTTP/1.0\r\n\r\n").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        serde_json::from_str(answer.split_once("\r\n\r\n").unwrap().1).unwrap()
    }

    /// For clients and for monitoring, from the file that the server writes when it is ready.
    fn ports(&self) -> [u16; 2] {
        let file = self.dir.path().join(format!("nats-server_{}.ports", self.process.id()));
        let until = Instant::now() + Duration::from_secs(10);
        loop {
            let json: Option<serde_json::Value> = fs::read(&file).ok().and_then(|bytes| serde_json::from_slice(&bytes).ok());
            if let Some(json) = json {
                return ["nats", "monitoring"].map(|name| {
                    let address = json[name][0].as_str().unwrap();
                    address.rsplit(':').next().unwrap().parse().unwrap()
                });
            }
            assert!(Instant::now() < until, "the NATS server did not start");
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn spawn(dir: &TempDir, args: &[String], port: i32) -> Child {
    Command::new(variable("HUBBUB_TEST_NATS_SERVER"))
        .args(["-a", "127.0.0.1", "-m", "-1", "-p", &port.to_string(), "--ports_file_dir"])
        .arg(dir.path())
        .args(args)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("HUBBUB_TEST_NATS_SERVER is the absolute path of nats-server")
}
