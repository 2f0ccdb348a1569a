//! Who may do what, asked by every other use case, and answered from memory wherever that can be.
//!
//! The policy is `auth::policy`; here are the facts. What concerns few (blocks, roles, bans, ended logins) is in memory as a whole; rooms
//! and memberships are read when they are asked for, and kept. A *looker* follows the rulings in the store, so that a change anywhere
//! counts here within half a second, at once if somebody told; sessions that it concerns are closed, or look at their subscriptions again.

pub mod backends;
pub mod bans;
mod change;
mod keep;
mod looker;
mod memory;
mod registry;
pub mod standing;
mod starts;
#[cfg(test)]
mod tests;

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::Duration,
};

use arc_swap::ArcSwap;
use hubbub_protocol::ChannelName;
use tokio::sync::{Notify, watch};

use crate::{
    auth::{
        Act, Action, Identity, Power, Role,
        policy::{self, Decision, Facts, MemberState, Place, Rights, RoomKind, Standing},
    },
    broker::{Broker, To},
    config::{Config, Creation, Namespace},
    hub::{Hub, Outbox},
    store::{Db, StoreError, members},
    tasks::Tasks,
    telemetry::Metrics,
    world::World,
};
use keep::Keep;
use looker::Looker;
use memory::Memory;
use registry::Registry;
use starts::Wanted;

pub use crate::auth::Denied;
pub use change::By;
pub use registry::Listed;
pub use starts::{Cause, Due, Enlisted, Start};

/// What tells other instances to look. Its first byte is no version of a message about presence, as which a release before would read it.
pub const HINT: &[u8] = &[0xa5, 1];
/// How long a change may take to count here, when somebody waits for it.
const SETTLED: Duration = Duration::from_secs(1);
/// Memberships in one read.
const PAGE: u32 = 1_000;

/// The facts, and who goes by them. One an instance, shared.
#[derive(Debug)]
pub struct Access {
    config: Arc<Config>,
    db: Db,
    hub: Arc<Hub>,
    broker: Broker,
    metrics: Arc<Metrics>,
    world: World,
    memory: ArcSwap<Memory>,
    keep: Keep,
    backends: backends::Known,
    registry: Arc<Registry>,
    starts: Arc<Wanted>,
    wanted: Notify,
    /// No look has succeeded for too long.
    is_unverified: AtomicBool,
    /// The number of the last ruling that counts here.
    position: watch::Sender<u64>,
    /// The number of the last ruling about keys that sign tokens.
    keys: watch::Sender<u64>,
    /// The same about keys of backends.
    api_keys: watch::Sender<u64>,
}

/// What [`Access`] is made of.
#[derive(Debug, Clone)]
pub struct Parts {
    /// Namespaces.
    pub config: Arc<Config>,
    /// Where rights are kept.
    pub db: Db,
    /// Who is subscribed to a channel that changes.
    pub hub: Arc<Hub>,
    /// The other instances.
    pub broker: Broker,
    /// Counts.
    pub metrics: Arc<Metrics>,
    /// Time and chance.
    pub world: World,
}

