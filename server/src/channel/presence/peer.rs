//! What one instance told of one channel: its members there, and whether that is all.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use super::{
    locals::Count,
    message::{Diff, State},
    roll::{Leave, Roll},
};

/// An answer that has not come after this time is asked for again, in milliseconds.
pub(super) const ANSWER: u64 = 1_000;
/// What is believed to be whole is compared this often, in milliseconds: a lost last diff shows in nothing else.
const COMPARE: u64 = 5_000;
/// Parts of one snapshot, at most: a million members.
const MAX_PARTS: u32 = 512;

/// What one instance told of one channel.
#[derive(Debug, Default)]
pub(super) struct Peer {
    generation: i64,
    /// The number of the last diff, or of the snapshot, that is in `counts`.
    n: u64,
    /// The highest number that was heard of.
    heard: u64,
    /// Nothing up to `heard` is missing, as far as one can tell.
    whole: bool,
    counts: BTreeMap<Arc<str>, u32>,
    /// When it was asked, if it has not answered.
    asked_at: Option<u64>,
    /// When it was last known to be whole.
    compared_at: u64,
    /// Parts of a snapshot, if not all of them have come.
    parts: Option<Parts>,
}

#[derive(Debug)]
struct Parts {
    n: u64,
    of: u32,
    come: BTreeSet<u32>,
    counts: BTreeMap<Arc<str>, u32>,
}

/// Where changes go, and when.
pub(super) struct Into<'r> {
    pub(super) roll: &'r mut Roll,
    pub(super) now: u64,
}

impl Peer {
    /// An instance that has told nothing.
    pub(super) fn new(generation: i64) -> Self {
        Self { generation, ..Self::default() }
    }

    /// Whether its members are known.
    pub(super) fn is_whole(&self) -> bool {
        self.whole
    }

    /// Whether it should be asked: something is missing, or it is time to compare. Then it counts as asked, and what it says it has
    /// already is in the inner option.
    pub(super) fn ask(&mut self, now: u64) -> Option<Option<u64>> {
        let due = match self.asked_at {
            Some(at) => at + ANSWER <= now,
            None => !self.whole || self.compared_at + COMPARE <= now,
        };
        due.then(|| {
            self.asked_at = Some(now);
            self.whole.then_some(self.n)
        })
    }

    /// Something may have been lost: compare at once.
    pub(super) fn doubt(&mut self) {
        self.compared_at = 0;
        self.asked_at = None;
    }

    /// It has another generation of its lease: what it tells from now on is all that counts.
    pub(super) fn renew(&mut self, generation: i64) {
        if generation > self.generation {
            *self = Self { generation, counts: std::mem::take(&mut self.counts), ..Self::default() };
        }
    }

    /// Takes a diff in. Repeated ones and those of an older generation change nothing; one that does not follow makes it ask.
    pub(super) fn diff(&mut self, into: &mut Into, generation: i64, diff: &Diff) {
        self.renew(generation);
        if generation < self.generation || diff.n <= self.n {
            return;
        }
        self.heard = self.heard.max(diff.n);
        if diff.after == 0 {
            self.replace(into, collect(&diff.counts), diff.n);
        } else if self.whole && diff.after == self.n {
            for (user, count) in &diff.counts {
                self.set(into, user, *count);
            }
            self.n = diff.n;
        } else {
            self.whole = false;
        }
    }

    /// Takes a snapshot, or a part of one, in. One that is older than what was heard since is not enough: it asks again.
    pub(super) fn state(&mut self, into: &mut Into, generation: i64, state: &State) {
        self.renew(generation);
        if generation < self.generation || state.of_nothing() {
            return;
        }
        if state.parts == 0 || state.n < self.n {
            self.asked_at = None;
            if self.whole {
                self.compared_at = into.now;
            }
            return;
        }
        if self.parts.as_ref().is_none_or(|parts| (parts.n, parts.of) != (state.n, state.parts)) {
            self.parts = Some(Parts { n: state.n, of: state.parts, come: BTreeSet::new(), counts: BTreeMap::new() });
        }
        let parts = self.parts.as_mut().expect("just made");
        if parts.come.insert(state.part) {
            parts.counts.extend(collect(&state.counts));
        }
        if parts.come.len() == parts.of as usize {
            let counts = std::mem::take(&mut parts.counts);
            self.parts = None;
            self.asked_at = None;
            self.replace(into, counts, state.n);
        }
    }

    /// Everything it has is gone.
    pub(super) fn clear(&mut self, into: &mut Into, leave: Leave) {
        for (user, was) in std::mem::take(&mut self.counts) {
            into.roll.count(&user, was, 0, leave, into.now);
        }
    }

    /// `user` has `count` connections there.
    pub(super) fn set(&mut self, into: &mut Into, user: &Arc<str>, count: u32) {
        let (user, was) = match self.counts.get_key_value(user) {
            Some((user, was)) => (user.clone(), *was),
            None => (user.clone(), 0),
        };
        into.roll.count(&user, was, count, Leave::Later, into.now);
        if count == 0 {
            self.counts.remove(&user);
        } else {
            self.counts.insert(user, count);
        }
    }

