//! One channel's feed: it takes its inbox in order, keeps the log, and hands groups of entries to the hub. Its lane calls it.

use std::{collections::HashSet, sync::Arc};

use hubbub_protocol::{
    Cursor,
    frame::{SkipReason, Slow},
};
use tokio::sync::{OwnedSemaphorePermit, oneshot};

use super::{
    Bounds, Joined, Keep, Parts, Pulled, Resume, Unloaded,
    inbox::{Inbox, Work},
    log::{Fit, Log},
    steps::{self, steps},
};
use crate::{
    hub::{Delivery, Live, Outbox, Slice, Subscription, Topic},
    telemetry::Metrics,
};

/// Entries delivered to a subscriber in one go.
const GROUP: usize = 64;
/// Entries of a durable channel that may wait for its turn; beyond them the feed reads the store when it gets there.
const INBOX: usize = 1_024;

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
    /// The store was just read: what is still missing is nowhere.
    pub(super) repaired: bool,
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
            repaired: false,
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

    pub(super) fn fail_joins(&mut self) {
        while let Some(work) = self.inbox.pop_front() {
            if let Work::Join { reply, .. } = work {
                let _ = reply.send(Err(Unloaded));
            }
        }
    }

    /// Puts `work` at the end of the inbox. What the store has need not wait there beyond a bound.
    pub(super) fn put(&mut self, work: Work) {
        let work = match work {
            Work::Entries(_) if self.durable && self.inbox.entries() >= INBOX => Work::Verify,
            work => work,
        };
        if !(matches!(work, Work::Verify) && self.inbox.ends_with_verify()) {
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
                Some(Work::Join { since: Some(since), subscription, reply }) if self.lacks_recent(since, served.bounds) => {
                    self.inbox.push_front(Work::Join { subscription, since: Some(since), reply });
                    (self.recent, self.reading) = (true, Reading::Recent);
                    return Turn::Idle;
                }
                Some(Work::Join { subscription, since, reply }) => self.join(subscription, since, reply, parts),
                Some(Work::Leave(subscription)) => {
                    self.topic.leave(&subscription);
                }
                Some(Work::Pull { subscription, reply }) => {
                    let _ = reply.send(self.pull(&subscription, served.touched, &parts.metrics));
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
            && let Some(more) = self.inbox.pop_entries()
        {
            entries.extend(more);
        }
        if entries.len() > GROUP {
            self.inbox.push_front(Work::Entries(entries.split_off(GROUP)));
        }
        if !self.durable {
            // Given back to those who wait to publish.
            drop(self.room.as_mut().and_then(|room| room.split(entries.len())));
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
    let mut newest: Vec<_> = after.rev().filter(|delivery| keys.insert(delivery.entry.key.as_ref())).cloned().collect();
    newest.reverse();
    newest
}
