//! What comes in: a body in JSON or MessagePack, checked as a whole before anything is done.

use std::marker::PhantomData;

use axum::{
    body::Bytes,
    extract::{FromRef, FromRequest, Request, rejection::BytesRejection},
};
use http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use hubbub_protocol::{ErrorCode, json_payload};
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::Value;
use unicode_normalization::{IsNormalized, UnicodeNormalization, is_nfc_quick};
use utoipa::ToSchema;

use super::Schemas;
use crate::http::{At, Fault, Problem};

/// What `Accept-Post` and `Accept-Patch` say (RFC 5789 section 3.1).
const TAKEN: &str = "application/json, application/msgpack";
const TAKEN_PATCH: &str = "application/merge-patch+json, application/json, application/msgpack";
/// Up to here every whole number is one: 2⁵³.
const MAX_WHOLE: f64 = 9_007_199_254_740_992.0;
/// Fields whose values are their sender's own: neither checked nor changed.
const OPAQUE: [&str; 2] = ["payload", "data"];

/// A body that is a `T`. Text is in normal form C and without control characters, but for fields that are their sender's own.
#[derive(Debug, Clone)]
pub struct Body<T>(pub T);

impl<S, T> FromRequest<S> for Body<T>
where
    S: Send + Sync,
    Schemas: FromRef<S>,
    T: DeserializeOwned + ToSchema + 'static,
{
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        let schemas = Schemas::from_ref(state);
        let mut value = Document::from_request(request, state).await?.0;
        let faults = faults::<T>(&schemas, &mut value);
        if !faults.is_empty() {
            return Err(Problem::invalid(faults));
        }
        serde_json::from_value(value).map(Self).map_err(|error| misfit(&error))
    }
}

fn misfit(error: &serde_json::Error) -> Problem {
    Problem::invalid(vec![Fault { at: At::Pointer(String::new()), code: "invalid", detail: error.to_string() }])
}

/// A body that is a `T` by its schema, as the JSON text in which it came: a payload in it is its sender's to the last digit, and its fields stay
/// in their order. What [`Body`] does to text beyond that is left to whoever reads it.
#[derive(Debug, Clone)]
pub struct Text<T> {
    json: Bytes,
    of: PhantomData<fn() -> T>,
}

impl<T> Text<T> {
    /// The body as a `U`, which may borrow from it.
    ///
    /// # Errors
    /// 422 for what the schema of `T` does not tell: a field that is there twice, say.
    pub fn read<'t, U: Deserialize<'t>>(&'t self) -> Result<U, Problem> {
        serde_json::from_slice(&self.json).map_err(|error| misfit(&error))
    }
}

impl<S, T> FromRequest<S> for Text<T>
where
    S: Send + Sync,
    Schemas: FromRef<S>,
    T: ToSchema + 'static,
{
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        let schemas = Schemas::from_ref(state);
        let coding = coding(request.headers(), request.method())?;
        let bytes = Bytes::from_request(request, state).await.map_err(unread)?;
        let json = match coding {
            Coding::Json => bytes,
            Coding::Msgpack => json(&bytes)?.into(),
        };
        let faults = schemas.of::<T>().faults(&parse(Coding::Json, &json)?, At::Pointer);
        if faults.is_empty() { Ok(Self { json, of: PhantomData }) } else { Err(Problem::invalid(faults)) }
    }
}

/// A JSON merge patch (RFC 7396) that is a `T`, as it was sent: what it makes of the thing is checked again.
#[derive(Debug, Clone)]
pub struct Patch<T> {
    /// What is to be changed.
    pub changes: Value,
    of: PhantomData<fn() -> T>,
}

impl<S, T> FromRequest<S> for Patch<T>
where
    S: Send + Sync,
    Schemas: FromRef<S>,
    T: ToSchema + 'static,
{
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        let schemas = Schemas::from_ref(state);
        let Document(mut changes) = Document::from_request(request, state).await?;
        let faults = faults::<T>(&schemas, &mut changes);
        if faults.is_empty() { Ok(Self { changes, of: PhantomData }) } else { Err(Problem::invalid(faults)) }
    }
}

/// Normalizes the text of `value`, and finds what keeps it from being a `T`.
pub(crate) fn faults<T: ToSchema + 'static>(schemas: &Schemas, value: &mut Value) -> Vec<Fault> {
    let mut faults = Vec::new();
    clean(value, &mut String::new(), &mut faults);
    faults.extend(schemas.of::<T>().faults(value, At::Pointer));
    faults
}

/// A body that is any value.
#[derive(Debug, Clone)]
struct Document(Value);

