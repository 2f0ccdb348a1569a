//! The server as a process: killed in the middle of real data, replayed and verified; drained by SIGTERM; two on one database.
//!
//! `replay` verifies while it runs; these tests read its record and check once more, by other code.

mod common;

use std::{
    fs,
    net::SocketAddr,
    path::Path,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use common::{SECRET, acknowledged, check_record, data, free_address, hubbub, lines, succeeded, wait_until, wait_until_ready};

/// A server that can be killed and started again on the same port and database.
struct Server {
    dir: TempDir,
    address: SocketAddr,
    child: Child,
}

impl Server {
    fn start() -> Self {
        let dir = TempDir::new().unwrap();
        let address = free_address();
        let mut child = Self::spawn(dir.path(), address);
        wait_until_ready(&mut child, address);
        Self { dir, address, child }
    }

    fn spawn(dir: &Path, address: SocketAddr) -> Child {
        let log = fs::File::options().create(true).append(true).open(dir.join("log")).unwrap();
        Self::command(dir, address).arg("serve").stderr(log).spawn().unwrap()
    }

    fn command(dir: &Path, address: SocketAddr) -> Command {
        let mut command = common::command(&hubbub());
        command
            .env("HUBBUB_HTTP__LISTEN", address.to_string())
            .env("HUBBUB_STORE__URL", format!("sqlite:{}", dir.join("hubbub.db").display()))
            .env("HUBBUB_AUTH__SECRET", SECRET)
            .env("HUBBUB_LOG__FORMAT", "json");
        command
    }

    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    /// `kill -9`, and started again at once.
    fn kill_and_restart(&mut self) {
        self.signal(Signal::KILL);
        assert!(!self.child.wait().unwrap().success());
        self.child = Self::spawn(self.dir.path(), self.address);
        wait_until_ready(&mut self.child, self.address);
    }

    fn token(&self) -> String {
        let output = Self::command(self.dir.path(), self.address).args(["token", "--user", "replay"]).output().unwrap();
        assert!(output.status.success());
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    }

    fn replay(&self, file: &Path, record: &Path, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_hubbub-loadtest"));
        command.arg("replay").arg(file).args(["--url", &format!("ws://{}", self.address), "--token", &self.token()]);
        command.arg("--record").arg(record).args(arguments);
        command
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn five_kills_lose_and_double_nothing() {
    let mut server = Server::start();
    let record = TempDir::new().unwrap();
    let arguments = ["--channel-column", "Origin State", "--limit", "10000", "--rate", "1500", "--subscribers", "4", "--dropping", "2"];
    let replay =
        server.replay(&data("birdstrikes.csv"), record.path(), &arguments).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    for kill in 1..=5 {
        wait_until("enough rows were acknowledged", || acknowledged(record.path()) >= kill * 1_500);
        server.kill_and_restart();
    }
    let output = replay.wait_with_output().unwrap();
    succeeded(&output);
    check_record(record.path(), 10_000, 4);
}

#[test]
fn every_script_arrives_as_it_was() {
    let server = Server::start();
    let record = TempDir::new().unwrap();
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("data/scripts.ndjson");
    let rows = lines(&file).len();
    let output =
        server.replay(&file, record.path(), &["--channel-column", "lang", "--subscribers", "2", "--dropping", "1"]).output().unwrap();
    succeeded(&output);
    check_record(record.path(), rows, 2);
}

#[test]
fn sigterm_ends_it_in_peace() {
    let mut server = Server::start();
    let record = TempDir::new().unwrap();
    let replay = server
        .replay(&data("stocks.csv"), record.path(), &["--channel-column", "symbol", "--rate", "300"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let published = record.path().join("published.ndjson");
    wait_until("it is under way", || fs::metadata(&published).is_ok_and(|file| file.len() > 1_000));
    server.signal(Signal::TERM);
    let begun = Instant::now();
    assert_eq!(server.child.wait().unwrap().code(), Some(0));
    assert!(begun.elapsed() < Duration::from_secs(30), "longer than the drain window");
    server.child = Server::spawn(server.dir.path(), server.address);
    let output = replay.wait_with_output().unwrap();
    succeeded(&output);
    check_record(record.path(), 560, 3);
    let log = fs::read_to_string(server.dir.path().join("log")).unwrap();
    assert!(log.contains("hubbub has stopped"), "{log}");
    assert!(!log.contains(&server.token()[..40]), "no token is in the log");
}

#[test]
fn a_second_instance_is_told_why_it_may_not_start() {
    let server = Server::start();
    let second = Server::command(server.dir.path(), "127.0.0.1:0".parse().unwrap()).arg("serve").output().unwrap();
    assert_eq!(second.status.code(), Some(1));
    let message = String::from_utf8(second.stderr).unwrap();
    assert!(message.contains(&format!("process {}", server.child.id())) && message.contains("--take-over"), "{message}");
}
