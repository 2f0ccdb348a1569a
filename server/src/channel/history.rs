//! History: pages of a durable channel's log.

use hubbub_protocol::{ChannelName, Cursor, Entry, encode::HistoryRest};

use super::{Channels, Refused};
use crate::{
    auth::{Act, Identity},
    store::{StoreError, channels, entries},
    telemetry::ReadKind,
};

/// Which way a page lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// The entries after this seq.
    After(u64),
    /// The newest entries before this seq.
    Before(u64),
    /// The newest entries.
    Newest,
}

impl Direction {
    /// From the two optional numbers of a request.
    ///
    /// # Errors
    /// [`Refused::OutOfRange`] if both are given.
    pub fn new(after: Option<u64>, before: Option<u64>) -> Result<Self, Refused> {
        match (after, before) {
            (None, None) => Ok(Direction::Newest),
            (Some(after), None) => Ok(Direction::After(after)),
            (None, Some(before)) => Ok(Direction::Before(before)),
            (Some(_), Some(_)) => Err(Refused::OutOfRange),
        }
    }
}

/// Entries that the history shows, oldest first.
#[derive(Debug)]
pub struct HistoryPage {
    /// The entries.
    pub entries: Vec<Entry>,
    /// Where they stand.
    pub rest: HistoryRest,
    direction: Direction,
}

impl HistoryPage {
    /// Half of it, for a reader with less room: the half that the request begins with. A page of one entry stays as it is.
    pub fn halve(&mut self) {
        let half = self.entries.len().div_ceil(2);
        if half == self.entries.len() {
            return;
        }
        match self.direction {
            Direction::After(_) => self.entries.truncate(half),
            Direction::Before(_) | Direction::Newest => drop(self.entries.drain(..self.entries.len() - half)),
        }
        self.rest.more = true;
    }
}

/// Entries a page, unless the request says.
const DEFAULT_LIMIT: u32 = 100;

impl Channels {
    /// A page of `channel` of at most half an outbox.
    ///
    /// # Errors
    /// [`Refused`].
    pub async fn history(
        &self,
        identity: &Identity,
        channel: &ChannelName,
        direction: Direction,
        limit: Option<u32>,
    ) -> Result<HistoryPage, Refused> {
        self.access.may(identity, Act::History, channel).await?;
        if !self.namespace(channel).is_durable() {
            return Err(Refused::NotDurable);
        }
        let limit = limit.unwrap_or(DEFAULT_LIMIT.min(self.config.channel.history_page));
        if limit == 0 || limit > self.config.channel.history_page {
            return Err(Refused::OutOfRange);
        }
        self.metrics.store_reads.of(ReadKind::History).increment(1);
        self.read_page(channel, direction, limit).await.map_err(|error| {
            tracing::warn!(channel = channel.as_str(), %error, "a page of history could not be read");
            Refused::Unavailable
        })
    }

    async fn read_page(&self, channel: &ChannelName, direction: Direction, limit: u32) -> Result<HistoryPage, StoreError> {
        let Some(head) = channels::head(&self.db, channel).await? else {
            return Ok(HistoryPage {
                entries: Vec::new(),
                rest: HistoryRest { head: Cursor::default(), first: 1, more: false },
                direction,
            });
        };
        let newest = head.cursor().seq;
        let (floor, oldest) = self.namespace(channel).window(newest, self.world.clock.now());
        let first = entries::first(&self.db, head.channel_id, floor, oldest).await?.map_or(newest + 1, |(seq, _)| seq);
        let (after, upto) = match direction {
            Direction::After(after) => (after.max(first - 1), newest),
            Direction::Before(before) => (first - 1, before.saturating_sub(1).min(newest)),
            Direction::Newest => (first - 1, newest),
        };
        // Room for what surrounds a payload, so that a page of many small entries stays in bounds too.
        let page = entries::Page {
            after,
            upto,
            entries: limit.min((self.config.session.outbox / 512) as u32),
            bytes: self.config.session.outbox / 4,
        };
        let entries = match direction {
            Direction::After(_) => entries::page(&self.db, channel, head.channel_id, page).await?,
            Direction::Before(_) | Direction::Newest => entries::page_backwards(&self.db, channel, head.channel_id, page).await?,
        };
        let seq = |entry: Option<&Entry>| entry.and_then(Entry::cursor).map(|cursor| cursor.seq);
        let more = match direction {
            Direction::After(_) => seq(entries.last()).is_some_and(|last| last < newest),
            Direction::Before(_) | Direction::Newest => seq(entries.first()).is_some_and(|oldest| oldest > first),
        };
        Ok(HistoryPage { entries, rest: HistoryRest { head: head.cursor(), first, more }, direction })
    }
}
