//! Feeds: on one instance, the one owner of an active channel's position and recent entries.
//!
//! Feeds live on *lanes*, a task a core; a channel's lane is found by its name. Everything that concerns a channel's order goes through
//! its lane: entries, joins, leaves, pulls. [`Feeds`] is the handle; `lane` runs; `owner` is one channel's feed; `log` is its memory, pure.

mod inbox;
mod lane;
mod log;
mod looks;
mod owner;
mod steps;
#[cfg(test)]
mod tests;

pub use looks::Looks;
pub(super) use owner::gone_back;
pub(super) use steps::{PAGE, count, skip, steps};

use std::{hash::BuildHasher, sync::Arc, time::Duration};

use foldhash::quality::FixedState;
use hubbub_protocol::{ChannelName, Cursor};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};

use crate::{
    broker::Broker,
    hub::{Delivery, Hub, Subscription},
    store::{
        Db, StoreError,
        pasts::{self, Position},
    },
    tasks::Tasks,
    telemetry::Metrics,
    world::Clock,
};

/// Commands that a lane may have waiting.
const QUEUE: usize = 4_096;
/// Entries of ephemeral channels that may wait on a lane; beyond them publishers wait, each for its turn.
const ROOM: usize = 1_024;

/// What a lane does for others.
enum Command {
    Join {
        subscription: Arc<Subscription>,
        durable: bool,
        since: Option<Cursor>,
        keep: Keep,
        reply: oneshot::Sender<Result<Joined, Unloaded>>,
    },
    Leave(Arc<Subscription>),
    Pull {
        subscription: Arc<Subscription>,
        reply: oneshot::Sender<Pulled>,
    },
    Entries {
        channel: ChannelName,
        entries: Vec<Arc<Delivery>>,
    },
    /// An entry of an ephemeral channel, and its place in what may wait.
    Passing {
        channel: ChannelName,
        delivery: Arc<Delivery>,
        room: OwnedSemaphorePermit,
    },
    Verify(ChannelName),
    Head {
        channel: ChannelName,
        head: Cursor,
        look: u64,
    },
    Looked {
        look: u64,
        reply: oneshot::Sender<()>,
    },
    Compare(ChannelName),
    Positions(oneshot::Sender<Vec<Position>>),
    Fetched {
        channel: ChannelName,
        fetched: lane::Fetched,
    },
}

/// How much of a channel a feed may keep: no more than the channel's history.
#[derive(Debug, Clone, Copy)]
pub struct Keep {
    /// Entries.
    pub entries: usize,
    /// Age.
    pub age: Duration,
}

/// A subscription is on its channel's list.
#[derive(Debug, Clone, Copy)]
pub struct Joined {
    /// The feed's position then: what comes next is `seq` + 1. `{0, 0}` in an ephemeral channel.
    pub position: Cursor,
    /// What the feed can say of `since`.
    pub resume: Resume,
}

/// Whether a feed's memory covers a cursor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Resume {
    /// No cursor was given.
    Fresh,
    /// Everything after the cursor is in memory.
    Whole,
    /// The cursor is of another past.
    OtherEpoch,
    /// Only the store can tell.
    AskStore,
}

/// The channel's head could not be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Unloaded;

/// What became of a pull.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pulled {
    /// What memory holds was appended to the outbox.
    Done,
    /// Memory does not reach back so far: read entries up to here from the store.
    Store {
        /// The feed's position.
        upto: Cursor,
    },
}

/// Bounds of feeds.
#[derive(Debug, Clone, Copy)]
pub struct Bounds {
    /// Recent entries of one channel.
    pub entries: usize,
    /// Their bytes.
    pub bytes: usize,
    /// Bytes of all channels together.
    pub total_bytes: usize,
}

/// The handle to all lanes. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Feeds {
    lanes: Arc<[Handle]>,
    hash: FixedState,
}

/// The way to one lane.
#[derive(Debug)]
struct Handle {
    commands: mpsc::Sender<Command>,
    room: Arc<Semaphore>,
}

/// What lanes work with.
#[derive(Debug, Clone)]
pub struct Parts {
    /// Who listens.
    pub hub: Arc<Hub>,
    /// Where entries are read again.
    pub db: Db,
    /// Other instances.
    pub broker: Broker,
    /// The looks at the store's heads; `None` if nobody but this instance writes.
    pub looks: Option<Arc<Looks>>,
    /// Who may read the store now.
    pub reads: Arc<Semaphore>,
    /// Who may compare its past with the store's now: a few at once.
    pub comparisons: Arc<Semaphore>,
    /// Spawns lanes and their reads.
    pub tasks: Tasks,
    /// Counts.
    pub metrics: Arc<Metrics>,
    /// Tells which entries are too old.
    pub clock: Clock,
}

