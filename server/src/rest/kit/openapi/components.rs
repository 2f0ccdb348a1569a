//! What many operations refer to: problems, headers, credentials; and none of it that no operation does.

use std::collections::BTreeSet;

use hubbub_protocol::{ErrorCode, Retry};
use serde_json::{Map, Value, json};

/// Adds what many operations refer to.
pub(super) fn with_common(mut components: Map<String, Value>) -> Map<String, Value> {
    let schemas = components.entry("schemas").or_insert_with(|| json!({}));
    schemas["Problem"] = problem();
    loosen(schemas);
    thin_out(schemas);
    let responses: Map<String, Value> = STATUSES.iter().map(|(status, text)| (status.to_string(), response(*status, text))).collect();
    components.insert("responses".to_owned(), Value::Object(responses));
    let headers: Map<String, Value> = HEADERS
        .iter()
        .map(|(name, example, text)| {
            ((*name).to_owned(), json!({ "description": text, "schema": { "type": "string" }, "example": example }))
        })
        .collect();
    components.insert("headers".to_owned(), Value::Object(headers));
    components.insert(
        "securitySchemes".to_owned(),
        json!({
            "token": { "type": "http", "scheme": "bearer", "bearerFormat": "JWT", "description": "An access token: of `/v1/login`, or of an outside issuer." },
            "apiKey": { "type": "http", "scheme": "bearer", "description": "A key of `/v1/api-keys`, `hbk_…`." },
        }),
    );
    components
}

/// An item of a list has the fields that `fields` asks for, so none of them has to be there.
fn thin_out(schemas: &mut Value) {
    let whole = schemas.clone();
    let lists = schemas.as_object_mut().into_iter().flatten().filter(|(name, _)| name.starts_with("Page_"));
    for item in lists.filter_map(|(_, list)| list.pointer_mut("/properties/items/items")) {
        // What is another type, with a description of its own, is said again: that one's fields do have to be there elsewhere.
        let other = item.pointer("/allOf/0/$ref").and_then(Value::as_str).and_then(|path| whole.get(path.rsplit('/').next()?));
        if let Some(other) = other {
            *item = other.clone();
        }
        if let Some(fields) = item.as_object_mut() {
            fields.remove("required");
        }
    }
}

/// What is one of several may be readable as another of them, since fields are added: that it is exactly one is not said.
fn loosen(schema: &mut Value) {
    match schema {
        Value::Object(fields) => {
            if let Some(several) = fields.remove("oneOf") {
                fields.insert("anyOf".to_owned(), several);
            }
            fields.values_mut().for_each(loosen);
        }
        Value::Array(items) => items.iter_mut().for_each(loosen),
        _ => {}
    }
}

/// Headers of answers, each with an example.
const HEADERS: [(&str, &str, &str); 10] = [
    ("Accept-Ranges", "bytes", "Parts of the file can be had."),
    ("Content-Disposition", "attachment; filename=\"notes.txt\"", "Whether the file is shown or kept, and under which name (RFC 6266)."),
    ("Content-Range", "bytes 0-499/1234", "Which bytes these are, of how many."),
    ("ETag", "\"3\"", "The version that this shows."),
    ("Idempotency-Replayed", "true", "There if the request's `Idempotency-Key` was seen before: this is the first answer again."),
    ("Link", "</v1/users>; rel=\"first\"", "The first page and the next one (RFC 8288)."),
    ("Location", "/v1/channels/chat:rust", "Where it is."),
    ("Retry-After", "1", "For how many seconds to wait."),
    ("WWW-Authenticate", "Bearer", "How to say who is asking."),
    ("X-Request-Id", "019bd3d5-7b1c-7cc0-8d2f-3f1e6a0c9a11", "The request's id: one's own if it is sensible, else a new one."),
];

/// A reference to a header of the components.
pub(super) fn header(name: &str) -> Value {
    json!({ "$ref": format!("#/components/headers/{name}") })
}

/// The statuses of problems, and what they are about.
const STATUSES: [(u16, &str); 17] = [
    (400, "The request cannot be read."),
    (401, "There are no credentials, or none that are good."),
    (403, "The credentials do not allow it."),
    (404, "There is nothing at this address, or nothing that these credentials may see."),
    (406, "It cannot be had as any of the media types of `Accept`."),
    (408, "The body came too slowly."),
    (409, "What is there excludes it."),
    (410, "It is over, and does not come back."),
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

fn response(status: u16, text: &str) -> Value {
    let codes: Vec<_> = ErrorCode::ALL.iter().filter(|code| code.status() == status).map(|code| format!("`{}`", code.as_str())).collect();
    let description = if codes.is_empty() { text.to_owned() } else { format!("{text} Codes: {}.", codes.join(", ")) };
    let mut headers = json!({ "X-Request-Id": header("X-Request-Id") });
    let also = match status {
        401 => Some("WWW-Authenticate"),
        416 => Some("Content-Range"),
        429 | 503 => Some("Retry-After"),
        _ => None,
    };
    if let Some(name) = also {
        headers[name] = header(name);
    }
    let content =
        json!({ "application/problem+json": { "schema": { "$ref": "#/components/schemas/Problem" }, "example": example(status) } });
    json!({ "description": description, "headers": headers, "content": content })
}

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

/// Takes out what nothing refers to, and what only that refers to.
pub(super) fn prune(document: &mut Value) {
    loop {
        let mut named = BTreeSet::new();
        references(document, &mut named);
        let mut is_done = true;
        let parts = document["components"].as_object_mut().into_iter().flatten().filter(|(kind, _)| *kind != "securitySchemes");
        for (kind, components) in parts {
            let Some(components) = components.as_object_mut() else { continue };
            let before = components.len();
            components.retain(|name, _| named.contains(&format!("#/components/{kind}/{name}")));
            is_done &= components.len() == before;
        }
        if is_done {
            return;
        }
    }
}

fn references(value: &Value, named: &mut BTreeSet<String>) {
    match value {
        Value::Object(fields) => {
            named.extend(fields.get("$ref").and_then(Value::as_str).map(str::to_owned));
            fields.values().for_each(|field| references(field, named));
        }
        Value::Array(items) => items.iter().for_each(|item| references(item, named)),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_nothing_refers_to_is_gone_and_what_only_that_refers_to_as_well() {
        let to = |name: &str| json!({ "$ref": format!("#/components/schemas/{name}") });
        let mut document = json!({
            "paths": { "/": { "get": { "schema": to("Page") } } },
            "components": {
                "schemas": { "Page": { "items": to("Item") }, "Item": {}, "Orphan": to("Child"), "Child": {} },
                "securitySchemes": { "token": {} },
            },
        });
        prune(&mut document);
        assert_eq!(
            document["components"],
            json!({ "schemas": { "Page": { "items": to("Item") }, "Item": {} }, "securitySchemes": { "token": {} } })
        );
    }
}
