//! Payloads between the two formats: PROTOCOL.md section 5 has the rules.

use std::{fmt, io};

use base64::{Engine, engine::general_purpose::STANDARD as BASE64};
use rmp::Marker;
use serde::{
    Deserializer,
    de::{DeserializeSeed, MapAccess, SeqAccess, Visitor},
};
use thiserror::Error;

use crate::{
    json::Text,
    limits::MAX_PAYLOAD_DEPTH,
    msgpack::{infallible, write_str},
};

/// The key that marks binary data in JSON: `{"$bin": "<base64>"}`.
const BIN: &str = "$bin";

/// Why a payload cannot be taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum PayloadError {
    /// Not exactly one value, or in JSON a number beyond a double's range or half a surrogate pair.
    Malformed,
    /// Longer than the bound.
    TooLarge,
    /// Nested deeper than [`MAX_PAYLOAD_DEPTH`].
    TooDeep,
    /// A MessagePack extension type.
    Extension,
    /// A map key that is neither string nor integer.
    MapKey,
    /// A string that is not UTF-8.
    Text,
}

impl PayloadError {
    /// For people: what is wrong.
    pub const fn detail(self) -> &'static str {
        match self {
            PayloadError::Malformed => "the payload is not one whole, valid value",
            PayloadError::TooLarge => "the payload is longer than this server takes",
            PayloadError::TooDeep => "the payload is nested deeper than 28",
            PayloadError::Extension => "the payload holds a MessagePack extension; send binary data instead",
            PayloadError::MapKey => "a map in the payload has a key that is neither a string nor an integer",
            PayloadError::Text => "a string in the payload is not UTF-8; send binary data instead",
        }
    }
}

impl fmt::Display for PayloadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.detail())
    }
}

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

/// A checked MessagePack value as JSON text.
///
/// # Errors
/// [`PayloadError`] if [`crate::check_payload`] would refuse it.
pub fn json_payload(payload: &[u8]) -> Result<Vec<u8>, PayloadError> {
    let mut out = Vec::with_capacity(payload.len() * 2);
    append_json(payload, &mut out)?;
    Ok(out)
}

/// [`json_payload`] at the end of `out`, which is left as it was after an error.
pub(crate) fn append_json(payload: &[u8], out: &mut Vec<u8>) -> Result<(), PayloadError> {
    let start = out.len();
    let mut rest = payload;
    let written = to_json(&mut rest, out, 0);
    let whole = if rest.is_empty() { Ok(()) } else { Err(PayloadError::Malformed) };
    written.and(whole).inspect_err(|_| out.truncate(start))
}

fn to_json(rest: &mut &[u8], out: &mut Vec<u8>, depth: usize) -> Result<(), PayloadError> {
    use Marker::*;
    let marker = peek(rest)?;
    if depth == MAX_PAYLOAD_DEPTH
        && matches!(marker, Bin8 | Bin16 | Bin32 | FixArray(_) | Array16 | Array32 | FixMap(_) | Map16 | Map32)
    {
        return Err(PayloadError::TooDeep);
    }
    match marker {
        Null | True | False => {
            *rest = &rest[1..];
            let text: &[u8] = match marker {
                True => b"true",
                False => b"false",
                _ => b"null",
            };
            out.extend_from_slice(text);
        }
        FixPos(_) | FixNeg(_) | U8 | U16 | U32 | U64 | I8 | I16 | I32 | I64 => write_integer(rest, out)?,
        F32 => write_float(out, f64::from(rmp::decode::read_f32(rest).map_err(malformed)?)),
        F64 => write_float(out, rmp::decode::read_f64(rest).map_err(malformed)?),
        FixStr(_) | Str8 | Str16 | Str32 => write_json_str(out, read_text(rest)?),
        Bin8 | Bin16 | Bin32 => {
            let length = rmp::decode::read_bin_len(rest).map_err(malformed)? as usize;
            let (binary, after) = rest.split_at_checked(length).ok_or(PayloadError::Malformed)?;
            *rest = after;
            out.extend_from_slice(b"{\"$bin\":\"");
            write_base64(out, binary);
            out.extend_from_slice(b"\"}");
        }
        FixArray(_) | Array16 | Array32 => {
            let count = rmp::decode::read_array_len(rest).map_err(malformed)?;
            out.push(b'[');
            for item in 0..count {
                if item > 0 {
                    out.push(b',');
                }
                to_json(rest, out, depth + 1)?;
            }
            out.push(b']');
        }
        FixMap(_) | Map16 | Map32 => {
            let count = rmp::decode::read_map_len(rest).map_err(malformed)?;
            out.push(b'{');
            for item in 0..count {
                if item > 0 {
                    out.push(b',');
                }
                write_json_key(rest, out)?;
                out.push(b':');
                to_json(rest, out, depth + 1)?;
            }
            out.push(b'}');
        }
        FixExt1 | FixExt2 | FixExt4 | FixExt8 | FixExt16 | Ext8 | Ext16 | Ext32 => return Err(PayloadError::Extension),
        Reserved => return Err(PayloadError::Malformed),
    }
    Ok(())
}

