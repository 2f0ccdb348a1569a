//! What one operation does not say itself, because it holds for all that take or answer the same: formats, errors, headers, what the parts
//! of a path look like.

use serde_json::{Map, Value, json};

use super::{super::texts, components::header};

/// Completes an operation.
pub(super) fn complete(path: &str, method: &str, operation: &mut Value) {
    spell(method, operation);
    shape(operation);
    let is_public =
        operation["security"].as_array().is_some_and(|schemes| schemes.iter().any(|scheme| scheme.as_object().is_some_and(Map::is_empty)));
    for status in errors(path, method, operation, is_public) {
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
    tell(operation);
    if is_public && operation["security"].as_array().is_some_and(|schemes| schemes.len() == 1) {
        operation["security"] = json!([]);
    } else if operation["security"].is_null() {
        operation["security"] = json!([{ "token": [] }, { "apiKey": [] }]);
    }
}

/// What is annotated as JSON can be had in the other formats too; bodies are taken in them.
fn spell(method: &str, operation: &mut Value) {
    let is_json_alone = operation["x-json-alone"] == true;
    if let Some(fields) = operation.as_object_mut() {
        fields.remove("x-json-alone");
    }
    let answers = operation["responses"].as_object_mut().into_iter().flat_map(|answers| answers.values_mut());
    for content in answers.filter_map(|answer| answer.get_mut("content")).filter(|_| !is_json_alone) {
        let Some(json) = content.get("application/json").cloned() else { continue };
        content["application/msgpack"] = json!({ "schema": json["schema"] });
        if json["schema"]["$ref"].as_str().is_some_and(|name| name.contains("/Page_")) {
            content["application/x-ndjson"] =
                json!({ "schema": { "type": "string", "description": "An item a line, to the end of the list." } });
            content["text/csv"] =
                json!({ "schema": { "type": "string", "description": "Field names, then an item a row, to the end of the list." } });
        }
    }
    if let Some(content) = operation.get_mut("requestBody").and_then(|body| body.get_mut("content"))
        && let Some(json) = content.get("application/json").cloned().filter(|_| !is_json_alone)
    {
        content["application/msgpack"] = json!({ "schema": json["schema"] });
        if method == "patch" {
            content["application/merge-patch+json"] = json;
        }
    }
    // The summary says it all where there is nothing more to say.
    if operation["description"].is_null() {
        operation["description"] = json!(format!("{}.", operation["summary"].as_str().unwrap_or_default()));
    }
}

/// What the parts of a path look like, and an example of each. And headers are there or not; none is null.
fn shape(operation: &mut Value) {
    let all = operation.get_mut("parameters").and_then(Value::as_array_mut).map(Vec::as_mut_slice).unwrap_or_default();
    for header in all.iter_mut().filter(|one| one["in"] == "header") {
        if let Some(types) = header["schema"]["type"].as_array().filter(|types| types.contains(&json!("null"))) {
            header["schema"]["type"] = types.iter().find(|one| **one != json!("null")).cloned().unwrap_or_default();
        }
    }
    for parameter in all.iter_mut().filter(|one| one["in"] == "path") {
        let (schema, example) = match parameter["name"].as_str().unwrap_or_default() {
            "channel" => (texts::channel(), json!("chat:rust")),
            "user" => (texts::user(), json!("ada")),
            "seq" => (json!({ "type": "integer", "format": "int64", "minimum": 1, "maximum": MAX_WHOLE }), json!(42)),
            _ => (json!({ "type": "string", "minLength": 1, "maxLength": 128 }), json!("019bd3d5-7b1c-7cc0-8d2f-3f1e6a0c9a11")),
        };
        parameter["schema"] = schema;
        parameter["example"] = example;
    }
}

/// The largest number that every format and language carries: 2⁵³ − 1.
const MAX_WHOLE: u64 = 9_007_199_254_740_991;

/// Statuses of problems that an operation can answer with, by what it takes.
fn errors(path: &str, method: &str, operation: &Value, is_public: bool) -> Vec<u16> {
    let headers = parameters(operation, "header");
    let mut statuses = vec![400, 429, 500, 503];
    let mut when = |holds: bool, more: &[u16]| statuses.extend(more.iter().filter(|_| holds));
    when(!is_public, &[401, 403]);
    when(path.contains('{') || !is_public, &[404]);
    when(!parameters(operation, "query").is_empty(), &[422]);
    when(operation.get("requestBody").is_some(), &[413, 415, 422]);
    when(operation["responses"].to_string().contains("application/msgpack"), &[406]);
    when(headers.iter().any(|(name, _)| name == "If-Match"), &[412]);
    when(headers.iter().any(|(name, is_required)| name == "If-Match" && *is_required), &[428]);
    when(matches!(method, "post" | "put" | "patch" | "delete"), &[409, 422]);
    statuses
}

/// Names of parameters in a place, and whether they have to be there.
fn parameters(operation: &Value, place: &str) -> Vec<(String, bool)> {
    let all = operation["parameters"].as_array().map(Vec::as_slice).unwrap_or_default();
    let name = |one: &Value| Some((one["name"].as_str()?.to_owned(), one["required"] == true));
    all.iter().filter(|one| one["in"] == place).filter_map(name).collect()
}

/// The headers of answers: those that handlers name, by reference, and those that go without saying.
fn tell(operation: &mut Value) {
    let is_kept = parameters(operation, "header").iter().any(|(name, _)| name == "Idempotency-Key");
    for (status, answer) in operation["responses"].as_object_mut().into_iter().flatten().filter(|(_, answer)| answer["$ref"].is_null()) {
        let own: Vec<String> = answer["headers"].as_object().into_iter().flat_map(|headers| headers.keys().cloned()).collect();
        let mut names: Vec<&str> = own.iter().map(String::as_str).collect();
        names.push("X-Request-Id");
        if status == "304" {
            names.push("ETag");
        }
        if is_kept {
            names.push("Idempotency-Replayed");
        }
        if answer["content"].to_string().contains("/Page_") {
            names.push("Link");
        }
        let headers: Map<String, Value> = names.into_iter().map(|name| (name.to_owned(), header(name))).collect();
        answer["headers"] = Value::Object(headers);
    }
}
