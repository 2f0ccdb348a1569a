//! The socket as an AsyncAPI 3 document: its frames' schemas come from the frames' own types, its examples from the golden vectors.
//!
//! It describes the server: what it *receives* from clients, each with its *reply*, and what it *sends* by itself.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, generate::SchemaSettings, json_schema};
use serde_json::{Map, Value, json};

use crate::{
    ChannelName, ClientFrame, Format, Key, MessageId, ServerFrame,
    frame::{Channels, Connected, HistoryPage, Pong, PresencePage, Published, Refreshed, Subscribed, UnsubscribedChannel},
    limits,
};

const CHANNEL: &str = "#/channels/socket";

/// The document, of a server of this version.
pub fn document(version: &str) -> Value {
    let mut messages = Map::new();
    let mut operations = Map::new();
    for (name, payload) in variants::<ClientFrame>() {
        let result = answer(&name).map(|(result, text)| {
            let reply = format!("{name}_reply");
            let about = format!("The answer to `{name}`.");
            messages.insert(reply.clone(), message(&reply, &about, replied(result), examples(&reply)));
            (reply, text)
        });
        let about = said(&payload);
        operations.insert(name.clone(), received(&name, &about, result));
        messages.insert(name.clone(), message(&name, &about, requested(payload), examples(&name)));
    }
    for (name, payload) in variants::<ServerFrame>() {
        // Each request has a reply of its own, above.
        if name == "reply" {
            continue;
        }
        let about = said(&payload);
        // Both sides have a frame `presence`.
        let key = if messages.contains_key(&name) { format!("{name}_change") } else { name.clone() };
        operations.insert(format!("send_{name}"), sent(&key, &about));
        messages.insert(key.clone(), message(&key, &about, payload, examples(&key)));
    }
    let on_channel: Map<String, Value> =
        messages.keys().map(|name| (name.clone(), json!({ "$ref": format!("#/components/messages/{name}") }))).collect();
    json!({
        "asyncapi": "3.0.0",
        "info": {
            "title": "Hubbub's socket",
            "version": version,
            "description": DESCRIPTION,
            "contact": { "name": "The makers of Hubbub" },
            "license": { "name": "MIT OR Apache-2.0" },
        },
        "defaultContentType": "application/json",
        "servers": { "hubbub": {
            "host": "{host}",
            "protocol": "ws",
            "description": "A server of Hubbub; `wss` behind a proxy that speaks TLS.",
            "variables": { "host": { "default": "localhost:8080", "description": "Where it listens." } },
            "security": [{ "$ref": "#/components/securitySchemes/token" }],
        } },
        "channels": { "socket": {
            "address": "/v1/ws",
            "title": "The socket",
            "description": "One WebSocket carries everything. A message of it holds one or more frames, back to back.",
            "servers": [{ "$ref": "#/servers/hubbub" }],
            "messages": on_channel,
            "bindings": { "ws": {
                "method": "GET",
                "headers": {
                    "type": "object",
                    "required": ["Sec-WebSocket-Protocol"],
                    "properties": { "Sec-WebSocket-Protocol": {
                        "type": "string", "enum": Format::ALL.map(Format::subprotocol),
                        "description": "Frames as MessagePack in binary messages, or as JSON in text messages.",
                    } },
                },
                "bindingVersion": "0.1.0",
            } },
        } },
        "operations": operations,
        "components": {
            "messages": messages,
            "securitySchemes": { "token": {
                "type": "http", "scheme": "bearer", "bearerFormat": "JWT",
                "description": "In the frame `connect`, or in the upgrade's `Authorization` header; never in a URL.",
            } },
        },
    })
}

const DESCRIPTION: &str = "Frames of `hubbub.v1`, between a server of Hubbub and its clients. The payloads below are the JSON form; a \
    MessagePack frame has the same fields. PROTOCOL.md is the specification, and says in which order things happen. Fields and frames are \
    added, never changed or removed: ignore those that you do not know.";

