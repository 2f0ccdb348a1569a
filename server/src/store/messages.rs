//! Messages as they stand now: what was published, with what became of it since.
//!
//! A page takes one statement, and a second one if any of its messages was changed: for all of them together the edit that counts, how many
//! there were, and the deletion.

use std::{collections::HashMap, sync::Arc};

use bytes::Bytes;
use futures_util::TryStreamExt;
use hubbub_protocol::{ChannelName, Entry};
use sqlx::FromRow;

use super::{Db, StoreError, column, entries, read};
use entries::{Collected, Page};

/// MessagePack's nil: what is left of a payload that was deleted.
const NIL: Bytes = Bytes::from_static(&[0xc0]);

/// A message, and what became of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// As it was published; its payload is what the newest edit says, and nil once it was deleted.
    pub entry: Entry,
    /// When it was edited last, in Unix milliseconds.
    pub edited_at: Option<u64>,
    /// How often it was edited.
    pub edits: u32,
    /// When it was deleted.
    pub deleted_at: Option<u64>,
    /// By whom.
    pub deleted_by: Option<Arc<str>>,
    /// Whether uploads are attached to it.
    pub has_attachments: bool,
}

/// From which end of its range a page is taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// The oldest messages.
    Oldest,
    /// The newest ones.
    Newest,
}

/// The messages of `page`'s range, as many as fit from that end, oldest first, and whether it was not the bytes that ended the page.
/// `page.bytes` bounds the payloads as they were published, and once more as they are.
///
/// # Errors
/// [`StoreError::Database`], [`StoreError::Corrupt`].
pub async fn page(db: &Db, channel: &ChannelName, channel_id: i64, page: Page, end: End) -> Result<(Vec<Message>, bool), StoreError> {
    let Collected { entries: published, whole, amended, attached } = match end {
        End::Oldest => entries::messages(db, channel, channel_id, page).await?,
        End::Newest => entries::messages_backwards(db, channel, channel_id, page).await?,
    };
    let seqs = |at: Option<&Entry>| at.and_then(Entry::cursor).map_or(0, |cursor| cursor.seq);
    let (first, last) = match end {
        End::Oldest => (seqs(published.first()), seqs(published.last())),
        End::Newest => (seqs(published.last()), seqs(published.first())),
    };
    if published.is_empty() {
        return Ok((Vec::new(), whole));
    }
    let (mut amended, stop) = match amended {
        true => amendments(db, channel_id, (first, last), page.bytes, end).await?,
        false => Default::default(),
    };
    let mut messages: Vec<Message> = published
        .into_iter()
        .take_while(|entry| Some(seqs(Some(entry))) != stop)
        .map(|entry| {
            let seq = seqs(Some(&entry));
            amended.remove(&seq).unwrap_or_default().apply(entry, attached.contains(&seq))
        })
        .collect();
    if end == End::Newest {
        messages.reverse();
    }
    Ok((messages, whole && stop.is_none()))
}

/// What became of one message.
#[derive(Default, FromRow)]
struct Amended {
    #[sqlx(rename = "ref")]
    seq: i64,
    edits: i64,
    edited_at: Option<i64>,
    payload: Option<Vec<u8>>,
    deleted_at: Option<i64>,
    deleted_by: Option<String>,
}

impl Amended {
    fn apply(self, mut entry: Entry, has_attachments: bool) -> Message {
        if self.deleted_at.is_some() {
            // It may have been deleted after it was read.
            entry.payload = NIL;
        } else if let Some(payload) = self.payload {
            entry.payload = payload.into();
        }
        Message {
            entry,
            edited_at: self.edited_at.map(|time| time as u64),
            edits: u32::try_from(self.edits).unwrap_or(u32::MAX),
            deleted_at: self.deleted_at.map(|time| time as u64),
            deleted_by: self.deleted_by.map(Into::into),
            has_attachments,
        }
    }
}

