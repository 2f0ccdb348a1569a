//! What was sent between instances, and to watchers, since the last look.

use std::collections::BTreeMap;

use anyhow::Result;

use super::Stand;

/// Counted by each instance.
const SENT: [(&str, &str); 3] =
    [("about presence", "hubbub_presence_sent"), ("all sent", "hubbub_broker_sent"), ("all received", "hubbub_broker_received")];

/// Counts of each instance and watcher that lives, as they were at one moment.
pub struct Traffic {
    instances: Vec<BTreeMap<String, f64>>,
    watchers: Vec<u64>,
}

impl Traffic {
    /// As they are now.
    pub fn now(stand: &Stand) -> Result<Self> {
        Ok(Self {
            instances: stand.instances.iter().map(|instance| instance.metrics()).collect::<Result<_>>()?,
            watchers: stand.watchers.iter().map(|links| links.iter().map(|link| stand.swarm.received(*link)).sum()).collect(),
        })
    }

    /// The same, but for the first instance, which is dead.
    pub fn without_first(mut self) -> Self {
        self.instances.remove(0);
        self.watchers.remove(0);
        self
    }

    /// Prints what has been added; returns the counts as they are now.
    pub fn report(&self, what: &str, stand: &Stand) -> Result<Self> {
        let now = Self::now(stand)?;
        let added = |name: &str| -> f64 {
            let of = |counts: &BTreeMap<String, f64>| counts.get(name).copied().unwrap_or_default();
            now.instances.iter().zip(&self.instances).map(|(now, before)| of(now) - of(before)).sum()
        };
        print!("traffic of {what}:");
        for (title, metric) in SENT {
            let (messages, bytes) = (added(&format!("{metric}_total")), added(&format!("{metric}_bytes_total")));
            print!(" {title} {messages} messages, {:.1} KiB;", bytes / 1024.0);
        }
        let watchers: u64 = now.watchers.iter().zip(&self.watchers).map(|(now, before)| now - before).sum();
        let count: usize = stand.watchers.iter().map(Vec::len).sum();
        println!(" to a watcher {:.2} KiB", watchers as f64 / 1024.0 / count as f64);
        Ok(now)
    }
}
