//! A lane: the task that owns the feeds of its share of the channels.
//!
//! A feed has an inbox and is served in turns of [`SLICE`] deliveries, so that a huge channel starves nobody; touched sockets are written
//! once a round. While a feed reads the store its inbox waits; the other feeds go on. Nothing here blocks or awaits but the commands.

use std::{
    collections::{HashMap, HashSet, VecDeque},
    sync::Arc,
    time::Duration,
};

use hubbub_protocol::{
    ChannelName, Cursor, ServerFrame,
    frame::{Skip, SkipRange, SkipReason, Slow},
};
use tokio::sync::{mpsc, oneshot};

use super::{
    Bounds, Command, Joined, Keep, Parts, Pulled, Resume, Unloaded,
    log::{Fit, Log},
};
use crate::{
    hub::{Delivery, Live, Outbox, Slice, Step, Subscription, Topic},
    store::{StoreError, channels, entries},
    telemetry::{Metrics, ReadKind},
};

/// Deliveries of one channel before the next one's turn.
const SLICE: usize = 256;
/// Deliveries before the touched sockets are written.
const ROUND: usize = 4_096;
/// Commands taken at once.
const TAKEN: usize = 256;
/// Entries delivered to a subscriber in one go.
const GROUP: usize = 64;
/// Bytes of a page of a catch-up.
pub(in crate::channel) const PAGE: usize = 64 << 10;
/// Entries read from the store at once to fill a hole.
const REPAIR: u32 = 1_000;
/// Before a failed read is tried again.
const RETRY: Duration = Duration::from_millis(250);

/// What a read of the store brought to a feed.
pub(super) enum Fetched {
    /// The head, and entries up to it.
    Loaded(Result<(Cursor, Vec<Arc<Delivery>>), StoreError>),
    /// Entries after the position.
    Repaired(Result<Vec<Arc<Delivery>>, StoreError>),
}

/// Joins, leaves, pulls and entries of one channel, in order.
enum Work {
    Join { subscription: Arc<Subscription>, since: Option<Cursor>, reply: oneshot::Sender<Result<Joined, Unloaded>> },
    Leave(Arc<Subscription>),
    Pull { subscription: Arc<Subscription>, reply: oneshot::Sender<Pulled> },
    Entries(Vec<Arc<Delivery>>),
    Verify,
}

