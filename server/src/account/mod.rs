//! Users of this server's own: they register, log in, and get tokens. And a row for everybody whom an outside issuer vouches for.
//!
//! [`Accounts`] is asked by REST; sessions ask it when a token names a key that they do not know. What changes rights is a ruling, written
//! in the same transaction (`store/rulings.rs`).

mod hashing;
mod janitor;
pub mod keys;
mod login;
mod logins;
mod names;
mod password;
mod refresh;
mod refused;
mod register;
mod sightings;
#[cfg(test)]
mod tests;
mod throttle;
mod tokens;

use std::{net::IpAddr, sync::Arc};

use thiserror::Error;

use crate::{
    access::Access,
    auth::{HashError, KeyError, KeyRing, SigningError},
    config::{AccountsConfig, Secret},
    store::{Db, StoreError, audit::Trace},
    tasks::Tasks,
    telemetry::Metrics,
    world::World,
};

use hashing::Hashing;
use keys::Keys;
use throttle::Throttle;
use tokens::Refreshes;

pub use login::LogIn;
pub use logins::{Login, Logins};
pub use names::{Flaw, Place};
pub use refused::Refused;
pub use register::Register;
pub use sightings::Sightings;
pub use tokens::{Tokens, User};

/// Where a request comes from, for the list of logins and against guessing.
#[derive(Debug, Clone)]
pub struct Client {
    /// The address.
    pub address: IpAddr,
    /// What the client calls itself: its User-Agent.
    pub device: String,
    /// The request's id.
    pub request: String,
}

/// Accounts could not be set up.
#[derive(Debug, Error)]
#[allow(missing_docs)] // The messages say it.
pub enum AccountsError {
    #[error("passwords cannot be hashed at the cost that [accounts] names: {0}")]
    Hash(#[from] HashError),
    #[error(transparent)]
    Signing(#[from] SigningError),
    #[error("a signing key in the database cannot be read: {0}")]
    Key(#[from] KeyError),
    #[error("the signing keys could not be read or made: {0}")]
    Store(#[from] StoreError),
}

/// The use cases. One an instance, shared.
#[derive(Debug)]
pub struct Accounts {
    config: AccountsConfig,
    db: Db,
    access: Arc<Access>,
    world: World,
    metrics: Arc<Metrics>,
    hashing: Hashing,
    throttle: Throttle,
    refreshes: Refreshes,
    keys: Keys,
}

impl Accounts {
    /// Reads the signing keys, makes the first if there is none, and keeps them current in tasks of its own. `ring` is what tokens are verified
    /// with, `secret` the same on every instance.
    ///
    /// # Errors
    /// [`AccountsError`].
    pub async fn start(parts: Parts, tasks: &Tasks) -> Result<Arc<Self>, AccountsError> {
        let Parts { config, db, access, ring, secret, world, metrics } = parts;
        let keys = Keys::new(&config, db.clone(), ring, &secret, world.clone())?;
        keys.open().await?;
        let accounts = Arc::new(Self {
            hashing: Hashing::new(&config, &world.chance, metrics.clone())?,
            throttle: Throttle::new(db.clone(), &secret)?,
            refreshes: Refreshes::new(&secret)?,
            config,
            db,
            access,
            world,
            metrics,
            keys,
        });
        tasks.spawn_until_stop(keys::keep(accounts.clone()));
        tasks.spawn_until_stop(janitor::run(accounts.clone()));
        Ok(accounts)
    }

    /// The keys that our tokens are signed with.
    pub fn keys(&self) -> &Keys {
        &self.keys
    }

    /// What is written down of a deed of `user`.
    fn trace(&self, user: &str, client: &Client) -> Trace {
        Trace { actor: user.to_owned(), address: client.address.to_canonical().to_string(), request: client.request.clone() }
    }

    fn now(&self) -> u64 {
        self.world.clock.now()
    }
}

/// What accounts are made of.
#[derive(Debug)]
pub struct Parts {
    /// `[accounts]`.
    pub config: AccountsConfig,
    /// The database.
    pub db: Db,
    /// Who goes by rulings.
    pub access: Arc<Access>,
    /// Where the keys go.
    pub ring: Arc<KeyRing>,
    /// What keys are sealed with and refresh tokens are made of.
    pub secret: Secret,
    /// Time and chance.
    pub world: World,
    /// Counts.
    pub metrics: Arc<Metrics>,
}
