//! One channel's feed: it takes its inbox in order, keeps the log, and hands groups of entries to the hub. Its lane calls it.

mod accept;
mod past;

use std::{
    collections::{BTreeMap, HashSet},
    sync::Arc,
};

use hubbub_protocol::{
    ChannelName, Cursor, MessageId,
    frame::{SkipReason, Slow},
};
use tokio::sync::{OwnedSemaphorePermit, oneshot};

use accept::Origin;
pub(in crate::channel) use past::gone_back;

use super::{
    Bounds, Joined, Keep, Parts, Pulled, Resume, Unloaded,
    inbox::{Inbox, Work},
    log::Log,
    steps::{self, steps},
};
use crate::{
    hub::{Delivery, Live, Outbox, Slice, Subscription, Topic},
    store::pasts::Position,
    telemetry::Metrics,
};

/// Entries delivered to a subscriber in one go.
const GROUP: usize = 64;
/// Entries of a durable channel that may wait for its turn; beyond them the feed reads the store when it gets there.
const INBOX: usize = 1_024;
/// Entries that may wait for their elders; beyond them the store is read at once.
const EARLY: usize = 1_024;

/// A group of entries on its way to the subscribers.
struct Group {
    entries: Vec<Arc<Delivery>>,
    next: usize,
}

/// What a feed reads from the store; its inbox waits meanwhile.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Reading {
    Nothing,
    /// The head: nobody has joined yet.
    Head,
    /// What was recent before the feed was made: somebody resumes.
    Recent,
    /// What is missing after the position.
    Hole,
    /// Whether the position is still part of the store's past.
    Past,
}

/// What is known about other instances' entries when a turn begins.
#[derive(Clone, Copy)]
pub(super) struct Horizon {
    /// The last look that was taken in.
    pub(super) looked: u64,
    /// Looks up to this one do not count.
    pub(super) doubted: u64,
    /// Whether others write, too: then an entry that is early may have elders on the way.
    pub(super) others: bool,
}

/// The one owner of a channel's order on this instance.
pub(super) struct Feed {
    topic: Arc<Topic>,
    /// `None` in an ephemeral channel, and until the head is known.
    pub(super) log: Option<Log>,
    durable: bool,
    pub(super) keep: Keep,
    pub(super) inbox: Inbox,
    /// Of an ephemeral channel: the room that the inbox takes up.
    room: Option<OwnedSemaphorePermit>,
    group: Option<Group>,
    pub(super) reading: Reading,
    /// The head when the store was just read: what is missing up to there is nowhere.
    pub(super) head_read: Option<u64>,
    /// Entries that came before their elders, by seq.
    early: BTreeMap<u64, Arc<Delivery>>,
    /// The highest seq that is known to exist.
    awaited: u64,
    /// While elders are waited for: the position when that began.
    pub(super) gap: Option<u64>,
    /// The head when the past was last compared with the store's, and the epoch that entries got then: what is published beyond it
    /// under a lower epoch is of a past that is no more, and what lies before it is taken from the store only.
    pub(super) fence: Cursor,
    /// The store was read since the inbox was last empty: whoever joins now misses nothing that was committed before.
    pub(super) assured: bool,
    /// The last look that began before the feed listened and knew its head.
    pub(super) born: u64,
    /// The last look that named this channel, and how far the feed was then.
    marked: (u64, u64),
    /// The broker was told to listen.
    pub(super) listens: bool,
    /// The recent entries have been read: once is enough.
    pub(super) recent: bool,
    pub(super) queued: bool,
}

/// Whether a feed wants another turn.
#[derive(PartialEq, Eq)]
pub(super) enum Turn {
    More,
    Idle,
}

/// What a turn may use.
pub(super) struct Served<'l> {
    pub(super) budget: usize,
    pub(super) touched: &'l mut Vec<Arc<Outbox>>,
    pub(super) bounds: &'l Bounds,
    pub(super) spare: isize,
    pub(super) horizon: Horizon,
}

impl Feed {
    pub(super) fn new(topic: Arc<Topic>, durable: bool, keep: Keep) -> Self {
        Self {
            topic,
            log: None,
            durable,
            keep,
            inbox: Inbox::default(),
            room: None,
            group: None,
            reading: Reading::Nothing,
            head_read: None,
            early: BTreeMap::new(),
            awaited: 0,
            gap: None,
            fence: Cursor::default(),
            assured: false,
            born: 0,
            marked: (0, 0),
            listens: false,
            recent: false,
            queued: false,
        }
    }

    pub(super) fn bytes(&self) -> usize {
        self.log.as_ref().map_or(0, Log::bytes)
    }

    pub(super) fn is_idle(&self) -> bool {
        self.inbox.is_empty() && self.group.is_none() && self.reading == Reading::Nothing && self.topic.is_empty()
    }

    /// The seq after which the store has to be read, once.
    pub(super) fn wants_repair(&mut self) -> Option<u64> {
        (self.reading == Reading::Hole).then(|| self.log.as_ref().map_or(0, |log| log.position().seq))
    }

    /// The seq up to which recent entries have to be read, once.
    pub(super) fn wants_recent(&self) -> Option<(u64, Keep)> {
        (self.reading == Reading::Recent).then(|| (self.log.as_ref().map_or(0, |log| log.floor().seq), self.keep))
    }

