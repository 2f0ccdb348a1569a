//! Messages as they stand now: a durable channel's log without its edits and deletions, which have done their work.
//!
//! Whoever asks for a page, or one message, has asked whether the reader may see the channel's history.

use std::sync::Arc;

use bytes::Bytes;
use futures_util::{Stream, stream};
use hubbub_protocol::{ChannelName, Cursor, Entry, Key, MessageId};

use super::{Channels, Direction, Refused};
use crate::{
    auth::{Act, Identity},
    store::{
        StoreError,
        channels::{self, Head},
        entries::Page,
        messages::{self, End},
    },
    telemetry::ReadKind,
};

/// Messages a page, unless the request says.
const DEFAULT_LIMIT: u32 = 100;

/// A message as it stands now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// Its place in the log, by which it is named.
    pub seq: u64,
    /// The epoch of that place.
    pub epoch: u64,
    /// Which message of the channel it is: 1, 2, 3 …
    pub ordinal: u64,
    /// The publisher's id for it.
    pub message_id: Option<MessageId>,
    /// Who published it.
    pub publisher: Arc<str>,
    /// What it is about.
    pub key: Option<Key>,
    /// When it was published, in Unix milliseconds.
    pub time: u64,
    /// One MessagePack value: what the newest edit says. Nil if it was deleted.
    pub payload: Bytes,
    /// When it was edited last.
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

/// Which messages are asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Range {
    /// After or before a seq, or the newest ones.
    pub direction: Direction,
    /// Only those that are not older, in Unix milliseconds.
    pub since: Option<u64>,
    /// Only those that are older.
    pub until: Option<u64>,
}

/// Messages in the order of their seqs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MessagePage {
    /// The messages.
    pub messages: Vec<Message>,
    /// The channel's newest entry.
    pub head: Cursor,
    /// The oldest seq that the history shows.
    pub first: u64,
    /// There are more in the direction that was asked for, within the times that were asked for.
    pub more: bool,
}

/// The seqs that a request can see: after the first number, up to the second.
#[derive(Debug, Clone, Copy)]
struct Bounds {
    after: u64,
    upto: u64,
    first: u64,
}

impl Channels {
    /// A page of `channel`'s messages, of at most half an outbox. `limit` counts messages, 1 to the configured page.
    ///
    /// # Errors
    /// [`Refused::NotDurable`], [`Refused::OutOfRange`], [`Refused::Unavailable`].
    pub async fn messages(&self, channel: &ChannelName, range: Range, limit: Option<u32>) -> Result<MessagePage, Refused> {
        self.durable(channel)?;
        let limit = limit.unwrap_or(DEFAULT_LIMIT.min(self.config.channel.history_page));
        if limit == 0 || limit > self.config.channel.history_page {
            return Err(Refused::OutOfRange);
        }
        self.metrics.store_reads.of(ReadKind::History).increment(1);
        self.read_messages(channel, range, limit).await.map_err(|error| unreadable(channel, &error))
    }

    /// The message at `seq` of `channel`.
    ///
    /// # Errors
    /// [`Refused::NotDurable`], [`Refused::NoMessage`], [`Refused::Unavailable`].
    pub async fn message(&self, channel: &ChannelName, seq: u64) -> Result<Message, Refused> {
        self.durable(channel)?;
        self.metrics.store_reads.of(ReadKind::History).increment(1);
        let read = async {
            let Some((head, first)) = self.span(channel).await? else { return Ok(None) };
            if seq < first {
                return Ok(None);
            }
            messages::one(&self.db, channel, head.channel_id, seq).await
        };
        let message = read.await.map_err(|error| unreadable(channel, &error))?;
        message.map(Message::from).ok_or(Refused::NoMessage)
    }

    /// Every message of `range` that is there when this begins, in the order of their seqs, page by page: a reader that takes its time costs
    /// one page of memory. `range.direction` says from where: [`Direction::Newest`] is everything. Whether `reader` may is asked for each page,
    /// since that can change while it is read. Ends after an error.
    pub fn every_page(
        self: &Arc<Self>,
        reader: &Identity,
        channel: &ChannelName,
        range: Range,
    ) -> impl Stream<Item = Result<Vec<Message>, Refused>> + use<> {
        let walk = Walk { channels: self.clone(), reader: reader.clone(), channel: channel.clone(), range, bounds: None, over: false };
        stream::unfold(walk, |mut walk| async move {
            let page = walk.next().await.transpose()?;
            walk.over |= page.is_err();
            Some((page, walk))
        })
    }

    fn durable(&self, channel: &ChannelName) -> Result<(), Refused> {
        if self.namespace(channel).is_durable() { Ok(()) } else { Err(Refused::NotDurable) }
    }

    /// The newest entry of `channel`, and the oldest seq that its history shows; `None` if nothing was ever stored there.
    async fn span(&self, channel: &ChannelName) -> Result<Option<(Head, u64)>, StoreError> {
        let (entries, since) = self.namespace(channel).reach(self.world.clock.now());
        let span = channels::span(&self.db, channel, entries, since).await?;
        Ok(span.map(|(head, first)| (head, first.unwrap_or(head.cursor().seq + 1))))
    }

