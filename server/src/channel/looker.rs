//! The looker: every second it asks the store for the heads that moved, so that nothing that another instance, or an application's own
//! transaction, has stored stays unseen for longer, whatever becomes of the messages between instances.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use tokio::sync::Notify;

use super::feed::{Feeds, Looks};
use crate::{
    store::{Db, StoreError, look},
    telemetry::{LookResult, Metrics},
    world::Clock,
};

/// Between two looks.
pub const EVERY: Duration = Duration::from_secs(1);
/// How long one may take.
const LIMIT: Duration = Duration::from_secs(5);
/// Between two looks that somebody asked for.
const SHORTEST: Duration = Duration::from_millis(20);

/// The handle to the looker. One an instance, shared.
#[derive(Debug)]
pub struct Watch {
    looks: Arc<Looks>,
    wanted: Notify,
    /// When the last look that succeeded ended, by [`Clock::elapsed`]; 0 before the first.
    seen: AtomicU64,
    clock: Clock,
}

impl Watch {
    pub(super) fn new(looks: Arc<Looks>, clock: Clock) -> Arc<Self> {
        Arc::new(Self { looks, wanted: Notify::new(), seen: AtomicU64::new(0), clock })
    }

    /// Something may have been lost on the way from other instances: look now, and rely on nothing that was known before.
    pub fn doubt(&self) {
        self.looks.doubt();
        self.wanted.notify_one();
    }

    /// Somebody knows that there is something to see.
    pub fn look_now(&self) {
        self.wanted.notify_one();
    }

    /// How many looks have begun.
    #[cfg(test)]
    pub(super) fn begun(&self) -> u64 {
        self.looks.begun()
    }

    /// For how many milliseconds the store has not been looked at with success.
    pub fn lag(&self) -> u64 {
        self.clock.elapsed().saturating_sub(self.seen.load(Relaxed))
    }
}

/// What the looker works with.
pub(super) struct Looker {
    pub(super) db: Db,
    pub(super) feeds: Feeds,
    pub(super) looks: Arc<Looks>,
    pub(super) watch: Arc<Watch>,
    pub(super) metrics: Arc<Metrics>,
}

impl Looker {
    /// Looks until the instance stops.
    pub(super) async fn run(self) {
        let mut since = None;
        let mut epoch = None;
        let mut answered = true;
        // Whether the store's past has to be compared with the feeds'.
        let mut suspect = false;
        loop {
            let begun = Instant::now();
            match self.look(since, &mut epoch).await {
                Ok((next, went_back)) => {
                    (since, suspect) = (Some(next), suspect || went_back);
                    self.watch.seen.store(self.watch.clock.elapsed(), Relaxed);
                    if !std::mem::replace(&mut answered, true) {
                        // Whatever was done to it meanwhile.
                        tracing::info!("the store answers again: every channel is compared with it");
                        suspect = true;
                    }
                }
                Err(error) => {
                    self.metrics.looks.of(LookResult::Failed).increment(1);
                    if std::mem::replace(&mut answered, false) {
                        tracing::warn!(%error, "the store could not be looked at; trying again every second");
                    }
                }
            }
            if std::mem::take(&mut suspect) && self.feeds.compare(&self.db).await.is_err() {
                suspect = true;
            }
            self.metrics.look_seconds.record(begun.elapsed().as_secs_f64());
            tokio::time::sleep(SHORTEST).await;
            // Whoever asked meanwhile is served at once.
            let _ = tokio::time::timeout(EVERY - SHORTEST, self.watch.wanted.notified()).await;
        }
    }

    /// Looks once; whether the store may have gone back since the last time, too: a server that was started again may be a restored one.
    async fn look(&self, since: Option<look::Since>, epoch: &mut Option<u64>) -> Result<(look::Since, bool), StoreError> {
        let number = self.looks.begin();
        let look = tokio::time::timeout(LIMIT, look::look(&self.db, since));
        let Ok(looked) = look.await else {
            // Not these connections again.
            self.db.distrust();
            return Err(StoreError::Database(sqlx::Error::PoolTimedOut));
        };
        let looked = looked?;
        let before = epoch.replace(looked.epoch);
        self.looks.know(looked.epoch);
        let went_back = looked.went_back || before.is_some_and(|before| before < looked.epoch);
        if went_back {
            tracing::warn!(epoch = looked.epoch, "the store may have gone back in time: every channel is compared with it");
        }
        self.metrics.looks.of(if went_back { LookResult::WentBack } else { LookResult::Done }).increment(1);
        // The first one only tells where to begin: it verifies nothing.
        if since.is_some() {
            self.feeds.looked(number, looked.heads.into_iter().map(|(channel, head)| (channel, head.cursor()))).await;
        }
        Ok((looked.since, went_back || looked.restarted))
    }
}
