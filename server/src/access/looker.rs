//! Follows the rulings: each changes what is known, and then reaches the sessions that it concerns.

use std::{
    collections::HashSet,
    sync::{Arc, atomic::Ordering::Relaxed},
    time::Duration,
};

use hubbub_protocol::{ChannelName, CloseCode};
use tokio::time::Instant;

use super::{
    Access, Memory,
    registry::Live,
    starts::{Cause, Start},
};
use crate::{
    auth::policy::Standing,
    store::{
        StoreError,
        rulings::{self, Numbered, Ruling},
    },
    telemetry::RulingKind,
};

/// Between two looks, unless somebody asks for one.
const EVERY: Duration = Duration::from_millis(500);
/// Between two looks that somebody asked for.
const SHORTEST: Duration = Duration::from_millis(5);
/// How long one may take.
const LIMIT: Duration = Duration::from_secs(3);
/// Without a look for this long, nobody is admitted.
const PATIENCE: Duration = Duration::from_secs(10);
/// Then only sessions whose token is younger than this go on, in milliseconds.
const FRESH_MS: u64 = 60_000;
/// Rulings in one read.
const BATCH: u32 = 500;
/// Sessions that are told before others of this core have their turn.
const TOLD: usize = 256;
/// Between two times of forgetting what matters no more.
const FORGET: Duration = Duration::from_secs(60);

/// The looker.
pub(super) struct Looker {
    access: Arc<Access>,
    /// Of the last ruling that was followed; `None` if everything has to be loaded anew.
    position: Option<u64>,
}

/// Whom a batch of rulings concerns.
#[derive(Default)]
struct Concerned {
    users: HashSet<String>,
    channels: HashSet<ChannelName>,
    /// Whose connections end, whatever their rights.
    ended: Vec<String>,
    /// Whose subscriptions to which channel do.
    cut: Vec<(ChannelName, String)>,
    /// For whom which subscription may begin.
    started: Vec<(String, Start)>,
}

impl Looker {
    pub(super) fn new(access: Arc<Access>) -> Self {
        let position = Some(*access.position.borrow());
        Self { access, position }
    }

    /// Looks until the instance stops.
    pub(super) async fn run(mut self) {
        let (mut looked, mut forgot) = (Instant::now(), Instant::now());
        loop {
            let begun = Instant::now();
            let look = tokio::time::timeout(LIMIT, self.look()).await.unwrap_or_else(|_| {
                // Not these connections again.
                self.access.db.distrust();
                Err(StoreError::Database(sqlx::Error::PoolTimedOut))
            });
            match look {
                Ok(()) => {
                    looked = begun;
                    self.access.metrics.rulings_lag_seconds.set(looked.elapsed().as_secs_f64());
                    if self.access.is_unverified.swap(false, Relaxed) {
                        tracing::info!("rulings can be read again: sessions are admitted");
                    }
                }
                Err(error) => {
                    // Whatever was done to the store meanwhile.
                    self.position = None;
                    self.access.metrics.rulings_lag_seconds.set(looked.elapsed().as_secs_f64());
                    if looked.elapsed() >= PATIENCE {
                        self.distrust(&error).await;
                    }
                }
            }
            if forgot.elapsed() >= FORGET {
                self.access.memory.load().forget(self.access.world.clock.now());
                forgot = Instant::now();
            }
            tokio::time::sleep(SHORTEST).await;
            // Whoever asked meanwhile is served at once.
            let _ = tokio::time::timeout(EVERY - SHORTEST, self.access.wanted.notified()).await;
        }
    }

    /// Follows what was ruled since the last look.
    async fn look(&mut self) -> Result<(), StoreError> {
        let newest = rulings::newest(&self.access.db).await?;
        loop {
            let Some(position) = self.position.filter(|position| *position <= newest) else { return self.load().await };
            if position == newest {
                return Ok(());
            }
            let batch = rulings::after(&self.access.db, position, BATCH).await?;
            let is_whole = batch.iter().zip(position + 1..).all(|(one, number)| one.number == number && one.ruling.is_some());
            let Some(last) = batch.last().map(|last| last.number).filter(|_| is_whole) else { return self.load().await };
            let concerned = self.learn(batch).await?;
            self.tell(concerned).await;
            self.position = Some(last);
            self.access.position.send_replace(last);
            if last > newest {
                return Ok(());
            }
        }
    }

