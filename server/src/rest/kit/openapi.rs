//! The OpenAPI 3.1 document: made of the handlers' own annotations and types, and completed with what holds for all of them.

mod components;
mod examples;
mod operation;

use std::sync::Arc;

use http::HeaderValue;
use serde_json::{Map, Value, json};
use utoipa::openapi::OpenApi;

/// The document, as it is served.
#[derive(Debug, Clone)]
pub(crate) struct Document {
    /// JSON.
    pub(crate) json: Arc<[u8]>,
    /// Changes with it.
    pub(crate) tag: HeaderValue,
}

const METHODS: [&str; 7] = ["get", "head", "post", "put", "patch", "delete", "options"];

/// Completes the document: errors of each operation by what it takes, security, and the texts of the whole.
pub(crate) fn finish(api: OpenApi) -> Document {
    let mut document = serde_json::to_value(api).unwrap_or_default();
    document["openapi"] = json!("3.1.0");
    document["info"] = json!({
        "title": "Hubbub",
        "version": env!("CARGO_PKG_VERSION"),
        "summary": "A chat backend and a live-dashboard feed.",
        "description": include_str!("openapi.md"),
        "contact": { "name": "The makers of Hubbub" },
        "license": { "name": "MIT OR Apache-2.0", "identifier": "MIT OR Apache-2.0" },
    });
    document["servers"] = json!([{ "url": "/", "description": "The server that serves this document." }]);
    let components = document["components"].as_object_mut().cloned().unwrap_or_default();
    document["components"] = Value::Object(components::with_common(components));
    let examples = examples::examples();
    if let Some(paths) = document["paths"].as_object_mut() {
        for (path, item) in paths.iter_mut() {
            for method in METHODS {
                if let Some(operation) = item.get_mut(method) {
                    operation::complete(path, method, operation);
                    examples::show(path, operation, &examples);
                }
            }
        }
    }
    components::prune(&mut document);
    document["tags"] = tags(&document);
    Document::new(&document)
}

impl Document {
    /// What is served of `document`.
    pub(crate) fn new(document: &Value) -> Self {
        let json: Arc<[u8]> = document.to_string().into_bytes().into();
        let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, &json);
        let tag: String = digest.as_ref()[..8].iter().map(|byte| format!("{byte:02x}")).collect();
        Self { tag: HeaderValue::try_from(format!("\"{tag}\"")).unwrap_or(HeaderValue::from_static("\"\"")), json }
    }
}

/// Every tag that an operation has, with what it is about.
fn tags(document: &Value) -> Value {
    let mut names = std::collections::BTreeSet::new();
    for item in document["paths"].as_object().into_iter().flat_map(Map::values) {
        for operation in METHODS.iter().filter_map(|method| item.get(*method)) {
            names.extend(operation["tags"].as_array().into_iter().flatten().filter_map(|tag| tag.as_str().map(str::to_owned)));
        }
    }
    let about = |name: &str| TAGS.iter().find(|(known, _)| *known == name).map_or("", |(_, text)| *text);
    names.iter().map(|name| json!({ "name": name, "description": about(name) })).collect()
}

/// What the resources are.
const TAGS: [(&str, &str); 14] = [
    ("accounts", "Registering, logging in, tokens."),
    ("api-keys", "Keys of backends."),
    ("audit", "Who did what."),
    ("bans", "Who may not, in a channel."),
    ("channels", "Channels and what is known of them."),
    ("entries", "The log of a channel, as it stands."),
    ("instances", "The instances of the database."),
    ("members", "Who belongs to a channel, and in which role."),
    ("messages", "Messages as they stand now: with their edits, without what was deleted."),
    ("server", "What backends do, many things in one request."),
    ("sessions", "Logins, by device."),
    ("sessions over HTTP", "What a socket does, where there are no sockets: PROTOCOL.md, section 9."),
    ("uploads", "Files."),
    ("users", "Everybody who was ever seen."),
];