/// What a request's reply holds, and what it says; `None` if it has none.
fn answer(request: &str) -> Option<(Schema, &'static str)> {
    Some(match request {
        "connect" => (result::<Connected>(), "The session, and the bounds of this server."),
        "refresh" => (result::<Refreshed>(), "Until when the new token is good."),
        "subscribe" => (result::<Channels<Subscribed>>(), "What became of each channel."),
        "unsubscribe" => (result::<Channels<UnsubscribedChannel>>(), "What became of each channel."),
        "publish" => (result::<Published>(), "In a durable channel: it is stored. None without an `id`."),
        "history" => (history(), "A page of entries."),
        "presence" => (result::<PresencePage>(), "A page of members."),
        "ping" => (result::<Pong>(), "The server's clock."),
        _ => return None,
    })
}

/// The example frames of a message, by the golden vectors.
fn examples(message: &str) -> Vec<Value> {
    VECTORS.iter().filter(|(of, _)| *of == message).map(|(_, text)| example(text)).collect()
}

fn example(text: &str) -> Value {
    let vector: Value = serde_json::from_str(text).unwrap_or_else(|error| unreachable!("a vector is JSON: {error}"));
    json!({ "name": vector["name"], "payload": vector["frame"] })
}

macro_rules! vectors {
    ($($message:literal: $($file:literal),+;)*) => {
        /// For each message, files that show it.
        const VECTORS: &[(&str, &str)] = &[$($(($message, include_str!(concat!("../vectors/", $file, ".json")))),+),*];
    };
}

vectors! {
    "connect": "client/connect-token", "client/connect-auto";
    "connect_reply": "server/reply-connect";
    "refresh": "client/refresh";
    "refresh_reply": "server/reply-refresh";
    "subscribe": "client/subscribe-since", "client/subscribe-presence";
    "subscribe_reply": "server/reply-subscribe-recovered", "server/reply-subscribe-refused";
    "unsubscribe": "client/unsubscribe-one";
    "unsubscribe_reply": "server/reply-unsubscribe";
    "publish": "client/publish-all";
    "publish_reply": "server/reply-publish-durable";
    "history": "client/history-after";
    "history_reply": "server/reply-history";
    "presence": "client/presence-first";
    "presence_reply": "server/reply-presence";
    "ping": "client/ping";
    "ping_reply": "server/reply-ping";
    "error": "server/error-later-after";
    "entry": "server/entry-durable", "server/entry-edit", "server/entry-delete";
    "skip": "server/skip-superseded";
    "heads": "server/heads";
    "presence_change": "server/presence-changes";
    "subscribed": "server/subscribed-recovered", "server/subscribed-refused";
    "unsubscribed": "server/unsubscribed";
    "disconnect": "server/disconnect-draining";
}

/// The frames of a side, by their `type`.
fn variants<T: JsonSchema>() -> Vec<(String, Schema)> {
    let mut whole = generator().into_root_schema_for::<T>().to_value();
    let variants = whole["oneOf"].take();
    let named = |variant: Value| {
        let name = variant["properties"]["type"]["const"].as_str().unwrap_or_default().to_owned();
        (name, Schema::try_from(variant).unwrap_or_default())
    };
    variants.as_array().cloned().unwrap_or_default().into_iter().map(named).collect()
}

/// Each schema is whole by itself; integers go as far as a double holds them exactly.
fn generator() -> SchemaGenerator {
    let settings = SchemaSettings::draft07().with(|settings| {
        settings.meta_schema = None;
        settings.inline_subschemas = true;
    });
    settings.with_transform(schemars::transform::RecursiveTransform(bound)).into_generator()
}

fn bound(schema: &mut Schema) {
    if schema.get("format").is_some_and(|format| format == "uint64") {
        schema.remove("format");
        schema.insert("maximum".to_owned(), json!(limits::MAX_INTEGER));
    }
}

