//! The logs of durable channels: append, and read back.

use std::{
    collections::{HashMap, hash_map::Entry as Slot},
    sync::{Arc, LazyLock},
};

use bytes::Bytes;
use futures_util::TryStreamExt;
use hubbub_protocol::{ChannelName, Cursor, Entry, Key, Kind, MessageId, Place};
use sqlx::{FromRow, SqliteConnection};

use super::{
    Db, StoreError,
    channels::{self, Head},
    column, epoch, on,
    publishes::{self, Answer},
    read,
    sqlite::Sqlite,
};

/// A message on its way into a log.
#[derive(Debug, Clone)]
pub struct NewEntry {
    /// Where.
    pub channel: ChannelName,
    /// By whom.
    pub publisher: Arc<str>,
    /// Unique in (channel, publisher).
    pub message_id: MessageId,
    /// What it is about.
    pub key: Option<Key>,
    /// One MessagePack value.
    pub payload: Bytes,
    /// Of key and payload: the same id with another digest is refused.
    pub digest: i64,
}

/// What became of one message of a batch.
#[derive(Debug, Clone)]
pub enum Appended {
    /// It has its place.
    Stored(Arc<Entry>),
    /// It had been published before: the first answer.
    Duplicate {
        /// Its place then.
        seq: u64,
        /// Its epoch then.
        epoch: u64,
        /// When.
        time: u64,
    },
    /// Its id had been used for something else.
    IdReused,
}

/// Appends `batch` in one transaction and answers each message by itself. Either all that are `Stored` are, or none.
///
/// # Errors
/// [`StoreError::CommitUnknown`] if it is not known which; any other error if none is.
pub async fn append(db: &Db, batch: &[NewEntry], now: u64) -> Result<Vec<Appended>, StoreError> {
    match db {
        Db::Sqlite(sqlite) => append_sqlite(sqlite, batch, now).await,
        Db::Postgres(postgres) => postgres.append(batch, now).await,
    }
}

async fn append_sqlite(sqlite: &Sqlite, batch: &[NewEntry], now: u64) -> Result<Vec<Appended>, StoreError> {
    let mut tx = sqlite.begin().await?;
    let (epoch, change) = epoch::count(&mut tx, batch.len()).await?;
    let mut names: Vec<&ChannelName> = batch.iter().map(|new| &new.channel).collect();
    names.sort_unstable();
    names.dedup();
    let mut heads = channels::heads(&mut tx, &names, now).await?;
    // After the heads are read: a publish that committed before them is seen here.
    let ids: Vec<_> = batch.iter().map(|new| (heads[&new.channel].channel_id, new.message_id, &*new.publisher)).collect();
    let known = publishes::lookup(&mut tx, &ids).await?;
    let (answers, fresh) = number(batch, &mut heads, &known, epoch, now);
    if !fresh.is_empty() {
        insert(&mut tx, &fresh, now).await?;
        publishes::insert(&mut tx, &fresh, now).await?;
        channels::advance(&mut tx, heads.values(), change, now).await?;
    }
    tx.commit().await.map_err(StoreError::CommitUnknown)?;
    Ok(answers)
}

type Fresh<'a> = Vec<(&'a NewEntry, i64, Place)>;

/// Gives each new message the next place of its channel, and each old one its first answer.
fn number<'a>(
    batch: &'a [NewEntry],
    heads: &mut HashMap<ChannelName, Head>,
    known: &HashMap<(i64, MessageId, String), Answer>,
    epoch: i64,
    now: u64,
) -> (Vec<Appended>, Fresh<'a>) {
    let mut answers = Vec::with_capacity(batch.len());
    let mut fresh = Vec::with_capacity(batch.len());
    let mut in_batch: HashMap<(i64, MessageId, &str), Answer> = HashMap::with_capacity(batch.len());
    for new in batch {
        let head = heads.get_mut(&new.channel).expect("every channel of the batch has a head");
        let channel_id = head.channel_id;
        let before = known.get(&(channel_id, new.message_id, new.publisher.to_string())).copied();
        let answer = match in_batch.entry((channel_id, new.message_id, &new.publisher)) {
            Slot::Occupied(first) => repeat(*first.get(), new.digest),
            Slot::Vacant(_) if before.is_some_and(|first| first.digest != new.digest) => Appended::IdReused,
            Slot::Vacant(slot) => match before {
                Some(first) => repeat(first, new.digest),
                None => {
                    let place = head.advance(epoch);
                    slot.insert(Answer { seq: place.seq, epoch: place.epoch, time: now, digest: new.digest });
                    fresh.push((new, channel_id, place));
                    Appended::Stored(Arc::new(entry(new, place, now)))
                }
            },
        };
        answers.push(answer);
    }
    (answers, fresh)
}

