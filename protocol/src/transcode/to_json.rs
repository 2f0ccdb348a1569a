//! MessagePack to JSON, in one pass over the bytes.

use std::io;

use base64::engine::general_purpose::STANDARD as BASE64;
use rmp::Marker;

use super::PayloadError;
use crate::{limits::MAX_PAYLOAD_DEPTH, msgpack::infallible};

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
    if depth == MAX_PAYLOAD_DEPTH && matches!(marker, Bin8 | Bin16 | Bin32 | FixArray(_) | Array16 | Array32 | FixMap(_) | Map16 | Map32) {
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