    /// What `range` comes to when `head` is the newest entry, and `first` the oldest that is shown.
    async fn bounds(&self, head: &Head, first: u64, range: Range) -> Result<Bounds, StoreError> {
        let newest = head.cursor().seq;
        let (mut after, mut upto) = match range.direction {
            Direction::After(after) => (after.max(first - 1), newest),
            Direction::Before(before) => (first - 1, before.saturating_sub(1).min(newest)),
            Direction::Newest => (first - 1, newest),
        };
        if let Some(since) = range.since {
            after = after.max(messages::seq_at(&self.db, head.channel_id, (first, newest), since).await? - 1);
        }
        if let Some(until) = range.until {
            upto = upto.min(messages::seq_at(&self.db, head.channel_id, (first, newest), until).await? - 1);
        }
        Ok(Bounds { after, upto, first })
    }

    async fn read_messages(&self, channel: &ChannelName, range: Range, limit: u32) -> Result<MessagePage, StoreError> {
        let Some((head, first)) = self.span(channel).await? else {
            return Ok(MessagePage { messages: Vec::new(), head: Cursor::default(), first: 1, more: false });
        };
        let Bounds { after, upto, first } = self.bounds(&head, first, range).await?;
        let end = match range.direction {
            Direction::After(_) => End::Oldest,
            Direction::Before(_) | Direction::Newest => End::Newest,
        };
        // One beyond the limit tells whether there are more: only edits may be left. A page that its bytes end has more for certain, too.
        let wanted = limit.min((self.config.session.outbox / 512) as u32);
        let bytes = self.config.session.outbox / 4;
        let page = Page { after, upto, entries: wanted + 1, bytes };
        let (mut messages, whole) = messages::page(&self.db, channel, head.channel_id, page, end).await?;
        let more = !whole || messages.len() > wanted as usize;
        if messages.len() > wanted as usize {
            match end {
                End::Oldest => drop(messages.pop()),
                End::Newest => drop(messages.remove(0)),
            }
        }
        Ok(MessagePage { messages: messages.into_iter().map(Message::from).collect(), head: head.cursor(), first, more })
    }
}

/// How far a reader of every message has come.
struct Walk {
    channels: Arc<Channels>,
    reader: Identity,
    channel: ChannelName,
    range: Range,
    /// The channel's row, and what is left; `None` before the first read.
    bounds: Option<(i64, Bounds)>,
    over: bool,
}

impl Walk {
    /// The next page that has a message; `None` means that it is over.
    async fn next(&mut self) -> Result<Option<Vec<Message>>, Refused> {
        if self.over {
            return Ok(None);
        }
        self.channels.durable(&self.channel)?;
        self.channels.access.may(&self.reader, Act::History, &self.channel).await?;
        let page = self.read().await.map_err(|error| unreadable(&self.channel, &error))?;
        Ok(Some(page).filter(|page| !page.is_empty()))
    }

    async fn read(&mut self) -> Result<Vec<Message>, StoreError> {
        let channels = &self.channels;
        channels.metrics.store_reads.of(ReadKind::History).increment(1);
        let (channel_id, mut bounds) = match self.bounds {
            Some(bounds) => bounds,
            None => match channels.span(&self.channel).await? {
                Some((head, first)) => (head.channel_id, channels.bounds(&head, first, self.range).await?),
                None => return Ok(Vec::new()),
            },
        };
        let limit = channels.config.channel.history_page;
        let page = Page { after: bounds.after, upto: bounds.upto, entries: limit, bytes: channels.config.session.outbox / 4 };
        let (messages, whole) = messages::page(&channels.db, &self.channel, channel_id, page, End::Oldest).await?;
        self.over = whole && messages.len() < limit as usize;
        bounds.after = messages.last().map_or(bounds.upto, |last| last.entry.place.unwrap_or_default().seq);
        self.bounds = Some((channel_id, bounds));
        Ok(messages.into_iter().map(Message::from).collect())
    }
}

impl From<messages::Message> for Message {
    fn from(message: messages::Message) -> Self {
        let messages::Message { entry, edited_at, edits, deleted_at, deleted_by, has_attachments } = message;
        Self { edited_at, edits, deleted_at, deleted_by, has_attachments, ..Self::from(entry) }
    }
}

/// As it is when it has just been published.
impl From<Entry> for Message {
    fn from(entry: Entry) -> Self {
        let place = entry.place.unwrap_or_default();
        Self {
            seq: place.seq,
            epoch: place.epoch,
            ordinal: place.ordinal,
            message_id: entry.message_id,
            publisher: entry.publisher,
            key: entry.key,
            time: entry.time,
            payload: entry.payload,
            edited_at: None,
            edits: 0,
            deleted_at: None,
            deleted_by: None,
            has_attachments: false,
        }
    }
}

fn unreadable(channel: &ChannelName, error: &StoreError) -> Refused {
    tracing::warn!(channel = channel.as_str(), %error, "messages could not be read");
    Refused::Unavailable
}
