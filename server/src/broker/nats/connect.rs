//! Connecting to NATS: addresses, credentials, TLS, and whether the server will do.

use std::{error::Error as _, future, sync::Arc, time::Duration};

use async_nats::{Client, ConnectError, ConnectErrorKind, ConnectOptions, ServerAddr, rustls};
use percent_encoding::percent_decode_str;

use super::{
    super::{BrokerError, MIN_VERSION, envelope::MAX_ENVELOPE, subject::Subjects},
    events::Events,
};
use crate::config::{BrokerConfig, Interest, Secret};

/// How long the first connect may take, over all addresses.
const FIRST_CONNECT: Duration = Duration::from_secs(10);
/// How long the connect to one address may take.
const CONNECT: Duration = Duration::from_secs(4);
/// Between two pings. A connection is given up when two are unanswered as the third is due: after nine seconds of silence.
const PING: Duration = Duration::from_secs(3);
/// The pause before the second attempt to reconnect, at most; it doubles with each.
const PAUSE: Duration = Duration::from_millis(50);
/// The pause between two attempts to reconnect, at most.
const MAX_PAUSE: Duration = Duration::from_secs(2);
/// Messages and orders that wait for the connection's task. Their bytes have a bound of their own.
const QUEUE: usize = 16_384;
/// Messages of one subject that wait to be read, when a subject is one channel's; NATS's client drops what comes after.
const NAMES_CAPACITY: usize = 2_048;
/// The same, when a subject is a shard's.
const SHARDS_CAPACITY: usize = 16_384;

/// What a NATS server says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerFacts {
    /// Its version.
    pub version: String,
    /// Bytes of a message that it takes, at most.
    pub max_payload: usize,
    /// The name of its cluster, when it is in one.
    pub cluster: Option<String>,
}

/// Connects as an instance would, and says what is there.
///
/// # Errors
/// [`BrokerError`], with what to do.
pub async fn check(config: &BrokerConfig) -> Result<ServerFacts, BrokerError> {
    let (_, facts) = open(config, "check", &Arc::default()).await?;
    Ok(facts)
}

/// A connection of `instance` to a server that will do.
pub(super) async fn open(config: &BrokerConfig, instance: &str, events: &Arc<Events>) -> Result<(Client, ServerFacts), BrokerError> {
    let addresses = Addresses::parse(config.url.expose())?;
    let options = options(config, &addresses, instance, events).await?;
    let client = match tokio::time::timeout(FIRST_CONNECT, options.connect(&addresses.servers[..])).await {
        Ok(connected) => connected.map_err(|error| failure(&error, &addresses.shown))?,
        Err(_) => return Err(BrokerError::Unreachable(format!("{}: no answer in time", addresses.shown))),
    };
    let info = client.server_info();
    let facts = ServerFacts { version: info.version, max_payload: info.max_payload, cluster: info.cluster };
    facts.suffice()?;
    Ok((client, facts))
}

impl ServerFacts {
    fn suffice(&self) -> Result<(), BrokerError> {
        if release(&self.version) < release(MIN_VERSION) {
            return Err(BrokerError::TooOld(self.version.clone()));
        }
        if self.max_payload < MAX_ENVELOPE {
            return Err(BrokerError::PayloadTooSmall(self.max_payload, MAX_ENVELOPE));
        }
        Ok(())
    }
}

/// The first two numbers of a version; nothing, which is less, where there are none.
fn release(version: &str) -> Option<(u32, u32)> {
    let mut numbers = version.trim_start_matches('v').split(['.', '-']).map(str::parse);
    Some((numbers.next()?.ok()?, numbers.next()?.ok()?))
}

/// What `broker.url` holds, apart: the client ignores users in addresses, and would log them.
struct Addresses {
    servers: Vec<ServerAddr>,
    user: Option<(String, Option<String>)>,
    /// For messages: without users.
    shown: String,
    tls: bool,
}

impl Addresses {
    fn parse(text: &str) -> Result<Self, BrokerError> {
        let setup = |error| BrokerError::Setup(format!("broker.url: {error}"));
        let mut addresses = Self { servers: Vec::new(), user: None, shown: String::new(), tls: false };
        for address in text.split(',') {
            let mut url = address.parse::<ServerAddr>().map_err(setup)?.into_inner();
            if !url.username().is_empty() || url.password().is_some() {
                let user = Some((decoded(url.username()), url.password().map(decoded)));
                if addresses.user.is_some() && addresses.user != user {
                    return Err(BrokerError::Setup(
                        "broker.url: its addresses name different users; the client can be only one".to_owned(),
                    ));
                }
                addresses.user = user;
                // Refused for an address without a host only, which then fails by itself.
                let _ = (url.set_username(""), url.set_password(None));
            }
            let server = ServerAddr::from_url(url).map_err(setup)?;
            let comma = if addresses.shown.is_empty() { "" } else { ", " };
            addresses.shown += &format!("{comma}{}://{}:{}", server.scheme(), server.host(), server.port());
            addresses.tls |= server.tls_required();
            addresses.servers.push(server);
        }
        Ok(addresses)
    }
}

fn decoded(text: &str) -> String {
    percent_decode_str(text).decode_utf8_lossy().into_owned()
}

