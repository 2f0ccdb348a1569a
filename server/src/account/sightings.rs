//! Whoever an outside issuer's token vouches for becomes a user when he is first seen. Off the path of whoever connects: what is seen waits in a
//! bounded queue, and goes to the store in batches. What is lost on the way is seen again.

use std::{
    collections::HashSet,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tokio::sync::mpsc;

use crate::{
    auth::Identity,
    store::{Db, users},
    tasks::Tasks,
    world::World,
};

/// Between two batches.
const EVERY: Duration = Duration::from_millis(200);
/// Sightings that may wait, and users in a batch.
const QUEUE: usize = 1_024;
/// Users that are known to have a row, at most in each of two halves.
const KNOWN: usize = 50_000;

/// Sees users.
#[derive(Debug)]
pub struct Sightings {
    known: Mutex<Known>,
    queue: mpsc::Sender<Arc<str>>,
}

/// The users seen of late, in two halves: when one is full, the older one is forgotten.
#[derive(Debug, Default)]
struct Known {
    recent: HashSet<Arc<str>, foldhash::fast::RandomState>,
    older: HashSet<Arc<str>, foldhash::fast::RandomState>,
}

impl Known {
    fn has(&self, user: &str) -> bool {
        self.recent.contains(user) || self.older.contains(user)
    }

    fn add(&mut self, user: Arc<str>) {
        if self.recent.len() >= KNOWN {
            self.older = std::mem::take(&mut self.recent);
        }
        self.recent.insert(user);
    }
}

impl Sightings {
    /// Writes what is seen to `db`, in a task of its own.
    pub fn start(db: Db, world: World, tasks: &Tasks) -> Arc<Self> {
        let (queue, seen) = mpsc::channel(QUEUE);
        let sightings = Arc::new(Self { known: Mutex::default(), queue });
        tasks.spawn_until_stop(write(sightings.clone(), db, world, seen));
        sightings
    }

    /// Somebody has shown a token that verifies. Never waits.
    pub fn saw(&self, identity: &Identity) {
        // Who logged in here has a row.
        if identity.session.is_none() && !self.known().has(&identity.user) {
            // If the queue is full he is seen again, with his next request.
            let _ = self.queue.try_send(identity.user.clone());
        }
    }

    fn known(&self) -> std::sync::MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn write(sightings: Arc<Sightings>, db: Db, world: World, mut seen: mpsc::Receiver<Arc<str>>) {
    let mut batch = Vec::new();
    while seen.recv_many(&mut batch, QUEUE).await > 0 {
        batch.sort_unstable();
        batch.dedup();
        batch.retain(|user| !sightings.known().has(user));
        let users = batch.iter().map(|user| user.to_string()).collect::<Vec<_>>();
        if !users.is_empty() {
            match users::see(&db, users, world.clock.now()).await {
                Ok(()) => batch.drain(..).for_each(|user| sightings.known().add(user)),
                Err(error) => tracing::warn!(%error, "users who were seen could not be written; they will be when they are seen again"),
            }
        }
        batch.clear();
        tokio::time::sleep(EVERY).await;
    }
}
