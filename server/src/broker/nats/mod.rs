//! The NATS arm: core NATS, which delivers at most once. What it loses is found in the store; what it may have lost is told as
//! [`super::Arrival::Doubt`].
//!
//! Three tasks: one subscribes, one reads, one watches the connection. Publishing has none, and waits for nobody.

mod connect;
mod events;
mod incoming;
mod interest;
mod outgoing;
mod trip;

#[cfg(test)]
mod tests;

use std::{fmt, sync::Arc, time::Duration};

use async_nats::{Client, SubscribeError};
use bytes::Bytes;
use futures_util::stream::{AbortHandle, Abortable, SelectAll};
use hubbub_protocol::{ChannelName, Entry};
use tokio::sync::mpsc;

pub use connect::{ServerFacts, check};

use super::{Arrivals, Broker, BrokerError, Plane, ReturnAddress, To, Unanswered, subject::Subjects};
use crate::{config::BrokerConfig, tasks::Tasks, telemetry::Metrics};
use events::{Events, Throttle};
use incoming::Incoming;
use interest::{Interest, Messages};
use outgoing::Outgoing;
use trip::Trips;

/// Arrivals that wait to be taken.
const ARRIVALS: usize = 1_024;
/// New subjects that wait to be read.
const STREAMS: usize = 1_024;
/// How long the server may take to have the subjects that every instance listens to.
const FIRST_TRIP: Duration = Duration::from_secs(2);
/// How long what was handed to the client may take to be written when the instance stops.
const LAST_FLUSH: Duration = Duration::from_secs(1);

/// An instance's connection to NATS.
pub struct Nats {
    subjects: Subjects,
    interest: Arc<Interest>,
    outgoing: Outgoing,
}

/// Connects `instance` (its id) to the others through NATS: by `config` only, whatever its kind is. The tasks end with `tasks`; what was
/// published until then is written first, for a second at most.
///
/// # Errors
/// [`BrokerError`], with what to do, after ten seconds at most.
pub async fn connect(
    config: &BrokerConfig,
    instance: &str,
    tasks: &Tasks,
    metrics: &Arc<Metrics>,
) -> Result<(Broker, Arrivals), BrokerError> {
    let events = Arc::new(Events::new(metrics.clone()));
    let (client, facts) = connect::open(config, instance, &events).await?;
    tracing::info!(version = facts.version, cluster = facts.cluster, "NATS is connected");
    let subjects = Subjects::new(&config.prefix);
    let closed = |_: SubscribeError| BrokerError::Unreachable("the connection was closed at once".to_owned());
    let trips = Arc::new(Trips::new(&client, &subjects, instance).await.map_err(closed)?);
    let own = own(&client, &subjects, instance).await.map_err(closed)?;
    trips.make(FIRST_TRIP).await;

    let interest = Arc::new(Interest::new(config.interest, subjects.clone(), metrics.clone()));
    let (streams, new_streams) = mpsc::channel(STREAMS);
    let (sender, arrivals) = mpsc::channel(ARRIVALS);
    let incoming = Incoming {
        subjects: subjects.clone(),
        interest: interest.clone(),
        events: events.clone(),
        metrics: metrics.clone(),
        log: Throttle::default(),
    };
    tasks.spawn_until_stop(interest.clone().keep(client.clone(), trips.clone(), streams));
    tasks.spawn_until_stop(incoming.read(own, new_streams, sender));
    tasks.spawn_until_stop(events.watch(client.clone(), trips));
    let (stopping, last) = (tasks.stopping().clone(), client.clone());
    tasks.spawn(async move {
        stopping.cancelled().await;
        let _ = tokio::time::timeout(LAST_FLUSH, last.flush()).await;
    });
    let outgoing = Outgoing::new(client, subjects.clone(), metrics.clone());
    Ok((Broker::Nats(Arc::new(Nats { subjects, interest, outgoing })), arrivals))
}

/// What every instance listens to from its start.
async fn own(client: &Client, subjects: &Subjects, instance: &str) -> Result<SelectAll<Messages>, SubscribeError> {
    let mut own = SelectAll::new();
    for to in [To::Everybody, To::Instance(instance)] {
        let (_, registration) = AbortHandle::new_pair();
        own.push(Abortable::new(client.subscribe(subjects.to(to)).await?, registration));
    }
    Ok(own)
}

impl Nats {
    pub(super) fn publish(&self, entries: &[Arc<Entry>]) {
        self.outgoing.publish(entries);
    }

    pub(super) async fn listen(&self, plane: Plane, channel: &ChannelName) {
        if self.is_connected() {
            self.interest.listen(plane, channel).await;
        } else {
            self.interest.add(plane, channel);
        }
    }

    pub(super) fn unlisten(&self, plane: Plane, channel: &ChannelName) {
        self.interest.unlisten(plane, channel);
    }

    pub(super) fn send(&self, to: To<'_>, body: Vec<u8>) {
        self.outgoing.send(self.subjects.to(to), body);
    }

    pub(super) async fn ask(&self, instance: &str, question: Vec<u8>, patience: Duration) -> Result<Bytes, Unanswered> {
        self.outgoing.ask(self.subjects.to(To::Instance(instance)), question, patience).await
    }

    pub(super) fn answer(&self, ReturnAddress(subject): ReturnAddress, body: Vec<u8>) {
        self.outgoing.send(subject, body);
    }

    pub(super) fn largest(&self) -> usize {
        self.outgoing.largest()
    }

    pub(super) fn is_connected(&self) -> bool {
        self.outgoing.is_connected()
    }
}

impl fmt::Debug for Nats {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Nats")
    }
}
