//! Small things that many resources need.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Value, json};
use utoipa::{
    IntoParams,
    openapi::path::{Parameter, ParameterIn},
};

use crate::{
    http::{At, Fault, Problem},
    store::StoreError,
};

use hubbub_protocol::ErrorCode;

/// Bytes of an object that is a thing's own, as JSON, at most.
const MAX_DATA: usize = 4_096;
/// Everything but what RFC 3986 leaves unreserved.
const SEGMENT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~').remove(b':').remove(b'@');

/// A name as a part of a path.
pub(crate) fn encoded(name: &str) -> String {
    utf8_percent_encode(name, SEGMENT).to_string()
}

/// The store did not answer.
pub(crate) fn unavailable(error: &StoreError) -> Problem {
    tracing::warn!(%error, "the store did not answer a request");
    Problem::new(ErrorCode::Unavailable, "the store does not answer; try again")
}

/// One fault in the body.
pub(crate) fn fault(pointer: &str, code: &'static str, detail: impl Into<String>) -> Problem {
    Problem::invalid(vec![Fault { at: At::Pointer(pointer.to_owned()), code, detail: detail.into() }])
}

/// Refuses an object that is too long.
pub(crate) fn bounded(data: &Value, pointer: &str) -> Result<(), Problem> {
    match data.to_string().len() {
        0..=MAX_DATA => Ok(()),
        _ => Err(fault(pointer, "too_long", format!("it has at most {MAX_DATA} bytes as JSON"))),
    }
}

macro_rules! headers {
    ($($(#[$doc:meta])* $type:ident = $name:literal, $required:literal, $schema:expr, $example:literal, $text:literal;)*) => {
        $(
            $(#[$doc])*
            pub(crate) struct $type;

            impl IntoParams for $type {
                fn into_params(_: impl Fn() -> Option<ParameterIn>) -> Vec<Parameter> {
                    let parameter = json!({
                        "name": $name, "in": "header", "required": $required, "description": $text, "schema": $schema, "example": $example,
                    });
                    vec![serde_json::from_value(parameter).unwrap_or_else(|error| unreachable!("a header of the document is one: {error}"))]
                }
            }
        )*
    };
}

headers! {
    /// For the document.
    IdempotencyKey = "Idempotency-Key", false, json!({ "type": "string", "minLength": 1, "maxLength": 255, "pattern": "^[!-~]+$" }),
        "8e03978e-40d5-43dd-bc93-6894a57f9324",
        "Makes the request safe to repeat for 24 hours: 1 to 255 visible ASCII signs, new for each.";
    /// For the document.
    IfMatchHeader = "If-Match", true, json!({ "type": "string" }), "\"3\"", "The ETag of the version that is to be changed, or `*`.";
    /// For the document.
    MaybeIfMatchHeader = "If-Match", false, json!({ "type": "string" }), "\"3\"", "The ETag of the version that is meant, or `*`.";
    /// For the document.
    IfNoneMatch = "If-None-Match", false, json!({ "type": "string" }), "\"3\"",
        "The ETag of a version that is known: then 304 if it is still the one.";
    /// For the document.
    RangeHeader = "Range", false, json!({ "type": "string" }), "bytes=0-499",
        "The bytes that are wanted: `bytes=0-499`, `bytes=500-`, `bytes=-500`.";
    /// For the document.
    IfRange = "If-Range", false, json!({ "type": "string" }), "\"9f86d081884c7d65\"", "An ETag: the range counts only if it is still the file's.";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_one_part_of_a_path() {
        assert_eq!(encoded("room:a/b?c é"), "room:a%2Fb%3Fc%20%C3%A9");
    }
}
