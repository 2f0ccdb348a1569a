//! The dedup window: which message ids were published, and what they were answered.

use std::{collections::HashMap, sync::LazyLock};

use hubbub_protocol::MessageId;
use sqlx::{Row, SqliteConnection};

use super::{Db, StoreError, entries::NewEntry, on};

/// What makes a publish unique: channel row, message id, publisher.
pub(super) type Id<'a> = (i64, MessageId, &'a str);

/// The first answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Answer {
    pub(super) seq: u64,
    pub(super) epoch: u64,
    pub(super) time: u64,
    pub(super) digest: i64,
}

/// Rows a statement, largest first: few texts, so that each stays prepared.
pub(super) const CHUNKS: [usize; 5] = [256, 64, 16, 4, 1];

/// `prefix (?, ?), (?, ?) suffix` for each size of [`CHUNKS`]. Without numbers: SQLite looks a number up among all others, for each value
/// that is bound.
pub(super) fn statements(prefix: &str, columns: usize, suffix: &str) -> [String; 5] {
    CHUNKS.map(|rows| {
        let mut text = prefix.to_owned();
        for row in 0..rows {
            text.push_str(if row == 0 { " (" } else { ", (" });
            for column in 0..columns {
                let comma = if column == 0 { "" } else { ", " };
                text.push_str(comma);
                text.push('?');
            }
            text.push(')');
        }
        text + suffix
    })
}

/// Cuts `rows` into pieces of the sizes of [`CHUNKS`], each with the place of its size.
pub(super) fn pieces<T>(mut rows: &[T]) -> impl Iterator<Item = (usize, &[T])> {
    std::iter::from_fn(move || {
        let size = CHUNKS.iter().position(|size| *size <= rows.len())?;
        let (piece, rest) = rows.split_at(CHUNKS[size]);
        rows = rest;
        Some((size, piece))
    })
}

static LOOKUP: LazyLock<[String; 5]> = LazyLock::new(|| {
    statements(
        "WITH wanted (message_id, channel_id, publisher) AS (VALUES",
        3,
        ") SELECT p.message_id, p.channel_id, p.publisher, p.seq, p.epoch, p.time, p.digest
          FROM wanted CROSS JOIN publishes AS p
          ON p.message_id = wanted.message_id AND p.channel_id = wanted.channel_id AND p.publisher = wanted.publisher",
    )
});

/// SQLite: those of `ids` that were published before, with what they were answered.
pub(super) async fn lookup(conn: &mut SqliteConnection, ids: &[Id<'_>]) -> Result<HashMap<(i64, MessageId, String), Answer>, StoreError> {
    let mut found = HashMap::new();
    for (size, piece) in pieces(ids) {
        let mut query = sqlx::query(LOOKUP[size].as_str());
        for (channel_id, message_id, publisher) in piece {
            query = query.bind(&message_id.as_bytes()[..]).bind(*channel_id).bind(*publisher);
        }
        for row in query.fetch_all(&mut *conn).await? {
            let id = MessageId::from_bytes(row.try_get(0)?).ok_or(StoreError::Corrupt("a message id is not a UUID"))?;
            let number = |column: usize| row.try_get::<i64, _>(column).map(|n| n as u64);
            let answer = Answer { seq: number(3)?, epoch: number(4)?, time: number(5)?, digest: row.try_get(6)? };
            found.insert((row.try_get(1)?, id, row.try_get(2)?), answer);
        }
    }
    Ok(found)
}

static INSERT: LazyLock<[String; 5]> =
    LazyLock::new(|| statements("INSERT INTO publishes (message_id, channel_id, publisher, seq, epoch, time, digest) VALUES", 7, ""));

/// SQLite: remembers what was published.
pub(super) async fn insert(
    conn: &mut SqliteConnection,
    rows: &[(&NewEntry, i64, hubbub_protocol::Place)],
    now: u64,
) -> Result<(), StoreError> {
    for (size, piece) in pieces(rows) {
        let mut query = sqlx::query(INSERT[size].as_str());
        for (new, channel_id, place) in piece {
            query = query
                .bind(&new.message_id.as_bytes()[..])
                .bind(*channel_id)
                .bind(&*new.publisher)
                .bind(place.seq as i64)
                .bind(place.epoch as i64)
                .bind(now as i64)
                .bind(new.digest);
        }
        query.execute(&mut *conn).await?;
    }
    Ok(())
}

/// Forgets at most `limit` ids made before `before`, in Unix milliseconds: a publish with one is refused by its age. Returns how many.
///
/// # Errors
/// [`StoreError::Database`].
pub(crate) async fn trim(db: &Db, before: u64, limit: u32) -> Result<u64, StoreError> {
    let mut tx = db.begin().await?;
    let oldest_kept = MessageId::new(before, [0; 10]);
    let deleted = on!(&mut tx, conn => sqlx::query(
        "DELETE FROM publishes WHERE (message_id, channel_id, publisher) IN
         (SELECT message_id, channel_id, publisher FROM publishes WHERE message_id < $1 ORDER BY message_id LIMIT $2)",
    )
    .bind(&oldest_kept.as_bytes()[..])
    .bind(i64::from(limit))
    .execute(conn)
    .await
    .map(|done| done.rows_affected()))?;
    tx.commit().await?;
    Ok(deleted)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_cover_every_row_once_in_few_sizes() {
        for count in [0, 1, 3, 4, 5, 255, 256, 300, 1000] {
            let rows: Vec<usize> = (0..count).collect();
            let mut covered = Vec::new();
            for (size, piece) in pieces(&rows) {
                assert_eq!(piece.len(), CHUNKS[size]);
                covered.extend_from_slice(piece);
            }
            assert_eq!(covered, rows);
        }
    }

    #[test]
    fn statements_have_a_place_for_each_value() {
        assert_eq!(statements("VALUES", 2, ";")[4], "VALUES (?, ?);");
        assert_eq!(statements("VALUES", 2, "")[3], "VALUES (?, ?), (?, ?), (?, ?), (?, ?)");
    }
}
