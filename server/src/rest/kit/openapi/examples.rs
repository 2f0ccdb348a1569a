//! Examples of what operations answer, by the type of the answer.

use serde_json::{Map, Value, json};

/// From the name of a type to what one looks like.
pub(super) fn examples() -> Map<String, Value> {
    serde_json::from_str(include_str!("examples.json")).unwrap_or_else(|error| unreachable!("the examples are an object: {error}"))
}

/// Gives each answer of `operation` that is JSON of a known type an example.
pub(super) fn show(path: &str, operation: &mut Value, examples: &Map<String, Value>) {
    let answers = operation["responses"].as_object_mut().into_iter().flat_map(|answers| answers.values_mut());
    for json in answers.filter_map(|answer| answer.get_mut("content")?.get_mut("application/json")) {
        let name = json["schema"]["$ref"].as_str().and_then(|name| name.rsplit('/').next()).unwrap_or_default();
        let example = match name.strip_prefix("Page_") {
            Some(item) => examples.get(item).map(|item| page(path, item)),
            None => examples.get(name).cloned(),
        };
        if let Some(example) = example {
            json["example"] = example;
        }
    }
}

/// The last page of a list.
fn page(path: &str, item: &Value) -> Value {
    let here = path.replace("{channel}", "chat:rust");
    json!({ "items": [item], "next": null, "links": { "self": here, "first": here, "next": null } })
}
