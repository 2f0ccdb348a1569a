//! A NATS server of the load tester's own. It ends with its owner.

use std::{
    net::{SocketAddr, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Stdio},
    time::Duration,
};

use anyhow::{Context as _, Result};

use super::{await_true, find, free_address, log, pinned, proc};

/// Names the program.
const VARIABLE: &str = "HUBBUB_TEST_NATS_SERVER";

/// A running server.
pub struct Nats {
    child: Child,
    address: SocketAddr,
}

impl Nats {
    /// Starts one on `core`, if any, which logs into `home`.
    pub fn start(core: Option<usize>, home: &Path) -> Result<Self> {
        let (address, at) = (free_address()?, home.join("nats.log"));
        let child = pinned::command(core, &program()?)?
            .args(["--addr", &address.ip().to_string(), "--port", &address.port().to_string()])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log::create(&at)?)
            .spawn()?;
        let mut nats = Self { child, address };
        await_true(&mut nats.child, &at, || TcpStream::connect(address).is_ok()).context("NATS did not start")?;
        Ok(nats)
    }

    /// Where instances find it.
    pub fn url(&self) -> String {
        format!("nats://{}", self.address)
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

impl Drop for Nats {
    fn drop(&mut self) {
        // Both fail only if it is gone already.
        let _ = (self.child.kill(), self.child.wait());
    }
}

fn program() -> Result<PathBuf> {
    let given = std::env::var_os(VARIABLE).map(PathBuf::from);
    given.or_else(|| find::in_path(&["nats-server"]).map(|folder| folder.join("nats-server"))).with_context(|| {
        format!("this needs a NATS server, 2.11 or newer: install `nats-server` in PATH, or name it by {VARIABLE} (`make tools` fetches one into target/tools)")
    })
}
