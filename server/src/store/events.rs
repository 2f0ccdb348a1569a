//! The transactional event log: the one place where use cases meet.
//!
//! What one did is a row in its own transaction; webhooks, search, mail and caches read the log and remember how far they
//! have come. Entries of channels are not copied here: each channel is a log of its own, and `look` says which have moved.

use hubbub_protocol::ChannelName;
use sqlx::SqliteConnection;

use super::{Db, StoreError};

/// Something that happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// A channel got its first entry, or was made.
    ChannelCreated(ChannelName),
}

/// An event with its place in the log.
#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow)]
pub struct Logged {
    /// Ascending: what comes later is never below one that was read, but numbers may be left out.
    pub id: i64,
    /// What happened, `channel.created`.
    pub kind: String,
    /// To what.
    pub subject: String,
    /// More about it, as JSON.
    pub body: String,
    /// When, in Unix milliseconds.
    pub created_at: i64,
}

/// SQLite: writes `event` into the transaction of `conn`. On PostgreSQL the migrations' functions do.
pub(super) async fn append(conn: &mut SqliteConnection, event: &Event, now: u64) -> Result<(), StoreError> {
    let (kind, subject) = match event {
        Event::ChannelCreated(name) => ("channel.created", name.as_str()),
    };
    sqlx::query("INSERT INTO events (kind, subject, body, created_at) VALUES ($1, $2, '{}', $3)")
        .bind(kind)
        .bind(subject)
        .bind(now as i64)
        .execute(conn)
        .await?;
    Ok(())
}

/// At most `limit` events after `after`, oldest first.
///
/// # Errors
/// [`StoreError::Database`].
pub async fn after(db: &Db, after: i64, limit: u32) -> Result<Vec<Logged>, StoreError> {
    const SQLITE: &str = "SELECT id, kind, subject, body, created_at FROM events WHERE id > $1 ORDER BY id LIMIT $2";
    // Up to the oldest transaction that is under way: what it writes stands before what later ones have written.
    const POSTGRES: &str = "SELECT id, kind, subject, body, created_at FROM events
         WHERE id > $1 AND id < pg_snapshot_xmin(pg_current_snapshot())::text::bigint << 20 ORDER BY id LIMIT $2";
    let limit = i64::from(limit);
    Ok(match db {
        Db::Sqlite(sqlite) => sqlx::query_as(SQLITE).bind(after).bind(limit).fetch_all(sqlite.reader()).await,
        Db::Postgres(postgres) => sqlx::query_as(POSTGRES).bind(after).bind(limit).fetch_all(&postgres.reader()).await,
    }?)
}
