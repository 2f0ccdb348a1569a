//! The configuration: read once from four layers, checked as a whole, and then only values.
//!
//! Later layers override earlier ones key by key: the documented defaults, a file, the environment, arguments. Nothing
//! here reads the process's environment or arguments: `main` hands them in. A load either succeeds or names every mistake.

mod accounts;
mod auth;
mod broker;
mod mistake;
mod namespace;
mod origins;
mod page;
mod proxies;
mod reader;
mod sections;
mod sources;
mod store;
#[cfg(test)]
mod tests;
mod units;
mod uploads;

pub use accounts::{AccountsConfig, Registration};
pub use auth::{AuthConfig, Secret};
pub use broker::{BrokerConfig, BrokerKind, Interest, NatsUrl};
pub use mistake::{ConfigErrors, FileProblem, Mistake};
pub use namespace::{AccountGrants, Creation, Durability, Namespace, Namespaces};
pub use origins::{Origins, is_own};
pub use page::{Guests, PageConfig};
pub use proxies::Proxies;
pub use sections::{ChannelConfig, DrainConfig, HttpConfig, LogConfig, LogFormat, SessionConfig};
pub use sources::{DEFAULTS, Origin, Sources};
pub use store::{PostgresUrl, StoreConfig, StoreUrl};
pub use uploads::{S3Config, UploadsConfig, UploadsUrl};

use hubbub_protocol::ChannelName;

use reader::Reader;
use sources::Layers;

/// A configuration that is valid as a whole. Its `Debug` shows no secret.
#[derive(Debug, Clone)]
pub struct Config {
    /// The listener.
    pub http: HttpConfig,
    /// Logs.
    pub log: LogConfig,
    /// The database.
    pub store: StoreConfig,
    /// Between instances.
    pub broker: BrokerConfig,
    /// Which tokens are believed.
    pub auth: AuthConfig,
    /// Users of this server's own.
    pub accounts: AccountsConfig,
    /// The bounds of a connection.
    pub session: SessionConfig,
    /// The bounds of publishing, history and feeds.
    pub channel: ChannelConfig,
    /// Files.
    pub uploads: UploadsConfig,
    /// The end of an instance.
    pub drain: DrainConfig,
    /// The page at `/`.
    pub page: PageConfig,
    /// What channels are.
    pub namespaces: Namespaces,
}

impl Config {
    /// Reads and checks every layer of `sources` over the defaults. Files that keys name (secrets, key sets) are read here too.
    ///
    /// # Errors
    /// Every mistake there is, at once.
    pub fn load(sources: &Sources) -> Result<Self, ConfigErrors> {
        let mut mistakes = Vec::new();
        let layers = Layers::read(sources, &mut mistakes);
        let mut reader = Reader::new(layers, mistakes);
        let config = Self::read(&mut reader);
        let mistakes = reader.finish();
        if mistakes.is_empty() { Ok(config) } else { Err(ConfigErrors::new(mistakes)) }
    }

    /// The options of `channel`.
    pub fn namespace(&self, channel: &ChannelName) -> &Namespace {
        self.namespaces.of(channel)
    }

    fn read(reader: &mut Reader) -> Self {
        let config = Self {
            http: HttpConfig::read(reader.section("http")),
            log: LogConfig::read(reader.section("log")),
            store: StoreConfig::read(reader.section("store")),
            broker: BrokerConfig::read(reader.section("broker")),
            auth: AuthConfig::read(reader.section("auth")),
            accounts: AccountsConfig::read(reader.section("accounts")),
            session: SessionConfig::read(reader.section("session")),
            channel: ChannelConfig::read(reader.section("channel")),
            uploads: UploadsConfig::read(reader.section("uploads")),
            drain: DrainConfig::read(reader.section("drain")),
            page: PageConfig::read(reader.section("page")),
            namespaces: Namespaces::read(reader),
        };
        // An entry that no outbox can hold would close its subscribers forever.
        if config.session.outbox < 2 * config.channel.payload {
            let [outbox, payload] = [["session", "outbox"], ["channel", "payload"]].map(|path| path.map(str::to_owned).to_vec());
            reader.contradiction(outbox, "must be at least twice", payload);
        }
        if config.page.guests == Guests::On && config.auth.secret.is_none() && config.auth.jwks.is_some() {
            PageConfig::cannot_sign(reader);
        }
        config
    }
}
