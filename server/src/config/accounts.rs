//! `[accounts]`: users of this server's own, their passwords and their logins.

use std::time::Duration;

use super::{
    Secret,
    auth::read_secret,
    reader::{Section, Show},
};

const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);
const DAY: Duration = Duration::from_secs(86_400);
const KIB: usize = 1 << 10;
const GIB: usize = 1 << 30;
/// Argon2 wants as much memory for each lane (RFC 9106 section 3.1).
const LANE: usize = 8 * KIB;

/// Who may make an account.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Registration {
    /// Everybody.
    Open,
    /// Nobody.
    Closed,
}

/// `[accounts]`.
#[derive(Debug, Clone)]
pub struct AccountsConfig {
    /// Whether there are any.
    pub enabled: bool,
    /// Who may make one.
    pub registration: Registration,
    /// The `iss` of our own tokens.
    pub issuer: String,
    /// How long an access token is good.
    pub access_life: Duration,
    /// How long a login is good that nobody uses.
    pub refresh_life: Duration,
    /// How long after a refresh the token before it gives the same answer.
    pub refresh_leeway: Duration,
    /// How old a signing key becomes before the next takes its place.
    pub key_life: Duration,
    /// Bytes that hashing a password takes.
    pub memory: usize,
    /// Passes over them.
    pub passes: u32,
    /// Lanes.
    pub lanes: u32,
    /// Passwords that are hashed at once, at most.
    pub hashing: usize,
    /// What signing keys are sealed with and refresh tokens are made of; `None`: the secret of `[auth]`, or the one beside the database.
    pub secret: Option<Secret>,
}

impl AccountsConfig {
    pub(super) fn read(mut section: Section<'_>) -> Self {
        let config = Self {
            enabled: section.switch("enabled"),
            registration: section.choice("registration", &[("open", Registration::Open), ("closed", Registration::Closed)]),
            issuer: section.parsed("issuer", Show::Whole, "a line of text of 1 to 256 bytes", |text| {
                ((1..=256).contains(&text.len()) && !text.contains(char::is_control)).then(|| text.to_owned())
            }),
            access_life: section.duration("access_life", 10 * SECOND..=DAY),
            refresh_life: section.duration("refresh_life", MINUTE..=3650 * DAY),
            refresh_leeway: section.duration("refresh_leeway", Duration::ZERO..=5 * MINUTE),
            key_life: section.duration("key_life", 3600 * SECOND..=3650 * DAY),
            memory: section.size("memory", LANE..=GIB),
            passes: section.whole("passes", 1..=100),
            lanes: section.whole("lanes", 1..=64),
            hashing: section.whole("hashing", 1..=64),
            secret: read_secret(&mut section),
        };
        if config.refresh_life < config.access_life {
            section.contradiction("refresh_life", "must be at least", "access_life");
        }
        if config.memory < config.lanes as usize * LANE {
            section.contradiction("memory", "must be at least 8KiB for each of", "lanes");
        }
        config
    }
}
