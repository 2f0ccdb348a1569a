//! Subscriptions that the server begins: which connections want them, and what is to begin on each.
//!
//! A connection that wants none is not on the list, and costs nothing.

use std::{
    mem::take,
    sync::{
        Arc, Mutex, MutexGuard,
        atomic::{Ordering::SeqCst, fence},
    },
};

use dashmap::DashMap;
use foldhash::quality::FixedState;
use hubbub_protocol::{ChannelName, CloseCode, Cursor};

use crate::hub::Outbox;

/// Starts that may wait for one connection's task. Beyond that its memberships are listed anew.
const WAITING: usize = 1_024;

/// A channel to which a connection is to be subscribed, if the user may.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Start {
    /// The channel.
    pub channel: ChannelName,
    /// Why.
    pub cause: Cause,
}

/// Why a subscription begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cause {
    /// The user's membership has changed: it begins if there is one, from where that began if this is known.
    Membership(Option<Cursor>),
    /// A backend wants it, from this cursor on.
    Backend(Option<Cursor>),
}

/// What is to begin on one connection.
#[derive(Debug)]
pub struct Starts {
    outbox: Arc<Outbox>,
    due: Mutex<Due>,
}

/// What has become due since it was asked last.
#[derive(Debug, Default)]
pub struct Due {
    /// Everything of which the user is a member.
    pub memberships: bool,
    /// These.
    pub starts: Vec<Start>,
}

impl Starts {
    fn due(&self) -> MutexGuard<'_, Due> {
        self.due.lock().expect("nothing panics while it holds what is due")
    }

    /// What has become due.
    pub fn take(&self) -> Due {
        take(&mut *self.due())
    }

    fn add(&self, start: Start) {
        let mut due = self.due();
        match start.cause {
            _ if due.starts.len() < WAITING => due.starts.push(start),
            Cause::Membership(_) => due.memberships = true,
            // Nobody says it again: whoever connects anew starts from what is there then.
            Cause::Backend(_) => self.outbox.close(CloseCode::SlowConsumer, None),
        }
        drop(due);
        self.outbox.review();
    }

    fn cancel(&self, channel: &ChannelName) {
        self.due().starts.retain(|start| start.channel != *channel);
    }

    fn add_all(&self) {
        self.due().memberships = true;
        self.outbox.review();
    }
}

/// The connections of this instance on which subscriptions begin, by user.
#[derive(Debug)]
pub(super) struct Wanted {
    users: DashMap<Arc<str>, Vec<Arc<Starts>>, FixedState>,
}

/// A place on that list, until it is dropped.
#[derive(Debug)]
pub struct Enlisted {
    wanted: Arc<Wanted>,
    user: Arc<str>,
    starts: Arc<Starts>,
}

impl Wanted {
    pub(super) fn new(seed: u64) -> Arc<Self> {
        Arc::new(Self { users: DashMap::with_hasher(FixedState::with_seed(seed)) })
    }

    /// All of the user's memberships are due at once.
    pub(super) fn enlist(self: &Arc<Self>, user: &Arc<str>, outbox: &Arc<Outbox>) -> Enlisted {
        let starts = Arc::new(Starts { outbox: outbox.clone(), due: Mutex::new(Due { memberships: true, starts: Vec::new() }) });
        self.users.entry(user.clone()).or_insert_with(|| Vec::with_capacity(1)).push(starts.clone());
        // Listed before it reads; `Wanted::start` is the other half.
        fence(SeqCst);
        Enlisted { wanted: self.clone(), user: user.clone(), starts }
    }

    /// On every connection of `user`. To be called after what is known has been changed.
    pub(super) fn start(&self, user: &str, start: &Start) {
        fence(SeqCst);
        for starts in self.users.get(user).map(|all| all.clone()).unwrap_or_default() {
            starts.add(start.clone());
        }
    }

    /// What was to begin, and has not, does not.
    pub(super) fn cancel(&self, user: &str, channel: &ChannelName) {
        for starts in self.users.get(user).map(|all| all.clone()).unwrap_or_default() {
            starts.cancel(channel);
        }
    }

    /// What began meanwhile is not known: everybody looks anew.
    pub(super) fn start_all(&self) {
        fence(SeqCst);
        for starts in self.users.iter().flat_map(|all| all.clone()) {
            starts.add_all();
        }
    }
}

impl Enlisted {
    /// What has become due.
    pub fn take(&self) -> Due {
        self.starts.take()
    }
}

impl Drop for Enlisted {
    fn drop(&mut self) {
        let users = &self.wanted.users;
        if let Some(mut all) = users.get_mut(&self.user) {
            all.retain(|starts| !Arc::ptr_eq(starts, &self.starts));
        }
        users.remove_if(&self.user, |_, all| all.is_empty());
    }
}
