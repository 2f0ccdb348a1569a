//! Bytes to frames: one builder over both codecs.
//!
//! A message is cut into frames, a frame into raw fields by name; only then is each field that the frame's type wants
//! read. So an unknown field costs a scan, an unknown type still tells its request's id, and a payload is never built.

use std::{borrow::Cow, sync::Arc};

use bytes::Bytes;
use serde::Deserialize;
use thiserror::Error;

use crate::{
    ChannelName, CloseCode, Cursor, Entry, ErrorCode, Format, Key, Kind, MessageId, Place, Retry,
    frame::*,
    json::{self, Json},
    limits,
    msgpack::Msgpack,
    transcode::PayloadError,
};

/// Why a frame was refused.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum DecodeError {
    /// This frame is refused; the next one is read as if nothing had happened.
    #[error("{code:?}: {detail}", code = .code.as_str())]
    Frame {
        /// The request, if the frame told; answer it.
        id: Option<RequestId>,
        /// Why.
        code: ErrorCode,
        /// For people.
        detail: &'static str,
    },
    /// Nothing after this can be read: close the connection.
    #[error("{}", .0.reason())]
    Fatal(CloseCode),
}

/// Where the next frame ends cannot be told.
#[derive(Debug)]
pub(crate) struct Scan;

/// What the builder needs of a format.
pub(crate) trait Codec<'a> {
    /// A value, still encoded.
    type Raw: Copy;

    /// Cuts the next value off `input`; `None` at the end.
    fn next(input: &mut &'a [u8]) -> Result<Option<Self::Raw>, Scan>;
    /// A map's values by name; `None` if it is not a map.
    fn fields(frame: Self::Raw) -> Option<Fields<Self::Raw>>;
    /// A typed value.
    fn read<T: Deserialize<'a>>(raw: Self::Raw) -> Option<T>;
    /// An array's values.
    fn items(raw: Self::Raw) -> Option<Vec<Self::Raw>>;
    /// The encoded bytes.
    fn bytes(raw: Self::Raw) -> &'a [u8];
    /// A copy as checked MessagePack of at most `max` bytes.
    fn payload(raw: Self::Raw, max: usize) -> Result<Bytes, PayloadError>;
}

macro_rules! fields {
    ($($field:ident = $name:literal,)*) => {
        /// A frame's fields by name, not yet read. Unknown names are dropped; of two equal names the last counts.
        pub(crate) struct Fields<R> { $($field: Option<R>,)* }

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
    message_id = "message_id", key = "key", payload = "payload", after = "after", before = "before", limit = "limit",
    result = "result", code = "code", message = "message", retry = "retry", retry_after = "retry_after",
    epoch = "epoch", seq = "seq", ordinal = "ordinal", entry_kind = "kind", publisher = "publisher", time = "time",
    entries = "entries", from = "from", to = "to", count = "count", reason = "reason", reconnect_after = "reconnect_after",
}

/// The frames of one message from a client. Ends after the first fatal error.
pub struct ClientFrames<'a> {
    format: Format,
    rest: &'a [u8],
    max_payload: usize,
    count: usize,
    done: bool,
}

impl<'a> ClientFrames<'a> {
    /// Reads `message`; payloads of more than `max_payload` bytes are refused.
    pub fn new(format: Format, message: &'a [u8], max_payload: usize) -> Self {
        Self { format, rest: message, max_payload, count: 0, done: false }
    }

    fn step(&mut self) -> Result<Option<ClientFrame>, DecodeError> {
        if self.count == 0 {
            check_message(self.format, self.rest)?;
        }
        if self.count == limits::MAX_FRAMES && !self.rest.iter().all(u8::is_ascii_whitespace) {
            return Err(DecodeError::Fatal(CloseCode::TooManyFrames));
        }
        self.count += 1;
        match self.format {
            Format::Msgpack => client_frame::<Msgpack>(&mut self.rest, self.max_payload),
            Format::Json => client_frame::<Json>(&mut self.rest, self.max_payload),
        }
    }
}

impl Iterator for ClientFrames<'_> {
    type Item = Result<ClientFrame, DecodeError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.done {
            return None;
        }
        let step = self.step().transpose();
        self.done = matches!(step, None | Some(Err(DecodeError::Fatal(_))));
        step
    }
}

