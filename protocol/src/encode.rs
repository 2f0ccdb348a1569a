//! Frames to bytes: each frame is written once, for either format, by the same lines.

use serde::Serialize;

use crate::{
    Entry, Format, Kind,
    frame::*,
    msgpack::{infallible, write_str},
    transcode::append_json,
};

/// Writes one map, field by field. At most 15 fields: a frame is a small map.
struct Map<'o> {
    out: &'o mut Vec<u8>,
    format: Format,
    start: usize,
    count: u8,
}

impl<'o> Map<'o> {
    fn new(format: Format, out: &'o mut Vec<u8>) -> Self {
        let start = out.len();
        out.push(match format {
            Format::Msgpack => 0x80,
            Format::Json => b'{',
        });
        Self { out, format, start, count: 0 }
    }

    /// Starts a frame of type `kind`.
    fn frame(format: Format, kind: &str, out: &'o mut Vec<u8>) -> Self {
        Self::new(format, out).str("type", kind)
    }

    fn name(&mut self, name: &str) {
        debug_assert!(self.count < 15);
        match self.format {
            Format::Msgpack => write_str(self.out, name),
            Format::Json => {
                if self.count > 0 {
                    self.out.push(b',');
                }
                self.out.push(b'"');
                self.out.extend_from_slice(name.as_bytes());
                self.out.extend_from_slice(b"\":");
            }
        }
        self.count += 1;
    }

    fn str(mut self, name: &str, value: &str) -> Self {
        self.name(name);
        match self.format {
            Format::Msgpack => write_str(self.out, value),
            Format::Json => infallible(serde_json::to_writer(&mut *self.out, value)),
        }
        self
    }

    fn uint(mut self, name: &str, value: u64) -> Self {
        self.name(name);
        match self.format {
            Format::Msgpack => {
                infallible(rmp::encode::write_uint(self.out, value));
            }
            Format::Json => infallible(serde_json::to_writer(&mut *self.out, &value)),
        }
        self
    }

    fn value<T: Serialize>(mut self, name: &str, value: &T) -> Self {
        self.name(name);
        write_value(self.format, value, self.out);
        self
    }

    /// A payload, which is kept as MessagePack.
    fn payload(mut self, payload: &[u8]) -> Self {
        self.name("payload");
        match self.format {
            Format::Msgpack => self.out.extend_from_slice(payload),
            // A payload is checked when it is taken: it always has a form in JSON.
            Format::Json => append_json(payload, self.out).unwrap_or_else(|_| self.out.extend_from_slice(b"null")),
        }
        self
    }

    fn raw(mut self, name: &str, write: impl FnOnce(&mut Vec<u8>)) -> Self {
        self.name(name);
        write(self.out);
        self
    }

    fn array<T>(mut self, name: &str, items: impl ExactSizeIterator<Item = T>, write: impl Fn(T, &mut Vec<u8>)) -> Self {
        self.name(name);
        match self.format {
            Format::Msgpack => {
                infallible(rmp::encode::write_array_len(self.out, items.len() as u32));
                items.for_each(|item| write(item, self.out));
            }
            Format::Json => {
                self.out.push(b'[');
                for (at, item) in items.enumerate() {
                    if at > 0 {
                        self.out.push(b',');
                    }
                    write(item, self.out);
                }
                self.out.push(b']');
            }
        }
        self
    }

    fn maybe<T>(self, value: Option<T>, write: impl FnOnce(Self, T) -> Self) -> Self {
        match value {
            Some(value) => write(self, value),
            None => self,
        }
    }

    fn error(self, error: &ErrorBody) -> Self {
        self.str("code", &error.code)
            .str("message", &error.message)
            .value("retry", &error.retry)
            .maybe(error.retry_after, |map, ms| map.uint("retry_after", ms))
    }

    fn end(self) {
        match self.format {
            Format::Msgpack => self.out[self.start] |= self.count,
            Format::Json => self.out.push(b'}'),
        }
    }
}

fn write_value<T: Serialize>(format: Format, value: &T, out: &mut Vec<u8>) {
    match format {
        Format::Msgpack => infallible(value.serialize(&mut rmp_serde::Serializer::new(out).with_struct_map())),
        Format::Json => infallible(serde_json::to_writer(out, value)),
    }
}

