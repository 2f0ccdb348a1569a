//! Argument values that several subcommands share.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};

/// Parses `10s`, `1m 30s`, `250ms`.
pub fn duration(text: &str) -> Result<Duration> {
    let parsed: jiff::SignedDuration = text.parse().with_context(|| format!("{text:?} is not a duration like 10s or 250ms"))?;
    Duration::try_from(parsed).with_context(|| format!("{text:?} is negative"))
}

/// The server to start: `given`, or the `hubbub` beside this program.
pub fn server_binary(given: Option<&Path>) -> Result<PathBuf> {
    let path = match given {
        Some(path) => path.to_owned(),
        None => std::env::current_exe()?.with_file_name("hubbub"),
    };
    ensure!(path.is_file(), "no server at {}; build it, or name it by --server-bin", path.display());
    Ok(path)
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
}
