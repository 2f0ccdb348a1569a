//! The lease of a database: with the broker `local` one instance holds it alone, with `nats` several share it.
//!
//! The row says who holds it alone, for people. What counts is a lock that goes with its holder, so that a crashed instance can be
//! started again at once: on SQLite one of the kernel's on `<database>.lock`, on PostgreSQL an advisory one of a session of its own.

use std::{
    fs::{File, OpenOptions, TryLockError},
    time::{Duration, Instant},
};

use sqlx::{Connection, PgConnection};
use thiserror::Error;
use tokio::{sync::Mutex, time::timeout};

use super::{Db, StoreError, on, postgres::Postgres, read};
use crate::world::Clock;

/// The row's time, renewed every third of it.
pub const TERM: Duration = Duration::from_secs(10);
/// How long a database server may take to notice that the holder's session has ended.
const NOTICED: Duration = Duration::from_secs(1);
/// Between two tries meanwhile.
const AGAIN: Duration = Duration::from_millis(25);
const NAME: &str = "local";
/// The advisory lock's number in its database: "hubbub" in ASCII.
const LOCK: i64 = 0x6875_6262_7562;
/// Those who hold it together have no row.
const SHARED: &str = "at least one with the broker `nats`";
/// How long the lock's session may take to answer.
const PATIENCE: Duration = Duration::from_secs(2);

/// Whether others may hold the lease too.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LeaseKind {
    /// Nobody else: the broker `local`, and migrations by hand.
    Exclusive,
    /// Others who share it: the broker `nats`.
    Shared,
}

/// The lease could not be had.
#[derive(Debug, Error)]
pub enum LeaseError {
    /// An instance holds it alone, or others hold it and it was wanted alone.
    #[error(
        "another instance uses this database: {0}. With the broker `local` there can be only one (and `hubbub migrate --down-to` wants none); stop it, start with --take-over to wait until it has stopped, or give all of them the broker `nats`"
    )]
    Held(String),
    /// The lock file failed.
    #[error("the lock file beside the database cannot be used: {0}")]
    Lock(std::io::Error),
    /// The database failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Held for as long as this lives, and on PostgreSQL its session.
#[derive(Debug)]
pub struct Lease {
    holder: String,
    kind: LeaseKind,
    lock: Lock,
}

#[derive(Debug)]
enum Lock {
    File {
        _file: File,
    },
    /// `None` while the session is lost.
    Session(Box<Mutex<Option<PgConnection>>>),
}

impl Lease {
    /// Takes the lease for `holder`, a description for people. [`Lease::renew`] then writes the row, once there is a schema.
    ///
    /// # Errors
    /// [`LeaseError::Held`] if another instance lives that does not share it.
    pub async fn take(db: &Db, holder: String, kind: LeaseKind) -> Result<Self, LeaseError> {
        let begun = Instant::now();
        loop {
            if let Some(lock) = try_lock(db, kind).await? {
                return Ok(Self { holder, kind, lock });
            }
            // A file's lock goes with its process, a session when the server notices that.
            if matches!(db, Db::Sqlite(_)) || begun.elapsed() > NOTICED {
                break;
            }
            tokio::time::sleep(AGAIN).await;
        }
        // Whom it could be shared with, those share it: the row is of somebody who is gone.
        let shared = kind == LeaseKind::Exclusive && try_lock(db, LeaseKind::Shared).await?.is_some();
        Err(LeaseError::Held(if shared { SHARED.to_owned() } else { who(db).await }))
    }

    /// Renews the row, and sees that the lock is still held: a session that was lost is replaced.
    ///
    /// # Errors
    /// [`StoreError::Database`]; [`StoreError::LeaseLost`] if somebody else has taken it meanwhile.
    pub async fn renew(&self, db: &Db, clock: &Clock) -> Result<(), StoreError> {
        if let (Lock::Session(held), Db::Postgres(postgres)) = (&self.lock, db) {
            let mut held = held.lock().await;
            if !is_alive(held.as_mut()).await {
                *held = None;
                *held = session(postgres, self.kind).await?;
            }
            if held.is_none() {
                return Err(StoreError::LeaseLost(who(db).await));
            }
        }
        let now = clock.now();
        self.write(db, now, now + TERM.as_millis() as u64).await
    }

    /// Writes that the lease is given back, and ends the session that held it; a file's lock goes when this is dropped.
    ///
    /// # Errors
    /// [`StoreError::Database`]; the lock is given back all the same.
    pub async fn release(&self, db: &Db, clock: &Clock) -> Result<(), StoreError> {
        let now = clock.now();
        let written = self.write(db, now, now).await;
        if let Lock::Session(held) = &self.lock
            && let Some(conn) = held.lock().await.take()
        {
            conn.close().await?;
        }
        written
    }

    async fn write(&self, db: &Db, now: u64, until: u64) -> Result<(), StoreError> {
        if self.kind == LeaseKind::Shared {
            return Ok(());
        }
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
        .await
        .map(drop))?;
        tx.commit().await
    }
}

/// The lock; `None` if somebody else holds it.
async fn try_lock(db: &Db, kind: LeaseKind) -> Result<Option<Lock>, LeaseError> {
    let sqlite = match db {
        Db::Sqlite(sqlite) => sqlite,
        Db::Postgres(postgres) => return Ok(session(postgres, kind).await?.map(|conn| Lock::Session(Box::new(Mutex::new(Some(conn)))))),
    };
    let path = sqlite.beside(".lock");
    let file = OpenOptions::new().create(true).truncate(false).write(true).open(path).map_err(LeaseError::Lock)?;
    let locked = match kind {
        LeaseKind::Exclusive => file.try_lock(),
        LeaseKind::Shared => file.try_lock_shared(),
    };
    match locked {
        Ok(()) => Ok(Some(Lock::File { _file: file })),
        Err(TryLockError::WouldBlock) => Ok(None),
        Err(TryLockError::Error(error)) => Err(LeaseError::Lock(error)),
    }
}

/// A session that holds the lock; `None` if somebody else does.
async fn session(postgres: &Postgres, kind: LeaseKind) -> Result<Option<PgConnection>, StoreError> {
    let mut conn = postgres.connect().await?;
    let sql = match kind {
        LeaseKind::Exclusive => "SELECT pg_try_advisory_lock($1)",
        LeaseKind::Shared => "SELECT pg_try_advisory_lock_shared($1)",
    };
    let locked: bool = sqlx::query_scalar(sql).bind(LOCK).fetch_one(&mut conn).await?;
    Ok(locked.then_some(conn))
}

async fn is_alive(session: Option<&mut PgConnection>) -> bool {
    let Some(conn) = session else { return false };
    matches!(timeout(PATIENCE, sqlx::query("SELECT 1").execute(conn)).await, Ok(Ok(_)))
}

/// Who holds it alone, by the row. Without one, or without a schema, the other one is starting.
async fn who(db: &Db) -> String {
    let holder: Result<Option<String>, _> =
        read!(db, pool => sqlx::query_scalar("SELECT holder FROM leases WHERE name = $1").bind(NAME).fetch_optional(pool).await);
    holder.ok().flatten().unwrap_or_else(|| "one that is starting".to_owned())
}