/// The frames of one message from a server.
pub struct ServerFrames<'a> {
    format: Format,
    rest: &'a [u8],
    started: bool,
    done: bool,
}

impl<'a> ServerFrames<'a> {
    /// Reads `message`.
    pub fn new(format: Format, message: &'a [u8]) -> Self {
        Self { format, rest: message, started: false, done: false }
    }

    fn step(&mut self) -> Result<Option<ServerFrame>, DecodeError> {
        if !self.started {
            check_message(self.format, self.rest)?;
            self.started = true;
        }
        match self.format {
            Format::Msgpack => server_frame::<Msgpack>(self.format, &mut self.rest),
            Format::Json => server_frame::<Json>(self.format, &mut self.rest),
        }
    }
}

impl Iterator for ServerFrames<'_> {
    type Item = Result<ServerFrame, DecodeError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.done {
            return None;
        }
        let step = self.step().transpose();
        self.done = matches!(step, None | Some(Err(DecodeError::Fatal(_))));
        step
    }
}

fn check_message(format: Format, message: &[u8]) -> Result<(), DecodeError> {
    match format {
        Format::Msgpack => Ok(()),
        Format::Json => json::check(message).map_err(fatal),
    }
}

fn fatal(_: Scan) -> DecodeError {
    DecodeError::Fatal(CloseCode::Malformed)
}

/// One frame's fields while they are read; knows whom to answer when one is wrong.
struct Reader<'a, C: Codec<'a>> {
    fields: Fields<C::Raw>,
    id: Option<RequestId>,
}

impl<'a, C: Codec<'a>> Reader<'a, C> {
    fn next(input: &mut &'a [u8]) -> Result<Option<(Self, Cow<'a, str>)>, DecodeError> {
        let Some(frame) = C::next(input).map_err(fatal)? else { return Ok(None) };
        let bad = |detail| DecodeError::Frame { id: None, code: ErrorCode::BadFrame, detail };
        let fields = C::fields(frame).ok_or(bad("a frame is a map with string keys"))?;
        let reader = Self { id: fields.id.and_then(C::read), fields };
        let kind = reader.fields.kind.and_then(C::read::<Str>).ok_or(reader.bad("`type` is missing or not a string"))?;
        Ok(Some((reader, kind.0)))
    }

    fn error(&self, code: ErrorCode, detail: &'static str) -> DecodeError {
        DecodeError::Frame { id: self.id, code, detail }
    }

    fn bad(&self, detail: &'static str) -> DecodeError {
        self.error(ErrorCode::BadFrame, detail)
    }

    fn id(&self) -> Result<RequestId, DecodeError> {
        self.id.ok_or(self.bad("`id` is missing or not an unsigned 32-bit integer"))
    }

    /// A field that may be absent or null.
    fn optional<T: Deserialize<'a>>(&self, raw: Option<C::Raw>, detail: &'static str) -> Result<Option<T>, DecodeError> {
        raw.map_or(Ok(None), |raw| C::read::<Option<T>>(raw).ok_or(self.bad(detail)))
    }

    fn required<T: Deserialize<'a>>(&self, raw: Option<C::Raw>, detail: &'static str) -> Result<T, DecodeError> {
        raw.and_then(C::read).ok_or(self.bad(detail))
    }

    fn channel(&self) -> Result<ChannelName, DecodeError> {
        let name: Str = self.required(self.fields.channel, "`channel` is missing or not a string")?;
        ChannelName::parse(&name.0)
            .map_err(|_| self.error(ErrorCode::ChannelInvalid, "the channel name is not valid: see section 3 of the specification"))
    }

    fn key(&self) -> Result<Option<Key>, DecodeError> {
        let key: Option<Str> = self.optional(self.fields.key, "`key` is not a string")?;
        key.map(|key| {
            Key::parse(&key.0).map_err(|_| self.error(ErrorCode::KeyInvalid, "a key has 1 to 64 bytes and no control characters"))
        })
        .transpose()
    }

    fn message_id(&self) -> Result<Option<MessageId>, DecodeError> {
        let id: Option<Str> = self.optional(self.fields.message_id, "`message_id` is not a string")?;
        id.map(|id| {
            MessageId::parse(&id.0).ok_or(self.error(ErrorCode::MessageIdInvalid, "`message_id` is not a hyphenated UUID of version 7"))
        })
        .transpose()
    }

    fn payload(&self, max: usize) -> Result<Bytes, DecodeError> {
        let raw = self.fields.payload.ok_or(self.bad("`payload` is missing"))?;
        C::payload(raw, max).map_err(|error| match error {
            PayloadError::TooLarge => self.error(ErrorCode::PayloadTooLarge, "the payload is longer than this server takes"),
            PayloadError::Malformed => self.error(ErrorCode::PayloadInvalid, "the payload is not one whole value"),
            PayloadError::TooDeep => self.error(ErrorCode::PayloadInvalid, "the payload is nested deeper than 32"),
            PayloadError::Extension => {
                self.error(ErrorCode::PayloadInvalid, "the payload holds a MessagePack extension; send binary data instead")
            }
            PayloadError::MapKey => {
                self.error(ErrorCode::PayloadInvalid, "a map in the payload has a key that is neither a string nor an integer")
            }
            PayloadError::Text => self.error(ErrorCode::PayloadInvalid, "a string in the payload is not UTF-8; send binary data instead"),
        })
    }

    fn error_body(&self) -> Result<ErrorBody, DecodeError> {
        Ok(ErrorBody {
            code: self.required(self.fields.code, "`code`")?,
            message: self.optional(self.fields.message, "`message`")?.unwrap_or_default(),
            retry: self.optional(self.fields.retry, "`retry`")?.unwrap_or(Retry::Never),
            retry_after: self.optional(self.fields.retry_after, "`retry_after`")?,
        })
    }
}