impl Access {
    /// Loads what is in memory as a whole, and starts the looker.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn start(parts: Parts, tasks: &Tasks) -> Result<Arc<Self>, StoreError> {
        let access = Self::load(parts).await?;
        tasks.spawn_until_stop(Looker::new(access.clone()).run());
        Ok(access)
    }

    /// The same without a looker: for a command that asks once.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn load(parts: Parts) -> Result<Arc<Self>, StoreError> {
        let Parts { config, db, hub, broker, metrics, world } = parts;
        let seed = world.chance.seed();
        let (number, memory) = Memory::load(&db, seed, world.clock.now()).await?;
        Ok(Arc::new(Self {
            config,
            db,
            hub,
            broker,
            memory: ArcSwap::from_pointee(memory),
            keep: Keep::new(seed),
            backends: backends::known(),
            metrics,
            registry: Registry::new(world.chance.seed()),
            starts: Wanted::new(world.chance.seed()),
            world,
            wanted: Notify::new(),
            is_unverified: AtomicBool::new(false),
            position: watch::Sender::new(number),
            keys: watch::Sender::new(0),
            api_keys: watch::Sender::new(0),
        }))
    }

    /// Whether these credentials are good at all: at connect, and for each request over HTTP. From memory.
    ///
    /// # Errors
    /// [`Denied::Revoked`]; [`Denied::Unavailable`] while it is not known whether they were.
    pub fn admits(&self, identity: &Identity) -> Result<(), Denied> {
        if self.is_unverified.load(Relaxed) {
            return Err(Denied::Unavailable);
        }
        match self.memory.load().standing(identity) {
            Standing::Clear => Ok(()),
            Standing::Blocked | Standing::Deleted | Standing::Revoked => Err(Denied::Revoked),
        }
    }

    /// The user's role on the instance. From memory.
    pub fn role(&self, user: &str) -> Role {
        self.memory.load().role(user)
    }

    /// What whoever asks counts as on the instance. A backend counts as an admin, as far as its key's scopes go.
    pub fn role_of(&self, identity: &Identity) -> Role {
        if identity.is_backend { Role::Admin } else { self.role(&identity.user) }
    }

    /// Whether whoever asks has `power` over the instance as a whole.
    pub fn wields(&self, identity: &Identity, power: Power) -> bool {
        policy::wields(identity, self.role_of(identity), power)
    }

    /// Whether `act` is allowed. In an implicit channel from memory, without waiting or allocating; else what was not asked before is read.
    ///
    /// # Errors
    /// [`Denied`].
    pub async fn may(&self, identity: &Identity, act: Act, channel: &ChannelName) -> Result<(), Denied> {
        self.weigh(identity, act, channel).await?.outcome
    }

    /// The same, with each step.
    ///
    /// # Errors
    /// [`Denied::Unavailable`]: the store could not be asked.
    pub async fn weigh(&self, identity: &Identity, act: Act, channel: &ChannelName) -> Result<Decision, Denied> {
        let namespace = self.config.namespace(channel);
        let place = match namespace.create {
            Creation::Implicit => Place::Implicit(namespace.rights()),
            Creation::Explicit => {
                let room = self.keep.room(&self.db, channel).await?;
                let membership = match room {
                    Some(_) => self.keep.membership(&self.db, channel, &identity.user).await?,
                    None => None,
                };
                Place::Explicit(room, membership)
            }
        };
        // After the store was asked: what was ruled meanwhile counts.
        let memory = self.memory.load();
        let facts = Facts {
            identity,
            standing: memory.standing(identity),
            role: if identity.is_backend { Role::Admin } else { memory.role(&identity.user) },
            is_banned: memory.is_banned(&identity.user, channel, &self.world.clock),
            channel,
            place,
        };
        Ok(policy::decide(&facts, act))
    }

    /// Puts a session on the list of those that rulings reach, until what is returned is dropped. To be done *before* [`Access::admits`] is
    /// asked: then whichever comes first, the ruling or the session, the other one sees it.
    pub fn list(&self, identity: &Identity, outbox: &Arc<Outbox>) -> Listed {
        self.registry.list(identity, outbox)
    }

    /// Puts a connection on the list of those on which subscriptions begin by themselves, until what is returned is dropped. To be done
    /// *before* its memberships are read: then whichever comes first, the ruling or the connection, the other one sees it.
    pub fn enlist(&self, identity: &Identity, outbox: &Arc<Outbox>) -> Enlisted {
        self.starts.enlist(&identity.user, outbox)
    }

    /// The channels that `user` has joined and whose namespace subscribes members by itself, newest membership first, at most `most`. Their
    /// rooms and memberships are kept: what is asked of them next costs no read of its own.
    ///
    /// # Errors
    /// [`Denied::Unavailable`].
    pub async fn memberships(&self, user: &Arc<str>, most: usize) -> Result<Vec<ChannelName>, Denied> {
        let mut channels = Vec::new();
        let mut last = None;
        loop {
            // In this order, as for a single row.
            let before = self.keep.stamps();
            let page = keep::read(Box::pin(members::joined(&self.db, user, last.as_ref(), PAGE))).await?;
            for joined in &page {
                if self.config.namespace(&joined.channel).auto_subscribe {
                    if channels.len() == most {
                        return Ok(channels);
                    }
                    self.keep.take(user, joined, &before).await;
                    channels.push(joined.channel.clone());
                }
            }
            if page.len() < PAGE as usize {
                return Ok(channels);
            }
            last = page.into_iter().next_back();
        }
    }

    /// What room `channel` is, if `user` has joined it.
    ///
    /// # Errors
    /// [`Denied::Unavailable`].
    pub async fn joined(&self, user: &Arc<str>, channel: &ChannelName) -> Result<Option<RoomKind>, Denied> {
        let membership = self.keep.membership(&self.db, channel, user).await?;
        if membership.is_none_or(|membership| membership.state != MemberState::Joined) {
            return Ok(None);
        }
        Ok(self.keep.room(&self.db, channel).await?.map(|room| room.kind))
    }

    /// A ruling was committed here: it counts at once, here and on the other instances.
    pub fn look_now(&self) {
        self.wanted.notify_one();
        self.broker.send(To::Everybody, HINT.to_vec());
    }

    /// Another instance says that there is something to see.
    pub fn hinted(&self) {
        self.wanted.notify_one();
    }

    /// The ruling with this number was committed here: returns when it counts on this instance, or after a second. Whoever is answered
    /// then finds on this instance what he has just changed.
    pub async fn settle(&self, number: u64) {
        self.look_now();
        let mut position = self.position.subscribe();
        let _ = tokio::time::timeout(SETTLED, position.wait_for(|position| *position >= number)).await;
    }

    /// Changes whenever there may be other keys that sign tokens.
    pub fn keys(&self) -> watch::Receiver<u64> {
        self.keys.subscribe()
    }

    /// Changes whenever a backend's key may have been revoked.
    pub fn api_keys(&self) -> watch::Receiver<u64> {
        self.api_keys.subscribe()
    }
}

impl Namespace {
    /// What accounts may do without a grant.
    fn rights(&self) -> Rights {
        let given = self.account_grants;
        let pairs = [
            (given.subscribe, Action::Subscribe),
            (given.publish, Action::Publish),
            (given.history, Action::History),
            (given.presence, Action::Presence),
        ];
        Rights::of(pairs.into_iter().filter_map(|(is, action)| is.then_some(action)))
    }
}
