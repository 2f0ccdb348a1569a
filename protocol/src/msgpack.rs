//! MessagePack: a scanner that finds where a value ends without building it, and the codec over it.

use std::io;

use bytes::Bytes;
use rmp::Marker;
use serde::Deserialize;

use crate::{
    decode::{Codec, Fields, Scan},
    limits::MAX_DEPTH,
    transcode::PayloadError,
};

/// What a scan refuses beside truncated and too deep values.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Strictness {
    /// Anything well-formed: unknown fields of a frame.
    Frame,
    /// What every format can carry: a payload.
    Payload,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    Truncated,
    TooDeep,
    Reserved,
    Extension,
    MapKey,
    Text,
}

/// One open container: how many values it still wants, and whether the next one is a map's key.
#[derive(Clone, Copy)]
struct Open {
    left: u64,
    map: bool,
}

/// Length of the value at the start of `input`. Walks it once, without recursion or allocation.
fn scan(input: &[u8], strictness: Strictness) -> Result<usize, Fault> {
    let mut stack = [Open { left: 0, map: false }; MAX_DEPTH];
    let mut depth = 0;
    let mut at = 0;
    loop {
        let is_key = depth > 0 && stack[depth - 1].map && stack[depth - 1].left % 2 == 0;
        let marker = Marker::from_u8(*input.get(at).ok_or(Fault::Truncated)?);
        at += 1;
        if is_key && strictness == Strictness::Payload && !key_marker(marker) {
            return Err(Fault::MapKey);
        }
        let opened = match shape(marker, &input[at..])? {
            Shape::Scalar { head, body, text } => {
                let start = at + head;
                let end = usize::try_from(body).ok().and_then(|body| start.checked_add(body)).ok_or(Fault::Truncated)?;
                let bytes = input.get(start..end).ok_or(Fault::Truncated)?;
                if text && strictness == Strictness::Payload && std::str::from_utf8(bytes).is_err() {
                    return Err(Fault::Text);
                }
                at = end;
                None
            }
            Shape::Extension { head, body } => {
                if strictness == Strictness::Payload {
                    return Err(Fault::Extension);
                }
                let end = usize::try_from(body).ok().and_then(|body| (at + head + 1).checked_add(body)).ok_or(Fault::Truncated)?;
                if end > input.len() {
                    return Err(Fault::Truncated);
                }
                at = end;
                None
            }
            Shape::Container { head, left, map } => {
                at += head;
                Some(Open { left, map })
            }
        };
        if let Some(open) = opened {
            if depth == MAX_DEPTH {
                return Err(Fault::TooDeep);
            }
            // Every value has at least one byte: a length that is not there is refused before anything waits for it.
            if open.left > (input.len() - at) as u64 {
                return Err(Fault::Truncated);
            }
            stack[depth] = open;
            depth += 1;
        } else if depth > 0 {
            stack[depth - 1].left -= 1;
        }
        while depth > 0 && stack[depth - 1].left == 0 {
            depth -= 1;
            if depth > 0 {
                stack[depth - 1].left -= 1;
            }
        }
        if depth == 0 {
            return Ok(at);
        }
    }
}

fn key_marker(marker: Marker) -> bool {
    use Marker::*;
    matches!(marker, FixStr(_) | Str8 | Str16 | Str32 | FixPos(_) | FixNeg(_) | U8 | U16 | U32 | U64 | I8 | I16 | I32 | I64)
}

enum Shape {
    /// `head` bytes of length, then `body` bytes.
    Scalar { head: usize, body: u64, text: bool },
    /// `head` bytes of length, a type byte, then `body` bytes.
    Extension { head: usize, body: u64 },
    /// `head` bytes of length, then `left` values.
    Container { head: usize, left: u64, map: bool },
}

