//! Payloads between the two formats: PROTOCOL.md section 5 has the rules.

use std::{borrow::Cow, fmt};

use base64::{Engine, engine::general_purpose::STANDARD as BASE64};
use rmp::Marker;
use serde::{
    Deserializer,
    de::{DeserializeSeed, MapAccess, SeqAccess, Visitor},
};
use thiserror::Error;

use crate::{
    limits::MAX_DEPTH,
    msgpack::{infallible, write_str},
};

/// The key that marks binary data in JSON: `{"$bin": "<base64>"}`.
const BIN: &str = "$bin";

/// Why a payload cannot be taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum PayloadError {
    /// Not exactly one value.
    #[error("the payload is not one whole value")]
    Malformed,
    /// Longer than the bound.
    #[error("the payload is longer than this server takes")]
    TooLarge,
    /// Nested deeper than [`MAX_DEPTH`].
    #[error("the payload is nested deeper than 32")]
    TooDeep,
    /// A MessagePack extension type.
    #[error("the payload holds a MessagePack extension; send binary data instead")]
    Extension,
    /// A map key that is neither string nor integer.
    #[error("a map in the payload has a key that is neither a string nor an integer")]
    MapKey,
    /// A string that is not UTF-8.
    #[error("a string in the payload is not UTF-8; send binary data instead")]
    Text,
}

/// A JSON value as MessagePack.
pub fn msgpack_payload(json: &str) -> Result<Vec<u8>, PayloadError> {
    let mut out = Vec::with_capacity(json.len());
    let mut deserializer = serde_json::Deserializer::from_str(json);
    ToMsgpack { out: &mut out, depth: 0 }.deserialize(&mut deserializer).map_err(|_| PayloadError::Malformed)?;
    deserializer.end().map_err(|_| PayloadError::Malformed)?;
    Ok(out)
}

struct ToMsgpack<'o> {
    out: &'o mut Vec<u8>,
    depth: usize,
}

impl<'de> DeserializeSeed<'de> for ToMsgpack<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
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

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<(), A::Error> {
        let depth = deeper(self.depth)?;
        let start = self.out.len();
        let mut count = 0;
        while seq.next_element_seed(ToMsgpack { out: self.out, depth })?.is_some() {
            count += 1;
        }
        put_length(self.out, start, |head| infallible(rmp::encode::write_array_len(head, count)));
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let depth = deeper(self.depth)?;
        let start = self.out.len();
        let mut count = 0;
        let mut marked = None;
        while let Some(name) = map.next_key::<Cow<'de, str>>()? {
            write_str(self.out, &name);
            let value = self.out.len();
            map.next_value_seed(ToMsgpack { out: self.out, depth })?;
            marked = (count == 0 && name == BIN).then_some(value);
            count += 1;
        }
        if let Some(binary) = marked.and_then(|value| unmark(&self.out[value..])) {
            self.out.truncate(start);
            infallible(rmp::encode::write_bin(self.out, &binary));
            return Ok(());
        }
        put_length(self.out, start, |head| infallible(rmp::encode::write_map_len(head, count)));
        Ok(())
    }
}

fn deeper<E: serde::de::Error>(depth: usize) -> Result<usize, E> {
    if depth == MAX_DEPTH { Err(E::custom("nested deeper than 32")) } else { Ok(depth + 1) }
}

/// MessagePack wants the length before the items, JSON tells it after them.
fn put_length<T>(out: &mut Vec<u8>, start: usize, write: impl Fn(&mut Vec<u8>) -> T) {
    let mut head = Vec::with_capacity(5);
    write(&mut head);
    out.splice(start..start, head);
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
    let mut rest = payload;
    to_json(&mut rest, &mut out, 0)?;
    if rest.is_empty() { Ok(out) } else { Err(PayloadError::Malformed) }
}

fn to_json(rest: &mut &[u8], out: &mut Vec<u8>, depth: usize) -> Result<(), PayloadError> {
    use Marker::*;
    if depth > MAX_DEPTH {
        return Err(PayloadError::TooDeep);
    }
    let first = *rest.first().ok_or(PayloadError::Malformed)?;
    match Marker::from_u8(first) {
        Null => {
            *rest = &rest[1..];
            out.extend_from_slice(b"null");
        }
        marker @ (True | False) => {
            *rest = &rest[1..];
            out.extend_from_slice(if marker == True { b"true" } else { b"false" });
        }
        FixPos(_) | FixNeg(_) | U8 | U16 | U32 | U64 | I8 | I16 | I32 | I64 => write_display(out, read_integer(rest)?),
        F32 => write_float(out, f64::from(rmp::decode::read_f32(rest).map_err(malformed)?)),
        F64 => write_float(out, rmp::decode::read_f64(rest).map_err(malformed)?),
        FixStr(_) | Str8 | Str16 | Str32 => write_json_str(out, read_text(rest)?),
        Bin8 | Bin16 | Bin32 => {
            let length = rmp::decode::read_bin_len(rest).map_err(malformed)? as usize;
            let (binary, after) = rest.split_at_checked(length).ok_or(PayloadError::Malformed)?;
            *rest = after;
            out.extend_from_slice(b"{\"$bin\":\"");
            out.extend_from_slice(BASE64.encode(binary).as_bytes());
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

fn write_json_key(rest: &mut &[u8], out: &mut Vec<u8>) -> Result<(), PayloadError> {
    use Marker::*;
    match rest.first().map(|first| Marker::from_u8(*first)).ok_or(PayloadError::Malformed)? {
        FixStr(_) | Str8 | Str16 | Str32 => write_json_str(out, read_text(rest)?),
        FixPos(_) | FixNeg(_) | U8 | U16 | U32 | U64 | I8 | I16 | I32 | I64 => {
            out.push(b'"');
            write_display(out, read_integer(rest)?);
            out.push(b'"');
        }
        _ => return Err(PayloadError::MapKey),
    }
    Ok(())
}

fn read_integer(rest: &mut &[u8]) -> Result<i128, PayloadError> {
    rmp::decode::read_int(rest).map_err(|_| PayloadError::Malformed)
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

fn write_display(out: &mut Vec<u8>, value: impl fmt::Display) {
    use std::io::Write;
    infallible(write!(out, "{value}"));
}

/// JSON has no NaN and no infinity: null, as `JSON.stringify` does.
fn write_float(out: &mut Vec<u8>, value: f64) {
    infallible(serde_json::to_writer(out, &value));
}

fn write_json_str(out: &mut Vec<u8>, text: &str) {
    infallible(serde_json::to_writer(out, text));
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
    fn depth_is_bounded_both_ways() {
        let json = |depth| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
        assert!(msgpack_payload(&json(MAX_DEPTH)).is_ok());
        assert!(msgpack_payload(&json(MAX_DEPTH + 1)).is_err());
        let nested = |depth: usize| [vec![0x91; depth], vec![0xc0]].concat();
        assert!(json_payload(&nested(MAX_DEPTH)).is_ok());
        assert_eq!(json_payload(&nested(MAX_DEPTH + 1)), Err(PayloadError::TooDeep));
    }
}
