//! The sessions that are somebody, by user: whom a ruling reaches.

use std::sync::{
    Arc,
    atomic::{Ordering::SeqCst, fence},
};

use dashmap::DashMap;
use foldhash::quality::FixedState;

use crate::{auth::Identity, hub::Outbox};

/// A session, and the credentials that it goes by. Small: every idle connection has one.
#[derive(Debug)]
pub(super) struct Live {
    pub(super) user: Arc<str>,
    pub(super) issued_at: u64,
    pub(super) session: Option<Arc<str>>,
    pub(super) token: Option<Arc<str>>,
    pub(super) outbox: Arc<Outbox>,
}

/// The sessions of this instance that are somebody.
#[derive(Debug)]
pub(super) struct Registry {
    users: DashMap<Arc<str>, Vec<Arc<Live>>, FixedState>,
}

/// A place on the list, until it is dropped.
#[derive(Debug)]
pub struct Listed {
    registry: Arc<Registry>,
    live: Arc<Live>,
}

impl Registry {
    pub(super) fn new(seed: u64) -> Arc<Self> {
        Arc::new(Self { users: DashMap::with_hasher(FixedState::with_seed(seed)) })
    }

    pub(super) fn list(self: &Arc<Self>, identity: &Identity, outbox: &Arc<Outbox>) -> Listed {
        let Identity { user, issued_at, token, session, .. } = identity;
        let live =
            Live { user: user.clone(), issued_at: *issued_at, session: session.clone(), token: token.clone(), outbox: outbox.clone() };
        let live = Arc::new(live);
        self.users.entry(user.clone()).or_insert_with(|| Vec::with_capacity(1)).push(live.clone());
        // Listed before it asks; `Registry::of` and `Registry::all` are the other half.
        fence(SeqCst);
        Listed { registry: self.clone(), live }
    }

    /// The sessions of `user`. To be asked after the memory has been changed.
    pub(super) fn of(&self, user: &str) -> Vec<Arc<Live>> {
        fence(SeqCst);
        self.users.get(user).map(|sessions| sessions.clone()).unwrap_or_default()
    }

    /// Every session.
    pub(super) fn all(&self) -> Vec<Arc<Live>> {
        fence(SeqCst);
        self.users.iter().flat_map(|sessions| sessions.clone()).collect()
    }
}

impl Drop for Listed {
    fn drop(&mut self) {
        let users = &self.registry.users;
        if let Some(mut sessions) = users.get_mut(&self.live.user) {
            sessions.retain(|live| !Arc::ptr_eq(live, &self.live));
        }
        users.remove_if(&self.live.user, |_, sessions| sessions.is_empty());
    }
}
