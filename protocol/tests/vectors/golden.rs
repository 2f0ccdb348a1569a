//! `client/` and `server/`: what is decoded from either encoding is encoded to exactly these bytes in both.

use std::fs;

use hubbub_protocol::{
    ClientFrame, Format, ServerFrame,
    encode::{self, HistoryRest},
    frame::*,
};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::value::RawValue;

use crate::{client_frames, hex, read, root, server_frames, unhex};

/// One message: `frame`, or `frames` back to back.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Golden {
    name: String,
    note: Option<String>,
    /// What the request was, if a frame is a reply: the type of its result.
    answers: Option<String>,
    frame: Option<Box<RawValue>>,
    frames: Option<Vec<Box<RawValue>>>,
    msgpack: String,
}

impl Golden {
    /// The message in `format`.
    pub fn message(&self, format: Format) -> Vec<u8> {
        match format {
            Format::Msgpack => unhex(&self.msgpack),
            Format::Json => self.frame.iter().chain(self.frames.iter().flatten()).flat_map(|frame| frame.get().bytes()).collect(),
        }
    }

    /// The file with `msgpack` in place of what it has.
    fn blessed(&self, msgpack: &[u8]) -> String {
        let quote = |text: &str| serde_json::to_string(text).unwrap();
        let mut lines = vec![("name", quote(&self.name))];
        lines.extend(self.note.iter().map(|note| ("note", quote(note))));
        lines.extend(self.answers.iter().map(|answers| ("answers", quote(answers))));
        lines.extend(self.frame.iter().map(|frame| ("frame", frame.to_string())));
        lines.extend(self.frames.iter().map(|frames| ("frames", serde_json::to_string(frames).unwrap())));
        lines.push(("msgpack", quote(&hex(msgpack))));
        let lines: Vec<_> = lines.into_iter().map(|(name, value)| format!("  \"{name}\": {value}")).collect();
        format!("{{\n{}\n}}\n", lines.join(",\n"))
    }

    fn check(&self, slug: &str, reencode: impl Fn(Format, &[u8], Format) -> Vec<u8>) {
        if std::env::var_os("HUBBUB_BLESS").is_some() {
            let msgpack = reencode(Format::Json, &self.message(Format::Json), Format::Msgpack);
            fs::write(root().join(slug).with_extension("json"), self.blessed(&msgpack)).unwrap();
            return;
        }
        for from in Format::ALL {
            for to in Format::ALL {
                let encoded = reencode(from, &self.message(from), to);
                assert!(encoded == self.message(to), "{slug}: {from:?} to {to:?} is {}", encoded.escape_ascii());
            }
        }
    }
}

#[test]
fn client_frames_are_these_bytes() {
    for (slug, golden) in read::<Golden>("client") {
        golden.check(&slug, |from, message, to| {
            let frames = client_frames(from, message).unwrap_or_else(|error| panic!("{slug}: {error}"));
            let mut out = Vec::new();
            frames.iter().for_each(|frame: &ClientFrame| frame.encode(to, &mut out));
            out
        });
    }
}

#[test]
fn server_frames_are_these_bytes() {
    for (slug, golden) in read::<Golden>("server") {
        golden.check(&slug, |from, message, to| {
            let frames = server_frames(from, message).unwrap_or_else(|error| panic!("{slug}: {error}"));
            let mut out = Vec::new();
            for frame in &frames {
                match frame {
                    ServerFrame::Reply { id, result } if from != to => {
                        let answers = golden.answers.as_deref().unwrap_or_else(|| panic!("{slug}: what does the reply answer?"));
                        reencode_result(answers, *id, result, to, &mut out);
                    }
                    // In its own format a result is passed on as it is.
                    frame => frame.encode(to, &mut out),
                }
            }
            out
        });
    }
}

/// Reads a result as the type that the request's kind has, and writes it in the other format.
fn reencode_result(answers: &str, id: RequestId, result: &RawResult, to: Format, out: &mut Vec<u8>) {
    fn typed<T: DeserializeOwned + Serialize>(id: RequestId, result: &RawResult, to: Format, out: &mut Vec<u8>) {
        encode::reply(to, id, &result.read::<T>().expect("the result has its request's type"), out);
    }
    match answers {
        "connect" => typed::<Connected>(id, result, to, out),
        "refresh" => typed::<Refreshed>(id, result, to, out),
        "subscribe" => typed::<Channels<Subscribed>>(id, result, to, out),
        "unsubscribe" => typed::<Channels<UnsubscribedChannel>>(id, result, to, out),
        "publish" => typed::<Published>(id, result, to, out),
        "ping" => typed::<Pong>(id, result, to, out),
        "presence" => typed::<PresencePage>(id, result, to, out),
        "history" => {
            let page = result.history().expect("the result is a page of history");
            let rest = HistoryRest { head: page.head, first: page.first, more: page.more };
            encode::history_reply(to, id, rest, page.entries.iter(), out);
        }
        other => panic!("nothing answers {other}"),
    }
}