fn repeat(first: Answer, digest: i64) -> Appended {
    if first.digest == digest { Appended::Duplicate { seq: first.seq, epoch: first.epoch, time: first.time } } else { Appended::IdReused }
}

pub(super) fn entry(new: &NewEntry, place: Place, time: u64) -> Entry {
    Entry {
        channel: new.channel.clone(),
        place: Some(place),
        kind: Kind::Message,
        message_id: Some(new.message_id),
        publisher: new.publisher.clone(),
        key: new.key.clone(),
        time,
        payload: new.payload.clone(),
    }
}

static INSERT: LazyLock<[String; 5]> = LazyLock::new(|| {
    publishes::statements(
        "INSERT INTO entries (channel_id, seq, epoch, ordinal, kind, message_id, publisher, key, time, payload) VALUES",
        10,
        "",
    )
});

async fn insert(conn: &mut SqliteConnection, rows: &[(&NewEntry, i64, Place)], now: u64) -> Result<(), StoreError> {
    for (size, piece) in publishes::pieces(rows) {
        let mut query = sqlx::query(INSERT[size].as_str());
        for (new, channel_id, place) in piece {
            query = query
                .bind(*channel_id)
                .bind(place.seq as i64)
                .bind(place.epoch as i64)
                .bind(place.ordinal as i64)
                .bind(Kind::Message.as_str())
                .bind(&new.message_id.as_bytes()[..])
                .bind(&*new.publisher)
                .bind(new.key.as_ref().map(Key::as_str))
                .bind(now as i64)
                .bind(&new.payload[..]);
        }
        query.execute(&mut *conn).await?;
    }
    Ok(())
}

/// Which entries a read may see, and how much of them.
#[derive(Debug, Clone, Copy)]
pub struct Page {
    /// Only entries with a higher seq.
    pub after: u64,
    /// Only entries up to this seq.
    pub upto: u64,
    /// At most so many.
    pub entries: u32,
    /// Payload bytes after which the page ends; it holds at least one entry if there is one.
    pub bytes: usize,
}

/// A page of `channel`, oldest first.
///
/// # Errors
/// [`StoreError::Database`], [`StoreError::Corrupt`].
pub async fn page(db: &Db, channel: &ChannelName, channel_id: i64, page: Page) -> Result<Vec<Entry>, StoreError> {
    const SQL: &str = "SELECT seq, epoch, ordinal, kind, message_id, publisher, key, time, payload FROM entries
         WHERE channel_id = $1 AND seq > $2 AND seq <= $3 ORDER BY seq LIMIT $4";
    collect(db, SQL, channel, channel_id, page).await
}

/// The newest entries of `page`'s range instead of its oldest; oldest first all the same.
///
/// # Errors
/// [`StoreError::Database`], [`StoreError::Corrupt`].
pub async fn page_backwards(db: &Db, channel: &ChannelName, channel_id: i64, page: Page) -> Result<Vec<Entry>, StoreError> {
    const SQL: &str = "SELECT seq, epoch, ordinal, kind, message_id, publisher, key, time, payload FROM entries
         WHERE channel_id = $1 AND seq > $2 AND seq <= $3 ORDER BY seq DESC LIMIT $4";
    let mut entries = collect(db, SQL, channel, channel_id, page).await?;
    entries.reverse();
    Ok(entries)
}

/// The newest entry of each key in `page`'s range; entries without a key are of one key.
///
/// # Errors
/// [`StoreError::Database`], [`StoreError::Corrupt`].
pub async fn latest(db: &Db, channel: &ChannelName, channel_id: i64, page: Page) -> Result<Vec<Entry>, StoreError> {
    const SQL: &str = "SELECT seq, epoch, ordinal, kind, message_id, publisher, key, time, payload FROM entries
         WHERE channel_id = $1 AND seq IN
         (SELECT MAX(seq) FROM entries WHERE channel_id = $1 AND seq > $2 AND seq <= $3 GROUP BY key) ORDER BY seq LIMIT $4";
    collect(db, SQL, channel, channel_id, page).await
}

async fn collect(db: &Db, sql: &'static str, channel: &ChannelName, channel_id: i64, page: Page) -> Result<Vec<Entry>, StoreError> {
    let mut entries = Vec::new();
    let mut bytes = 0;
    read!(db, pool => {
        let mut rows = sqlx::query_as::<_, Row>(sql).bind(channel_id).bind(column(page.after)).bind(column(page.upto)).bind(i64::from(page.entries)).fetch(pool);
        while let Some(row) = rows.try_next().await? {
            bytes += row.payload.len();
            if bytes > page.bytes && !entries.is_empty() {
                break;
            }
            entries.push(row.entry(channel)?);
        }
    });
    Ok(entries)
}

