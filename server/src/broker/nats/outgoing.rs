//! What this instance tells the others: handed to the client's task at once or dropped and counted, never awaited.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};

use async_nats::{Client, Request, RequestErrorKind, connection::State};
use bytes::Bytes;
use futures_util::FutureExt;
use hubbub_protocol::Entry;

use super::super::{Plane, Unanswered, envelope, subject::Subjects};
use crate::telemetry::{BrokerSent, Metrics};

/// Bytes of an envelope of several entries, at most.
pub(super) const MAX_BATCH: usize = 512 << 10;
/// Bytes that the client holds and has not written yet, at most.
const MAX_IN_FLIGHT: usize = 64 << 20;

/// The way out.
#[derive(Debug)]
pub(super) struct Outgoing {
    client: Client,
    subjects: Subjects,
    in_flight: Arc<AtomicUsize>,
    metrics: Arc<Metrics>,
}

impl Outgoing {
    pub(super) fn new(client: Client, subjects: Subjects, metrics: Arc<Metrics>) -> Self {
        Self { client, subjects, in_flight: Arc::default(), metrics }
    }

    /// Each channel's entries in their order, in as few messages as fit.
    pub(super) fn publish(&self, entries: &[Arc<Entry>]) {
        let one = entries.windows(2).all(|pair| pair[0].channel == pair[1].channel);
        if one {
            return self.publish_channel(entries);
        }
        let mut entries = entries.to_vec();
        entries.sort_by(|one, other| one.channel.as_str().cmp(other.channel.as_str()));
        for entries in entries.chunk_by(|one, other| one.channel == other.channel) {
            self.publish_channel(entries);
        }
    }

    fn publish_channel(&self, entries: &[Arc<Entry>]) {
        let mut rest = entries;
        while let Some(first) = rest.first() {
            let (batch, later) = rest.split_at(batch(rest));
            rest = later;
            if self.is_connected() {
                self.send(self.subjects.channel(Plane::Entries, &first.channel), envelope::encode(batch));
            } else {
                // Encoding for nobody would only cost.
                self.count(BrokerSent::Disconnected);
            }
        }
    }

    /// Hands `body` on. While there is no connection it is dropped: it would arrive late, and help nobody.
    pub(super) fn send(&self, subject: String, body: Vec<u8>) {
        self.count(self.hand_on(subject, body));
    }

    /// Asks, and waits. What is asked is not handed on while there is no connection.
    pub(super) async fn ask(&self, subject: String, question: Vec<u8>, patience: Duration) -> Result<Bytes, Unanswered> {
        if !self.is_connected() {
            self.count(BrokerSent::Disconnected);
            return Err(Unanswered::Gone);
        }
        let (bytes, largest) = (question.len(), self.largest());
        if bytes > largest {
            self.count(BrokerSent::Refused);
            return Err(Unanswered::TooLarge(largest));
        }
        self.count(BrokerSent::Sent);
        self.metrics.broker_sent_bytes.increment(bytes as u64);
        let request = Request::new().payload(question.into()).timeout(Some(patience));
        match tokio::time::timeout(patience, self.client.send_request(subject, request)).await {
            Ok(Ok(answer)) => Ok(answer.payload),
            Ok(Err(error)) if error.kind() == RequestErrorKind::NoResponders => Err(Unanswered::Gone),
            Ok(Err(_)) | Err(_) => Err(Unanswered::Late),
        }
    }

    pub(super) fn largest(&self) -> usize {
        self.client.server_info().max_payload
    }

    pub(super) fn is_connected(&self) -> bool {
        self.client.connection_state() == State::Connected
    }

    fn hand_on(&self, subject: String, body: Vec<u8>) -> BrokerSent {
        if !self.is_connected() {
            return BrokerSent::Disconnected;
        }
        let bytes = body.len();
        let body = InFlight::new(body, &self.in_flight);
        if self.in_flight.load(Relaxed) > MAX_IN_FLIGHT {
            return BrokerSent::Full;
        }
        // The client waits for nothing but room in its queue; without the budget of a task, one poll tells whether there is.
        match tokio::task::unconstrained(self.client.publish(subject, Bytes::from_owner(body))).now_or_never() {
            Some(Ok(())) => {
                self.metrics.broker_sent_bytes.increment(bytes as u64);
                BrokerSent::Sent
            }
            Some(Err(_)) => BrokerSent::Refused,
            None => BrokerSent::Full,
        }
    }

    fn count(&self, sent: BrokerSent) {
        self.metrics.broker_sent.of(sent).increment(1);
    }
}

/// How many of `entries`, from the first, one envelope takes: at least one.
fn batch(entries: &[Arc<Entry>]) -> usize {
    let weights = entries.iter().scan(0, |sum, entry| {
        *sum += envelope::weight(entry);
        Some(*sum)
    });
    weights.take_while(|sum| *sum <= MAX_BATCH - envelope::ENVELOPE_REST).count().max(1)
}

/// A message's bytes, counted from when the client gets them until it has written them: the client's statistics count some bytes twice,
/// and do not tell what waits.
struct InFlight {
    body: Vec<u8>,
    sum: Arc<AtomicUsize>,
}

impl InFlight {
    fn new(body: Vec<u8>, sum: &Arc<AtomicUsize>) -> Self {
        sum.fetch_add(body.len(), Relaxed);
        Self { body, sum: sum.clone() }
    }
}

impl AsRef<[u8]> for InFlight {
    fn as_ref(&self) -> &[u8] {
        &self.body
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.sum.fetch_sub(self.body.len(), Relaxed);
    }
}
