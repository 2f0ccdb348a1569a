//! JSON: the codec over `serde_json`'s raw values.

use std::borrow::Cow;

use bytes::Bytes;
use serde::{
    Deserialize, Deserializer,
    de::{MapAccess, Visitor},
};
use serde_json::value::RawValue;

use crate::{
    decode::{Codec, Fields, Scan},
    limits::MAX_DEPTH,
    transcode::{PayloadError, msgpack_payload},
};

pub(crate) struct Json;

/// Whether `text` nests at most [`MAX_DEPTH`] containers. Brackets inside strings do not count.
fn shallow(text: &str) -> bool {
    let (mut depth, mut in_string, mut escaped) = (0usize, false, false);
    for byte in text.bytes() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_string => escaped = true,
            b'"' => in_string = !in_string,
            b'[' | b'{' if !in_string => {
                depth += 1;
                if depth > MAX_DEPTH {
                    return false;
                }
            }
            b']' | b'}' if !in_string => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    true
}

/// Whether `text` may be read at all: called once a message.
pub(crate) fn check(input: &[u8]) -> Result<(), Scan> {
    let text = std::str::from_utf8(input).map_err(|_| Scan)?;
    if shallow(text) { Ok(()) } else { Err(Scan) }
}

impl<'a> Codec<'a> for Json {
    type Raw = &'a RawValue;

    fn next(input: &mut &'a [u8]) -> Result<Option<&'a RawValue>, Scan> {
        let text = std::str::from_utf8(input).map_err(|_| Scan)?;
        let mut values = serde_json::Deserializer::from_str(text).into_iter::<&RawValue>();
        match values.next() {
            None => Ok(None),
            Some(Ok(frame)) => {
                *input = &input[values.byte_offset()..];
                Ok(Some(frame))
            }
            Some(Err(_)) => Err(Scan),
        }
    }

    fn fields(frame: &'a RawValue) -> Option<Fields<&'a RawValue>> {
        serde_json::from_str(frame.get()).ok()
    }

    fn read<T: Deserialize<'a>>(raw: &'a RawValue) -> Option<T> {
        serde_json::from_str(raw.get()).ok()
    }

    fn items(raw: &'a RawValue) -> Option<Vec<&'a RawValue>> {
        serde_json::from_str(raw.get()).ok()
    }

    fn bytes(raw: &'a RawValue) -> &'a [u8] {
        raw.get().as_bytes()
    }

    fn payload(raw: &'a RawValue, max: usize) -> Result<Bytes, PayloadError> {
        let payload = msgpack_payload(raw.get())?;
        if payload.len() > max {
            return Err(PayloadError::TooLarge);
        }
        Ok(payload.into())
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
                while let Some(name) = map.next_key::<Name<'de>>()? {
                    fields.set(&name.0, map.next_value::<&'de RawValue>()?);
                }
                Ok(fields)
            }
        }
        deserializer.deserialize_map(Visit)
    }
}

/// A field's name: borrowed unless it holds escapes.
#[derive(Deserialize)]
struct Name<'a>(#[serde(borrow)] Cow<'a, str>);

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
