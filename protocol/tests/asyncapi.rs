//! The AsyncAPI document says what is on the wire: every frame of the golden vectors, and every frame that properties make up, is what its
//! message's schema says, and has no field that the schema does not name.
#![cfg(feature = "asyncapi")]

#[path = "properties/strategy.rs"]
#[allow(dead_code)]
mod strategy;

use std::{collections::HashMap, fs, path::Path, sync::LazyLock};

use hubbub_protocol::{
    ClientFrame, Format, Kind, ServerFrame, asyncapi,
    frame::{History, PresenceRequest, SkipReason, Unrecovered},
};
use jsonschema::Validator;
use proptest::prelude::*;
use serde_json::{Value, json};

/// The schema of each message, with no other fields allowed than those that it names.
struct Messages(HashMap<String, Validator>);

static MESSAGES: LazyLock<Messages> = LazyLock::new(Messages::new);

impl Messages {
    fn new() -> Self {
        let document = asyncapi::document("1.2.3");
        let messages = document["components"]["messages"].as_object().unwrap();
        let strict = |message: &Value| {
            let mut schema = message["payload"].clone();
            close(&mut schema);
            jsonschema::draft7::new(&schema).unwrap()
        };
        Self(messages.iter().map(|(name, message)| (name.clone(), strict(message))).collect())
    }

    #[track_caller]
    fn check(&self, name: &str, frame: &Value) {
        let schema = self.0.get(name).unwrap_or_else(|| panic!("the document has no message `{name}`"));
        let faults: Vec<_> = schema.iter_errors(frame).map(|error| format!("{} at {}", error, error.instance_path())).collect();
        assert!(faults.is_empty(), "{name}: {frame}\n{}", faults.join("\n"));
    }
}

/// An object that names its fields has no others.
fn close(schema: &mut Value) {
    match schema {
        Value::Object(fields) => {
            if fields.contains_key("properties") && !fields.contains_key("allOf") {
                fields.insert("additionalProperties".to_owned(), json!(false));
            }
            fields.values_mut().for_each(close);
        }
        Value::Array(items) => items.iter_mut().for_each(close),
        _ => {}
    }
}

fn from_client(frame: &Value) -> String {
    frame["type"].as_str().unwrap().to_owned()
}

/// `answers` says what a reply is one to.
fn from_server(frame: &Value, answers: Option<&str>) -> String {
    match frame["type"].as_str().unwrap() {
        "reply" => format!("{}_reply", answers.expect("a reply says what it answers")),
        "presence" => "presence_change".to_owned(),
        other => other.to_owned(),
    }
}

/// Replies are looked at elsewhere; what a reader does not know no server sends.
fn is_sent(frame: &ServerFrame) -> bool {
    match frame {
        ServerFrame::Reply { .. } | ServerFrame::Unknown => false,
        ServerFrame::Entry(entry) => entry.kind != Kind::Other,
        ServerFrame::Skip(skip) => skip.reason != SkipReason::Other,
        ServerFrame::Subscribed(subscribed) => subscribed.reason != Some(Unrecovered::Other),
        _ => true,
    }
}

/// What is out of range can be said, and is refused.
fn is_in_range(frame: &ClientFrame) -> bool {
    match frame {
        ClientFrame::History(History { limit, .. }) | ClientFrame::Presence(PresenceRequest { limit, .. }) => {
            limit.is_none_or(|limit| (1..=1_000).contains(&limit))
        }
        _ => true,
    }
}

fn vectors(folder: &str) -> Vec<Value> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("vectors").join(folder);
    let files = fs::read_dir(root).unwrap().map(|file| fs::read_to_string(file.unwrap().path()).unwrap());
    files.map(|text| serde_json::from_str(&text).unwrap()).collect()
}

fn frames(vector: &Value) -> Vec<Value> {
    match vector["frames"].as_array() {
        Some(frames) => frames.clone(),
        None => vec![vector["frame"].clone()],
    }
}

#[test]
fn every_golden_frame_is_what_its_schema_says() {
    for vector in vectors("client") {
        frames(&vector).iter().for_each(|frame| MESSAGES.check(&from_client(frame), frame));
    }
    for vector in vectors("server") {
        // A kind that there is not yet: readers have to ignore it.
        for frame in frames(&vector).into_iter().filter(|frame| frame["kind"] != "other") {
            MESSAGES.check(&from_server(&frame, vector["answers"].as_str().or(Some("ping"))), &frame);
        }
    }
}

#[test]
fn what_is_no_frame_is_not_what_its_schema_says() {
    for (name, frame) in [
        ("connect", json!({ "type": "connect" })),
        ("connect", json!({ "type": "connect", "id": 0 })),
        ("publish", json!({ "type": "publish", "channel": "", "payload": 1 })),
        ("publish", json!({ "type": "publish", "channel": "room", "payload": 1, "message_id": "0193" })),
        ("history", json!({ "type": "history", "id": 1, "channel": "room", "limit": 1_001 })),
        ("subscribe", json!({ "type": "subscribe", "id": 1, "channels": [{ "channel": "room", "slow": "never" }] })),
        ("entry", json!({ "type": "entry", "channel": "room", "publisher": "alice", "time": 1u64 << 53, "payload": null })),
        ("ping", json!({ "type": "pong", "id": 1 })),
    ] {
        assert!(!MESSAGES.0[name].is_valid(&frame), "{name}: {frame}");
    }
}

#[test]
fn each_request_has_a_reply_and_each_message_an_example() {
    let document = asyncapi::document("1.2.3");
    let operations = document["operations"].as_object().unwrap();
    assert_eq!(operations.values().filter(|operation| operation["action"] == "receive").count(), 8);
    for (name, operation) in operations {
        assert!(operation["summary"].as_str().is_some_and(|text| !text.is_empty()), "{name}");
        assert!(operation["action"] == "send" || operation["reply"]["messages"].as_array().is_some_and(|all| all.len() == 2), "{name}");
    }
    for (name, message) in document["components"]["messages"].as_object().unwrap() {
        let examples = message["examples"].as_array().unwrap();
        assert!(!examples.is_empty(), "{name} has no example");
        examples.iter().for_each(|example| MESSAGES.check(name, &example["payload"]));
    }
    assert_eq!(document["info"]["version"], "1.2.3");
}

proptest! {
    #[test]
    fn whatever_a_client_may_send_is_what_its_schema_says(frames in proptest::collection::vec(strategy::client_frame(), 16)) {
            for frame in frames.into_iter().filter(is_in_range) {
            let mut text = Vec::new();
            frame.encode(Format::Json, &mut text);
            let frame: Value = serde_json::from_slice(&text).unwrap();
            MESSAGES.check(&from_client(&frame), &frame);
        }
    }

    #[test]
    fn whatever_a_server_may_send_is_what_its_schema_says(frames in proptest::collection::vec(strategy::server_frame(), 16)) {
        for frame in frames.into_iter().filter(is_sent) {
            let mut text = Vec::new();
            frame.encode(Format::Json, &mut text);
            let frame: Value = serde_json::from_slice(&text).unwrap();
            MESSAGES.check(&from_server(&frame, None), &frame);
        }
    }
}
