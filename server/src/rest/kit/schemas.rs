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
            explain(&self.schema, &error, &mut |pointer, code, detail| {
                let at = at(pointer);
                let detail = match (&at, code) {
                    (At::Parameter(_), "unknown_field") => "there is no such parameter".to_owned(),
                    (At::Parameter(_), "required") => "this parameter has to be given".to_owned(),
                    _ => detail,
                };
                faults.push(Fault { at, code, detail });
            });
        }
        faults.truncate(MAX_FAULTS);
        faults
    }
}

/// The schema of `T` as JSON.
pub(crate) fn schema<T: ToSchema>() -> Value {
    serde_json::to_value(T::schema()).unwrap_or_default()
}

/// A fault for each thing that `error` says, by pointer, code and text; `schema` is the one that was broken.
fn explain(schema: &Value, error: &ValidationError<'_>, note: &mut dyn FnMut(String, &'static str, String)) {
    use ValidationErrorKind as Kind;
    let (kind, pointer) = (error.kind(), error.instance_path().as_str());
    if let Kind::OneOfNotValid { context } | Kind::AnyOf { context } = kind
        && let Some(nearest) = context.iter().min_by_key(|errors| distance(errors, pointer))
    {
        // What may be missing is null or a text, say: of a text that is none of these, that it is not null tells nothing.
        let mut kinds: Vec<String> = context.iter().filter_map(|errors| wanted(errors, pointer)).collect();
        if kinds.len() < context.len() {
            return nearest.iter().for_each(|error| explain(schema, error, note));
        }
        kinds.sort_unstable_by_key(|kind| kind == "null");
        kinds.dedup();
        return note(pointer.to_owned(), "type", format!("it has to be of the type {}", kinds.join(" or ")));
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
        Kind::Pattern { pattern } => match described(schema, error) {
            Some(text) => here("pattern", format!("it has to match {pattern}: {text}")),
            None => here("pattern", format!("it has to match {pattern}")),
        },
        Kind::Format { format } => here("format", format!("it is not a {format}")),
        Kind::Enum { options } => here("not_one_of", format!("it has to be one of {options}")),
        Kind::UniqueItems => here("not_unique", "it names something twice".to_owned()),
        _ => here("invalid", format!("it breaks the rule `{}` of its schema", kind.keyword())),
    }
}

/// How far a value is from one of several: another type is the farthest, then what is wrong here, then what is wrong within.
fn distance(errors: &[ValidationError<'_>], pointer: &str) -> (bool, usize, usize) {
    let here = errors.iter().filter(|error| error.instance_path().as_str() == pointer);
    (wanted(errors, pointer).is_some(), here.map(weight).sum(), errors.len())
}

/// Fields that are not known are one error together.
fn weight(error: &ValidationError<'_>) -> usize {
    match error.kind() {
        ValidationErrorKind::AdditionalProperties { unexpected } | ValidationErrorKind::UnevaluatedProperties { unexpected } => {
            unexpected.len()
        }
        _ => 1,
    }
}

/// The type that is wanted, if it is that which is wrong.
fn wanted(errors: &[ValidationError<'_>], pointer: &str) -> Option<String> {
    errors.iter().filter(|error| error.instance_path().as_str() == pointer).find_map(|error| match error.kind() {
        ValidationErrorKind::Type { kind } => Some(types(kind)),
        _ => None,
    })
}

/// What the part of the schema that was broken says of itself.
fn described<'a>(schema: &'a Value, error: &ValidationError<'_>) -> Option<&'a str> {
    let (part, _) = error.schema_path().as_str().rsplit_once('/')?;
    schema.pointer(part)?["description"].as_str()
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

    #[derive(Deserialize, ToSchema)]
    #[serde(deny_unknown_fields)]
    #[allow(dead_code)]
    struct Sent {
        #[schema(value_type = Option<crate::rest::kit::texts::ChannelText>)]
        channel: Option<String>,
        #[schema(value_type = Option<crate::rest::kit::texts::MessageIdText>)]
        id: Option<String>,
        #[schema(inline)]
        role: Option<Role>,
    }

    #[derive(Deserialize, ToSchema)]
    #[serde(untagged)]
    #[allow(dead_code)]
    enum Either {
        One(Sent),
        Many(Many),
    }

    #[derive(Deserialize, ToSchema)]
    #[serde(deny_unknown_fields)]
    #[allow(dead_code)]
    struct Many {
        rooms: Vec<Room>,
    }

    fn told<T: ToSchema + 'static>(value: &Value) -> Vec<(String, &'static str, String)> {
        let pointer = |fault: Fault| match fault.at {
            At::Pointer(pointer) => (pointer, fault.code, fault.detail),
            At::Parameter(_) => unreachable!(),
        };
        let mut told: Vec<_> = Schemas::default().of::<T>().faults(value, At::Pointer).into_iter().map(pointer).collect();
        told.sort();
        told
    }

    #[test]
    fn of_what_may_be_missing_it_is_told_what_it_has_to_be() {
        for (value, pointer, code, text) in [
            (json!({ "channel": "a b" }), "/channel", "pattern", "letters, digits and marks of any script"),
            (json!({ "id": "nope" }), "/id", "pattern", "A UUID of version 7"),
            (json!({ "role": "king" }), "/role", "not_one_of", r#"["owner","guest"]"#),
            (json!({ "id": 5 }), "/id", "type", "string or null"),
            (json!({ "role": 5 }), "/role", "type", "string or null"),
        ] {
            let told = told::<Sent>(&value);
            assert!(matches!(&*told, [one] if one.0 == pointer && one.1 == code && one.2.contains(text)), "{value}: {told:?}");
        }
    }

    #[test]
    fn of_what_may_be_one_of_several_the_nearest_tells_what_is_wrong() {
        let codes = |value: Value| told::<Either>(&value).into_iter().map(|(pointer, code, _)| (pointer, code)).collect::<Vec<_>>();
        let at = |pointer: &str, code| (pointer.to_owned(), code);
        assert_eq!(codes(json!({ "id": 5, "other": 1 })), [at("/id", "type"), at("/other", "unknown_field")]);
        let rooms = json!([{ "title": "x" }, { "title": 5 }, { "title": "x", "role": "king" }]);
        let wrong = [
            at("/rooms/0/role", "required"),
            at("/rooms/1/role", "required"),
            at("/rooms/1/title", "type"),
            at("/rooms/2/role", "not_one_of"),
        ];
        assert_eq!(codes(json!({ "rooms": rooms })), wrong);
        assert_eq!(told::<Either>(&json!([1])), [(String::new(), "type", "it has to be of the type object".to_owned())]);
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
