//! A PostgreSQL of the load tester's own: a fresh database in `TMPDIR`, synced to disk as by default. It ends with its owner.

use std::{
    fs,
    net::SocketAddr,
    os::unix::fs::{PermissionsExt as _, chown},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use rustix::process::{Pid, Signal, geteuid, kill_process};
use tempfile::TempDir;

use super::{await_true, find, free_address, log, pinned, proc};

/// Names the folder of its programs.
const VARIABLE: &str = "HUBBUB_TEST_POSTGRES_BIN";
/// PostgreSQL does not run as root; then it is nobody's.
const NOBODY: u32 = 65_534;

/// A running server.
pub struct Postgres {
    child: Child,
    address: SocketAddr,
    _dir: TempDir,
}

impl Postgres {
    /// Starts one on `core`, if any.
    pub fn start(core: Option<usize>) -> Result<Self> {
        let (bin, dir, address) = (programs()?, folder()?, free_address()?);
        let (data, at) = (dir.path().join("data"), dir.path().join("log"));
        let made = as_nobody(&bin.join("initdb"), |program| Ok(Command::new(program)))?
            .arg("-D")
            .arg(&data)
            .args(["-U", "hubbub", "-A", "trust", "-E", "UTF8", "--locale=C.UTF-8", "--no-sync"])
            .current_dir("/")
            .output()?;
        ensure!(made.status.success(), "initdb failed: {}", String::from_utf8_lossy(&made.stderr));
        let child = as_nobody(&bin.join("postgres"), |program| pinned::command(core, program))?
            .arg("-D")
            .arg(&data)
            .args(["-c", "listen_addresses=127.0.0.1", "-c", &format!("port={}", address.port())])
            .args(["-c", "unix_socket_directories=", "-c", "max_connections=200"])
            .current_dir("/")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log::create(&at)?)
            .spawn()?;
        let mut postgres = Self { child, address, _dir: dir };
        let port = address.port().to_string();
        let ready = || {
            let asked = Command::new(bin.join("pg_isready")).args(["-q", "-h", "127.0.0.1", "-p", &port]).status();
            asked.is_ok_and(|status| status.success())
        };
        await_true(&mut postgres.child, &at, ready).context("PostgreSQL did not start")?;
        Ok(postgres)
    }

    /// Where instances find it.
    pub fn url(&self) -> String {
        format!("postgres://hubbub@{}/postgres", self.address)
    }

    /// The CPU time that its processes have used.
    pub fn cpu(&self) -> Result<Duration> {
        proc::cpu_of_family(self.child.id())
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        // SIGQUIT ends it at once; both fail only if it is gone already.
        let _ = kill_process(Pid::from_child(&self.child), Signal::QUIT);
        let _ = self.child.wait();
    }
}

/// `program`, not as root, started as `command` says. It still dies with its parent.
fn as_nobody(program: &Path, command: impl Fn(&Path) -> Result<Command>) -> Result<Command> {
    if !geteuid().is_root() {
        return command(program);
    }
    let mut command = command(Path::new("setpriv"))?;
    command.args(["--pdeathsig=keep", "--clear-groups", &format!("--reuid={NOBODY}"), &format!("--regid={NOBODY}")]).arg(program);
    Ok(command)
}

/// A folder in which the server's user can make another.
fn folder() -> Result<TempDir> {
    let dir = tempfile::tempdir()?;
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o700))?;
    if geteuid().is_root() {
        chown(dir.path(), Some(NOBODY), Some(NOBODY))?;
    }
    Ok(dir)
}

fn programs() -> Result<PathBuf> {
    let given = std::env::var_os(VARIABLE).map(PathBuf::from);
    given.or_else(|| find::in_path(&["initdb", "postgres", "pg_isready"])).with_context(|| {
        format!(
            "this needs PostgreSQL, 14 or newer: install it so that initdb, postgres and pg_isready are in one folder of PATH, or name their folder \
             by {VARIABLE} (Debian: apt-get install postgresql, /usr/lib/postgresql/15/bin)"
        )
    })
}
