//! Requests are checked against the schemas of the types that they are read into: what the OpenAPI document says is what is enforced.

use std::{
    any::{TypeId, type_name},
    fmt,
    sync::Arc,
};

use dashmap::DashMap;
use jsonschema::{ValidationError, Validator, error::ValidationErrorKind};
use serde_json::{Map, Value, json};
use utoipa::ToSchema;

use crate::http::{At, Fault};

/// Faults that one answer lists, at most: whoever sends more of them learns nothing from the rest.
const MAX_FAULTS: usize = 64;

/// The compiled schemas of request types, each made when it is first needed.
#[derive(Clone, Default)]
pub(crate) struct Schemas(Arc<DashMap<TypeId, Arc<Checked>>>);

/// One type's schema, ready to check values.
pub(crate) struct Checked {
    validator: Validator,
    /// The schema as the document has it.
    pub(crate) schema: Value,
}

impl Schemas {
    /// The schema of `T`.
    pub(crate) fn of<T: ToSchema + 'static>(&self) -> Arc<Checked> {
        let key = TypeId::of::<T>();
        if let Some(found) = self.0.get(&key) {
            return found.clone();
        }
        self.0.entry(key).or_insert_with(|| Arc::new(Checked::new::<T>())).clone()
    }
}

impl fmt::Debug for Schemas {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Schemas")
    }
}

impl Checked {
    fn new<T: ToSchema>() -> Self {
        let mut schema = schema::<T>();
        let mut parts = Vec::new();
        T::schemas(&mut parts);
        let parts: Map<String, Value> =
            parts.into_iter().map(|(name, part)| (name, serde_json::to_value(part).unwrap_or_default())).collect();
        schema["components"] = json!({ "schemas": parts });
        let validator = jsonschema::draft202012::options()
            .build(&schema)
            .unwrap_or_else(|error| unreachable!("the schema of {} is one: {error}", type_name::<T>()));
        Self { validator, schema }
    }

    /// Everything that is wrong with `value`; `at` makes a place of a JSON pointer.
    pub(crate) fn faults(&self, value: &Value, at: impl Fn(String) -> At) -> Vec<Fault> {
        let mut faults = Vec::new();
        for error in self.validator.iter_errors(value).take(MAX_FAULTS) {
            explain(&error, &mut |pointer, code, detail| faults.push(Fault { at: at(pointer), code, detail }));
        }
        faults.truncate(MAX_FAULTS);
        faults
    }
}

/// The schema of `T` as JSON.
pub(crate) fn schema<T: ToSchema>() -> Value {
    serde_json::to_value(T::schema()).unwrap_or_default()
}

/// A fault for each thing that `error` says, by pointer, code and text.
fn explain(error: &ValidationError<'_>, note: &mut dyn FnMut(String, &'static str, String)) {
    use ValidationErrorKind as Kind;
    let (kind, pointer) = (error.kind(), error.instance_path().as_str());
    if let Kind::OneOfNotValid { context } = kind
        && let [null, other] = &**context
        && matches!(&**null, [error] if matches!(error.kind(), Kind::Type { .. }))
    {
        // What may be missing is null or a text, say: that it is not null tells nothing.
        return other.iter().for_each(|error| explain(error, note));
    }
    let below = |name: &str| format!("{pointer}/{}", name.replace('~', "~0").replace('/', "~1"));
    let mut here = |code, detail: String| note(pointer.to_owned(), code, detail);
    match kind {
        Kind::AdditionalProperties { unexpected } | Kind::UnevaluatedProperties { unexpected } => {
            for name in unexpected {
                note(below(name), "unknown_field", "there is no such field".to_owned());
            }
        }
        Kind::Required { property } => {
            note(below(property.as_str().unwrap_or_default()), "required", "this field has to be given".to_owned());
        }
        Kind::Type { kind } => here("type", format!("it has to be of the type {}", types(kind))),
        Kind::MinLength { limit } => here("too_short", format!("it has to have at least {limit} characters")),
        Kind::MaxLength { limit } => here("too_long", format!("it has at most {limit} characters")),
        Kind::MinItems { limit } => here("too_few", format!("it has to have at least {limit} items")),
        Kind::MaxItems { limit } => here("too_many", format!("it has at most {limit} items")),
        Kind::MinProperties { limit } => here("too_few", format!("it has to have at least {limit} fields")),
        Kind::MaxProperties { limit } => here("too_many", format!("it has at most {limit} fields")),
        Kind::Minimum { limit } => here("too_small", format!("it has to be at least {limit}")),
        Kind::Maximum { limit } => here("too_large", format!("it has to be at most {limit}")),
        Kind::ExclusiveMinimum { limit } => here("too_small", format!("it has to be more than {limit}")),
        Kind::ExclusiveMaximum { limit } => here("too_large", format!("it has to be less than {limit}")),
        Kind::Pattern { pattern } => here("pattern", format!("it has to match {pattern}")),
        Kind::Format { format } => here("format", format!("it is not a {format}")),
        Kind::Enum { options } => here("not_one_of", format!("it has to be one of {options}")),
        Kind::UniqueItems => here("not_unique", "it names something twice".to_owned()),
        _ => here("invalid", format!("it breaks the rule `{}` of its schema", kind.keyword())),
    }
}

fn types(kind: &jsonschema::error::TypeKind) -> String {
    match kind {
        jsonschema::error::TypeKind::Single(one) => one.to_string(),
        jsonschema::error::TypeKind::Multiple(many) => many.iter().map(|one| one.to_string()).collect::<Vec<_>>().join(" or "),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde::Deserialize;

    #[derive(Deserialize, ToSchema)]
    #[serde(deny_unknown_fields)]
    #[allow(dead_code)]
    struct Room {
        #[schema(min_length = 1, max_length = 4)]
        title: String,
        #[schema(maximum = 9)]
        size: Option<u32>,
        role: Role,
    }

    #[derive(Deserialize, ToSchema)]
    #[serde(rename_all = "snake_case")]
    enum Role {
        Owner,
        Guest,
    }

    #[test]
    fn every_fault_is_found_at_once_and_says_where_it_is() {
        let checked = Schemas::default().of::<Room>();
        let faults = checked.faults(&json!({ "title": "too long", "size": 10, "x/y": 1 }), At::Pointer);
        let mut found: Vec<(String, &str)> = faults
            .into_iter()
            .map(|fault| match fault.at {
                At::Pointer(pointer) => (pointer, fault.code),
                At::Parameter(_) => unreachable!(),
            })
            .collect();
        found.sort();
        let expected = [("/role", "required"), ("/size", "too_large"), ("/title", "too_long"), ("/x~1y", "unknown_field")];
        assert_eq!(found, expected.map(|(pointer, code)| (pointer.to_owned(), code)));
        assert!(checked.faults(&json!({ "title": "x", "size": null, "role": "guest" }), At::Pointer).is_empty());
        assert_eq!(checked.faults(&json!({ "title": "x", "role": "king" }), At::Pointer).len(), 1);
    }
}