fn result<T: JsonSchema>() -> Schema {
    generator().into_root_schema_for::<T>()
}

/// A page of history: its entries are the frames that subscribers see.
fn history() -> Schema {
    let mut page = result::<HistoryPage>().to_value();
    let entry = variants::<ServerFrame>().into_iter().find(|(name, _)| name == "entry");
    if let (Some((_, entry)), Some(items)) = (entry, page.pointer_mut("/properties/entries/items")) {
        *items = entry.to_value();
    }
    Schema::try_from(page).unwrap_or_default()
}

/// The frame that carries `result`.
fn replied(result: Schema) -> Schema {
    json_schema!({
        "type": "object",
        "properties": {
            "type": { "type": "string", "const": "reply" },
            "id": { "type": "integer", "minimum": 1, "maximum": u32::MAX, "description": "The request." },
            "result": result,
        },
        "required": ["type", "id", "result"],
    })
}

/// A frame from a client: requests are numbered from 1.
fn requested(frame: Schema) -> Schema {
    let mut frame = frame.to_value();
    if let Some(id) = frame.pointer_mut("/properties/id") {
        id["minimum"] = json!(1);
        id["maximum"] = json!(u32::MAX);
    }
    Schema::try_from(frame).unwrap_or_default()
}

/// What the type says of itself.
fn said(frame: &Schema) -> String {
    frame.get("description").and_then(Value::as_str).unwrap_or_default().to_owned()
}

fn title(name: &str) -> String {
    name.replace('_', " ")
}

fn message(name: &str, about: &str, payload: Schema, examples: Vec<Value>) -> Value {
    let mut message = json!({
        "name": name, "title": title(name), "summary": about, "contentType": "application/json", "payload": payload, "examples": examples,
    });
    if message.pointer("/payload/properties/id").is_some() {
        message["correlationId"] =
            json!({ "location": "$message.payload#/id", "description": "The request's number, which its answer carries." });
    }
    message
}

fn refer(name: &str) -> Value {
    json!({ "$ref": format!("{CHANNEL}/messages/{name}") })
}

fn received(name: &str, about: &str, reply: Option<(String, &str)>) -> Value {
    let mut operation =
        json!({ "action": "receive", "channel": { "$ref": CHANNEL }, "title": title(name), "summary": about, "messages": [refer(name)] });
    if let Some((reply, text)) = reply {
        operation["description"] = json!(format!("Answered by: {text}"));
        operation["reply"] = json!({ "channel": { "$ref": CHANNEL }, "messages": [refer(&reply), refer("error")] });
    }
    operation
}

fn sent(name: &str, about: &str) -> Value {
    json!({ "action": "send", "channel": { "$ref": CHANNEL }, "title": title(name), "summary": about, "messages": [refer(name)] })
}

macro_rules! text {
    ($($type:ty, $name:literal: $schema:tt;)*) => {
        $(impl JsonSchema for $type {
            fn schema_name() -> Cow<'static, str> { $name.into() }
            fn json_schema(_: &mut SchemaGenerator) -> Schema { json_schema!($schema) }
        })*
    };
}

text! {
    ChannelName, "ChannelName": {
        "type": "string", "minLength": 1, "maxLength": limits::MAX_CHANNEL_NAME,
        "description": "A channel's name: 1 to 128 bytes of UTF-8 in normalization form C; letters, digits and marks of any script, and - _ . : @ + ~ = ,",
    };
    Key, "Key": {
        "type": "string", "minLength": 1, "maxLength": limits::MAX_KEY, "description": "1 to 64 bytes of UTF-8 without control characters.",
    };
    MessageId, "MessageId": {
        "type": "string", "format": "uuid",
        "pattern": "^[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-7[0-9a-fA-F]{3}-[89abAB][0-9a-fA-F]{3}-[0-9a-fA-F]{12}$",
        "description": "A UUID of version 7 (RFC 9562).",
    };
}
