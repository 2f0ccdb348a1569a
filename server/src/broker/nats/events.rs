//! What befalls the connection: counted, logged, and told as doubt where something may have been lost.

use std::{
    sync::{Arc, Mutex, PoisonError, atomic::Ordering::Relaxed},
    time::Duration,
};

use async_nats::{Client, Event};
use tokio::{
    sync::Notify,
    time::{Instant, timeout},
};

use super::trip::Trips;
use crate::telemetry::Metrics;

/// Between two lines in the log about one kind of trouble.
const QUIET: Duration = Duration::from_secs(60);
/// Events may be lost when many come; how often the client's own count of connects is looked at besides.
const LOOK: Duration = Duration::from_secs(1);
/// How long a server may take to have every subject again before the doubt about what was missed is told.
const RESUBSCRIBE: Duration = Duration::from_secs(2);

/// Shared by the client, which says what happens, and the tasks that act on it.
#[derive(Debug, Default)]
pub(super) struct Events {
    /// Something may have been lost.
    pub(super) doubt: Notify,
    /// There may be a new connection.
    changed: Notify,
    metrics: Arc<Metrics>,
    slow: Throttle,
    errors: Throttle,
}

impl Events {
    pub(super) fn new(metrics: Arc<Metrics>) -> Self {
        Self { metrics, ..Self::default() }
    }

    /// Never waits: the client calls it for each event in turn.
    pub(super) fn happened(&self, event: Event) {
        match event {
            Event::Connected => self.changed.notify_one(),
            Event::Disconnected => tracing::warn!("the connection to NATS broke; until it is back, other instances' entries come late"),
            Event::SlowConsumer(_) => {
                self.metrics.broker_slow_consumer.increment(1);
                self.doubt.notify_one();
                if self.slow.allows() {
                    tracing::warn!(
                        "messages from NATS came faster than this instance took them; some were dropped, and are read from the store"
                    );
                }
            }
            Event::ServerError(error) if self.errors.allows() => {
                let error = error.to_string();
                // What follows is a subject, and may name a channel.
                let error = error.split(" to \"").next().unwrap_or_default();
                tracing::warn!(error, "NATS refuses something; if permissions, allow this user everything below broker.prefix");
            }
            Event::ClientError(error) if self.errors.allows() => tracing::warn!(%error, "NATS cannot be reached"),
            _ => {}
        }
    }

    /// Tells of doubt after each reconnect, once the server has the subjects again: what is published from then on arrives.
    pub(super) async fn watch(self: Arc<Self>, client: Client, trips: Arc<Trips>) {
        let statistics = client.statistics();
        let mut connects = 1;
        loop {
            let _ = timeout(LOOK, self.changed.notified()).await;
            let now = statistics.connects.load(Relaxed);
            if now == connects {
                continue;
            }
            self.metrics.broker_reconnects.increment(now - connects);
            connects = now;
            tracing::info!("NATS is connected again");
            trips.make(RESUBSCRIBE).await;
            self.doubt.notify_one();
        }
    }
}

/// Lets something through once in a while.
#[derive(Debug, Default)]
pub(super) struct Throttle(Mutex<Option<Instant>>);

impl Throttle {
    pub(super) fn allows(&self) -> bool {
        self.allows_at(Instant::now())
    }

    fn allows_at(&self, now: Instant) -> bool {
        let mut last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let allows = last.is_none_or(|last| now.duration_since(last) >= QUIET);
        if allows {
            *last = Some(now);
        }
        allows
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_throttle_opens_again() {
        let (throttle, now) = (Throttle::default(), Instant::now());
        let allowed = [0, 1, 59, 60, 61, 120].map(|seconds| throttle.allows_at(now + Duration::from_secs(seconds)));
        assert_eq!(allowed, [true, false, false, true, false, true]);
    }
}
