//! Payloads between the two formats: PROTOCOL.md section 5 has the rules.

mod from_json;
mod to_json;

use std::fmt;

use thiserror::Error;

pub(crate) use from_json::bounded_msgpack_payload;
pub use from_json::msgpack_payload;
pub(crate) use to_json::append_json;
pub use to_json::json_payload;

/// The key that marks binary data in JSON: `{"$bin": "<base64>"}`.
const BIN: &str = "$bin";

/// Why a payload cannot be taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum PayloadError {
    /// Not exactly one value, or in JSON a number beyond a double's range or half a surrogate pair.
    Malformed,
    /// Longer than the bound.
    TooLarge,
    /// Nested deeper than [`crate::limits::MAX_PAYLOAD_DEPTH`].
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

#[cfg(test)]
mod tests {
    use base64::{Engine, engine::general_purpose::STANDARD as BASE64};

    use super::*;
    use crate::limits::MAX_PAYLOAD_DEPTH;

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
        for (json, length) in [("[1,2,3]".to_owned(), 4), (binary(0), 2), (binary(200), 202), (binary(3_000), 3_003), ("  1".to_owned(), 1)]
        {
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
