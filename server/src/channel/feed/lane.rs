//! A lane: the task that owns the feeds of its share of the channels.
//!
//! A feed has an inbox and is served in turns of [`SLICE`] deliveries, so that a huge channel starves nobody; touched sockets are written
//! once a round. While a feed reads the store its inbox waits; the other feeds go on. Nothing here blocks or awaits but the commands.

mod reads;

use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
    time::Duration,
};

use hubbub_protocol::{ChannelName, Cursor};
use tokio::{sync::mpsc, time::Instant};

pub(super) use reads::Fetched;
use reads::{Loaded, Past};

use super::{
    Bounds, Command, Parts,
    inbox::Work,
    log::Log,
    owner::{Feed, Horizon, Reading, Served, Turn},
};
use crate::{broker::Plane, hub::Outbox};

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
/// How long a read may take.
const LIMIT: Duration = Duration::from_secs(10);
/// Before a failed read is tried again.
const RETRY: Duration = Duration::from_millis(250);
/// How long an entry waits for its elders: two instances' publishes overtake each other as a matter of course.
const PATIENCE: Duration = Duration::from_millis(20);

pub(super) struct Lane {
    parts: Parts,
    bounds: Bounds,
    commands: mpsc::WeakSender<Command>,
    feeds: HashMap<ChannelName, Feed>,
    ready: VecDeque<ChannelName>,
    touched: Vec<Arc<Outbox>>,
    /// Feeds that wait for elders, and until when; in that order.
    waiting: VecDeque<(Instant, ChannelName)>,
    /// The last look that was taken in; the highest there is where nobody else writes.
    looked: u64,
    bytes: usize,
    /// What the metrics know of `bytes`.
    told: usize,
}

impl Lane {
    pub(super) fn new(parts: Parts, bounds: Bounds, commands: mpsc::WeakSender<Command>) -> Self {
        let looked = if parts.looks.is_some() { 0 } else { u64::MAX };
        Self {
            parts,
            bounds,
            commands,
            feeds: HashMap::new(),
            ready: VecDeque::new(),
            touched: Vec::new(),
            waiting: VecDeque::new(),
            looked,
            bytes: 0,
            told: 0,
        }
    }

