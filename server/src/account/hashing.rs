//! Hashing passwords: on threads of its own, as many at once as the configuration says, while a bounded number wait.

use std::sync::Arc;

use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    task::spawn_blocking,
};

use super::Refused;
use crate::{
    auth::{Cost, HashError, Hasher, Password, Verdict},
    config::AccountsConfig,
    telemetry::Metrics,
    world::Chance,
};

/// Requests that may wait for their turn, for each that is hashed at once: some seconds.
const WAITING: usize = 64;

/// Hashes and verifies.
#[derive(Debug)]
pub(super) struct Hashing {
    hasher: Arc<Hasher>,
    slots: Arc<Semaphore>,
    places: Arc<Semaphore>,
    chance: Chance,
    metrics: Arc<Metrics>,
}

/// A turn. Taken before a try is counted, so that none is counted that was not made.
#[derive(Debug)]
pub(super) struct Turn {
    _slot: OwnedSemaphorePermit,
    _place: OwnedSemaphorePermit,
}

impl Hashing {
    pub fn new(config: &AccountsConfig, chance: &Chance, metrics: Arc<Metrics>) -> Result<Self, HashError> {
        let cost = Cost { memory: (config.memory >> 10) as u32, passes: config.passes, lanes: config.lanes };
        Ok(Self {
            hasher: Arc::new(Hasher::new(cost, chance.bytes())?),
            slots: Arc::new(Semaphore::new(config.hashing)),
            places: Arc::new(Semaphore::new(config.hashing * WAITING)),
            chance: chance.clone(),
            metrics,
        })
    }

    /// Waits for a turn.
    pub async fn turn(&self) -> Result<Turn, Refused> {
        let place = self.places.clone().try_acquire_owned().map_err(|_| Refused::Overloaded)?;
        let slot = self.slots.clone().acquire_owned().await.map_err(|_| Refused::Overloaded)?;
        Ok(Turn { _slot: slot, _place: place })
    }

    /// Whether `password` is the one of `hash`: as much work whether there is a hash or not.
    pub async fn verify(&self, turn: &Turn, password: &Password, hash: Option<String>) -> Result<Verdict, Refused> {
        let (hasher, password) = (self.hasher.clone(), password.clone());
        self.run(turn, move || hasher.verify(&password, hash.as_deref())).await
    }

    /// The hash to keep.
    pub async fn hash(&self, turn: &Turn, password: &Password) -> Result<String, Refused> {
        let (hasher, password, salt) = (self.hasher.clone(), password.clone(), self.chance.bytes());
        Ok(self.run(turn, move || hasher.hash(&password, salt)).await??)
    }

    async fn run<T: Send + 'static>(&self, _: &Turn, work: impl FnOnce() -> T + Send + 'static) -> Result<T, Refused> {
        self.metrics.password_hashes.increment(1);
        // It fails only when the process ends, or the work has panicked.
        spawn_blocking(work).await.map_err(|_| Refused::Overloaded)
    }
}
