//! Every subscription of a client, and what is to be said about them on the wire. No I/O: frames in, frames out.
//!
//! A subscription is always in exactly one [`Phase`]. What comes for one that is not live is ignored, which is what makes
//! unsubscribing and subscribing again in one breath safe: the server's answer to the second divides old from new.

mod begun;
mod sequence;
mod tracked;
mod wire;

use std::{
    collections::{BTreeSet, HashMap, VecDeque},
    sync::Arc,
    time::Duration,
};

use hubbub_protocol::{
    ChannelName, Entry, ErrorCode,
    frame::{Channels, ErrorBody, Head, PresenceChange, RawResult, RequestId, Skip, Subscribed},
};
use tokio::{sync::oneshot, time::Instant};

use crate::{
    Error, Event, ProtocolError,
    backoff::Backoff,
    begun::Starts,
    inbox::NewSubscription,
    state::{Counters, count},
};
use tracked::{Outcome, Phase, Tracked};

/// A subscription, or a connection, that has lasted this long has no failures in a row behind it.
pub(crate) const STABLE_AFTER: Duration = Duration::from_secs(5);

/// A channel to be unsubscribed, and who waits for it.
type Leaving = (ChannelName, Option<oneshot::Sender<()>>);

/// The subscriptions by channel.
#[derive(Debug)]
pub(crate) struct Subscriptions {
    tracked: HashMap<ChannelName, Tracked>,
    /// In the order of asking. May name what is no longer wanted.
    wanted: VecDeque<ChannelName>,
    /// Goes onto the wire before what is wanted.
    unwanted: VecDeque<Leaving>,
    /// Mirrors [`Phase::Later`]. May name what is no longer waiting.
    later: BTreeSet<(Instant, ChannelName)>,
    asked: HashMap<RequestId, Vec<ChannelName>>,
    leaving: HashMap<RequestId, Vec<Leaving>>,
    backoff: Backoff,
    counters: Arc<Counters>,
    /// The server begins some by itself.
    starts: Option<Starts>,
    /// How many it has begun.
    begun: u64,
}

impl Subscriptions {
    pub fn new(backoff: Backoff, counters: Arc<Counters>, starts: Option<Starts>) -> Self {
        Self {
            tracked: HashMap::new(),
            wanted: VecDeque::new(),
            unwanted: VecDeque::new(),
            later: BTreeSet::new(),
            asked: HashMap::new(),
            leaving: HashMap::new(),
            backoff,
            counters,
            starts,
            begun: 0,
        }
    }

    // From the handles.

    pub fn subscribe(&mut self, new: NewSubscription) {
        if self.tracked.contains_key(&new.channel) {
            // A caller that is gone needs no answer.
            let _ = new.answer.send(Err(Error::AlreadySubscribed(new.channel)));
            return;
        }
        self.wanted.push_back(new.channel.clone());
        self.tracked.insert(new.channel.clone(), Tracked::new(new));
    }

    /// The consumer listens no longer; `done` is told once the server knows.
    pub fn leave(&mut self, channel: ChannelName, generation: u64, done: Option<oneshot::Sender<()>>) {
        if !self.is(&channel, generation) {
            return;
        }
        if self.tracked.remove(&channel).is_some_and(|tracked| tracked.on_wire()) {
            self.unwanted.push_back((channel, done));
        }
    }

    /// The consumer has drained a buffer that had been full.
    pub fn drained(&mut self, channel: ChannelName, generation: u64) {
        if !self.is(&channel, generation) {
            return;
        }
        let Some(tracked) = self.tracked.get_mut(&channel) else { return };
        count(&self.counters.dropped, tracked.tell_dropped(&channel));
        tracked.tell_members(&channel);
        if tracked.phase == Phase::Paused {
            tracked.phase = Phase::Wanted;
            self.wanted.push_back(channel);
        }
    }

    fn is(&self, channel: &ChannelName, generation: u64) -> bool {
        self.tracked.get(channel).is_some_and(|tracked| tracked.generation == generation)
    }

    // From the server.

    /// Takes the answer to request `id`, if it is one of these.
    pub fn reply(&mut self, id: RequestId, result: &RawResult, now: Instant) -> Result<(), ProtocolError> {
        // What waits for an unsubscribe is told by dropping its sender.
        self.leaving.remove(&id);
        let Some(channels) = self.asked.remove(&id) else { return Ok(()) };
        let answers = result.read::<Channels<Subscribed>>().ok_or(ProtocolError::Result)?.channels;
        if answers.len() != channels.len() {
            return Err(ProtocolError::Result);
        }
        for (channel, answer) in channels.into_iter().zip(answers) {
            self.answered(channel, id, answer, now);
        }
        Ok(())
    }