    fn replace(&mut self, into: &mut Into, counts: BTreeMap<Arc<str>, u32>, n: u64) {
        let gone: Vec<Arc<str>> = self.counts.keys().filter(|user| !counts.contains_key(*user)).cloned().collect();
        for user in gone {
            self.set(into, &user, 0);
        }
        for (user, count) in counts {
            self.set(into, &user, count);
        }
        self.n = n;
        self.whole = self.heard <= n;
        self.heard = self.heard.max(n);
        self.compared_at = into.now;
    }
}

impl State {
    /// Whether it cannot be a part of anything.
    fn of_nothing(&self) -> bool {
        self.parts > MAX_PARTS || (self.parts > 0 && self.part >= self.parts)
    }
}

fn collect(counts: &[Count]) -> BTreeMap<Arc<str>, u32> {
    counts.iter().filter(|(_, count)| *count > 0).cloned().collect()
}

#[cfg(test)]
mod tests {
    use hubbub_protocol::ChannelName;

    use super::*;

    fn owned(counts: &[(&str, u32)]) -> Vec<Count> {
        counts.iter().map(|(user, count)| (Arc::from(*user), *count)).collect()
    }

    fn diff(n: u64, after: u64, counts: &[(&str, u32)]) -> Diff {
        Diff { channel: ChannelName::parse("room:1").unwrap(), n, after, counts: owned(counts) }
    }

    fn state(n: u64, part: u32, parts: u32, counts: &[(&str, u32)]) -> State {
        State { channel: ChannelName::parse("room:1").unwrap(), n, part, parts, counts: owned(counts) }
    }

    fn users(peer: &Peer) -> Vec<(&str, u32)> {
        peer.counts.iter().map(|(user, count)| (&**user, *count)).collect()
    }

    #[test]
    fn a_gap_is_asked_for_once_a_second() {
        let (mut peer, mut roll) = (Peer::new(1), Roll::default());
        let mut into = Into { roll: &mut roll, now: 0 };
        assert_eq!(peer.ask(0), Some(None));
        assert_eq!(peer.ask(ANSWER - 1), None);
        peer.state(&mut into, 1, &state(4, 0, 1, &[("alice", 1)]));
        assert!(peer.is_whole());
        peer.diff(&mut into, 1, &diff(5, 4, &[("bob", 1)]));
        peer.diff(&mut into, 1, &diff(5, 4, &[("bob", 9)]));
        assert_eq!(users(&peer), [("alice", 1), ("bob", 1)]);
        peer.diff(&mut into, 1, &diff(9, 7, &[("carol", 1)]));
        assert!(!peer.is_whole());
        assert_eq!(peer.ask(1_000), Some(None));
        peer.state(&mut into, 1, &state(7, 0, 1, &[("alice", 1)]));
        assert!(!peer.is_whole(), "nine was heard of");
        assert_eq!(peer.ask(1_001), Some(None));
        peer.state(&mut into, 1, &state(9, 0, 1, &[("carol", 1)]));
        assert_eq!(users(&peer), [("carol", 1)]);
        assert_eq!(peer.ask(1_002), None);
        assert_eq!(peer.ask(COMPARE), Some(Some(9)));
        peer.state(&mut into, 1, &state(9, 0, 0, &[]));
        assert!(peer.is_whole() && peer.asked_at.is_none());
    }

    #[test]
    fn parts_count_when_all_have_come() {
        let (mut peer, mut roll) = (Peer::new(1), Roll::default());
        let mut into = Into { roll: &mut roll, now: 0 };
        peer.state(&mut into, 1, &state(4, 1, 2, &[("bob", 1)]));
        peer.state(&mut into, 1, &state(4, 1, 2, &[("bob", 1)]));
        peer.state(&mut into, 1, &state(4, 7, 2, &[("bob", 1)]));
        assert!(!peer.is_whole());
        peer.state(&mut into, 1, &state(4, 0, 2, &[("alice", 2)]));
        assert_eq!((peer.is_whole(), users(&peer)), (true, vec![("alice", 2), ("bob", 1)]));
    }

    #[test]
    fn a_newer_generation_starts_again_and_an_older_one_is_not_heard() {
        let (mut peer, mut roll) = (Peer::new(1), Roll::default());
        let mut into = Into { roll: &mut roll, now: 0 };
        peer.diff(&mut into, 1, &diff(1, 0, &[("alice", 1)]));
        assert!(peer.is_whole());
        peer.diff(&mut into, 2, &diff(3, 2, &[("bob", 1)]));
        assert_eq!((peer.is_whole(), users(&peer)), (false, vec![("alice", 1)]));
        peer.diff(&mut into, 1, &diff(4, 0, &[]));
        assert_eq!(users(&peer), [("alice", 1)]);
        peer.state(&mut into, 2, &state(3, 0, 1, &[("bob", 1)]));
        assert_eq!((peer.is_whole(), users(&peer)), (true, vec![("bob", 1)]));
    }

    #[test]
    fn a_diff_of_a_channel_where_nobody_was_tells_everything() {
        let (mut peer, mut roll) = (Peer::new(1), Roll::default());
        peer.diff(&mut Into { roll: &mut roll, now: 0 }, 1, &diff(6, 0, &[("alice", 1), ("bob", 0)]));
        assert_eq!((peer.is_whole(), users(&peer)), (true, vec![("alice", 1)]));
    }
}
