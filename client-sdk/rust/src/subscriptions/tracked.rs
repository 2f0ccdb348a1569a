//! One subscription as the task sees it: its phase on this connection, and what its buffer has been given.

use std::sync::Arc;

use hubbub_protocol::{
    ChannelName, Cursor, Entry,
    frame::{PresenceChange, PresenceState, RequestId, Skip, SkipReason, Slow, Subscribed, Unrecovered},
};
use tokio::time::Instant;

use super::sequence::{Span, Step, step};
use crate::{
    Event,
    buffer::{Buffer, Full},
    inbox::{Answer, NewSubscription},
    presence,
};

/// What a subscription is on the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    /// To be asked for by the next `subscribe`.
    Wanted,
    /// Asked for. What comes before the answer belongs to an earlier subscription and is ignored.
    Asked(RequestId),
    /// Answered: what comes is delivered.
    Live,
    /// Not on the wire until its consumer has drained the buffer.
    Paused,
    /// Refused for now: wanted again at that time.
    Later(Instant),
}

/// What became of something that the server sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Outcome {
    /// It is in the buffer, or counted as dropped.
    Kept,
    /// It had been seen.
    Duplicate,
    /// Something is missing before it.
    Gap,
    /// The buffer does not take it.
    Full,
}

#[derive(Debug)]
pub(super) struct Tracked {
    pub generation: u64,
    pub slow: Option<Slow>,
    pub wants_presence: bool,
    pub phase: Phase,
    /// The last that the buffer was given: where a resubscribe resumes.
    pub cursor: Option<Cursor>,
    pub buffer: Arc<Buffer>,
    /// Who waits for the first answer.
    pub answer: Option<Answer<()>>,
    /// Faults in a row, of this subscription alone.
    pub faults: u32,
    pub live_since: Option<Instant>,
    /// Entries of an ephemeral channel that the consumer has not been told of yet.
    dropped: u64,
    /// An ephemeral channel's members, if they are wanted: a change that does not fit the buffer is told later as a whole
    /// list. A durable channel is resubscribed instead, and its answer has the list.
    members: Option<PresenceState>,
    /// Such a change is still to be told.
    untold: bool,
}

impl Tracked {
    pub fn new(new: NewSubscription) -> Self {
        Self {
            generation: new.generation,
            slow: new.options.slow,
            wants_presence: new.options.presence,
            phase: Phase::Wanted,
            cursor: new.options.since,
            buffer: new.buffer,
            answer: Some(new.answer),
            faults: 0,
            live_since: None,
            dropped: 0,
            members: None,
            untold: false,
        }
    }

    /// One that the server has begun.
    pub fn begun(generation: u64, slow: Option<Slow>, wants_presence: bool, buffer: Arc<Buffer>) -> Self {
        Self {
            generation,
            slow,
            wants_presence,
            phase: Phase::Wanted,
            cursor: None,
            buffer,
            answer: None,
            faults: 0,
            live_since: None,
            dropped: 0,
            members: None,
            untold: false,
        }
    }

    /// Whether the server holds it, or is being asked to.
    pub fn on_wire(&self) -> bool {
        matches!(self.phase, Phase::Asked(_) | Phase::Live)
    }

    /// Takes the server's answer to `subscribe`.
    pub fn subscribed(&mut self, subscribed: Subscribed, now: Instant) -> Outcome {
        let cursor = self.start(&subscribed);
        let members = (self.wants_presence && !subscribed.durable)
            .then(|| subscribed.presence.as_ref().map_or_else(PresenceState::default, presence::begin));
        if self.buffer.push(Event::Subscribed(subscribed), cursor) == Err(Full) {
            return Outcome::Full;
        }
        self.cursor = cursor;
        self.members = members;
        self.untold = false;
        self.phase = Phase::Live;
        self.live_since = Some(now);
        Outcome::Kept
    }

    /// The cursor that the first entry after the answer follows.
    fn start(&self, subscribed: &Subscribed) -> Option<Cursor> {
        let head = subscribed.head?;
        match (subscribed.recovered, subscribed.reason) {
            (Some(true), _) => self.cursor,
            // A skip follows and moves the cursor.
            (Some(false), Some(Unrecovered::Expired | Unrecovered::TooFar)) => self.cursor,
            (Some(false), _) => Some(subscribed.from.map_or(head, |from| Cursor { epoch: head.epoch, seq: from.saturating_sub(1) })),
            (None, _) => self.cursor.or(Some(head)),
        }
    }

    /// Takes an entry.
    pub fn entry(&mut self, entry: Entry) -> Outcome {
        match entry.place {
            Some(place) => {
                let span = Span { epoch: place.epoch, from: place.seq, to: place.seq };
                self.durable(span, Event::Entry(entry))
            }
            None => self.ephemeral(1, Event::Entry(entry)),
        }
    }

    /// Takes a skip.
    pub fn skip(&mut self, skip: Skip) -> Outcome {
        match skip.range {
            Some(range) => self.durable(Span { epoch: range.epoch, from: range.from, to: range.to }, Event::Skip(skip)),
            None => self.ephemeral(skip.count, Event::Skip(skip)),
        }
    }

    /// Takes a change of the members, which is no entry and moves no cursor.
    pub fn presence(&mut self, change: PresenceChange) -> Outcome {
        if !self.wants_presence {
            return Outcome::Kept;
        }
        if let Some(members) = &mut self.members {
            presence::apply(members, &change);
        }
        match self.buffer.push(Event::Presence(change), self.cursor) {
            Ok(()) => Outcome::Kept,
            Err(Full) if self.members.is_some() => {
                self.untold = true;
                Outcome::Kept
            }
            Err(Full) => Outcome::Full,
        }
    }

    fn durable(&mut self, span: Span, event: Event) -> Outcome {
        match step(self.cursor, span) {
            Step::Duplicate => return Outcome::Duplicate,
            Step::Gap => return Outcome::Gap,
            Step::Next => {}
        }
        let cursor = Some(span.end());
        if self.buffer.push(event, cursor) == Err(Full) {
            return Outcome::Full;
        }
        self.cursor = cursor;
        self.faults = 0;
        Outcome::Kept
    }

    /// An ephemeral channel cannot be resumed: it stays subscribed while the buffer is full, so that what is dropped is counted.
    fn ephemeral(&mut self, entries: u64, event: Event) -> Outcome {
        match self.buffer.push(event, None) {
            Ok(()) => self.faults = 0,
            Err(Full) => self.dropped += entries,
        }
        Outcome::Kept
    }

    /// The buffer has room again: tells the consumer of what was dropped, and returns how much that was.
    pub fn tell_dropped(&mut self, channel: &ChannelName) -> u64 {
        let count = std::mem::take(&mut self.dropped);
        if count > 0 {
            let skip = Skip { channel: channel.clone(), range: None, count, reason: SkipReason::Dropped };
            if self.buffer.push(Event::Skip(skip), None) == Err(Full) {
                self.dropped = count;
                return 0;
            }
        }
        count
    }

    /// The buffer has room again: tells the consumer who is there, if a change did not fit.
    pub fn tell_members(&mut self, channel: &ChannelName) {
        let Some(state) = self.members.as_ref().filter(|_| self.untold) else { return };
        let change = PresenceChange {
            channel: channel.clone(),
            count: state.count,
            joined: Vec::new(),
            left: Vec::new(),
            members: state.members.clone(),
        };
        self.untold = self.buffer.push(Event::Presence(change), self.cursor) == Err(Full);
    }
}
