//! `lenient/`: other bytes for the same frames. A reader takes them; no writer of this crate makes them.

use std::collections::HashMap;

use hubbub_protocol::Format;
use serde::Deserialize;

use crate::{client_frames, golden::Golden, read, server_frames, unhex};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Lenient {
    #[serde(rename = "name")]
    _name: String,
    #[serde(rename = "note")]
    _note: Option<String>,
    /// The golden vector that it means.
    means: String,
    text: Option<String>,
    msgpack: Option<String>,
}

#[test]
fn other_bytes_mean_the_same() {
    let golden: HashMap<String, Golden> = ["client", "server"].into_iter().flat_map(read).collect();
    for (slug, lenient) in read::<Lenient>("lenient") {
        let text = lenient.text.map(|text| (Format::Json, text.into_bytes()));
        let msgpack = lenient.msgpack.map(|hex| (Format::Msgpack, unhex(&hex)));
        assert!(text.is_some() || msgpack.is_some(), "{slug} holds no message");
        for (format, message) in text.into_iter().chain(msgpack) {
            let meant = golden[&lenient.means].message(format);
            assert_ne!(message, meant, "{slug}: {format:?} is golden");
            if lenient.means.starts_with("client/") {
                assert_eq!(client_frames(format, &message), client_frames(format, &meant), "{slug} in {format:?}");
            } else {
                assert_eq!(server_frames(format, &message), server_frames(format, &meant), "{slug} in {format:?}");
            }
        }
    }
}