/// A string, borrowed where the format allows it.
#[derive(Deserialize)]
struct Str<'a>(#[serde(borrow)] Cow<'a, str>);

fn bounded(text: Option<String>, max: usize) -> Result<Option<String>, ()> {
    if text.as_ref().is_some_and(|text| text.len() > max) { Err(()) } else { Ok(text) }
}

fn client_frame<'a, C: Codec<'a>>(input: &mut &'a [u8], max_payload: usize) -> Result<Option<ClientFrame>, DecodeError> {
    let Some((frame, kind)) = Reader::<'_, C>::next(input)? else { return Ok(None) };
    let fields = &frame.fields;
    let token = |token| bounded(token, limits::MAX_TOKEN).map_err(|()| frame.bad("`token` is longer than 16 KiB"));
    Ok(Some(match &*kind {
        "connect" => ClientFrame::Connect(Connect {
            id: frame.id()?,
            token: token(frame.optional(fields.token, "`token` is not a string")?)?,
            client: bounded(frame.optional(fields.client, "`client` is not a string")?, limits::MAX_CLIENT)
                .map_err(|()| frame.bad("`client` is longer than 128 bytes"))?,
        }),
        "refresh" => ClientFrame::Refresh {
            id: frame.id()?,
            token: token(Some(frame.required(fields.token, "`token` is missing or not a string")?))?.unwrap_or_default(),
        },
        "subscribe" => ClientFrame::Subscribe {
            id: frame.id()?,
            channels: frame
                .required(fields.channels, "`channels` is not an array of {channel, since?: {epoch, seq}, slow?: close | latest}")?,
        },
        "unsubscribe" => ClientFrame::Unsubscribe {
            id: frame.id()?,
            channels: frame.required(fields.channels, "`channels` is not an array of strings")?,
        },
        "publish" => {
            let id = frame.optional(fields.id, "`id` is not an unsigned 32-bit integer")?;
            ClientFrame::Publish(Publish {
                id,
                channel: frame.channel()?,
                message_id: frame.message_id()?,
                key: frame.key()?,
                payload: frame.payload(max_payload)?,
            })
        }
        "history" => ClientFrame::History(History {
            id: frame.id()?,
            channel: frame.channel()?,
            after: frame.optional(fields.after, "`after` is not an unsigned integer")?,
            before: frame.optional(fields.before, "`before` is not an unsigned integer")?,
            limit: frame.optional(fields.limit, "`limit` is not an unsigned integer")?,
        }),
        "ping" => ClientFrame::Ping { id: frame.id()? },
        _ => return Err(frame.error(ErrorCode::UnknownFrame, "this server does not know frames of this type")),
    }))
}

