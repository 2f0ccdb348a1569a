//! How a client is: its state, and what it has counted.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use hubbub_protocol::frame::Connected;

use crate::Error;

/// Where a client is in its life. Watch it by [`crate::Client::state`].
#[derive(Debug, Clone)]
pub enum State {
    /// A connection is being made.
    Connecting {
        /// 0 for the first; how many in a row have failed.
        attempt: u32,
    },
    /// Connected: what the server said to `connect`.
    Connected(Arc<Connected>),
    /// The connection was lost, or could not be made; the next attempt follows.
    Waiting {
        /// The number of that attempt.
        attempt: u32,
        /// How long after this state began.
        delay: Duration,
        /// What happened.
        reason: Arc<Error>,
    },
    /// The last state. [`Error::Closed`] if the client was closed or dropped, else why it cannot go on.
    Closed(Arc<Error>),
}

/// What a client has counted since it was built.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Stats {
    /// Connections made after the first.
    pub reconnects: u64,
    /// Publishes that were sent again.
    pub publishes_retried: u64,
    /// Subscriptions that went on from their cursor, whole.
    pub resumes: u64,
    /// Gaps found in a durable channel's seqs; each was repaired by a resume.
    pub gaps: u64,
    /// Entries of a durable channel that came again and were dropped.
    pub duplicates: u64,
    /// Times that a durable subscription was paused because its buffer was full.
    pub pauses: u64,
    /// Entries of ephemeral channels dropped because a buffer was full; each is in an [`crate::Event::Skip`].
    pub dropped: u64,
}

/// The same, while it is being counted.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub reconnects: AtomicU64,
    pub publishes_retried: AtomicU64,
    pub resumes: AtomicU64,
    pub gaps: AtomicU64,
    pub duplicates: AtomicU64,
    pub pauses: AtomicU64,
    pub dropped: AtomicU64,
}

impl Counters {
    pub fn read(&self) -> Stats {
        Stats {
            reconnects: self.reconnects.load(Relaxed),
            publishes_retried: self.publishes_retried.load(Relaxed),
            resumes: self.resumes.load(Relaxed),
            gaps: self.gaps.load(Relaxed),
            duplicates: self.duplicates.load(Relaxed),
            pauses: self.pauses.load(Relaxed),
            dropped: self.dropped.load(Relaxed),
        }
    }
}

/// Adds `count` to a counter.
pub(crate) fn count(counter: &AtomicU64, count: u64) {
    counter.fetch_add(count, Relaxed);
}
