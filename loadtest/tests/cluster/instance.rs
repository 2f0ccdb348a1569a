//! Instances as processes, and a cluster of them.

use std::{
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Child, ExitStatus},
};

use hubbub_client::Client;
use tempfile::TempDir;

use crate::{
    common::{SECRET, command, free_address, hubbub, wait_until_ready},
    nats::Nats,
    postgres::Postgres,
    proxy::Proxy,
};

/// NATS, PostgreSQL, a proxy before each, and instances.
pub struct Cluster {
    pub instances: Vec<Instance>,
    pub nats: Nats,
    pub to_nats: Proxy,
    pub postgres: Postgres,
    pub to_postgres: Proxy,
    dir: TempDir,
}

/// One process, with an address that stays the same. It ends with this.
pub struct Instance {
    pub address: SocketAddr,
    program: PathBuf,
    environment: Vec<(&'static str, String)>,
    log: PathBuf,
    child: Child,
}

impl Cluster {
    /// With `count` instances.
    pub fn start(count: usize) -> Self {
        let (nats, postgres) = (Nats::start(), Postgres::start());
        let (to_nats, to_postgres) = (Proxy::start(nats.address), Proxy::start(postgres.address));
        let mut cluster = Self { instances: Vec::new(), nats, to_nats, postgres, to_postgres, dir: TempDir::new().unwrap() };
        for _ in 0..count {
            cluster.join(&hubbub(), &[]);
        }
        cluster
    }

    /// One more instance, of this `program`.
    pub fn join(&mut self, program: &Path, arguments: &[&str]) {
        let address = free_address();
        let environment = vec![
            ("HUBBUB_HTTP__LISTEN", address.to_string()),
            ("HUBBUB_STORE__URL", format!("postgres://hubbub@{}/postgres", self.to_postgres.address)),
            ("HUBBUB_BROKER__KIND", "nats".to_owned()),
            ("HUBBUB_BROKER__URL", format!("nats://{}", self.to_nats.address)),
            ("HUBBUB_AUTH__SECRET", SECRET.to_owned()),
            ("HUBBUB_LOG__FORMAT", "json".to_owned()),
        ];
        let log = self.dir.path().join(format!("log-{}", self.instances.len()));
        let child = spawn(program, &environment, &log, arguments);
        let mut instance = Instance { address, program: program.to_owned(), environment, log, child };
        wait_until_ready(&mut instance.child, address);
        self.instances.push(instance);
    }

    /// A token for `user`, with every grant.
    pub fn token(&self, user: &str) -> String {
        let output = command(&hubbub()).env("HUBBUB_AUTH__SECRET", SECRET).args(["token", "--user", user]).output().unwrap();
        assert!(output.status.success());
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    }

    /// The SDK, for `user` at one instance.
    pub fn client(&self, instance: usize, user: &str) -> Client {
        Client::builder(self.instances[instance].url()).token(self.token(user)).connect()
    }
}

impl Instance {
    pub fn url(&self) -> String {
        format!("ws://{}", self.address)
    }

    /// `kill -9`, and started again at once.
    pub fn kill_and_restart(&mut self) {
        self.child.kill().unwrap();
        assert!(!self.child.wait().unwrap().success());
        self.child = spawn(&self.program, &self.environment, &self.log, &[]);
        wait_until_ready(&mut self.child, self.address);
    }

    /// Waits until it has ended by itself.
    pub fn ended(&mut self) -> ExitStatus {
        self.child.wait().unwrap()
    }

    /// What it has logged.
    pub fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap()
    }
}

impl Drop for Instance {
    fn drop(&mut self) {
        let _ = (self.child.kill(), self.child.wait());
        if std::thread::panicking() {
            println!("the log of {}:\n{}", self.address, self.log());
        }
    }
}

fn spawn(program: &Path, environment: &[(&'static str, String)], log: &Path, arguments: &[&str]) -> Child {
    let log = fs::File::options().create(true).append(true).open(log).unwrap();
    command(program).envs(environment.iter().map(|(key, value)| (key, value))).arg("serve").args(arguments).stderr(log).spawn().unwrap()
}
