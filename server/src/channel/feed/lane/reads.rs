//! What a lane reads from the store: each in a task of its own, which sends back what it found.

use std::{future::Future, sync::Arc};

use hubbub_protocol::{ChannelName, Cursor, MessageId};

use super::{LIMIT, Lane, REPAIR, REPAIR_BYTES, RETRY};
use crate::{
    broker::Plane,
    channel::feed::{Command, Keep, owner::Reading},
    hub::Delivery,
    store::{StoreError, channels, entries, epoch},
    telemetry::ReadKind,
};

/// What a read of the store brought to a feed.
pub(in crate::channel::feed) enum Fetched {
    /// The feed listens; the head, and entries up to it.
    Loaded(Result<Loaded, StoreError>),
    /// Entries before those in memory.
    Recent(Result<Vec<Arc<Delivery>>, StoreError>),
    /// Entries after the position, and the head then.
    Repaired(Result<(Vec<Arc<Delivery>>, Cursor), StoreError>),
    /// Whether the position is part of the store's past.
    Compared(Result<Past, StoreError>),
}

impl Fetched {
    /// The database did not answer.
    fn nothing(reading: Reading) -> Self {
        let silent = || StoreError::Database(sqlx::Error::PoolTimedOut);
        match reading {
            Reading::Nothing | Reading::Head => Fetched::Loaded(Err(silent())),
            Reading::Recent => Fetched::Recent(Err(silent())),
            Reading::Hole => Fetched::Repaired(Err(silent())),
            Reading::Past => Fetched::Compared(Err(silent())),
        }
    }

    /// What was asked.
    pub(super) fn reading(&self) -> Reading {
        match self {
            Fetched::Loaded(_) => Reading::Head,
            Fetched::Recent(_) => Reading::Recent,
            Fetched::Repaired(_) => Reading::Hole,
            Fetched::Compared(_) => Reading::Past,
        }
    }
}

/// What a new feed begins with.
pub(in crate::channel::feed) struct Loaded {
    /// The last look that began before.
    pub(super) born: u64,
    /// The epoch that was known before.
    pub(super) epoch: u64,
    /// `None` in an ephemeral channel.
    pub(super) head: Option<Cursor>,
    pub(super) recent: Vec<Arc<Delivery>>,
}

/// What the store's past is.
pub(in crate::channel::feed) struct Past {
    pub(super) shared: bool,
    pub(super) head: Cursor,
    /// The epoch that entries get now.
    pub(super) epoch: u64,
}

impl Lane {
    /// Reads what is recent and not in memory: once a channel, however many resume.
    pub(super) fn read_recent(&self, channel: ChannelName, before: u64, keep: Keep) {
        let (db, bounds) = (self.parts.db.clone(), self.bounds);
        self.parts.metrics.store_reads.of(ReadKind::Head).increment(1);
        self.spawn(channel.clone(), Reading::Recent, std::future::ready(()), async move {
            let read = async {
                let Some(head) = channels::head(&db, &channel).await? else { return Ok(Vec::new()) };
                let entries = bounds.entries.min(keep.entries) as u32;
                let page = entries::Page { after: 0, upto: before, entries, bytes: bounds.bytes / 2 };
                let read = entries::page_backwards(&db, &channel, head.channel_id, page).await?;
                Ok(read.into_iter().map(|entry| Delivery::new(Arc::new(entry))).collect())
            };
            Fetched::Recent(read.await)
        });
    }

