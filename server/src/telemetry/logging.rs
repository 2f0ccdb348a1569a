//! Log lines, to standard error: standard output is for what a command prints.

use std::io::{self, IsTerminal};

use thiserror::Error;
use tracing_subscriber::{EnvFilter, filter::ParseError, util::SubscriberInitExt};

use crate::config::{LogConfig, LogFormat};

/// Why logging could not be set up.
#[derive(Debug, Error)]
pub enum LoggingError {
    /// The filter has a directive that is none. A loaded configuration has been checked for this.
    #[error("log.filter is not understood: {0}")]
    Filter(#[from] ParseError),
    /// The process logs already.
    #[error("logging was set up before: do it once, in main ({0})")]
    Installed(#[from] tracing_subscriber::util::TryInitError),
}

/// Sets up logging for the whole process. Colours only where standard error is a terminal.
///
/// # Errors
/// The filter is not understood, or it was done before.
pub fn init_logging(config: &LogConfig) -> Result<(), LoggingError> {
    let mut filter = EnvFilter::builder().parse(&config.filter)?;
    if !config.filter.contains("async_nats") {
        // Each event of its own, however many come: the broker says what there is to say, once.
        filter = filter.add_directive("async_nats=off".parse()?);
    }
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(io::stderr);
    match config.format {
        LogFormat::Pretty => builder.with_ansi(io::stderr().is_terminal()).finish().try_init()?,
        LogFormat::Json => builder.json().flatten_event(true).finish().try_init()?,
    }
    Ok(())
}
