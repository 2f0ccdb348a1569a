//! What goes out: JSON or MessagePack, whichever the client prefers, with the validators of what it shows.

use axum::{
    extract::FromRequestParts,
    response::{IntoResponse, Response},
};
use http::{HeaderMap, HeaderValue, StatusCode, header, request::Parts};
use hubbub_protocol::{ErrorCode, msgpack_payload};
use serde::Serialize;

use super::{is_fresh, tag_beside};
use crate::http::Problem;

/// How an answer is spelled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Media {
    /// `application/json`.
    Json,
    /// `application/msgpack`.
    Msgpack,
    /// `application/x-ndjson`: lists, a line an item.
    Ndjson,
    /// `text/csv` (RFC 4180): lists, a row an item.
    Csv,
}

/// What single things and pages can be had as, the preferred first.
pub(crate) const VALUES: &[Media] = &[Media::Json, Media::Msgpack];
/// What whole lists can be had as.
pub(crate) const LISTS: &[Media] = &[Media::Json, Media::Msgpack, Media::Ndjson, Media::Csv];

impl Media {
    /// Its name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Media::Json => "application/json",
            Media::Msgpack => "application/msgpack",
            Media::Ndjson => "application/x-ndjson",
            Media::Csv => "text/csv",
        }
    }

    /// What tells a validator of this spelling from those of the others.
    pub(crate) const fn suffix(self) -> &'static str {
        match self {
            Media::Json => "",
            Media::Msgpack => ".m",
            Media::Ndjson => ".n",
            Media::Csv => ".c",
        }
    }

    /// The one of `offered` that `Accept` (RFC 9110 section 12.5.1) ranks first; at equal ranks the one that is offered first.
    pub(crate) fn negotiate(headers: &HeaderMap, offered: &[Media]) -> Option<Media> {
        let mut ranges =
            headers.get_all(header::ACCEPT).iter().filter_map(|accept| accept.to_str().ok()).flat_map(|accept| accept.split(','));
        let ranges: Vec<(String, f32)> = ranges.by_ref().filter_map(range).collect();
        if ranges.is_empty() {
            return offered.first().copied();
        }
        let mut best: Option<(Media, f32)> = None;
        for &media in offered {
            let quality = media.quality(&ranges);
            if quality > 0.0 && best.is_none_or(|(_, so_far)| quality > so_far) {
                best = Some((media, quality));
            }
        }
        best.map(|(media, _)| media)
    }

    /// What the most specific range that covers it says.
    fn quality(self, ranges: &[(String, f32)]) -> f32 {
        let names: &[&str] = match self {
            Media::Json => &["application/json"],
            Media::Msgpack => &["application/msgpack", "application/vnd.msgpack", "application/x-msgpack"],
            Media::Ndjson => &["application/x-ndjson", "application/ndjson"],
            Media::Csv => &["text/csv"],
        };
        let kind = names[0].split('/').next().unwrap_or_default();
        let exact = ranges.iter().filter(|(range, _)| names.contains(&range.as_str())).map(|(_, quality)| *quality).reduce(f32::max);
        let by_kind = || ranges.iter().find(|(range, _)| range.strip_suffix("/*") == Some(kind)).map(|(_, quality)| *quality);
        let any = || ranges.iter().find(|(range, _)| range == "*/*").map(|(_, quality)| *quality);
        exact.or_else(by_kind).or_else(any).unwrap_or(0.0)
    }
}

/// A media range and its quality; `None` where there is none.
fn range(text: &str) -> Option<(String, f32)> {
    let mut parts = text.split(';');
    let name = parts.next()?.trim().to_ascii_lowercase();
    let quality = parts.find_map(|part| part.trim().strip_prefix("q=")?.parse::<f32>().ok()).unwrap_or(1.0);
    (!name.is_empty()).then_some((name, quality.clamp(0.0, 1.0)))
}

/// What the client wants to be answered in. In a handler's signature it refuses (406) before anything is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Wants(pub Media);

/// The same where a whole list may be had.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WantsList(pub Media);

impl<S: Send + Sync> FromRequestParts<S> for Wants {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        Media::negotiate(&parts.headers, VALUES).map(Self).ok_or_else(|| not_acceptable(VALUES))
    }
}

impl<S: Send + Sync> FromRequestParts<S> for WantsList {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        Media::negotiate(&parts.headers, LISTS).map(Self).ok_or_else(|| not_acceptable(LISTS))
    }
}

