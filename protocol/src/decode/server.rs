//! Frames from a server, as a client reads them.

use std::sync::Arc;

use bytes::Bytes;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::{Codec, DecodeError, Fields, reader::Reader};
use crate::{
    Cursor, Entry, Format, Kind, Place, Retry,
    frame::{
        Disconnect, ErrorBody, Head, HistoryPage, Member, PresenceChange, PresenceState, RawResult, ServerFrame, Skip, SkipRange,
        Subscribed,
    },
    json::Json,
    limits::{MAX_FRAME, MAX_INTEGER, MAX_MEMBERS},
    msgpack::Msgpack,
};

/// Cuts the next frame off `input`; `None` at the end.
pub(super) fn frame<'a, C: Codec<'a>>(format: Format, input: &mut C::Input) -> Result<Option<ServerFrame>, DecodeError> {
    let Some((frame, kind)) = Reader::<'a, C>::next(input)? else { return Ok(None) };
    Ok(Some(match &*kind {
        "reply" => {
            let raw = frame.fields.result.ok_or(frame.bad("`result` is missing"))?;
            ServerFrame::Reply { id: frame.id()?, result: RawResult { format, bytes: Bytes::copy_from_slice(C::bytes(raw)) } }
        }
        "error" => ServerFrame::Error { id: frame.optional_id()?, error: error_body(&frame)? },
        "entry" => ServerFrame::Entry(entry(&frame)?),
        "skip" => ServerFrame::Skip(skip(&frame)?),
        "heads" => ServerFrame::Heads { time: frame.required_integer(frame.fields.time, "`time`")?, channels: heads(&frame)? },
        "presence" => ServerFrame::Presence(presence(&frame)?),
        "subscribed" => ServerFrame::Subscribed(Box::new(subscribed(&frame)?)),
        "unsubscribed" => ServerFrame::Unsubscribed { channel: frame.channel()?, error: error_body(&frame)? },
        "disconnect" => ServerFrame::Disconnect(disconnect(&frame)?),
        _ => ServerFrame::Unknown,
    }))
}

fn error_body<'a, C: Codec<'a>>(frame: &Reader<'a, C>) -> Result<ErrorBody, DecodeError> {
    let fields = &frame.fields;
    Ok(ErrorBody {
        code: frame.required_text(fields.code, "`code`")?.into(),
        message: frame.text(fields.message, "`message`")?.unwrap_or_default().into(),
        retry: frame.choice(fields.retry, "`retry`")?.unwrap_or(Retry::Never),
        retry_after: frame.integer(fields.retry_after, MAX_INTEGER, "`retry_after`")?,
    })
}

fn entry<'a, C: Codec<'a>>(frame: &Reader<'a, C>) -> Result<Entry, DecodeError> {
    let fields = &frame.fields;
    let place = match frame.integer(fields.seq, MAX_INTEGER, "`seq`")? {
        Some(seq) => Some(Place {
            seq,
            epoch: frame.required_integer(fields.epoch, "`epoch`")?,
            ordinal: frame.integer(fields.ordinal, MAX_INTEGER, "`ordinal`")?.unwrap_or(0),
        }),
        None => None,
    };
    Ok(Entry {
        channel: frame.channel()?,
        place,
        kind: frame.text(fields.entry_kind, "`kind`")?.map_or(Kind::Message, |kind| Kind::parse(&kind)),
        refers: frame.integer(fields.refers, MAX_INTEGER, "`ref`")?,
        message_id: frame.message_id()?,
        publisher: Arc::from(&*frame.required_text(fields.publisher, "`publisher`")?),
        key: frame.key()?,
        time: frame.required_integer(fields.time, "`time`")?,
        payload: frame.payload(MAX_FRAME)?,
    })
}

fn skip<'a, C: Codec<'a>>(frame: &Reader<'a, C>) -> Result<Skip, DecodeError> {
    let fields = &frame.fields;
    let range = match frame.integer(fields.to, MAX_INTEGER, "`to`")? {
        Some(to) => Some(SkipRange {
            epoch: frame.required_integer(fields.epoch, "`epoch`")?,
            from: frame.required_integer(fields.from, "`from`")?,
            to,
        }),
        None => None,
    };
    Ok(Skip {
        channel: frame.channel()?,
        range,
        count: frame.required_integer(fields.count, "`count`")?,
        reason: frame.choice(fields.reason, "`reason`")?.ok_or(frame.bad("`reason`"))?,
    })
}

fn heads<'a, C: Codec<'a>>(frame: &Reader<'a, C>) -> Result<Vec<Head>, DecodeError> {
    const CHANNELS: &str = "`channels`";
    let head = |item| {
        let item = frame.inside(item, CHANNELS)?;
        Ok(Head { channel: item.channel()?, cursor: item.cursor(CHANNELS)? })
    };
    frame.items(frame.fields.channels, usize::MAX, CHANNELS)?.into_iter().map(head).collect()
}

