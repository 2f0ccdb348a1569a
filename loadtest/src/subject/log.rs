//! Where a process under test writes what it has to say.

use std::{fs::File, path::Path};

use anyhow::{Context as _, Result};

/// Bytes of a log that are shown when its process does not start.
const TAIL: usize = 4_000;

/// An empty log at `path`, to be appended to.
pub fn create(path: &Path) -> Result<File> {
    File::create(path).and_then(|_| File::options().append(true).open(path)).with_context(|| format!("cannot write {}", path.display()))
}

/// The end of the log at `path`.
pub fn tail(path: &Path) -> String {
    let bytes = std::fs::read(path).unwrap_or_default();
    String::from_utf8_lossy(&bytes[bytes.len().saturating_sub(TAIL)..]).into_owned()
}
