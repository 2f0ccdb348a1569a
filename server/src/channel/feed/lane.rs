//! A lane: the task that owns the feeds of its share of the channels.
//!
//! A feed has an inbox and is served in turns of [`SLICE`] deliveries, so that a huge channel starves nobody; touched sockets are written
//! once a round. While a feed reads the store its inbox waits; the other feeds go on. Nothing here blocks or awaits but the commands.

use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
    time::Duration,
};

use hubbub_protocol::{ChannelName, Cursor};
use tokio::sync::mpsc;

use super::{
    Bounds, Command, Keep, Parts,
    inbox::Work,
    log::Log,
    owner::{Feed, Reading, Served, Turn},
};
use crate::{
    hub::{Delivery, Outbox},
    store::{StoreError, channels, entries},
    telemetry::ReadKind,
};

/// Deliveries of one channel before the next one's turn.
const SLICE: usize = 256;
/// Deliveries before the touched sockets are written.
const ROUND: usize = 4_096;
/// Commands taken at once.
const TAKEN: usize = 256;
/// Entries read from the store at once to fill a hole.
const REPAIR: u32 = 1_000;
/// Their payloads' bytes.
const REPAIR_BYTES: usize = 1 << 20;
/// Before a failed read is tried again.
const RETRY: Duration = Duration::from_millis(250);

/// What a read of the store brought to a feed.
pub(super) enum Fetched {
    /// The head, and entries up to it.
    Loaded(Result<(Cursor, Vec<Arc<Delivery>>), StoreError>),
    /// Entries before those in memory.
    Recent(Result<Vec<Arc<Delivery>>, StoreError>),
    /// Entries after the position, and the head then.
    Repaired(Result<(Vec<Arc<Delivery>>, Cursor), StoreError>),
}

pub(super) struct Lane {
    parts: Parts,
    bounds: Bounds,
    commands: mpsc::WeakSender<Command>,
    feeds: HashMap<ChannelName, Feed>,
    ready: VecDeque<ChannelName>,
    touched: Vec<Arc<Outbox>>,
    bytes: usize,
    /// What the metrics know of `bytes`.
    told: usize,
}

impl Lane {
    pub(super) fn new(parts: Parts, bounds: Bounds, commands: mpsc::WeakSender<Command>) -> Self {
        Self { parts, bounds, commands, feeds: HashMap::new(), ready: VecDeque::new(), touched: Vec::new(), bytes: 0, told: 0 }
    }

    pub(super) async fn run(mut self, mut commands: mpsc::Receiver<Command>) {
        let mut taken = Vec::with_capacity(TAKEN);
        loop {
            if self.ready.is_empty() {
                if commands.recv_many(&mut taken, TAKEN).await == 0 {
                    return;
                }
            } else {
                // Others of this core first: the next round may be long.
                tokio::task::yield_now().await;
                while taken.len() < TAKEN
                    && let Ok(command) = commands.try_recv()
                {
                    taken.push(command);
                }
            }
            for command in taken.drain(..) {
                self.take(command);
            }
            self.round();
        }
    }

    /// Puts a command into its feed's inbox.
    fn take(&mut self, command: Command) {
        let (channel, work) = match command {
            Command::Join { subscription, durable, since, keep, reply } => {
                let channel = subscription.channel.clone();
                let topic = || self.parts.hub.topic(&channel);
                let feed = self.feeds.entry(channel.clone()).or_insert_with(|| Feed::new(topic(), durable, keep));
                if feed.log.is_none() && durable && feed.reading == Reading::Nothing {
                    feed.reading = Reading::Head;
                    feed.recent = since.is_some();
                    self.load(channel.clone(), since.is_some(), keep);
                }
                (channel, Work::Join { subscription, since, reply })
            }
            Command::Leave(subscription) => (subscription.channel.clone(), Work::Leave(subscription)),
            Command::Pull { subscription, reply } => (subscription.channel.clone(), Work::Pull { subscription, reply }),
            Command::Entries { channel, entries } => (channel, Work::Entries(entries)),
            Command::Passing { channel, delivery, room } => {
                if let Some(feed) = self.feeds.get_mut(&channel) {
                    feed.take_room(room);
                }
                (channel, Work::Entries(vec![delivery]))
            }
            Command::Verify(channel) => (channel, Work::Verify),
            Command::Fetched { channel, fetched } => return self.fetched(channel, fetched),
        };
        // Without a feed nobody listens here.
        if let Some(feed) = self.feeds.get_mut(&channel) {
            feed.put(work);
            self.queue(channel);
        }
    }

    fn queue(&mut self, channel: ChannelName) {
        if let Some(feed) = self.feeds.get_mut(&channel)
            && !feed.queued
            && feed.reading == Reading::Nothing
        {
            feed.queued = true;
            self.ready.push_back(channel);
        }
    }

    /// Turns for the ready feeds, then one write for each touched socket.
    fn round(&mut self) {
        let mut budget = ROUND;
        while budget > 0
            && let Some(channel) = self.ready.pop_front()
        {
            let Some(feed) = self.feeds.get_mut(&channel) else { continue };
            feed.queued = false;
            let before = feed.bytes();
            let mut served = Served {
                budget: SLICE.min(budget),
                touched: &mut self.touched,
                bounds: &self.bounds,
                spare: self.bounds.total_bytes as isize - self.bytes as isize,
            };
            let turn = feed.turn(&mut served, &self.parts);
            budget = budget.saturating_sub(SLICE - served.budget.min(SLICE)).saturating_sub(1);
            self.bytes = self.bytes + feed.bytes() - before;
            if let Some(after) = feed.wants_repair() {
                self.repair(channel, after);
            } else if let Some((before, keep)) = feed.wants_recent() {
                self.read_recent(channel, before, keep);
            } else if turn == Turn::More {
                self.queue(channel);
            } else if feed.is_idle() {
                self.bytes -= feed.bytes();
                self.feeds.remove(&channel);
                self.parts.hub.forget(&channel);
            }
        }
        self.parts.metrics.delivery_writes.increment(self.touched.len() as u64);
        for outbox in self.touched.drain(..) {
            outbox.flush();
        }
        if self.told != self.bytes {
            self.parts.metrics.feed_bytes.increment(self.bytes as f64 - self.told as f64);
            self.told = self.bytes;
        }
    }

