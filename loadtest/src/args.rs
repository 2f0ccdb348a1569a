//! Argument values that several subcommands share.

use std::{path::PathBuf, time::Duration};

use anyhow::{Context as _, Result, ensure};
use clap::Args;

/// Parses `10s`, `1m 30s`, `250ms`.
pub fn duration(text: &str) -> Result<Duration> {
    let parsed: jiff::SignedDuration = text.parse().with_context(|| format!("{text:?} is not a duration like 10s or 250ms"))?;
    Duration::try_from(parsed).with_context(|| format!("{text:?} is negative"))
}

/// Parses `512B`, `64KiB`, `256MiB`, `1GiB`.
pub fn size(text: &str) -> Result<u64> {
    let units = [("GiB", 30), ("MiB", 20), ("KiB", 10), ("B", 0)];
    let parsed = units.iter().find_map(|(unit, shift)| Some(text.strip_suffix(unit)?.parse::<u64>().ok()?.checked_mul(1 << shift)));
    parsed.flatten().with_context(|| format!("{text:?} is not a size like 64KiB or 1GiB"))
}

/// The server to start.
#[derive(Debug, Args)]
pub struct Server {
    /// The server. Without it: the `hubbub` beside this program.
    #[arg(long)]
    server_bin: Option<PathBuf>,
}

/// What is measured, and where it runs.
#[derive(Debug, Args)]
pub struct Bench {
    /// The server.
    #[command(flatten)]
    pub server: Server,
    /// The server's core.
    #[arg(long, default_value_t = 0)]
    pub server_core: usize,
    /// This program's core, and that of NATS and PostgreSQL.
    #[arg(long, default_value_t = 1)]
    pub generator_core: usize,
}

impl Server {
    /// The one given, or the `hubbub` beside this program.
    ///
    /// # Errors
    /// There is none.
    pub fn binary(&self) -> Result<PathBuf> {
        let path = match &self.server_bin {
            Some(path) => path.clone(),
            None => std::env::current_exe()?.with_file_name("hubbub"),
        };
        ensure!(path.is_file(), "no server at {}; build it, or name it by --server-bin", path.display());
        Ok(path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_a_unit() {
        assert_eq!(duration("10s").unwrap(), Duration::from_secs(10));
        assert_eq!(duration("250ms").unwrap(), Duration::from_millis(250));
        assert!(duration("10").is_err());
        assert!(duration("-1s").is_err());
    }

    #[test]
    fn sizes_have_a_unit() {
        assert_eq!(size("1GiB").unwrap(), 1 << 30);
        assert_eq!(size("7B").unwrap(), 7);
        assert!(size("7").is_err() && size("1.5MiB").is_err() && size("99999999999GiB").is_err());
    }
}
