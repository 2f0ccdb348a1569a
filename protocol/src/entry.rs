//! An entry: one item of a channel's log, as a publisher wrote it and a subscriber sees it.

use std::sync::Arc;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::{ChannelName, Key, MessageId};

/// How far a subscriber has come in a durable channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, Default)]
#[cfg_attr(feature = "asyncapi", derive(schemars::JsonSchema))]
pub struct Cursor {
    /// The epoch of the entry at `seq`. Ignored when `seq` is 0.
    #[serde(default)]
    pub epoch: u64,
    /// The last entry seen; 0 is before the first.
    pub seq: u64,
}

/// An entry's place in a durable channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[cfg_attr(feature = "asyncapi", derive(schemars::JsonSchema))]
pub struct Place {
    /// Rises whenever the store may have gone back in time.
    pub epoch: u64,
    /// 1, 2, 3 … without holes, in commit order.
    pub seq: u64,
    /// Counts messages only: the number of messages up to and including this entry.
    pub ordinal: u64,
}

/// What an entry is. Other kinds (reaction, member) come later: a reader keeps the place of those it does not know.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[cfg_attr(feature = "asyncapi", derive(schemars::JsonSchema), schemars(rename_all = "snake_case"))]
pub enum Kind {
    /// Published by somebody.
    #[default]
    Message,
    /// Changes the message that it refers to: its payload takes the place of the message's.
    Edit,
    /// Takes the message that it refers to away: its payload is nil, and so are the message's and its edits' from then on.
    Delete,
    /// A kind that this build does not know; its place in the log counts all the same.
    #[cfg_attr(feature = "asyncapi", schemars(skip))]
    Other,
}

impl Kind {
    /// Its name on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Kind::Message => "message",
            Kind::Edit => "edit",
            Kind::Delete => "delete",
            Kind::Other => "other",
        }
    }

    /// The kind of that name.
    pub fn parse(text: &str) -> Self {
        match text {
            "message" => Kind::Message,
            "edit" => Kind::Edit,
            "delete" => Kind::Delete,
            _ => Kind::Other,
        }
    }
}

/// One item of a channel, durable or ephemeral.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "asyncapi", derive(schemars::JsonSchema))]
pub struct Entry {
    /// Where it was published.
    pub channel: ChannelName,
    /// Its place in the log; `None` in an ephemeral channel.
    #[cfg_attr(feature = "asyncapi", schemars(flatten))]
    pub place: Option<Place>,
    /// What it is.
    #[cfg_attr(feature = "asyncapi", schemars(default))]
    pub kind: Kind,
    /// The seq of the message that it changes; `None` for a message. `ref` on the wire.
    #[cfg_attr(feature = "asyncapi", schemars(rename = "ref"))]
    pub refers: Option<u64>,
    /// The publisher's id for it.
    pub message_id: Option<MessageId>,
    /// Who published it: the `sub` of the token.
    pub publisher: Arc<str>,
    /// What it is about.
    pub key: Option<Key>,
    /// When the server took it, in Unix milliseconds.
    pub time: u64,
    /// One MessagePack value.
    #[cfg_attr(feature = "asyncapi", schemars(with = "serde_json::Value"))]
    pub payload: Bytes,
}

impl Entry {
    /// The cursor of a subscriber that has seen this entry; `None` in an ephemeral channel.
    pub fn cursor(&self) -> Option<Cursor> {
        self.place.map(|place| Cursor { epoch: place.epoch, seq: place.seq })
    }
}
