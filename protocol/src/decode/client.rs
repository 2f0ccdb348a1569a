//! Frames from a client, as a server reads them.

use super::{Codec, DecodeError, reader::Reader};
use crate::{
    ErrorCode,
    frame::{Auto, ClientFrame, Connect, History, PresenceRequest, Publish, Since, Slow, SubscribeChannel},
    limits::{MAX_CHANNELS, MAX_CLIENT, MAX_INTEGER, MAX_PRESENCE_PAGE, MAX_TOKEN, MAX_USER},
};

/// Cuts the next frame off `input`; `None` at the end.
pub(super) fn frame<'a, C: Codec<'a>>(input: &mut C::Input, max_payload: usize) -> Result<Option<ClientFrame>, DecodeError> {
    let Some((frame, kind)) = Reader::<'a, C>::next(input)? else { return Ok(None) };
    Ok(Some(match &*kind {
        "connect" => ClientFrame::Connect(connect(&frame)?),
        "refresh" => {
            let token = token(&frame)?.ok_or(frame.bad("`token` is missing"))?;
            ClientFrame::Refresh { id: frame.id()?, token }
        }
        "subscribe" => ClientFrame::Subscribe { id: frame.id()?, channels: subscribe_channels(&frame)? },
        "unsubscribe" => ClientFrame::Unsubscribe { id: frame.id()?, channels: unsubscribe_channels(&frame)? },
        "publish" => ClientFrame::Publish(Publish {
            id: frame.optional_id()?,
            channel: frame.channel()?,
            message_id: frame.message_id()?,
            key: frame.key()?,
            payload: frame.payload(max_payload)?,
        }),
        "history" => ClientFrame::History(history(&frame)?),
        "presence" => ClientFrame::Presence(presence(&frame)?),
        "ping" => ClientFrame::Ping { id: frame.id()? },
        _ => return Err(frame.error(ErrorCode::UnknownFrame, "this server does not know frames of this type")),
    }))
}

fn connect<'a, C: Codec<'a>>(frame: &Reader<'a, C>) -> Result<Connect, DecodeError> {
    const CLIENT: &str = "`client` is not a string of at most 128 bytes";
    let client = frame.text(frame.fields.client, CLIENT)?;
    if client.as_ref().is_some_and(|client| client.len() > MAX_CLIENT) {
        return Err(frame.bad(CLIENT));
    }
    Ok(Connect { id: frame.id()?, token: token(frame)?, client: client.map(Into::into), auto: auto(frame)? })
}

fn auto<'a, C: Codec<'a>>(frame: &Reader<'a, C>) -> Result<Option<Auto>, DecodeError> {
    const AUTO: &str = "`auto` is not {since?: [at most 512 {channel, epoch?, seq}], slow?: close | latest, presence?: boolean}";
    let Some(raw) = frame.fields.auto.filter(|raw| !C::is_null(*raw)) else { return Ok(None) };
    let auto = frame.inside(raw, AUTO)?;
    let since = match auto.fields.since.filter(|raw| !C::is_null(*raw)) {
        Some(raw) => auto.items(Some(raw), MAX_CHANNELS, AUTO)?,
        None => Vec::new(),
    };
    let since = since.into_iter().map(|item| {
        let item = auto.inside(item, AUTO)?;
        Ok(Since { channel: item.required_text(item.fields.channel, AUTO)?.into(), cursor: item.cursor(AUTO)? })
    });
    Ok(Some(Auto {
        since: since.collect::<Result<_, _>>()?,
        slow: slow(&auto, AUTO)?,
        presence: auto.choice(auto.fields.presence, AUTO)?.unwrap_or(false),
    }))
}

fn token<'a, C: Codec<'a>>(frame: &Reader<'a, C>) -> Result<Option<String>, DecodeError> {
    const TOKEN: &str = "`token` is not a string of at most 16 KiB";
    let token = frame.text(frame.fields.token, TOKEN)?;
    if token.as_ref().is_some_and(|token| token.len() > MAX_TOKEN) {
        return Err(frame.bad(TOKEN));
    }
    Ok(token.map(Into::into))
}

fn subscribe_channels<'a, C: Codec<'a>>(frame: &Reader<'a, C>) -> Result<Vec<SubscribeChannel>, DecodeError> {
    const CHANNELS: &str =
        "`channels` is not an array of at most 512 {channel, since?: {epoch, seq}, slow?: close | latest, presence?: boolean}";
    let items = frame.items(frame.fields.channels, MAX_CHANNELS, CHANNELS)?;
    items.into_iter().map(|item| subscribe_channel(&frame.inside(item, CHANNELS)?, CHANNELS)).collect()
}

fn subscribe_channel<'a, C: Codec<'a>>(item: &Reader<'a, C>, detail: &'static str) -> Result<SubscribeChannel, DecodeError> {
    let since = match item.fields.since {
        Some(raw) if !C::is_null(raw) => Some(item.inside(raw, detail)?.cursor(detail)?),
        _ => None,
    };
    let slow = slow(item, detail)?;
    let presence = item.choice(item.fields.presence, detail)?.unwrap_or(false);
    Ok(SubscribeChannel { channel: item.required_text(item.fields.channel, detail)?.into(), since, slow, presence })
}

fn slow<'a, C: Codec<'a>>(item: &Reader<'a, C>, detail: &'static str) -> Result<Option<Slow>, DecodeError> {
    match item.text(item.fields.slow, detail)?.as_deref() {
        None => Ok(None),
        Some("close") => Ok(Some(Slow::Close)),
        Some("latest") => Ok(Some(Slow::Latest)),
        Some(_) => Err(item.bad(detail)),
    }
}

fn unsubscribe_channels<'a, C: Codec<'a>>(frame: &Reader<'a, C>) -> Result<Vec<String>, DecodeError> {
    const CHANNELS: &str = "`channels` is not an array of at most 512 strings";
    let items = frame.items(frame.fields.channels, MAX_CHANNELS, CHANNELS)?;
    items.into_iter().map(|item| Ok(frame.required_text(Some(item), CHANNELS)?.into())).collect()
}

fn history<'a, C: Codec<'a>>(frame: &Reader<'a, C>) -> Result<History, DecodeError> {
    let fields = &frame.fields;
    let limit = frame.integer(fields.limit, u32::MAX.into(), "`limit` is not an unsigned 32-bit integer")?;
    Ok(History {
        id: frame.id()?,
        channel: frame.channel()?,
        after: frame.integer(fields.after, MAX_INTEGER, "`after` is not an unsigned integer below 2^53")?,
        before: frame.integer(fields.before, MAX_INTEGER, "`before` is not an unsigned integer below 2^53")?,
        limit: limit.map(|limit| limit as u32),
    })
}

fn presence<'a, C: Codec<'a>>(frame: &Reader<'a, C>) -> Result<PresenceRequest, DecodeError> {
    const AFTER: &str = "`after` is not a string of at most 128 bytes";
    const LIMIT: &str = "`limit` is not between 1 and 1000";
    let after = frame.text(frame.fields.after, AFTER)?;
    if after.as_ref().is_some_and(|after| after.len() > MAX_USER) {
        return Err(frame.bad(AFTER));
    }
    let limit = frame.integer(frame.fields.limit, MAX_PRESENCE_PAGE.into(), LIMIT)?;
    if limit == Some(0) {
        return Err(frame.error(ErrorCode::OutOfRange, LIMIT));
    }
    Ok(PresenceRequest { id: frame.id()?, channel: frame.channel()?, after: after.map(Into::into), limit: limit.map(|limit| limit as u32) })
}