fn shape(marker: Marker, rest: &[u8]) -> Result<Shape, Fault> {
    use Marker::*;
    let length = |bytes: usize| -> Result<u64, Fault> {
        let head = rest.get(..bytes).ok_or(Fault::Truncated)?;
        Ok(head.iter().fold(0, |sum, byte| sum << 8 | u64::from(*byte)))
    };
    let plain = |body: u64| Shape::Scalar { head: 0, body, text: false };
    Ok(match marker {
        FixPos(_) | FixNeg(_) | Null | True | False => plain(0),
        U8 | I8 => plain(1),
        U16 | I16 => plain(2),
        U32 | I32 | F32 => plain(4),
        U64 | I64 | F64 => plain(8),
        FixStr(n) => Shape::Scalar { head: 0, body: n.into(), text: true },
        Str8 => Shape::Scalar { head: 1, body: length(1)?, text: true },
        Str16 => Shape::Scalar { head: 2, body: length(2)?, text: true },
        Str32 => Shape::Scalar { head: 4, body: length(4)?, text: true },
        Bin8 => Shape::Scalar { head: 1, body: length(1)?, text: false },
        Bin16 => Shape::Scalar { head: 2, body: length(2)?, text: false },
        Bin32 => Shape::Scalar { head: 4, body: length(4)?, text: false },
        FixExt1 => Shape::Extension { head: 0, body: 1 },
        FixExt2 => Shape::Extension { head: 0, body: 2 },
        FixExt4 => Shape::Extension { head: 0, body: 4 },
        FixExt8 => Shape::Extension { head: 0, body: 8 },
        FixExt16 => Shape::Extension { head: 0, body: 16 },
        Ext8 => Shape::Extension { head: 1, body: length(1)? },
        Ext16 => Shape::Extension { head: 2, body: length(2)? },
        Ext32 => Shape::Extension { head: 4, body: length(4)? },
        FixArray(n) => Shape::Container { head: 0, left: n.into(), map: false },
        Array16 => Shape::Container { head: 2, left: length(2)?, map: false },
        Array32 => Shape::Container { head: 4, left: length(4)?, map: false },
        FixMap(n) => Shape::Container { head: 0, left: u64::from(n) * 2, map: true },
        Map16 => Shape::Container { head: 2, left: length(2)? * 2, map: true },
        Map32 => Shape::Container { head: 4, left: length(4)? * 2, map: true },
        Reserved => return Err(Fault::Reserved),
    })
}

/// Checks that `payload` is exactly one MessagePack value which every format can carry: see PROTOCOL.md section 5.
pub fn check_payload(payload: &[u8]) -> Result<(), PayloadError> {
    match scan(payload, Strictness::Payload) {
        Ok(end) if end == payload.len() => Ok(()),
        Ok(_) => Err(PayloadError::Malformed),
        Err(Fault::Truncated | Fault::Reserved) => Err(PayloadError::Malformed),
        Err(Fault::TooDeep) => Err(PayloadError::TooDeep),
        Err(Fault::Extension) => Err(PayloadError::Extension),
        Err(Fault::MapKey) => Err(PayloadError::MapKey),
        Err(Fault::Text) => Err(PayloadError::Text),
    }
}

pub(crate) struct Msgpack;

impl<'a> Codec<'a> for Msgpack {
    type Raw = &'a [u8];

