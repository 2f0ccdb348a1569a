//! The logs of durable channels: append, and read back.

mod append;

use futures_util::TryStreamExt;
use hubbub_protocol::{ChannelName, Cursor, Entry, Key, Kind, MessageId, Place};
use sqlx::FromRow;

pub(super) use append::entry;
pub use append::{Appended, NewEntry, append};

use super::{Db, StoreError, channels::Head, column, on, read};

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
    const SQL: &str = "SELECT seq, epoch, ordinal, kind, ref, message_id, publisher, key, time, payload FROM entries
         WHERE channel_id = $1 AND seq > $2 AND seq <= $3 ORDER BY seq LIMIT $4";
    collect(db, SQL, channel, channel_id, page).await
}

/// The newest entries of `page`'s range instead of its oldest; oldest first all the same.
///
/// # Errors
/// [`StoreError::Database`], [`StoreError::Corrupt`].
pub async fn page_backwards(db: &Db, channel: &ChannelName, channel_id: i64, page: Page) -> Result<Vec<Entry>, StoreError> {
    const SQL: &str = "SELECT seq, epoch, ordinal, kind, ref, message_id, publisher, key, time, payload FROM entries
         WHERE channel_id = $1 AND seq > $2 AND seq <= $3 ORDER BY seq DESC LIMIT $4";
    let mut entries = collect(db, SQL, channel, channel_id, page).await?;
    entries.reverse();
    Ok(entries)
}

/// Messages are read with what else there is of them: whether something changed them, and whether uploads are attached. A value and no
/// `EXISTS`: of that PostgreSQL may read the whole channel's at once.
macro_rules! messages {
    ($order:literal) => {
        concat!(
            "SELECT m.seq, m.epoch, m.ordinal, m.kind, m.ref, m.message_id, m.publisher, m.key, m.time, m.payload,
             (SELECT 1 FROM entries AS a WHERE a.channel_id = $1 AND a.ref = m.seq AND a.kind IN ('edit', 'delete') LIMIT 1) IS NOT NULL AS amended,
             (SELECT 1 FROM attachments AS t WHERE t.channel = $5 AND t.seq = m.seq LIMIT 1) IS NOT NULL AS attached
             FROM entries AS m WHERE m.channel_id = $1 AND m.seq > $2 AND m.seq <= $3 AND m.kind = 'message' ORDER BY m.seq ",
            $order,
            " LIMIT $4"
        )
    };
}

/// The messages in `page`'s range, without what changed them, oldest first.
pub(super) async fn messages(db: &Db, channel: &ChannelName, channel_id: i64, page: Page) -> Result<Collected, StoreError> {
    collect_messages(db, messages!("ASC"), channel, channel_id, page).await
}

/// The newest of them, newest first.
pub(super) async fn messages_backwards(db: &Db, channel: &ChannelName, channel_id: i64, page: Page) -> Result<Collected, StoreError> {
    collect_messages(db, messages!("DESC"), channel, channel_id, page).await
}

/// The newest entry of each key in `page`'s range; messages without a key are of one key. An edit or a deletion stands for itself: only a
/// later one of the same message takes its place.
///
/// # Errors
/// [`StoreError::Database`], [`StoreError::Corrupt`].
pub async fn latest(db: &Db, channel: &ChannelName, channel_id: i64, page: Page) -> Result<Vec<Entry>, StoreError> {
    const SQL: &str = "SELECT seq, epoch, ordinal, kind, ref, message_id, publisher, key, time, payload FROM entries
         WHERE channel_id = $1 AND seq IN
         (SELECT MAX(seq) FROM entries WHERE channel_id = $1 AND seq > $2 AND seq <= $3 GROUP BY key, ref) ORDER BY seq LIMIT $4";
    collect(db, SQL, channel, channel_id, page).await
}

/// The messages that a read brought.
#[derive(Default)]
pub(super) struct Collected {
    pub(super) entries: Vec<Entry>,
    /// Whether it was not the bytes that ended it.
    pub(super) whole: bool,
    /// Whether any of them was edited or deleted.
    pub(super) amended: bool,
    /// Those to which something is attached.
    pub(super) attached: Vec<u64>,
}

async fn collect(db: &Db, sql: &'static str, channel: &ChannelName, channel_id: i64, page: Page) -> Result<Vec<Entry>, StoreError> {
    let mut entries = Vec::new();
    let mut bytes = 0;
    #[cfg(test)]
    super::testing::note(
        sql,
        &[channel_id, column(page.after), column(page.upto), i64::from(page.entries)].map(super::listing::Term::Whole),
    );
    read!(db, pool => {
        let mut rows = sqlx::query_as::<_, Row>(sql).bind(channel_id).bind(column(page.after)).bind(column(page.upto)).bind(i64::from(page.entries)).fetch(pool);
        while let Some(row) = rows.try_next().await? {
            bytes += row.payload.len();
            if bytes > page.bytes && !entries.is_empty() {
                return Ok(entries);
            }
            entries.push(row.entry(channel)?);
        }
    });
    Ok(entries)
}

async fn collect_messages(db: &Db, sql: &'static str, channel: &ChannelName, channel_id: i64, page: Page) -> Result<Collected, StoreError> {
    let mut found = Collected { whole: true, ..Collected::default() };
    let mut bytes = 0;
    #[cfg(test)]
    super::testing::note(
        sql,
        &[channel_id, column(page.after), column(page.upto), i64::from(page.entries)]
            .map(super::listing::Term::Whole)
            .into_iter()
            .chain([super::listing::Term::Text(channel.as_str().to_owned())])
            .collect::<Vec<_>>(),
    );
    read!(db, pool => {
        let query = sqlx::query_as::<_, MessageRow>(sql).bind(channel_id).bind(column(page.after)).bind(column(page.upto));
        let mut rows = query.bind(i64::from(page.entries)).bind(channel.as_str()).fetch(pool);
        while let Some(MessageRow { row, amended, attached }) = rows.try_next().await? {
            bytes += row.payload.len();
            if bytes > page.bytes && !found.entries.is_empty() {
                found.whole = false;
                break;
            }
            found.amended |= amended;
            if attached {
                found.attached.push(row.seq as u64);
            }
            found.entries.push(row.entry(channel)?);
        }
    });
    Ok(found)
}

#[derive(FromRow)]
struct MessageRow {
    #[sqlx(flatten)]
    row: Row,
    amended: bool,
    attached: bool,
}

#[derive(FromRow)]
struct Row {
    seq: i64,
    epoch: i64,
    ordinal: i64,
    kind: String,
    #[sqlx(rename = "ref")]
    refers: Option<i64>,
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
            refers: self.refers.map(|seq| seq as u64),
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
