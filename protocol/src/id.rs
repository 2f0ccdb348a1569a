//! Message ids: what makes a publish safe to retry.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use uuid::Uuid;

/// A UUIDv7 (RFC 9562 section 5.7) chosen by the publisher. Its first 48 bits are Unix milliseconds, which is how
/// a server knows that an id is older than what it remembers.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct MessageId(Uuid);

impl MessageId {
    /// An id for a message made at `unix_ms`, made unique by 74 of the 80 random bits. Of `unix_ms` the low 48 bits count: enough until the
    /// year 10889.
    pub fn new(unix_ms: u64, random: [u8; 10]) -> Self {
        Self(uuid::Builder::from_unix_timestamp_millis(unix_ms, &random).into_uuid())
    }

    /// Parses the hyphenated form. `None` if it is not a UUID of version 7.
    pub fn parse(text: &str) -> Option<Self> {
        if text.len() != 36 {
            return None;
        }
        Uuid::try_parse(text).ok().and_then(Self::from_uuid)
    }

    /// The same from 16 bytes.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        Uuid::from_slice(bytes).ok().and_then(Self::from_uuid)
    }

    fn from_uuid(uuid: Uuid) -> Option<Self> {
        (uuid.get_version_num() == 7 && uuid.get_variant() == uuid::Variant::RFC4122).then_some(Self(uuid))
    }

    /// The 16 bytes; their order is the order of time.
    pub fn as_bytes(&self) -> &[u8; 16] {
        self.0.as_bytes()
    }

    /// The publisher's clock when the id was made, in Unix milliseconds.
    pub fn unix_ms(&self) -> u64 {
        let mut ms = [0; 8];
        ms[2..].copy_from_slice(&self.0.as_bytes()[..6]);
        u64::from_be_bytes(ms)
    }
}

impl fmt::Display for MessageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0.as_hyphenated(), f)
    }
}

impl fmt::Debug for MessageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Serialize for MessageId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.0.as_hyphenated().encode_lower(&mut Uuid::encode_buffer()))
    }
}

impl<'de> Deserialize<'de> for MessageId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = <std::borrow::Cow<'de, str>>::deserialize(deserializer)?;
        Self::parse(&text).ok_or_else(|| serde::de::Error::custom("not a UUID of version 7"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn carries_its_time_and_survives_its_text() {
        let id = MessageId::new(1_732_233_600_123, [0xff; 10]);
        assert_eq!(id.unix_ms(), 1_732_233_600_123);
        assert_eq!(MessageId::parse(&id.to_string()), Some(id));
        assert_eq!(MessageId::from_bytes(id.as_bytes()), Some(id));
    }

    #[test]
    fn refuses_other_versions_and_forms() {
        for text in ["", "c232ab00-9414-11ec-b3c8-9f6bdeced846", "0193523f-4d7b-7fff-bfff-ffffffffff", "0193523f4d7b7fffbfffffffffffffff"] {
            assert_eq!(MessageId::parse(text), None, "{text}");
        }
    }
}
