//! What is asked for in the query: every parameter checked at once, none that is unknown, none twice.

use axum::extract::{FromRef, FromRequestParts};
use http::request::Parts;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};
use utoipa::{
    ToSchema,
    openapi::{
        RefOr, Required,
        path::{Parameter, ParameterBuilder, ParameterIn},
        schema::{Schema, SchemaType, Type},
    },
};

use super::{Schemas, schemas::schema};
use crate::http::{At, Fault, Problem};

/// A query that is a `T`: its parameters are the fields of `T`, text or whole numbers or switches.
#[derive(Debug, Clone)]
pub struct Query<T>(pub T);

impl<S, T> FromRequestParts<S> for Query<T>
where
    S: Send + Sync,
    Schemas: FromRef<S>,
    T: DeserializeOwned + ToSchema + 'static,
{
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        parse(&Schemas::from_ref(state), parts.uri.query().unwrap_or_default()).map(Self).map_err(Problem::invalid)
    }
}

fn parse<T: DeserializeOwned + ToSchema + 'static>(schemas: &Schemas, query: &str) -> Result<T, Vec<Fault>> {
    let checked = schemas.of::<T>();
    let mut value = Map::new();
    let mut faults = Vec::new();
    for (name, text) in form_urlencoded::parse(query.as_bytes()) {
        let typed = typed(&checked.schema["properties"][&*name], &text);
        if text.chars().any(char::is_control) {
            faults.push(fault(&name, "control_character", "it holds control characters"));
        }
        if value.insert(name.to_string(), typed).is_some() {
            faults.push(fault(&name, "not_unique", "it is given twice"));
        }
    }
    let value = Value::Object(value);
    faults.extend(checked.faults(&value, |pointer| At::Parameter(pointer.trim_start_matches('/').to_owned())));
    if !faults.is_empty() {
        return Err(faults);
    }
    serde_json::from_value(value).map_err(|error| vec![fault("", "invalid", &error.to_string())])
}

fn fault(name: &str, code: &'static str, detail: &str) -> Fault {
    Fault { at: At::Parameter(name.to_owned()), code, detail: detail.to_owned() }
}

/// The text of a parameter as the type that its schema names; text if it is none.
fn typed(schema: &Value, text: &str) -> Value {
    let is = |name: &str| match &schema["type"] {
        Value::String(kind) => kind == name,
        Value::Array(kinds) => kinds.iter().any(|kind| kind == name),
        _ => false,
    };
    let digits = text.strip_prefix('-').unwrap_or(text);
    if is("integer") && !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit()) {
        // Beyond what a number here can be: no number.
        return text.parse::<i64>().map_or_else(|_| Value::from(text), Value::from);
    }
    match (is("boolean"), text) {
        (true, "true") => Value::Bool(true),
        (true, "false") => Value::Bool(false),
        _ => Value::String(text.to_owned()),
    }
}

/// The parameters of the document: the fields of `T`.
pub(crate) fn parameters<T: ToSchema>() -> Vec<Parameter> {
    let required: Vec<String> = serde_json::from_value(schema::<T>()["required"].clone()).unwrap_or_default();
    let RefOr::T(Schema::Object(object)) = T::schema() else { return Vec::new() };
    let parameter = |(name, mut schema): (String, RefOr<Schema>)| {
        let description = match &mut schema {
            RefOr::T(Schema::Object(object)) => {
                without_null(&mut object.schema_type);
                object.description.take()
            }
            _ => None,
        };
        let is_required = if required.contains(&name) { Required::True } else { Required::False };
        ParameterBuilder::new()
            .name(name)
            .parameter_in(ParameterIn::Query)
            .required(is_required)
            .description(description)
            .schema(Some(schema))
            .build()
    };
    object.properties.into_iter().map(parameter).collect()
}

/// A parameter that is optional is not there, which is not null.
fn without_null(kind: &mut SchemaType) {
    if let SchemaType::Array(kinds) = kind {
        kinds.retain(|kind| *kind != Type::Null);
        if let [one] = &**kinds {
            *kind = SchemaType::Type(one.clone());
        }
    }
}

/// Makes the fields of a type parameters of the operations that name it in `params(…)`.
macro_rules! query {
    ($type:ty) => {
        impl utoipa::IntoParams for $type {
            fn into_params(_: impl Fn() -> Option<utoipa::openapi::path::ParameterIn>) -> Vec<utoipa::openapi::path::Parameter> {
                $crate::rest::kit::parameters::<$type>()
            }
        }
    };
}

pub(crate) use query;

#[cfg(test)]
mod tests {
    use super::*;
    use serde::Deserialize;

    #[derive(Debug, Deserialize, ToSchema)]
    #[serde(deny_unknown_fields)]
    struct Range {
        /// The first.
        #[schema(minimum = 1)]
        after: Option<u64>,
        deep: Option<bool>,
        name: String,
    }
    query!(Range);

    fn codes(query: &str) -> Vec<&'static str> {
        parse::<Range>(&Schemas::default(), query).map(|_| Vec::new()).unwrap_or_else(|faults| {
            let mut codes: Vec<_> = faults.into_iter().map(|fault| fault.code).collect();
            codes.sort_unstable();
            codes
        })
    }

    #[test]
    fn parameters_have_the_types_of_their_fields() {
        let range: Range = parse(&Schemas::default(), "after=7&deep=true&name=7").unwrap();
        assert_eq!((range.after, range.deep, &*range.name), (Some(7), Some(true), "7"));
        assert_eq!(codes("after=0&name=x"), ["too_small"]);
        assert_eq!(codes("after=x&deep=1"), ["required", "type", "type"]);
        assert_eq!(codes("after=99999999999999999999999&name=x"), ["type"]);
        assert_eq!(codes("name=a&name=b&other=1"), ["not_unique", "unknown_field"]);
        assert_eq!(codes("name=a%00"), ["control_character"]);
        let told = parse::<Range>(&Schemas::default(), "other=1").unwrap_err();
        let mut told: Vec<_> = told.iter().map(|fault| &*fault.detail).collect();
        told.sort_unstable();
        assert_eq!(told, ["there is no such parameter", "this parameter has to be given"]);
    }

    #[test]
    fn the_document_has_the_fields_as_parameters() {
        let parameters = parameters::<Range>();
        let names: Vec<_> = parameters.iter().map(|parameter| (&*parameter.name, parameter.required == Required::True)).collect();
        assert_eq!(names, [("after", false), ("deep", false), ("name", true)]);
        assert_eq!(parameters[0].description.as_deref(), Some("The first."));
        let kinds = parameters.iter().map(|parameter| serde_json::json!(parameter)["schema"]["type"].clone());
        assert_eq!(kinds.collect::<Vec<_>>(), ["integer", "boolean", "string"]);
    }
}
