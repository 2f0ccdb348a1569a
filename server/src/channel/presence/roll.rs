//! The members of one channel, over all instances: who is there, and what changed since it was last told.
//!
//! A user stays for a second after the last connection has gone, so that a reconnect, here or on another instance, is not seen.

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Bound,
    sync::Arc,
};

use hubbub_protocol::{
    frame::{Member, PresencePage},
    limits::MAX_MEMBERS,
};

/// For how long a user without connections stays, in milliseconds.
pub(super) const DEBOUNCE: u64 = 1_000;

/// How members leave whose connections are gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Leave {
    /// After the [`DEBOUNCE`].
    Later,
    /// At once: their instance is dead, and they have had its whole lease to come back.
    Now,
}

/// What has changed since the last look.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum News {
    /// Who came (not necessarily unknown to all that listen) and who went.
    Changes { joined: Vec<Member>, left: Vec<String> },
    /// Too much to tell one by one.
    Everything,
}

/// A member.
#[derive(Debug, Default)]
struct Seat {
    connections: u32,
    /// When the user leaves, if there are no connections.
    leaves_at: Option<u64>,
}

/// The members of one channel. Bounded by how many there are.
#[derive(Debug, Default)]
pub(super) struct Roll {
    seats: BTreeMap<Arc<str>, Seat>,
    leaving: BTreeSet<(u64, Arc<str>)>,
    /// Who came or went since the last look, and whether they had been there then. At most twice [`MAX_MEMBERS`].
    touched: BTreeMap<Arc<str>, bool>,
    /// More did.
    overturned: bool,
}

impl Roll {
    /// How many members there are.
    pub(super) fn len(&self) -> usize {
        self.seats.len()
    }

    /// An instance that told `was` connections of `user` tells `is` now.
    pub(super) fn count(&mut self, user: &Arc<str>, was: u32, is: u32, leave: Leave, now: u64) {
        if was == is {
            return;
        }
        let Some(seat) = self.seats.get_mut(user) else {
            if is > 0 {
                self.seats.insert(user.clone(), Seat { connections: is, leaves_at: None });
                self.touch(user.clone(), false);
            }
            return;
        };
        seat.connections = (seat.connections + is).saturating_sub(was);
        if seat.connections > 0 {
            if let Some(at) = seat.leaves_at.take() {
                self.leaving.remove(&(at, user.clone()));
            }
        } else if leave == Leave::Now {
            self.remove(user);
        } else if seat.leaves_at.is_none() {
            seat.leaves_at = Some(now + DEBOUNCE);
            self.leaving.insert((now + DEBOUNCE, user.clone()));
        }
    }

    fn remove(&mut self, user: &Arc<str>) {
        if let Some(Seat { leaves_at: Some(at), .. }) = self.seats.remove(user) {
            self.leaving.remove(&(at, user.clone()));
        }
        self.touch(user.clone(), true);
    }

    fn touch(&mut self, user: Arc<str>, was_there: bool) {
        if self.overturned {
            return;
        }
        self.touched.entry(user).or_insert(was_there);
        if self.touched.len() > 2 * MAX_MEMBERS {
            self.touched = BTreeMap::new();
            self.overturned = true;
        }
    }

    /// Takes out those whose time has come.
    pub(super) fn settle(&mut self, now: u64) {
        while let Some((at, user)) = self.leaving.first()
            && *at <= now
        {
            let user = user.clone();
            self.remove(&user);
        }
    }

    /// Whether somebody will leave if nothing happens.
    pub(super) fn is_settling(&self) -> bool {
        !self.leaving.is_empty()
    }

    /// Whether there is news.
    pub(super) fn is_touched(&self) -> bool {
        self.overturned || !self.touched.is_empty()
    }

    /// What changed since the last call. `all`: also who came and went again, or the reverse: somebody may have seen them in between.
    pub(super) fn take_news(&mut self, all: bool) -> News {
        let touched = std::mem::take(&mut self.touched);
        if std::mem::take(&mut self.overturned) {
            return News::Everything;
        }
        let (mut joined, mut left) = (Vec::new(), Vec::new());
        for (user, was_there) in touched {
            match self.seats.get(&user) {
                Some(seat) if all || !was_there => joined.push(seat.member(&user)),
                None if all || was_there => left.push(user.to_string()),
                _ => {}
            }
        }
        if joined.len().max(left.len()) > MAX_MEMBERS { News::Everything } else { News::Changes { joined, left } }
    }

    /// All members, in byte order; `None` if there are more than [`MAX_MEMBERS`].
    pub(super) fn list(&self) -> Option<Vec<Member>> {
        (self.len() <= MAX_MEMBERS).then(|| self.seats.iter().map(|(user, seat)| seat.member(user)).collect())
    }

    /// At most `limit` members after `after`, and of about `bytes`.
    pub(super) fn page(&self, after: Option<&str>, limit: usize, mut bytes: usize) -> PresencePage {
        let start = after.map_or(Bound::Unbounded, Bound::Excluded);
        let mut page = PresencePage { count: self.len() as u64, ..PresencePage::default() };
        for (user, seat) in self.seats.range::<str, _>((start, Bound::Unbounded)) {
            if page.members.len() == limit || (bytes < weight(user) && !page.members.is_empty()) {
                page.more = true;
                break;
            }
            bytes = bytes.saturating_sub(weight(user));
            page.members.push(seat.member(user));
        }
        page
    }
}

