//! The instances of a cluster, as they know each other: a row each, with a lease.

use std::sync::{
    Arc,
    atomic::{AtomicI64, Ordering::Relaxed},
};

use serde::{Deserialize, Serialize};

use crate::{
    store::{Db, StoreError, instances},
    world::World,
};

/// What an instance says of itself. Fields may be added; one that is absent was written by a release that did not have it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Default, utoipa::ToSchema)]
#[serde(default)]
pub struct About {
    /// The release.
    pub version: String,
    /// The host's name.
    pub host: String,
    /// The process's number there.
    pub process: u32,
    /// Where it listens.
    pub address: String,
    /// How it reaches the others: `local`, `nats`.
    pub broker: String,
    /// Open connections.
    pub connections: u64,
    /// Channels that have subscribers there.
    pub channels: u64,
    /// For how many milliseconds its feeds have not been compared with the store: about a second at most, if all is well. 0 where nobody
    /// else writes.
    pub lag_ms: u64,
    /// Whether the broker carries its messages.
    pub broker_alive: bool,
    /// Whether it is shutting down.
    pub draining: bool,
}

/// An instance in a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// A UUID of its own for each start.
    pub id: String,
    /// Rises whenever its lease had been lost.
    pub generation: i64,
    /// When it started, in Unix milliseconds.
    pub started_at: u64,
    /// When it last renewed its lease.
    pub renewed_at: u64,
    /// For how many milliseconds the lease is still good; negative if it has run out: the instance is gone, or cannot reach the store.
    pub left_ms: i64,
    /// What it said then.
    pub about: About,
}

/// This instance among the others. One an instance, shared.
#[derive(Debug)]
pub struct Membership {
    db: Db,
    id: Arc<str>,
    world: World,
    generation: AtomicI64,
}

impl Membership {
    /// An instance that has no row yet.
    pub fn new(db: Db, world: World) -> Arc<Self> {
        let id = world.id().to_string().into();
        Arc::new(Self { db, id, world, generation: AtomicI64::new(0) })
    }

    /// This instance's id.
    pub fn id(&self) -> &Arc<str> {
        &self.id
    }

    /// The generation of the last renewal; 0 before the first.
    pub fn generation(&self) -> i64 {
        self.generation.load(Relaxed)
    }

    /// Renews the lease, and says `about`. Returns the generation: a higher one than before if the lease had been lost.
    ///
    /// # Errors
    /// [`StoreError`]: the lease goes on running out.
    pub async fn renew(&self, about: &About) -> Result<i64, StoreError> {
        let about = serde_json::to_string(about).map_err(|_| StoreError::Corrupt("an instance cannot be described"))?;
        let generation = instances::renew(&self.db, &self.id, &about, self.world.clock.now()).await?;
        self.generation.store(generation, Relaxed);
        Ok(generation)
    }

    /// Every instance that has a row: those that live, and those that went within the last hour without a word.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn list(&self) -> Result<Vec<Listed>, StoreError> {
        list(&self.db, &self.world).await
    }

    /// Gives the lease back.
    ///
    /// # Errors
    /// [`StoreError`]: it runs out by itself.
    pub async fn leave(&self) -> Result<(), StoreError> {
        instances::leave(&self.db, &self.id, self.world.clock.now()).await
    }
}

/// Every instance of `db`, the oldest first.
///
/// # Errors
/// [`StoreError`].
pub async fn list(db: &Db, world: &World) -> Result<Vec<Listed>, StoreError> {
    let rows = instances::list(db, world.clock.now()).await?;
    let listed = |row: instances::Instance| Listed {
        id: row.id,
        generation: row.generation,
        started_at: row.started_at as u64,
        renewed_at: row.renewed_at as u64,
        left_ms: row.left,
        // A release that says it otherwise is still there.
        about: serde_json::from_str(&row.about).unwrap_or_default(),
    };
    Ok(rows.into_iter().map(listed).collect())
}
