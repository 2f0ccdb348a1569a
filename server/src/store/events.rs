//! The transactional event log: the one place where use cases meet.
//!
//! What one did is a row in its own transaction; webhooks, search, mail and caches read the log and remember how far they
//! have come. Entries of channels are not copied here: they are a log of their own, in commit order by `entries.id`.

use hubbub_protocol::ChannelName;

use super::{Db, StoreError, Tx, on, read};

/// Something that happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// A channel got its first entry, or was made.
    ChannelCreated(ChannelName),
}

/// An event with its place in the log.
#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow)]
pub struct Logged {
    /// 1, 2, 3 …, in commit order.
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

pub(super) async fn append(tx: &mut Tx, event: &Event, now: u64) -> Result<(), StoreError> {
    let (kind, subject) = match event {
        Event::ChannelCreated(name) => ("channel.created", name.as_str()),
    };
    on!(tx, conn => sqlx::query("INSERT INTO events (kind, subject, body, created_at) VALUES ($1, $2, '{}', $3)")
        .bind(kind)
        .bind(subject)
        .bind(now as i64)
        .execute(conn)
        .await)?;
    Ok(())
}

/// At most `limit` events after `after`, oldest first.
///
/// # Errors
/// [`StoreError::Database`].
pub async fn after(db: &Db, after: i64, limit: u32) -> Result<Vec<Logged>, StoreError> {
    Ok(read!(db, pool => sqlx::query_as("SELECT id, kind, subject, body, created_at FROM events WHERE id > $1 ORDER BY id LIMIT $2")
        .bind(after)
        .bind(limit)
        .fetch_all(pool)
        .await)?)
}
