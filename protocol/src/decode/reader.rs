//! One map's fields, read by type. Each complaint names the request to answer, if the frame told.

use std::borrow::Cow;

use bytes::Bytes;
use serde::Deserialize;

use super::{Codec, DecodeError, Fields, Frame, NotItems, Scan};
use crate::{ChannelName, CloseCode, Cursor, ErrorCode, Key, MessageId, frame::RequestId, limits::MAX_INTEGER, transcode::PayloadError};

/// The fields of a frame, or of a map inside it, while they are read.
pub(super) struct Reader<'a, C: Codec<'a>> {
    pub(super) fields: Fields<C::Raw>,
    /// The request, if the frame told.
    pub(super) request: Option<RequestId>,
}

impl<'a, C: Codec<'a>> Reader<'a, C> {
    /// Cuts the next frame off `input`, and tells its type.
    pub(super) fn next(input: &mut C::Input) -> Result<Option<(Self, Cow<'a, str>)>, DecodeError> {
        let fields = match C::next(input).map_err(|Scan| DecodeError::Fatal(CloseCode::Malformed))? {
            None => return Ok(None),
            Some(Frame::Map(fields)) => fields,
            Some(Frame::NotAMap) => {
                return Err(DecodeError::Frame { id: None, code: ErrorCode::BadFrame, detail: "a frame is a map with string keys" });
            }
        };
        let request = fields.id.and_then(C::integer).and_then(|id| RequestId::try_from(id).ok()).filter(|id| *id > 0);
        let frame = Self { fields, request };
        let kind = frame.required_text(frame.fields.kind, "`type` is missing or not a string")?;
        Ok(Some((frame, kind)))
    }

    /// The reader of a map inside this one.
    pub(super) fn inside(&self, raw: C::Raw, detail: &'static str) -> Result<Self, DecodeError> {
        Ok(Self { fields: C::fields(raw).ok_or(self.bad(detail))?, request: self.request })
    }

    pub(super) fn error(&self, code: ErrorCode, detail: &'static str) -> DecodeError {
        DecodeError::Frame { id: self.request, code, detail }
    }

    pub(super) fn bad(&self, detail: &'static str) -> DecodeError {
        self.error(ErrorCode::BadFrame, detail)
    }

    /// `id`, which most frames need.
    pub(super) fn id(&self) -> Result<RequestId, DecodeError> {
        match self.request {
            Some(id) => Ok(id),
            None if self.fields.id.and_then(C::integer).is_some() => {
                Err(self.error(ErrorCode::OutOfRange, "`id` is not between 1 and 4294967295"))
            }
            None => Err(self.bad("`id` is missing or not an integer between 1 and 4294967295")),
        }
    }

    /// `id` of a frame that may go without one.
    pub(super) fn optional_id(&self) -> Result<Option<RequestId>, DecodeError> {
        present::<C>(self.fields.id).map(|_| self.id()).transpose()
    }

    pub(super) fn text(&self, raw: Option<C::Raw>, detail: &'static str) -> Result<Option<Cow<'a, str>>, DecodeError> {
        present::<C>(raw).map(|raw| C::text(raw).ok_or(self.bad(detail))).transpose()
    }

    pub(super) fn required_text(&self, raw: Option<C::Raw>, detail: &'static str) -> Result<Cow<'a, str>, DecodeError> {
        raw.and_then(C::text).ok_or(self.bad(detail))
    }

    /// An integer of at most `max`.
    pub(super) fn integer(&self, raw: Option<C::Raw>, max: u64, detail: &'static str) -> Result<Option<u64>, DecodeError> {
        let Some(raw) = present::<C>(raw) else { return Ok(None) };
        match C::integer(raw) {
            Some(integer) if integer <= max => Ok(Some(integer)),
            Some(_) => Err(self.error(ErrorCode::OutOfRange, detail)),
            None => Err(self.bad(detail)),
        }
    }

    pub(super) fn required_integer(&self, raw: Option<C::Raw>, detail: &'static str) -> Result<u64, DecodeError> {
        self.integer(raw, MAX_INTEGER, detail)?.ok_or(self.bad(detail))
    }

    /// A value of a closed set.
    pub(super) fn choice<T: Deserialize<'a>>(&self, raw: Option<C::Raw>, detail: &'static str) -> Result<Option<T>, DecodeError> {
        present::<C>(raw).map(|raw| C::read(raw).ok_or(self.bad(detail))).transpose()
    }

    /// An array of at most `max` values.
    pub(super) fn items(&self, raw: Option<C::Raw>, max: usize, detail: &'static str) -> Result<Vec<C::Raw>, DecodeError> {
        C::items(raw.ok_or(self.bad(detail))?, max).map_err(|error| match error {
            NotItems::NotAnArray => self.bad(detail),
            NotItems::TooMany => self.error(ErrorCode::OutOfRange, detail),
        })
    }

    pub(super) fn cursor(&self, detail: &'static str) -> Result<Cursor, DecodeError> {
        Ok(Cursor {
            epoch: self.integer(self.fields.epoch, MAX_INTEGER, detail)?.unwrap_or(0),
            seq: self.required_integer(self.fields.seq, detail)?,
        })
    }

    pub(super) fn channel(&self) -> Result<ChannelName, DecodeError> {
        let name = self.required_text(self.fields.channel, "`channel` is missing or not a string")?;
        ChannelName::parse(&name)
            .map_err(|_| self.error(ErrorCode::ChannelInvalid, "the channel name is not valid: see section 3 of the specification"))
    }

    pub(super) fn key(&self) -> Result<Option<Key>, DecodeError> {
        let Some(key) = self.text(self.fields.key, "`key` is not a string")? else { return Ok(None) };
        let key = Key::parse(&key).map_err(|_| self.error(ErrorCode::KeyInvalid, "a key has 1 to 64 bytes and no control characters"))?;
        Ok(Some(key))
    }

    pub(super) fn message_id(&self) -> Result<Option<MessageId>, DecodeError> {
        let Some(id) = self.text(self.fields.message_id, "`message_id` is not a string")? else { return Ok(None) };
        let id =
            MessageId::parse(&id).ok_or(self.error(ErrorCode::MessageIdInvalid, "`message_id` is not a hyphenated UUID of version 7"))?;
        Ok(Some(id))
    }

    /// `payload`, in which `null` is a value like any other.
    pub(super) fn payload(&self, max: usize) -> Result<Bytes, DecodeError> {
        let raw = self.fields.payload.ok_or(self.bad("`payload` is missing"))?;
        C::payload(raw, max).map_err(|error| {
            let code = if error == PayloadError::TooLarge { ErrorCode::PayloadTooLarge } else { ErrorCode::PayloadInvalid };
            self.error(code, error.detail())
        })
    }
}

/// An optional field that is null counts as absent.
fn present<'a, C: Codec<'a>>(raw: Option<C::Raw>) -> Option<C::Raw> {
    raw.filter(|raw| !C::is_null(*raw))
}
