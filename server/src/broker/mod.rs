//! Between instances: `publish` reaches the cluster.
//!
//! `local` means that this instance is the cluster; `nats` that there may be others. Everything here is best effort and never waits: what
//! a durable channel's others do not hear of, they find in the store within about a second.

pub mod envelope;
mod nats;
pub mod subject;

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use hubbub_protocol::{ChannelName, Entry};
use thiserror::Error;
use tokio::sync::mpsc;

pub use nats::{Nats, ServerFacts, check, connect};

/// What carries entries between instances. Cheap to clone.
#[derive(Debug, Clone)]
pub enum Broker {
    /// There is no other instance: the publishing one hands its entries to its own feeds, and that is everybody.
    Local,
    /// There may be other instances on the same NATS: made by [`connect`].
    Nats(Arc<Nats>),
}

/// Which of a channel's subjects.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Plane {
    /// Its entries.
    Entries,
    /// Who comes and goes.
    Presence,
}

/// Whom a message is for that is not an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum To<'a> {
    /// The instances that listen to a channel's presence.
    Presence(&'a ChannelName),
    /// Every instance but this one.
    Everybody,
    /// The instance with this id.
    Instance(&'a str),
}

/// What comes from other instances.
#[derive(Debug)]
pub enum Arrival {
    /// Entries of one channel, in the order in which one instance published them.
    Entries(Vec<Entry>),
    /// What another instance sent, to this one or to several.
    Message(Bytes),
    /// What another instance asks of this one, and waits for: see [`Broker::answer`].
    Question(Bytes, ReturnAddress),
    /// Something may have been lost: a connection broke and is back, or this instance was too slow. Look.
    Doubt,
}

/// Where the answer to a question goes.
#[derive(Debug, Clone)]
pub struct ReturnAddress(String);

/// A question has no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum Unanswered {
    /// There is no such instance, as far as can be seen from here.
    #[error("the instance is gone")]
    Gone,
    /// It did not answer in time: what it was asked for may have been done.
    #[error("the instance did not answer in time")]
    Late,
    /// The question is larger than the broker takes.
    #[error("the question has more than {0} bytes")]
    TooLarge(usize),
}

/// What comes, in order. Bounded: when nobody takes it, NATS drops, and a [`Arrival::Doubt`] follows.
pub type Arrivals = mpsc::Receiver<Arrival>;

/// NATS cannot be used.
#[derive(Debug, Error)]
pub enum BrokerError {
    /// No server of the list answers.
    #[error("NATS cannot be reached: {0}; check broker.url")]
    Unreachable(String),
    /// The servers do not know this instance's user, password, token or key.
    #[error("NATS ({0}) refuses the credentials; check the user in broker.url, or broker.credentials_file")]
    Refused(String),
    /// The certificates do not fit.
    #[error("NATS ({0}) and this instance cannot agree on TLS: {1}; check broker.ca_file and broker.certificate_file")]
    Tls(String, String),
    /// The server is too old.
    #[error("the NATS server is version {0}; Hubbub needs {MIN_VERSION} or newer")]
    TooOld(String),
    /// A batch of entries would not fit.
    #[error("NATS takes messages of at most {0} bytes; Hubbub needs {1}: raise max_payload")]
    PayloadTooSmall(usize, usize),
    /// A file of the configuration, or a credential.
    #[error("the NATS client cannot be set up: {0}")]
    Setup(String),
}

/// The oldest NATS server that will do.
pub const MIN_VERSION: &str = "2.11";

impl Broker {
    /// Tells the other instances of entries, those of one channel in order. Never waits: what cannot be sent at once is dropped and counted.
    pub fn publish(&self, entries: &[Arc<Entry>]) {
        match self {
            Broker::Local => {}
            Broker::Nats(nats) => nats.publish(entries),
        }
    }

    /// Wants to hear of `channel`, until [`Broker::unlisten`] was called as often. Returns when the server knows, or after half a second.
    pub async fn listen(&self, plane: Plane, channel: &ChannelName) {
        match self {
            Broker::Local => {}
            Broker::Nats(nats) => nats.listen(plane, channel).await,
        }
    }

    /// Takes one [`Broker::listen`] back.
    pub fn unlisten(&self, plane: Plane, channel: &ChannelName) {
        match self {
            Broker::Local => {}
            Broker::Nats(nats) => nats.unlisten(plane, channel),
        }
    }

    /// Sends a message that is not an entry. Never waits, and may be lost.
    pub fn send(&self, to: To<'_>, body: Vec<u8>) {
        match self {
            Broker::Local => {}
            Broker::Nats(nats) => nats.send(to, body),
        }
    }

    /// Asks the instance with this id, and waits for its answer, for `patience` at most.
    ///
    /// # Errors
    /// [`Unanswered`]. At once if NATS knows that nobody listens, or is away.
    pub async fn ask(&self, instance: &str, question: Vec<u8>, patience: Duration) -> Result<Bytes, Unanswered> {
        match self {
            Broker::Local => Err(Unanswered::Gone),
            Broker::Nats(nats) => nats.ask(instance, question, patience).await,
        }
    }

    /// Answers a question that came. Never waits, and may be lost.
    pub fn answer(&self, to: ReturnAddress, body: Vec<u8>) {
        match self {
            Broker::Local => {}
            Broker::Nats(nats) => nats.answer(to, body),
        }
    }

    /// Bytes of a message that the broker takes, at most.
    pub fn largest(&self) -> usize {
        match self {
            Broker::Local => usize::MAX,
            Broker::Nats(nats) => nats.largest(),
        }
    }

    /// Whether there may be other instances.
    pub fn is_clustered(&self) -> bool {
        match self {
            Broker::Local => false,
            Broker::Nats(_) => true,
        }
    }

    /// Whether entries reach the others now.
    pub fn is_alive(&self) -> bool {
        match self {
            Broker::Local => true,
            Broker::Nats(nats) => nats.is_connected(),
        }
    }

    /// Its name in the configuration.
    pub fn name(&self) -> &'static str {
        match self {
            Broker::Local => "local",
            Broker::Nats(_) => "nats",
        }
    }
}