/// A list that is absent if it is empty.
fn present<T>(list: &Vec<T>) -> Option<&Vec<T>> {
    (!list.is_empty()).then_some(list)
}

impl ClientFrame {
    /// Appends the frame to `out`.
    pub fn encode(&self, format: Format, out: &mut Vec<u8>) {
        match self {
            ClientFrame::Connect(connect) => Map::frame(format, self.type_name(), out)
                .uint("id", connect.id.into())
                .maybe(connect.token.as_deref(), |map, token| map.str("token", token))
                .maybe(connect.client.as_deref(), |map, client| map.str("client", client))
                .maybe(connect.auto.as_ref(), |map, auto| map.value("auto", auto))
                .end(),
            ClientFrame::Refresh { id, token } => {
                Map::frame(format, self.type_name(), out).uint("id", (*id).into()).str("token", token).end()
            }
            ClientFrame::Subscribe { id, channels } => {
                Map::frame(format, self.type_name(), out).uint("id", (*id).into()).value("channels", channels).end()
            }
            ClientFrame::Unsubscribe { id, channels } => {
                Map::frame(format, self.type_name(), out).uint("id", (*id).into()).value("channels", channels).end()
            }
            ClientFrame::Publish(publish) => Map::frame(format, self.type_name(), out)
                .maybe(publish.id, |map, id| map.uint("id", id.into()))
                .str("channel", publish.channel.as_str())
                .maybe(publish.message_id, |map, id| map.value("message_id", &id))
                .maybe(publish.key.as_ref(), |map, key| map.str("key", key.as_str()))
                .payload(&publish.payload)
                .end(),
            ClientFrame::History(history) => Map::frame(format, self.type_name(), out)
                .uint("id", history.id.into())
                .str("channel", history.channel.as_str())
                .maybe(history.after, |map, after| map.uint("after", after))
                .maybe(history.before, |map, before| map.uint("before", before))
                .maybe(history.limit, |map, limit| map.uint("limit", limit.into()))
                .end(),
            ClientFrame::Presence(presence) => Map::frame(format, self.type_name(), out)
                .uint("id", presence.id.into())
                .str("channel", presence.channel.as_str())
                .maybe(presence.after.as_deref(), |map, after| map.str("after", after))
                .maybe(presence.limit, |map, limit| map.uint("limit", limit.into()))
                .end(),
            ClientFrame::Ping { id } => Map::frame(format, self.type_name(), out).uint("id", (*id).into()).end(),
        }
    }
}

/// Appends a `reply` with a serializable result.
pub fn reply<T: Serialize>(format: Format, id: RequestId, result: &T, out: &mut Vec<u8>) {
    Map::frame(format, "reply", out).uint("id", id.into()).value("result", result).end();
}

/// Appends the `reply` to `history`.
pub fn history_reply<'e>(
    format: Format,
    id: RequestId,
    page: HistoryRest,
    entries: impl ExactSizeIterator<Item = &'e Entry>,
    out: &mut Vec<u8>,
) {
    Map::frame(format, "reply", out).uint("id", id.into()).raw("result", |out| history_page(format, page, entries, out)).end();
}

/// What a history page says beside its entries.
#[derive(Debug, Clone, Copy)]
pub struct HistoryRest {
    /// The channel's head.
    pub head: crate::Cursor,
    /// The oldest seq that the history still holds.
    pub first: u64,
    /// More entries lie in the direction asked for.
    pub more: bool,
}

/// Appends a page of history as a map.
pub fn history_page<'e>(format: Format, page: HistoryRest, entries: impl ExactSizeIterator<Item = &'e Entry>, out: &mut Vec<u8>) {
    Map::new(format, out)
        .value("head", &page.head)
        .uint("first", page.first)
        .value("more", &page.more)
        .array("entries", entries, |entry, out| entry.encode(format, out))
        .end();
}

/// About what an entry takes beside its payload, in bytes: room made at once instead of by doubling.
const ENTRY_HEAD: usize = 256;

