//! A client's whole state but its socket: what handles ask for and the server says goes in, frames come out. No I/O.

use std::{sync::Arc, time::Duration};

use hubbub_protocol::{
    Format, ServerFrame,
    frame::{Auto, Connected, Disconnect, RequestId},
    limits::MAX_FRAME,
};
use tokio::time::Instant;

use crate::{
    Error, ProtocolError,
    backoff::Backoff,
    batch::{Batch, Ids},
    begun::Starts,
    clock::ServerClock,
    inbox::{Control, NewPublish, Note},
    publishes::Publishes,
    requests::Requests,
    state::Counters,
    subscriptions::Subscriptions,
};

/// Bytes of what is behind `connect` in its message, at most: a token has its place beside it.
const GREETING: u64 = MAX_FRAME as u64 / 2;

/// What the task does after a word from a handle.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Then {
    /// Goes on.
    Continue,
    /// Ends.
    Close,
}

/// The first that is said on a connection.
#[derive(Debug, Default)]
pub(crate) struct Greeting {
    /// The number of `connect`.
    pub id: RequestId,
    /// The server begins subscriptions.
    pub auto: Option<Auto>,
    /// Frames behind it: what is subscribed to before the server begins anything, each from its cursor.
    pub subscribes: Vec<u8>,
}

/// Subscriptions, publishes and requests, across connections.
#[derive(Debug)]
pub(crate) struct Session {
    pub ids: Ids,
    clock: Option<ServerClock>,
    subscriptions: Subscriptions,
    publishes: Publishes,
    requests: Requests,
}

impl Session {
    pub fn new(backoff: Backoff, counters: Arc<Counters>, starts: Option<Starts>) -> Self {
        Self {
            ids: Ids::default(),
            clock: None,
            subscriptions: Subscriptions::new(backoff, counters.clone(), starts),
            publishes: Publishes::new(backoff, counters),
            requests: Requests::default(),
        }
    }

    /// How many more publishes are taken.
    pub fn room(&self) -> usize {
        self.publishes.room()
    }

    pub fn publish(&mut self, publish: NewPublish) {
        self.publishes.admit(publish);
    }

    pub fn note(&mut self, note: Note) {
        match note {
            Note::Dropped { channel, generation } => self.subscriptions.leave(channel, generation, None),
            Note::Drained { channel, generation } => self.subscriptions.drained(channel, generation),
        }
    }

    pub fn control(&mut self, control: Control, now: Instant) -> Then {
        match control {
            Control::Subscribe(new) => self.subscriptions.subscribe(new),
            Control::Leave { channel, generation, done } => self.subscriptions.leave(channel, generation, Some(done)),
            Control::Request(new) => self.requests.admit(new, now),
            Control::Close => return Then::Close,
        }
        Then::Continue
    }

    /// What is said first. Only where the server begins subscriptions does it say what to resume: then nothing of that begins anew.
    pub fn greeting(&mut self, format: Format) -> Greeting {
        let id = self.ids.next();
        let Some(auto) = self.subscriptions.auto() else { return Greeting { id, ..Greeting::default() } };
        let mut batch = Batch::new(format, GREETING);
        self.subscriptions.send(&mut self.ids, &mut batch);
        Greeting { id, auto: Some(auto), subscribes: batch.finish().unwrap_or_default() }
    }

    /// Nobody has answered it.
    pub fn unheard(&mut self) {
        self.subscriptions.disconnected();
    }

    /// A connection stands.
    pub fn connected(&mut self, connected: &Connected, now: Instant) {
        self.clock = Some(ServerClock::new(connected.time, now));
    }

    /// It is gone, by `error`.
    pub fn disconnected(&mut self, error: &Error) {
        self.subscriptions.disconnected();
        self.publishes.disconnected();
        self.requests.disconnected(error);
    }

    /// The next message for the server, of at most `limit` bytes; `None` if there is nothing to say.
    pub fn next_message(&mut self, format: Format, limit: u64, now: Instant) -> Option<Vec<u8>> {
        let mut batch = Batch::new(format, limit);
        self.subscriptions.send(&mut self.ids, &mut batch);
        self.requests.send(now, &mut self.ids, &mut batch);
        if let Some(clock) = &self.clock {
            self.publishes.send(now, clock, &mut self.ids, &mut batch);
        }
        batch.finish()
    }

    /// Takes a frame. Gives back `disconnect`, which is about the connection.
    pub fn frame(&mut self, frame: ServerFrame, now: Instant) -> Result<Option<Disconnect>, ProtocolError> {
        match frame {
            ServerFrame::Entry(entry) => self.subscriptions.entry(entry, now),
            ServerFrame::Skip(skip) => self.subscriptions.skip(skip, now),
            ServerFrame::Reply { id, result } => {
                if !self.publishes.reply(id, &result) {
                    self.requests.reply(id, &result, now);
                    self.subscriptions.reply(id, &result, now)?;
                }
            }
            ServerFrame::Error { id: Some(id), error } => {
                if let Some(error) = self.publishes.refuse(id, error, now) {
                    self.subscriptions.refuse(id, &error, now);
                    self.requests.refuse(id, error);
                }
            }
            ServerFrame::Error { id: None, error } => tracing::warn!(code = error.code, "the server refused a frame: {}", error.message),
            ServerFrame::Heads { time, channels } => {
                self.clock = Some(ServerClock::new(time, now));
                self.subscriptions.heads(channels, now);
            }
            ServerFrame::Unsubscribed { channel, error } => self.subscriptions.unsubscribed(channel, error, now),
            ServerFrame::Disconnect(disconnect) => return Ok(Some(disconnect)),
            ServerFrame::Presence(change) => self.subscriptions.presence(change, now),
            ServerFrame::Subscribed(answer) => self.subscriptions.begun(*answer, now),
            ServerFrame::Unknown => {}
        }
        Ok(None)
    }

    /// When [`Self::tick`] is next needed.
    pub fn next_deadline(&self, now: Instant) -> Instant {
        /// With nothing to wait for, any time does.
        const IDLE: Duration = Duration::from_secs(3_600);
        [self.subscriptions.next_deadline(), self.publishes.next_deadline(), self.requests.next_deadline()]
            .into_iter()
            .flatten()
            .min()
            .unwrap_or(now + IDLE)
    }

    /// Does what is due.
    pub fn tick(&mut self, now: Instant) {
        self.subscriptions.tick(now);
        self.publishes.tick(now);
        self.requests.expire(now);
    }

    /// The client has ended: everybody who waits is told.
    pub fn close(&mut self, error: &Error) {
        self.subscriptions.close(error);
        self.publishes.close(error);
        self.requests.close(error);
    }
}