    /// The position to compare with the store's past, once, and the id of its entry if it is known.
    pub(super) fn wants_compare(&self) -> Option<(Cursor, Option<MessageId>)> {
        (self.reading == Reading::Past).then(|| (self.position(), self.log.as_ref().and_then(Log::newest)))
    }

    /// How far the feed has come, if it has come anywhere.
    pub(super) fn seen(&self, channel: &ChannelName) -> Option<Position> {
        let log = self.log.as_ref()?;
        Some(Position { channel: channel.clone(), cursor: log.position(), newest: log.newest() })
    }

    pub(super) fn position(&self) -> Cursor {
        self.log.as_ref().map_or(Cursor::default(), Log::position)
    }

    /// Puts `work` at the end of the inbox. What the store has need not wait there beyond a bound.
    pub(super) fn put(&mut self, work: Work) {
        let work = match work {
            Work::Entries(_) if self.durable && self.inbox.entries() >= INBOX => Work::Verify,
            work => work,
        };
        if !self.inbox.ends_with(&work) {
            self.inbox.push_back(work);
        }
    }

    pub(super) fn take_room(&mut self, room: OwnedSemaphorePermit) {
        match &mut self.room {
            Some(taken) => taken.merge(room),
            None => self.room = Some(room),
        }
    }

    /// Serves the inbox until the budget is used up.
    pub(super) fn turn(&mut self, served: &mut Served, parts: &Parts) -> Turn {
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
            if self.reading != Reading::Nothing {
                return Turn::Idle;
            }
            match self.inbox.pop_front() {
                None => {
                    self.assured = false;
                    return Turn::Idle;
                }
                Some(Work::Entries(entries)) => {
                    let entries = self.gather(entries);
                    self.begin(entries, Origin::Published, served);
                }
                Some(Work::Stored(mut entries)) => {
                    if entries.len() > GROUP {
                        self.inbox.push_front(Work::Stored(entries.split_off(GROUP)));
                    }
                    self.begin(entries, Origin::Store, served);
                }
                Some(work @ Work::Join { .. }) if !self.is_verified(served.horizon) => {
                    self.inbox.push_front(work);
                    self.reading = Reading::Hole;
                }
                Some(Work::Join { since: Some(since), subscription, reply }) if self.lacks_recent(since, served.bounds) => {
                    self.inbox.push_front(Work::Join { subscription, since: Some(since), reply });
                    (self.recent, self.reading) = (true, Reading::Recent);
                }
                Some(Work::Join { subscription, since, reply }) => self.join(subscription, since, reply, parts),
                Some(Work::Leave(subscription)) => {
                    self.topic.leave(&subscription);
                }
                Some(Work::Pull { subscription, reply }) => {
                    let _ = reply.send(self.pull(&subscription, served.touched, &parts.metrics));
                }
                Some(Work::Verify) if self.log.is_some() => self.reading = Reading::Hole,
                Some(Work::Compare) if self.log.is_some() => self.reading = Reading::Past,
                Some(Work::Verify | Work::Compare) => {}
                Some(Work::Head { head, look }) => self.see_head(head, look),
            }
            served.budget = served.budget.saturating_sub(1);
        }
        if self.reading == Reading::Nothing { Turn::More } else { Turn::Idle }
    }

    /// Whether what was committed before the last look, or before the store was just read, is here or known to be missing.
    fn is_verified(&self, horizon: Horizon) -> bool {
        self.log.is_none() || self.assured || horizon.looked > self.born.max(horizon.doubted)
    }

    /// Whether memory would cover `since` if it reached back as far as it may.
    fn lacks_recent(&self, since: Cursor, bounds: &Bounds) -> bool {
        let Some(log) = &self.log else { return false };
        let entries = bounds.entries.min(self.keep.entries) as u64;
        !self.recent && since.seq < log.floor().seq && log.position().seq - since.seq <= entries
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
    fn pull(&self, subscription: &Arc<Subscription>, touched: &mut Vec<Arc<Outbox>>, metrics: &Metrics) -> Pulled {
        let Some(log) = &self.log else { return Pulled::Done };
        let from = subscription.cursor();
        if from.seq > log.position().seq {
            // It has read the store before the feed did: what it has is not delivered again.
            subscription.outbox.advance(subscription, from, Vec::new(), Live::Yes);
            return Pulled::Done;
        }
        let Some(after) = log.after(from.seq) else { return Pulled::Store { upto: log.position() } };
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
        steps::count(metrics, from, &steps, SkipReason::Superseded);
        subscription.outbox.advance(subscription, from, steps, if reached { Live::Yes } else { Live::NotYet });
        touched.push(subscription.outbox.clone());
        Pulled::Done
    }
}

fn count(metrics: &Metrics, slice: &Slice) {
    metrics.deliveries.increment(slice.entries as u64);
    if slice.full + slice.superseded > 0 {
        metrics.outbox_overflows.of(Slow::Close).increment(slice.full as u64);
        metrics.outbox_overflows.of(Slow::Latest).increment(slice.superseded as u64);
    }
}

fn newest_of_each_key<'a>(after: impl DoubleEndedIterator<Item = &'a Arc<Delivery>>) -> Vec<Arc<Delivery>> {
    let mut keys = HashSet::new();
    // An edit or a deletion takes the place of earlier ones of the same message only.
    let mut newest: Vec<_> =
        after.rev().filter(|delivery| keys.insert((delivery.entry.key.as_ref(), delivery.entry.refers))).cloned().collect();
    newest.reverse();
    newest
}
