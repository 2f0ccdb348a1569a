//! The signing keys: made, rotated, and read anew. A new key is known everywhere before it signs, and an old one verifies until the last token
//! that it signed is over, so that nobody is logged out.

use std::{sync::Arc, time::Duration};

use tokio::sync::Notify;

use super::{Accounts, AccountsError};
use crate::{
    auth::{KeyRing, OwnKey, SEED, Sealed, Vault},
    config::{AccountsConfig, Secret},
    store::{
        Db,
        audit::{Record, Trace},
        signing_keys::{self, NewKey, StoredKey},
    },
    world::World,
};

/// From the making of a key to its first signature, in milliseconds: several times the time between two looks.
pub const NOTICE: u64 = 60_000;
/// Between two readings of the keys.
const EVERY: Duration = Duration::from_secs(10);
/// Clocks may be so far apart, in milliseconds.
const SLACK: u64 = 300_000;
/// Between two readings, whoever wants them.
const PAUSE: Duration = Duration::from_secs(1);

/// The keys of a store.
#[derive(Debug)]
pub struct Keys {
    db: Db,
    world: World,
    vault: Vault,
    ring: Arc<KeyRing>,
    /// The longest life of a token, in milliseconds.
    token_life: u64,
    key_life: u64,
    wanted: Notify,
}

impl Keys {
    /// The keys in `db`, sealed with `secret`; they go into `ring`.
    ///
    /// # Errors
    /// [`AccountsError::Signing`].
    pub fn new(config: &AccountsConfig, db: Db, ring: Arc<KeyRing>, secret: &Secret, world: World) -> Result<Self, AccountsError> {
        let [token_life, key_life] = [config.access_life, config.key_life].map(|life| life.as_millis() as u64);
        Ok(Self { db, world, vault: Vault::new(secret.expose())?, ring, token_life, key_life, wanted: Notify::new() })
    }

    /// What signs and verifies now.
    pub fn ring(&self) -> &Arc<KeyRing> {
        &self.ring
    }

    /// Every key that is kept, the oldest first.
    ///
    /// # Errors
    /// [`AccountsError::Store`].
    pub async fn list(&self) -> Result<Vec<StoredKey>, AccountsError> {
        Ok(signing_keys::all(&self.db).await?)
    }

    /// Reads the keys, and makes one if none can sign.
    pub(super) async fn open(&self) -> Result<(), AccountsError> {
        if self.read().await? {
            return Ok(());
        }
        let newest = newest(&self.list().await?).map(|key| key.kid.clone());
        if newest.is_some() {
            tracing::warn!(
                "the signing keys were sealed with another secret: a new one is made. Give the same secret to every instance (accounts.secret)"
            );
        }
        // Nothing signs, so there is nobody to wait for.
        self.add(newest.as_deref(), self.world.clock.now(), &server()).await?;
        self.read().await?;
        Ok(())
    }

    /// Adds a key that signs after [`NOTICE`], and tells its name. `None` if somebody else has just added one.
    ///
    /// # Errors
    /// [`AccountsError`].
    pub async fn rotate(&self, trace: &Trace) -> Result<Option<String>, AccountsError> {
        self.follow(newest(&self.list().await?), trace).await
    }

    /// Adds a key behind `newest`, if that is still the newest: whoever else found it old at the same time does not add a third.
    async fn follow(&self, newest: Option<&StoredKey>, trace: &Trace) -> Result<Option<String>, AccountsError> {
        let kid = self.add(newest.map(|key| key.kid.as_str()), self.world.clock.now() + NOTICE, trace).await?;
        self.read().await?;
        Ok(kid)
    }

    async fn add(&self, newest: Option<&str>, signs_from: u64, trace: &Trace) -> Result<Option<String>, AccountsError> {
        let chance = &self.world.chance;
        let kid = self.world.id().to_string();
        let Sealed { jwk, private } = self.vault.make(&kid, chance.bytes::<SEED>(), chance.bytes())?;
        let retires_others_at = signs_from + self.token_life + SLACK;
        let new = NewKey { kid: &kid, jwk: &jwk, sealed: &private, signs_from, retires_others_at };
        let entry = self.world.id().to_string();
        let added = signing_keys::add(&self.db, new, newest, Record { id: &entry, trace }, self.world.clock.now()).await?;
        if added.is_some() {
            tracing::info!(kid, signs_from, "there is a new signing key");
        }
        Ok(added.map(|_| kid))
    }

    /// Puts the keys into the ring as they are kept, and tells whether one can sign.
    async fn read(&self) -> Result<bool, AccountsError> {
        let stored = self.list().await?;
        let open = |key: &StoredKey| {
            let sealed = Sealed { jwk: key.jwk.clone(), private: key.sealed.clone() };
            OwnKey::open(&self.vault, &key.kid, &sealed, key.signs_from as u64, key.retires_at.map(|at| at as u64))
        };
        let keys: Vec<OwnKey> = stored.iter().map(open).collect::<Result<_, _>>()?;
        let signs = keys.last().is_some_and(OwnKey::is_open);
        self.ring.swap(keys);
        Ok(signs)
    }

    /// Somebody knows of a key that is not known here, or may be: the keys are read anew, once a second at most.
    pub fn want(&self) {
        self.wanted.notify_one();
    }

    /// Rotates if the newest key is old enough, and forgets those that have verified nothing for a while.
    pub(super) async fn round(&self) -> Result<(), AccountsError> {
        let now = self.world.clock.now();
        self.read().await?;
        let keys = self.list().await?;
        if let Some(old) = newest(&keys).filter(|key| key.created_at as u64 + self.key_life <= now) {
            self.follow(Some(old), &server()).await?;
        }
        if keys.iter().any(|key| key.retires_at.is_some_and(|at| (at as u64) < now.saturating_sub(SLACK))) {
            signing_keys::sweep(&self.db, now.saturating_sub(SLACK)).await?;
        }
        Ok(())
    }
}

/// Nobody asked for it.
fn server() -> Trace {
    Trace { actor: "server".to_owned(), address: String::new(), request: String::new() }
}

fn newest(keys: &[StoredKey]) -> Option<&StoredKey> {
    keys.iter().rev().find(|key| key.retires_at.is_none())
}

/// Keeps the keys current until the instance stops.
pub(super) async fn keep(accounts: Arc<Accounts>) {
    let mut ruled = accounts.access.keys();
    loop {
        tokio::select! {
            () = tokio::time::sleep(EVERY) => {}
            () = accounts.keys.wanted.notified() => {}
            // It is never closed: we hold what changes it.
            _ = ruled.changed() => {}
        }
        if let Err(error) = accounts.keys.round().await {
            tracing::warn!(%error, "the signing keys could not be read or rotated; trying again");
        }
        tokio::time::sleep(PAUSE).await;
    }
}
