//! What waits for a slow subscriber of an ephemeral channel under the policy `latest`: the newest entry of each key.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use bytes::Bytes;
use hubbub_protocol::{
    Key, ServerFrame,
    frame::{Skip, SkipReason},
};

use super::{Delivery, Subscription, Wire};

/// The newest entry of each key of one subscription, in order of arrival.
#[derive(Debug)]
pub(super) struct Latest {
    subscription: Arc<Subscription>,
    waiting: BTreeMap<u64, Arc<Delivery>>,
    newest: HashMap<Option<Key>, u64>,
    arrivals: u64,
    superseded: u64,
    dropped: u64,
    bytes: usize,
}

impl Latest {
    pub(super) fn new(subscription: Arc<Subscription>) -> Self {
        Self { subscription, waiting: BTreeMap::new(), newest: HashMap::new(), arrivals: 0, superseded: 0, dropped: 0, bytes: 0 }
    }

    pub(super) fn is_for(&self, subscription: &Subscription) -> bool {
        std::ptr::eq(&*self.subscription, subscription)
    }

    /// Takes `delivery` to the end; it replaces the older one of its key. Returns the change in bytes.
    pub(super) fn put(&mut self, wire: Wire, delivery: Arc<Delivery>) -> isize {
        let before = self.bytes as isize;
        self.arrivals += 1;
        self.bytes += delivery.sealed(wire).len();
        if let Some(older) = self.newest.insert(delivery.entry.key.clone(), self.arrivals)
            && let Some(older) = self.waiting.remove(&older)
        {
            self.bytes -= older.sealed(wire).len();
            self.superseded += 1;
        }
        self.waiting.insert(self.arrivals, delivery);
        self.bytes as isize - before
    }

    /// Drops the oldest. Returns its bytes; 0 if nothing waits.
    pub(super) fn drop_oldest(&mut self, wire: Wire) -> usize {
        let Some((_, oldest)) = self.waiting.pop_first() else { return 0 };
        self.newest.remove(&oldest.entry.key);
        self.dropped += 1;
        let bytes = oldest.sealed(wire).len();
        self.bytes -= bytes;
        bytes
    }

    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty() && self.superseded + self.dropped == 0
    }

    /// Skips first, then about `room` bytes of what waits, at least one entry: the rest can still be superseded.
    pub(super) fn release(&mut self, wire: Wire, room: usize) -> Vec<Bytes> {
        let counts = [(&mut self.superseded, SkipReason::Superseded), (&mut self.dropped, SkipReason::Dropped)];
        let mut released: Vec<Bytes> = counts
            .into_iter()
            .filter(|(count, _)| **count > 0)
            .map(|(count, reason)| Skip { channel: self.subscription.channel.clone(), range: None, count: std::mem::take(count), reason })
            .map(|skip| wire.frame(&ServerFrame::Skip(skip)))
            .collect();
        let mut size = 0;
        while size < room
            && let Some((_, delivery)) = self.waiting.pop_first()
        {
            self.newest.remove(&delivery.entry.key);
            let bytes = delivery.sealed(wire).clone();
            size += bytes.len();
            self.bytes -= bytes.len();
            released.push(bytes);
        }
        released
    }
}
