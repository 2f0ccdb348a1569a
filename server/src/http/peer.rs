//! Where a request comes from: the address of its connection, or the one that a proxy whom we believe says.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use axum::extract::{ConnectInfo, FromRef, FromRequestParts};
use http::{Extensions, HeaderMap, HeaderName, request::Parts};

use super::Problem;
use crate::{config::Proxies, session::Backend};

use std::sync::Arc;

const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// The address of whoever asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Peer(pub IpAddr);

impl Peer {
    /// Of a request with these headers and extensions. `X-Forwarded-For` counts from its end, and only what a believed proxy wrote.
    pub fn of(headers: &HeaderMap, extensions: &Extensions, proxies: &Proxies) -> Self {
        let direct = extensions.get::<ConnectInfo<SocketAddr>>().map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |info| info.0.ip());
        let mut address = direct.to_canonical();
        let hops = headers.get_all(FORWARDED_FOR).iter().rev().filter_map(|value| value.to_str().ok()).flat_map(|value| value.rsplit(','));
        for hop in hops {
            if !proxies.include(address) {
                break;
            }
            let Some(before) = parse(hop.trim()) else { break };
            address = before;
        }
        Self(address)
    }

    /// What stands for it where abuse is counted: an IPv6 host has a whole network of 64 bits.
    pub fn network(self) -> IpAddr {
        match self.0 {
            IpAddr::V4(_) => self.0,
            IpAddr::V6(address) => {
                let [a, b, c, d, ..] = address.segments();
                IpAddr::from([a, b, c, d, 0, 0, 0, 0])
            }
        }
    }
}

/// An address, with a port or not.
fn parse(text: &str) -> Option<IpAddr> {
    let address: Option<IpAddr> = text.trim_start_matches('[').trim_end_matches(']').parse().ok();
    address.or_else(|| text.parse::<SocketAddr>().ok().map(|address| address.ip())).map(|address| address.to_canonical())
}

impl<S> FromRequestParts<S> for Peer
where
    Arc<Backend>: FromRef<S>,
    S: Send + Sync,
{
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let backend = Arc::<Backend>::from_ref(state);
        Ok(Self::of(&parts.headers, &parts.extensions, &backend.config.http.trusted_proxies))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    fn seen(direct: &str, forwarded: &[&'static str], trusted: &str) -> String {
        let headers = forwarded.iter().map(|value| (FORWARDED_FOR, HeaderValue::from_static(value))).collect();
        let mut extensions = Extensions::new();
        extensions.insert(ConnectInfo(SocketAddr::new(direct.parse().unwrap(), 1)));
        Peer::of(&headers, &extensions, &Proxies::parse(trusted).unwrap()).0.to_string()
    }

    #[test]
    fn only_what_believed_proxies_say_counts() {
        assert_eq!(seen("10.0.0.1", &[], ""), "10.0.0.1");
        assert_eq!(seen("10.0.0.1", &["1.2.3.4"], ""), "10.0.0.1");
        assert_eq!(seen("10.0.0.1", &["1.2.3.4"], "10.0.0.0/8"), "1.2.3.4");
        assert_eq!(seen("10.0.0.1", &["6.6.6.6, 1.2.3.4"], "10.0.0.0/8"), "1.2.3.4");
        assert_eq!(seen("10.0.0.1", &["6.6.6.6", "1.2.3.4, 10.9.9.9"], "10.0.0.0/8"), "1.2.3.4");
        assert_eq!(seen("::ffff:10.0.0.1", &["[2001:db8::1]:55"], "10.0.0.1"), "2001:db8::1");
        assert_eq!(seen("10.0.0.1", &["1.2.3.4, nonsense"], "10.0.0.0/8"), "10.0.0.1");
    }

    #[test]
    fn an_ipv6_host_stands_for_its_network() {
        assert_eq!(Peer("2001:db8:1:2:3::4".parse().unwrap()).network().to_string(), "2001:db8:1:2::");
    }
}
