//! The bytes of an upload: as a whole, or a part of it (RFC 9110 section 14).

use std::sync::Arc;

use axum::{
    body::Body,
    extract::{Path, State},
    response::{IntoResponse, Response},
};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use hubbub_protocol::ErrorCode;

use super::{
    disposition::disposition,
    id, intake,
    range::{Asked, asked},
    rights,
};
use crate::{
    http::{Caller, Problem},
    rest::kit,
    session::Backend,
    store::uploads::Upload,
    upload::{Uploads, is_shown_inline},
};

const RESOURCE_POLICY: HeaderName = HeaderName::from_static("cross-origin-resource-policy");

/// Download a file
///
/// Whoever may see it may. `Range` (one range), `If-Range` and `If-None-Match` are understood. Only pictures, sounds and films are shown in
/// a page's place; everything else is a download.
#[utoipa::path(
    get, path = "/v1/uploads/{id}/content", tag = "uploads", operation_id = "downloadUpload",
    params(
        ("id" = String, Path, description = "The upload's id."),
        kit::RangeHeader, kit::IfRange, kit::IfNoneMatch, kit::MaybeIfMatchHeader,
    ),
    responses(
        (status = 200, description = "The file, of its own media type.", content((intake::Bytes = "*/*")),
            headers(("ETag" = String), ("Accept-Ranges" = String), ("Content-Disposition" = String))),
        (status = 206, description = "The part of it that was asked for.", content((intake::Bytes = "*/*")),
            headers(("ETag" = String), ("Accept-Ranges" = String), ("Content-Disposition" = String), ("Content-Range" = String))),
        (status = 304, description = "It is as `If-None-Match` says."),
        (status = 416, description = "None of the bytes of `Range` is there."),
    )
)]
pub(super) async fn content(
    method: Method,
    Caller(identity): Caller,
    State(uploads): State<Arc<Uploads>>,
    State(backend): State<Arc<Backend>>,
    Path(text): Path<String>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let upload = rights::visible(&backend.access, &uploads, &identity, &id(&text)?).await?;
    let tag = format!("\"{}\"", upload.sha256);
    if names(&headers, &header::IF_MATCH, &tag) == Some(false) {
        return Err(Problem::new(ErrorCode::PreconditionFailed, "the file is another one"));
    }
    if names(&headers, &header::IF_NONE_MATCH, &tag) == Some(true) {
        return Ok(with_headers(StatusCode::NOT_MODIFIED.into_response(), &upload, &tag));
    }
    let is_head = method == Method::HEAD;
    let asked = if is_head { Asked::Whole } else { asked(&headers, &tag, upload.size) };
    let (status, range) = match asked {
        Asked::Whole => (StatusCode::OK, 0..upload.size),
        Asked::Part(range) => (StatusCode::PARTIAL_CONTENT, range),
        Asked::Nothing => {
            let size = HeaderValue::try_from(format!("bytes */{}", upload.size)).unwrap_or(HeaderValue::from_static("bytes */0"));
            let problem = Problem::new(ErrorCode::RangeNotSatisfiable, format!("the file has {} bytes", upload.size));
            return Err(problem.with_header(header::CONTENT_RANGE, size));
        }
    };
    let body = if is_head { Body::empty() } else { Body::from_stream(uploads.read(&upload, range.clone()).await?) };
    let mut response = with_headers((status, body).into_response(), &upload, &tag);
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_LENGTH, HeaderValue::from(range.end - range.start));
    if status == StatusCode::PARTIAL_CONTENT
        && let Ok(place) = HeaderValue::try_from(format!("bytes {}-{}/{}", range.start, range.end - 1, upload.size))
    {
        headers.insert(header::CONTENT_RANGE, place);
    }
    Ok(response)
}

/// What makes it safe to open a stranger's file: it is what it was judged to be, in no page's name, and runs nothing.
fn with_headers(mut response: Response, upload: &Upload, tag: &str) -> Response {
    let headers = response.headers_mut();
    let text = |text: &str| HeaderValue::try_from(text).unwrap_or(HeaderValue::from_static("application/octet-stream"));
    headers.insert(header::CONTENT_TYPE, text(&upload.media_type));
    headers.insert(header::CONTENT_DISPOSITION, disposition(&upload.name, is_shown_inline(&upload.media_type)));
    headers.insert(header::ETAG, text(tag));
    headers.insert(header::ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static("sandbox; default-src 'none'"));
    headers.insert(RESOURCE_POLICY, HeaderValue::from_static("same-origin"));
    // To be asked for again each time: the right to see it may be gone.
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("private, no-cache"));
    headers.insert(header::VARY, HeaderValue::from_static("authorization"));
    response
}

/// Whether the header names this tag; `None` if it is not there. `If-Match` compares strongly, `If-None-Match` weakly.
fn names(headers: &HeaderMap, name: &HeaderName, tag: &str) -> Option<bool> {
    let mut values = headers.get_all(name).iter().peekable();
    values.peek()?;
    let is_weak = name == header::IF_NONE_MATCH;
    let is_it = |one: &str| one == "*" || one == tag || is_weak && one.strip_prefix("W/") == Some(tag);
    Some(values.filter_map(|value| value.to_str().ok()).flat_map(|value| value.split(',')).any(|one| is_it(one.trim())))
}