fn server_frame<'a, C: Codec<'a>>(format: Format, input: &mut &'a [u8]) -> Result<Option<ServerFrame>, DecodeError> {
    let Some((frame, kind)) = Reader::<'_, C>::next(input)? else { return Ok(None) };
    let fields = &frame.fields;
    Ok(Some(match &*kind {
        "reply" => {
            let raw = fields.result.ok_or(frame.bad("`result` is missing"))?;
            ServerFrame::Reply { id: frame.id()?, result: RawResult { format, bytes: Bytes::copy_from_slice(C::bytes(raw)) } }
        }
        "error" => ServerFrame::Error { id: frame.id, error: frame.error_body()? },
        "entry" => ServerFrame::Entry(entry(&frame)?),
        "skip" => ServerFrame::Skip(Skip {
            channel: frame.channel()?,
            range: match frame.optional(fields.to, "`to`")? {
                Some(to) => {
                    Some(SkipRange { epoch: frame.required(fields.epoch, "`epoch`")?, from: frame.required(fields.from, "`from`")?, to })
                }
                None => None,
            },
            count: frame.required(fields.count, "`count`")?,
            reason: frame.required(fields.reason, "`reason`")?,
        }),
        "heads" => {
            ServerFrame::Heads { time: frame.required(fields.time, "`time`")?, channels: frame.required(fields.channels, "`channels`")? }
        }
        "unsubscribed" => ServerFrame::Unsubscribed { channel: frame.channel()?, error: frame.error_body()? },
        "disconnect" => ServerFrame::Disconnect(Disconnect {
            code: frame.required(fields.code, "`code`")?,
            reason: frame.optional(fields.reason, "`reason`")?.unwrap_or_default(),
            retry: frame.optional(fields.retry, "`retry`")?.unwrap_or(Retry::Later),
            reconnect_after: frame.optional(fields.reconnect_after, "`reconnect_after`")?,
        }),
        _ => ServerFrame::Unknown,
    }))
}

fn entry<'a, C: Codec<'a>>(frame: &Reader<'a, C>) -> Result<Entry, DecodeError> {
    let fields = &frame.fields;
    let place = match frame.optional(fields.seq, "`seq`")? {
        Some(seq) => Some(Place {
            seq,
            epoch: frame.required(fields.epoch, "`epoch`")?,
            ordinal: frame.optional(fields.ordinal, "`ordinal`")?.unwrap_or(0),
        }),
        None => None,
    };
    let kind: Option<Str> = frame.optional(fields.entry_kind, "`kind`")?;
    let publisher: Str = frame.required(fields.publisher, "`publisher`")?;
    Ok(Entry {
        channel: frame.channel()?,
        place,
        kind: kind.map_or(Kind::Message, |kind| Kind::parse(&kind.0)),
        message_id: frame.message_id()?,
        publisher: Arc::from(&*publisher.0),
        key: frame.key()?,
        time: frame.required(fields.time, "`time`")?,
        payload: frame.payload(limits::MAX_FRAME)?,
    })
}

impl RawResult {
    /// The result as the type that the request's kind has.
    pub fn read<T: for<'a> Deserialize<'a>>(&self) -> Option<T> {
        match self.format {
            Format::Msgpack => Msgpack::read(&self.bytes),
            Format::Json => Json::read(raw_json(&self.bytes)?),
        }
    }

    /// The result of `history`.
    pub fn history(&self) -> Option<HistoryPage> {
        match self.format {
            Format::Msgpack => history::<Msgpack>(&self.bytes),
            Format::Json => history::<Json>(raw_json(&self.bytes)?),
        }
    }
}

fn raw_json(bytes: &[u8]) -> Option<&serde_json::value::RawValue> {
    serde_json::from_slice(bytes).ok()
}

fn history<'a, C: Codec<'a>>(raw: C::Raw) -> Option<HistoryPage> {
    #[derive(Deserialize)]
    struct Rest {
        head: Cursor,
        first: u64,
        more: bool,
    }
    let rest: Rest = C::read(raw)?;
    let mut entries = Vec::new();
    for item in C::items(history_entries::<C>(raw)?)? {
        let fields = C::fields(item)?;
        entries.push(entry(&Reader::<'_, C> { fields, id: None }).ok()?);
    }
    Some(HistoryPage { entries, head: rest.head, first: rest.first, more: rest.more })
}

fn history_entries<'a, C: Codec<'a>>(raw: C::Raw) -> Option<C::Raw> {
    C::fields(raw)?.entries
}
