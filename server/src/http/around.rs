//! What happens around every request: it gets an id, is counted and timed, and whatever fails leaves as a problem with that id.

use std::{any::Any, sync::Arc, time::Instant};

use axum::{
    body::{Body, to_bytes},
    extract::{MatchedPath, Request, State},
    middleware::Next,
    response::{IntoResponse, Response},
};
use http::{HeaderName, HeaderValue, Method, StatusCode, header, response::Parts};
use hubbub_protocol::ErrorCode;

use super::Problem;
use crate::session::Backend;

/// The header with a request's id, taken from the client if it sends a sensible one.
pub const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// A request's id.
#[derive(Debug, Clone)]
pub struct RequestId(pub String);

/// The outermost layer.
pub async fn around(State(backend): State<Arc<Backend>>, mut request: Request, next: Next) -> Response {
    let begun = Instant::now();
    let id = given_id(&request).unwrap_or_else(|| backend.world.id().to_string());
    let method = request.method().clone();
    let path = request.uri().path().to_owned();
    let route = request.extensions().get::<MatchedPath>().map(|path| known_route(path.as_str()));
    request.extensions_mut().insert(RequestId(id.clone()));
    // No name has a NUL, and PostgreSQL's texts cannot: nothing is there, whichever resource it is.
    let response = if path.contains("%00") { StatusCode::NOT_FOUND.into_response() } else { next.run(request).await };
    let mut response = if method == Method::OPTIONS { options(response) } else { as_problem(response, &id).await };
    if let Ok(value) = HeaderValue::from_str(&id) {
        response.headers_mut().insert(REQUEST_ID, value);
    }
    for (name, value) in SAFE {
        response.headers_mut().entry(name).or_insert(value);
    }
    let status = response.status();
    backend.metrics.http_request(method.as_str(), route, status.as_u16(), begun.elapsed().as_secs_f64());
    if status.is_server_error() {
        tracing::warn!(request = %id, %method, path, status = status.as_u16(), "a request failed");
    } else {
        tracing::debug!(request = %id, %method, path, status = status.as_u16(), "request");
    }
    response
}

/// What keeps browsers from taking an answer for something else; a page says for itself what it needs.
const SAFE: [(HeaderName, HeaderValue); 3] = [
    (header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
    (header::REFERRER_POLICY, HeaderValue::from_static("no-referrer")),
    (header::CONTENT_SECURITY_POLICY, HeaderValue::from_static("frame-ancestors 'none'")),
];

/// What an address takes: `Allow` says it.
fn options(mut response: Response) -> Response {
    if response.status() == StatusCode::METHOD_NOT_ALLOWED {
        response = (StatusCode::NO_CONTENT, response.headers().clone()).into_response();
        response.headers_mut().remove(header::CONTENT_LENGTH);
    }
    response
}

fn given_id(request: &Request) -> Option<String> {
    let id = request.headers().get(REQUEST_ID)?.to_str().ok()?;
    let sensible = (1..=64).contains(&id.len()) && id.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte));
    sensible.then(|| id.to_owned())
}

/// The pattern as a label: one of the few that there are.
fn known_route(route: &str) -> &'static str {
    const ROUTES: &[&str] = &[
        "/openapi.json",
        "/docs",
        "/docs/{file}",
        "/v1/api-keys",
        "/v1/api-keys/{key}",
        "/v1/audit",
        "/v1/channels",
        "/v1/channels/{channel}/restore",
        "/v1/direct-channels",
        "/v1/channels/{channel}/members",
        "/v1/channels/{channel}/members/{user}",
        "/v1/channels/{channel}/membership",
        "/v1/channels/{channel}/bans",
        "/v1/channels/{channel}/bans/{user}",
        "/v1/channels/{channel}/messages",
        "/v1/channels/{channel}/messages/{seq}",
        "/v1/me",
        "/v1/me/channels",
        "/v1/users",
        "/v1/users/{user}",
        "/v1/users/{user}/restore",
        "/v1/server/publish",
        "/v1/server/broadcast",
        "/v1/server/disconnect",
        "/v1/server/unsubscribe",
        "/v1/server/subscribe",
        "/v1/server/presence",
        "/v1/server/info",
        "/",
        "/assets/page/{*path}",
        "/assets/hubbub/{*path}",
        "/v1/guests",
        "/v1/accounts",
        "/v1/login",
        "/v1/token",
        "/v1/logout",
        "/v1/me/password",
        "/v1/sessions",
        "/v1/sessions/{id}",
        "/.well-known/jwks.json",
        "/v1/ws",
        "/v1/sse",
        "/v1/sse/{session}",
        "/v1/poll",
        "/v1/poll/{session}",
        "/v1/tickets",
        "/v1/channels/{channel}/entries",
        "/v1/channels/{channel}/presence",
        "/v1/channels/{channel}",
        "/v1/instances",
        "/v1/uploads",
        "/v1/uploads/{id}",
        "/v1/uploads/{id}/content",
        "/v1/uploads/{id}/restore",
        "/healthz",
        "/readyz",
        "/metrics",
    ];
    ROUTES.iter().copied().find(|known| *known == route).unwrap_or("other")
}