    pub(super) async fn run(mut self, mut commands: mpsc::Receiver<Command>) {
        let mut taken = Vec::with_capacity(TAKEN);
        loop {
            if self.ready.is_empty() {
                let until = self.waiting.front().map(|(until, _)| *until);
                tokio::select! {
                    biased;
                    count = commands.recv_many(&mut taken, TAKEN) => if count == 0 { return },
                    () = async { tokio::time::sleep_until(until.unwrap_or_else(Instant::now)).await }, if until.is_some() => {}
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
            self.end_waits();
            self.round();
        }
    }

    /// Reads the store for the feeds whose elders did not come.
    fn end_waits(&mut self) {
        while let Some((until, _)) = self.waiting.front()
            && *until <= Instant::now()
        {
            let Some((_, channel)) = self.waiting.pop_front() else { return };
            let Some(feed) = self.feeds.get_mut(&channel) else { continue };
            if feed.patience_over() {
                let after = feed.position().seq;
                self.repair(channel, after);
            } else {
                self.wait_for_elders(channel);
            }
        }
    }

    fn wait_for_elders(&mut self, channel: ChannelName) {
        if let Some(feed) = self.feeds.get_mut(&channel)
            && feed.wants_patience()
        {
            feed.gap = Some(feed.position().seq);
            self.waiting.push_back((Instant::now() + PATIENCE, channel));
        }
    }

    /// Puts a command into its feed's inbox.
    fn take(&mut self, command: Command) {
        let (channel, work) = match command {
            Command::Join { subscription, durable, since, keep, reply } => {
                let channel = subscription.channel.clone();
                let topic = || self.parts.hub.topic(&channel);
                let feed = self.feeds.entry(channel.clone()).or_insert_with(|| Feed::new(topic(), durable, keep));
                let listens = std::mem::replace(&mut feed.listens, true);
                let lacks_head = durable && feed.log.is_none();
                if feed.reading == Reading::Nothing && (lacks_head || !listens && self.parts.broker.is_clustered()) {
                    feed.reading = Reading::Head;
                    feed.recent = since.is_some();
                    self.load(channel.clone(), listens, lacks_head, since.is_some(), keep);
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
            Command::Head { channel, head, look } => (channel, Work::Head { head, look }),
            Command::Looked { look, reply } => {
                self.looked = self.looked.max(look);
                // The looker is gone: the instance is stopping.
                let _ = reply.send(());
                return;
            }
            Command::Compare(channel) => (channel, Work::Compare),
            Command::Positions(reply) => {
                let positions = self.feeds.iter().filter_map(|(channel, feed)| feed.seen(channel)).collect();
                // Whoever asked is gone: the instance is stopping.
                let _ = reply.send(positions);
                return;
            }
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
        let horizon = Horizon {
            looked: self.looked,
            doubted: self.parts.looks.as_ref().map_or(0, |looks| looks.doubted()),
            others: self.parts.looks.is_some(),
        };
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
                horizon,
            };
            let turn = feed.turn(&mut served, &self.parts);
            budget = budget.saturating_sub(SLICE - served.budget.min(SLICE)).saturating_sub(1);
            self.bytes = self.bytes + feed.bytes() - before;
            if let Some(after) = feed.wants_repair() {
                self.repair(channel, after);
            } else if let Some((before, keep)) = feed.wants_recent() {
                self.read_recent(channel, before, keep);
            } else if let Some((position, newest)) = feed.wants_compare() {
                self.compare(channel, position, newest);
            } else if turn == Turn::More {
                self.wait_for_elders(channel.clone());
                self.queue(channel);
            } else if feed.is_idle() {
                self.bytes -= feed.bytes();
                if feed.listens {
                    self.parts.broker.unlisten(Plane::Entries, &channel);
                }
                self.feeds.remove(&channel);
                self.parts.hub.forget(&channel);
            } else {
                self.wait_for_elders(channel);
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

    fn fetched(&mut self, channel: ChannelName, fetched: Fetched) {
        let Some(feed) = self.feeds.get_mut(&channel) else { return };
        if feed.reading != fetched.reading() {
            // For a feed that is no more.
            return;
        }
        let before = feed.bytes();
        feed.reading = Reading::Nothing;
        match fetched {
            Fetched::Loaded(Ok(Loaded { born, epoch, head, recent })) => {
                (feed.born, feed.assured) = (born, true);
                feed.fence = Cursor { epoch, seq: head.unwrap_or_default().seq };
                feed.log = head.map(|head| {
                    let mut log = Log::new(head, recent, feed.keep);
                    log.trim(&self.bounds, self.bounds.total_bytes as isize - (self.bytes + log.bytes()) as isize);
                    log
                });
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
                feed.inbox.refuse_joins();
            }
            Fetched::Repaired(Ok((entries, head))) => feed.repaired(entries, head),
            Fetched::Repaired(Err(error)) => {
                tracing::warn!(channel = channel.as_str(), %error, "missing entries could not be read; trying again");
                feed.inbox.refuse_joins();
                feed.inbox.push_front(Work::Verify);
            }
            Fetched::Compared(Ok(Past { shared: true, head, epoch })) => feed.shares(head, epoch),
            Fetched::Compared(Ok(Past { shared: false, head, epoch })) => {
                let subscribers = feed.reset(&channel, head, epoch, &mut self.touched);
                tracing::warn!(channel = channel.as_str(), seq = head.seq, epoch, subscribers, "the store has gone back in time");
                self.parts.metrics.feed_resets.increment(1);
            }
            Fetched::Compared(Err(error)) => {
                tracing::warn!(channel = channel.as_str(), %error, "the past of a channel could not be compared; trying again");
                feed.inbox.refuse_joins();
                feed.inbox.push_front(Work::Compare);
            }
        }
        let compare = feed.wants_compare();
        self.bytes = self.bytes + feed.bytes() - before;
        match compare {
            Some((position, newest)) => self.compare(channel, position, newest),
            None => self.queue(channel),
        }
    }
}