    /// Listens, then reads the head, and the recent entries if somebody resumes: in this order nothing is missed between the two.
    pub(super) fn load(&self, channel: ChannelName, listens: bool, durable: bool, recent: bool, keep: Keep) {
        let (db, broker, looks, bounds) = (self.parts.db.clone(), self.parts.broker.clone(), self.parts.looks.clone(), self.bounds);
        let entries = if recent { bounds.entries.min(keep.entries) } else { 0 };
        let listened = channel.clone();
        let listen = async move {
            if !listens {
                broker.listen(Plane::Entries, &listened).await;
            }
        };
        self.spawn(channel.clone(), Reading::Head, listen, async move {
            let (born, epoch) = looks.map_or((0, 0), |looks| (looks.begun(), looks.epoch()));
            if !durable {
                return Fetched::Loaded(Ok(Loaded { born, epoch, head: None, recent: Vec::new() }));
            }
            let load = async {
                let nothing = Loaded { born, epoch, head: Some(Cursor::default()), recent: Vec::new() };
                let Some(head) = channels::head(&db, &channel).await? else { return Ok(nothing) };
                let loaded = Loaded { head: Some(head.cursor()), ..nothing };
                if entries == 0 {
                    return Ok(loaded);
                }
                let page = entries::Page { after: 0, upto: head.cursor().seq, entries: entries as u32, bytes: bounds.bytes / 2 };
                let read = entries::page_backwards(&db, &channel, head.channel_id, page).await?;
                Ok(Loaded { recent: read.into_iter().map(|entry| Delivery::new(Arc::new(entry))).collect(), ..loaded })
            };
            Fetched::Loaded(load.await)
        });
        if durable {
            self.parts.metrics.store_reads.of(ReadKind::Head).increment(1);
        }
    }

    /// Reads whether the entry at `position`, whose id is `newest`, is still what it was. A head below it, or another one of the same epoch in
    /// its place, is a store that has gone back: the epoch rises.
    pub(super) fn compare(&self, channel: ChannelName, position: Cursor, newest: Option<MessageId>) {
        let db = self.parts.db.clone();
        self.parts.metrics.store_reads.of(ReadKind::Compare).increment(1);
        self.spawn(channel.clone(), Reading::Past, std::future::ready(()), async move {
            let read = async {
                // The epoch first: whatever is appended beyond the head that is read then has it.
                let epoch = epoch::current(&db).await?;
                let row = channels::head(&db, &channel).await?;
                let head = row.map_or(Cursor::default(), |row| row.cursor());
                let replaced = match (&row, newest) {
                    (Some(row), Some(newest)) => entries::is_other(&db, row.channel_id, position, newest).await?,
                    _ => false,
                };
                if head.seq < position.seq || replaced {
                    return Ok(Past { shared: false, head, epoch: epoch::raise(&db, position.epoch).await? });
                }
                let shared = match row {
                    Some(row) => position.seq == 0 || entries::shares(&db, &row, position).await?,
                    None => true,
                };
                Ok(Past { shared, head, epoch })
            };
            let read: Result<_, StoreError> = read.await;
            if read.is_err() {
                tokio::time::sleep(RETRY).await;
            }
            Fetched::Compared(read)
        });
    }

    /// Reads what is missing after the position: once a channel, however many wait.
    pub(super) fn repair(&self, channel: ChannelName, after: u64) {
        let db = self.parts.db.clone();
        self.parts.metrics.store_reads.of(ReadKind::Repair).increment(1);
        self.spawn(channel.clone(), Reading::Hole, std::future::ready(()), async move {
            let read = async {
                let Some(head) = channels::head(&db, &channel).await? else { return Ok(Default::default()) };
                let page = entries::Page { after, upto: head.cursor().seq, entries: REPAIR, bytes: REPAIR_BYTES };
                let read = entries::page(&db, &channel, head.channel_id, page).await?;
                Ok((read.into_iter().map(|entry| Delivery::new(Arc::new(entry))).collect(), head.cursor()))
            };
            let read: Result<_, StoreError> = read.await;
            if read.is_err() {
                tokio::time::sleep(RETRY).await;
            }
            Fetched::Repaired(read)
        });
    }

    fn spawn(
        &self,
        channel: ChannelName,
        reading: Reading,
        before: impl Future<Output = ()> + Send + 'static,
        read: impl Future<Output = Fetched> + Send + 'static,
    ) {
        let turns = if reading == Reading::Past { &self.parts.comparisons } else { &self.parts.reads };
        let (commands, turns) = (self.commands.clone(), turns.clone());
        self.parts.tasks.spawn_until_stop(async move {
            before.await;
            // Never closed. Nobody waits for a connection so long that the pool gives up.
            let _turn = turns.acquire().await;
            // A database that says nothing is away.
            let fetched = tokio::time::timeout(LIMIT, read).await.unwrap_or_else(|_| Fetched::nothing(reading));
            if let Some(commands) = commands.upgrade() {
                let _ = commands.send(Command::Fetched { channel, fetched }).await;
            }
        });
    }
}
