//! What is published for a row: `{"run": id, "row": n, "data": {…}}`.

use std::hash::{DefaultHasher, Hasher as _};

use anyhow::{Context as _, Result};
use bytes::Bytes;
use hubbub_protocol::Entry;
use serde::{Deserialize, Serialize, de::IgnoredAny};
use serde_json::Value;

use super::verify::RowNumber;

#[derive(Serialize)]
struct Outgoing<'a> {
    run: &'a str,
    row: RowNumber,
    data: &'a Value,
}

#[derive(Deserialize)]
struct Incoming<'a> {
    run: &'a str,
    row: RowNumber,
    #[serde(rename = "data")]
    _data: IgnoredAny,
}

/// The payload of `row`.
pub fn encode(run: &str, row: RowNumber, data: &Value) -> Result<Bytes> {
    Ok(rmp_serde::to_vec_named(&Outgoing { run, row, data }).with_context(|| format!("row {row} has no MessagePack form"))?.into())
}

/// The row that `entry` carries, with a hash of its payload; `None` if this run did not publish it.
pub fn decode(run: &str, entry: &Entry) -> Option<(RowNumber, u64)> {
    let incoming: Incoming<'_> = rmp_serde::from_slice(&entry.payload).ok()?;
    (incoming.run == run).then(|| (incoming.row, digest(&entry.payload)))
}

/// A hash of a payload's bytes.
pub fn digest(payload: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    hasher.write(payload);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use hubbub_protocol::{ChannelName, Kind};
    use serde_json::json;

    use super::*;

    fn entry(payload: Bytes) -> Entry {
        let channel = ChannelName::parse("room:x").unwrap();
        Entry {
            channel,
            place: None,
            kind: Kind::Message,
            refers: None,
            message_id: None,
            publisher: "p".into(),
            key: None,
            time: 0,
            payload,
        }
    }

    #[test]
    fn a_row_comes_back_only_in_its_own_run() {
        let payload = encode("r1", 7, &json!({"text": "नमस्ते 👩🏽‍🚀", "n": null, "list": [1, -2, 3.5]})).unwrap();
        hubbub_protocol::check_payload(&payload).unwrap();
        let entry = entry(payload.clone());
        assert_eq!(decode("r1", &entry), Some((7, digest(&payload))));
        assert_eq!(decode("r2", &entry), None);
    }

    #[test]
    fn other_payloads_are_no_rows() {
        assert_eq!(decode("r1", &entry(Bytes::from_static(&[0xc0]))), None);
    }

    #[test]
    fn another_payload_has_another_digest() {
        assert_ne!(digest(&encode("r", 1, &json!({"a": 1})).unwrap()), digest(&encode("r", 1, &json!({"a": 2})).unwrap()));
    }
}
