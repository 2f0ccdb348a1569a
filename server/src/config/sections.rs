//! The sections that are plain values with bounds: a type each, and what its keys accept.

use std::{net::SocketAddr, time::Duration};

use hubbub_protocol::limits::{MAX_HISTORY_PAGE, MAX_PAYLOAD};
use tracing_subscriber::EnvFilter;

use super::{
    Origins, Proxies,
    reader::{Section, Show},
};

const MS: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);
const DAY: Duration = Duration::from_secs(86_400);
const KIB: usize = 1 << 10;
const MIB: usize = 1 << 20;

/// `[http]`: the listener.
#[derive(Debug, Clone)]
pub struct HttpConfig {
    /// Where to listen.
    pub listen: SocketAddr,
    /// How long a request's headers may take.
    pub header_timeout: Duration,
    /// Bytes of a request's body, at most.
    pub max_body: usize,
    /// Whether `/metrics` is served.
    pub metrics: bool,
    /// The origins of pages that may use this server, beside its own.
    pub origins: Origins,
    /// The proxies that are believed when they say for whom they ask.
    pub trusted_proxies: Proxies,
    /// Requests a minute of one caller, at most.
    pub rate: u32,
}

impl HttpConfig {
    pub(super) fn read(mut section: Section<'_>) -> Self {
        Self {
            listen: section.parsed("listen", Show::Whole, "an IP address and a port, such as \"0.0.0.0:8080\" or \"[::]:8080\"", |text| {
                text.parse().ok()
            }),
            header_timeout: section.duration("header_timeout", 10 * MS..=5 * MINUTE),
            max_body: section.size("max_body", KIB..=64 * MIB),
            metrics: section.switch("metrics"),
            origins: section.parsed(
                "origins",
                Show::Whole,
                "origins separated by commas, such as \"https://app.example.org, https://*.example.org\", or \"*\"",
                Origins::parse,
            ),
            trusted_proxies: section.parsed(
                "trusted_proxies",
                Show::Whole,
                "addresses or networks separated by commas, such as \"10.0.0.0/8, ::1\"",
                Proxies::parse,
            ),
            rate: section.whole("rate", 0..=10_000_000),
        }
    }
}

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    Pretty,
    /// A JSON object a line.
    Json,
}

/// `[log]`.
#[derive(Debug, Clone)]
pub struct LogConfig {
    /// How lines look.
    pub format: LogFormat,
    /// Directives that [`EnvFilter`] understands; checked.
    pub filter: String,
}

impl LogConfig {
    pub(super) fn read(mut section: Section<'_>) -> Self {
        let accepts = "a level or directives, such as \"info\" or \"info,hubbub_server::hub=debug\"";
        Self {
            format: section.choice("format", &[("pretty", LogFormat::Pretty), ("json", LogFormat::Json)]),
            filter: section.parsed("filter", Show::Whole, accepts, |text| {
                (!text.is_empty() && EnvFilter::builder().parse(text).is_ok()).then(|| text.to_owned())
            }),
        }
    }
}

/// `[session]`: the bounds of a connection.
#[derive(Debug, Clone)]
pub struct SessionConfig {
    /// From the upgrade to the `connect` frame.
    pub connect_timeout: Duration,
    /// Something is sent at least this often.
    pub heartbeat: Duration,
    /// After this much more silence a peer is gone.
    pub grace: Duration,
    /// Connections that have not authenticated, at most, on this instance.
    pub unauthenticated: usize,
    /// Subscriptions, at most.
    pub subscriptions: u32,
    /// Bytes that may wait to leave.
    pub outbox: usize,
}

impl SessionConfig {
    pub(super) fn read(mut section: Section<'_>) -> Self {
        Self {
            connect_timeout: section.duration("connect_timeout", 10 * MS..=5 * MINUTE),
            heartbeat: section.duration("heartbeat", 10 * MS..=10 * MINUTE),
            grace: section.duration("grace", 10 * MS..=10 * MINUTE),
            unauthenticated: section.whole("unauthenticated", 1..=1_000_000),
            subscriptions: section.whole("subscriptions", 1..=65_536),
            outbox: section.size("outbox", 16 * KIB..=16 * MIB),
        }
    }
}

/// `[channel]`: the bounds of publishing, history and feeds.
#[derive(Debug, Clone)]
pub struct ChannelConfig {
    /// Bytes of a payload in MessagePack.
    pub payload: usize,
    /// Publishes that may wait for the store.
    pub publish_queue: usize,
    /// Publishes in one transaction, at most.
    pub commit_batch: usize,
    /// How long a message id is remembered.
    pub dedup_window: Duration,
    /// Entries that a resume may have missed.
    pub replay: u64,
    /// Entries in a page of history.
    pub history_page: u32,
    /// Recent entries a feed holds.
    pub feed_entries: usize,
    /// Bytes of recent entries a feed holds.
    pub feed_bytes: usize,
    /// Bytes of recent entries that all feeds of this instance hold.
    pub feed_total_bytes: usize,
}

impl ChannelConfig {
    pub(super) fn read(mut section: Section<'_>) -> Self {
        let config = Self {
            payload: section.size("payload", 1..=MAX_PAYLOAD),
            publish_queue: section.whole("publish_queue", 1..=1_000_000),
            commit_batch: section.whole("commit_batch", 1..=256),
            dedup_window: section.duration("dedup_window", MINUTE..=30 * DAY),
            replay: section.whole("replay", 1..=1_000_000),
            history_page: section.whole("history_page", 1..=MAX_HISTORY_PAGE),
            feed_entries: section.whole("feed_entries", 1..=65_536),
            feed_bytes: section.size("feed_bytes", KIB..=64 * MIB),
            feed_total_bytes: section.size("feed_total_bytes", KIB..=64 * KIB * MIB),
        };
        if config.publish_queue < config.commit_batch {
            section.contradiction("publish_queue", "must be at least", "commit_batch");
        }
        if config.feed_total_bytes < config.feed_bytes {
            section.contradiction("feed_total_bytes", "must be at least", "feed_bytes");
        }
        config
    }
}

/// `[drain]`: the end of an instance.
#[derive(Debug, Clone)]
pub struct DrainConfig {
    /// How long beforehand clients are told.
    pub notice: Duration,
    /// By when every connection is closed; longer than `notice`.
    pub window: Duration,
}

impl DrainConfig {
    pub(super) fn read(mut section: Section<'_>) -> Self {
        let config = Self {
            notice: section.duration("notice", Duration::ZERO..=10 * MINUTE),
            window: section.duration("window", Duration::ZERO..=3600 * SECOND),
        };
        if config.window <= config.notice {
            section.contradiction("window", "must be longer than", "notice");
        }
        config
    }
}
