//! Channels and their heads.

use std::collections::HashMap;

use hubbub_protocol::{ChannelName, Cursor, Kind};
use sqlx::SqliteConnection;

use super::{Db, StoreError, column, events, read};

/// The newest entry's place in a channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, sqlx::FromRow)]
pub struct Head {
    /// The channel's row.
    #[sqlx(rename = "id")]
    pub channel_id: i64,
    #[sqlx(rename = "head_epoch")]
    epoch: i64,
    #[sqlx(rename = "head_seq")]
    seq: i64,
    #[sqlx(rename = "head_ordinal")]
    ordinal: i64,
}

impl Head {
    pub(super) fn new(channel_id: i64, epoch: i64, seq: i64, ordinal: i64) -> Self {
        Self { channel_id, epoch, seq, ordinal }
    }

    /// As a cursor.
    pub fn cursor(&self) -> Cursor {
        Cursor { epoch: self.epoch as u64, seq: self.seq as u64 }
    }

    /// How many messages the channel has had.
    pub fn ordinal(&self) -> u64 {
        self.ordinal as u64
    }

    /// The place after this one, for an entry of `epoch`. Epochs never fall within a log; only messages are counted.
    pub(super) fn advance(&mut self, epoch: i64, kind: Kind) -> hubbub_protocol::Place {
        self.epoch = self.epoch.max(epoch);
        self.seq += 1;
        self.ordinal += i64::from(kind == Kind::Message);
        hubbub_protocol::Place { epoch: self.epoch as u64, seq: self.seq as u64, ordinal: self.ordinal as u64 }
    }
}

/// What a channel is, for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Info {
    /// Its head.
    pub head: Head,
    /// When it was made, in Unix milliseconds.
    pub created_at: u64,
    /// When its newest entry came.
    pub updated_at: u64,
}

/// The head of `channel`; `None` if nothing was ever stored there.
///
/// # Errors
/// [`StoreError::Database`].
pub async fn head(db: &Db, channel: &ChannelName) -> Result<Option<Head>, StoreError> {
    Ok(read!(db, pool => sqlx::query_as("SELECT id, head_epoch, head_seq, head_ordinal FROM channels WHERE name = $1")
        .bind(channel.as_str())
        .fetch_optional(pool)
        .await)?)
}

/// The head of `channel`, and the oldest seq among its newest `entries` that is not older than `since` (Unix milliseconds); that is `None` if
/// none is. In one read: whoever shows a page needs both.
///
/// # Errors
/// [`StoreError::Database`].
pub async fn span(db: &Db, channel: &ChannelName, entries: u64, since: u64) -> Result<Option<(Head, Option<u64>)>, StoreError> {
    #[derive(sqlx::FromRow)]
    struct Row {
        #[sqlx(flatten)]
        head: Head,
        first: Option<i64>,
    }
    let row: Option<Row> = read!(db, pool => sqlx::query_as(
        "SELECT c.id, c.head_epoch, c.head_seq, c.head_ordinal, (
             SELECT e.seq FROM entries AS e WHERE e.channel_id = c.id AND e.seq > c.head_seq - $2 AND e.time >= $3 ORDER BY e.seq LIMIT 1
         ) AS first FROM channels AS c WHERE c.name = $1",
    )
    .bind(channel.as_str())
    .bind(column(entries))
    .bind(column(since))
    .fetch_optional(pool)
    .await)?;
    Ok(row.map(|row| (row.head, row.first.map(|seq| seq as u64))))
}

/// Everything about `channel`; `None` if nothing was ever stored there.
///
/// # Errors
/// [`StoreError::Database`].
pub async fn info(db: &Db, channel: &ChannelName) -> Result<Option<Info>, StoreError> {
    #[derive(sqlx::FromRow)]
    struct Row {
        #[sqlx(flatten)]
        head: Head,
        created_at: i64,
        updated_at: i64,
    }
    let row: Option<Row> = read!(db, pool => sqlx::query_as(
        "SELECT id, head_epoch, head_seq, head_ordinal, created_at, updated_at FROM channels WHERE name = $1",
    )
    .bind(channel.as_str())
    .fetch_optional(pool)
    .await)?;
    Ok(row.map(|row| Info { head: row.head, created_at: row.created_at as u64, updated_at: row.updated_at as u64 }))
}

/// A page of channels for the janitor: row, name and head of those after row `after`.
pub(crate) async fn page(db: &Db, after: i64, limit: u32) -> Result<Vec<(i64, String, i64)>, StoreError> {
    Ok(read!(db, pool => sqlx::query_as("SELECT id, name, head_seq FROM channels WHERE id > $1 ORDER BY id LIMIT $2")
        .bind(after)
        .bind(i64::from(limit))
        .fetch_all(pool)
        .await)?)
}

/// SQLite: the heads of `names`, which are distinct. Missing channels are made.
pub(super) async fn heads(conn: &mut SqliteConnection, names: &[&ChannelName], now: u64) -> Result<HashMap<ChannelName, Head>, StoreError> {
    #[derive(sqlx::FromRow)]
    struct Row {
        name: String,
        #[sqlx(flatten)]
        head: Head,
    }
    let list = serde_json::to_string(names).map_err(|_| StoreError::Corrupt("a channel name is not text"))?;
    let rows: Vec<Row> =
        sqlx::query_as("SELECT id, name, head_epoch, head_seq, head_ordinal FROM channels WHERE name IN (SELECT value FROM json_each($1))")
            .bind(list)
            .fetch_all(&mut *conn)
            .await?;
    let found: HashMap<String, Head> = rows.into_iter().map(|row| (row.name, row.head)).collect();
    let mut heads = HashMap::with_capacity(names.len());
    for &name in names {
        let head = match found.get(name.as_str()) {
            Some(head) => *head,
            None => create(conn, name, now).await?,
        };
        heads.insert(name.clone(), head);
    }
    Ok(heads)
}

async fn create(conn: &mut SqliteConnection, name: &ChannelName, now: u64) -> Result<Head, StoreError> {
    let channel_id: i64 = sqlx::query_scalar(
        "INSERT INTO channels (name, head_epoch, head_seq, head_ordinal, created_at, updated_at) VALUES ($1, 0, 0, 0, $2, $2) RETURNING id",
    )
    .bind(name.as_str())
    .bind(now as i64)
    .fetch_one(&mut *conn)
    .await?;
    events::append(conn, &events::Event::ChannelCreated(name.clone()), now).await?;
    Ok(Head { channel_id, epoch: 0, seq: 0, ordinal: 0 })
}

/// SQLite: writes heads that moved. `change` is the mark by which a look finds them.
pub(super) async fn advance(
    conn: &mut SqliteConnection,
    heads: impl Iterator<Item = &Head>,
    change: i64,
    now: u64,
) -> Result<(), StoreError> {
    let rows: Vec<[i64; 4]> = heads.map(|head| [head.channel_id, head.epoch, head.seq, head.ordinal]).collect();
    let list = serde_json::to_string(&rows).map_err(|_| StoreError::Corrupt("a head is not a number"))?;
    sqlx::query(
        "UPDATE channels SET head_epoch = j.value->>1, head_seq = j.value->>2, head_ordinal = j.value->>3, updated_at = $2,
         changed = $3 FROM json_each($1) AS j WHERE channels.id = j.value->>0",
    )
    .bind(list)
    .bind(now as i64)
    .bind(change)
    .execute(conn)
    .await?;
    Ok(())
}
