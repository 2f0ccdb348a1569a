//! A PostgreSQL of the test's own, that syncs to disk: stopped, started, backed up, restored, promoted.

use std::{
    fs,
    io::Write as _,
    net::SocketAddr,
    os::unix::fs::{PermissionsExt as _, chown},
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use rustix::process::geteuid;
use tempfile::TempDir;

use crate::common::{free_address, wait_until};

/// PostgreSQL does not run as root; then everything here is nobody's.
const NOBODY: u32 = 65_534;

/// How it is stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stop {
    /// Sessions are ended, what is under way is rolled back, everything is written.
    Fast,
    /// As if the machine had lost power.
    Immediate,
}

/// One server: a folder and an address that stay the same.
pub struct Postgres {
    pub address: SocketAddr,
    dir: TempDir,
}

/// A copy of a running server's files, from which it can start again as it was then.
pub struct Backup {
    dir: TempDir,
}

/// What `.ci/services.sh` says of a service.
pub fn service(name: &str) -> String {
    std::env::var(name)
        .unwrap_or_else(|_| panic!("{name} is not set: `make test` starts the services, and so does `.ci/services.sh COMMAND`"))
}

impl Postgres {
    pub fn start() -> Self {
        let postgres = Self { address: free_address(), dir: folder() };
        let data = postgres.data();
        run(&[&bin("initdb"), "-D", path(&data), "-U", "hubbub", "-A", "trust", "-E", "UTF8", "--locale=C.UTF-8", "--no-sync"]);
        postgres.configure();
        postgres.start_again();
        postgres
    }

    /// A server that follows this one, and without which this one acknowledges no commit.
    pub fn synchronous_standby(&self) -> Self {
        let standby = Self { address: free_address(), dir: folder() };
        self.copy_to(&standby.data(), &["--write-recovery-conf"]);
        standby.configure();
        standby.start_again();
        self.sql("ALTER SYSTEM SET synchronous_standby_names = '*'");
        self.sql("SELECT pg_reload_conf()");
        wait_until("the standby is synchronous", || self.sql("SELECT sync_state FROM pg_stat_replication") == "sync");
        standby
    }

    /// This standby becomes a server of its own.
    pub fn promote(&self) {
        self.control(&["promote", "-w"]);
    }

    pub fn stop(&self, how: Stop) {
        let mode = if how == Stop::Fast { "fast" } else { "immediate" };
        self.control(&["stop", "-m", mode]);
    }

    pub fn start_again(&self) {
        let log = self.dir.path().join("data/log");
        self.control(&["start", "-w", "-l", path(&log)]);
    }

    /// A copy of its files as they are now.
    pub fn back_up(&self) -> Backup {
        let backup = Backup { dir: folder() };
        self.copy_to(&backup.dir.path().join("data"), &[]);
        backup
    }

    /// Puts a copy in the place of its files. It must have been stopped.
    pub fn restore(&self, backup: &Backup) {
        fs::remove_dir_all(self.data()).unwrap();
        run(&["cp", "-a", path(&backup.dir.path().join("data")), path(&self.data())]);
    }

    /// The first column of the first row.
    pub fn sql(&self, statement: &str) -> String {
        let port = self.address.port().to_string();
        run(&[&bin("psql"), "-h", "127.0.0.1", "-p", &port, "-U", "hubbub", "-d", "postgres", "-XAtqc", statement])
    }

    fn configure(&self) {
        let mut file = fs::File::options().append(true).open(self.data().join("postgresql.conf")).unwrap();
        let port = self.address.port();
        writeln!(file, "listen_addresses = '127.0.0.1'\nport = {port}\nunix_socket_directories = ''\nmax_connections = 200").unwrap();
    }

    fn copy_to(&self, to: &Path, arguments: &[&str]) {
        let port = self.address.port().to_string();
        let mut command = vec![bin("pg_basebackup")];
        command.extend(["-h", "127.0.0.1", "-p", &port, "-U", "hubbub", "-D", path(to), "-c", "fast", "--no-sync"].map(str::to_owned));
        command.extend(arguments.iter().map(|argument| (*argument).to_owned()));
        run(&command.iter().map(String::as_str).collect::<Vec<_>>());
    }

    fn control(&self, arguments: &[&str]) {
        let data = self.data();
        let mut command = vec![bin("pg_ctl"), "-s".to_owned(), "-D".to_owned(), path(&data).to_owned()];
        command.extend(arguments.iter().map(|argument| (*argument).to_owned()));
        run(&command.iter().map(String::as_str).collect::<Vec<_>>());
    }

    fn data(&self) -> PathBuf {
        self.dir.path().join("data")
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        if self.data().join("postmaster.pid").exists() {
            let _ = as_user(&[&bin("pg_ctl"), "-s", "-D", path(&self.data()), "stop", "-m", "immediate"]).status();
        }
    }
}

/// A folder in which the server's user can make another.
fn folder() -> TempDir {
    let dir = TempDir::new().unwrap();
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o700)).unwrap();
    if geteuid().is_root() {
        chown(dir.path(), Some(NOBODY), Some(NOBODY)).unwrap();
    }
    dir
}

fn bin(program: &str) -> String {
    format!("{}/{program}", service("HUBBUB_TEST_POSTGRES_BIN"))
}

fn path(path: &Path) -> &str {
    path.to_str().expect("a path of this test is text")
}

fn as_user(command: &[&str]) -> Command {
    let mut full = match geteuid().is_root() {
        true => ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"].to_vec(),
        false => Vec::new(),
    };
    full.extend(command);
    let mut command = Command::new(full[0]);
    command.args(&full[1..]).current_dir("/").stdin(Stdio::null());
    command
}

/// Its output, to a file: a server that it started keeps a pipe open.
fn run(command: &[&str]) -> String {
    let output = tempfile::NamedTempFile::new().unwrap();
    let (stdout, stderr) = (output.reopen().unwrap(), output.as_file().try_clone().unwrap());
    let status = as_user(command).stdout(stdout).stderr(stderr).status().unwrap();
    let said = fs::read_to_string(output.path()).unwrap();
    assert!(status.success(), "{command:?}: {said}");
    said.trim().to_owned()
}