impl<S: Send + Sync> FromRequest<S> for Document {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        let coding = coding(request.headers(), request.method())?;
        let bytes = Bytes::from_request(request, state).await.map_err(unread)?;
        parse(coding, &bytes).map(Self)
    }
}

/// How a body spells its value.
#[derive(Clone, Copy)]
enum Coding {
    Json,
    Msgpack,
}

fn coding(headers: &HeaderMap, method: &Method) -> Result<Coding, Problem> {
    let kind = headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    let essence = kind.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    match &*essence {
        "application/json" => Ok(Coding::Json),
        "application/msgpack" | "application/vnd.msgpack" | "application/x-msgpack" => Ok(Coding::Msgpack),
        "application/merge-patch+json" if method == Method::PATCH => Ok(Coding::Json),
        _ => {
            let (name, taken) = match *method {
                Method::PATCH => ("accept-patch", TAKEN_PATCH),
                _ => ("accept-post", TAKEN),
            };
            let problem = Problem::new(ErrorCode::UnsupportedMediaType, format!("the body's Content-Type has to be one of {taken}"));
            Err(problem.with_header(http::HeaderName::from_static(name), HeaderValue::from_static(taken)))
        }
    }
}

pub(crate) fn unread(rejection: BytesRejection) -> Problem {
    match rejection.status() {
        StatusCode::PAYLOAD_TOO_LARGE => Problem::new(ErrorCode::PayloadTooLarge, "the body is longer than this server takes"),
        _ => Problem::new(ErrorCode::BadFrame, "the body could not be read to its end, or not be decompressed"),
    }
}

fn parse(coding: Coding, bytes: &[u8]) -> Result<Value, Problem> {
    let bad = |detail: String| Problem::new(ErrorCode::BadFrame, detail);
    match coding {
        Coding::Json => serde_json::from_slice(bytes).map_err(|error| bad(format!("the body is not JSON: {error}"))),
        Coding::Msgpack => serde_json::from_slice(&json(bytes)?).map_err(|error| bad(format!("the body is not MessagePack: {error}"))),
    }
}

/// MessagePack as JSON.
fn json(bytes: &[u8]) -> Result<Vec<u8>, Problem> {
    json_payload(bytes).map_err(|error| Problem::new(ErrorCode::BadFrame, format!("the body is not MessagePack: {error}")))
}

/// Brings text into normal form C, in place, and notes control characters.
fn clean(value: &mut Value, pointer: &mut String, faults: &mut Vec<Fault>) {
    match value {
        Value::String(text) => {
            if text.chars().any(char::is_control) {
                faults.push(Fault {
                    at: At::Pointer(pointer.clone()),
                    code: "control_character",
                    detail: "it holds control characters".to_owned(),
                });
            }
            if is_nfc_quick(text.chars()) != IsNormalized::Yes {
                *text = text.nfc().collect();
            }
        }
        Value::Array(items) => {
            for (place, item) in items.iter_mut().enumerate() {
                within(pointer, &place.to_string(), |pointer| clean(item, pointer, faults));
            }
        }
        Value::Object(fields) => {
            for (name, field) in fields.iter_mut().filter(|(name, _)| !OPAQUE.contains(&name.as_str())) {
                within(pointer, &name.replace('~', "~0").replace('/', "~1"), |pointer| clean(field, pointer, faults));
            }
        }
        // JSON knows one kind of numbers: 1.0 is 1.
        Value::Number(number) => {
            if let Some(whole) = number.as_f64().filter(|number| number.fract() == 0.0 && number.abs() <= MAX_WHOLE)
                && number.is_f64()
            {
                *value = Value::from(whole as i64);
            }
        }
        Value::Null | Value::Bool(_) => {}
    }
}

fn within(pointer: &mut String, name: &str, act: impl FnOnce(&mut String)) {
    let end = pointer.len();
    pointer.push('/');
    pointer.push_str(name);
    act(pointer);
    pointer.truncate(end);
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn text_is_normalized_and_control_characters_are_found_wherever_they_are() {
        let mut value = json!({ "name": "e\u{301}", "list": [{ "a/b": "x\u{0}" }], "payload": "\u{7}e\u{301}" });
        let mut faults = Vec::new();
        clean(&mut value, &mut String::new(), &mut faults);
        assert_eq!(value["name"], "é");
        assert_eq!(value["payload"], "\u{7}e\u{301}");
        let at: Vec<_> = faults.into_iter().map(|fault| fault.at).collect();
        assert_eq!(at, [At::Pointer("/list/0/a~1b".to_owned())]);
    }
}
