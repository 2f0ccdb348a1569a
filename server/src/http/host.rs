//! For whom a request is: one host, or it is none (RFC 9112 section 3.2, RFC 9113 section 8.3.1). Where a proxy went by one name and the
//! server by another, one could pass for the other.

use axum::{
    extract::Request,
    middleware::Next,
    response::{IntoResponse, Response},
};
use http::{Version, header, uri::Authority};
use hubbub_protocol::ErrorCode;

use super::Problem;

/// The layer. A host that is not ours is no mistake here: whoever runs a server gives it its names.
pub async fn one_host(request: Request, next: Next) -> Response {
    if has_one(&request) {
        return next.run(request).await;
    }
    Problem::new(ErrorCode::BadFrame, "a request names the one host that it is for, in `Host` or in `:authority`").into_response()
}

fn has_one<B>(request: &http::Request<B>) -> bool {
    let mut hosts = request.headers().get_all(header::HOST).iter();
    let host = hosts.next();
    if hosts.next().is_some() || host.is_some_and(|host| !host.to_str().is_ok_and(is_host)) {
        return false;
    }
    let target = request.uri().authority();
    match request.version() {
        Version::HTTP_09 | Version::HTTP_10 => true,
        // The one in the target counts, if there is one; but the field has to be there.
        Version::HTTP_11 => host.is_some(),
        _ => match (host, target) {
            (Some(host), Some(target)) => target.as_str().as_bytes().eq_ignore_ascii_case(host.as_bytes()),
            (host, target) => host.is_some() || target.is_some(),
        },
    }
}

/// Of a target without an authority the field is empty.
fn is_host(text: &str) -> bool {
    text.is_empty() || !text.contains('@') && text.parse::<Authority>().is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn has(version: Version, target: &str, hosts: &[&str]) -> bool {
        let request = http::Request::builder().version(version).uri(target);
        has_one(&hosts.iter().fold(request, |request, host| request.header(header::HOST, *host)).body(()).unwrap())
    }

    #[test]
    fn a_request_names_one_host() {
        let (one, two) = (Version::HTTP_11, Version::HTTP_2);
        for (version, target, hosts) in [
            (one, "/", &["a:80"][..]),
            (one, "http://b/", &["a"]),
            (one, "/", &[""]),
            (Version::HTTP_10, "/", &[]),
            (two, "http://a/", &[]),
            (two, "http://a/", &["A"]),
            (two, "/", &["[::1]:8080"]),
        ] {
            assert!(has(version, target, hosts), "{version:?} {target} {hosts:?}");
        }
        for (version, target, hosts) in [
            (one, "/", &[][..]),
            (one, "/", &["a", "a"]),
            (one, "/", &["a b"]),
            (one, "/", &["a/b"]),
            (one, "/", &["b@a"]),
            (Version::HTTP_10, "/", &["a", "b"]),
            (two, "/", &[]),
            (two, "http://a/", &["b"]),
            (two, "http://a/", &["a", "a"]),
        ] {
            assert!(!has(version, target, hosts), "{version:?} {target} {hosts:?}");
        }
    }
}
