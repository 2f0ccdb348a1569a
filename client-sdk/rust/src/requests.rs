//! `history`, `presence` and `ping` in flight: asked once a connection, failed when it breaks, never in the way of anything.

use std::{collections::VecDeque, time::Duration};

use hubbub_protocol::{
    ClientFrame, ErrorCode,
    frame::{ErrorBody, History, PresenceRequest, RawResult, RequestId},
};
use tokio::{sync::OwnedSemaphorePermit, time::Instant};

use crate::{
    Error, ProtocolError,
    batch::{Batch, Ids, Refused},
    inbox::{Answer, HistoryAsk, NewRequest, PresenceAsk},
};

/// How long a request may take, waiting for a connection included.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(30);
/// Requests in flight; further callers wait.
pub(crate) const MAX_REQUESTS: usize = 256;

/// Which page of a durable channel's log. At most one of `after` and `before`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct HistoryOptions {
    /// The entries with a higher seq.
    pub after: Option<u64>,
    /// The newest entries with a lower seq.
    pub before: Option<u64>,
    /// How many, 1 to 1,000; the server gives 100 if absent.
    pub limit: Option<u32>,
}

/// Which page of a channel's members.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PresenceOptions {
    /// Members whose user comes later in byte order, at most 128 bytes; from the first one if absent.
    pub after: Option<String>,
    /// How many, 1 to 1,000; the server gives 100 if absent.
    pub limit: Option<u32>,
}

/// What is asked, and whom to tell.
#[derive(Debug)]
pub(crate) enum Ask {
    History(HistoryAsk),
    Presence(PresenceAsk),
    Ping(Answer<Duration>),
}

impl Ask {
    fn fail(self, error: Error) {
        // A caller that is gone needs no answer.
        match self {
            Ask::History(history) => drop(history.answer.send(Err(error))),
            Ask::Presence(presence) => drop(presence.answer.send(Err(error))),
            Ask::Ping(answer) => drop(answer.send(Err(error))),
        }
    }
}

#[derive(Debug)]
struct Request {
    ask: Ask,
    deadline: Instant,
    /// When it was sent on this connection, and as what.
    sent: Option<(RequestId, Instant)>,
    _place: OwnedSemaphorePermit,
}

/// The outstanding requests, oldest first: at most [`MAX_REQUESTS`], so a scan is cheap.
#[derive(Debug, Default)]
pub(crate) struct Requests {
    outstanding: VecDeque<Request>,
    unsent: usize,
}

impl Requests {
    pub fn admit(&mut self, request: NewRequest, now: Instant) {
        let deadline = now + REQUEST_TIMEOUT;
        self.outstanding.push_back(Request { ask: request.ask, deadline, sent: None, _place: request.place });
        self.unsent += 1;
    }

    /// Puts into `batch` what was not sent yet.
    pub fn send(&mut self, now: Instant, ids: &mut Ids, batch: &mut Batch) {
        while self.unsent > 0 {
            let at = self.outstanding.len() - self.unsent;
            let request = &mut self.outstanding[at];
            let id = ids.next();
            let frame = match &request.ask {
                Ask::Ping(_) => ClientFrame::Ping { id },
                Ask::History(HistoryAsk { channel, options, .. }) => ClientFrame::History(History {
                    id,
                    channel: channel.clone(),
                    after: options.after,
                    before: options.before,
                    limit: options.limit,
                }),
                Ask::Presence(PresenceAsk { channel, options, .. }) => ClientFrame::Presence(PresenceRequest {
                    id,
                    channel: channel.clone(),
                    after: options.after.clone(),
                    limit: options.limit,
                }),
            };
            match batch.push(&frame) {
                Ok(()) => request.sent = Some((id, now)),
                Err(Refused::Full) => return,
                Err(Refused::TooLarge) => {
                    let error = ErrorBody::new(ErrorCode::BadFrame, "the request is longer than this server takes");
                    if let Some(request) = self.outstanding.remove(at) {
                        request.ask.fail(Error::Server(error));
                    }
                }
            }
            self.unsent -= 1;
        }
    }

    fn take(&mut self, id: RequestId) -> Option<(Ask, Instant)> {
        let at = self.outstanding.iter().position(|request| request.sent.is_some_and(|(sent, _)| sent == id))?;
        let request = self.outstanding.remove(at)?;
        Some((request.ask, request.sent?.1))
    }

    /// Answers the request `id`, if it is one of these.
    pub fn reply(&mut self, id: RequestId, result: &RawResult, now: Instant) {
        match self.take(id) {
            Some((Ask::Ping(answer), sent)) => drop(answer.send(Ok(now - sent))),
            Some((Ask::History(history), _)) => drop(history.answer.send(result.history().ok_or(ProtocolError::Result.into()))),
            Some((Ask::Presence(presence), _)) => drop(presence.answer.send(result.read().ok_or(ProtocolError::Result.into()))),
            None => {}
        }
    }

    /// Fails the request `id`, if it is one of these.
    pub fn refuse(&mut self, id: RequestId, error: ErrorBody) {
        if let Some((ask, _)) = self.take(id) {
            ask.fail(Error::Server(error));
        }
    }

    /// The connection is gone: what was sent fails, the rest waits for the next one.
    pub fn disconnected(&mut self, error: &Error) {
        let sent = self.outstanding.len() - self.unsent;
        for request in self.outstanding.drain(..sent) {
            request.ask.fail(error.clone());
        }
    }

    /// When [`Self::expire`] has something to do.
    pub fn next_deadline(&self) -> Option<Instant> {
        self.outstanding.front().map(|request| request.deadline)
    }

    /// Fails those whose time is over.
    pub fn expire(&mut self, now: Instant) {
        while let Some(request) = self.outstanding.pop_front_if(|request| request.deadline <= now) {
            if request.sent.is_none() {
                self.unsent -= 1;
            }
            request.ask.fail(Error::NoAnswer);
        }
    }

    /// The client has ended.
    pub fn close(&mut self, error: &Error) {
        self.unsent = 0;
        for request in self.outstanding.drain(..) {
            request.ask.fail(error.clone());
        }
    }
}
