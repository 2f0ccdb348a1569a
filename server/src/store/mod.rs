//! The database. SQL lives in this folder and nowhere else; a module a resource.
//!
//! [`Db`] is a handle to one of the databases, `Tx` a transaction on it; the functions of the modules take one of the
//! two. Callers hold no connection across anything but calls of this folder.

pub mod access;
pub mod amendments;
pub mod api_keys;
pub mod audit;
pub mod bans;
pub mod channels;
pub mod entries;
pub mod epoch;
pub mod events;
pub mod idempotency;
pub mod instances;
mod lease;
pub mod listing;
pub mod login_failures;
pub mod look;
pub mod members;
pub mod messages;
mod migrate;
pub mod pasts;
pub mod people;
mod postgres;
pub(crate) mod publishes;
pub mod rooms;
pub mod rulings;
pub mod secrets;
pub mod sessions;
pub mod signing_keys;
mod sqlite;
pub mod standing;
#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
pub(crate) mod tests;
pub mod tickets;
pub mod uploads;
pub mod users;

use std::time::Duration;

use thiserror::Error;

use crate::config::{StoreConfig, StoreUrl};

pub use epoch::Mark;
pub use lease::{Lease, LeaseError, LeaseKind};
pub use migrate::{MigrateError, Migration};
pub use postgres::Notices;

