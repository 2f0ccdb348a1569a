//! What instances tell each other of presence: one version byte, then a MessagePack map, so that release N and N + 1 read each other.

use hubbub_protocol::ChannelName;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::locals::Count;

/// The version of what is written here.
const VERSION: u8 = 1;
/// The body, its lists, their items, their users, a user's count.
const DEPTH: usize = 8;

/// Bytes that are not a message of this release: to be counted and dropped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub(super) enum MessageError {
    /// Written by a release that this one cannot read.
    #[error("a presence message of version {0}; this release reads version {VERSION}")]
    Version(u8),
    /// Truncated or malformed.
    #[error("the presence message is malformed")]
    Malformed,
}

/// One message. Any of the lists may be empty.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(super) struct Message {
    /// The instance that sends it.
    pub(super) from: String,
    /// Its lease's generation.
    pub(super) generation: i64,
    /// What changed there.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) diffs: Vec<Diff>,
    /// Which channels it wants to be told.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) asks: Vec<Ask>,
    /// Who is there.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) states: Vec<State>,
    /// It stops, and has nobody any more.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(super) bye: bool,
}

/// What changed in a channel on the sending instance.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Diff {
    pub(super) channel: ChannelName,
    /// Rises with each diff of the instance.
    pub(super) n: u64,
    /// The number of the channel's diff before this one; 0: before it nobody was there.
    pub(super) after: u64,
    /// Users and how many connections of theirs are subscribed now.
    #[serde(with = "counts")]
    pub(super) counts: Vec<Count>,
}

/// A question: who is in a channel on the instance asked?
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Ask {
    pub(super) channel: ChannelName,
    /// The number of the last diff that the asking instance has of it; `None` if it cannot build on that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) has: Option<u64>,
}

/// The answer: a channel's members on the sending instance, or a part of them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct State {
    pub(super) channel: ChannelName,
    /// The diff that it follows.
    pub(super) n: u64,
    /// Which part, from 0, of how many; of none if there is nothing new since what the asking instance has.
    pub(super) part: u32,
    pub(super) parts: u32,
    #[serde(with = "counts")]
    pub(super) counts: Vec<Count>,
}

/// Users and counts as an array of pairs.
mod counts {
    use serde::{Deserialize, Deserializer, Serializer};

    use super::Count;

    pub(super) fn serialize<S: Serializer>(counts: &[Count], serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(counts.iter().map(|(user, count)| (&**user, count)))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<Count>, D::Error> {
        let counts = Vec::<(Box<str>, u32)>::deserialize(deserializer)?;
        Ok(counts.into_iter().map(|(user, count)| (user.into(), count)).collect())
    }
}

impl Message {
    /// A message that says nothing yet.
    pub(super) fn new(from: &str, generation: i64) -> Self {
        Self { from: from.to_owned(), generation, ..Self::default() }
    }

    pub(super) fn encode(&self) -> Vec<u8> {
        let mut out = vec![VERSION];
        self.serialize(&mut rmp_serde::Serializer::new(&mut out).with_struct_map()).expect("writing to a Vec cannot fail");
        out
    }

    pub(super) fn decode(bytes: &[u8]) -> Result<Self, MessageError> {
        let (version, body) = bytes.split_first().ok_or(MessageError::Malformed)?;
        if *version != VERSION {
            return Err(MessageError::Version(*version));
        }
        let mut deserializer = rmp_serde::Deserializer::from_read_ref(body);
        deserializer.set_max_depth(DEPTH);
        Message::deserialize(&mut deserializer).map_err(|_| MessageError::Malformed)
    }
}

impl State {
    /// About how many bytes it takes in a message.
    pub(super) fn weight(&self) -> usize {
        64 + self.channel.as_str().len() + self.counts.iter().map(|(user, _)| user.len() + 9).sum::<usize>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message() -> Message {
        let channel = ChannelName::parse("room:1").unwrap();
        Message {
            from: "an id".to_owned(),
            generation: 3,
            diffs: vec![Diff { channel: channel.clone(), n: 7, after: 4, counts: vec![("alice".into(), 2), ("bob".into(), 0)] }],
            asks: vec![Ask { channel: channel.clone(), has: Some(5) }, Ask { channel: channel.clone(), has: None }],
            states: vec![State { channel, n: 9, part: 0, parts: 1, counts: vec![("carol".into(), 1)] }],
            bye: true,
        }
    }

    #[test]
    fn comes_back_as_it_was() {
        for message in [message(), Message::new("x", -1)] {
            assert_eq!(Message::decode(&message.encode()).unwrap(), message);
        }
    }

    #[test]
    fn refuses_what_it_cannot_read() {
        let mut bytes = message().encode();
        assert_eq!(Message::decode(&[]), Err(MessageError::Malformed));
        for cut in 1..bytes.len() {
            assert_eq!(Message::decode(&bytes[..cut]), Err(MessageError::Malformed));
        }
        bytes[0] = 2;
        assert_eq!(Message::decode(&bytes), Err(MessageError::Version(2)));
    }

    #[test]
    fn fields_of_a_later_release_are_passed_over() {
        let mut bytes = Message::new("x", 1).encode();
        assert_eq!(bytes[1], 0x82);
        bytes[1] = 0x83;
        bytes.extend_from_slice(&[0xa4, b'm', b'o', b'o', b'd', 0x91, 0xc3]);
        assert_eq!(Message::decode(&bytes).unwrap(), Message::new("x", 1));
    }

    proptest::proptest! {
        #[test]
        fn damaged_bytes_are_refused_or_read_but_never_panic(at in 0_usize..400, byte in proptest::num::u8::ANY) {
            let mut bytes = message().encode();
            let at = at % bytes.len();
            bytes[at] = byte;
            let _ = Message::decode(&bytes);
        }
    }
}
