//! What operators see: log lines on standard error, and metrics for Prometheus.
//!
//! Logging is the process's, and set up once by `main`. A [`Metrics`] belongs to one server: several in a process, as in tests, count apart. Neither
//! ever carries a user, a channel or a token as a label.

mod labels;
mod logging;
mod metrics;

pub use labels::{
    BrokerReceived, BrokerSent, Ended, Forwarded, Label, Labelled, LoginResult, LookResult, PostResult, PublishResult, ReadKind,
    RefreshResult, ReplayResult, RulingKind, SweptKind, Transport, UploadResult,
};
pub use logging::{LoggingError, init_logging};
pub use metrics::Metrics;
