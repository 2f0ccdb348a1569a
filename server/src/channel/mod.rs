//! The use cases of real time: publish, subscribe, history, presence. One set of rules, whatever door a request came through.
//!
//! Sessions and REST call [`Channels`]; it asks the grants, keeps the bounds, and speaks to the store and the feeds. It knows no
//! socket and no format.

mod amend;
mod append;
pub mod feed;
mod history;
mod info;
mod janitor;
mod looker;
mod messages;
pub mod presence;
mod publish;
mod refused;
mod subscribe;

use std::{hash::BuildHasher, sync::Arc};

use foldhash::quality::FixedState;
use hubbub_protocol::{ChannelName, Entry, frame::SkipReason};
use tokio::sync::{Semaphore, mpsc};

use crate::{
    access::Access,
    broker::Broker,
    config::{Config, Durability, Namespace},
    hub::{Delivery, Hub},
    store::Db,
    tasks::{Chores, Duty, Tasks},
    telemetry::Metrics,
    world::World,
};
use feed::{Feeds, Keep, Looks};
use presence::Presence;

pub use amend::Authority;
pub use history::{Direction, HistoryPage};
pub use info::ChannelInfo;
pub use looker::Watch;
pub use messages::{Message, MessagePage, Range as MessageRange};
#[cfg(test)]
pub(crate) use publish::digest;
pub use publish::{NewMessage, Stored, Ticket};
pub use refused::Refused;
pub use subscribe::Accepted;

/// Feeds that read the store at once; the others wait for their turn, however many subscribe.
const READS: usize = 16;
/// Feeds that compare their pasts with the store's at once: they must not take the connections from those who read for somebody.
const COMPARISONS: usize = 2;

/// The use cases, and what they work with. One an instance, shared.
#[derive(Debug)]
pub struct Channels {
    config: Arc<Config>,
    db: Db,
    access: Arc<Access>,
    hub: Arc<Hub>,
    feeds: Feeds,
    watch: Option<Arc<Watch>>,
    /// One a writer.
    queues: Box<[mpsc::Sender<append::Pending>]>,
    hash: FixedState,
    broker: Broker,
    duty: Arc<Duty>,
    presence: Presence,
    metrics: Arc<Metrics>,
    world: World,
}

/// What [`Channels`] is made of.
#[derive(Debug)]
pub struct Parts {
    /// Bounds and namespaces.
    pub config: Arc<Config>,
    /// Where entries are kept.
    pub db: Db,
    /// Who may.
    pub access: Arc<Access>,
    /// Who listens.
    pub hub: Arc<Hub>,
    /// This instance's id.
    pub instance: String,
    /// The other instances.
    pub broker: Broker,
    /// Counts.
    pub metrics: Arc<Metrics>,
    /// Time and chance.
    pub world: World,
    /// How many lanes.
    pub lanes: usize,
    /// Whether others write, too: other instances, or applications in transactions of their own. Then the store is looked at every second.
    pub looks: Option<Arc<Looks>>,
}

impl Channels {
    /// Starts the lanes, the writers, the looker and the janitor. The writers end, after what is queued, when the tasks are stopped.
    pub fn start(parts: Parts, tasks: &Tasks) -> Arc<Self> {
        let Parts { config, db, access, hub, instance, broker, metrics, world, lanes, looks } = parts;
        let bounds = feed::Bounds {
            entries: config.channel.feed_entries,
            bytes: config.channel.feed_bytes,
            total_bytes: config.channel.feed_total_bytes,
        };
        let feed_parts = feed::Parts {
            hub: hub.clone(),
            db: db.clone(),
            broker: broker.clone(),
            looks: looks.clone(),
            reads: Arc::new(Semaphore::new(READS)),
            comparisons: Arc::new(Semaphore::new(COMPARISONS)),
            tasks: tasks.clone(),
            metrics: metrics.clone(),
            clock: world.clock.clone(),
        };
        let feeds = Feeds::start(lanes, world.chance.seed(), bounds, &feed_parts);
        let watch = looks.map(|looks| {
            let watch = Watch::new(looks.clone(), world.clock.clone());
            let looker = looker::Looker { db: db.clone(), feeds: feeds.clone(), looks, watch: watch.clone(), metrics: metrics.clone() };
            tasks.spawn_until_stop(looker.run());
            watch
        });
        let writer =
            append::Writer { db: db.clone(), feeds: feeds.clone(), broker: broker.clone(), metrics: metrics.clone(), world: world.clone() };
        let writers = db.writers();
        let start = |_| {
            let (queue, pending) = mpsc::channel((config.channel.publish_queue / writers).max(config.channel.commit_batch));
            tasks.spawn(writer.clone().run(pending, config.channel.commit_batch, tasks.stopping().clone()));
            queue
        };
        let queues = (0..writers).map(start).collect();
        let duty = Arc::<Duty>::default();
        tasks.spawn_until_stop(janitor::run(config.clone(), db.clone(), world.clock.clone(), duty.clone()));
        let presence = Presence::start(&instance, broker.clone(), metrics.clone(), &world, tasks);
        let hash = FixedState::with_seed(world.chance.seed());
        Arc::new(Self { config, db, access, hub, feeds, watch, queues, hash, broker, presence, duty, metrics, world })
    }

    /// Tells whether it is this instance that deletes what is old: one in a cluster is enough.
    pub fn share_chores(&self, chores: Chores) {
        self.duty.set(chores);
    }

    /// Whose the chores are: for whatever else is deleted when it is old.
    pub fn duty(&self) -> &Arc<Duty> {
        &self.duty
    }

    /// The looker's handle; `None` if nobody but this instance writes.
    pub fn watch(&self) -> Option<&Arc<Watch>> {
        self.watch.as_ref()
    }

    /// Who is there.
    pub fn presence(&self) -> &Presence {
        &self.presence
    }

    /// Entries of one channel have come from another instance.
    pub async fn arrived(&self, entries: Vec<Entry>) {
        let Some(channel) = entries.first().map(|entry| entry.channel.clone()) else { return };
        let (stored, passing): (Vec<_>, Vec<_>) =
            entries.into_iter().map(|entry| Delivery::new(Arc::new(entry))).partition(|delivery| delivery.entry.place.is_some());
        if !stored.is_empty() {
            self.feeds.deliver(&channel, stored).await;
        }
        for delivery in passing {
            if !self.feeds.pass_if_room(&channel, delivery).await {
                self.metrics.skipped_entries.of(SkipReason::Dropped).increment(1);
            }
        }
    }

    fn queue(&self, channel: &ChannelName) -> &mpsc::Sender<append::Pending> {
        &self.queues[(self.hash.hash_one(channel) % self.queues.len() as u64) as usize]
    }

    fn namespace(&self, channel: &ChannelName) -> &Namespace {
        self.config.namespace(channel)
    }
}

impl Namespace {
    fn is_durable(&self) -> bool {
        self.durability == Durability::Durable
    }

    fn keep(&self) -> Keep {
        Keep { entries: usize::try_from(self.history_entries).unwrap_or(usize::MAX), age: self.history_age }
    }

    /// The oldest seq and time (Unix milliseconds) that the history shows when `head` is the newest seq.
    fn window(&self, head: u64, now: u64) -> (u64, u64) {
        (head.saturating_sub(self.history_entries), self.reach(now).1)
    }

    /// How many of the newest entries the history shows, and from which time on (Unix milliseconds).
    fn reach(&self, now: u64) -> (u64, u64) {
        (self.history_entries, now.saturating_sub(self.history_age.as_millis() as u64))
    }
}
