//! The frames of `hubbub.v1` as types. `PROTOCOL.md` section 4 is their specification.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::{ChannelName, Cursor, Entry, ErrorCode, Format, Key, MessageId, Retry};

pub use crate::presence::{Member, PresenceChange, PresencePage, PresenceRequest, PresenceState};

/// A request's number, chosen by the client; its reply or error carries it.
pub type RequestId = u32;

/// What a client sends.
#[derive(Debug, Clone, PartialEq)]
#[cfg_attr(feature = "asyncapi", derive(schemars::JsonSchema), schemars(tag = "type", rename_all = "snake_case"))]
pub enum ClientFrame {
    /// The first frame: who is there.
    Connect(Connect),
    /// A new token for the same user.
    Refresh {
        /// The request.
        id: RequestId,
        /// A JWT.
        #[cfg_attr(feature = "asyncapi", schemars(length(max = crate::limits::MAX_TOKEN)))]
        token: String,
    },
    /// Listen to channels, from now or from a cursor.
    Subscribe {
        /// The request.
        id: RequestId,
        /// Each is answered by itself.
        #[cfg_attr(feature = "asyncapi", schemars(length(max = crate::limits::MAX_CHANNELS)))]
        channels: Vec<SubscribeChannel>,
    },
    /// Listen no longer.
    Unsubscribe {
        /// The request.
        id: RequestId,
        /// Each is answered by itself.
        #[cfg_attr(feature = "asyncapi", schemars(length(max = crate::limits::MAX_CHANNELS)))]
        channels: Vec<String>,
    },
    /// Put a message into a channel.
    Publish(Publish),
    /// Read a page of a durable channel's log.
    History(History),
    /// Read a page of a channel's members.
    Presence(PresenceRequest),
    /// Ask for an answer.
    Ping {
        /// The request.
        id: RequestId,
    },
}

impl ClientFrame {
    /// What the types are called on the wire, in the order of `PROTOCOL.md` section 4.
    pub const TYPES: [&str; 8] = ["connect", "refresh", "subscribe", "unsubscribe", "publish", "history", "presence", "ping"];

    /// What its type is called on the wire.
    pub const fn type_name(&self) -> &'static str {
        let [connect, refresh, subscribe, unsubscribe, publish, history, presence, ping] = Self::TYPES;
        match self {
            ClientFrame::Connect(_) => connect,
            ClientFrame::Refresh { .. } => refresh,
            ClientFrame::Subscribe { .. } => subscribe,
            ClientFrame::Unsubscribe { .. } => unsubscribe,
            ClientFrame::Publish(_) => publish,
            ClientFrame::History(_) => history,
            ClientFrame::Presence(_) => presence,
            ClientFrame::Ping { .. } => ping,
        }
    }

    /// The request's number; `None` for a `publish` that wants no answer.
    pub fn id(&self) -> Option<RequestId> {
        match self {
            ClientFrame::Connect(connect) => Some(connect.id),
            ClientFrame::Publish(publish) => publish.id,
            ClientFrame::History(history) => Some(history.id),
            ClientFrame::Presence(presence) => Some(presence.id),
            ClientFrame::Refresh { id, .. }
            | ClientFrame::Subscribe { id, .. }
            | ClientFrame::Unsubscribe { id, .. }
            | ClientFrame::Ping { id } => Some(*id),
        }
    }
}

/// `connect`.
#[derive(Debug, Clone, PartialEq, Default)]
#[cfg_attr(feature = "asyncapi", derive(schemars::JsonSchema))]
pub struct Connect {
    /// The request.
    pub id: RequestId,
    /// A JWT, unless the upgrade carried one.
    #[cfg_attr(feature = "asyncapi", schemars(length(max = crate::limits::MAX_TOKEN)))]
    pub token: Option<String>,
    /// The client's name and version, for logs.
    #[cfg_attr(feature = "asyncapi", schemars(length(max = crate::limits::MAX_CLIENT)))]
    pub client: Option<String>,
    /// The server begins subscriptions by itself; it tells of each by [`ServerFrame::Subscribed`].
    pub auto: Option<Auto>,
}

