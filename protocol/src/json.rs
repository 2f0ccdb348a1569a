//! JSON: the codec over `serde_json`'s raw values.

use std::borrow::Cow;

use bytes::Bytes;
use serde::{
    Deserialize, Deserializer,
    de::{MapAccess, SeqAccess, Visitor},
};
use serde_json::value::RawValue;

use crate::{
    CloseCode,
    decode::{Codec, Fields, Frame, NotItems, Scan},
    limits::MAX_DEPTH,
    transcode::{PayloadError, bounded_msgpack_payload},
};

pub(crate) struct Json;

/// The text of a message, if it may be read at all. Called once a message.
pub(crate) fn check(input: &[u8]) -> Result<&str, CloseCode> {
    let text = std::str::from_utf8(input).map_err(|_| CloseCode::InvalidText)?;
    if shallow(text) { Ok(text) } else { Err(CloseCode::Malformed) }
}

/// Whether `text` nests at most [`MAX_DEPTH`] containers. Brackets inside strings do not count.
fn shallow(text: &str) -> bool {
    let mut depth = 0usize;
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        match byte {
            b'"' => skip_string(&mut bytes),
            b'[' | b'{' => {
                depth += 1;
                if depth > MAX_DEPTH {
                    return false;
                }
            }
            b']' | b'}' => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    true
}

fn skip_string(bytes: &mut std::str::Bytes<'_>) {
    while let Some(byte) = bytes.next() {
        match byte {
            b'"' => return,
            b'\\' => drop(bytes.next()),
            _ => {}
        }
    }
}

/// What follows JSON's white space (RFC 8259 section 2).
pub(crate) fn skip_space(text: &str) -> &str {
    text.trim_start_matches([' ', '\t', '\n', '\r'])
}

impl<'a> Codec<'a> for Json {
    type Input = &'a str;
    type Raw = &'a RawValue;

    fn next(input: &mut &'a str) -> Result<Option<Frame<&'a RawValue>>, Scan> {
        let text = skip_space(input);
        if text.is_empty() {
            return Ok(None);
        }
        let (frame, rest) = if text.starts_with('{') {
            let (fields, rest) = cut::<Fields<&RawValue>>(text)?;
            (Frame::Map(fields), rest)
        } else {
            (Frame::NotAMap, cut::<&RawValue>(text)?.1)
        };
        *input = rest;
        Ok(Some(frame))
    }

    fn fields(raw: &'a RawValue) -> Option<Fields<&'a RawValue>> {
        serde_json::from_str(raw.get()).ok()
    }

    fn items(raw: &'a RawValue, max: usize) -> Result<Vec<&'a RawValue>, NotItems> {
        let mut deserializer = serde_json::Deserializer::from_str(raw.get());
        deserializer.deserialize_seq(Items { max }).map_err(|_| NotItems::NotAnArray)?.ok_or(NotItems::TooMany)
    }

    fn is_null(raw: &'a RawValue) -> bool {
        raw.get() == "null"
    }

    fn text(raw: &'a RawValue) -> Option<Cow<'a, str>> {
        serde_json::from_str::<Text>(raw.get()).ok().map(|text| text.0)
    }

    fn integer(raw: &'a RawValue) -> Option<u64> {
        serde_json::from_str(raw.get()).ok()
    }

    fn read<T: Deserialize<'a>>(raw: &'a RawValue) -> Option<T> {
        serde_json::from_str(raw.get()).ok()
    }

    fn bytes(raw: &'a RawValue) -> &'a [u8] {
        raw.get().as_bytes()
    }

    fn payload(raw: &'a RawValue, max: usize) -> Result<Bytes, PayloadError> {
        // Exactly as long as it is: what is kept must not hold the room that white space took in JSON.
        Ok(bounded_msgpack_payload(raw.get(), max)?.into_boxed_slice().into())
    }
}

/// Cuts one value off `text`.
fn cut<'a, T: Deserialize<'a>>(text: &'a str) -> Result<(T, &'a str), Scan> {
    let mut values = serde_json::Deserializer::from_str(text).into_iter();
    match values.next() {
        Some(Ok(value)) => Ok((value, &text[values.byte_offset()..])),
        _ => Err(Scan),
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Fields<&'a RawValue> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visit;
        impl<'de> Visitor<'de> for Visit {
            type Value = Fields<&'de RawValue>;

            fn expecting(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
                f.write_str("a frame")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut fields = Fields::default();
                while let Some(name) = map.next_key::<Text<'de>>()? {
                    fields.set(&name.0, map.next_value::<&'de RawValue>()?);
                }
                Ok(fields)
            }
        }
        deserializer.deserialize_map(Visit)
    }
}

/// An array's raw values; `None` if there are more than `max`.
struct Items {
    max: usize,
}

impl<'de> Visitor<'de> for Items {
    type Value = Option<Vec<&'de RawValue>>;

    fn expecting(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        f.write_str("an array")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = seq.next_element()? {
            if items.len() == self.max {
                while seq.next_element::<serde::de::IgnoredAny>()?.is_some() {}
                return Ok(None);
            }
            items.push(item);
        }
        Ok(Some(items))
    }
}

/// A string: borrowed unless it holds escapes.
#[derive(Deserialize)]
pub(crate) struct Text<'a>(#[serde(borrow)] pub(crate) Cow<'a, str>);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn depth_counts_containers_not_text() {
        assert!(shallow(&format!("{}1{}", "[".repeat(32), "]".repeat(32))));
        assert!(!shallow(&"[".repeat(33)));
        assert!(shallow(&format!("\"{}\"", "[\\\"".repeat(100))));
    }
}
