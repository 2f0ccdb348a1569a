//! The instances of a store, and their leases.
//!
//! An instance renews its row every three seconds for nine. One whose row has run out is gone for the others; when it comes back it
//! takes a new generation, so that nobody mistakes what it says now for what it said before.

use super::{Db, StoreError, Tx, on, read};

/// For how long a row is good after each renewal, in milliseconds. The lease is ten seconds: within the last one everybody has seen that
/// it has run out.
pub const TERM_MS: i64 = 9_000;

/// An instance's row.
#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow)]
pub struct Instance {
    /// A UUID of its own for each start.
    pub id: String,
    /// Rises whenever the lease had been lost.
    pub generation: i64,
    /// What it says of itself, as JSON.
    pub about: String,
    /// When it started, in Unix milliseconds.
    pub started_at: i64,
    /// When it was last heard of.
    pub renewed_at: i64,
    /// For how many milliseconds it is still good: negative if it has run out.
    pub left: i64,
}

/// Renews the row of instance `id`, which says `about` of itself, and returns its generation: a higher one if the lease had run out, or
/// somebody had deleted it. `now` is this host's clock; a database on a server uses its own.
///
/// # Errors
/// [`StoreError`]: the lease goes on running out.
pub async fn renew(db: &Db, id: &str, about: &str, now: u64) -> Result<i64, StoreError> {
    let mut tx = db.begin().await?;
    let now = moment(&mut tx, now).await?;
    let generation = on!(&mut tx, conn => sqlx::query_scalar(
        "INSERT INTO instances (id, generation, about, started_at, renewed_at, expires_at)
         VALUES ($1, (SELECT COALESCE(MAX(generation), 0) + 1 FROM instances), $2, $3, $3, $3 + $4)
         ON CONFLICT (id) DO UPDATE SET about = excluded.about, renewed_at = excluded.renewed_at, expires_at = excluded.expires_at,
         generation = CASE WHEN instances.expires_at < excluded.renewed_at THEN excluded.generation ELSE instances.generation END
         RETURNING generation",
    )
    .bind(id)
    .bind(about)
    .bind(now)
    .bind(TERM_MS)
    .fetch_one(conn)
    .await)?;
    tx.commit().await?;
    Ok(generation)
}

/// Every row, the oldest instance first. `now` as for [`renew`].
///
/// # Errors
/// [`StoreError`].
pub async fn list(db: &Db, now: u64) -> Result<Vec<Instance>, StoreError> {
    let now = match db {
        Db::Sqlite(_) => now as i64,
        Db::Postgres(postgres) => sqlx::query_scalar(MOMENT).fetch_one(&postgres.reader()).await?,
    };
    Ok(read!(db, pool => sqlx::query_as(
        "SELECT id, generation, about, started_at, renewed_at, expires_at - $1 AS left FROM instances ORDER BY started_at, id",
    )
    .bind(now)
    .fetch_all(pool)
    .await)?)
}

/// Deletes the row of an instance that stops, and rows that ran out more than an hour ago.
///
/// # Errors
/// [`StoreError`].
pub async fn leave(db: &Db, id: &str, now: u64) -> Result<(), StoreError> {
    let mut tx = db.begin().await?;
    let now = moment(&mut tx, now).await?;
    on!(&mut tx, conn => sqlx::query("DELETE FROM instances WHERE id = $1 OR expires_at < $2")
        .bind(id)
        .bind(now - 3_600_000)
        .execute(conn)
        .await
        .map(drop))?;
    tx.commit().await
}

/// The time of a database on a server, in Unix milliseconds.
const MOMENT: &str = "SELECT (extract(epoch FROM clock_timestamp()) * 1000)::bigint";

/// The time by which leases are measured: the database's own where several hosts share it, `now` where there is one host.
pub(super) async fn moment(tx: &mut Tx, now: u64) -> Result<i64, StoreError> {
    match tx {
        Tx::Sqlite(_) => Ok(now as i64),
        Tx::Postgres(transaction) => Ok(sqlx::query_scalar(MOMENT).fetch_one(&mut **transaction).await?),
    }
}

/// Deletes rows that ran out more than an hour ago: of instances that ended without a word.
///
/// # Errors
/// [`StoreError`].
pub async fn forget(db: &Db, now: u64) -> Result<(), StoreError> {
    leave(db, "", now).await
}
