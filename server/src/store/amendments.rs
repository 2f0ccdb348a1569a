//! Edits and deletions on their way into a log: which of them fit the messages that they change, and what a deletion takes away.
//!
//! They are judged inside the transaction that stores them, in the order of their batch, while nobody else writes to the channel. PostgreSQL
//! does the same in `hubbub_amend`.

use std::collections::HashMap;

use hubbub_protocol::{Kind, Place};
use sqlx::SqliteConnection;

use super::{StoreError, column, entries::NewEntry};

/// Whose messages somebody may change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Authority {
    /// One's own.
    Own,
    /// Everybody's.
    Moderate,
}

/// What an entry does to a message that is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Amendment {
    /// [`Kind::Edit`] or [`Kind::Delete`].
    pub kind: Kind,
    /// The message's seq.
    pub refers: u64,
    /// Whether its author has to be the publisher.
    pub authority: Authority,
}

/// Why an edit or a deletion does not fit its message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unfit {
    /// There is none, or none any more.
    NoMessage,
    /// It is somebody else's.
    NotAuthor,
    /// It was deleted.
    Deleted,
}

/// The messages that a batch wants to change, by their places.
#[derive(Default)]
pub(super) struct Targets(HashMap<(i64, u64), Target>);

struct Target {
    publisher: String,
    deleted: bool,
}

impl Targets {
    /// Whether `new` may be stored. A deletion that may is remembered: what comes after it in the batch is too late.
    pub(super) fn judge(&mut self, channel_id: i64, new: &NewEntry) -> Result<(), Unfit> {
        let Some(Amendment { kind, refers, authority }) = new.amends else { return Ok(()) };
        let target = self.0.get_mut(&(channel_id, refers)).ok_or(Unfit::NoMessage)?;
        if authority == Authority::Own && *target.publisher != *new.publisher {
            return Err(Unfit::NotAuthor);
        }
        if target.deleted {
            return Err(Unfit::Deleted);
        }
        target.deleted = kind == Kind::Delete;
        Ok(())
    }
}

/// SQLite: the messages among `wanted`, rows of channels with seqs.
pub(super) async fn targets(conn: &mut SqliteConnection, wanted: &[(i64, u64)]) -> Result<Targets, StoreError> {
    if wanted.is_empty() {
        return Ok(Targets::default());
    }
    let rows: Vec<(i64, i64, String, bool)> = sqlx::query_as(
        "SELECT t.channel_id, t.seq, t.publisher,
                EXISTS (SELECT 1 FROM entries AS d WHERE d.channel_id = t.channel_id AND d.ref = t.seq AND d.kind = 'delete')
         FROM json_each($1) AS j CROSS JOIN entries AS t ON t.channel_id = j.value->>0 AND t.seq = j.value->>1
         WHERE t.kind = 'message'",
    )
    .bind(list(wanted)?)
    .fetch_all(conn)
    .await?;
    let target = |(channel_id, seq, publisher, deleted)| ((channel_id, seq as u64), Target { publisher, deleted });
    Ok(Targets(rows.into_iter().map(target).collect()))
}

/// SQLite: takes the payloads of the messages that `stored` deletes, and of their edits.
pub(super) async fn redact(conn: &mut SqliteConnection, stored: &[(&NewEntry, i64, Place)]) -> Result<(), StoreError> {
    let deleted: Vec<(i64, u64)> = stored
        .iter()
        .filter_map(|(new, channel_id, _)| new.amends.filter(|amendment| amendment.kind == Kind::Delete).map(|it| (*channel_id, it.refers)))
        .collect();
    if deleted.is_empty() {
        return Ok(());
    }
    sqlx::query(
        "WITH deleted (channel_id, ref) AS (SELECT value->>0, value->>1 FROM json_each($1))
         UPDATE entries SET payload = x'c0' WHERE id IN (
             SELECT e.id FROM deleted CROSS JOIN entries AS e ON e.channel_id = deleted.channel_id AND e.seq = deleted.ref
             UNION ALL
             SELECT e.id FROM deleted CROSS JOIN entries AS e
             ON e.channel_id = deleted.channel_id AND e.ref = deleted.ref AND e.kind = 'edit'
         )",
    )
    .bind(list(&deleted)?)
    .execute(conn)
    .await?;
    Ok(())
}

fn list(places: &[(i64, u64)]) -> Result<String, StoreError> {
    // Beyond the largest column there is no row.
    let places: Vec<(i64, i64)> = places.iter().map(|(channel_id, seq)| (*channel_id, column(*seq))).collect();
    serde_json::to_string(&places).map_err(|_| StoreError::Corrupt("a place is not a number"))
}
