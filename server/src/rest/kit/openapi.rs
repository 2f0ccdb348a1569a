//! The OpenAPI 3.1 document: made of the handlers' own annotations and types, and completed with what holds for all of them.

use std::sync::Arc;

use http::HeaderValue;
use hubbub_protocol::{ErrorCode, Retry};
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
    document["components"] = Value::Object(with_common(components));
    if let Some(paths) = document["paths"].as_object_mut() {
        for (path, item) in paths.iter_mut() {
            for method in METHODS {
                if let Some(operation) = item.get_mut(method) {
                    complete(path, method, operation);
                }
            }
        }
    }
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

/// Schemas, responses and credentials that many operations refer to.
fn with_common(mut components: Map<String, Value>) -> Map<String, Value> {
    let schemas = components.entry("schemas").or_insert_with(|| json!({}));
    schemas["Problem"] = problem();
    let responses: Map<String, Value> = STATUSES
        .iter()
        .map(|(status, text)| {
            let codes: Vec<_> = ErrorCode::ALL.iter().filter(|code| code.status() == *status).map(|code| format!("`{}`", code.as_str())).collect();
            let description = if codes.is_empty() { (*text).to_owned() } else { format!("{text} Codes: {}.", codes.join(", ")) };
            let content = json!({ "application/problem+json": { "schema": { "$ref": "#/components/schemas/Problem" }, "example": example(*status) } });
            (status.to_string(), json!({ "description": description, "content": content }))
        })
        .collect();
    components.insert("responses".to_owned(), Value::Object(responses));
    components.insert(
        "securitySchemes".to_owned(),
        json!({
            "token": { "type": "http", "scheme": "bearer", "bearerFormat": "JWT", "description": "An access token: of `/v1/login`, or of an outside issuer." },
            "apiKey": { "type": "http", "scheme": "bearer", "description": "A key of `/v1/api-keys`, `hbk_…`." },
        }),
    );
    components
}

/// The statuses of problems, and what they are about.
const STATUSES: [(u16, &str); 16] = [
    (400, "The request cannot be read."),
    (401, "There are no credentials, or none that are good."),
    (403, "The credentials do not allow it."),
    (404, "There is nothing at this address, or nothing that these credentials may see."),
    (405, "This address does not take the method."),
    (406, "It cannot be had as any of the media types of `Accept`."),
    (409, "What is there excludes it."),
    (412, "It has changed since the version of `If-Match`."),
    (413, "The body is too long."),
    (415, "The body's media type or coding is not taken."),
    (416, "None of the bytes of `Range` is there."),
    (422, "Fields break their rules; `errors` names each."),
    (428, "The change takes an `If-Match`."),
    (429, "Too many requests in a short time; `Retry-After` says for how long."),
    (500, "A fault of the server."),
    (503, "Not now: the store does not answer, a queue is full, or the instance shuts down."),
];

fn problem() -> Value {
    let codes: Vec<_> = ErrorCode::ALL.iter().map(|code| code.as_str()).collect();
    let retries = [Retry::Never, Retry::Now, Retry::Later, Retry::Refresh];
    json!({
        "type": "object",
        "description": "What went wrong (RFC 9457).",
        "required": ["type", "title", "status", "detail", "code", "retry", "request_id"],
        "properties": {
            "type": { "type": "string", "description": "`urn:hubbub:error:` and the code." },
            "title": { "type": "string", "description": "The status, for people." },
            "status": { "type": "integer", "minimum": 400, "maximum": 599 },
            "detail": { "type": "string", "description": "What went wrong and what to do, for people." },
            "code": { "type": "string", "description": "What went wrong, for programs. The set grows.", "examples": codes },
            "retry": { "type": "string", "description": "Whether the same request may succeed, and when.", "enum": retries.map(|retry| serde_json::to_value(retry).unwrap_or_default()) },
            "request_id": { "type": "string", "description": "The request's id, as in `X-Request-Id`." },
            "errors": {
                "type": "array",
                "description": "Each thing that is wrong.",
                "items": {
                    "type": "object",
                    "required": ["code", "detail"],
                    "properties": {
                        "pointer": { "type": "string", "description": "Where in the body: a JSON pointer (RFC 6901)." },
                        "parameter": { "type": "string", "description": "Which parameter of the query." },
                        "code": { "type": "string", "description": "What, for programs." },
                        "detail": { "type": "string", "description": "What is accepted, for people." },
                    },
                },
            },
        },
    })
}

