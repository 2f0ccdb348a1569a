//! Which pages may ask: a request of a browser says whose page it is from. Tokens travel in headers and frames, never in cookies, so a
//! foreign page has nothing of its visitor's to use; that it is refused all the same keeps it from trying.

use std::sync::Arc;

use axum::{
    extract::{Request, State},
    middleware::Next,
    response::{IntoResponse, Response},
};
use http::{HeaderValue, Method, StatusCode, header};
use hubbub_protocol::ErrorCode;

use super::Problem;
use crate::{config::is_own, session::Backend};

const METHODS: HeaderValue = HeaderValue::from_static("GET, HEAD, POST, PUT, PATCH, DELETE");
const ASKED: HeaderValue = HeaderValue::from_static(
    "authorization, content-type, idempotency-key, if-match, if-none-match, if-range, last-event-id, range, x-request-id",
);
const ANSWERED: HeaderValue =
    HeaderValue::from_static("content-disposition, content-range, etag, link, location, retry-after, x-request-id");
/// Seconds for which a browser may remember that it was allowed to ask; browsers cut it to two hours at most.
const MAX_AGE: HeaderValue = HeaderValue::from_static("7200");

/// The layer: requests without an `Origin`, and those of the server's own pages, pass; allowed origins get CORS headers (the Fetch
/// standard, section 3.2); the others are refused.
pub async fn origins(State(backend): State<Arc<Backend>>, request: Request, next: Next) -> Response {
    let Some(origin) = request.headers().get(header::ORIGIN).cloned() else { return next.run(request).await };
    let spelled = origin.to_str().unwrap_or_default();
    let host = request.uri().authority().map(|authority| authority.as_str());
    let host = host.or_else(|| request.headers().get(header::HOST)?.to_str().ok()).unwrap_or_default();
    if is_own(spelled, host) {
        return next.run(request).await;
    }
    if !backend.config.http.origins.allow(spelled) {
        let shown: String = spelled.chars().filter(|sign| !sign.is_control()).take(200).collect();
        let text = format!("pages of {shown} may not use this server, which is {host}: add the origin to `http.origins` if they should");
        // The page itself sees nothing but a failure: browsers hide what a foreign server says.
        tracing::debug!(origin = shown, host, "a page of an origin that is not allowed was refused");
        return vary(Problem::new(ErrorCode::OriginRefused, text).into_response());
    }
    let asks = request.method() == Method::OPTIONS && request.headers().contains_key(header::ACCESS_CONTROL_REQUEST_METHOD);
    let mut response = if asks { StatusCode::NO_CONTENT.into_response() } else { next.run(request).await };
    let headers = response.headers_mut();
    headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
    if asks {
        headers.insert(header::ACCESS_CONTROL_ALLOW_METHODS, METHODS);
        headers.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, ASKED);
        headers.insert(header::ACCESS_CONTROL_MAX_AGE, MAX_AGE);
    } else {
        headers.insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, ANSWERED);
    }
    vary(response)
}

/// What was answered depends on who asked.
fn vary(mut response: Response) -> Response {
    response.headers_mut().append(header::VARY, HeaderValue::from_static("origin"));
    response
}
