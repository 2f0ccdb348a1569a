//! JSON to MessagePack, in one pass over the text.

use std::fmt;

use base64::{Engine, engine::general_purpose::STANDARD as BASE64};
use serde::{
    Deserializer,
    de::{DeserializeSeed, MapAccess, SeqAccess, Visitor},
};

use super::{BIN, PayloadError};
use crate::{
    json::Text,
    limits::MAX_PAYLOAD_DEPTH,
    msgpack::{infallible, write_str},
};

/// A JSON value as MessagePack.
///
/// # Errors
/// [`PayloadError::TooDeep`], else [`PayloadError::Malformed`].
pub fn msgpack_payload(json: &str) -> Result<Vec<u8>, PayloadError> {
    bounded_msgpack_payload(json, usize::MAX)
}

/// [`msgpack_payload`] of at most `max` bytes, which also bounds what is written on the way.
pub(crate) fn bounded_msgpack_payload(json: &str, max: usize) -> Result<Vec<u8>, PayloadError> {
    // Binary is text, a third longer, until its map is whole.
    let room = max.saturating_add(max / 3 + 16);
    let mut out = Vec::with_capacity(json.len().min(room));
    let mut fault = PayloadError::Malformed;
    let mut deserializer = serde_json::Deserializer::from_str(json);
    let value = ToMsgpack { out: &mut out, room, fault: &mut fault, depth: 0 }.deserialize(&mut deserializer);
    value.and_then(|()| deserializer.end()).map_err(|_| fault)?;
    if out.len() > max { Err(PayloadError::TooLarge) } else { Ok(out) }
}

struct ToMsgpack<'o> {
    out: &'o mut Vec<u8>,
    /// Nothing more is written once `out` is longer.
    room: usize,
    /// What an error means.
    fault: &'o mut PayloadError,
    depth: usize,
}

impl ToMsgpack<'_> {
    /// The writer of a value inside the container that is being written.
    fn inside(&mut self) -> ToMsgpack<'_> {
        ToMsgpack { out: self.out, room: self.room, fault: self.fault, depth: self.depth + 1 }
    }

    fn refuse<E: serde::de::Error>(&mut self, fault: PayloadError) -> E {
        *self.fault = fault;
        E::custom(fault)
    }

    /// Starts a container with room for a short head; returns where.
    fn open<E: serde::de::Error>(&mut self) -> Result<usize, E> {
        if self.depth == MAX_PAYLOAD_DEPTH {
            return Err(self.refuse(PayloadError::TooDeep));
        }
        self.out.push(0);
        Ok(self.out.len() - 1)
    }

    /// MessagePack wants the count before the items, JSON tells it after them: only a long container has to move.
    fn close(self, start: usize, count: u32, short: u8, long: [u8; 2]) {
        let [two, four] = long;
        match (u8::try_from(count), u16::try_from(count)) {
            (Ok(count), _) if count < 16 => self.out[start] = short | count,
            (_, Ok(count)) => {
                self.out[start] = two;
                self.out.splice(start + 1..start + 1, count.to_be_bytes());
            }
            _ => {
                self.out[start] = four;
                self.out.splice(start + 1..start + 1, count.to_be_bytes());
            }
        }
    }
}

impl<'de> DeserializeSeed<'de> for ToMsgpack<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(mut self, deserializer: D) -> Result<(), D::Error> {
        if self.out.len() > self.room {
            return Err(self.refuse(PayloadError::TooLarge));
        }
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for ToMsgpack<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        infallible(rmp::encode::write_nil(self.out));
        Ok(())
    }

    fn visit_bool<E>(self, value: bool) -> Result<(), E> {
        infallible(rmp::encode::write_bool(self.out, value));
        Ok(())
    }

    fn visit_u64<E>(self, value: u64) -> Result<(), E> {
        infallible(rmp::encode::write_uint(self.out, value));
        Ok(())
    }

    fn visit_i64<E>(self, value: i64) -> Result<(), E> {
        infallible(rmp::encode::write_sint(self.out, value));
        Ok(())
    }

    fn visit_f64<E>(self, value: f64) -> Result<(), E> {
        infallible(rmp::encode::write_f64(self.out, value));
        Ok(())
    }

    fn visit_str<E>(self, value: &str) -> Result<(), E> {
        write_str(self.out, value);
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(mut self, mut seq: A) -> Result<(), A::Error> {
        let start = self.open()?;
        let mut count = 0;
        while seq.next_element_seed(self.inside())?.is_some() {
            count += 1;
        }
        self.close(start, count, 0x90, [0xdc, 0xdd]);
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut map: A) -> Result<(), A::Error> {
        let start = self.open()?;
        let mut count = 0;
        let mut marked = None;
        while let Some(name) = map.next_key::<Text<'de>>()? {
            write_str(self.out, &name.0);
            let value = self.out.len();
            map.next_value_seed(self.inside())?;
            marked = (count == 0 && name.0 == BIN).then_some(value);
            count += 1;
        }
        if let Some(binary) = marked.and_then(|value| unmark(&self.out[value..])) {
            self.out.truncate(start);
            infallible(rmp::encode::write_bin(self.out, &binary));
            return Ok(());
        }
        self.close(start, count, 0x80, [0xde, 0xdf]);
        Ok(())
    }
}

/// The bytes of a `$bin` string, if it is base64.
fn unmark(value: &[u8]) -> Option<Vec<u8>> {
    let (text, _) = rmp::decode::read_str_from_slice(value).ok()?;
    BASE64.decode(text).ok()
}
