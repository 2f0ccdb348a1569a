//! What is known of the completeness of feeds: which looks at the store's heads began when, and since when something may be missing.

use std::sync::atomic::{AtomicU64, Ordering::SeqCst};

/// Counts looks, and remembers when something may have been lost between instances. One an instance, shared.
///
/// A feed is *verified* when a look has passed that began after the feed began to listen, and after the last doubt: then nothing that was
/// committed before that look is missing without the feed knowing.
#[derive(Debug, Default)]
pub struct Looks {
    begun: AtomicU64,
    doubted: AtomicU64,
    epoch: AtomicU64,
}

impl Looks {
    /// A look begins: its number, from 1.
    pub fn begin(&self) -> u64 {
        self.begun.fetch_add(1, SeqCst) + 1
    }

    /// The number of the last look that began.
    pub fn begun(&self) -> u64 {
        self.begun.load(SeqCst)
    }

    /// Something may have been lost until now.
    pub fn doubt(&self) {
        self.doubted.fetch_max(self.begun(), SeqCst);
    }

    /// Looks up to this one began before the last doubt.
    pub fn doubted(&self) -> u64 {
        self.doubted.load(SeqCst)
    }

    /// The epoch that entries get now, as far as is known.
    pub fn epoch(&self) -> u64 {
        self.epoch.load(SeqCst)
    }

    /// Entries get this epoch now.
    pub fn know(&self, epoch: u64) {
        self.epoch.fetch_max(epoch, SeqCst);
    }
}
