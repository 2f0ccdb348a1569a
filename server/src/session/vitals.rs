//! What tells whether a connection lives: shared between its task and the sweep over all connections.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Times in Unix milliseconds.
#[derive(Debug)]
pub struct Vitals {
    opened: u64,
    heard: AtomicU64,
    beat: AtomicU64,
    /// 0 until the client is somebody.
    expires_at: AtomicU64,
    closing: AtomicU64,
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

    /// Whether a heartbeat is due after `every` ms; if so, the next one counts from now.
    pub fn beat(&self, now: u64, every: u64) -> bool {
        let due = self.beat.load(Relaxed) + every <= now;
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

    /// For how long this side has been closing, in milliseconds; counts from the first call.
    pub fn closing_for(&self, now: u64) -> u64 {
        match self.closing.compare_exchange(0, now, Relaxed, Relaxed) {
            Ok(_) => 0,
            Err(since) => now.saturating_sub(since),
        }
    }
}
