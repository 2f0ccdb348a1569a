//! What the publishers and subscribers of a run share: the ledger, the violations, the counts.

use std::{
    collections::HashMap,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

use hubbub_client::Stats;
use hubbub_protocol::ChannelName;

use super::verify::{ChannelIndex, Ledger, Violation, Violations};

/// The channels of a run, in the order in which its rows name them first.
#[derive(Debug, Default)]
pub struct Channels {
    names: Vec<ChannelName>,
    index: HashMap<ChannelName, ChannelIndex>,
}

impl Channels {
    /// Adds `name`, unless it is there.
    pub fn add(&mut self, name: ChannelName) {
        if !self.index.contains_key(&name) {
            self.index.insert(name.clone(), self.names.len() as ChannelIndex);
            self.names.push(name);
        }
    }

    /// The number of `name`.
    pub fn index(&self, name: &ChannelName) -> Option<ChannelIndex> {
        self.index.get(name).copied()
    }

    /// The names, by number.
    pub fn names(&self) -> &[ChannelName] {
        &self.names
    }
}

/// Shared by all tasks of a run. Its locks are short and never held across an await.
#[derive(Debug)]
pub struct Court {
    /// Tells this run's rows from others'.
    pub run: String,
    /// Where rows go.
    pub channels: Channels,
    /// Entries that subscribers have received.
    pub deliveries: AtomicU64,
    /// Times that a subscriber has dropped its connections.
    pub drops: AtomicU64,
    /// Subscriptions that went on from a cursor, whole.
    pub resumes: AtomicU64,
    ledger: Mutex<Ledger>,
    violations: Mutex<Violations>,
    /// What the SDK's clients have counted.
    stats: Mutex<Stats>,
}

impl Court {
    /// Nothing has happened yet.
    pub fn new(run: String, channels: Channels, publishers: u32) -> Self {
        let ledger = Mutex::new(Ledger::new(channels.names.len(), publishers));
        Self {
            run,
            channels,
            deliveries: AtomicU64::new(0),
            drops: AtomicU64::new(0),
            resumes: AtomicU64::new(0),
            ledger,
            violations: Mutex::default(),
            stats: Mutex::default(),
        }
    }

    /// What was published.
    pub fn ledger(&self) -> MutexGuard<'_, Ledger> {
        lock(&self.ledger)
    }

    /// What was found so far.
    pub fn violations(&self) -> MutexGuard<'_, Violations> {
        lock(&self.violations)
    }

    /// Notes what `witness` (a name for people) has found.
    pub fn note(&self, witness: &str, found: impl IntoIterator<Item = Violation>) {
        let mut found = found.into_iter().peekable();
        if found.peek().is_some() {
            self.violations().note(witness, found);
        }
    }

    /// Adds what a client of `witness` has counted in its life. What it repaired was a fault of the server all the same.
    pub fn add_stats(&self, witness: &str, stats: Stats) {
        let times = |count: u64, violation: Violation| std::iter::repeat_n(violation, count as usize);
        self.note(witness, times(stats.gaps, Violation::RepairedGap).chain(times(stats.duplicates, Violation::DroppedDuplicate)));
        let mut sum = lock(&self.stats);
        sum.reconnects += stats.reconnects;
        sum.publishes_retried += stats.publishes_retried;
        sum.pauses += stats.pauses;
    }

    /// What all clients that have ended have counted.
    pub fn stats(&self) -> Stats {
        *lock(&self.stats)
    }

    /// Deliveries so far.
    pub fn delivered(&self) -> u64 {
        self.deliveries.load(Relaxed)
    }
}

/// A panic elsewhere ends the run anyway; until then the counts are as good as they were.
pub fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
