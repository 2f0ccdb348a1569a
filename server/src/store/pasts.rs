//! Many positions at once compared with what the store has there.

use hubbub_protocol::{ChannelName, Cursor, MessageId};

use super::{Db, StoreError, channels, entries, postgres::Postgres};

/// Positions in one statement.
const CHUNK: usize = 1_000;

/// How far somebody has seen a channel come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Position {
    /// The channel.
    pub channel: ChannelName,
    /// The newest entry that was seen.
    pub cursor: Cursor,
    /// Its id, if it is known.
    pub newest: Option<MessageId>,
}

/// The channels of `positions` that have to be looked at one by one: their heads are below, another entry is at the position, or it is
/// gone. Whatever is seen is committed, so this says nothing of those that move meanwhile.
///
/// # Errors
/// [`StoreError::Database`].
pub async fn doubtful(db: &Db, positions: &[Position]) -> Result<Vec<ChannelName>, StoreError> {
    let mut doubtful = Vec::new();
    for chunk in positions.chunks(CHUNK) {
        match db {
            Db::Sqlite(_) => {
                for position in chunk {
                    if is_doubtful(db, position).await? {
                        doubtful.push(position.channel.clone());
                    }
                }
            }
            Db::Postgres(postgres) => doubtful.extend(doubtful_postgres(postgres, chunk).await?),
        }
    }
    Ok(doubtful)
}

async fn is_doubtful(db: &Db, position: &Position) -> Result<bool, StoreError> {
    if position.cursor.seq == 0 {
        return Ok(false);
    }
    let Some(head) = channels::head(db, &position.channel).await? else { return Ok(true) };
    if head.cursor().seq < position.cursor.seq
        || entries::epoch_at(db, head.channel_id, position.cursor.seq).await? != Some(position.cursor.epoch)
    {
        return Ok(true);
    }
    match position.newest {
        Some(newest) => entries::is_other(db, head.channel_id, position.cursor, newest).await,
        None => Ok(false),
    }
}

async fn doubtful_postgres(postgres: &Postgres, positions: &[Position]) -> Result<Vec<ChannelName>, StoreError> {
    let names: Vec<String> = sqlx::query_scalar(
        "SELECT w.name FROM unnest($1::text[], $2::bigint[], $3::bigint[], $4::bytea[]) AS w (name, seq, epoch, id)
         LEFT JOIN channels AS c ON c.name = w.name
         LEFT JOIN entries AS e ON e.channel_id = c.id AND e.seq = w.seq
         WHERE w.seq > 0 AND (c.id IS NULL OR c.head_seq < w.seq OR e.epoch IS DISTINCT FROM w.epoch OR e.message_id <> w.id)",
    )
    .bind(positions.iter().map(|position| position.channel.as_str()).collect::<Vec<_>>())
    .bind(positions.iter().map(|position| position.cursor.seq as i64).collect::<Vec<_>>())
    .bind(positions.iter().map(|position| position.cursor.epoch as i64).collect::<Vec<_>>())
    .bind(positions.iter().map(|position| position.newest.map(|id| id.as_bytes().to_vec())).collect::<Vec<_>>())
    .fetch_all(&postgres.reader())
    .await?;
    Ok(names.iter().filter_map(|name| ChannelName::parse(name).ok()).collect())
}
