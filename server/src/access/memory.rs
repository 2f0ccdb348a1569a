//! What is known by heart: everybody who is not as most are, and the credentials that were revoked.

use std::collections::HashMap;

use dashmap::DashMap;
use foldhash::quality::FixedState;
use hubbub_protocol::ChannelName;

use crate::{
    auth::{Identity, Role, policy::Standing},
    store::{
        Db, StoreError,
        access::{self, Ruled},
        rulings,
    },
    world::Clock,
};

/// For how long a login that ended is remembered, in milliseconds: longer than any of its access tokens is good (a day at most).
const SESSION_MS: u64 = 25 * 3_600_000;

/// A ban, and when it is over: `u64::MAX` if never by itself.
type Ban = (ChannelName, u64);

#[derive(Debug, Default)]
struct Person {
    ruled: Ruled,
    bans: Vec<Ban>,
}

/// What is known by heart.
#[derive(Debug)]
pub(super) struct Memory {
    people: DashMap<Box<str>, Person, FixedState>,
    /// Logins that ended, and until when that matters.
    sessions: DashMap<Box<str>, u64, FixedState>,
    /// Tokens that were called in, and until when that matters.
    tokens: DashMap<Box<str>, u64, FixedState>,
}

impl Memory {
    /// All of it, and the number of the last ruling that is surely in it.
    pub(super) async fn load(db: &Db, seed: u64, now: u64) -> Result<(u64, Self), StoreError> {
        // First the number: what is ruled after that may be seen twice, which harms nothing.
        let number = rulings::newest(db).await?;
        let map = || FixedState::with_seed(seed);
        let memory =
            Self { people: DashMap::with_hasher(map()), sessions: DashMap::with_hasher(map()), tokens: DashMap::with_hasher(map()) };
        for (user, ruled) in access::users(db).await? {
            memory.people.insert(user.into(), Person { ruled, bans: Vec::new() });
        }
        for (user, channel, until) in access::bans(db, now).await? {
            if let Some(ban) = ban(&channel, until) {
                memory.people.entry(user.into()).or_default().bans.push(ban);
            }
        }
        for session in access::ended_sessions(db, now.saturating_sub(SESSION_MS)).await? {
            memory.end_session(&session, now);
        }
        for (token, until) in rulings::tokens(db, now).await? {
            memory.call_in(&token, until);
        }
        Ok((number, memory))
    }

    /// Reads again what is known of `users`: all of them in two statements.
    pub(super) async fn look_at(&self, db: &Db, users: &[&str], now: u64) -> Result<(), StoreError> {
        let (ruled, bans) = tokio::try_join!(access::users_of(db, users), access::bans_of(db, users, now))?;
        let mut found: HashMap<&str, Person> = users.iter().map(|user| (*user, Person::default())).collect();
        for (user, ruled) in &ruled {
            if let Some(person) = found.get_mut(&**user) {
                person.ruled = ruled.clone();
            }
        }
        for (user, channel, until) in &bans {
            if let (Some(person), Some(ban)) = (found.get_mut(&**user), ban(channel, *until)) {
                person.bans.push(ban);
            }
        }
        for (user, person) in found {
            if person.ruled == Ruled::default() && person.bans.is_empty() {
                self.people.remove(user);
            } else {
                self.people.insert(user.into(), person);
            }
        }
        Ok(())
    }

    /// A login has ended.
    pub(super) fn end_session(&self, session: &str, now: u64) {
        self.sessions.insert(session.into(), now + SESSION_MS);
    }

    /// A token was called in.
    pub(super) fn call_in(&self, token: &str, until: u64) {
        self.tokens.insert(token.into(), until);
    }

    /// Forgets what matters no more.
    pub(super) fn forget(&self, now: u64) {
        self.sessions.retain(|_, until| *until > now);
        self.tokens.retain(|_, until| *until > now);
    }

    pub(super) fn standing(&self, identity: &Identity) -> Standing {
        self.standing_of(&identity.user, identity.issued_at, identity.session.as_deref(), identity.token.as_deref())
    }

    pub(super) fn standing_of(&self, user: &str, issued_at: u64, session: Option<&str>, token: Option<&str>) -> Standing {
        if let Some(person) = self.people.get(user) {
            match &person.ruled {
                Ruled { is_deleted: true, .. } => return Standing::Deleted,
                Ruled { is_blocked: true, .. } => return Standing::Blocked,
                Ruled { tokens_from, .. } if issued_at < *tokens_from => return Standing::Revoked,
                Ruled { .. } => {}
            }
        }
        let is_revoked = session.is_some_and(|session| self.sessions.contains_key(session))
            || token.is_some_and(|token| self.tokens.contains_key(token));
        if is_revoked { Standing::Revoked } else { Standing::Clear }
    }

    pub(super) fn role(&self, user: &str) -> Role {
        self.people.get(user).map_or_else(Role::default, |person| person.ruled.role)
    }

    pub(super) fn is_banned(&self, user: &str, channel: &ChannelName, clock: &Clock) -> bool {
        let Some(person) = self.people.get(user) else { return false };
        person.bans.iter().any(|(banned, until)| banned == channel && (*until == u64::MAX || clock.now() < *until))
    }
}

/// A row that names no channel bans from none.
fn ban(channel: &str, until: Option<u64>) -> Option<Ban> {
    Some((ChannelName::parse(channel).ok()?, until.unwrap_or(u64::MAX)))
}
