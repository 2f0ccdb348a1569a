//! What the frame builders need of a format, and a frame's fields before they are read.

use std::borrow::Cow;

use bytes::Bytes;
use serde::Deserialize;

use crate::transcode::PayloadError;

/// Where the next frame ends cannot be told.
#[derive(Debug)]
pub(crate) struct Scan;

/// One value of a message.
pub(crate) enum Frame<R> {
    Map(Fields<R>),
    /// Well-formed, but not a frame.
    NotAMap,
}

/// Why a value's items are not handed out.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum NotItems {
    NotAnArray,
    TooMany,
}

/// What the builders need of a format.
pub(crate) trait Codec<'a> {
    /// The rest of a message.
    type Input;
    /// A value, still encoded.
    type Raw: Copy;

    /// Cuts the next frame off `input`; `None` at the end.
    fn next(input: &mut Self::Input) -> Result<Option<Frame<Self::Raw>>, Scan>;
    /// A map's values by name; `None` if it is not a map.
    fn fields(raw: Self::Raw) -> Option<Fields<Self::Raw>>;
    /// An array's values, at most `max` of them.
    fn items(raw: Self::Raw, max: usize) -> Result<Vec<Self::Raw>, NotItems>;
    /// Whether it counts as absent.
    fn is_null(raw: Self::Raw) -> bool;
    /// A string, borrowed where the format allows it.
    fn text(raw: Self::Raw) -> Option<Cow<'a, str>>;
    /// An unsigned integer.
    fn integer(raw: Self::Raw) -> Option<u64>;
    /// A typed value.
    fn read<T: Deserialize<'a>>(raw: Self::Raw) -> Option<T>;
    /// The encoded bytes.
    fn bytes(raw: Self::Raw) -> &'a [u8];
    /// A copy as checked MessagePack of at most `max` bytes.
    fn payload(raw: Self::Raw, max: usize) -> Result<Bytes, PayloadError>;
}

macro_rules! fields {
    ($($field:ident = $name:literal,)*) => {
        /// A map's fields by name, not yet read. Unknown names are dropped; of two equal names the last counts.
        pub(crate) struct Fields<R> { $(pub(crate) $field: Option<R>,)* }

        impl<R> Default for Fields<R> {
            fn default() -> Self { Self { $($field: None,)* } }
        }

        impl<R> Fields<R> {
            pub(crate) fn set(&mut self, name: &str, value: R) {
                match name { $($name => self.$field = Some(value),)* _ => {} }
            }
        }
    };
}

fields! {
    kind = "type", id = "id", token = "token", client = "client", channel = "channel", channels = "channels",
    since = "since", slow = "slow", message_id = "message_id", key = "key", payload = "payload", after = "after",
    before = "before", limit = "limit", result = "result", code = "code", message = "message", retry = "retry",
    retry_after = "retry_after", epoch = "epoch", seq = "seq", ordinal = "ordinal", entry_kind = "kind", refers = "ref",
    publisher = "publisher", time = "time", entries = "entries", from = "from", to = "to", count = "count",
    reason = "reason", reconnect_after = "reconnect_after", presence = "presence", user = "user",
    connections = "connections", joined = "joined", left = "left", members = "members", auto = "auto", durable = "durable",
    head = "head", recovered = "recovered", error = "error",
}
