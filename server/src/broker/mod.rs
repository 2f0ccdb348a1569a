//! Between instances: `publish` reaches the cluster.
//!
//! `local` means that this instance is the cluster. An arm for NATS joins it; what it will carry ([`envelope`]) and where
//! ([`subject`]) is fixed here, so that releases can run side by side from the first one on.

pub mod envelope;
pub mod subject;

use std::sync::Arc;

use hubbub_protocol::Entry;

/// What carries entries between instances.
#[derive(Debug, Clone)]
pub enum Broker {
    /// There is no other instance: the publishing one hands its entries to its own feeds, and that is everybody.
    Local,
}

impl Broker {
    /// Tells the other instances. Entries of one channel are in order.
    pub async fn publish(&self, _entries: &[Arc<Entry>]) {
        match self {
            Broker::Local => {}
        }
    }

    /// Whether entries reach the others now.
    pub fn is_alive(&self) -> bool {
        match self {
            Broker::Local => true,
        }
    }

    /// Its name in the configuration.
    pub fn name(&self) -> &'static str {
        match self {
            Broker::Local => "local",
        }
    }
}