fn example(status: u16) -> Value {
    let code = ErrorCode::ALL.iter().find(|code| code.status() == status).copied().unwrap_or(ErrorCode::Internal);
    let title = http::StatusCode::from_u16(status).ok().and_then(|status| status.canonical_reason()).unwrap_or("Error");
    json!({
        "type": format!("urn:hubbub:error:{}", code.as_str()), "title": title, "status": status, "detail": "What went wrong, and what to do.",
        "code": code.as_str(), "retry": code.retry(), "request_id": "019bd3d5-7b1c-7cc0-8d2f-3f1e6a0c9a11",
    })
}

/// What is annotated as JSON can be had in the other formats too; bodies are taken in them.
fn spell(method: &str, operation: &mut Value) {
    let answers = operation["responses"].as_object_mut().into_iter().flat_map(|answers| answers.values_mut());
    for content in answers.filter_map(|answer| answer.get_mut("content")) {
        let Some(json) = content.get("application/json").cloned() else { continue };
        content["application/msgpack"] = json!({ "schema": json["schema"] });
        if json["schema"]["$ref"].as_str().is_some_and(|name| name.contains("/Page_")) {
            content["application/x-ndjson"] = json!({ "schema": { "type": "string", "description": "An item a line." } });
            content["text/csv"] = json!({ "schema": { "type": "string", "description": "Field names, then an item a row." } });
        }
    }
    if let Some(content) = operation.get_mut("requestBody").and_then(|body| body.get_mut("content"))
        && let Some(json) = content.get("application/json").cloned()
    {
        content["application/msgpack"] = json!({ "schema": json["schema"] });
        if method == "patch" {
            content["application/merge-patch+json"] = json!({ "schema": json["schema"] });
        }
    }
    // The summary says it all where there is nothing more to say.
    if operation["description"].is_null() {
        operation["description"] = json!(format!("{}.", operation["summary"].as_str().unwrap_or_default()));
    }
}

/// Errors that an operation can answer with, by what it takes.
fn complete(path: &str, method: &str, operation: &mut Value) {
    spell(method, operation);
    let is_public =
        operation["security"].as_array().is_some_and(|schemes| schemes.iter().any(|scheme| scheme.as_object().is_some_and(Map::is_empty)));
    let headers: Vec<String> = parameters(operation, "header");
    let mut statuses = vec![400, 429, 500, 503];
    let mut when = |holds: bool, more: &[u16]| statuses.extend(more.iter().filter(|_| holds));
    let has_query = !parameters(operation, "query").is_empty();
    when(!is_public, &[401, 403]);
    when(path.contains('{') || !is_public, &[404]);
    when(has_query, &[422]);
    when(operation.get("requestBody").is_some(), &[413, 415, 422]);
    when(operation["responses"].to_string().contains("application/msgpack"), &[406]);
    when(headers.iter().any(|name| name == "If-Match"), &[412, 428]);
    when(matches!(method, "post" | "put" | "patch" | "delete"), &[409, 422]);
    for status in statuses {
        let answers = &mut operation["responses"][status.to_string()];
        if answers.is_null() {
            *answers = json!({ "$ref": format!("#/components/responses/{status}") });
        }
    }
    // What an operation says itself of a problem is that there is one: what it looks like holds for all.
    for (status, answer) in operation["responses"].as_object_mut().into_iter().flatten() {
        if status.as_str() >= "400" && answer["content"].is_null() && answer["$ref"].is_null() {
            *answer = json!({ "$ref": format!("#/components/responses/{status}") });
        }
    }
    if is_public {
        operation["security"] = json!([]);
    } else if operation["security"].is_null() {
        operation["security"] = json!([{ "token": [] }, { "apiKey": [] }]);
    }
}

fn parameters(operation: &Value, place: &str) -> Vec<String> {
    let all = operation["parameters"].as_array().map(Vec::as_slice).unwrap_or_default();
    all.iter().filter(|one| one["in"] == place).filter_map(|one| one["name"].as_str().map(str::to_owned)).collect()
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
const TAGS: [(&str, &str); 13] = [
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
    ("uploads", "Files."),
    ("users", "Everybody who was ever seen."),
];
