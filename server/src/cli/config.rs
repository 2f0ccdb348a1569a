//! `hubbub config`.

use clap::Subcommand;

use super::Settings;
use crate::config::DEFAULTS;

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Read every layer and name every mistake
    Check,
    /// Print the documented defaults
    Defaults,
}

impl Command {
    pub(super) fn run(self, settings: &Settings) -> anyhow::Result<()> {
        match self {
            Command::Check => {
                let config = settings.load()?;
                println!("the configuration is valid; it listens on {}", config.http.listen);
            }
            Command::Defaults => print!("{DEFAULTS}"),
        }
        Ok(())
    }
}
