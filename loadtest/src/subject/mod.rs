//! The server under test as a process, and the services that it needs: started fresh, pinned to cores, measured from outside, ended with
//! their owner.

mod find;
pub mod http;
mod log;
mod nats;
mod pair;
mod pinned;
mod postgres;
mod proc;
mod site;
mod token;

use std::{
    collections::BTreeMap,
    io::{BufRead as _, BufReader},
    net::{SocketAddr, TcpListener},
    path::Path,
    process::{Child, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail, ensure};

use crate::drive::Speech;
pub use pair::Pair;
pub use pinned::{PinnedArgs, pin, run as run_pinned};
pub use site::{Beside, Site, USER};

/// How long a process may take to be ready.
const START_TIMEOUT: Duration = Duration::from_secs(20);

/// A running server. It ends when this is dropped, and when this process dies.
pub struct Subject {
    child: Child,
    /// Where it listens.
    pub address: SocketAddr,
    /// What it speaks.
    pub speech: Speech,
}

impl Subject {
    /// Starts the floor on `core`.
    pub fn floor(core: usize) -> Result<Self> {
        Self::beside(core, &["floor".to_owned()])
    }

    /// Starts the bare handler on `core`, with pages of `limit` messages with texts of `size` bytes.
    pub fn bare(core: usize, limit: u64, size: usize) -> Result<Self> {
        Self::beside(core, &["bare".to_owned(), format!("--limit={limit}"), format!("--size={size}")])
    }

    /// Starts what this program serves itself.
    fn beside(core: usize, args: &[String]) -> Result<Self> {
        let this = std::env::current_exe().context("cannot find this program's own file")?;
        // The floor ends when this pipe closes.
        let mut child = pinned::command(Some(core), &this)?.args(args).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let mut line = String::new();
        BufReader::new(child.stdout.take().context("it has a stdout")?).read_line(&mut line)?;
        let address = line.trim().parse().with_context(|| format!("`{}` did not tell its address", args[0]))?;
        Ok(Self { child, address, speech: Speech::Floor })
    }

    /// The CPU time that it has used.
    pub fn cpu(&self) -> Result<Duration> {
        proc::cpu(self.child.id())
    }

    /// Its proportional share of memory (PSS), in KiB.
    pub fn memory(&self) -> Result<u64> {
        proc::pss(self.child.id())
    }

    /// Its memory at its highest (VmHWM), in KiB.
    pub fn peak(&self) -> Result<u64> {
        proc::peak(self.child.id())
    }

    /// What its `/metrics` say, labels added up: the values by name.
    ///
    /// # Errors
    /// It does not answer.
    pub fn metrics(&self) -> Result<BTreeMap<String, f64>> {
        let answer = http::get(self.address, "/metrics", None)?;
        ensure!(answer.status == 200, "/metrics answered {}", answer.status);
        Ok(sums(&answer.body))
    }
}

impl Drop for Subject {
    /// As `kill -9` does.
    fn drop(&mut self) {
        // Both fail only if it is gone already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn sums(metrics: &str) -> BTreeMap<String, f64> {
    let mut sums = BTreeMap::new();
    for line in metrics.lines().filter(|line| !line.starts_with('#')) {
        if let Some((series, value)) = line.rsplit_once(' ')
            && let Ok(value) = value.parse::<f64>()
        {
            *sums.entry(series.split('{').next().unwrap_or(series).to_owned()).or_default() += value;
        }
    }
    sums
}

fn free_address() -> Result<SocketAddr> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?)
}

/// Waits until `ready`, or fails with the end of the log at `at`.
fn await_true(child: &mut Child, at: &Path, mut ready: impl FnMut() -> bool) -> Result<()> {
    let start = Instant::now();
    while start.elapsed() < START_TIMEOUT {
        if let Some(status) = child.try_wait()? {
            bail!("it ended with {status}; its log:\n{}", log::tail(at));
        }
        if ready() {
            return Ok(());
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    bail!("it is not ready after {} s; its log:\n{}", START_TIMEOUT.as_secs(), log::tail(at))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_of_a_metric_are_added_up() {
        let sums = sums("# TYPE a counter\na{outcome=\"ok\"} 2\na{outcome=\"lost\"} 3\n\nb 1.5\n");
        assert_eq!(sums, BTreeMap::from([("a".to_owned(), 5.0), ("b".to_owned(), 1.5)]));
    }
}
