//! Versions as entity tags, and the requests that depend on them (RFC 9110 section 13).

use std::{fmt::Write as _, sync::Arc};

use aws_lc_rs::digest::{SHA256, digest};
use axum::extract::FromRequestParts;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header, request::Parts};
use hubbub_protocol::ErrorCode;

use super::Media;
use crate::http::Problem;

/// The tag of `version`, spelled as `media`. Each spelling has its own, and each change of the thing changes them all.
pub(crate) fn tag(version: u64, media: Media) -> HeaderValue {
    tag_beside(version, "", media)
}

/// The tag of `version` of something that also shows `aside`, if that is not empty: it changes with either, and names the version all the same.
pub(crate) fn tag_beside(version: u64, aside: &str, media: Media) -> HeaderValue {
    let mut mark = String::new();
    if !aside.is_empty() {
        for byte in &digest(&SHA256, aside.as_bytes()).as_ref()[..8] {
            let _ = write!(mark, "{}{byte:02x}", if mark.is_empty() { "-" } else { "" });
        }
    }
    HeaderValue::try_from(format!("\"{version}{mark}{}\"", media.suffix())).unwrap_or(HeaderValue::from_static("\"0\""))
}

/// Which versions may be changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Expected {
    /// Whichever is there: `*`.
    Any,
    /// One of these.
    Versions(Vec<u64>),
}

impl Expected {
    /// Whether `version` is one of them.
    pub fn covers(&self, version: u64) -> bool {
        match self {
            Expected::Any => true,
            Expected::Versions(versions) => versions.contains(&version),
        }
    }

    /// All of them; `None` for any.
    pub fn versions(self) -> Option<Arc<[u64]>> {
        match self {
            Expected::Any => None,
            Expected::Versions(versions) => Some(versions.into()),
        }
    }
}

/// `If-Match`, which has to be there: who changes a thing says which version it knows.
#[derive(Debug, Clone)]
pub struct IfMatch(pub Expected);

/// `If-Match`, if it is there.
#[derive(Debug, Clone)]
pub struct MaybeIfMatch(pub Expected);

impl<S: Send + Sync> FromRequestParts<S> for IfMatch {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let missing = || Problem::new(ErrorCode::PreconditionRequired, "send the ETag that you know in `If-Match`, or `*` for any");
        expected(&parts.headers).map(Self).ok_or_else(missing)
    }
}

impl<S: Send + Sync> FromRequestParts<S> for MaybeIfMatch {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        Ok(Self(expected(&parts.headers).unwrap_or(Expected::Any)))
    }
}

fn expected(headers: &HeaderMap) -> Option<Expected> {
    let tags = tags(headers, &header::IF_MATCH)?;
    if tags.iter().any(|tag| tag == "*") {
        return Some(Expected::Any);
    }
    // Weak tags match nothing here (RFC 9110 section 13.1.1).
    Some(Expected::Versions(tags.iter().filter_map(|tag| version(tag)).collect()))
}

/// The tags of a header, as they stand; `None` if it is not there.
fn tags(headers: &HeaderMap, name: &HeaderName) -> Option<Vec<String>> {
    let mut values = headers.get_all(name).iter().peekable();
    values.peek()?;
    let tags = values.filter_map(|value| value.to_str().ok()).flat_map(|value| value.split(',')).map(|tag| tag.trim().to_owned());
    Some(tags.collect())
}

/// The version in a strong tag, whatever its spelling and coding.
fn version(tag: &str) -> Option<u64> {
    let inner = tag.strip_prefix('"')?.strip_suffix('"')?;
    let digits = inner.split(['.', '-']).next()?;
    digits.parse().ok()
}

