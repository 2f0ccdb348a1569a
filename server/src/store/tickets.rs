//! Tickets: each is good once, on whatever instance it is shown first, and for seconds. Time is the database's where several hosts
//! share it.

use super::{Db, StoreError, instances::moment, on};

/// Keeps what a ticket stands for, by its digest, for `life` milliseconds. `now` is this host's clock.
///
/// # Errors
/// [`StoreError`]: there is no such ticket.
pub async fn put(db: &Db, digest: &[u8], passport: &[u8], now: u64, life: u64) -> Result<(), StoreError> {
    let mut tx = db.begin().await?;
    let now = moment(&mut tx, now).await?;
    on!(&mut tx, conn => sqlx::query("INSERT INTO tickets (digest, passport, expires_at) VALUES ($1, $2, $3)")
        .bind(digest)
        .bind(passport)
        .bind(now + life as i64)
        .execute(conn)
        .await
        .map(drop))?;
    tx.commit().await
}

/// What the ticket with this digest stands for; it is used up then, whoever asks next. `None` if it was used or is too old, or never was.
///
/// # Errors
/// [`StoreError`]: it may have been used up.
pub async fn take(db: &Db, digest: &[u8], now: u64) -> Result<Option<Vec<u8>>, StoreError> {
    let mut tx = db.begin().await?;
    let now = moment(&mut tx, now).await?;
    let row: Option<(Vec<u8>, i64)> = on!(&mut tx, conn => {
        sqlx::query_as("DELETE FROM tickets WHERE digest = $1 RETURNING passport, expires_at").bind(digest).fetch_optional(conn).await
    })?;
    tx.commit().await?;
    Ok(row.filter(|(_, expires_at)| *expires_at > now).map(|(passport, _)| passport))
}

/// Deletes tickets that nobody used in time.
///
/// # Errors
/// [`StoreError`].
pub async fn sweep(db: &Db, now: u64) -> Result<(), StoreError> {
    let mut tx = db.begin().await?;
    let now = moment(&mut tx, now).await?;
    on!(&mut tx, conn => sqlx::query("DELETE FROM tickets WHERE expires_at <= $1").bind(now).execute(conn).await.map(drop))?;
    tx.commit().await
}
