//! Against real NATS servers: a shared one for what leaves it as it is, and private ones for what does not.

mod exchange;
mod interest;
mod outage;
mod server;
mod setup;

use std::{sync::Arc, time::Duration};

use hubbub_protocol::{ChannelName, Entry, Kind, Place};
use tokio::time::timeout;

use crate::{
    broker::{self, Arrival, Arrivals, Broker, BrokerError},
    config::{BrokerConfig, BrokerKind, Interest, NatsUrl},
    tasks::Tasks,
    telemetry::Metrics,
};

/// What takes longer than this has failed.
const LONG: Duration = Duration::from_secs(10);

/// An instance's end of the broker.
struct Node {
    broker: Broker,
    arrivals: Arrivals,
    metrics: Arc<Metrics>,
    tasks: Tasks,
}

impl Node {
    async fn try_start(config: &BrokerConfig, id: &str) -> Result<Self, BrokerError> {
        let (tasks, metrics) = (Tasks::default(), Arc::new(Metrics::new()));
        let (broker, arrivals) = broker::connect(config, id, &tasks, &metrics).await?;
        Ok(Self { broker, arrivals, metrics, tasks })
    }

    async fn start(config: &BrokerConfig, id: &str) -> Self {
        Self::try_start(config, id).await.unwrap()
    }

    async fn pair(config: &BrokerConfig) -> [Self; 2] {
        [Self::start(config, "one").await, Self::start(config, "two").await]
    }

    async fn next(&mut self) -> Arrival {
        timeout(LONG, self.arrivals.recv()).await.expect("something arrives in time").expect("the broker lives")
    }

    async fn next_entries(&mut self) -> Vec<Entry> {
        match self.next().await {
            Arrival::Entries(entries) => entries,
            other => panic!("{other:?} is no entries"),
        }
    }

    async fn next_message(&mut self) -> Vec<u8> {
        match self.next().await {
            Arrival::Message(body) => body.to_vec(),
            other => panic!("{other:?} is no message"),
        }
    }

    /// What the metric with this name and label shows.
    fn count(&self, metric: &str) -> u64 {
        let text = self.metrics.render();
        let line = text.lines().find_map(|line| line.strip_prefix(metric)?.strip_prefix(' '));
        line.unwrap_or_else(|| panic!("no {metric} in\n{text}")).parse().unwrap()
    }
}

/// The shared server, with a prefix that nobody else has.
fn config() -> BrokerConfig {
    config_at(&server::shared())
}

fn config_at(url: &str) -> BrokerConfig {
    BrokerConfig {
        kind: BrokerKind::Nats,
        url: NatsUrl::parse(url).unwrap(),
        prefix: format!("t{:016x}", rand::random::<u64>()),
        interest: Interest::Names,
        credentials: None,
        ca_file: None,
        certificate: None,
    }
}

fn name(text: &str) -> ChannelName {
    ChannelName::parse(text).unwrap()
}

fn entry(channel: &str, seq: u64) -> Arc<Entry> {
    entry_of(channel, seq, 3)
}

/// An entry whose payload is binary data of so many bytes.
fn entry_of(channel: &str, seq: u64, bytes: usize) -> Arc<Entry> {
    let mut payload = vec![0xc6];
    payload.extend((bytes as u32).to_be_bytes());
    payload.resize(payload.len() + bytes, seq as u8);
    Arc::new(Entry {
        channel: name(channel),
        place: Some(Place { epoch: 1, seq, ordinal: seq }),
        kind: Kind::Message,
        refers: None,
        message_id: None,
        publisher: "alice".into(),
        key: None,
        time: 7,
        payload: payload.into(),
    })
}

fn seqs(entries: &[Entry]) -> Vec<u64> {
    entries.iter().map(|entry| entry.place.unwrap().seq).collect()
}
