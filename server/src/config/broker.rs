//! `[broker]`: between instances.

use std::{fmt, path::PathBuf};

use super::{
    Secret,
    reader::{Section, Show},
};

/// Bytes of a credentials file, at most.
const MAX_CREDENTIALS: u64 = 64 << 10;
const ACCEPTS_URL: &str =
    "addresses of NATS servers, separated by commas, such as \"nats://10.0.0.1:4222,nats://10.0.0.2:4222\" (tls:// wants TLS)";

/// How instances reach one another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BrokerKind {
    /// There is only this one.
    Local,
    /// Through NATS.
    Nats,
}

/// What an instance listens to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Interest {
    /// The channels that have subscribers here, one by one.
    Names,
    /// Whole shards, 256 in all: for more than some tens of thousands of channels an instance.
    Shards,
}

/// Addresses of NATS servers, which may hold passwords: `Debug` shows none of it.
#[derive(Clone, PartialEq, Eq)]
pub struct NatsUrl(String);

impl NatsUrl {
    /// The addresses, separated by commas, passwords and all.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// The addresses in `text`, if each has a scheme and something behind it.
    pub fn parse(text: &str) -> Option<Self> {
        let is_address = |address: &str| {
            let rest = address.strip_prefix("nats://").or_else(|| address.strip_prefix("tls://"));
            rest.is_some_and(|rest| !rest.is_empty() && !rest.contains(char::is_whitespace))
        };
        text.split(',').all(is_address).then(|| Self(text.to_owned()))
    }
}

impl fmt::Debug for NatsUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("nats:***")
    }
}

/// `[broker]`. All but `kind` is for NATS.
#[derive(Debug, Clone)]
pub struct BrokerConfig {
    /// How instances reach one another.
    pub kind: BrokerKind,
    /// Where NATS is.
    pub url: NatsUrl,
    /// The first token of every subject: clusters that share a NATS have each their own.
    pub prefix: String,
    /// What this instance listens to.
    pub interest: Interest,
    /// The content of a credentials file (JWT and seed).
    pub credentials: Option<Secret>,
    /// Certificates, in PEM, that the servers' must lead to; the system's without one.
    pub ca_file: Option<PathBuf>,
    /// This instance's own certificate and its key, in PEM.
    pub certificate: Option<(PathBuf, PathBuf)>,
}

impl BrokerConfig {
    pub(super) fn read(mut section: Section<'_>) -> Self {
        let [ca, certificate, key] = ["ca_file", "certificate_file", "key_file"].map(|name| section.line(name, 4096).map(PathBuf::from));
        if certificate.is_some() && key.is_none() {
            section.contradiction("certificate_file", "needs", "key_file");
        }
        if key.is_some() && certificate.is_none() {
            section.contradiction("key_file", "needs", "certificate_file");
        }
        Self {
            kind: section.choice("kind", &[("local", BrokerKind::Local), ("nats", BrokerKind::Nats)]),
            url: section.parsed("url", Show::Scheme, ACCEPTS_URL, NatsUrl::parse),
            prefix: section.parsed("prefix", Show::Whole, "1 to 32 letters, digits, - and _", |text| {
                let fits = (1..=32).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte));
                fits.then(|| text.to_owned())
            }),
            interest: section.choice("interest", &[("names", Interest::Names), ("shards", Interest::Shards)]),
            credentials: section.file("credentials_file", MAX_CREDENTIALS).map(|content| Secret::new(&content)),
            ca_file: ca,
            certificate: certificate.zip(key),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_address_has_a_scheme() {
        for text in ["nats://127.0.0.1:4222", "nats://a:4222,tls://user:secret@b:4222"] {
            let url = NatsUrl::parse(text).unwrap();
            assert_eq!(url.expose(), text);
            assert!(!format!("{url:?}").contains("secret"));
        }
        for text in ["", "127.0.0.1:4222", "nats://", "nats://a:4222,", "nats://a b", "ws://a:80"] {
            assert_eq!(NatsUrl::parse(text), None, "{text}");
        }
    }
}