fn not_acceptable(offered: &[Media]) -> Problem {
    let names: Vec<_> = offered.iter().map(|media| media.as_str()).collect();
    Problem::new(ErrorCode::NotAcceptable, format!("this can be had as {}", names.join(", ")))
}

impl Wants {
    /// An answer with `status`.
    pub fn reply<T: Serialize>(self, status: StatusCode, body: &T) -> Response {
        match write(self.0, body) {
            Ok(bytes) => self.written(status, bytes),
            Err(problem) => problem.into_response(),
        }
    }

    /// An answer with `status`, whose body is written already.
    pub(crate) fn written(self, status: StatusCode, bytes: Vec<u8>) -> Response {
        let kind = HeaderValue::from_static(self.0.as_str());
        let headers = [(header::CONTENT_TYPE, kind), (header::VARY, HeaderValue::from_static("accept, authorization"))];
        (status, headers, bytes).into_response()
    }

    /// 200.
    pub fn ok<T: Serialize>(self, body: &T) -> Response {
        self.reply(StatusCode::OK, body)
    }

    /// 200, with the tag of the version that it shows.
    pub fn versioned<T: Serialize>(self, version: u64, body: &T) -> Response {
        self.versioned_beside(version, "", body)
    }

    /// The same of something that also shows `aside`, which changes without it.
    pub fn versioned_beside<T: Serialize>(self, version: u64, aside: &str, body: &T) -> Response {
        let mut response = self.ok(body);
        response.headers_mut().insert(header::ETAG, tag_beside(version, aside, self.0));
        response
    }

    /// 304 to whoever has this version as it would be shown.
    pub(crate) fn unchanged(self, headers: &HeaderMap, version: u64) -> Option<Response> {
        self.unchanged_beside(headers, version, "")
    }

    /// As for [`Wants::versioned_beside`].
    pub(crate) fn unchanged_beside(self, headers: &HeaderMap, version: u64, aside: &str) -> Option<Response> {
        let tagged = tag_beside(version, aside, self.0);
        is_fresh(headers, &tagged).then(|| (StatusCode::NOT_MODIFIED, [(header::ETAG, tagged)]).into_response())
    }
}

/// `body` as JSON or MessagePack.
pub(crate) fn write<T: Serialize>(media: Media, body: &T) -> Result<Vec<u8>, Problem> {
    let fault = |error: &dyn std::fmt::Display| {
        tracing::error!(%error, "an answer could not be encoded");
        Problem::new(ErrorCode::Internal, "a fault of the server; its log has the details under this request's id")
    };
    match media {
        // The same rules as for payloads: what is binary there is binary here.
        Media::Msgpack => {
            let json = serde_json::to_string(body).map_err(|error| fault(&error))?;
            msgpack_payload(&json).map_err(|error| fault(&error))
        }
        Media::Json | Media::Ndjson | Media::Csv => serde_json::to_vec(body).map_err(|error| fault(&error)),
    }
}

/// 201, with where it is.
pub(crate) fn created(mut response: Response, location: &str) -> Response {
    *response.status_mut() = StatusCode::CREATED;
    if let Ok(location) = HeaderValue::from_str(location) {
        response.headers_mut().insert(header::LOCATION, location);
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chosen(accept: Option<&'static str>) -> Option<Media> {
        let mut headers = HeaderMap::new();
        if let Some(accept) = accept {
            headers.insert(header::ACCEPT, HeaderValue::from_static(accept));
        }
        Media::negotiate(&headers, LISTS)
    }

    #[test]
    fn the_client_s_preference_decides_and_ours_where_it_has_none() {
        for (accept, expected) in [
            (None, Some(Media::Json)),
            (Some("*/*"), Some(Media::Json)),
            (Some("application/*"), Some(Media::Json)),
            (Some("application/msgpack"), Some(Media::Msgpack)),
            (Some("application/vnd.msgpack;q=0.9, application/json;q=0.8"), Some(Media::Msgpack)),
            (Some("text/html, application/json;q=0.9, */*;q=0.8"), Some(Media::Json)),
            (Some("text/*"), Some(Media::Csv)),
            (Some("application/json;q=0, */*"), Some(Media::Msgpack)),
            (Some("APPLICATION/X-NDJSON"), Some(Media::Ndjson)),
            (Some("image/png"), None),
            (Some("*/*;q=0"), None),
        ] {
            assert_eq!(chosen(accept), expected, "{accept:?}");
        }
    }
}
