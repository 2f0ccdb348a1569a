//! The Hubbub wire: frames, their two encodings, names, limits and codes.
//!
//! `PROTOCOL.md` beside this crate is the specification; `vectors/` holds golden bytes for SDKs in any language.
//! This crate owns no socket and no clock: bytes in, frames out. Everything that reads bytes from outside works
//! in memory bounded by its input and never recurses deeper than [`limits::MAX_DEPTH`].

#[cfg(feature = "asyncapi")]
pub mod asyncapi;
pub mod code;
pub mod entry;
pub mod frame;
pub mod id;
pub mod limits;
pub mod name;

mod decode;
pub mod encode;
mod json;
mod msgpack;
mod presence;
mod scan;
mod transcode;

pub use code::{CloseCode, ErrorCode, Retry};
pub use decode::{ClientFrames, DecodeError, ServerFrames};
pub use entry::{Cursor, Entry, Kind, Place};
pub use frame::{ClientFrame, ServerFrame};
pub use id::MessageId;
pub use msgpack::check_payload;
pub use name::{ChannelName, Key};
pub use transcode::{PayloadError, json_payload, msgpack_payload};

use serde::{Deserialize, Serialize};

/// One of the two encodings of `hubbub.v1`. A connection speaks exactly one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    /// `hubbub.v1.msgpack`: binary WebSocket messages.
    Msgpack,
    /// `hubbub.v1.json`: text WebSocket messages, and SSE.
    Json,
}

impl Format {
    /// Every format, in the order a server prefers them.
    pub const ALL: [Format; 2] = [Format::Msgpack, Format::Json];

    /// The WebSocket subprotocol that names this format.
    pub const fn subprotocol(self) -> &'static str {
        match self {
            Format::Msgpack => "hubbub.v1.msgpack",
            Format::Json => "hubbub.v1.json",
        }
    }

    /// The first subprotocol in a `Sec-WebSocket-Protocol` list that this crate speaks.
    pub fn negotiate(offered: &str) -> Option<Format> {
        offered.split(',').find_map(|name| Format::ALL.into_iter().find(|format| format.subprotocol() == name.trim()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_client_s_first_choice_that_is_spoken_here_counts() {
        assert_eq!(Format::negotiate("hubbub.v1.json, hubbub.v1.msgpack"), Some(Format::Json));
        assert_eq!(Format::negotiate("graphql-ws,hubbub.v1.msgpack"), Some(Format::Msgpack));
        for offered in ["", "hubbub.v1", "HUBBUB.V1.JSON", "hubbub.v1.json2", "hubbub.v2.json"] {
            assert_eq!(Format::negotiate(offered), None, "{offered}");
        }
    }
}