/// `auto` of `connect`: how the server subscribes this connection by itself.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
#[cfg_attr(feature = "asyncapi", derive(schemars::JsonSchema))]
pub struct Auto {
    /// Where to resume; channels of which the user is no member are subscribed to as well, if he may.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[cfg_attr(feature = "asyncapi", schemars(default))]
    pub since: Vec<Since>,
    /// What to do when this subscriber is slow; the namespace's policy if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub slow: Option<Slow>,
    /// Wants to see members come and go, where the namespace has presence and the user may.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    #[cfg_attr(feature = "asyncapi", schemars(default))]
    pub presence: bool,
}

/// How far a client has come in a channel.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "asyncapi", derive(schemars::JsonSchema))]
pub struct Since {
    /// The channel's name; checked when it is handled, so that one bad name fails alone.
    pub channel: String,
    /// Resume after this cursor.
    #[serde(flatten)]
    pub cursor: Cursor,
}

/// One channel of `subscribe`.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "asyncapi", derive(schemars::JsonSchema))]
pub struct SubscribeChannel {
    /// The channel's name; checked when it is handled, so that one bad name fails alone.
    pub channel: String,
    /// Resume after this cursor.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<Cursor>,
    /// What to do when this subscriber is slow; the namespace's policy if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub slow: Option<Slow>,
    /// Wants to see members come and go.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub presence: bool,
}

/// What happens to a subscriber whose outbox is full.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "asyncapi", derive(schemars::JsonSchema))]
pub enum Slow {
    /// It gets everything at its own pace; if it stalls its connection is closed with 4505, and it connects again and resumes.
    Close,
    /// It gets only the newest entry of each key once it reads again.
    Latest,
}

/// `publish`.
#[derive(Debug, Clone, PartialEq)]
#[cfg_attr(feature = "asyncapi", derive(schemars::JsonSchema))]
pub struct Publish {
    /// The request; without one nothing is answered, success or not.
    pub id: Option<RequestId>,
    /// Where.
    pub channel: ChannelName,
    /// Makes a retry safe. The server makes one if it is absent.
    pub message_id: Option<MessageId>,
    /// What the message is about.
    pub key: Option<Key>,
    /// One MessagePack value, whatever format it came in.
    #[cfg_attr(feature = "asyncapi", schemars(with = "serde_json::Value"))]
    pub payload: Bytes,
}

/// `history`. At most one of `after` and `before`.
#[derive(Debug, Clone, PartialEq)]
#[cfg_attr(feature = "asyncapi", derive(schemars::JsonSchema))]
pub struct History {
    /// The request.
    pub id: RequestId,
    /// The channel.
    pub channel: ChannelName,
    /// Entries with a higher seq, oldest first.
    pub after: Option<u64>,
    /// The newest entries with a lower seq, oldest first.
    pub before: Option<u64>,
    /// How many, 1 to 1,000; 100 if absent.
    #[cfg_attr(feature = "asyncapi", schemars(range(min = 1, max = crate::limits::MAX_HISTORY_PAGE)))]
    pub limit: Option<u32>,
}

/// What a server sends.
#[derive(Debug, Clone, PartialEq)]
#[cfg_attr(feature = "asyncapi", derive(schemars::JsonSchema), schemars(tag = "type", rename_all = "snake_case"))]
pub enum ServerFrame {
    /// The request succeeded.
    Reply {
        /// The request.
        id: RequestId,
        /// What it returned, still encoded: [`RawResult::read`].
        #[cfg_attr(feature = "asyncapi", schemars(with = "serde_json::Value"))]
        result: RawResult,
    },
    /// The request failed.
    Error {
        /// The request, if the frame told.
        id: Option<RequestId>,
        /// Why.
        #[cfg_attr(feature = "asyncapi", schemars(flatten))]
        error: ErrorBody,
    },
    /// An entry of a channel.
    Entry(Entry),
    /// Entries that are not sent.
    Skip(Skip),
    /// How far this connection's subscriptions have come.
    Heads {
        /// The server's clock, in Unix milliseconds.
        time: u64,
        /// Subscriptions whose head moved since the last `heads`.
        channels: Vec<Head>,
    },
    /// Members of a channel that came and went.
    Presence(PresenceChange),
    /// A subscription that the server has begun by itself, or why it has not: the same as one channel of `subscribe`'s result.
    Subscribed(Box<Subscribed>),
    /// A subscription ended by the server.
    Unsubscribed {
        /// Its channel.
        channel: ChannelName,
        /// Why.
        #[cfg_attr(feature = "asyncapi", schemars(flatten))]
        error: ErrorBody,
    },
    /// The connection is about to be closed.
    Disconnect(Disconnect),
    /// A frame of a type that this build does not know: ignored.
    #[cfg_attr(feature = "asyncapi", schemars(skip))]
    Unknown,
}

