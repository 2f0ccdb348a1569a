//! Who is subscribed on this instance. Changed directly by whoever subscribes or leaves, under a short lock; what changed is collected
//! until the owner takes it ([`Locals::flush`]).

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

use dashmap::DashMap;
use foldhash::quality::FixedState;
use hubbub_protocol::ChannelName;
use metrics::Gauge;
use tokio::sync::Notify;

/// Users in one diff, and in one part of a snapshot: of 128 bytes each, half of what fits into a message.
pub(super) const MAX_USERS: usize = 2_000;

/// A user and how many connections of theirs are subscribed; 0: none any more.
pub(super) type Count = (Arc<str>, u32);

/// What changed in one channel since the last diff of it.
#[derive(Debug)]
pub(super) struct Change {
    pub(super) channel: ChannelName,
    /// Its number: rises by one with each diff of this instance, whatever the channel.
    pub(super) n: u64,
    /// The number of the channel's diff before; 0 if nobody had been there, so that this one tells everything.
    pub(super) after: u64,
    pub(super) counts: Vec<Count>,
}

/// The members of one channel on this instance.
#[derive(Debug, Default)]
struct Local {
    users: BTreeMap<Arc<str>, u32>,
    changed: BTreeSet<Arc<str>>,
    /// The number of the last diff.
    n: u64,
}

/// From channel to its members on this instance: as many as there are subscriptions in namespaces with presence.
#[derive(Debug)]
pub(super) struct Locals {
    channels: DashMap<ChannelName, Local, FixedState>,
    /// Channels in which something changed, each once.
    dirty: Mutex<Vec<ChannelName>>,
    stirred: Notify,
    n: AtomicU64,
    members: Gauge,
}

impl Locals {
    /// Nobody. `seed` is for the hash table; `members` shows how many there are.
    pub(super) fn new(seed: u64, members: Gauge) -> Arc<Self> {
        Arc::new(Self {
            channels: DashMap::with_hasher(FixedState::with_seed(seed)),
            dirty: Mutex::default(),
            stirred: Notify::new(),
            n: AtomicU64::new(0),
            members,
        })
    }

    /// One more subscription of `user` in `channel`, until the place is dropped.
    pub(super) fn enter(self: &Arc<Self>, channel: &ChannelName, user: &Arc<str>) -> Place {
        let mut local = self.channels.entry(channel.clone()).or_default();
        let count = local.users.entry(user.clone()).or_default();
        *count += 1;
        if *count == 1 {
            self.members.increment(1.0);
        }
        self.mark(channel, &mut local, user);
        Place { locals: self.clone(), channel: channel.clone(), user: user.clone() }
    }

    fn leave(&self, channel: &ChannelName, user: &Arc<str>) {
        let Some(mut local) = self.channels.get_mut(channel) else { return };
        let Some(count) = local.users.get_mut(user) else { return };
        *count -= 1;
        if *count == 0 {
            local.users.remove(user);
            self.members.decrement(1.0);
        }
        self.mark(channel, &mut local, user);
    }

    fn mark(&self, channel: &ChannelName, local: &mut Local, user: &Arc<str>) {
        let first = local.changed.is_empty();
        local.changed.insert(user.clone());
        if first {
            let mut dirty = self.dirty.lock().expect("nothing panics while it holds the list");
            dirty.push(channel.clone());
            self.stirred.notify_one();
        }
    }

    /// How many subscriptions of `user` there are in `channel`.
    pub(super) fn count(&self, channel: &ChannelName, user: &str) -> u32 {
        self.channels.get(channel).and_then(|local| local.users.get(user).copied()).unwrap_or(0)
    }

    /// The channel's members here, and the number of a diff after which, with those to come, nothing is missing.
    pub(super) fn members(&self, channel: &ChannelName) -> (u64, Vec<Count>) {
        match self.channels.get(channel) {
            Some(local) => (self.last(&local), local.users.iter().map(|(user, count)| (user.clone(), *count)).collect()),
            None => (self.n.load(Relaxed), Vec::new()),
        }
    }

    /// Whether whoever has applied the channel's diffs up to `n` misses none.
    pub(super) fn is_at(&self, channel: &ChannelName, n: u64) -> bool {
        self.channels.get(channel).map_or(self.n.load(Relaxed), |local| self.last(&local)) == n
    }

