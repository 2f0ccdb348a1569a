//! `/` and `/assets/…`: the page that tries the server, and the client module that it is made with. Embedded in the binary.
//!
//! Nothing here says who may do what: the page talks to the server as any other program does.

use axum::{
    Router,
    extract::Path,
    response::{IntoResponse, Response},
    routing::get,
};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use hubbub_protocol::ErrorCode;
use rust_embed::{Embed, EmbeddedFile};

use super::{Api, kit::is_fresh};
use crate::http::Problem;

/// What the page may load and whom it may talk to: this server, and nobody else. No inline script, no inline style, no frame around it.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; base-uri 'none'; \
                      form-action 'none'; frame-ancestors 'none'";

/// The page.
#[derive(Embed)]
#[folder = "web/"]
struct Page;

/// The client module.
#[derive(Embed)]
#[folder = "../client-sdk/typescript/src/"]
struct Module;

pub(super) fn router() -> Router<Api> {
    Router::new().route("/", get(page)).route("/assets/page/{*path}", get(asset)).route("/assets/hubbub/{*path}", get(module))
}

async fn page(headers: HeaderMap) -> Response {
    document("index.html", &headers)
}

/// One of the pages, with its policy.
pub(super) fn document(path: &str, headers: &HeaderMap) -> Response {
    let mut response = file(Page::get(path), path, headers);
    for (name, value) in [(header::CONTENT_SECURITY_POLICY, POLICY), (header::REFERRER_POLICY, "no-referrer")] {
        response.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    response
}

async fn asset(Path(path): Path<String>, headers: HeaderMap) -> Response {
    part(&path, &headers)
}

/// What a page is made with. Pages themselves are at their own addresses only, where their policy is.
pub(super) fn part(path: &str, headers: &HeaderMap) -> Response {
    file(Page::get(path).filter(|_| !path.ends_with(".html")), path, headers)
}

async fn module(Path(path): Path<String>, headers: HeaderMap) -> Response {
    file(Module::get(&path), &path, &headers)
}

/// The file, or 304 to whom has it. A browser asks each time: the answer is short, and a new release is seen at once.
fn file(file: Option<EmbeddedFile>, path: &str, request: &HeaderMap) -> Response {
    let (Some(file), Some(kind)) = (file, content_type(path)) else {
        return Problem::new(ErrorCode::NotFound, "there is nothing at this address").into_response();
    };
    let hash: String = file.metadata.sha256_hash()[..16].iter().map(|byte| format!("{byte:02x}")).collect();
    let tag = format!("\"{hash}\"");
    let headers: [(HeaderName, &str); 3] = [(header::ETAG, &tag), (header::CACHE_CONTROL, "no-cache"), (header::CONTENT_TYPE, kind)];
    if HeaderValue::try_from(&tag).is_ok_and(|tag| is_fresh(request, &tag)) {
        (StatusCode::NOT_MODIFIED, headers).into_response()
    } else {
        (headers, file.data).into_response()
    }
}

/// What is served, by the end of its name; anything else is not.
fn content_type(path: &str) -> Option<&'static str> {
    match path.rsplit_once('.')?.1 {
        "html" => Some("text/html; charset=utf-8"),
        "css" => Some("text/css; charset=utf-8"),
        "js" => Some("text/javascript; charset=utf-8"),
        "svg" => Some("image/svg+xml"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whatever_the_page_names_is_embedded() {
        let index = String::from_utf8(Page::get("index.html").unwrap().data.into_owned()).unwrap();
        let named: Vec<&str> = index.split('"').filter_map(|text| text.strip_prefix("/assets/page/")).collect();
        assert!(named.len() >= 3, "{named:?}");
        for path in named {
            assert!(Page::get(path).is_some() && content_type(path).is_some(), "{path}");
        }
        assert!(Module::get("index.js").is_some());
    }

    #[test]
    fn nothing_on_the_page_is_inline() {
        for page in ["index.html", "docs/index.html"] {
            nothing_is_inline(page);
        }
    }

    fn nothing_is_inline(page: &str) {
        let index = String::from_utf8(Page::get(page).unwrap().data.into_owned()).unwrap();
        assert!(!index.contains("<style") && !index.contains(" style=") && !index.contains(" onclick="));
        let scripts = index.matches("<script").count();
        assert_eq!(scripts, index.matches("<script type=\"module\" src=\"/").count() + index.matches("<script src=\"/").count());
    }
}
