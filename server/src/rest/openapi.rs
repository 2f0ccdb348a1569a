//! `/openapi.json`: what this server takes and answers.

use axum::{
    Router,
    response::{IntoResponse, Response},
    routing::get,
};
use http::{HeaderMap, HeaderValue, StatusCode, header};

use super::{
    Api,
    kit::{ApiDocument, is_fresh},
};

pub(super) fn router(document: ApiDocument) -> Router<Api> {
    Router::new().route("/openapi.json", get(move |headers: HeaderMap| async move { show(&document, &headers) }))
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