    fn last(&self, local: &Local) -> u64 {
        // Nothing was told yet: the first diff will have a higher number, and tell everything.
        if local.n == 0 { self.n.load(Relaxed) } else { local.n }
    }

    /// What changed since the last call. Only the owner calls it, so numbers and diffs are in one order.
    pub(super) fn flush(&self) -> Vec<Change> {
        let dirty = std::mem::take(&mut *self.dirty.lock().expect("nothing panics while it holds the list"));
        dirty.into_iter().flat_map(|channel| self.flush_one(&channel)).collect()
    }

    fn flush_one(&self, channel: &ChannelName) -> Vec<Change> {
        let Some(mut local) = self.channels.get_mut(channel) else { return Vec::new() };
        let changed = std::mem::take(&mut local.changed);
        let counts: Vec<Count> = changed
            .into_iter()
            .map(|user| {
                let count = local.users.get(&user).copied().unwrap_or(0);
                (user, count)
            })
            .collect();
        let changes = counts
            .chunks(MAX_USERS)
            .map(|counts| {
                let n = self.n.fetch_add(1, Relaxed) + 1;
                let after = std::mem::replace(&mut local.n, n);
                Change { channel: channel.clone(), n, after, counts: counts.to_vec() }
            })
            .collect();
        let empty = local.users.is_empty();
        drop(local);
        if empty {
            self.channels.remove_if(channel, |_, local| local.users.is_empty() && local.changed.is_empty());
        }
        changes
    }

    /// Whether something changed since the last flush.
    pub(super) fn is_dirty(&self) -> bool {
        !self.dirty.lock().expect("nothing panics while it holds the list").is_empty()
    }

    /// Waits until something has changed.
    pub(super) async fn stirred(&self) {
        self.stirred.notified().await;
    }
}

/// A subscription's place among its channel's members. Whoever owns the subscription holds it; dropping it gives it back.
#[derive(Debug)]
pub struct Place {
    locals: Arc<Locals>,
    channel: ChannelName,
    user: Arc<str>,
}

impl Drop for Place {
    fn drop(&mut self) {
        self.locals.leave(&self.channel, &self.user);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    type Plain = (u64, u64, Vec<(String, u32)>);

    fn changes(locals: &Locals) -> Vec<Plain> {
        let plain = |counts: Vec<Count>| counts.into_iter().map(|(user, count)| (user.to_string(), count)).collect();
        locals.flush().into_iter().map(|change| (change.n, change.after, plain(change.counts))).collect()
    }

    #[test]
    fn a_diff_has_absolute_counts_and_the_number_of_the_one_before() {
        let locals = Locals::new(1, Gauge::noop());
        let channel = ChannelName::parse("room:1").unwrap();
        let (alice, bob): (Arc<str>, Arc<str>) = ("alice".into(), "bob".into());
        let first = locals.enter(&channel, &alice);
        let second = locals.enter(&channel, &alice);
        assert_eq!(locals.members(&channel), (0, vec![(alice.clone(), 2)]));
        assert_eq!(changes(&locals), [(1, 0, vec![("alice".to_owned(), 2)])]);
        assert!(changes(&locals).is_empty());
        drop(first);
        let third = locals.enter(&channel, &bob);
        assert_eq!(changes(&locals), [(2, 1, vec![("alice".to_owned(), 1), ("bob".to_owned(), 1)])]);
        assert!(locals.is_at(&channel, 2) && !locals.is_at(&channel, 1));
        drop((second, third));
        assert_eq!(changes(&locals), [(3, 2, vec![("alice".to_owned(), 0), ("bob".to_owned(), 0)])]);
        assert_eq!(locals.channels.len(), 0, "an empty channel takes no memory");
        let _fourth = locals.enter(&channel, &bob);
        assert_eq!(changes(&locals), [(4, 0, vec![("bob".to_owned(), 1)])], "numbers go on, and it tells everything");
    }

    #[test]
    fn a_large_diff_comes_in_pieces() {
        let locals = Locals::new(1, Gauge::noop());
        let channel = ChannelName::parse("room:1").unwrap();
        let places: Vec<_> = (0..MAX_USERS + 1).map(|n| locals.enter(&channel, &n.to_string().into())).collect();
        let changes = changes(&locals);
        assert_eq!(changes.iter().map(|(n, after, counts)| (*n, *after, counts.len())).collect::<Vec<_>>(), [(1, 0, MAX_USERS), (2, 1, 1)]);
        drop(places);
    }
}
