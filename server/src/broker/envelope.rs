//! Entries between instances: one version byte, then MessagePack. Release N and N + 1 read each other: fields are added as
//! optional ones, and a reader refuses a version that it does not know instead of guessing.

use std::sync::Arc;

use bytes::Bytes;
use hubbub_protocol::{ChannelName, Entry, Key, Kind, MessageId, Place, limits};
use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::subject::VERSION;

/// Bytes that are not an envelope of this release.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum EnvelopeError {
    /// Written by a release that this one cannot read.
    #[error("an envelope of version {0}; this release reads version {VERSION}")]
    Version(u8),
    /// Truncated or malformed.
    #[error("the envelope is malformed")]
    Malformed,
}

#[derive(Serialize, Deserialize)]
struct Wire<'a> {
    channel: ChannelName,
    #[serde(default)]
    place: Option<(u64, u64, u64)>,
    kind: &'a str,
    /// Absent for messages: the release before wrote none, and ignores it.
    #[serde(default, rename = "ref", skip_serializing_if = "Option::is_none")]
    refers: Option<u64>,
    #[serde(default)]
    message_id: Option<MessageId>,
    publisher: &'a str,
    #[serde(default)]
    key: Option<Key>,
    time: u64,
    #[serde(with = "raw")]
    payload: &'a [u8],
}

mod raw {
    pub(super) fn serialize<S: serde::Serializer>(bytes: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(bytes)
    }

    pub(super) fn deserialize<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<&'de [u8], D::Error> {
        serde::Deserialize::deserialize(deserializer)
    }
}

/// Bytes of an entry in an envelope beside its channel, publisher, key and payload, at most: the names of the fields and what is of fixed
/// length take some 150.
const ENTRY_REST: usize = 256;
/// Bytes of an envelope that are not entries, at most.
pub(super) const ENVELOPE_REST: usize = 8;
/// Bytes of an envelope of one entry, at most. A publisher is a claim of a token, which bounds it.
pub const MAX_ENVELOPE: usize =
    ENVELOPE_REST + ENTRY_REST + limits::MAX_CHANNEL_NAME + limits::MAX_TOKEN + limits::MAX_KEY + limits::MAX_PAYLOAD;

/// Bytes that `entry` adds to an envelope, at most.
pub fn weight(entry: &Entry) -> usize {
    let key = entry.key.as_ref().map_or(0, |key| key.as_str().len());
    ENTRY_REST + entry.channel.as_str().len() + entry.publisher.len() + key + entry.payload.len()
}

/// `entries` as one envelope, of at most their [`weight`]s and eight bytes.
pub fn encode(entries: &[Arc<Entry>]) -> Vec<u8> {
    let wires: Vec<Wire> = entries
        .iter()
        .map(|entry| Wire {
            channel: entry.channel.clone(),
            place: entry.place.map(|place| (place.epoch, place.seq, place.ordinal)),
            kind: entry.kind.as_str(),
            refers: entry.refers,
            message_id: entry.message_id,
            publisher: &entry.publisher,
            key: entry.key.clone(),
            time: entry.time,
            payload: &entry.payload,
        })
        .collect();
    let mut out = Vec::with_capacity(ENVELOPE_REST + entries.iter().map(|entry| weight(entry)).sum::<usize>());
    out.push(VERSION);
    wires.serialize(&mut rmp_serde::Serializer::new(&mut out).with_struct_map()).expect("writing to a Vec cannot fail");
    out
}

