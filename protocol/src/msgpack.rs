//! MessagePack: the codec over the scanner.

use std::{borrow::Cow, io};

use bytes::Bytes;
use serde::Deserialize;

use crate::{
    decode::{Codec, Fields, Frame, NotItems, Scan},
    limits::MAX_DEPTH,
    scan::{Fault, Rules, scan},
    transcode::PayloadError,
};

/// Checks that `payload` is exactly one MessagePack value which every format can carry: see PROTOCOL.md section 5.
///
/// # Errors
/// Anything but [`PayloadError::TooLarge`]: the caller knows its bound.
pub fn check_payload(payload: &[u8]) -> Result<(), PayloadError> {
    match scan(payload, Rules::PAYLOAD) {
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

/// Cuts one value off `input`.
fn cut<'a>(input: &mut &'a [u8], rules: Rules) -> Result<&'a [u8], Scan> {
    let (value, rest) = input.split_at(scan(input, rules).map_err(|_| Scan)?);
    *input = rest;
    Ok(value)
}

impl<'a> Codec<'a> for Msgpack {
    type Input = &'a [u8];
    type Raw = &'a [u8];

    fn next(input: &mut &'a [u8]) -> Result<Option<Frame<&'a [u8]>>, Scan> {
        if input.is_empty() {
            return Ok(None);
        }
        let mut rest = *input;
        let Ok(count) = rmp::decode::read_map_len(&mut rest) else {
            // Not a map, or a map whose length is cut off: the scan tells which.
            cut(input, Rules::FRAME)?;
            return Ok(Some(Frame::NotAMap));
        };
        let mut fields = Fields::default();
        for _ in 0..count {
            // A key that is not a string is an unknown field.
            let name = match rmp::decode::read_str_from_slice(rest) {
                Ok((name, after)) => {
                    rest = after;
                    Some(name)
                }
                Err(_) => {
                    cut(&mut rest, Rules::FIELD)?;
                    None
                }
            };
            let value = cut(&mut rest, Rules::FIELD)?;
            if let Some(name) = name {
                fields.set(name, value);
            }
        }
        *input = rest;
        Ok(Some(Frame::Map(fields)))
    }

    fn fields(mut raw: &'a [u8]) -> Option<Fields<&'a [u8]>> {
        match Self::next(&mut raw) {
            Ok(Some(Frame::Map(fields))) => Some(fields),
            _ => None,
        }
    }

    fn items(mut raw: &'a [u8], max: usize) -> Result<Vec<&'a [u8]>, NotItems> {
        let count = rmp::decode::read_array_len(&mut raw).map_err(|_| NotItems::NotAnArray)? as usize;
        if count > max {
            return Err(NotItems::TooMany);
        }
        (0..count).map(|_| cut(&mut raw, Rules::FIELD).map_err(|_| NotItems::NotAnArray)).collect()
    }

    fn is_null(raw: &'a [u8]) -> bool {
        raw == [0xc0]
    }

    fn text(raw: &'a [u8]) -> Option<Cow<'a, str>> {
        rmp::decode::read_str_from_slice(raw).ok().map(|(text, _)| Cow::Borrowed(text))
    }

    fn integer(mut raw: &'a [u8]) -> Option<u64> {
        rmp::decode::read_int(&mut raw).ok()
    }

    fn read<T: Deserialize<'a>>(raw: &'a [u8]) -> Option<T> {
        let mut deserializer = rmp_serde::Deserializer::from_read_ref(raw);
        deserializer.set_max_depth(MAX_DEPTH + 1);
        T::deserialize(&mut deserializer).ok()
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

/// Appends a string; most are names and ids, which have one byte of length.
pub(crate) fn write_str(out: &mut Vec<u8>, text: &str) {
    if text.len() < 32 {
        out.push(0xa0 | text.len() as u8);
        out.extend_from_slice(text.as_bytes());
    } else {
        infallible::<_, rmp::encode::ValueWriteError<io::Error>>(rmp::encode::write_str(out, text));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::MAX_PAYLOAD_DEPTH;

    #[test]
    fn depth_is_bounded() {
        let nested = |depth: usize| [vec![0x91; depth], vec![0xc0]].concat();
        assert!(check_payload(&nested(MAX_PAYLOAD_DEPTH)).is_ok());
        assert_eq!(check_payload(&nested(MAX_PAYLOAD_DEPTH + 1)), Err(PayloadError::TooDeep));
        assert_eq!(check_payload(&nested(1 << 20)), Err(PayloadError::TooDeep));
    }

    #[test]
    fn binary_is_as_deep_as_its_form_in_json() {
        let nested = |depth: usize| [vec![0x91; depth], vec![0xc4, 0]].concat();
        assert!(check_payload(&nested(MAX_PAYLOAD_DEPTH - 1)).is_ok());
        assert_eq!(check_payload(&nested(MAX_PAYLOAD_DEPTH)), Err(PayloadError::TooDeep));
    }

    #[test]
    fn a_payload_holds_what_every_format_can_carry() {
        for (payload, result) in [
            (&[0xd4, 0x01, 0x00][..], Err(PayloadError::Extension)),
            (&[0x81, 0xc0, 0x01], Err(PayloadError::MapKey)),
            (&[0x81, 0x90, 0x0a], Err(PayloadError::MapKey)),
            (&[0x81, 0x01, 0xc0], Ok(())),
            (&[0xa2, 0xc3, 0x28], Err(PayloadError::Text)),
            (&[0xc1], Err(PayloadError::Malformed)),
            (&[0xc0, 0xc0], Err(PayloadError::Malformed)),
            (&[], Err(PayloadError::Malformed)),
        ] {
            assert_eq!(check_payload(payload), result, "{payload:02x?}");
        }
    }
}
