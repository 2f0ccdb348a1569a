//! `/openapi.json`: what this server takes and answers; `/asyncapi.json`: the same of its socket; and `/docs`, for people. All of it is in
//! the binary and needs nothing else.

use axum::{
    Router,
    extract::Path,
    response::{IntoResponse, Response},
    routing::get,
};
use http::{HeaderMap, HeaderValue, StatusCode, header};
use hubbub_protocol::asyncapi;

use super::{
    Api,
    kit::{ApiDocument, is_fresh},
    page,
};

pub(super) fn router(document: ApiDocument) -> Router<Api> {
    let socket = ApiDocument::new(&asyncapi::document(env!("CARGO_PKG_VERSION")));
    Router::new()
        .route("/asyncapi.json", get(move |headers: HeaderMap| async move { show(&socket, &headers) }))
        .route("/openapi.json", get(move |headers: HeaderMap| async move { show(&document, &headers) }))
        .route("/docs", get(reference))
        .route("/docs/{file}", get(part))
}

fn show(document: &ApiDocument, headers: &HeaderMap) -> Response {
    let about = [
        (header::CONTENT_TYPE, HeaderValue::from_static("application/json")),
        (header::ETAG, document.tag.clone()),
        (header::CACHE_CONTROL, HeaderValue::from_static("no-cache")),
    ];
    if is_fresh(headers, &document.tag) {
        return (StatusCode::NOT_MODIFIED, about).into_response();
    }
    (about, document.json.to_vec()).into_response()
}

async fn reference(headers: HeaderMap) -> Response {
    page::document("docs/index.html", &headers)
}

/// The page's script and style. The page itself is at `/docs` only, where its policy is.
async fn part(Path(name): Path<String>, headers: HeaderMap) -> Response {
    page::part(&format!("docs/{name}"), &headers)
}
