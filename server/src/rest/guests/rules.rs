//! Who is a guest by default: whoever sits at the server's own machine. Pure: the configuration's part of the answer is not here.

use std::net::IpAddr;

use http::{HeaderMap, Version, header, uri::Authority};
use hubbub_protocol::ErrorCode;
use thiserror::Error;

use crate::http::Problem;

/// What a proxy leaves in a request, beside every name that begins with [`FORWARDED`].
const SIGNS: [&str; 3] = ["forwarded", "via", "x-real-ip"];
const FORWARDED: &str = "x-forwarded-";

/// What a request says of where it comes from.
#[derive(Debug)]
pub struct Asking<'a> {
    /// The connection's other end.
    pub peer: IpAddr,
    /// For whom the request is: the host, with or without a port.
    pub host: Option<&'a str>,
    /// Its headers.
    pub headers: &'a HeaderMap,
    /// Its version.
    pub version: Version,
}

/// Why somebody gets no guest's token, and what to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum Refusal {
    /// `page.guests = "off"`.
    #[error("guests are off here (page.guests): use a token")]
    Off,
    /// Somebody else makes the tokens.
    #[error("[auth] has a key, so tokens come from whoever holds it: use one, or set page.guests = \"on\" to let everybody try the page")]
    Configured,
    /// The listener is for others, too.
    #[error(
        "http.listen is no loopback address, so guests are off: use a token, or set page.guests = \"on\" to let everybody try the page"
    )]
    Public,
    /// It comes from another machine.
    #[error("guests have to sit at the server's own machine: use a token, or set page.guests = \"on\" to let everybody try the page")]
    Elsewhere,
    /// The browser thinks that the server is called otherwise.
    #[error("guests find the server at localhost or 127.0.0.1 only: open the page there, or use a token")]
    Host,
    /// A proxy is between.
    #[error("the request came by a proxy, and guests do not: use a token, or set page.guests = \"on\" to let everybody try the page")]
    Proxy,
}

impl From<Refusal> for Problem {
    fn from(refusal: Refusal) -> Self {
        Problem::new(ErrorCode::Forbidden, refusal.to_string())
    }
}

/// Whether a request comes from this machine, as far as it shows.
///
/// # Errors
/// What speaks against it.
pub fn at_this_machine(asking: &Asking<'_>) -> Result<(), Refusal> {
    let names = || asking.headers.keys().map(|name| name.as_str());
    // Browsers and curl speak 1.1 or newer; some proxies speak 1.0 to whom they stand before.
    if asking.version < Version::HTTP_11 || names().any(|name| SIGNS.contains(&name) || name.starts_with(FORWARDED)) {
        return Err(Refusal::Proxy);
    }
    if !asking.peer.to_canonical().is_loopback() {
        return Err(Refusal::Elsewhere);
    }
    // Another site's page can reach this machine by a name of its own, and a proxy may put its upstream's name here: then `Origin` tells.
    if !asking.host.is_some_and(is_local) {
        return Err(Refusal::Host);
    }
    match asking.headers.get(header::ORIGIN).map(|origin| origin.to_str().ok().and_then(|text| text.split_once("://"))) {
        None => Ok(()),
        Some(Some((_, host))) if is_local(host) => Ok(()),
        Some(_) => Err(Refusal::Host),
    }
}

fn is_local(host: &str) -> bool {
    let Ok(authority) = host.parse::<Authority>() else { return false };
    // What has a user before the host would not be what it looks like.
    !host.contains('@') && ["localhost", "127.0.0.1", "[::1]"].iter().any(|local| authority.host().eq_ignore_ascii_case(local))
}

#[cfg(test)]
mod tests {
    use http::{HeaderName, HeaderValue};

    use super::*;

    const HERE: &str = "127.0.0.1";

    fn ask(peer: &str, host: Option<&str>, version: Version, header: Option<(&'static str, &'static str)>) -> Result<(), Refusal> {
        let headers = header.map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value))).into_iter().collect();
        at_this_machine(&Asking { peer: peer.parse().unwrap(), host, headers: &headers, version })
    }

    #[test]
    fn who_sits_here_is_a_guest() {
        for host in ["localhost", "LOCALHOST:8080", "127.0.0.1", "127.0.0.1:1", "[::1]", "[::1]:8080"] {
            for peer in [HERE, "127.8.8.8", "::1", "::ffff:127.0.0.1"] {
                assert_eq!(ask(peer, Some(host), Version::HTTP_11, None), Ok(()), "{peer} {host}");
            }
        }
        assert_eq!(ask(HERE, Some("localhost"), Version::HTTP_2, Some(("origin", "http://localhost:8080"))), Ok(()));
    }

    #[test]
    fn who_comes_from_elsewhere_is_not() {
        for peer in ["192.168.0.7", "8.8.8.8", "2001:db8::1", "::ffff:10.0.0.1"] {
            assert_eq!(ask(peer, Some("localhost"), Version::HTTP_11, None), Err(Refusal::Elsewhere), "{peer}");
        }
    }

    #[test]
    fn another_name_of_the_server_is_not_here() {
        for host in ["example.com", "localhost.example.com", "127.0.0.1.nip.io", "127.0.0.2", "x@localhost", "::1", ""] {
            assert_eq!(ask(HERE, Some(host), Version::HTTP_11, None), Err(Refusal::Host), "{host}");
        }
        assert_eq!(ask(HERE, None, Version::HTTP_11, None), Err(Refusal::Host));
    }

    #[test]
    fn a_page_of_another_origin_is_not_here() {
        for origin in ["https://example.com", "http://localhost.example.com:8080", "null", ""] {
            assert_eq!(ask(HERE, Some("localhost"), Version::HTTP_11, Some(("origin", origin))), Err(Refusal::Host), "{origin}");
        }
    }

    #[test]
    fn a_proxy_shows() {
        for name in ["forwarded", "via", "x-real-ip", "x-forwarded-for", "x-forwarded-proto", "x-forwarded-whatever"] {
            assert_eq!(ask(HERE, Some("localhost"), Version::HTTP_11, Some((name, "x"))), Err(Refusal::Proxy), "{name}");
        }
        assert_eq!(ask(HERE, Some("localhost"), Version::HTTP_10, None), Err(Refusal::Proxy));
    }
}