async fn options(
    config: &BrokerConfig,
    addresses: &Addresses,
    instance: &str,
    events: &Arc<Events>,
) -> Result<ConnectOptions, BrokerError> {
    let events = events.clone();
    let mut options = ConnectOptions::new()
        .name(format!("hubbub {instance}"))
        .no_echo()
        .connection_timeout(CONNECT)
        .ping_interval(PING)
        .client_capacity(QUEUE)
        .subscription_capacity(match config.interest {
            Interest::Names => NAMES_CAPACITY,
            Interest::Shards => SHARDS_CAPACITY,
        })
        .custom_inbox_prefix(Subjects::new(&config.prefix).answers(instance).trim_end_matches('.'))
        .reconnect_delay_callback(pause)
        .event_callback(move |event| {
            events.happened(event);
            future::ready(())
        });
    options = match addresses.user.clone() {
        Some((user, Some(password))) => options.user_and_password(user, password),
        Some((token, None)) => options.token(token),
        None => options,
    };
    if let Some(credentials) = config.credentials.as_ref().map(Secret::expose) {
        let refused = |error| BrokerError::Setup(format!("broker.credentials_file: {error}"));
        options = options.credentials(&String::from_utf8_lossy(credentials)).map_err(refused)?;
    }
    // Who names certificates wants TLS. An address that a server makes known has no scheme, so that this cannot be each address's own.
    if addresses.tls || config.ca_file.is_some() || config.certificate.is_some() {
        // Refused when there is one, which then serves.
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        options = options.require_tls(true);
    }
    for file in config.ca_file.iter().chain(config.certificate.iter().flat_map(|(certificate, key)| [certificate, key])) {
        tokio::fs::read(file).await.map_err(|error| BrokerError::Setup(format!("{}: {error}", file.display())))?;
    }
    if let Some(ca) = &config.ca_file {
        options = options.add_root_certificates(ca.clone());
    }
    if let Some((certificate, key)) = &config.certificate {
        options = options.add_client_certificate(certificate.clone(), key.clone());
    }
    Ok(options)
}

/// Before an attempt to connect: nothing before the first, then a random part of a bound that doubles, so that instances do not come back
/// all at once.
fn pause(attempt: usize) -> Duration {
    let doublings = attempt.saturating_sub(2).min(16) as u32;
    match attempt {
        0 | 1 => Duration::ZERO,
        _ => (PAUSE * 2_u32.pow(doublings)).min(MAX_PAUSE).mul_f64(0.5 + rand::random::<f64>() / 2.0),
    }
}

fn failure(error: &ConnectError, shown: &str) -> BrokerError {
    let tls = error.source().and_then(|source| source.downcast_ref::<std::io::Error>()).and_then(std::io::Error::get_ref);
    if let Some(tls) = tls.and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
        return BrokerError::Tls(shown.to_owned(), tls.to_string());
    }
    match error.kind() {
        ConnectErrorKind::AuthorizationViolation | ConnectErrorKind::Authentication => BrokerError::Refused(shown.to_owned()),
        ConnectErrorKind::Tls | ConnectErrorKind::ServerParse => BrokerError::Setup(error.to_string()),
        _ => BrokerError::Unreachable(format!("{shown}: {error}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn compares_versions_by_number() {
        let facts = |version: &str, max_payload| ServerFacts { version: version.to_owned(), max_payload, cluster: None };
        for version in ["2.11.0", "2.11.0-RC.1", "v2.15.1", "2.100.0", "3.0.0"] {
            assert!(facts(version, MAX_ENVELOPE).suffice().is_ok(), "{version}");
        }
        for version in ["2.9.10", "2.10.29", "1.4.1", "0.0.0", "", "latest"] {
            assert!(matches!(facts(version, MAX_ENVELOPE).suffice(), Err(BrokerError::TooOld(_))), "{version}");
        }
        let small = facts("2.11.0", MAX_ENVELOPE - 1).suffice().unwrap_err().to_string();
        assert!(small.contains("max_payload") && small.contains(&MAX_ENVELOPE.to_string()), "{small}");
    }

    #[test]
    fn a_default_server_takes_the_largest_entry() {
        const DEFAULT_MAX_PAYLOAD: usize = 1 << 20;
        const { assert!(MAX_ENVELOPE <= DEFAULT_MAX_PAYLOAD) }
    }

    #[test]
    fn addresses_are_shown_and_handed_on_without_users() {
        let addresses = Addresses::parse("nats://me:s%40cret@a:1,tls://b").unwrap();
        assert_eq!(addresses.shown, "nats://a:1, tls://b:4222");
        assert_eq!(addresses.user, Some(("me".to_owned(), Some("s@cret".to_owned()))));
        assert!(addresses.tls && addresses.servers.iter().all(|server| server.username().is_none() && server.password().is_none()));
        assert_eq!(Addresses::parse("nats://token@a").unwrap().user, Some(("token".to_owned(), None)));
        assert!(Addresses::parse("nats://me:one@a,nats://me:two@b").is_err());
    }

    #[test]
    fn pauses_grow_to_a_bound() {
        assert_eq!(pause(1), Duration::ZERO);
        for attempt in 2..200 {
            let pause = pause(attempt);
            assert!(pause >= PAUSE / 2 && pause <= MAX_PAUSE, "{attempt}: {pause:?}");
        }
        assert!(pause(100) >= MAX_PAUSE / 2);
    }
}