/// What became of the messages from the first to the last seq of `range`, by seq, and the seq at which it grew too long to go on.
async fn amendments(
    db: &Db,
    channel_id: i64,
    range: (u64, u64),
    bytes: usize,
    end: End,
) -> Result<(HashMap<u64, Amended>, Option<u64>), StoreError> {
    macro_rules! sql {
        ($order:literal) => {
            concat!(
                "SELECT g.ref, g.edits, e.time AS edited_at, e.payload, d.time AS deleted_at, d.publisher AS deleted_by
                 FROM (
                     SELECT ref, COUNT(*) FILTER (WHERE kind = 'edit') AS edits,
                            MAX(seq) FILTER (WHERE kind = 'edit') AS edit, MAX(seq) FILTER (WHERE kind = 'delete') AS deletion
                     FROM entries WHERE channel_id = $1 AND ref >= $2 AND ref <= $3 AND kind IN ('edit', 'delete') GROUP BY ref
                 ) AS g
                 LEFT JOIN entries AS e ON e.channel_id = $1 AND e.seq = g.edit
                 LEFT JOIN entries AS d ON d.channel_id = $1 AND d.seq = g.deletion
                 ORDER BY g.ref ",
                $order
            )
        };
    }
    let sql = match end {
        End::Oldest => sql!("ASC"),
        End::Newest => sql!("DESC"),
    };
    let mut amended = HashMap::new();
    let mut size = 0;
    #[cfg(test)]
    super::testing::note(sql, &[channel_id, column(range.0), column(range.1)].map(super::listing::Term::Whole));
    read!(db, pool => {
        let mut rows = sqlx::query_as::<_, Amended>(sql).bind(channel_id).bind(column(range.0)).bind(column(range.1)).fetch(pool);
        while let Some(row) = rows.try_next().await? {
            size += row.payload.as_ref().map_or(0, Vec::len);
            // At least one message: what is longer than the bound alone has to come through all the same.
            let begins = if end == End::Oldest { range.0 } else { range.1 };
            if size > bytes && row.seq as u64 != begins {
                return Ok((amended, Some(row.seq as u64)));
            }
            amended.insert(row.seq as u64, row);
        }
    });
    Ok((amended, None))
}

/// The message at `seq`; `None` if there is none: another kind of entry, or one that is gone.
///
/// # Errors
/// [`StoreError::Database`], [`StoreError::Corrupt`].
pub async fn one(db: &Db, channel: &ChannelName, channel_id: i64, seq: u64) -> Result<Option<Message>, StoreError> {
    let only = Page { after: seq.saturating_sub(1), upto: seq, entries: 1, bytes: 0 };
    Ok(page(db, channel, channel_id, only, End::Oldest).await?.0.pop())
}

/// The seq of the first entry from `first` to `last` that is not older than `since` (Unix milliseconds); `last + 1` if all are.
///
/// A binary search over seqs: some twenty reads of one row by the index that is there, where an index on the time would cost every append. Times
/// rise with seqs but for clocks that disagree or are set back; there the edge is as blurred as they are.
///
/// # Errors
/// [`StoreError::Database`].
pub async fn seq_at(db: &Db, channel_id: i64, (first, last): (u64, u64), since: u64) -> Result<u64, StoreError> {
    let (mut low, mut high) = (first, last + 1);
    while low < high {
        let middle = low + (high - low) / 2;
        // What has gone from the history meanwhile was older.
        if time_at(db, channel_id, middle).await?.is_some_and(|time| time >= since) {
            high = middle;
        } else {
            low = middle + 1;
        }
    }
    Ok(low)
}

async fn time_at(db: &Db, channel_id: i64, seq: u64) -> Result<Option<u64>, StoreError> {
    let time: Option<i64> = read!(db, pool => sqlx::query_scalar("SELECT time FROM entries WHERE channel_id = $1 AND seq = $2")
        .bind(channel_id)
        .bind(column(seq))
        .fetch_optional(pool)
        .await)?;
    Ok(time.map(|time| time as u64))
}