/// A group of entries on its way to the subscribers.
struct Group {
    entries: Vec<Arc<Delivery>>,
    next: usize,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Reading {
    Nothing,
    /// The head: nobody has joined yet.
    Head,
    /// What is missing after the position.
    Hole,
}

struct Feed {
    topic: Arc<Topic>,
    /// `None` in an ephemeral channel, and until the head is known.
    log: Option<Log>,
    durable: bool,
    keep: Keep,
    inbox: VecDeque<Work>,
    group: Option<Group>,
    reading: Reading,
    /// The store was just read: what is still missing is nowhere.
    repaired: bool,
    queued: bool,
}

/// Whether a feed wants another turn.
#[derive(PartialEq, Eq)]
enum Turn {
    More,
    Idle,
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
                    self.load(channel.clone(), since.is_some(), keep);
                }
                (channel, Work::Join { subscription, since, reply })
            }
            Command::Leave(subscription) => (subscription.channel.clone(), Work::Leave(subscription)),
            Command::Pull { subscription, reply } => (subscription.channel.clone(), Work::Pull { subscription, reply }),
            Command::Entries { channel, entries } => (channel, Work::Entries(entries)),
            Command::Verify(channel) => (channel, Work::Verify),
            Command::Fetched { channel, fetched } => return self.fetched(channel, fetched),
        };
        // Without a feed nobody listens here.
        if let Some(feed) = self.feeds.get_mut(&channel) {
            feed.inbox.push_back(work);
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
                let Some(head) = channels::head(&db, &channel).await? else { return Ok(Vec::new()) };
                let page = entries::Page { after, upto: head.cursor().seq, entries: REPAIR, bytes: usize::MAX };
                let read = entries::page(&db, &channel, head.channel_id, page).await?;
                Ok(read.into_iter().map(|entry| Delivery::new(Arc::new(entry))).collect())
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
            Fetched::Loaded(Ok((position, recent))) => feed.log = Some(Log::new(position, recent, feed.keep)),
            Fetched::Loaded(Err(error)) => {
                tracing::warn!(channel = channel.as_str(), %error, "the head of a channel could not be read");
                feed.fail_joins();
            }
            Fetched::Repaired(Ok(entries)) => {
                feed.repaired = true;
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

/// What a turn may use.
struct Served<'l> {
    budget: usize,
    touched: &'l mut Vec<Arc<Outbox>>,
    bounds: &'l Bounds,
    spare: isize,
}

impl Feed {
    fn new(topic: Arc<Topic>, durable: bool, keep: Keep) -> Self {
        Self {
            topic,
            log: None,
            durable,
            keep,
            inbox: VecDeque::new(),
            group: None,
            reading: Reading::Nothing,
            repaired: false,
            queued: false,
        }
    }

    fn bytes(&self) -> usize {
        self.log.as_ref().map_or(0, Log::bytes)
    }

    fn is_idle(&self) -> bool {
        self.inbox.is_empty() && self.group.is_none() && self.reading == Reading::Nothing && self.topic.is_empty()
    }

    /// The seq after which the store has to be read, once.
    fn wants_repair(&mut self) -> Option<u64> {
        (self.reading == Reading::Hole).then(|| self.log.as_ref().map_or(0, |log| log.position().seq))
    }

    fn fail_joins(&mut self) {
        for work in std::mem::take(&mut self.inbox) {
            if let Work::Join { reply, .. } = work {
                let _ = reply.send(Err(Unloaded));
            }
        }
    }

    /// Serves the inbox until the budget is used up.
    fn turn(&mut self, served: &mut Served, parts: &Parts) -> Turn {
        while served.budget > 0 {
            if let Some(group) = &mut self.group {
                let slice = self.topic.deliver(&group.entries, group.next, served.budget, served.touched);
                served.budget = served.budget.saturating_sub(slice.entries.max(1));
                count(&parts.metrics, &slice);
                match slice.next {
                    Some(next) => group.next = next,
                    None => self.group = None,
                }
                continue;
            }
            match self.inbox.pop_front() {
                None => return Turn::Idle,
                Some(Work::Entries(entries)) => {
                    let group = self.accept(entries, served);
                    if !group.is_empty() {
                        self.group = Some(Group { entries: group, next: 0 });
                    }
                    if self.reading == Reading::Hole && self.group.is_none() {
                        return Turn::Idle;
                    }
                }
                Some(Work::Join { subscription, since, reply }) => self.join(subscription, since, reply, parts),
                Some(Work::Leave(subscription)) => {
                    self.topic.leave(&subscription);
                }
                Some(Work::Pull { subscription, reply }) => {
                    let _ = reply.send(self.pull(&subscription, served.touched));
                }
                Some(Work::Verify) => {
                    if self.log.is_some() {
                        self.reading = Reading::Hole;
                        return Turn::Idle;
                    }
                }
            }
            served.budget = served.budget.saturating_sub(1);
        }
        if self.reading == Reading::Hole { Turn::Idle } else { Turn::More }
    }

    /// Those of `entries`, and of the works behind them, that come next. What is early waits in the inbox until the hole is filled.
    fn accept(&mut self, mut entries: Vec<Arc<Delivery>>, served: &Served) -> Vec<Arc<Delivery>> {
        while entries.len() < GROUP
            && let Some(Work::Entries(_)) = self.inbox.front()
            && let Some(Work::Entries(more)) = self.inbox.pop_front()
        {
            entries.extend(more);
        }
        if entries.len() > GROUP {
            self.inbox.push_front(Work::Entries(entries.split_off(GROUP)));
        }
        if !self.durable {
            return entries;
        }
        let Some(log) = &mut self.log else { return Vec::new() };
        let mut next = Vec::with_capacity(entries.len());
        let mut early = Vec::new();
        for delivery in entries {
            match log.accept(&delivery) {
                Fit::Next => next.push(delivery),
                Fit::Old => {}
                Fit::Early if self.repaired && early.is_empty() => {
                    // The history let go of them meanwhile: whoever lacks them pulls, and is told.
                    log.jump(&delivery);
                    next.push(delivery);
                }
                Fit::Early => early.push(delivery),
            }
        }
        self.repaired = false;
        log.trim(served.bounds, served.spare);
        if !early.is_empty() {
            self.inbox.push_front(Work::Entries(early));
            self.reading = Reading::Hole;
        }
        next
    }

    fn join(
        &mut self,
        subscription: Arc<Subscription>,
        since: Option<Cursor>,
        reply: oneshot::Sender<Result<Joined, Unloaded>>,
        parts: &Parts,
    ) {
        let joined = match &self.log {
            Some(log) => {
                let oldest = parts.clock.now().saturating_sub(self.keep.age.as_millis() as u64);
                Joined { position: log.position(), resume: log.judge(since, oldest) }
            }
            None if self.durable => {
                let _ = reply.send(Err(Unloaded));
                return;
            }
            None => Joined { position: Cursor::default(), resume: Resume::Fresh },
        };
        subscription.seek(joined.position);
        self.topic.join(subscription.clone());
        if reply.send(Ok(joined)).is_err() {
            // The session is gone, and will not leave.
            self.topic.leave(&subscription);
        }
    }

    /// Appends what memory holds after the subscription's cursor.
    fn pull(&self, subscription: &Arc<Subscription>, touched: &mut Vec<Arc<Outbox>>) -> Pulled {
        let Some(log) = &self.log else { return Pulled::Done };
        let from = subscription.cursor();
        let Some(after) = log.after(from.seq) else { return Pulled::Store { upto: log.position().seq } };
        let deliveries: Vec<_> = match subscription.slow {
            Slow::Close => after.cloned().collect(),
            Slow::Latest => newest_of_each_key(after),
        };
        let entries = deliveries.iter().map(|delivery| (&delivery.entry.place, delivery.sealed(subscription.outbox.wire())));
        let steps = steps(
            subscription,
            from,
            entries.filter_map(|(place, bytes)| Some((Cursor { epoch: place.as_ref()?.epoch, seq: place.as_ref()?.seq }, bytes.clone()))),
            SkipReason::Superseded,
        );
        let reached = steps.last().map_or(from.seq, |step| step.cursor.seq) == log.position().seq;
        subscription.outbox.advance(subscription, from, steps, if reached { Live::Yes } else { Live::NotYet });
        touched.push(subscription.outbox.clone());
        Pulled::Done
    }
}

fn count(metrics: &Metrics, slice: &Slice) {
    metrics.deliveries.increment(slice.entries as u64);
    if slice.closed + slice.superseded > 0 {
        metrics.outbox_overflows.of(Slow::Close).increment(slice.closed as u64);
        metrics.outbox_overflows.of(Slow::Latest).increment(slice.superseded as u64);
    }
}

fn newest_of_each_key<'a>(after: impl DoubleEndedIterator<Item = &'a Arc<Delivery>>) -> Vec<Arc<Delivery>> {
    let mut keys = HashSet::new();
    let mut newest: Vec<_> = after.rev().filter(|delivery| keys.insert(delivery.entry.key.as_ref())).cloned().collect();
    newest.reverse();
    newest
}