/// `skip`: entries that this subscriber is not sent. It precedes the next entry.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "asyncapi", derive(schemars::JsonSchema))]
pub struct Skip {
    /// The channel.
    pub channel: ChannelName,
    /// First and last seq that are not sent, and their epoch; `None` in an ephemeral channel.
    #[cfg_attr(feature = "asyncapi", schemars(flatten))]
    pub range: Option<SkipRange>,
    /// How many entries.
    pub count: u64,
    /// Why.
    pub reason: SkipReason,
}

/// The place of a skip in a durable channel: the subscriber's cursor becomes `{epoch, seq: to}`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "asyncapi", derive(schemars::JsonSchema))]
pub struct SkipRange {
    /// The epoch of `to`.
    pub epoch: u64,
    /// First seq skipped.
    pub from: u64,
    /// Last seq skipped.
    pub to: u64,
}

/// Why entries are not sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "asyncapi", derive(schemars::JsonSchema))]
pub enum SkipReason {
    /// A newer entry of the same key follows.
    Superseded,
    /// The channel's history no longer holds them.
    Expired,
    /// More entries were missed than a replay may hold.
    TooFar,
    /// An ephemeral channel's bound was reached.
    Dropped,
    /// A reason that this build does not know.
    #[serde(other)]
    #[cfg_attr(feature = "asyncapi", schemars(skip))]
    Other,
}

impl SkipReason {
    /// Its name on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            SkipReason::Superseded => "superseded",
            SkipReason::Expired => "expired",
            SkipReason::TooFar => "too_far",
            SkipReason::Dropped => "dropped",
            SkipReason::Other => "other",
        }
    }
}

/// One channel of `heads`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "asyncapi", derive(schemars::JsonSchema))]
pub struct Head {
    /// The channel.
    pub channel: ChannelName,
    /// Everything up to here was sent, or skipped, before this frame.
    #[serde(flatten)]
    pub cursor: Cursor,
}

/// `disconnect`.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "asyncapi", derive(schemars::JsonSchema))]
pub struct Disconnect {
    /// The close code that follows.
    pub code: u16,
    /// Its reason.
    pub reason: String,
    /// Whether to connect again.
    pub retry: Retry,
    /// When, in milliseconds from now.
    pub reconnect_after: Option<u64>,
}

/// The body of an error, in a frame or inside a result.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "asyncapi", derive(schemars::JsonSchema))]
pub struct ErrorBody {
    /// A name of the error table.
    pub code: String,
    /// For people: what to do next.
    pub message: String,
    /// Whether to try again.
    pub retry: Retry,
    /// When, in milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_after: Option<u64>,
}

impl ErrorBody {
    /// The body for `code`, with a message for people.
    pub fn new(code: ErrorCode, message: impl Into<String>) -> Self {
        Self { code: code.as_str().to_owned(), message: message.into(), retry: code.retry(), retry_after: None }
    }

    /// The code, if this build knows it.
    pub fn known(&self) -> Option<ErrorCode> {
        ErrorCode::parse(&self.code)
    }
}

/// A result, still encoded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RawResult {
    pub(crate) format: Format,
    pub(crate) bytes: Bytes,
}