/// Errors that are not problems yet (a route that is not there, a body that is too long) become ones; each gets the request's id.
async fn as_problem(response: Response, id: &str) -> Response {
    let status = response.status();
    if !status.is_client_error() && !status.is_server_error() {
        return response;
    }
    let (mut parts, body) = response.into_parts();
    if let Some(KeptProblem(json)) = parts.extensions.remove::<KeptProblem>() {
        return with_id(parts, json, id);
    }
    let problem = match parts.extensions.remove::<Problem>() {
        Some(problem) => problem,
        None if parts.headers.get(header::CONTENT_TYPE).is_some_and(|kind| kind == "application/json") => {
            return Response::from_parts(parts, body);
        }
        None => {
            let text = to_bytes(body, 4 << 10).await.ok().and_then(|bytes| String::from_utf8(bytes.to_vec()).ok()).unwrap_or_default();
            parts.headers.remove(header::CONTENT_LENGTH);
            let taken = parts.headers.get(header::ACCEPT_ENCODING).and_then(|taken| taken.to_str().ok());
            let detail = match (status, taken) {
                (StatusCode::UNSUPPORTED_MEDIA_TYPE, Some(taken)) => {
                    format!("the body's Content-Encoding has to be one of {}", taken.replace(',', ", "))
                }
                _ if text.is_empty() => detail(status).to_owned(),
                _ => text,
            };
            Problem::new(code(status), detail).with_status(status)
        }
    };
    let json = problem.json();
    let fresh = problem.into_response();
    for (name, value) in fresh.headers() {
        parts.headers.insert(name, value.clone());
    }
    with_id(parts, json, id)
}

/// A problem that was answered once, and is answered again.
#[derive(Debug, Clone)]
pub struct KeptProblem(pub serde_json::Value);

fn with_id(mut parts: Parts, mut json: serde_json::Value, id: &str) -> Response {
    json["request_id"] = id.into();
    // The body is written anew: it may have been compressed before.
    parts.headers.remove(header::CONTENT_ENCODING);
    let body = json.to_string();
    parts.headers.insert(header::CONTENT_LENGTH, HeaderValue::from(body.len()));
    Response::from_parts(parts, Body::from(body))
}

fn code(status: StatusCode) -> ErrorCode {
    match status {
        StatusCode::NOT_FOUND => ErrorCode::NotFound,
        StatusCode::METHOD_NOT_ALLOWED => ErrorCode::MethodNotAllowed,
        StatusCode::PAYLOAD_TOO_LARGE => ErrorCode::PayloadTooLarge,
        StatusCode::UNSUPPORTED_MEDIA_TYPE => ErrorCode::UnsupportedMediaType,
        // The time for it was over: what it asked for may have been done.
        StatusCode::SERVICE_UNAVAILABLE => ErrorCode::Unknown,
        _ if status.is_server_error() => ErrorCode::Internal,
        _ => ErrorCode::BadFrame,
    }
}

fn detail(status: StatusCode) -> &'static str {
    match status {
        StatusCode::NOT_FOUND => "there is nothing at this address",
        StatusCode::METHOD_NOT_ALLOWED => "this address does not take this method; `Allow` tells which it takes",
        StatusCode::SERVICE_UNAVAILABLE => "the request took too long; ask again, a publish with the same message id",
        _ => "the request cannot be served",
    }
}

/// The answer when a handler panicked.
pub fn panicked(cause: Box<dyn Any + Send>) -> Response {
    let cause = cause.downcast_ref::<&str>().map(|text| (*text).to_owned()).or_else(|| cause.downcast_ref::<String>().cloned());
    tracing::error!(cause, "a handler panicked");
    Problem::new(ErrorCode::Internal, "a fault of the server; its log has the details under this request's id").into_response()
}