/// The entries of an envelope.
///
/// # Errors
/// [`EnvelopeError`]: drop the envelope and count it; its entries are found in the store.
pub fn decode(bytes: &[u8]) -> Result<Vec<Entry>, EnvelopeError> {
    let (version, body) = bytes.split_first().ok_or(EnvelopeError::Malformed)?;
    if *version != VERSION {
        return Err(EnvelopeError::Version(*version));
    }
    let mut deserializer = rmp_serde::Deserializer::from_read_ref(body);
    deserializer.set_max_depth(8);
    let wires = Vec::<Wire>::deserialize(&mut deserializer).map_err(|_| EnvelopeError::Malformed)?;
    wires
        .into_iter()
        .map(|wire| {
            hubbub_protocol::check_payload(wire.payload).map_err(|_| EnvelopeError::Malformed)?;
            Ok(Entry {
                channel: wire.channel,
                place: wire.place.map(|(epoch, seq, ordinal)| Place { epoch, seq, ordinal }),
                kind: Kind::parse(wire.kind),
                refers: wire.refers,
                message_id: wire.message_id,
                publisher: wire.publisher.into(),
                key: wire.key,
                time: wire.time,
                payload: Bytes::copy_from_slice(wire.payload),
            })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(seq: Option<u64>) -> Arc<Entry> {
        Arc::new(Entry {
            channel: ChannelName::parse("room:1").unwrap(),
            place: seq.map(|seq| Place { epoch: 1, seq, ordinal: seq }),
            kind: Kind::Message,
            refers: None,
            message_id: Some(MessageId::new(1, [3; 10])),
            publisher: "alice".into(),
            key: Key::parse("k").ok(),
            time: 7,
            payload: Bytes::from_static(&[0xa2, b'h', b'i']),
        })
    }

    #[test]
    fn comes_back_as_it_was() {
        let entries = [entry(Some(1)), entry(None)];
        let decoded = decode(&encode(&entries)).unwrap();
        assert_eq!(decoded, entries.map(|entry| (*entry).clone()));
    }

    #[test]
    fn an_edit_keeps_what_it_refers_to() {
        let edit = Arc::new(Entry { kind: Kind::Edit, refers: Some(1), ..(*entry(Some(2))).clone() });
        assert_eq!(decode(&encode(std::slice::from_ref(&edit))).unwrap(), [(*edit).clone()]);
    }

    #[test]
    fn reads_the_release_before_and_is_read_by_it() {
        // As that release wrote and read it: without `ref`.
        #[derive(Serialize, Deserialize)]
        struct Before<'a> {
            channel: ChannelName,
            #[serde(default)]
            place: Option<(u64, u64, u64)>,
            kind: &'a str,
            publisher: &'a str,
            time: u64,
            #[serde(with = "raw")]
            payload: &'a [u8],
        }
        let before = Before {
            channel: ChannelName::parse("room:1").unwrap(),
            place: Some((1, 2, 2)),
            kind: "message",
            publisher: "alice",
            time: 7,
            payload: &[0xc0],
        };
        let mut bytes = vec![VERSION];
        [before].serialize(&mut rmp_serde::Serializer::new(&mut bytes).with_struct_map()).unwrap();
        assert_eq!(decode(&bytes).unwrap()[0].refers, None);
        let edit = Arc::new(Entry { kind: Kind::Edit, refers: Some(1), ..(*entry(Some(2))).clone() });
        let bytes = encode(&[edit, entry(Some(3))]);
        let read: Vec<Before> = rmp_serde::from_slice(&bytes[1..]).unwrap();
        assert_eq!(
            read.iter().map(|entry| (entry.kind, entry.place)).collect::<Vec<_>>(),
            [("edit", Some((1, 2, 2))), ("message", Some((1, 3, 3)))]
        );
    }

    #[test]
    fn weighs_no_less_than_it_is() {
        let heaviest = Entry {
            channel: ChannelName::parse(&"c".repeat(limits::MAX_CHANNEL_NAME)).unwrap(),
            place: Some(Place { epoch: u64::MAX, seq: u64::MAX, ordinal: u64::MAX }),
            kind: Kind::Message,
            refers: Some(u64::MAX),
            message_id: Some(MessageId::new(1, [3; 10])),
            publisher: "p".repeat(limits::MAX_TOKEN).into(),
            key: Key::parse(&"k".repeat(limits::MAX_KEY)).ok(),
            time: u64::MAX,
            payload: vec![0xc0; limits::MAX_PAYLOAD].into(),
        };
        let weight = ENVELOPE_REST + weight(&heaviest);
        assert_eq!(weight, MAX_ENVELOPE);
        assert!(encode(&[Arc::new(heaviest)]).len() <= weight);
        let many = vec![entry(None); 70_000];
        assert!(encode(&many).len() <= ENVELOPE_REST + many.iter().map(|entry| super::weight(entry)).sum::<usize>());
    }

    #[test]
    fn refuses_what_it_cannot_read() {
        let mut bytes = encode(&[entry(Some(1))]);
        assert_eq!(decode(&[]), Err(EnvelopeError::Malformed));
        for cut in 1..bytes.len() {
            assert_eq!(decode(&bytes[..cut]), Err(EnvelopeError::Malformed));
        }
        bytes[0] = 2;
        assert_eq!(decode(&bytes), Err(EnvelopeError::Version(2)));
    }

    proptest::proptest! {
        #[test]
        fn arbitrary_bytes_are_refused_or_read_but_never_panic(body in proptest::collection::vec(proptest::num::u8::ANY, 0..300)) {
            let _ = decode(&body);
            let _ = decode(&[&[VERSION], &body[..]].concat());
        }

        #[test]
        fn a_damaged_envelope_never_panics(at in 0_usize..400, byte in proptest::num::u8::ANY) {
            let mut bytes = encode(&[entry(Some(1)), entry(None)]);
            let at = at % bytes.len();
            bytes[at] = byte;
            let _ = decode(&bytes);
        }
    }
}
