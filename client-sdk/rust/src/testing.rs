//! What the unit tests share: the server's half of a conversation, without a socket.

use hubbub_protocol::{ChannelName, ClientFrame, ClientFrames, Format, ServerFrame, ServerFrames, encode, frame::RawResult};
use serde::Serialize;

use crate::batch::Batch;

/// A channel's name.
pub(crate) fn channel(name: &str) -> ChannelName {
    ChannelName::parse(name).unwrap()
}

/// A message that takes whatever the protocol allows.
pub(crate) fn batch() -> Batch {
    Batch::new(Format::Msgpack, u64::MAX)
}

/// The frames of a finished message.
pub(crate) fn frames(batch: Batch) -> Vec<ClientFrame> {
    let bytes = batch.finish().unwrap_or_default();
    ClientFrames::new(Format::Msgpack, &bytes, usize::MAX).map(Result::unwrap).collect()
}

/// A result as it comes from the wire.
pub(crate) fn result<T: Serialize>(value: &T) -> RawResult {
    let mut bytes = Vec::new();
    encode::reply(Format::Msgpack, 1, value, &mut bytes);
    match ServerFrames::new(Format::Msgpack, &bytes).next() {
        Some(Ok(ServerFrame::Reply { result, .. })) => result,
        other => panic!("not a reply: {other:?}"),
    }
}