impl Seat {
    fn member(&self, user: &str) -> Member {
        // One who may come back within the second is there.
        Member { user: user.to_owned(), connections: self.connections.max(1) }
    }
}

/// About how many bytes a member takes in a frame, at most: in JSON quotes and backslashes of a name take two.
pub(super) fn weight(user: &str) -> usize {
    2 * user.len() + 40
}

#[cfg(test)]
mod tests {
    use super::*;

    fn changes(roll: &mut Roll) -> (Vec<String>, Vec<String>) {
        match roll.take_news(false) {
            News::Changes { joined, left } => (joined.into_iter().map(|member| member.user).collect(), left),
            News::Everything => panic!("everything"),
        }
    }

    fn nobody() -> Vec<String> {
        Vec::new()
    }

    #[test]
    fn the_first_joins_and_the_last_leaves_after_a_second() {
        let (mut roll, alice) = (Roll::default(), Arc::from("alice"));
        roll.count(&alice, 0, 1, Leave::Later, 0);
        roll.count(&alice, 1, 2, Leave::Later, 0);
        assert_eq!(changes(&mut roll), (vec!["alice".to_owned()], nobody()));
        roll.count(&alice, 2, 0, Leave::Later, 5_000);
        roll.settle(5_999);
        assert!(!roll.is_touched() && roll.is_settling());
        assert_eq!(roll.list().unwrap()[0].connections, 1);
        roll.settle(6_000);
        assert_eq!(changes(&mut roll), (nobody(), vec!["alice".to_owned()]));
        assert_eq!((roll.len(), roll.is_settling()), (0, false));
    }

    #[test]
    fn a_move_between_instances_is_not_seen() {
        let (mut roll, alice) = (Roll::default(), Arc::from("alice"));
        roll.count(&alice, 0, 1, Leave::Later, 0);
        changes(&mut roll);
        roll.count(&alice, 1, 0, Leave::Later, 100);
        roll.count(&alice, 0, 1, Leave::Later, 900);
        roll.settle(10_000);
        assert!(!roll.is_touched());
        roll.count(&alice, 0, 1, Leave::Later, 10_000);
        roll.count(&alice, 1, 0, Leave::Now, 10_000);
        assert_eq!(roll.len(), 1, "the other instance has one more");
        roll.count(&alice, 1, 0, Leave::Now, 10_000);
        assert_eq!(changes(&mut roll), (nobody(), vec!["alice".to_owned()]));
    }

    #[test]
    fn who_came_and_went_again_is_told_to_those_who_may_have_seen_it() {
        for all in [false, true] {
            let (mut roll, alice) = (Roll::default(), Arc::from("alice"));
            roll.count(&alice, 0, 1, Leave::Now, 0);
            roll.count(&alice, 1, 0, Leave::Now, 0);
            let left = if all { vec!["alice".to_owned()] } else { nobody() };
            assert_eq!(roll.take_news(all), News::Changes { joined: Vec::new(), left });
        }
    }

    #[test]
    fn more_than_can_be_told_is_everything() {
        let mut roll = Roll::default();
        for n in 0..=MAX_MEMBERS {
            roll.count(&Arc::from(format!("u{n}")), 0, 1, Leave::Now, 0);
        }
        assert_eq!(roll.list(), None);
        assert_eq!(roll.take_news(false), News::Everything);
        roll.count(&Arc::from("u0"), 1, 0, Leave::Now, 0);
        assert_eq!(changes(&mut roll), (nobody(), vec!["u0".to_owned()]));
        assert_eq!(roll.list().unwrap().len(), MAX_MEMBERS);
        for n in 0..3 * MAX_MEMBERS {
            roll.count(&Arc::from(format!("v{n}")), 0, 1, Leave::Now, 0);
            roll.count(&Arc::from(format!("v{n}")), 1, 0, Leave::Now, 0);
        }
        assert!(roll.touched.len() <= 2 * MAX_MEMBERS);
        assert_eq!(roll.take_news(false), News::Everything);
    }

    #[test]
    fn pages_follow_each_other() {
        let mut roll = Roll::default();
        for n in 0..25 {
            roll.count(&Arc::from(format!("u{n:02}")), 0, 1, Leave::Now, 0);
        }
        let (mut after, mut seen) = (None, Vec::new());
        loop {
            let page = roll.page(after.as_deref(), 10, usize::MAX);
            assert_eq!(page.count, 25);
            seen.extend(page.members.iter().map(|member| member.user.clone()));
            after = seen.last().cloned();
            if !page.more {
                break;
            }
        }
        assert_eq!(seen, (0..25).map(|n| format!("u{n:02}")).collect::<Vec<_>>());
        assert_eq!(roll.page(None, 10, 3 * weight("u00")).members.len(), 3);
        assert_eq!(roll.page(None, 10, 0).members.len(), 1, "or nobody would ever come further");
        assert!(roll.page(Some("u24"), 10, usize::MAX).members.is_empty());
    }
}