impl Entry {
    /// Appends the entry as an `entry` frame.
    pub fn encode(&self, format: Format, out: &mut Vec<u8>) {
        out.reserve(ENTRY_HEAD + self.payload.len());
        Map::frame(format, "entry", out)
            .str("channel", self.channel.as_str())
            .maybe(self.place, |map, place| map.uint("epoch", place.epoch).uint("seq", place.seq).uint("ordinal", place.ordinal))
            .maybe((self.kind != Kind::Message).then_some(self.kind), |map, kind| map.str("kind", kind.as_str()))
            .maybe(self.refers, |map, seq| map.uint("ref", seq))
            .maybe(self.message_id, |map, id| map.value("message_id", &id))
            .str("publisher", &self.publisher)
            .maybe(self.key.as_ref(), |map, key| map.str("key", key.as_str()))
            .uint("time", self.time)
            .payload(&self.payload)
            .end();
    }
}

impl Subscribed {
    /// Appends it as a `subscribed` frame.
    pub fn encode(&self, format: Format, out: &mut Vec<u8>) {
        let map = Map::frame(format, "subscribed", out).str("channel", &self.channel);
        match &self.error {
            Some(error) => map.value("error", error).end(),
            None => map
                .value("durable", &self.durable)
                .maybe(self.head.as_ref(), |map, head| map.value("head", head))
                .maybe(self.recovered.as_ref(), |map, recovered| map.value("recovered", recovered))
                .maybe(self.from, |map, from| map.uint("from", from))
                .maybe(self.to, |map, to| map.uint("to", to))
                .maybe(self.reason.as_ref(), |map, reason| map.value("reason", reason))
                .maybe(self.presence.as_ref(), |map, presence| map.value("presence", presence))
                .end(),
        }
    }
}

impl ServerFrame {
    /// Appends the frame to `out`. A server writes replies and entries by [`reply`] and [`Entry::encode`].
    pub fn encode(&self, format: Format, out: &mut Vec<u8>) {
        match self {
            ServerFrame::Reply { id, result } => {
                debug_assert_eq!(result.format, format);
                Map::frame(format, "reply", out).uint("id", (*id).into()).raw("result", |out| out.extend_from_slice(&result.bytes)).end();
            }
            ServerFrame::Error { id, error } => {
                Map::frame(format, "error", out).maybe(*id, |map, id| map.uint("id", id.into())).error(error).end()
            }
            ServerFrame::Entry(entry) => entry.encode(format, out),
            ServerFrame::Skip(skip) => Map::frame(format, "skip", out)
                .str("channel", skip.channel.as_str())
                .maybe(skip.range, |map, range| map.uint("epoch", range.epoch).uint("from", range.from).uint("to", range.to))
                .uint("count", skip.count)
                .str("reason", skip.reason.as_str())
                .end(),
            ServerFrame::Heads { time, channels } => Map::frame(format, "heads", out)
                .uint("time", *time)
                .array("channels", channels.iter(), |head, out| {
                    Map::new(format, out)
                        .str("channel", head.channel.as_str())
                        .uint("epoch", head.cursor.epoch)
                        .uint("seq", head.cursor.seq)
                        .end();
                })
                .end(),
            ServerFrame::Presence(change) => Map::frame(format, "presence", out)
                .str("channel", change.channel.as_str())
                .uint("count", change.count)
                .maybe(present(&change.joined), |map, joined| map.value("joined", joined))
                .maybe(present(&change.left), |map, left| map.value("left", left))
                .maybe(change.members.as_ref(), |map, members| map.value("members", members))
                .end(),
            ServerFrame::Subscribed(subscribed) => subscribed.encode(format, out),
            ServerFrame::Unsubscribed { channel, error } => {
                Map::frame(format, "unsubscribed", out).str("channel", channel.as_str()).error(error).end()
            }
            ServerFrame::Disconnect(disconnect) => Map::frame(format, "disconnect", out)
                .uint("code", disconnect.code.into())
                .str("reason", &disconnect.reason)
                .value("retry", &disconnect.retry)
                .maybe(disconnect.reconnect_after, |map, ms| map.uint("reconnect_after", ms))
                .end(),
            ServerFrame::Unknown => Map::frame(format, "unknown", out).end(),
        }
    }
}
