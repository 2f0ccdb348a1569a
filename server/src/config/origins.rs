//! `http.origins`: which web pages may use this server (RFC 6454).

/// The origins of pages that may use this server, beside its own.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Origins(Vec<Pattern>);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Pattern {
    /// `*`: every origin.
    Any,
    /// One origin, in lower case and without its scheme's own port; or `null`.
    One(String),
    /// Every host below one: what stands before the star, and what follows it with its dot.
    Below(String, String),
}

impl Origins {
    /// Reads a list, separated by commas: `https://app.example.org`, `https://*.example.org`, `http://localhost:5173`, `null`, `*`. `None`
    /// if one of them is no origin.
    pub(super) fn parse(text: &str) -> Option<Self> {
        text.split(',').map(str::trim).filter(|one| !one.is_empty()).map(Pattern::parse).collect::<Option<_>>().map(Self)
    }

    /// Whether pages of `origin`, as a browser spells it, may use this server.
    pub fn allow(&self, origin: &str) -> bool {
        let origin = normal(origin);
        self.0.iter().any(|pattern| match pattern {
            Pattern::Any => true,
            Pattern::One(one) => *one == origin,
            Pattern::Below(start, end) => {
                let between = origin.strip_prefix(start.as_str()).and_then(|rest| rest.strip_suffix(end.as_str()));
                between
                    .is_some_and(|host| !host.is_empty() && host.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-.".contains(&byte)))
            }
        })
    }
}

impl Pattern {
    fn parse(text: &str) -> Option<Self> {
        let text = normal(text);
        if text == "*" {
            return Some(Pattern::Any);
        }
        if text == "null" {
            return Some(Pattern::One(text));
        }
        let (scheme, host) = text.split_once("://")?;
        let named = |host: &str| {
            let host = host.rsplit_once(':').filter(|(_, port)| port.parse::<u16>().is_ok()).map_or(host, |(host, _)| host);
            let numeric = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
            numeric.is_some_and(|host| host.parse::<std::net::Ipv6Addr>().is_ok())
                || !host.is_empty() && host.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._".contains(&byte))
        };
        let schemed = !scheme.is_empty() && scheme.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte));
        match host.strip_prefix("*.") {
            _ if !schemed => None,
            Some(rest) if named(rest) => Some(Pattern::Below(format!("{scheme}://"), format!(".{rest}"))),
            None if named(host) => Some(Pattern::One(text)),
            _ => None,
        }
    }
}

/// An origin as it is compared: in lower case, without the port that its scheme has anyway (RFC 6454 section 4).
fn normal(origin: &str) -> String {
    let origin = origin.to_ascii_lowercase();
    for (scheme, port) in [("https://", ":443"), ("http://", ":80")] {
        if origin.starts_with(scheme)
            && let Some(short) = origin.strip_suffix(port)
        {
            return short.to_owned();
        }
    }
    origin
}

/// Whether `origin` is of the server that a request names as `host`: the same host and port, by whichever scheme, since a proxy may
/// take TLS off.
pub fn is_own(origin: &str, host: &str) -> bool {
    let own = |scheme: &str| normal(&format!("{scheme}://{host}")) == normal(origin);
    own("https") || own("http")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_origin_is_allowed_if_the_list_names_it() {
        let origins =
            Origins::parse("https://app.example.org, https://*.example.com:8443,http://localhost:5173 , http://[::1]:8080").unwrap();
        for allowed in [
            "https://app.example.org",
            "https://app.example.org:443",
            "HTTPS://APP.example.org",
            "https://a.example.com:8443",
            "https://a.b.example.com:8443",
            "http://localhost:5173",
            "http://[::1]:8080",
        ] {
            assert!(origins.allow(allowed), "{allowed}");
        }
        for refused in [
            "http://app.example.org",
            "https://app.example.org:8443",
            "https://app.example.org.evil.net",
            "https://evil.net/https://app.example.org",
            "https://example.com:8443",
            "https://evil.net/.example.com:8443",
            "https://a@b.example.com:8443",
            "https://.example.com:8443",
            "https://a.example.com",
            "null",
            "",
            "*",
        ] {
            assert!(!origins.allow(refused), "{refused}");
        }
        assert!(Origins::parse("*").unwrap().allow("https://anything.example"));
        assert!(Origins::parse("null").unwrap().allow("null"));
        assert!(!Origins::default().allow("https://app.example.org"));
        assert_eq!(Origins::parse(" "), Some(Origins::default()));
    }

    #[test]
    fn what_is_no_origin_is_refused() {
        for text in
            ["example.org", "https://", "https://a b", "https://*", "https://*.", "https://a.*.org", "://a", "https://a/b", "https://a,b"]
        {
            assert_eq!(Origins::parse(text), None, "{text}");
        }
    }

    #[test]
    fn a_server_is_its_own_origin_on_its_port_only() {
        for (origin, host) in [
            ("http://localhost:8080", "localhost:8080"),
            ("https://chat.example.org", "chat.example.org"),
            ("https://chat.example.org", "Chat.example.org:443"),
            ("http://[::1]:8080", "[::1]:8080"),
        ] {
            assert!(is_own(origin, host), "{origin} {host}");
        }
        for (origin, host) in [
            ("http://localhost:8081", "localhost:8080"),
            ("https://chat.example.org:8443", "chat.example.org"),
            ("https://evil.net", "chat.example.org"),
            ("null", "null"),
            ("ftp://localhost:8080", "localhost:8080"),
        ] {
            assert!(!is_own(origin, host), "{origin} {host}");
        }
    }
}