/// About a page of steps from `from`: each entry, and a skip before it where some are missing.
pub(in crate::channel) fn steps(
    subscription: &Subscription,
    from: Cursor,
    entries: impl Iterator<Item = (Cursor, bytes::Bytes)>,
    missing: SkipReason,
) -> Vec<Step> {
    let mut steps = Vec::new();
    let mut size = 0;
    let mut at = from.seq;
    for (cursor, bytes) in entries {
        size += bytes.len();
        if size > PAGE && !steps.is_empty() {
            break;
        }
        if cursor.seq > at + 1 {
            let before = Cursor { epoch: cursor.epoch, seq: cursor.seq - 1 };
            steps.push(Step { bytes: skip(subscription, at + 1, before, missing), cursor: before });
        }
        at = cursor.seq;
        steps.push(Step { bytes, cursor });
    }
    steps
}

/// A skip of `from` to `to.seq`.
pub(in crate::channel) fn skip(subscription: &Subscription, from: u64, to: Cursor, reason: SkipReason) -> bytes::Bytes {
    let range = SkipRange { epoch: to.epoch, from, to: to.seq };
    let skip = Skip { channel: subscription.channel.clone(), range: Some(range), count: to.seq + 1 - from, reason };
    subscription.outbox.wire().frame(&ServerFrame::Skip(skip))
}
