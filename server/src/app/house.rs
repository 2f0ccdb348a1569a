//! What recurs while an instance runs, and what comes to it from others.

use std::{future::Future, time::Duration};

use super::App;
use crate::{
    access::HINT,
    broker::{Arrival, Arrivals},
    channel::presence::Alive,
    instance::{About, Listed},
    store::{self, StoreError},
    tasks::Chores,
};

/// Between two renewals of the leases.
const RENEW: Duration = Duration::from_secs(3);
/// Between two looks at who lives.
const LIST: Duration = Duration::from_secs(1);
/// Between two notes of how far the store has come.
const NOTE: Duration = Duration::from_secs(1);
/// How long one of these may take.
const LIMIT: Duration = Duration::from_secs(5);
/// Between two foldings of the metrics.
const UPKEEP: Duration = Duration::from_secs(5);

impl App {
    /// Starts what recurs. The instance has its row among the others' when this returns.
    pub(super) async fn keep_house(&self, arrivals: Option<Arrivals>) -> Result<(), StoreError> {
        self.tasks.spawn_until_stop(self.connections.clone().sweep());
        let (lease, db, clock) = (self.lease.clone(), self.db.clone(), self.world.clock.clone());
        self.every(RENEW, "the lease could not be renewed", move || {
            let (lease, db, clock) = (lease.clone(), db.clone(), clock.clone());
            async move { lease.renew(&db, &clock).await }
        });
        let (mark, db) = (self.mark.clone(), self.db.clone());
        self.every(NOTE, "the mark beside the database could not be written", move || {
            let (mark, db) = (mark.clone(), db.clone());
            async move { mark.note(&db).await }
        });
        let (metrics, hub, rates) = (self.metrics.clone(), self.hub.clone(), self.rates.clone());
        self.every(UPKEEP, "metrics", move || {
            metrics.upkeep();
            metrics.feeds.set(hub.channels() as f64);
            rates.forget();
            async { Ok(()) }
        });
        self.join_others().await?;
        if let Some(arrivals) = arrivals {
            self.list_others().await?;
            self.take_in(arrivals);
        }
        self.hear_guests();
        Ok(())
    }

    /// Looks at once when somebody who published in a transaction of his own asks for it.
    fn hear_guests(&self) {
        if let Some(mut notices) = store::listen(&self.db)
            && let Some(watch) = self.channels.watch().cloned()
        {
            self.tasks.spawn_until_stop(async move {
                loop {
                    notices.next().await;
                    watch.look_now();
                }
            });
        }
    }

    /// Takes a row among the instances, and keeps it.
    async fn join_others(&self) -> Result<(), StoreError> {
        let about = self.about();
        self.membership.renew(&about()).await?;
        let membership = self.membership.clone();
        self.every(RENEW, "this instance's row could not be renewed", move || {
            let (membership, about) = (membership.clone(), about());
            async move {
                let before = membership.generation();
                let generation = membership.renew(&about).await?;
                if generation != before {
                    tracing::warn!(generation, "this instance's lease had run out; it has a new generation");
                }
                Ok(())
            }
        });
        Ok(())
    }

    /// Sees which instances live, now and every second: presence goes by it, and the oldest of them deletes what is old.
    async fn list_others(&self) -> Result<(), StoreError> {
        let (membership, channels) = (self.membership.clone(), self.channels.clone());
        let look = move || {
            let (membership, channels) = (membership.clone(), channels.clone());
            async move {
                let listed = membership.list().await?;
                let oldest = listed.iter().find(|one| one.left_ms > 0);
                let ours = oldest.is_none_or(|oldest| oldest.id == **membership.id());
                channels.share_chores(if ours { Chores::Ours } else { Chores::Theirs });
                let alive = |one: Listed| Alive { id: one.id, generation: one.generation, left_ms: one.left_ms };
                channels.presence().instances(listed.into_iter().map(alive).collect());
                Ok(())
            }
        };
        look().await?;
        self.every(LIST, "the instances could not be listed", look);
        Ok(())
    }

    /// Describes this instance as it is now.
    fn about(&self) -> impl Fn() -> About + Send + 'static {
        let fixed = About {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            host: super::hostname(),
            process: std::process::id(),
            address: self.address.to_string(),
            broker: self.broker.name().to_owned(),
            ..About::default()
        };
        let (connections, hub, watch) = (self.connections.clone(), self.hub.clone(), self.channels.watch().cloned());
        let (broker, draining) = (self.broker.clone(), self.draining.clone());
        move || About {
            connections: connections.len() as u64,
            channels: hub.channels() as u64,
            lag_ms: watch.as_ref().map_or(0, |watch| watch.lag()),
            broker_alive: broker.is_alive(),
            draining: draining.is_cancelled(),
            ..fixed.clone()
        }
    }

    /// What comes from other instances goes to the feeds and to presence.
    fn take_in(&self, mut arrivals: Arrivals) {
        let (channels, plain, access) = (self.channels.clone(), self.plain.clone(), self.access.clone());
        self.tasks.spawn_until_stop(async move {
            while let Some(arrival) = arrivals.recv().await {
                match arrival {
                    Arrival::Entries(entries) => channels.arrived(entries).await,
                    Arrival::Question(question, from) => plain.asked(question, from),
                    Arrival::Message(message) if *message == *HINT => access.hinted(),
                    Arrival::Message(message) => channels.presence().arrived(message),
                    Arrival::Doubt => {
                        access.hinted();
                        channels.presence().doubt();
                        if let Some(watch) = channels.watch() {
                            watch.doubt();
                        }
                    }
                }
            }
        });
    }

    fn every<F>(&self, pause: Duration, trouble: &'static str, act: impl Fn() -> F + Send + 'static)
    where
        F: Future<Output = Result<(), StoreError>> + Send,
    {
        self.tasks.spawn_until_stop(async move {
            loop {
                tokio::time::sleep(pause).await;
                match tokio::time::timeout(LIMIT, act()).await {
                    Ok(Ok(())) => {}
                    Ok(Err(error)) => tracing::warn!(%error, "{trouble}"),
                    Err(_) => tracing::warn!("{trouble}: the store does not answer"),
                }
            }
        });
    }
}