fn presence<'a, C: Codec<'a>>(frame: &Reader<'a, C>) -> Result<PresenceChange, DecodeError> {
    const LEFT: &str = "`left`";
    let fields = &frame.fields;
    let left = match fields.left.filter(|raw| !C::is_null(*raw)) {
        Some(raw) => frame.items(Some(raw), MAX_MEMBERS, LEFT)?,
        None => Vec::new(),
    };
    Ok(PresenceChange {
        left: left.into_iter().map(|user| Ok(frame.required_text(Some(user), LEFT)?.into())).collect::<Result<_, _>>()?,
        joined: members(frame, fields.joined, "`joined`")?.unwrap_or_default(),
        members: members(frame, fields.members, "`members`")?,
        channel: frame.channel()?,
        count: frame.required_integer(fields.count, "`count`")?,
    })
}

fn members<'a, C: Codec<'a>>(
    frame: &Reader<'a, C>,
    list: Option<C::Raw>,
    detail: &'static str,
) -> Result<Option<Vec<Member>>, DecodeError> {
    let Some(list) = list.filter(|raw| !C::is_null(*raw)) else { return Ok(None) };
    let member = |item| {
        let item = frame.inside(item, detail)?;
        let connections = item.integer(item.fields.connections, u32::MAX.into(), detail)?.ok_or(item.bad(detail))?;
        Ok(Member { user: item.required_text(item.fields.user, detail)?.into(), connections: connections as u32 })
    };
    frame.items(Some(list), MAX_MEMBERS, detail)?.into_iter().map(member).collect::<Result<_, _>>().map(Some)
}

fn subscribed<'a, C: Codec<'a>>(frame: &Reader<'a, C>) -> Result<Subscribed, DecodeError> {
    let fields = &frame.fields;
    let channel = frame.required_text(fields.channel, "`channel`")?.into();
    if let Some(raw) = fields.error.filter(|raw| !C::is_null(*raw)) {
        let error = Some(error_body(&frame.inside(raw, "`error`")?)?);
        return Ok(Subscribed { channel, error, ..Subscribed::default() });
    }
    let head = match fields.head.filter(|raw| !C::is_null(*raw)) {
        Some(raw) => Some(frame.inside(raw, "`head`")?.cursor("`head`")?),
        None => None,
    };
    let presence = match fields.presence.filter(|raw| !C::is_null(*raw)) {
        Some(raw) => {
            let state = frame.inside(raw, "`presence`")?;
            let count = state.required_integer(state.fields.count, "`presence`")?;
            Some(PresenceState { count, members: members(&state, state.fields.members, "`presence`")? })
        }
        None => None,
    };
    Ok(Subscribed {
        channel,
        durable: frame.choice(fields.durable, "`durable`")?.unwrap_or(false),
        head,
        recovered: frame.choice(fields.recovered, "`recovered`")?,
        from: frame.integer(fields.from, MAX_INTEGER, "`from`")?,
        to: frame.integer(fields.to, MAX_INTEGER, "`to`")?,
        reason: frame.choice(fields.reason, "`reason`")?,
        presence,
        error: None,
    })
}

fn disconnect<'a, C: Codec<'a>>(frame: &Reader<'a, C>) -> Result<Disconnect, DecodeError> {
    let fields = &frame.fields;
    let code = frame.integer(fields.code, u16::MAX.into(), "`code`")?.ok_or(frame.bad("`code`"))?;
    Ok(Disconnect {
        code: code as u16,
        reason: frame.text(fields.reason, "`reason`")?.unwrap_or_default().into(),
        retry: frame.choice(fields.retry, "`retry`")?.unwrap_or(Retry::Later),
        reconnect_after: frame.integer(fields.reconnect_after, MAX_INTEGER, "`reconnect_after`")?,
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

fn raw_json(bytes: &[u8]) -> Option<&RawValue> {
    serde_json::from_slice(bytes).ok()
}

fn history<'a, C: Codec<'a>>(raw: C::Raw) -> Option<HistoryPage> {
    #[derive(Deserialize)]
    struct Rest {
        head: Cursor,
        first: u64,
        more: bool,
    }
    let Rest { head, first, more } = C::read(raw)?;
    let fields: Fields<C::Raw> = C::fields(raw)?;
    let items = C::items(fields.entries?, usize::MAX).ok()?;
    let entries = items.into_iter().map(|item| entry(&Reader::<'a, C> { fields: C::fields(item)?, request: None }).ok());
    Some(HistoryPage { entries: entries.collect::<Option<_>>()?, head, first, more })
}
