//! What is published.

use bytes::Bytes;
use hubbub_protocol::{ChannelName, Key, MessageId, PayloadError, check_payload};
use serde::Serialize;
use thiserror::Error;

/// A message to be published.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// Where.
    pub channel: ChannelName,
    /// One MessagePack value, at most `Connected::limits.payload` bytes (64 KiB by default).
    pub payload: Bytes,
    /// What it is about: a newer message of a key supersedes the older ones for whoever wants only the latest.
    pub key: Option<Key>,
    /// Makes a retry safe. The client makes one, from the server's clock, if it is absent.
    pub message_id: Option<MessageId>,
}

/// A value that has no MessagePack form.
#[derive(Debug, Error)]
#[error("the value cannot be written as MessagePack: {0}")]
pub struct EncodeError(#[from] rmp_serde::encode::Error);

impl Message {
    /// A message with a payload that is MessagePack already.
    pub fn new(channel: ChannelName, payload: Bytes) -> Self {
        Self { channel, payload, key: None, message_id: None }
    }

    /// A message with `value` as its payload; structs become maps.
    ///
    /// # Errors
    /// [`EncodeError`] if `value` fails to serialize.
    ///
    /// ```
    /// use hubbub_client::{ChannelName, Key, Message};
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let tick = Message::encode(ChannelName::parse("ticker:fx")?, &1.0842)?.key(Key::parse("EURUSD")?);
    /// assert_eq!(tick.payload.len(), 9);
    /// # Ok(())
    /// # }
    /// ```
    pub fn encode<T: Serialize + ?Sized>(channel: ChannelName, value: &T) -> Result<Self, EncodeError> {
        Ok(Self::new(channel, rmp_serde::to_vec_named(value)?.into()))
    }

    /// The same with a key.
    pub fn key(mut self, key: Key) -> Self {
        self.key = Some(key);
        self
    }

    /// The same with an id of the caller's: keep it to publish the same message again, after a restart say.
    pub fn message_id(mut self, id: MessageId) -> Self {
        self.message_id = Some(id);
        self
    }

    /// Whether the payload can be carried. One that cannot would cost the connection: it breaks the frame around it.
    pub(crate) fn check(&self) -> Result<(), PayloadError> {
        check_payload(&self.payload)
    }
}

#[cfg(test)]
mod tests {
    use hubbub_protocol::limits::MAX_PAYLOAD_DEPTH;

    use super::*;

    fn check(payload: Vec<u8>) -> Result<(), PayloadError> {
        Message::new(ChannelName::parse("a").unwrap(), payload.into()).check()
    }

    #[test]
    fn a_payload_is_one_value_of_bounded_depth() {
        assert_eq!(check(vec![0xc0]), Ok(()));
        assert_eq!(check(vec![]), Err(PayloadError::Malformed));
        assert_eq!(check(vec![0xc0, 0xc0]), Err(PayloadError::Malformed));
        assert_eq!(check([vec![0x91; MAX_PAYLOAD_DEPTH], vec![0xc0]].concat()), Ok(()));
        assert_eq!(check([vec![0x91; MAX_PAYLOAD_DEPTH + 1], vec![0xc0]].concat()), Err(PayloadError::TooDeep));
    }
}