impl Feeds {
    /// Starts `lanes` lanes. `seed` is for the hash that gives each channel its lane.
    pub fn start(lanes: usize, seed: u64, bounds: Bounds, parts: &Parts) -> Self {
        let lanes = lanes.max(1);
        let share = Bounds { total_bytes: bounds.total_bytes / lanes, ..bounds };
        let start = |_| {
            let (sender, commands) = mpsc::channel(QUEUE);
            // A weak sender for the lane's own reads, so that it does not keep itself alive.
            let lane = lane::Lane::new(parts.clone(), share, sender.downgrade());
            parts.tasks.spawn_until_stop(lane.run(commands));
            Handle { commands: sender, room: Arc::new(Semaphore::new(ROOM)) }
        };
        Self { lanes: (0..lanes).map(start).collect(), hash: FixedState::with_seed(seed) }
    }

    fn lane(&self, channel: &ChannelName) -> &Handle {
        &self.lanes[(self.hash.hash_one(channel) % self.lanes.len() as u64) as usize]
    }

    async fn send(&self, channel: &ChannelName, command: Command) {
        // A lane that is gone has nobody to serve: the instance is stopping.
        let _ = self.lane(channel).commands.send(command).await;
    }

    /// Puts a subscription on its channel's list, in the lane's order, and tells where it stands.
    ///
    /// # Errors
    /// [`Unloaded`] if the channel's head cannot be read; the subscription has not joined.
    pub async fn join(
        &self,
        subscription: Arc<Subscription>,
        durable: bool,
        since: Option<Cursor>,
        keep: Keep,
    ) -> Result<Joined, Unloaded> {
        let (reply, joined) = oneshot::channel();
        let channel = subscription.channel.clone();
        self.send(&channel, Command::Join { subscription, durable, since, keep, reply }).await;
        joined.await.unwrap_or(Err(Unloaded))
    }

    /// Takes an ended subscription off its channel's list.
    pub async fn leave(&self, subscription: Arc<Subscription>) {
        let channel = subscription.channel.clone();
        self.send(&channel, Command::Leave(subscription)).await;
    }

    /// Appends what memory holds after the subscription's cursor to its outbox, a page at most.
    pub async fn pull(&self, subscription: Arc<Subscription>) -> Pulled {
        let (reply, pulled) = oneshot::channel();
        let channel = subscription.channel.clone();
        self.send(&channel, Command::Pull { subscription, reply }).await;
        pulled.await.unwrap_or(Pulled::Done)
    }

    /// Delivers an entry of an ephemeral channel to this instance's subscribers. Waits while too many wait already.
    pub async fn pass(&self, channel: &ChannelName, delivery: Arc<Delivery>) {
        // Never closed.
        let Ok(room) = self.lane(channel).room.clone().acquire_owned().await else { return };
        self.send(channel, Command::Passing { channel: channel.clone(), delivery, room }).await;
    }

    /// The same for an entry from another instance, unless too many wait already. Whether it was taken.
    pub async fn pass_if_room(&self, channel: &ChannelName, delivery: Arc<Delivery>) -> bool {
        let Ok(room) = self.lane(channel).room.clone().try_acquire_owned() else { return false };
        self.send(channel, Command::Passing { channel: channel.clone(), delivery, room }).await;
        true
    }

    /// Delivers stored entries of one channel to this instance's subscribers.
    pub async fn deliver(&self, channel: &ChannelName, entries: Vec<Arc<Delivery>>) {
        self.send(channel, Command::Entries { channel: channel.clone(), entries }).await;
    }

    /// Looks whether the store has entries that the feed has not: after a commit whose outcome is unknown.
    pub async fn verify(&self, channel: &ChannelName) {
        self.send(channel, Command::Verify(channel.clone())).await;
    }

    /// Look number `look` saw these heads. Returns when every lane has taken them in.
    pub async fn looked(&self, look: u64, heads: impl IntoIterator<Item = (ChannelName, Cursor)>) {
        for (channel, head) in heads {
            self.send(&channel.clone(), Command::Head { channel, head, look }).await;
        }
        for lane in self.lanes.iter() {
            let (reply, taken) = oneshot::channel();
            let _ = lane.commands.send(Command::Looked { look, reply }).await;
            let _ = taken.await;
        }
    }

    /// The store may have gone back in time: all positions are compared with it, and feeds whose position is not what it was look closer.
    ///
    /// # Errors
    /// [`StoreError`]: compare again.
    pub async fn compare(&self, db: &Db) -> Result<(), StoreError> {
        for lane in self.lanes.iter() {
            let (reply, positions) = oneshot::channel();
            let _ = lane.commands.send(Command::Positions(reply)).await;
            let Ok(positions) = positions.await else { continue };
            for channel in pasts::doubtful(db, &positions).await? {
                self.compare_one(channel).await;
            }
        }
        Ok(())
    }

    /// A channel's entries are not what they were.
    pub async fn compare_one(&self, channel: ChannelName) {
        self.send(&channel.clone(), Command::Compare(channel)).await;
    }
}