/// The result of `connect`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "asyncapi", derive(schemars::JsonSchema))]
pub struct Connected {
    /// Names the session in the server's logs.
    pub session: String,
    /// The user that the token stands for.
    pub user: String,
    /// The server's clock, in Unix milliseconds: make message ids with it.
    pub time: u64,
    /// When the token's time is over, in Unix milliseconds.
    pub expires_at: u64,
    /// Something comes from the server at least this often, in milliseconds.
    pub heartbeat: u64,
    /// After this much more silence, in milliseconds, the peer is gone.
    pub grace: u64,
    /// The bounds of this server.
    pub limits: Limits,
}

/// Bounds that a client has to know.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "asyncapi", derive(schemars::JsonSchema))]
pub struct Limits {
    /// Bytes of a payload in MessagePack.
    pub payload: u64,
    /// Bytes of one message.
    pub frame: u64,
    /// Subscriptions a connection.
    pub subscriptions: u32,
    /// How long a message id is remembered, in milliseconds.
    pub dedup_window: u64,
}

/// The result of `refresh`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "asyncapi", derive(schemars::JsonSchema))]
pub struct Refreshed {
    /// When the new token's time is over, in Unix milliseconds.
    pub expires_at: u64,
}

/// The result of `subscribe` and `unsubscribe`: one item a channel, in the request's order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "asyncapi", derive(schemars::JsonSchema))]
pub struct Channels<T> {
    /// One a channel.
    pub channels: Vec<T>,
}

/// One channel of `subscribe`'s result, and the frame `subscribed`: either `error`, or the rest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Default)]
#[cfg_attr(feature = "asyncapi", derive(schemars::JsonSchema))]
pub struct Subscribed {
    /// As it was asked for.
    pub channel: String,
    /// Whether entries carry a seq and can be resumed.
    #[serde(default)]
    pub durable: bool,
    /// The channel's head when the subscription began: `{epoch, seq}`. Ephemeral channels have none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub head: Option<Cursor>,
    /// Only with `since`: whether everything after the cursor follows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recovered: Option<bool>,
    /// The first seq that is replayed, and the last; absent if there is nothing to replay.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<u64>,
    /// See `from`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<u64>,
    /// Why not everything follows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<Unrecovered>,
    /// Only if it was asked for: the members, this connection's user among them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub presence: Option<PresenceState>,
    /// The subscription was refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<ErrorBody>,
}

/// Why a resume is not whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "asyncapi", derive(schemars::JsonSchema))]
pub enum Unrecovered {
    /// The store went back in time, or the cursor is from another one: what the client holds may be wrong.
    Epoch,
    /// The history no longer holds the entries after the cursor; what it still holds is replayed.
    Expired,
    /// More was missed than a replay may hold; nothing is replayed.
    TooFar,
    /// An ephemeral channel keeps nothing.
    Ephemeral,
    /// A reason that this build does not know.
    #[serde(other)]
    #[cfg_attr(feature = "asyncapi", schemars(skip))]
    Other,
}

/// One channel of `unsubscribe`'s result.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "asyncapi", derive(schemars::JsonSchema))]
pub struct UnsubscribedChannel {
    /// As it was asked for.
    pub channel: String,
    /// There was no such subscription.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<ErrorBody>,
}

/// The result of `publish`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "asyncapi", derive(schemars::JsonSchema))]
pub struct Published {
    /// The message's id: the publisher's own, or the server's.
    pub message_id: MessageId,
    /// The entry's place; absent in an ephemeral channel.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub epoch: Option<u64>,
    /// See `epoch`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seq: Option<u64>,
    /// When the server took it, in Unix milliseconds.
    pub time: u64,
    /// The message had been published before: this is the first answer again.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub duplicate: bool,
}

/// The result of `history`, as a client reads it.
#[derive(Debug, Clone, PartialEq)]
#[cfg_attr(feature = "asyncapi", derive(schemars::JsonSchema))]
pub struct HistoryPage {
    /// Oldest first.
    pub entries: Vec<Entry>,
    /// The channel's head.
    pub head: Cursor,
    /// The oldest seq that the history still holds; `head.seq + 1` if it holds none.
    pub first: u64,
    /// More entries lie in the direction asked for.
    pub more: bool,
}

/// The result of `ping`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "asyncapi", derive(schemars::JsonSchema))]
pub struct Pong {
    /// The server's clock, in Unix milliseconds.
    pub time: u64,
}
