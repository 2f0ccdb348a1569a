//! What other instances say: one task reads every subject, in order by subject, and hands it on.

use std::sync::Arc;

use async_nats::Message;
use futures_util::{StreamExt, stream::SelectAll};
use tokio::sync::mpsc;

use super::{
    super::{
        Arrival, Plane, ReturnAddress,
        envelope::{self, EnvelopeError},
        subject::Subjects,
    },
    events::{Events, Throttle},
    interest::{Interest, Messages},
};
use crate::telemetry::{BrokerReceived, Metrics};

/// Reads what comes.
pub(super) struct Incoming {
    pub(super) subjects: Subjects,
    pub(super) interest: Arc<Interest>,
    pub(super) events: Arc<Events>,
    pub(super) metrics: Arc<Metrics>,
    pub(super) log: Throttle,
}

impl Incoming {
    /// Hands on what comes, until nobody takes it or the connection is closed for good. When what was handed on is not taken, it waits,
    /// and the client drops what exceeds its bound; the doubt about that is told when there is room again.
    pub(super) async fn read(self, mut all: SelectAll<Messages>, mut streams: mpsc::Receiver<Messages>, arrivals: mpsc::Sender<Arrival>) {
        let mut room = None;
        loop {
            tokio::select! {
                biased;
                Some(messages) = streams.recv() => all.push(messages),
                reserved = arrivals.reserve(), if room.is_none() => match reserved {
                    Ok(permit) => room = Some(permit),
                    Err(_) => return,
                },
                () = self.events.doubt.notified(), if room.is_some() => hand_on(&mut room, Arrival::Doubt),
                message = all.next(), if room.is_some() => match message {
                    Some(message) => {
                        if let Some(arrival) = self.arrival(message) {
                            hand_on(&mut room, arrival);
                        }
                    }
                    None => return,
                },
            }
        }
    }

    /// What a message says, if it is for anybody here.
    fn arrival(&self, message: Message) -> Option<Arrival> {
        self.metrics.broker_received_bytes.increment(message.payload.len() as u64);
        let plane = self.subjects.plane(&message.subject);
        let (arrival, received) = if plane.is_some() && !self.interest.wants(&message.subject) {
            (None, BrokerReceived::Unwanted)
        } else if plane == Some(Plane::Entries) {
            match entries(&message.payload) {
                Ok(entries) => (Some(entries), BrokerReceived::Accepted),
                Err(error) => {
                    if self.log.allows() {
                        tracing::warn!(%error, "a message on NATS cannot be read");
                    }
                    (None, BrokerReceived::Malformed)
                }
            }
        } else {
            let arrival = match message.reply {
                Some(subject) => Arrival::Question(message.payload, ReturnAddress(subject.into_string())),
                None => Arrival::Message(message.payload),
            };
            (Some(arrival), BrokerReceived::Accepted)
        };
        self.metrics.broker_received.of(received).increment(1);
        arrival
    }
}

fn hand_on(room: &mut Option<mpsc::Permit<'_, Arrival>>, arrival: Arrival) {
    if let Some(permit) = room.take() {
        permit.send(arrival);
    }
}

/// The entries in `bytes`, all of one channel.
fn entries(bytes: &[u8]) -> Result<Arrival, EnvelopeError> {
    let entries = envelope::decode(bytes)?;
    let (first, rest) = entries.split_first().ok_or(EnvelopeError::Malformed)?;
    match rest.iter().all(|entry| entry.channel == first.channel) {
        true => Ok(Arrival::Entries(entries)),
        false => Err(EnvelopeError::Malformed),
    }
}
