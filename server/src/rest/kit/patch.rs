//! JSON merge patches (RFC 7396): how they are applied, and what the document says of them.

use std::{borrow::Cow, marker::PhantomData};

use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Map, Value, json};
use utoipa::{
    PartialSchema, ToSchema,
    openapi::{RefOr, Schema},
};

use super::{Schemas, body::faults, common::fault, schemas::schema};
use crate::http::Problem;

/// For the document: a merge patch of a `T`. Every field may be missing; null gives one that `T` does not require its default.
pub(crate) struct PatchOf<T>(PhantomData<fn() -> T>);

impl<T: ToSchema> PartialSchema for PatchOf<T> {
    fn schema() -> RefOr<Schema> {
        let mut whole = schema::<T>();
        let required: Vec<String> = serde_json::from_value(whole["required"].take()).unwrap_or_default();
        whole["description"] = json!("Fields to change: a JSON merge patch.");
        if let Some(whole) = whole.as_object_mut() {
            whole.remove("required");
        }
        for (name, field) in whole["properties"].as_object_mut().into_iter().flatten() {
            if let Some(field) = field.as_object_mut() {
                field.remove("default");
            }
            if !required.contains(name) {
                *field = or_null(field.take());
            }
        }
        serde_json::from_value(whole).unwrap_or_else(|error| unreachable!("a schema without what it requires is one: {error}"))
    }
}

impl<T: ToSchema> ToSchema for PatchOf<T> {
    fn name() -> Cow<'static, str> {
        format!("{}Patch", T::name()).into()
    }

    fn schemas(parts: &mut Vec<(String, RefOr<Schema>)>) {
        T::schemas(parts);
    }
}

fn or_null(mut field: Value) -> Value {
    if let Some(kind) = field["type"].as_str().map(str::to_owned) {
        field["type"] = json!([kind, "null"]);
        return field;
    }
    let description = field.as_object_mut().and_then(|field| field.remove("description"));
    let mut either = json!({ "oneOf": [{ "type": "null" }, field] });
    if let Some(description) = description {
        either["description"] = description;
    }
    either
}

/// `old` with a JSON merge patch (RFC 7396) applied: checked as a whole.
pub(crate) fn patched<T: Serialize + DeserializeOwned + ToSchema + 'static>(
    schemas: &Schemas,
    old: &T,
    patch: &Value,
) -> Result<T, Problem> {
    let mut value = serde_json::to_value(old).unwrap_or_default();
    merge(&mut value, patch);
    let faults = faults::<T>(schemas, &mut value);
    if !faults.is_empty() {
        return Err(Problem::invalid(faults));
    }
    serde_json::from_value(value).map_err(|error| fault("", "invalid", error.to_string()))
}

/// Applies `patch` to `target`.
pub(crate) fn merge(target: &mut Value, patch: &Value) {
    let Value::Object(changes) = patch else {
        *target = patch.clone();
        return;
    };
    if !target.is_object() {
        *target = Value::Object(Map::new());
    }
    let Value::Object(fields) = target else { return };
    for (name, change) in changes {
        if change.is_null() {
            fields.remove(name);
        } else {
            merge(fields.entry(name.clone()).or_insert(Value::Null), change);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 7396, appendix A.
    #[test]
    fn a_merge_patch_does_as_its_standard_says() {
        for (mut target, patch, expected) in [
            (json!({"a":"b"}), json!({"a":"c"}), json!({"a":"c"})),
            (json!({"a":"b"}), json!({"b":"c"}), json!({"a":"b","b":"c"})),
            (json!({"a":"b"}), json!({"a":null}), json!({})),
            (json!({"a":"b","b":"c"}), json!({"a":null}), json!({"b":"c"})),
            (json!({"a":["b"]}), json!({"a":"c"}), json!({"a":"c"})),
            (json!({"a":"c"}), json!({"a":["b"]}), json!({"a":["b"]})),
            (json!({"a":{"b":"c"}}), json!({"a":{"b":"d","c":null}}), json!({"a":{"b":"d"}})),
            (json!({"a":[{"b":"c"}]}), json!({"a":[1]}), json!({"a":[1]})),
            (json!({"e":null}), json!({"a":1}), json!({"e":null,"a":1})),
            (json!([1, 2]), json!({"a":"b","c":null}), json!({"a":"b"})),
            (json!({}), json!({"a":{"bb":{"ccc":null}}}), json!({"a":{"bb":{}}})),
        ] {
            merge(&mut target, &patch);
            assert_eq!(target, expected);
        }
    }

    /// A thing.
    #[derive(ToSchema)]
    #[schema(no_recursion)]
    #[allow(dead_code)]
    struct Thing {
        /// Its name.
        #[schema(min_length = 1)]
        name: String,
        /// What it is worth.
        #[schema(default = 0, required = false)]
        worth: u32,
    }

    #[test]
    fn a_patch_may_leave_out_everything_and_null_what_need_not_be_given() {
        let schema = schema::<PatchOf<Thing>>();
        assert!(schema.get("required").is_none(), "{schema}");
        assert_eq!(schema["properties"]["name"]["type"], "string");
        assert_eq!(schema["properties"]["name"]["minLength"], 1);
        assert_eq!(schema["properties"]["worth"]["type"], json!(["integer", "null"]));
        assert!(schema["properties"]["worth"].get("default").is_none(), "{schema}");
        assert_eq!(PatchOf::<Thing>::name(), "ThingPatch");
    }
}
