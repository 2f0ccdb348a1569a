//! The server under test as a process: started fresh, pinned to a core, measured from outside, ended with its owner.

mod pinned;
mod proc;
mod token;

use std::{
    fs::File,
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{SocketAddr, TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail, ensure};
use tempfile::TempDir;

use crate::drive::{Durability, Speech};
pub use pinned::{PinnedArgs, pin, run as run_pinned};

/// How long a server may take to be ready.
const START_TIMEOUT: Duration = Duration::from_secs(20);
/// Bytes of the server's log that are shown when it does not start.
const LOG_TAIL: usize = 4_000;

/// A running server. It ends when this is dropped, and when this process dies.
pub struct Subject {
    child: Child,
    /// Where it listens.
    pub address: SocketAddr,
    /// What it speaks.
    pub speech: Speech,
    /// The database and the log; removed with the server.
    _home: Option<TempDir>,
}

impl Subject {
    /// Starts the floor on `core`.
    pub fn floor(core: usize) -> Result<Self> {
        let this = std::env::current_exe().context("cannot find this program's own file")?;
        // It ends when this pipe closes.
        let mut child = pinned::command(core, &this)?.arg("floor").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let mut line = String::new();
        BufReader::new(child.stdout.take().context("the floor has a stdout")?).read_line(&mut line)?;
        let address = line.trim().parse().context("the floor did not tell its address")?;
        Ok(Self { child, address, speech: Speech::Floor, _home: None })
    }

    /// Starts `binary serve` on `core`, with a fresh SQLite database and a secret of its own. Other settings come from
    /// the environment.
    pub fn hubbub(binary: &Path, core: usize, durability: Durability) -> Result<Self> {
        let binary = binary.canonicalize().with_context(|| format!("no server at {}; name it by --server-bin", binary.display()))?;
        let home = tempfile::tempdir()?;
        let log = home.path().join("log");
        let address = free_address()?;
        let secret = token::secret();
        let mut child = serve(core, &binary, home.path(), address, &secret)?
            .stdin(Stdio::null())
            .stdout(File::create(&log)?)
            .stderr(File::options().append(true).open(&log)?)
            .spawn()?;
        if let Err(error) = await_ready(&mut child, address) {
            let _ = child.kill();
            let _ = child.wait();
            return Err(error.context(format!("{} did not start; its log:\n{}", binary.display(), tail(&log))));
        }
        let speech = Speech::Hubbub { token: token::mint(&secret)?, durability };
        Ok(Self { child, address, speech, _home: Some(home) })
    }

    /// The CPU time that it has used.
    pub fn cpu(&self) -> Result<Duration> {
        proc::cpu(self.child.id())
    }

    /// Its proportional share of memory (PSS), in KiB.
    pub fn memory(&self) -> Result<u64> {
        proc::pss(self.child.id())
    }
}

impl Drop for Subject {
    fn drop(&mut self) {
        // Both fail only if it is gone already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn serve(core: usize, binary: &Path, home: &Path, address: SocketAddr, secret: &str) -> Result<Command> {
    let mut command = pinned::command(core, binary)?;
    command
        .arg("serve")
        .env("HUBBUB_HTTP__LISTEN", address.to_string())
        .env("HUBBUB_STORE__URL", format!("sqlite:{}", home.join("hubbub.db").display()))
        .env("HUBBUB_AUTH__SECRET", secret);
    Ok(command)
}

fn free_address() -> Result<SocketAddr> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?)
}

fn await_ready(child: &mut Child, address: SocketAddr) -> Result<()> {
    let start = Instant::now();
    while start.elapsed() < START_TIMEOUT {
        if let Some(status) = child.try_wait()? {
            bail!("it ended with {status}");
        }
        if ready(address).unwrap_or(false) {
            return Ok(());
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    bail!("it is not ready at http://{address}/readyz after {} s", START_TIMEOUT.as_secs())
}

fn ready(address: SocketAddr) -> Result<bool> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(Duration::from_secs(1)))?;
    stream.write_all(b"GET /readyz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")?;
    let mut head = [0; 12];
    stream.read_exact(&mut head)?;
    ensure!(head.starts_with(b"HTTP/1.1 "), "not HTTP");
    Ok(&head[9..] == b"200")
}

fn tail(log: &PathBuf) -> String {
    let bytes = std::fs::read(log).unwrap_or_default();
    String::from_utf8_lossy(&bytes[bytes.len().saturating_sub(LOG_TAIL)..]).into_owned()
}
