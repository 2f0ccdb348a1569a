//! Append: a batch in one transaction, each of its entries answered by itself.

use std::{
    collections::{HashMap, hash_map::Entry as Slot},
    sync::{Arc, LazyLock},
};

use bytes::Bytes;
use hubbub_protocol::{ChannelName, Entry, Key, Kind, MessageId, Place};
use sqlx::SqliteConnection;

use crate::store::{
    Db, StoreError,
    amendments::{self, Amendment, Targets, Unfit},
    channels::{self, Head},
    column, epoch,
    publishes::{self, Answer},
    sqlite::Sqlite,
};

/// An entry on its way into a log.
#[derive(Debug, Clone)]
pub struct NewEntry {
    /// Where.
    pub channel: ChannelName,
    /// By whom.
    pub publisher: Arc<str>,
    /// Unique in (channel, publisher).
    pub message_id: MessageId,
    /// `None` for a message.
    pub amends: Option<Amendment>,
    /// What it is about.
    pub key: Option<Key>,
    /// One MessagePack value.
    pub payload: Bytes,
    /// Of what it says: the same id with another digest is refused.
    pub digest: i64,
}

impl NewEntry {
    /// What it is.
    pub fn kind(&self) -> Kind {
        self.amends.as_ref().map_or(Kind::Message, |amendment| amendment.kind)
    }

    /// The seq of the message that it changes.
    pub fn refers(&self) -> Option<u64> {
        self.amends.as_ref().map(|amendment| amendment.refers)
    }
}

/// What became of one entry of a batch.
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
    /// It does not fit the message that it was to change.
    Unfit(Unfit),
}

/// Appends `batch` in one transaction and answers each entry by itself. Either all that are `Stored` are, or none.
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
    let wanted = batch.iter().filter_map(|new| Some((heads[&new.channel].channel_id, new.amends.as_ref()?)));
    let mut targets = amendments::targets(&mut tx, wanted).await?;
    let (answers, fresh) = number(batch, &mut heads, &known, &mut targets, epoch, now);
    if !fresh.is_empty() {
        insert(&mut tx, &fresh, now).await?;
        amendments::redact(&mut tx, &fresh).await?;
        publishes::insert(&mut tx, &fresh, now).await?;
        channels::advance(&mut tx, heads.values(), change, now).await?;
    }
    tx.commit().await.map_err(StoreError::CommitUnknown)?;
    Ok(answers)
}

type Fresh<'a> = Vec<(&'a NewEntry, i64, Place)>;

/// What became of the first of a batch that had its id.
#[derive(Clone, Copy)]
enum First {
    Known(Answer),
    Unfit(Unfit, i64),
}

/// Gives each new entry that fits the next place of its channel, and each old one its first answer.
fn number<'a>(
    batch: &'a [NewEntry],
    heads: &mut HashMap<ChannelName, Head>,
    known: &HashMap<(i64, MessageId, String), Answer>,
    targets: &mut Targets,
    epoch: i64,
    now: u64,
) -> (Vec<Appended>, Fresh<'a>) {
    let mut answers = Vec::with_capacity(batch.len());
    let mut fresh = Vec::with_capacity(batch.len());
    let mut in_batch: HashMap<(i64, MessageId, &str), First> = HashMap::with_capacity(batch.len());
    for new in batch {
        let head = heads.get_mut(&new.channel).expect("every channel of the batch has a head");
        let channel_id = head.channel_id;
        let before = known.get(&(channel_id, new.message_id, new.publisher.to_string())).copied();
        let answer = match in_batch.entry((channel_id, new.message_id, &new.publisher)) {
            Slot::Occupied(first) => repeat(*first.get(), new.digest),
            Slot::Vacant(slot) => match before {
                Some(first) => repeat(First::Known(first), new.digest),
                None => match targets.judge(channel_id, new) {
                    Err(unfit) => {
                        slot.insert(First::Unfit(unfit, new.digest));
                        Appended::Unfit(unfit)
                    }
                    Ok(()) => {
                        let place = head.advance(epoch, new.kind());
                        slot.insert(First::Known(Answer { seq: place.seq, epoch: place.epoch, time: now, digest: new.digest }));
                        fresh.push((new, channel_id, place));
                        Appended::Stored(Arc::new(entry(new, place, now)))
                    }
                },
            },
        };
        answers.push(answer);
    }
    (answers, fresh)
}

fn repeat(first: First, digest: i64) -> Appended {
    match first {
        First::Known(first) if first.digest == digest => Appended::Duplicate { seq: first.seq, epoch: first.epoch, time: first.time },
        First::Unfit(unfit, first) if first == digest => Appended::Unfit(unfit),
        First::Known(_) | First::Unfit(..) => Appended::IdReused,
    }
}

pub(in crate::store) fn entry(new: &NewEntry, place: Place, time: u64) -> Entry {
    Entry {
        channel: new.channel.clone(),
        place: Some(place),
        kind: new.kind(),
        refers: new.refers(),
        message_id: Some(new.message_id),
        publisher: new.publisher.clone(),
        key: new.key.clone(),
        time,
        payload: new.payload.clone(),
    }
}

static INSERT: LazyLock<[String; 5]> = LazyLock::new(|| {
    publishes::statements(
        "INSERT INTO entries (channel_id, seq, epoch, ordinal, kind, ref, message_id, publisher, key, time, payload) VALUES",
        11,
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
                .bind(new.kind().as_str())
                .bind(new.refers().map(column))
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

impl Appended {
    /// The entry, if it is new.
    pub fn stored(&self) -> Option<&Arc<Entry>> {
        match self {
            Appended::Stored(entry) => Some(entry),
            Appended::Duplicate { .. } | Appended::IdReused | Appended::Unfit(_) => None,
        }
    }
}
