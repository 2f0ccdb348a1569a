//! `payload/`: MessagePack that has a form in JSON but does not come back from it byte for byte.

use hubbub_protocol::{check_payload, json_payload, msgpack_payload};
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::{hex, read, unhex};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Payload {
    #[serde(rename = "name")]
    _name: String,
    #[serde(rename = "note")]
    _note: Option<String>,
    msgpack: String,
    json: Box<RawValue>,
    /// What the JSON is in MessagePack; `msgpack` if absent.
    back: Option<String>,
}

#[test]
fn payloads_have_these_forms() {
    for (slug, payload) in read::<Payload>("payload") {
        let msgpack = unhex(&payload.msgpack);
        assert_eq!(check_payload(&msgpack), Ok(()), "{slug}");
        assert_eq!(String::from_utf8(json_payload(&msgpack).unwrap()).unwrap(), payload.json.get(), "{slug}");
        assert_eq!(hex(&msgpack_payload(payload.json.get()).unwrap()), payload.back.unwrap_or(payload.msgpack), "{slug}");
    }
}