    /// Reads what is recent and not in memory: once a channel, however many resume.
    fn read_recent(&self, channel: ChannelName, before: u64, keep: Keep) {
        let (db, bounds) = (self.parts.db.clone(), self.bounds);
        self.parts.metrics.store_reads.of(ReadKind::Head).increment(1);
        self.spawn(channel.clone(), async move {
            let read = async {
                let Some(head) = channels::head(&db, &channel).await? else { return Ok(Vec::new()) };
                let entries = bounds.entries.min(keep.entries) as u32;
                let page = entries::Page { after: 0, upto: before, entries, bytes: bounds.bytes / 2 };
                let read = entries::page_backwards(&db, &channel, head.channel_id, page).await?;
                Ok(read.into_iter().map(|entry| Delivery::new(Arc::new(entry))).collect())
            };
            Fetched::Recent(read.await)
        });
    }

    /// Reads the head, and the recent entries if somebody resumes.
    fn load(&self, channel: ChannelName, recent: bool, keep: Keep) {
        let (db, bounds) = (self.parts.db.clone(), self.bounds);
        let entries = if recent { bounds.entries.min(keep.entries) as u32 } else { 0 };
        self.parts.metrics.store_reads.of(ReadKind::Head).increment(1);
        self.spawn(channel.clone(), async move {
            let load = async {
                let Some(head) = channels::head(&db, &channel).await? else { return Ok((Cursor::default(), Vec::new())) };
                let position = head.cursor();
                if entries == 0 {
                    return Ok((position, Vec::new()));
                }
                let page = entries::Page { after: 0, upto: position.seq, entries, bytes: bounds.bytes / 2 };
                let read = entries::page_backwards(&db, &channel, head.channel_id, page).await?;
                Ok((position, read.into_iter().map(|entry| Delivery::new(Arc::new(entry))).collect()))
            };
            Fetched::Loaded(load.await)
        });
    }

    /// Reads what is missing after the position: once a channel, however many wait.
    fn repair(&mut self, channel: ChannelName, after: u64) {
        let db = self.parts.db.clone();
        self.parts.metrics.store_reads.of(ReadKind::Repair).increment(1);
        self.spawn(channel.clone(), async move {
            let read = async {
                let Some(head) = channels::head(&db, &channel).await? else { return Ok(Default::default()) };
                let page = entries::Page { after, upto: head.cursor().seq, entries: REPAIR, bytes: REPAIR_BYTES };
                let read = entries::page(&db, &channel, head.channel_id, page).await?;
                Ok((read.into_iter().map(|entry| Delivery::new(Arc::new(entry))).collect(), head.cursor()))
            };
            let read: Result<_, StoreError> = read.await;
            if read.is_err() {
                tokio::time::sleep(RETRY).await;
            }
            Fetched::Repaired(read)
        });
    }

    fn spawn(&self, channel: ChannelName, read: impl Future<Output = Fetched> + Send + 'static) {
        let commands = self.commands.clone();
        self.parts.tasks.spawn_until_stop(async move {
            let fetched = read.await;
            if let Some(commands) = commands.upgrade() {
                let _ = commands.send(Command::Fetched { channel, fetched }).await;
            }
        });
    }

    fn fetched(&mut self, channel: ChannelName, fetched: Fetched) {
        let Some(feed) = self.feeds.get_mut(&channel) else { return };
        let before = feed.bytes();
        feed.reading = Reading::Nothing;
        match fetched {
            Fetched::Loaded(Ok((position, recent))) => {
                let mut log = Log::new(position, recent, feed.keep);
                log.trim(&self.bounds, self.bounds.total_bytes as isize - (self.bytes + log.bytes()) as isize);
                feed.log = Some(log);
            }
            Fetched::Recent(Ok(recent)) => {
                if let Some(log) = &mut feed.log {
                    log.prepend(recent);
                    log.trim(&self.bounds, self.bounds.total_bytes as isize - (self.bytes + log.bytes() - before) as isize);
                }
            }
            Fetched::Recent(Err(error)) => {
                // Whoever resumes asks the store itself.
                tracing::warn!(channel = channel.as_str(), %error, "recent entries could not be read");
            }
            Fetched::Loaded(Err(error)) => {
                tracing::warn!(channel = channel.as_str(), %error, "the head of a channel could not be read");
                feed.fail_joins();
            }
            Fetched::Repaired(Ok((entries, head))) => {
                let more = entries.last().is_some_and(|last| last.seq() < head.seq);
                if more {
                    feed.inbox.push_front(Work::Verify);
                }
                feed.repaired = !more;
                feed.inbox.push_front(Work::Entries(entries));
            }
            Fetched::Repaired(Err(error)) => {
                tracing::warn!(channel = channel.as_str(), %error, "missing entries could not be read; trying again");
                feed.inbox.push_front(Work::Verify);
            }
        }
        self.bytes = self.bytes + feed.bytes() - before;
        self.queue(channel);
    }
}