    fn next(input: &mut &'a [u8]) -> Result<Option<&'a [u8]>, Scan> {
        if input.is_empty() {
            return Ok(None);
        }
        let end = scan(input, Strictness::Frame).map_err(|_| Scan)?;
        let (frame, rest) = input.split_at(end);
        *input = rest;
        Ok(Some(frame))
    }

    fn fields(mut frame: &'a [u8]) -> Option<Fields<&'a [u8]>> {
        let count = rmp::decode::read_map_len(&mut frame).ok()?;
        let mut fields = Fields::default();
        for _ in 0..count {
            let key_end = scan(frame, Strictness::Frame).ok()?;
            let (key, rest) = frame.split_at(key_end);
            let value_end = scan(rest, Strictness::Frame).ok()?;
            let (value, rest) = rest.split_at(value_end);
            // A key that is not a string is an unknown field.
            if let Ok((name, _)) = rmp::decode::read_str_from_slice(key) {
                fields.set(name, value);
            }
            frame = rest;
        }
        Some(fields)
    }

    fn read<T: Deserialize<'a>>(raw: &'a [u8]) -> Option<T> {
        let mut deserializer = rmp_serde::Deserializer::from_read_ref(raw);
        deserializer.set_max_depth(MAX_DEPTH + 1);
        T::deserialize(&mut deserializer).ok()
    }

    fn items(mut raw: &'a [u8]) -> Option<Vec<&'a [u8]>> {
        let count = rmp::decode::read_array_len(&mut raw).ok()?;
        // No capacity from `count`: it is the sender's word.
        let mut items = Vec::new();
        for _ in 0..count {
            let (item, rest) = raw.split_at(scan(raw, Strictness::Frame).ok()?);
            items.push(item);
            raw = rest;
        }
        Some(items)
    }

    fn bytes(raw: &'a [u8]) -> &'a [u8] {
        raw
    }

    fn payload(raw: &'a [u8], max: usize) -> Result<Bytes, PayloadError> {
        if raw.len() > max {
            return Err(PayloadError::TooLarge);
        }
        check_payload(raw)?;
        // A copy, so that what is kept does not pin the read buffer.
        Ok(Bytes::copy_from_slice(raw))
    }
}

/// A `Vec` never fails to take bytes.
pub(crate) fn infallible<T, E: std::fmt::Debug>(result: Result<T, E>) -> T {
    result.expect("writing to a Vec cannot fail")
}

pub(crate) fn write_str(out: &mut Vec<u8>, text: &str) {
    infallible::<_, rmp::encode::ValueWriteError<io::Error>>(rmp::encode::write_str(out, text));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_the_end_of_every_kind() {
        for hex in [
            "c0",
            "c2",
            "7f",
            "e0",
            "cc80",
            "cd1000",
            "ca3f800000",
            "cb3ff0000000000000",
            "a161",
            "d90161",
            "c40100",
            "9101",
            "81a16101",
            "dc000101",
            "de0001a16101",
            "80",
            "90",
        ] {
            let bytes = unhex(hex);
            assert_eq!(scan(&bytes, Strictness::Payload), Ok(bytes.len()), "{hex}");
            for cut in 0..bytes.len() {
                assert_eq!(scan(&bytes[..cut], Strictness::Payload), Err(Fault::Truncated), "{hex} cut at {cut}");
            }
        }
    }

    #[test]
    fn a_length_that_lies_costs_nothing() {
        for hex in ["ddffffffff", "dfffffffff", "dbffffffff", "c6ffffffff", "c9ffffffff00", "dfffffffffa161"] {
            assert!(scan(&unhex(hex), Strictness::Frame).is_err(), "{hex}");
        }
    }

    #[test]
    fn depth_is_bounded() {
        let nested = |depth: usize| [vec![0x91; depth], vec![0xc0]].concat();
        assert!(check_payload(&nested(MAX_DEPTH)).is_ok());
        assert_eq!(check_payload(&nested(MAX_DEPTH + 1)), Err(PayloadError::TooDeep));
        assert_eq!(check_payload(&nested(1 << 20)), Err(PayloadError::TooDeep));
    }

    #[test]
    fn a_payload_holds_what_every_format_can_carry() {
        assert_eq!(check_payload(&unhex("d40100")), Err(PayloadError::Extension));
        assert_eq!(check_payload(&unhex("81c001")), Err(PayloadError::MapKey));
        assert_eq!(check_payload(&unhex("81900a")), Err(PayloadError::MapKey));
        assert_eq!(check_payload(&unhex("8101c0")), Ok(()));
        assert_eq!(check_payload(&unhex("a2c328")), Err(PayloadError::Text));
        assert_eq!(check_payload(&unhex("c1")), Err(PayloadError::Malformed));
        assert_eq!(check_payload(&unhex("c0c0")), Err(PayloadError::Malformed));
    }

    fn unhex(hex: &str) -> Vec<u8> {
        (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap()).collect()
    }
}