#[derive(FromRow)]
struct Row {
    seq: i64,
    epoch: i64,
    ordinal: i64,
    kind: String,
    message_id: Vec<u8>,
    publisher: String,
    key: Option<String>,
    time: i64,
    payload: Vec<u8>,
}

impl Row {
    fn entry(self, channel: &ChannelName) -> Result<Entry, StoreError> {
        let key = self.key.map(|key| Key::parse(&key)).transpose().map_err(|_| StoreError::Corrupt("a key breaks its rules"))?;
        Ok(Entry {
            channel: channel.clone(),
            place: Some(Place { epoch: self.epoch as u64, seq: self.seq as u64, ordinal: self.ordinal as u64 }),
            kind: Kind::parse(&self.kind),
            message_id: MessageId::from_bytes(&self.message_id),
            publisher: self.publisher.into(),
            key,
            time: self.time as u64,
            payload: self.payload.into(),
        })
    }
}

/// The oldest entry with a seq above `floor` that is not older than `since` (Unix milliseconds): its seq and epoch.
///
/// # Errors
/// [`StoreError::Database`].
pub async fn first(db: &Db, channel_id: i64, floor: u64, since: u64) -> Result<Option<(u64, u64)>, StoreError> {
    let row: Option<(i64, i64)> = read!(db, pool => sqlx::query_as(
        "SELECT seq, epoch FROM entries WHERE channel_id = $1 AND seq > $2 AND time >= $3 ORDER BY seq LIMIT 1",
    )
    .bind(channel_id)
    .bind(column(floor))
    .bind(column(since))
    .fetch_optional(pool)
    .await)?;
    Ok(row.map(|(seq, epoch)| (seq as u64, epoch as u64)))
}

/// The epoch of the entry at `seq`; `None` if there is none.
///
/// # Errors
/// [`StoreError::Database`].
pub async fn epoch_at(db: &Db, channel_id: i64, seq: u64) -> Result<Option<u64>, StoreError> {
    let epoch: Option<i64> = read!(db, pool => sqlx::query_scalar("SELECT epoch FROM entries WHERE channel_id = $1 AND seq = $2")
        .bind(channel_id)
        .bind(column(seq))
        .fetch_optional(pool)
        .await)?;
    Ok(epoch.map(|epoch| epoch as u64))
}

/// Whether `cursor`, which is not above `head`, is part of this log: the entry at its seq has its epoch. If that entry is gone, the
/// next one tells: epochs never fall, so one that has the cursor's proves it; otherwise nobody can tell, and it is not.
///
/// # Errors
/// [`StoreError::Database`].
pub async fn shares(db: &Db, head: &Head, cursor: Cursor) -> Result<bool, StoreError> {
    let epoch = match epoch_at(db, head.channel_id, cursor.seq).await? {
        Some(epoch) => epoch,
        None if cursor.seq == head.cursor().seq => head.cursor().epoch,
        None => first(db, head.channel_id, cursor.seq, 0).await?.map_or(head.cursor().epoch, |(_, epoch)| epoch),
    };
    Ok(epoch == cursor.epoch)
}

/// Whether the entry at `cursor` has the cursor's epoch and is yet another one than `known`: its channel went back, and nobody noticed.
///
/// # Errors
/// [`StoreError::Database`].
pub async fn is_other(db: &Db, channel_id: i64, cursor: Cursor, known: MessageId) -> Result<bool, StoreError> {
    let id: Option<Vec<u8>> = read!(db, pool => sqlx::query_scalar("SELECT message_id FROM entries WHERE channel_id = $1 AND seq = $2 AND epoch = $3")
            .bind(channel_id)
            .bind(column(cursor.seq))
            .bind(column(cursor.epoch))
            .fetch_optional(pool)
            .await)?;
    Ok(id.is_some_and(|id| id != known.as_bytes()))
}

/// Deletes at most `limit` of the entries with a seq below `first`. Returns how many.
///
/// # Errors
/// [`StoreError::Database`].
pub async fn trim(db: &Db, channel_id: i64, first: u64, limit: u32) -> Result<u64, StoreError> {
    let mut tx = db.begin().await?;
    let deleted = on!(&mut tx, conn => sqlx::query(
        "DELETE FROM entries WHERE channel_id = $1 AND seq IN
         (SELECT seq FROM entries WHERE channel_id = $1 AND seq < $2 ORDER BY seq LIMIT $3)",
    )
    .bind(channel_id)
    .bind(column(first))
    .bind(i64::from(limit))
    .execute(conn)
    .await
    .map(|done| done.rows_affected()))?;
    tx.commit().await?;
    Ok(deleted)
}

impl Appended {
    /// The entry, if it is new.
    pub fn stored(&self) -> Option<&Arc<Entry>> {
        match self {
            Appended::Stored(entry) => Some(entry),
            Appended::Duplicate { .. } | Appended::IdReused => None,
        }
    }
}
