//! The use cases of real time: publish, subscribe, history. One set of rules, whatever door a request came through.
//!
//! Sessions and REST call [`Channels`]; it asks the grants, keeps the bounds, and speaks to the store and the feeds. It knows no
//! socket and no format.

mod append;
pub mod feed;
mod history;
mod info;
mod janitor;
mod publish;
mod refused;
mod subscribe;

use std::sync::Arc;

use hubbub_protocol::ChannelName;
use tokio::sync::mpsc;

use crate::{
    auth::{Action, Identity},
    broker::Broker,
    config::{Config, Durability, Namespace},
    hub::Hub,
    store::Db,
    tasks::Tasks,
    telemetry::Metrics,
    world::World,
};
use feed::{Feeds, Keep};

pub use history::{Direction, HistoryPage};
pub use info::ChannelInfo;
pub use publish::{NewMessage, Ticket};
pub use refused::Refused;
pub use subscribe::Accepted;

/// The use cases, and what they work with. One an instance, shared.
#[derive(Debug)]
pub struct Channels {
    config: Arc<Config>,
    db: Db,
    hub: Arc<Hub>,
    feeds: Feeds,
    queue: mpsc::Sender<append::Pending>,
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
    /// Who listens.
    pub hub: Arc<Hub>,
    /// The other instances.
    pub broker: Broker,
    /// Counts.
    pub metrics: Arc<Metrics>,
    /// Time and chance.
    pub world: World,
    /// How many lanes.
    pub lanes: usize,
}

impl Channels {
    /// Starts the lanes, the writer and the janitor. The writer ends, after what is queued, when the tasks are stopped.
    pub fn start(parts: Parts, tasks: &Tasks) -> Arc<Self> {
        let Parts { config, db, hub, broker, metrics, world, lanes } = parts;
        let bounds = feed::Bounds {
            entries: config.channel.feed_entries,
            bytes: config.channel.feed_bytes,
            total_bytes: config.channel.feed_total_bytes,
        };
        let feed_parts =
            feed::Parts { hub: hub.clone(), db: db.clone(), tasks: tasks.clone(), metrics: metrics.clone(), clock: world.clock.clone() };
        let feeds = Feeds::start(lanes, world.chance.seed(), bounds, &feed_parts);
        let (queue, pending) = mpsc::channel(config.channel.publish_queue);
        let writer = append::Writer { db: db.clone(), feeds: feeds.clone(), broker, metrics: metrics.clone(), clock: world.clock.clone() };
        tasks.spawn(writer.run(pending, config.channel.commit_batch, tasks.stopping().clone()));
        tasks.spawn_until_stop(janitor::run(config.clone(), db.clone(), world.clock.clone()));
        Arc::new(Self { config, db, hub, feeds, queue, metrics, world })
    }

    fn namespace(&self, channel: &ChannelName) -> &Namespace {
        self.config.namespace(channel)
    }

    fn allow(identity: &Identity, action: Action, channel: &ChannelName) -> Result<(), Refused> {
        if identity.grants.allows(action, channel) { Ok(()) } else { Err(Refused::Forbidden) }
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
        (head.saturating_sub(self.history_entries), now.saturating_sub(self.history_age.as_millis() as u64))
    }
}
