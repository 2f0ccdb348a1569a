//! Errors over HTTP: `application/problem+json` (RFC 9457).

use axum::response::{IntoResponse, Response};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use hubbub_protocol::{ErrorCode, Retry};
use serde::Serialize;

use crate::{auth::Denied, channel::Refused};

/// Seconds in `Retry-After` where a client should back off.
const BACK_OFF: &str = "1";

/// What went wrong, for a program and for people. The correlation id is added on the way out, from the request's.
#[derive(Debug, Clone)]
pub struct Problem {
    code: ErrorCode,
    status: StatusCode,
    detail: String,
    faults: Vec<Fault>,
    /// What its sender should do, where that is not what the code says.
    retry: Option<Retry>,
    /// Boxed: few have any, and every `Result` would have the room for them.
    headers: Option<Box<HeaderMap>>,
}

/// One thing that is wrong with a request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Fault {
    /// Where.
    #[serde(flatten)]
    pub at: At,
    /// What, for a program: `required`, `too_long`, `unknown_field`, ….
    pub code: &'static str,
    /// What is accepted, for people.
    pub detail: String,
}

/// Where in a request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum At {
    /// In the body: a JSON pointer (RFC 6901).
    Pointer(String),
    /// In the query, by its name.
    Parameter(String),
}

#[derive(Serialize)]
struct Body<'a> {
    r#type: String,
    title: &'a str,
    status: u16,
    detail: &'a str,
    code: &'a str,
    retry: Retry,
    #[serde(skip_serializing_if = "<[Fault]>::is_empty")]
    errors: &'a [Fault],
}

impl Problem {
    /// A problem with the code's own status.
    pub fn new(code: ErrorCode, detail: impl Into<String>) -> Self {
        let status = StatusCode::from_u16(code.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        Self { code, status, detail: detail.into(), faults: Vec::new(), retry: None, headers: None }
    }

    /// Everything that is wrong with a request's fields, at once.
    pub fn invalid(faults: Vec<Fault>) -> Self {
        let detail = match &*faults {
            [one] => one.detail.clone(),
            many => format!("{} things are wrong with the request: `errors` lists them", many.len()),
        };
        Self { faults, ..Self::new(ErrorCode::Invalid, detail) }
    }

    /// The same with a header.
    pub fn with_header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.get_or_insert_default().append(name, value);
        self
    }

    /// The same, to be tried again after so many seconds.
    pub fn retry_after(self, seconds: u64) -> Self {
        self.with_header(header::RETRY_AFTER, HeaderValue::from(seconds.max(1)))
    }

    /// The same with another status.
    pub fn with_status(self, status: StatusCode) -> Self {
        Self { status, ..self }
    }

    /// The same, with no use in trying again, whatever its code says elsewhere.
    pub fn for_good(self) -> Self {
        Self { retry: Some(Retry::Never), ..self }
    }

    /// Its code.
    pub fn code(&self) -> ErrorCode {
        self.code
    }

    /// What went wrong, for people.
    pub fn detail(&self) -> &str {
        &self.detail
    }

    /// Its status.
    pub fn status(&self) -> StatusCode {
        self.status
    }

    /// The body, as JSON.
    pub fn json(&self) -> serde_json::Value {
        let body = Body {
            r#type: format!("urn:hubbub:error:{}", self.code.as_str()),
            title: self.status.canonical_reason().unwrap_or("Error"),
            status: self.status.as_u16(),
            detail: &self.detail,
            code: self.code.as_str(),
            retry: self.retry.unwrap_or(self.code.retry()),
            errors: &self.faults,
        };
        serde_json::to_value(body).unwrap_or_default()
    }
}

impl From<Refused> for Problem {
    fn from(refused: Refused) -> Self {
        Problem::new(refused.code(), refused.to_string())
    }
}

impl From<Denied> for Problem {
    fn from(denied: Denied) -> Self {
        Problem::new(denied.code(), denied.to_string())
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let mut response = (self.status, axum::Json(self.json())).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        // Some statuses may be kept without it (RFC 9111 section 4.2.2).
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if self.status == StatusCode::UNAUTHORIZED {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        if self.code.retry() == Retry::Later && self.status == StatusCode::SERVICE_UNAVAILABLE {
            headers.insert(header::RETRY_AFTER, HeaderValue::from_static(BACK_OFF));
        }
        for (name, value) in self.headers.iter().flat_map(|own| own.iter()) {
            headers.insert(name, value.clone());
        }
        if self.status == StatusCode::UPGRADE_REQUIRED {
            headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
            headers.insert(header::SEC_WEBSOCKET_VERSION, HeaderValue::from_static("13"));
        }
        response.extensions_mut().insert(self);
        response
    }
}
