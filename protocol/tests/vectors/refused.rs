//! `refused/`: what is refused, with which code, and whether reading goes on.

use hubbub_protocol::{ClientFrames, CloseCode, DecodeError, ErrorCode, Format, ServerFrames, frame::RequestId, limits};
use serde::Deserialize;

use crate::{read, unhex};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Refused {
    #[serde(rename = "name")]
    _name: String,
    #[serde(rename = "note")]
    _note: Option<String>,
    #[serde(default)]
    from: Peer,
    format: Format,
    /// The message: `bytes` in hex, or `text`.
    bytes: Option<String>,
    text: Option<String>,
    max_payload: Option<usize>,
    /// How many frames are read before the refusal.
    #[serde(default)]
    after: usize,
    expect: Expect,
}

#[derive(Deserialize, Default, Clone, Copy)]
#[serde(rename_all = "lowercase")]
enum Peer {
    #[default]
    Client,
    Server,
}

#[derive(Deserialize)]
#[serde(untagged, deny_unknown_fields)]
enum Expect {
    Close { close: u16 },
    Error { error: String, id: Option<RequestId> },
}

#[derive(Debug, PartialEq)]
enum Outcome {
    Frame,
    Error(Option<RequestId>, ErrorCode),
    Close(CloseCode),
}

impl Refused {
    fn message(&self) -> Vec<u8> {
        match (&self.bytes, &self.text) {
            (Some(hex), None) => unhex(hex),
            (None, Some(text)) => text.clone().into_bytes(),
            _ => panic!("a message is `bytes` or `text`"),
        }
    }

    fn outcomes(&self, message: &[u8]) -> Vec<Outcome> {
        fn outcome<T>(step: Result<T, DecodeError>) -> Outcome {
            match step {
                Ok(_) => Outcome::Frame,
                Err(DecodeError::Frame { id, code, .. }) => Outcome::Error(id, code),
                Err(DecodeError::Fatal(code)) => Outcome::Close(code),
            }
        }
        let max_payload = self.max_payload.unwrap_or(limits::DEFAULT_PAYLOAD);
        match self.from {
            Peer::Client => ClientFrames::new(self.format, message, max_payload).map(outcome).collect(),
            Peer::Server => ServerFrames::new(self.format, message).map(outcome).collect(),
        }
    }
}

#[test]
fn refusals_have_these_codes() {
    for (slug, refused) in read::<Refused>("refused") {
        let mut message = refused.message();
        let mut expected: Vec<_> = (0..refused.after).map(|_| Outcome::Frame).collect();
        match &refused.expect {
            Expect::Close { close } => {
                let code = CloseCode::ALL.iter().find(|code| code.code() == *close).unwrap_or_else(|| panic!("{slug}: no such code"));
                expected.push(Outcome::Close(*code));
            }
            Expect::Error { error, id } => {
                let code = ErrorCode::parse(error).unwrap_or_else(|| panic!("{slug}: no such code"));
                expected.extend([Outcome::Error(*id, code), Outcome::Frame]);
                message.extend(harmless(refused.from, refused.format));
            }
        }
        assert_eq!(refused.outcomes(&message), expected, "{slug}");
    }
}

/// A frame that is read after an error as if nothing had happened.
fn harmless(from: Peer, format: Format) -> &'static [u8] {
    match (from, format) {
        (Peer::Client, Format::Msgpack) => b"\x82\xa4type\xa4ping\xa2id\x01",
        (Peer::Client, Format::Json) => br#" {"type":"ping","id":1}"#,
        (Peer::Server, Format::Msgpack) => b"\x81\xa4type\xa5party",
        (Peer::Server, Format::Json) => br#" {"type":"party"}"#,
    }
}
