//! Publishes in flight: sent in the order they came, sent again with the same id until answered or out of time.
//!
//! After a reconnect the outstanding ones go first, in their old order. A message whose caller is gone is not sent again.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::Arc,
    time::Duration,
};

use hubbub_protocol::{
    ClientFrame, ErrorCode,
    frame::{ErrorBody, Publish, Published, RawResult, RequestId},
};
use tokio::time::Instant;

use crate::{
    Error, ProtocolError,
    backoff::Backoff,
    batch::{Batch, Ids, Refused},
    clock::ServerClock,
    inbox::NewPublish,
    state::{Counters, count},
};

/// Publishes without an answer; further callers wait.
const MAX_OUTSTANDING: usize = 4_096;

#[derive(Debug)]
struct Outstanding {
    publish: NewPublish,
    /// Its number on this connection, while an answer may come.
    request: Option<RequestId>,
    /// Times it was sent.
    sends: u32,
    /// Times it was refused for now.
    refusals: u32,
}

impl Outstanding {
    fn answer(self, answer: Result<Published, Error>) {
        // A caller that is gone needs no answer.
        let _ = self.publish.answer.send(answer);
    }
}

/// The outstanding publishes by their order of arrival.
#[derive(Debug)]
pub(crate) struct Publishes {
    outstanding: BTreeMap<u64, Outstanding>,
    arrivals: u64,
    /// To be sent as soon as the socket takes them.
    ready: BTreeSet<u64>,
    /// Refused for now: to be sent again at their time.
    later: BTreeSet<(Instant, u64)>,
    by_request: HashMap<RequestId, u64>,
    backoff: Backoff,
    counters: Arc<Counters>,
}

impl Publishes {
    pub fn new(backoff: Backoff, counters: Arc<Counters>) -> Self {
        Self {
            outstanding: BTreeMap::new(),
            arrivals: 0,
            ready: BTreeSet::new(),
            later: BTreeSet::new(),
            by_request: HashMap::new(),
            backoff,
            counters,
        }
    }

    /// How many more may be admitted.
    pub fn room(&self) -> usize {
        MAX_OUTSTANDING.saturating_sub(self.outstanding.len())
    }

    pub fn admit(&mut self, publish: NewPublish) {
        self.outstanding.insert(self.arrivals, Outstanding { publish, request: None, sends: 0, refusals: 0 });
        self.ready.insert(self.arrivals);
        self.arrivals += 1;
    }

    /// Puts into `batch` what is ready and fits.
    pub fn send(&mut self, now: Instant, clock: &ServerClock, ids: &mut Ids, batch: &mut Batch) {
        while let Some(&order) = self.ready.first() {
            let Some(outstanding) = self.outstanding.get_mut(&order) else {
                self.ready.remove(&order);
                continue;
            };
            if outstanding.publish.answer.is_closed() {
                self.remove(order);
                continue;
            }
            let message = &mut outstanding.publish.message;
            let message_id = *message.message_id.get_or_insert_with(|| clock.message_id(now));
            let id = ids.next();
            let frame = ClientFrame::Publish(Publish {
                id: Some(id),
                channel: message.channel.clone(),
                message_id: Some(message_id),
                key: message.key.clone(),
                payload: message.payload.clone(),
            });
            match batch.push(&frame) {
                Ok(()) => {
                    self.ready.remove(&order);
                    self.by_request.insert(id, order);
                    outstanding.request = Some(id);
                    count(&self.counters.publishes_retried, u64::from(outstanding.sends > 0));
                    outstanding.sends += 1;
                }
                Err(Refused::Full) => return,
                Err(Refused::TooLarge) => {
                    let error = ErrorBody::new(ErrorCode::PayloadTooLarge, "the message is longer than this server takes");
                    self.finish(order, Err(Error::Server(error)));
                }
            }
        }
    }

    fn remove(&mut self, order: u64) -> Option<Outstanding> {
        let outstanding = self.outstanding.remove(&order)?;
        self.ready.remove(&order);
        if let Some(id) = outstanding.request {
            self.by_request.remove(&id);
        }
        Some(outstanding)
    }

    fn finish(&mut self, order: u64, answer: Result<Published, Error>) {
        if let Some(outstanding) = self.remove(order) {
            outstanding.answer(answer);
        }
    }

    /// Answers the publish `id`; says whether it is one of these.
    pub fn reply(&mut self, id: RequestId, result: &RawResult) -> bool {
        let Some(&order) = self.by_request.get(&id) else { return false };
        self.finish(order, result.read().ok_or(ProtocolError::Result.into()));
        true
    }

    /// Fails the publish `id`, or sends it again; `None` takes it, `Some` gives back what belongs to others.
    pub fn refuse(&mut self, id: RequestId, error: ErrorBody, now: Instant) -> Option<ErrorBody> {
        let Some(order) = self.by_request.remove(&id) else { return Some(error) };
        let outstanding = self.outstanding.get_mut(&order)?;
        outstanding.request = None;
        let floor = error.retry_after.map(Duration::from_millis);
        match self.backoff.after(error.retry, floor, outstanding.refusals) {
            None => self.finish(order, Err(Error::Server(error))),
            Some(delay) => {
                outstanding.refusals += 1;
                self.later.insert((now + delay, order));
                self.wake(now);
            }
        }
        None
    }

    /// The connection is gone: everything outstanding goes into the next one, first.
    pub fn disconnected(&mut self) {
        self.by_request.clear();
        self.later.clear();
        for outstanding in self.outstanding.values_mut() {
            outstanding.request = None;
        }
        self.ready = self.outstanding.keys().copied().collect();
    }

    /// When [`Self::tick`] has something to do.
    pub fn next_deadline(&self) -> Option<Instant> {
        let retry = self.later.first().map(|(at, _)| *at);
        let deadline = self.outstanding.first_key_value().map(|(_, first)| first.publish.deadline);
        retry.into_iter().chain(deadline).min()
    }

    /// Makes ready what has waited long enough, and fails what is out of time.
    pub fn tick(&mut self, now: Instant) {
        self.wake(now);
        while let Some(first) = self.outstanding.first_entry().filter(|first| first.get().publish.deadline <= now) {
            let order = *first.key();
            let error = match (first.get().sends, first.get().publish.message.message_id) {
                (1.., Some(message_id)) => Error::Timeout { message_id },
                _ => Error::Unsent,
            };
            self.finish(order, Err(error));
        }
    }

    fn wake(&mut self, now: Instant) {
        while self.later.first().is_some_and(|(at, _)| *at <= now) {
            self.ready.extend(self.later.pop_first().map(|(_, order)| order));
        }
    }

    /// The client has ended.
    pub fn close(&mut self, error: &Error) {
        self.ready.clear();
        self.later.clear();
        self.by_request.clear();
        while let Some((_, outstanding)) = self.outstanding.pop_first() {
            outstanding.answer(Err(error.clone()));
        }
    }
}

#[cfg(test)]
mod tests;