/// Whether what the client has is what it would get: 304.
pub(crate) fn is_fresh(headers: &HeaderMap, current: &HeaderValue) -> bool {
    let Some(tags) = tags(headers, &header::IF_NONE_MATCH) else { return false };
    let plain = |tag: &str| tag.trim_start_matches("W/").to_owned();
    let current = plain(current.to_str().unwrap_or_default());
    // A coding puts its name behind the tag; what was asked for again is the same thing.
    let uncoded = |tag: &str| CODINGS.iter().fold(tag.to_owned(), |tag, coding| tag.replace(&format!("-{coding}\""), "\""));
    tags.iter().any(|tag| tag == "*" || uncoded(&plain(tag)) == current)
}

/// The codings that bodies are compressed with on their way out.
pub(crate) const CODINGS: [&str; 3] = ["gzip", "br", "zstd"];

/// Puts the coding of a compressed body into its tag: bytes that differ have tags that differ (RFC 9110 section 8.8.3.3).
pub(crate) fn tag_coding(headers: &mut HeaderMap) {
    let Some(coding) = headers.get(header::CONTENT_ENCODING).and_then(|coding| coding.to_str().ok()) else { return };
    let Some(inner) = headers.get(header::ETAG).and_then(|tag| tag.to_str().ok()?.strip_suffix('"')) else { return };
    if let Ok(tag) = HeaderValue::try_from(format!("{inner}-{coding}\"")) {
        headers.insert(header::ETAG, tag);
    }
}

/// 412.
pub(crate) fn changed() -> Problem {
    Problem::new(ErrorCode::PreconditionFailed, "it has changed meanwhile: read it again, and decide anew")
        .with_status(StatusCode::PRECONDITION_FAILED)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(name: HeaderName, value: &'static str) -> HeaderMap {
        HeaderMap::from_iter([(name, HeaderValue::from_static(value))])
    }

    #[test]
    fn strong_tags_of_every_spelling_and_coding_name_their_version() {
        let expected = |value| expected(&with(header::IF_MATCH, value));
        assert_eq!(expected("\"7\", \"8.m\" , \"9-gzip\", \"10.m-br\""), Some(Expected::Versions(vec![7, 8, 9, 10])));
        assert_eq!(expected("*"), Some(Expected::Any));
        assert_eq!(expected("W/\"7\", 7, \"x\", \""), Some(Expected::Versions(vec![])));
        assert_eq!(super::expected(&HeaderMap::new()), None);
    }

    #[test]
    fn what_a_client_has_is_compared_weakly() {
        let fresh = |value, version, media| is_fresh(&with(header::IF_NONE_MATCH, value), &tag(version, media));
        for value in ["\"7\"", "W/\"7\"", "\"1\", \"7-gzip\"", "*"] {
            assert!(fresh(value, 7, Media::Json), "{value}");
        }
        assert!(fresh("\"7.m-zstd\"", 7, Media::Msgpack));
        assert!(!fresh("\"7\"", 7, Media::Msgpack));
        assert!(!fresh("\"7\"", 8, Media::Json));
        assert!(!is_fresh(&HeaderMap::new(), &tag(7, Media::Json)));
    }

    #[test]
    fn what_is_shown_beside_is_part_of_the_tag() {
        let [one, other] = ["a", "b"].map(|aside| tag_beside(7, aside, Media::Msgpack).to_str().unwrap().to_owned());
        assert_ne!(one, other);
        assert_eq!([&one, &other].map(|tag| version(tag)), [Some(7); 2]);
        let is_fresh = |tag: &str| is_fresh(&HeaderMap::from_iter([(header::IF_NONE_MATCH, tag.parse().unwrap())]), &one.parse().unwrap());
        assert!(is_fresh(&one) && is_fresh(&one.replace(".m", ".m-br")) && !is_fresh(&other) && !is_fresh("\"7.m\""));
    }

    #[test]
    fn a_coding_is_part_of_the_tag() {
        let mut headers = with(header::CONTENT_ENCODING, "br");
        headers.insert(header::ETAG, tag(7, Media::Msgpack));
        tag_coding(&mut headers);
        assert_eq!(headers[header::ETAG], "\"7.m-br\"");
    }
}