    /// Takes the error that answers request `id`, if it is one of these.
    pub fn refuse(&mut self, id: RequestId, error: &ErrorBody, now: Instant) {
        self.leaving.remove(&id);
        for channel in self.asked.remove(&id).unwrap_or_default() {
            let refused = Subscribed { error: Some(error.clone()), ..Subscribed::default() };
            self.answered(channel, id, refused, now);
        }
    }

    fn answered(&mut self, channel: ChannelName, id: RequestId, mut answer: Subscribed, now: Instant) {
        let Some(tracked) = self.tracked.get_mut(&channel).filter(|tracked| tracked.phase == Phase::Asked(id)) else { return };
        if let Some(error) = answer.error.take() {
            return self.refused(channel, error, now);
        }
        let resumed = tracked.answer.is_none() && answer.recovered == Some(true);
        match tracked.subscribed(answer, now) {
            Outcome::Full => self.pause(channel),
            Outcome::Kept | Outcome::Duplicate | Outcome::Gap => {
                count(&self.counters.resumes, u64::from(resumed));
                if let Some(caller) = tracked.answer.take() {
                    // If the caller is gone its subscription was dropped, and a note says so.
                    let _ = caller.send(Ok(()));
                }
            }
        }
    }

    /// The server refused, or ended, a subscription: it is tried again, or over.
    fn refused(&mut self, channel: ChannelName, error: ErrorBody, now: Instant) {
        let Some(tracked) = self.tracked.get_mut(&channel) else { return };
        if tracked.live_since.take().is_some_and(|since| now - since >= STABLE_AFTER) {
            tracked.faults = 0;
        }
        let floor = error.retry_after.map(Duration::from_millis);
        match self.backoff.after(error.retry, floor, tracked.faults) {
            Some(delay) => {
                tracked.faults += 1;
                tracked.phase = Phase::Later(now + delay);
                self.later.insert((now + delay, channel));
                self.tick(now);
            }
            None => {
                let Some(tracked) = self.tracked.remove(&channel) else { return };
                match tracked.answer {
                    Some(caller) => drop(caller.send(Err(Error::Server(error)))),
                    None => tracked.buffer.end(Some(Event::Ended(error))),
                }
            }
        }
    }

    pub fn entry(&mut self, entry: Entry, now: Instant) {
        let Some(tracked) = self.tracked.get_mut(&entry.channel).filter(|tracked| tracked.phase == Phase::Live) else { return };
        let channel = entry.channel.clone();
        let outcome = tracked.entry(entry);
        self.settle(channel, outcome, now);
    }

    pub fn skip(&mut self, skip: Skip, now: Instant) {
        let Some(tracked) = self.tracked.get_mut(&skip.channel).filter(|tracked| tracked.phase == Phase::Live) else { return };
        let channel = skip.channel.clone();
        let outcome = tracked.skip(skip);
        self.settle(channel, outcome, now);
    }

    pub fn presence(&mut self, change: PresenceChange, now: Instant) {
        let Some(tracked) = self.tracked.get_mut(&change.channel).filter(|tracked| tracked.phase == Phase::Live) else { return };
        let channel = change.channel.clone();
        let outcome = tracked.presence(change);
        self.settle(channel, outcome, now);
    }

    pub fn heads(&mut self, heads: Vec<Head>, now: Instant) {
        for head in heads {
            let tracked = self.tracked.get(&head.channel).filter(|tracked| tracked.phase == Phase::Live);
            if tracked.is_some_and(|tracked| sequence::behind(tracked.cursor, head.cursor)) {
                self.settle(head.channel, Outcome::Gap, now);
            }
        }
    }

    /// The server ended a subscription. For one that is not live this is news of an earlier one.
    pub fn unsubscribed(&mut self, channel: ChannelName, error: ErrorBody, now: Instant) {
        if self.tracked.get(&channel).is_some_and(|tracked| tracked.phase == Phase::Live) {
            self.refused(channel, error, now);
        }
    }

    fn settle(&mut self, channel: ChannelName, outcome: Outcome, now: Instant) {
        match outcome {
            Outcome::Kept => {}
            Outcome::Duplicate => count(&self.counters.duplicates, 1),
            Outcome::Full => self.pause(channel),
            Outcome::Gap => {
                tracing::warn!(%channel, "entries are missing: resubscribing from the cursor");
                count(&self.counters.gaps, 1);
                self.unwanted.push_back((channel.clone(), None));
                let missing = ErrorBody::new(ErrorCode::Resubscribe, "entries are missing");
                self.refused(channel, missing, now);
            }
        }
    }

    fn pause(&mut self, channel: ChannelName) {
        if let Some(tracked) = self.tracked.get_mut(&channel) {
            tracked.phase = Phase::Paused;
            count(&self.counters.pauses, 1);
            self.unwanted.push_back((channel, None));
        }
    }
}

#[cfg(test)]
mod tests;