/// A transaction that writes. Rolled back when it is dropped.
pub(crate) enum Tx {
    Sqlite(sqlx::Transaction<'static, sqlx::Sqlite>),
    Postgres(sqlx::Transaction<'static, sqlx::Postgres>),
}

/// A database. Cheap to clone.
#[derive(Debug, Clone)]
pub enum Db {
    /// One file, one writing connection, several reading ones.
    Sqlite(sqlite::Sqlite),
    /// A database on a server, shared by a cluster of instances.
    Postgres(postgres::Postgres),
}

/// The database failed. Nothing was stored, unless the commit itself failed.
#[derive(Debug, Error)]
pub enum StoreError {
    /// The statement or the connection failed: nothing was stored.
    #[error("the database failed: {0}")]
    Database(#[from] sqlx::Error),
    /// It is not known whether the transaction was committed.
    #[error("the commit failed, and what it wrote may or may not be stored: {0}")]
    CommitUnknown(sqlx::Error),
    /// A row holds what this build cannot have written.
    #[error("the database holds a row that cannot be read: {0}")]
    Corrupt(&'static str),
    /// The lock on the database was lost with its session, and another instance has it now.
    #[error("another instance has taken this database: {0}")]
    LeaseLost(String),
}

/// Runs `$body` with `$conn` as a connection of the transaction's own database: the same text for each.
macro_rules! on {
    ($tx:expr, $conn:ident => $body:expr) => {
        match $tx {
            $crate::store::Tx::Sqlite(transaction) => {
                let $conn = &mut **transaction;
                $body
            }
            $crate::store::Tx::Postgres(transaction) => {
                let $conn = &mut **transaction;
                $body
            }
        }
    };
}

/// Runs `$body` with `$pool` as the pool of reading connections.
macro_rules! read {
    ($db:expr, $pool:ident => $body:expr) => {
        match $db {
            $crate::store::Db::Sqlite(sqlite) => {
                let $pool = sqlite.reader();
                $body
            }
            $crate::store::Db::Postgres(postgres) => {
                let pool = postgres.reader();
                let $pool = &pool;
                $body
            }
        }
    };
}

pub(crate) use {on, read};

impl StoreError {
    /// Whether the same call may well succeed a moment later: the server restarts or fails over, the network was cut, no connection was
    /// free, two transactions met. A whole batch may always be appended again: its message ids see to it that nothing is doubled.
    pub fn is_transient(&self) -> bool {
        match self {
            StoreError::Database(error) | StoreError::CommitUnknown(error) => self.is_conflict() || is_trouble(error),
            StoreError::Corrupt(_) | StoreError::LeaseLost(_) => false,
        }
    }

    /// Whether something in a row is at fault, so that the others of its batch may go without it.
    pub fn blames_a_row(&self) -> bool {
        let StoreError::Database(sqlx::Error::Database(error)) = self else { return false };
        // PostgreSQL's classes of data that does not fit, broken constraints and exceeded limits.
        let refused = |code: &str| code.len() == 5 && ["22", "23", "54"].iter().any(|class| code.starts_with(class));
        !matches!(error.kind(), sqlx::error::ErrorKind::Other) || error.code().is_some_and(|code| refused(&code))
    }

    /// Whether somebody else's transaction holds the head of a channel for too long: the other channels may go on without it.
    pub fn blames_a_channel(&self) -> bool {
        matches!(self, StoreError::Database(sqlx::Error::Database(error)) if error.code().as_deref() == Some("55P03"))
    }

    /// The database gave this transaction up for another's sake: serialization, deadlock.
    fn is_conflict(&self) -> bool {
        let StoreError::Database(sqlx::Error::Database(error)) = self else { return false };
        matches!(error.code().as_deref(), Some("40001" | "40P01"))
    }
}

/// Something between here and the database, or the database's own going down and coming up.
fn is_trouble(error: &sqlx::Error) -> bool {
    use sqlx::Error::{Database, Io, PoolTimedOut, Protocol, Tls, WorkerCrashed};
    match error {
        Io(_) | PoolTimedOut | Protocol(_) | Tls(_) | WorkerCrashed => true,
        // SQLite: another process writes for too long.
        Database(error) if matches!(error.code().as_deref(), Some("5" | "6" | "261" | "262" | "517")) => true,
        // Connections, resources (disk full, too many clients), operators (shut down, starting up), what only a primary may do while one
        // is promoted, and a statement that took too long.
        Database(error) => error.code().is_some_and(|code| {
            ["08", "53", "57P"].iter().any(|class| code.starts_with(class)) || matches!(&*code, "25006" | "55000" | "57014")
        }),
        _ => false,
    }
}

/// A number of a request as a column's: beyond the largest there is no row anyway.
fn column(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

impl Db {
    /// Opens the database; a file is made if it is missing. Runs no migration.
    ///
    /// # Errors
    /// [`StoreError::Database`] if the file cannot be opened, or the server is not reached, too old, or does not let one in.
    pub async fn open(config: &StoreConfig) -> Result<Self, StoreError> {
        match &config.url {
            StoreUrl::Sqlite(path) => Ok(Db::Sqlite(sqlite::Sqlite::open(path, config.readers).await?)),
            StoreUrl::Postgres(url) => Ok(Db::Postgres(postgres::Postgres::open(url, config).await?)),
        }
    }

    /// Opens a database that is there already: a command that only looks makes none.
    ///
    /// # Errors
    /// [`StoreError::Database`], also if there is none.
    pub async fn open_existing(config: &StoreConfig) -> Result<Self, StoreError> {
        if let StoreUrl::Sqlite(path) = &config.url
            && !path.exists()
        {
            let missing = std::io::Error::new(std::io::ErrorKind::NotFound, format!("there is no database at {}", path.display()));
            return Err(StoreError::Database(missing.into()));
        }
        Self::open(config).await
    }

    pub(crate) async fn begin(&self) -> Result<Tx, StoreError> {
        match self {
            Db::Sqlite(sqlite) => Ok(Tx::Sqlite(sqlite.begin().await?)),
            Db::Postgres(postgres) => Ok(Tx::Postgres(postgres.begin().await?)),
        }
    }

    /// How many transactions may write at once.
    pub fn writers(&self) -> usize {
        match self {
            Db::Sqlite(_) => 1,
            Db::Postgres(postgres) => postgres.writers(),
        }
    }

    /// Somebody waited in vain for an answer: new connections are made for whatever comes next. A file always answers.
    pub fn distrust(&self) {
        match self {
            Db::Sqlite(_) => {}
            Db::Postgres(postgres) => postgres.distrust(),
        }
    }

    /// Whether somebody else may write who is no instance: an application, in a transaction of its own.
    pub fn has_guests(&self) -> bool {
        match self {
            Db::Sqlite(_) => false,
            Db::Postgres(_) => true,
        }
    }

    /// Its name in the configuration.
    pub fn kind(&self) -> &'static str {
        match self {
            Db::Sqlite(_) => "sqlite",
            Db::Postgres(_) => "postgres",
        }
    }

    /// Whether the database answers within `limit`.
    pub async fn is_alive(&self, limit: Duration) -> bool {
        let look = async { read!(self, pool => sqlx::query("SELECT 1").execute(pool).await.map(drop)) };
        matches!(tokio::time::timeout(limit, look).await, Ok(Ok(_)))
    }

    /// Waits for what runs, then closes every connection.
    pub async fn close(&self) {
        match self {
            Db::Sqlite(sqlite) => sqlite.close().await,
            Db::Postgres(postgres) => postgres.close().await,
        }
    }
}

/// Hears of what others publish by `hubbub_publish(…, notify => true)`; `None` on SQLite, where nobody does.
pub fn listen(db: &Db) -> Option<Notices> {
    match db {
        Db::Sqlite(_) => None,
        Db::Postgres(postgres) => Some(Notices::new(postgres)),
    }
}

impl Tx {
    pub(crate) async fn commit(self) -> Result<(), StoreError> {
        match self {
            Tx::Sqlite(transaction) => transaction.commit().await.map_err(StoreError::CommitUnknown),
            Tx::Postgres(transaction) => transaction.commit().await.map_err(StoreError::CommitUnknown),
        }
    }
}
