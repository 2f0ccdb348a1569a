//! Who listens to what on this instance. Synchronous: no await, and no I/O but the write to a socket.
//!
//! The lane of a channel is the only one that joins, leaves and delivers there, so the order of a channel's entries is the
//! order of its lane. Sessions only end subscriptions ([`Outbox::end`]), which takes effect at once.

mod ending;
mod latest;
mod outbox;
mod queue;
mod subscription;
#[cfg(test)]
pub(crate) mod tests;
mod wire;

use std::sync::{
    Arc, Mutex,
    atomic::{AtomicUsize, Ordering::Relaxed},
};

use dashmap::DashMap;
use foldhash::quality::FixedState;
use hubbub_protocol::{ChannelName, Cursor, ErrorCode, ServerFrame, frame::ErrorBody};

pub use outbox::{Delivered, Drive, Live, Offered, Outbox, Sink, Step};
pub use subscription::{Standing, Subscription};
pub use wire::{Delivery, Wire, close, event_frame, message, retry_after};

/// The subscribers of one channel.
#[derive(Debug, Default)]
pub struct Topic {
    members: Mutex<Vec<Arc<Subscription>>>,
    count: AtomicUsize,
}

/// What one slice of a delivery came to.
#[derive(Debug, Default)]
pub struct Slice {
    /// Where to go on; `None` when every subscriber has been served.
    pub next: Option<usize>,
    /// Entries put into outboxes.
    pub entries: usize,
    /// Subscribers under the policy `close` whose outbox was full.
    pub full: usize,
    /// Subscribers whose entries were superseded.
    pub superseded: usize,
}

/// From channel to its subscribers on this instance.
#[derive(Debug)]
pub struct Hub {
    topics: DashMap<ChannelName, Arc<Topic>, FixedState>,
}

impl Hub {
    /// Nobody listens. `seed` is for the hash table.
    pub fn new(seed: u64) -> Self {
        Self { topics: DashMap::with_hasher(FixedState::with_seed(seed)) }
    }

    /// The channel's subscribers; made if nobody has listened so far.
    pub fn topic(&self, channel: &ChannelName) -> Arc<Topic> {
        if let Some(topic) = self.topics.get(channel) {
            return topic.clone();
        }
        self.topics.entry(channel.clone()).or_default().clone()
    }

    /// Forgets a channel to which nobody listens.
    pub fn forget(&self, channel: &ChannelName) {
        self.topics.remove_if(channel, |_, topic| topic.is_empty());
    }

    /// How many connections of this instance listen to `channel`.
    pub fn subscribers(&self, channel: &ChannelName) -> usize {
        self.topics.get(channel).map_or(0, |topic| topic.count.load(Relaxed))
    }

    /// Whoever listens to `channel` here.
    pub fn outboxes(&self, channel: &ChannelName) -> Vec<Arc<Outbox>> {
        let topic = self.topics.get(channel).map(|topic| topic.clone());
        topic.map(|topic| topic.members().iter().map(|member| member.outbox.clone()).collect()).unwrap_or_default()
    }

    /// Ends `outbox`'s subscription to `channel` by somebody else's will, and says so.
    pub fn cut(&self, channel: &ChannelName, outbox: &Arc<Outbox>) -> bool {
        let Some(topic) = self.topics.get(channel).map(|topic| topic.clone()) else { return false };
        let found = topic.members().iter().find(|member| Arc::ptr_eq(&member.outbox, outbox)).cloned();
        let Some(subscription) = found else { return false };
        let error = ErrorBody::new(ErrorCode::Forbidden, "a backend has ended this subscription");
        let frame = ServerFrame::Unsubscribed { channel: channel.clone(), error };
        outbox.revoke(&subscription, outbox.wire().frame(&frame));
        outbox.flush();
        true
    }

    /// How many channels have listeners here.
    pub fn channels(&self) -> usize {
        self.topics.len()
    }
}

impl Topic {
    fn members(&self) -> std::sync::MutexGuard<'_, Vec<Arc<Subscription>>> {
        self.members.lock().expect("nothing panics while it holds a topic")
    }

    /// Whether nobody listens.
    pub fn is_empty(&self) -> bool {
        self.count.load(Relaxed) == 0
    }

    /// Adds a subscription, once.
    pub fn join(&self, subscription: Arc<Subscription>) {
        let mut members = self.members();
        subscription.slot.store(members.len() as u32, Relaxed);
        members.push(subscription);
        self.count.store(members.len(), Relaxed);
    }

    /// Removes this very subscription; not another one of the same connection. Returns whether it was there.
    pub fn leave(&self, subscription: &Arc<Subscription>) -> bool {
        let mut members = self.members();
        let slot = subscription.slot.load(Relaxed) as usize;
        if !members.get(slot).is_some_and(|member| Arc::ptr_eq(member, subscription)) {
            return false;
        }
        members.swap_remove(slot);
        if let Some(moved) = members.get(slot) {
            moved.slot.store(slot as u32, Relaxed);
        }
        if members.is_empty() {
            *members = Vec::new();
        }
        self.count.store(members.len(), Relaxed);
        true
    }

    /// Ends every subscription by the server's own will: `farewell` is the last that each is told of the channel. Adds the outboxes to
    /// `touched`. Returns how many there were.
    pub fn revoke(&self, farewell: &ServerFrame, touched: &mut Vec<Arc<Outbox>>) -> usize {
        let members = std::mem::take(&mut *self.members());
        self.count.store(0, Relaxed);
        for member in &members {
            member.outbox.revoke(member, member.outbox.wire().frame(farewell));
            touched.push(member.outbox.clone());
        }
        members.len()
    }

    /// The channel has come to `position` without anything to deliver.
    pub fn nudge(&self, position: Cursor) {
        for member in self.members().iter() {
            member.outbox.nudge(member, position);
        }
    }

    /// Delivers `group` to the subscribers from place `from` on, about `budget` deliveries. Outboxes that the caller has to flush are
    /// added to `touched`. No one may join or leave before the last slice of a group.
    pub fn deliver(&self, group: &[Arc<Delivery>], from: usize, budget: usize, touched: &mut Vec<Arc<Outbox>>) -> Slice {
        let members = self.members();
        let end = members.len().min(from + (budget / group.len().max(1)).max(1));
        let mut slice = Slice { next: (end < members.len()).then_some(end), ..Slice::default() };
        for member in members.get(from..end).unwrap_or_default() {
            let delivered = member.outbox.deliver(member, group);
            slice.entries += delivered.entries;
            if delivered.touched {
                touched.push(member.outbox.clone());
            }
            match delivered.overflow {
                Some(hubbub_protocol::frame::Slow::Close) => slice.full += 1,
                Some(hubbub_protocol::frame::Slow::Latest) => slice.superseded += 1,
                None => {}
            }
        }
        slice
    }

    /// Checks that every member knows its place.
    #[cfg(test)]
    pub(crate) fn check_invariants(&self) {
        let members = self.members();
        assert_eq!(members.len(), self.count.load(Relaxed));
        for (place, member) in members.iter().enumerate() {
            assert_eq!(member.slot.load(Relaxed) as usize, place);
        }
    }
}