    /// Takes in what the rulings say.
    async fn learn(&self, batch: Vec<Numbered>) -> Result<Concerned, StoreError> {
        let Access { config, db, memory, keep, metrics, world, keys, api_keys, .. } = &*self.access;
        let (memory, now) = (memory.load_full(), world.clock.now());
        let mut concerned = Concerned::default();
        let mut people = HashSet::new();
        for Numbered { number, ruling } in batch {
            if let Some(ruling) = &ruling {
                metrics.rulings.of(kind(ruling)).increment(1);
            }
            let since = match &ruling {
                Some(Ruling::Joined { since, .. }) => Some(*since),
                _ => None,
            };
            match ruling {
                Some(Ruling::User(user) | Ruling::Ban { user, .. }) => _ = people.insert(user),
                Some(Ruling::Session { user, session }) => {
                    memory.end_session(&session, now);
                    concerned.users.insert(user);
                }
                Some(Ruling::Token { user, token, until }) => {
                    memory.call_in(&token, until);
                    concerned.users.insert(user);
                }
                Some(Ruling::Channel(channel)) => {
                    keep.forget_room(&channel);
                    concerned.channels.insert(channel);
                }
                Some(Ruling::Member { channel, user } | Ruling::Joined { channel, user, .. }) => {
                    keep.forget_member(&channel, &user);
                    if config.namespace(&channel).auto_subscribe {
                        concerned.started.push((user.clone(), Start { channel, cause: Cause::Membership(since) }));
                    }
                    concerned.users.insert(user);
                }
                Some(Ruling::Disconnect(user)) => concerned.ended.push(user),
                Some(Ruling::Unsubscribe { channel, user }) => {
                    concerned.started.retain(|(who, start)| *who != user || start.channel != channel);
                    concerned.cut.push((channel, user));
                }
                Some(Ruling::Subscribe { channel, user, since }) => {
                    concerned.started.push((user, Start { channel, cause: Cause::Backend(since) }));
                }
                Some(Ruling::Key(_)) => _ = keys.send_replace(number),
                Some(Ruling::ApiKey(_)) => _ = api_keys.send_replace(number),
                None => {}
            }
        }
        let named: Vec<&str> = people.iter().map(String::as_str).collect();
        if !named.is_empty() {
            memory.look_at(db, &named, now).await?;
        }
        concerned.users.extend(people);
        Ok(concerned)
    }

    /// Reaches the sessions.
    async fn tell(&self, concerned: Concerned) {
        let Access { registry, starts, hub, metrics, .. } = &*self.access;
        for user in &concerned.ended {
            registry.of(user).iter().for_each(|live| self.end(live));
        }
        for (channel, user) in &concerned.cut {
            starts.cancel(user, channel);
            let cut = registry.of(user).iter().filter(|live| hub.cut(channel, &live.outbox)).count();
            metrics.rulings_subscriptions_ended.increment(cut as u64);
        }
        for user in &concerned.users {
            self.tell_sessions(registry.of(user)).await;
        }
        for (user, start) in &concerned.started {
            starts.start(user, start);
        }
        for channel in &concerned.channels {
            for outbox in hub.outboxes(channel) {
                outbox.review();
            }
        }
    }

    async fn tell_sessions(&self, sessions: Vec<Arc<Live>>) {
        let memory = self.access.memory.load_full();
        for (told, live) in sessions.into_iter().enumerate() {
            if told % TOLD == TOLD - 1 {
                tokio::task::yield_now().await;
            }
            match memory.standing_of(&live.user, live.issued_at, live.session.as_deref(), live.token.as_deref()) {
                Standing::Clear => live.outbox.review(),
                Standing::Blocked | Standing::Deleted | Standing::Revoked => self.end(&live),
            }
        }
    }

    fn end(&self, live: &Live) {
        if live.outbox.close_if_open(CloseCode::Revoked, None) {
            self.access.metrics.rulings_sessions_ended.increment(1);
        }
    }

    /// Learns everything anew: what happened since is not known.
    async fn load(&mut self) -> Result<(), StoreError> {
        let Access { db, memory, keep, registry, starts, world, position, keys, api_keys, .. } = &*self.access;
        let (number, fresh) = Memory::load(db, world.chance.seed(), world.clock.now()).await?;
        memory.store(Arc::new(fresh));
        keep.forget();
        keys.send_replace(number);
        api_keys.send_replace(number);
        self.tell_sessions(registry.all()).await;
        starts.start_all();
        self.position = Some(number);
        position.send_replace(number);
        Ok(())
    }

    /// For too long nothing could be read: whoever's rights may have gone is not believed.
    async fn distrust(&self, error: &StoreError) {
        if !self.access.is_unverified.swap(true, Relaxed) {
            tracing::warn!(%error, "rulings cannot be read: nobody is admitted, and sessions with older tokens are closed");
        }
        let now = self.access.world.clock.now();
        let old = self.access.registry.all().into_iter().filter(|live| live.issued_at.saturating_add(FRESH_MS) <= now);
        for (told, live) in old.enumerate() {
            if told % TOLD == TOLD - 1 {
                tokio::task::yield_now().await;
            }
            live.outbox.close(CloseCode::Unverified, None);
        }
    }
}

fn kind(ruling: &Ruling) -> RulingKind {
    match ruling {
        Ruling::User(_) => RulingKind::User,
        Ruling::Session { .. } => RulingKind::Session,
        Ruling::Token { .. } => RulingKind::Token,
        Ruling::Channel(_) => RulingKind::Channel,
        Ruling::Member { .. } | Ruling::Joined { .. } => RulingKind::Member,
        Ruling::Ban { .. } => RulingKind::Ban,
        Ruling::Key(_) => RulingKind::Key,
        Ruling::ApiKey(_) => RulingKind::ApiKey,
        Ruling::Disconnect(_) => RulingKind::Disconnect,
        Ruling::Subscribe { .. } => RulingKind::Subscribe,
        Ruling::Unsubscribe { .. } => RulingKind::Unsubscribe,
    }
}
