//! The lease of the one instance that a `local` broker allows.
//!
//! The row says who holds it, for people and for databases without files. On SQLite a lock on `<database>.lock` says whether the
//! holder lives: the kernel gives it back when a process dies, so that a crashed instance can be started again at once.

use std::{
    fs::{File, OpenOptions, TryLockError},
    time::Duration,
};

use thiserror::Error;

use super::{Db, StoreError, on, read};
use crate::world::Clock;

/// The row's time, renewed every third of it.
pub const TERM: Duration = Duration::from_secs(10);
const NAME: &str = "local";

/// The lease could not be had.
#[derive(Debug, Error)]
pub enum LeaseError {
    /// Another instance holds it.
    #[error(
        "another instance uses this database: {0}. With the broker `local` there can be only one; stop it, or start with --take-over to wait until it has stopped"
    )]
    Held(String),
    /// The lock file failed.
    #[error("the lock file beside the database cannot be used: {0}")]
    Lock(std::io::Error),
}

/// Held for as long as this lives.
#[derive(Debug)]
pub struct Lease {
    holder: String,
    _lock: File,
}

impl Lease {
    /// Takes the lease for `holder`, a description for people. [`Lease::renew`] then writes the row, once there is a schema.
    ///
    /// # Errors
    /// [`LeaseError::Held`] if another instance lives.
    pub async fn take(db: &Db, holder: String) -> Result<Self, LeaseError> {
        let path = match db {
            Db::Sqlite(sqlite) => sqlite.beside(".lock"),
        };
        let lock = OpenOptions::new().create(true).truncate(false).write(true).open(path).map_err(LeaseError::Lock)?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(LeaseError::Held(who(db).await)),
            Err(TryLockError::Error(error)) => return Err(LeaseError::Lock(error)),
        }
        Ok(Self { holder, _lock: lock })
    }

    /// Renews the row.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub async fn renew(&self, db: &Db, clock: &Clock) -> Result<(), StoreError> {
        let now = clock.now();
        self.write(db, now, now + TERM.as_millis() as u64).await
    }

    /// Writes that the lease is given back; the lock goes when this is dropped.
    ///
    /// # Errors
    /// [`StoreError::Database`]; the lock is given back all the same.
    pub async fn release(&self, db: &Db, clock: &Clock) -> Result<(), StoreError> {
        let now = clock.now();
        self.write(db, now, now).await
    }

    async fn write(&self, db: &Db, now: u64, until: u64) -> Result<(), StoreError> {
        let mut tx = db.begin().await?;
        on!(&mut tx, conn => sqlx::query(
            "INSERT INTO leases (name, holder, taken_at, expires_at) VALUES ($1, $2, $3, $4)
             ON CONFLICT (name) DO UPDATE SET expires_at = excluded.expires_at, holder = excluded.holder,
             taken_at = CASE WHEN leases.holder = excluded.holder THEN leases.taken_at ELSE excluded.taken_at END",
        )
        .bind(NAME)
        .bind(&self.holder)
        .bind(now as i64)
        .bind(until as i64)
        .execute(conn)
        .await)?;
        tx.commit().await
    }
}

/// The holder by its row. Without one, or without a schema, the other one is starting.
async fn who(db: &Db) -> String {
    let holder: Result<Option<String>, _> =
        read!(db, pool => sqlx::query_scalar("SELECT holder FROM leases WHERE name = $1").bind(NAME).fetch_optional(pool).await);
    holder.ok().flatten().unwrap_or_else(|| "one that is starting".to_owned())
}
