//! One connection's interest in one channel.

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicU64, Ordering::Relaxed},
};

use hubbub_protocol::{ChannelName, Cursor, frame::Slow};

use super::Outbox;

/// Where a subscription stands. Changed only under its outbox's lock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Standing {
    /// Its reply has not been sent; nothing has come since it joined.
    Joining,
    /// It pulls what it lacks, and receives nothing live meanwhile.
    Behind,
    /// Entries are pushed as they come.
    Live,
    /// Nothing of this channel follows.
    Ended,
}

/// One connection's interest in one channel. The atomics are plain fields guarded by the outbox's lock: they are atomics so that
/// the hub's list, the lane and the session can share the subscription without a lock of its own.
#[derive(Debug)]
pub struct Subscription {
    /// The channel.
    pub channel: ChannelName,
    /// Whom it feeds.
    pub outbox: Arc<Outbox>,
    /// What happens when the outbox is full.
    pub slow: Slow,
    standing: AtomicU8,
    epoch: AtomicU64,
    seq: AtomicU64,
    reported: AtomicU64,
    void: AtomicBool,
    /// Its place in the hub's list; the list's own.
    pub(super) slot: AtomicU32,
}

impl Subscription {
    /// A subscription that is about to join.
    pub fn new(channel: ChannelName, outbox: Arc<Outbox>, slow: Slow) -> Arc<Self> {
        Arc::new(Self {
            channel,
            outbox,
            slow,
            standing: AtomicU8::new(Standing::Joining as u8),
            epoch: AtomicU64::new(0),
            seq: AtomicU64::new(0),
            reported: AtomicU64::new(0),
            void: AtomicBool::new(false),
            slot: AtomicU32::new(u32::MAX),
        })
    }

    /// Where it stands.
    pub fn standing(&self) -> Standing {
        match self.standing.load(Relaxed) {
            0 => Standing::Joining,
            1 => Standing::Behind,
            2 => Standing::Live,
            _ => Standing::Ended,
        }
    }

    pub(super) fn stand(&self, standing: Standing) {
        self.standing.store(standing as u8, Relaxed);
    }

    /// Whether it joined a past of the channel that is no more.
    pub fn is_void(&self) -> bool {
        self.void.load(Relaxed)
    }

    pub(super) fn make_void(&self) {
        self.void.store(true, Relaxed);
    }

    /// The last entry that was put into the outbox, or skipped. `seq` is 0 in an ephemeral channel.
    pub fn cursor(&self) -> Cursor {
        Cursor { epoch: self.epoch.load(Relaxed), seq: self.seq.load(Relaxed) }
    }

    /// Moves the cursor: by the lane when it joins, by the outbox afterwards.
    pub(crate) fn seek(&self, cursor: Cursor) {
        self.epoch.store(cursor.epoch, Relaxed);
        self.seq.store(cursor.seq, Relaxed);
    }

    /// The cursor if it moved since the last call.
    pub(super) fn moved(&self) -> Option<Cursor> {
        let cursor = self.cursor();
        (self.reported.swap(cursor.seq, Relaxed) != cursor.seq).then_some(cursor)
    }
}
