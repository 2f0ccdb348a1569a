//! Edits and deletions on their way into a log: which of them fit the messages that they change, and what a deletion takes away.
//!
//! They are judged inside the transaction that stores them, in the order of their batch, while nobody else writes to the channel. PostgreSQL
//! does the same in `hubbub_amend`.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use hubbub_protocol::{Kind, Place};
use serde::Serialize;
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
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Amendment {
    /// [`Kind::Edit`] or [`Kind::Delete`].
    pub kind: Kind,
    /// The message's seq.
    pub refers: u64,
    /// Whether its author has to be the publisher.
    pub authority: Authority,
    /// The versions of the message that may be changed; `None` for any. A message's version is 1, and one more for each edit and deletion of it.
    pub expected: Option<Arc<[u64]>>,
}

/// Why an edit or a deletion does not fit its message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unfit {
    /// There is none, or none any more.
    NoMessage,
    /// It is somebody else's.
    NotAuthor,
    /// It has another version than those that were expected.
    Changed,
    /// It was deleted.
    Deleted,
}

/// The messages that a batch wants to change, by their places.
#[derive(Default)]
pub(super) struct Targets(HashMap<(i64, u64), Target>);

struct Target {
    publisher: String,
    /// Counted only where the batch expects one.
    version: u64,
    deleted: bool,
}

impl Targets {
    /// Whether `new` may be stored. If it may, that is remembered: what comes after it in the batch finds the message changed.
    pub(super) fn judge(&mut self, channel_id: i64, new: &NewEntry) -> Result<(), Unfit> {
        let Some(Amendment { kind, refers, authority, expected }) = &new.amends else { return Ok(()) };
        let target = self.0.get_mut(&(channel_id, *refers)).ok_or(Unfit::NoMessage)?;
        if *authority == Authority::Own && *target.publisher != *new.publisher {
            return Err(Unfit::NotAuthor);
        }
        if expected.as_ref().is_some_and(|versions| !versions.contains(&target.version)) {
            return Err(Unfit::Changed);
        }
        if target.deleted {
            return Err(Unfit::Deleted);
        }
        target.version += 1;
        target.deleted = *kind == Kind::Delete;
        Ok(())
    }
}

/// SQLite: the messages that `amendments` want to change, each in the row of its channel.
pub(super) async fn targets(
    conn: &mut SqliteConnection,
    amendments: impl Iterator<Item = (i64, &Amendment)>,
) -> Result<Targets, StoreError> {
    // By place, and whether anybody expects a version there: a message may have very many edits, and they are counted only then.
    let mut wanted: BTreeMap<(i64, i64), bool> = BTreeMap::new();
    for (channel_id, amendment) in amendments {
        *wanted.entry((channel_id, column(amendment.refers))).or_default() |= amendment.expected.is_some();
    }
    if wanted.is_empty() {
        return Ok(Targets::default());
    }
    let wanted: Vec<_> = wanted.into_iter().map(|((channel_id, seq), is_expected)| (channel_id, seq, is_expected)).collect();
    let rows: Vec<(i64, i64, String, i64, bool)> = sqlx::query_as(
        "SELECT t.channel_id, t.seq, t.publisher,
                1 + CASE WHEN j.value->>2 THEN (
                    SELECT COUNT(*) FROM entries AS a WHERE a.channel_id = t.channel_id AND a.ref = t.seq AND a.kind IN ('edit', 'delete')
                ) ELSE 0 END,
                EXISTS (SELECT 1 FROM entries AS d WHERE d.channel_id = t.channel_id AND d.ref = t.seq AND d.kind = 'delete')
         FROM json_each($1) AS j CROSS JOIN entries AS t ON t.channel_id = j.value->>0 AND t.seq = j.value->>1
         WHERE t.kind = 'message'",
    )
    .bind(json(&wanted)?)
    .fetch_all(conn)
    .await?;
    let target = |(channel_id, seq, publisher, version, deleted)| {
        let version = version as u64;
        ((channel_id, seq as u64), Target { publisher, version, deleted })
    };
    Ok(Targets(rows.into_iter().map(target).collect()))
}

/// SQLite: takes the payloads of the messages that `stored` deletes, and of their edits.
pub(super) async fn redact(conn: &mut SqliteConnection, stored: &[(&NewEntry, i64, Place)]) -> Result<(), StoreError> {
    let deletion = |new: &NewEntry| new.refers().filter(|_| new.kind() == Kind::Delete);
    let deleted: Vec<(i64, i64)> = stored.iter().filter_map(|(new, channel_id, _)| Some((*channel_id, column(deletion(new)?)))).collect();
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
    .bind(json(&deleted)?)
    .execute(conn)
    .await?;
    Ok(())
}

fn json(rows: &impl Serialize) -> Result<String, StoreError> {
    serde_json::to_string(rows).map_err(|_| StoreError::Corrupt("a place is not a number"))
}