fn peek(rest: &[u8]) -> Result<Marker, PayloadError> {
    rest.first().map(|first| Marker::from_u8(*first)).ok_or(PayloadError::Malformed)
}

fn write_json_key(rest: &mut &[u8], out: &mut Vec<u8>) -> Result<(), PayloadError> {
    use Marker::*;
    match peek(rest)? {
        FixStr(_) | Str8 | Str16 | Str32 => write_json_str(out, read_text(rest)?),
        FixPos(_) | FixNeg(_) | U8 | U16 | U32 | U64 | I8 | I16 | I32 | I64 => {
            out.push(b'"');
            write_integer(rest, out)?;
            out.push(b'"');
        }
        _ => return Err(PayloadError::MapKey),
    }
    Ok(())
}

fn write_integer(rest: &mut &[u8], out: &mut Vec<u8>) -> Result<(), PayloadError> {
    if peek(rest)? == Marker::U64 {
        let value = rmp::decode::read_u64(rest).map_err(malformed)?;
        infallible(serde_json::to_writer(out, &value));
    } else {
        let value: i64 = rmp::decode::read_int(rest).map_err(malformed)?;
        infallible(serde_json::to_writer(out, &value));
    }
    Ok(())
}

fn read_text<'a>(rest: &mut &'a [u8]) -> Result<&'a str, PayloadError> {
    match rmp::decode::read_str_from_slice(*rest) {
        Ok((text, after)) => {
            *rest = after;
            Ok(text)
        }
        Err(rmp::decode::DecodeStringError::InvalidUtf8(..)) => Err(PayloadError::Text),
        Err(_) => Err(PayloadError::Malformed),
    }
}

fn malformed<E>(_: E) -> PayloadError {
    PayloadError::Malformed
}

/// JSON has no NaN and no infinity: null, as `JSON.stringify` does.
fn write_float(out: &mut Vec<u8>, value: f64) {
    infallible(serde_json::to_writer(out, &value));
}

fn write_json_str(out: &mut Vec<u8>, text: &str) {
    infallible(serde_json::to_writer(out, text));
}

fn write_base64(out: &mut Vec<u8>, binary: &[u8]) {
    let mut encoder = base64::write::EncoderWriter::new(out, &BASE64);
    infallible::<_, io::Error>(io::Write::write_all(&mut encoder, binary));
    infallible(encoder.finish());
}

#[cfg(test)]
mod tests {
    use super::*;

    fn round(json: &str) -> String {
        String::from_utf8(json_payload(&msgpack_payload(json).unwrap()).unwrap()).unwrap()
    }

    #[test]
    fn json_comes_back_as_it_was() {
        let long = format!("[{}]", (0..70_000).map(|n| n.to_string()).collect::<Vec<_>>().join(","));
        for json in [
            "null",
            "true",
            "0",
            "-1",
            "-33",
            "18446744073709551615",
            "-9223372036854775808",
            "1.5",
            "1.0",
            "\"a\\n\\\"😀\"",
            "[]",
            "{}",
            r#"{"z":1,"a":[{"b":[]}],"z":2}"#,
            r#"{"$bin":"aGk="}"#,
            r#"{"$bin":"not base64!"}"#,
            r#"{"$bin":"aGk=","x":1}"#,
            r#"{"x":1,"$bin":"aGk="}"#,
            &long,
        ] {
            assert_eq!(round(json), json);
        }
    }

    #[test]
    fn binary_and_integer_keys_have_a_form_in_json() {
        assert_eq!(msgpack_payload(r#"{"$bin":"aGk="}"#).unwrap(), [0xc4, 2, b'h', b'i']);
        assert_eq!(json_payload(&[0x81, 0xff, 0xc3]).unwrap(), br#"{"-1":true}"#);
        assert_eq!(json_payload(&rmp_serde::to_vec(&f64::NAN).unwrap()).unwrap(), b"null");
    }

    #[test]
    fn a_bound_counts_what_comes_out() {
        let binary = |bytes: usize| format!(r#"{{"$bin":"{}"}}"#, BASE64.encode(vec![0; bytes]));
        for (json, length) in [("[1,2,3]".to_owned(), 4), (binary(0), 2), (binary(200), 202), (binary(3_000), 3_003), ("  1".to_owned(), 1)] {
            assert_eq!(bounded_msgpack_payload(&json, length).map(|payload| payload.len()), Ok(length), "{json}");
            assert_eq!(bounded_msgpack_payload(&json, length - 1), Err(PayloadError::TooLarge), "{json}");
        }
    }

    #[test]
    fn depth_is_bounded_both_ways() {
        let json = |depth| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
        assert!(msgpack_payload(&json(MAX_PAYLOAD_DEPTH)).is_ok());
        assert_eq!(msgpack_payload(&json(MAX_PAYLOAD_DEPTH + 1)), Err(PayloadError::TooDeep));
        let nested = |depth: usize| [vec![0x91; depth], vec![0xc0]].concat();
        assert!(json_payload(&nested(MAX_PAYLOAD_DEPTH)).is_ok());
        assert_eq!(json_payload(&nested(MAX_PAYLOAD_DEPTH + 1)), Err(PayloadError::TooDeep));
    }
}
