//! What tells whether a connection lives: shared between its task and the sweep over all connections.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Times by [`crate::world::Clock::elapsed`], but for the token's end, which is in Unix milliseconds.
#[derive(Debug)]
pub struct Vitals {
    opened: u64,
    heard: AtomicU64,
    beat: AtomicU64,
    /// 0 until the client is somebody.
    expires_at: AtomicU64,
    closing: AtomicU64,
    /// 0 while the peer reads.
    stalled: AtomicU64,
}

impl Vitals {
    /// Opened now.
    pub fn new(now: u64) -> Self {
        Self {
            opened: now,
            heard: AtomicU64::new(now),
            beat: AtomicU64::new(now),
            expires_at: AtomicU64::new(0),
            closing: AtomicU64::new(0),
            stalled: AtomicU64::new(0),
        }
    }

    /// When it was opened.
    pub fn opened(&self) -> u64 {
        self.opened
    }

    /// Bytes came from the peer.
    pub fn hear(&self, now: u64) {
        self.heard.store(now, Relaxed);
    }

    /// When bytes last came.
    pub fn heard(&self) -> u64 {
        self.heard.load(Relaxed)
    }

    /// Whether a heartbeat is due after `every` ms; if so, the next one counts from now. One is due when the clock was set back, too.
    pub fn beat(&self, now: u64, every: u64) -> bool {
        let last = self.beat.load(Relaxed);
        let due = now < last || last + every <= now;
        if due {
            self.beat.store(now, Relaxed);
        }
        due
    }

    /// The client is somebody, until then.
    pub fn authenticate(&self, expires_at: u64) {
        self.expires_at.store(expires_at.max(1), Relaxed);
    }

    /// Until when the client is somebody; `None` if it is nobody.
    pub fn expires_at(&self) -> Option<u64> {
        Some(self.expires_at.load(Relaxed)).filter(|at| *at > 0)
    }

    /// For how long the peer has stalled, in milliseconds: counts from the first of consecutive calls with `true`.
    pub fn stalled_for(&self, now: u64, stalled: bool) -> u64 {
        if !stalled {
            self.stalled.store(0, Relaxed);
            return 0;
        }
        match self.stalled.compare_exchange(0, now, Relaxed, Relaxed) {
            Ok(_) => 0,
            Err(since) => now.saturating_sub(since),
        }
    }

    /// For how long this side has been closing, in milliseconds; counts from the first call.
    pub fn closing_for(&self, now: u64) -> u64 {
        match self.closing.compare_exchange(0, now, Relaxed, Relaxed) {
            Ok(_) => 0,
            Err(since) => now.saturating_sub(since),
        }
    }
}
