//! `[namespaces.*]`: what a channel is, by the part of its name before the first colon.

use std::{collections::HashMap, time::Duration};

use hubbub_protocol::{ChannelName, frame::Slow};

use super::{
    mistake::Mistake,
    reader::{Reader, Section, Show},
    sources::spell,
};

const OUTER: &str = "namespaces";
const DEFAULT: &str = "default";
const ACCOUNT_GRANTS: &str = "some of subscribe, publish, history and presence, with commas between them, or nothing";

/// Whether a channel keeps what is published to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Durability {
    /// Every entry is stored before it is acknowledged.
    Durable,
    /// Nothing is stored.
    Ephemeral,
}

/// How channels come to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Creation {
    /// By being used: whoever has a grant may.
    Implicit,
    /// By somebody who makes them; they have members, who have roles.
    Explicit,
}

/// What accounts of this server may do in implicit channels, unless their token says itself what it allows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct AccountGrants {
    /// Receive entries.
    pub subscribe: bool,
    /// Add some.
    pub publish: bool,
    /// Read what is kept.
    pub history: bool,
    /// See who is there.
    pub presence: bool,
}

impl AccountGrants {
    /// Reads a list of names with commas between them.
    fn parse(text: &str) -> Option<Self> {
        let mut grants = Self::default();
        for name in text.split(',').map(str::trim).filter(|name| !name.is_empty()) {
            match name {
                "subscribe" => grants.subscribe = true,
                "publish" => grants.publish = true,
                "history" => grants.history = true,
                "presence" => grants.presence = true,
                _ => return None,
            }
        }
        Some(grants)
    }
}

/// The options of the channels in one namespace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Namespace {
    /// Whether entries are stored.
    pub durability: Durability,
    /// Entries that a channel's history keeps, at least 1. Without meaning for ephemeral channels.
    pub history_entries: u64,
    /// How long it keeps them, at least a minute. Without meaning for ephemeral channels.
    pub history_age: Duration,
    /// What happens to a subscriber that reads too slowly and did not say itself.
    pub slow: Slow,
    /// Whether subscribers are members, whom others can see.
    pub presence: bool,
    /// How channels come to be.
    pub create: Creation,
    /// Whether the server subscribes members by itself, on connections that want it. Only in explicit channels, which have members.
    pub auto_subscribe: bool,
    /// What accounts may do without a grant. Nothing in explicit channels, where members have roles.
    pub account_grants: AccountGrants,
}

/// Every namespace that is configured.
#[derive(Debug, Clone)]
pub struct Namespaces {
    default: Namespace,
    named: HashMap<String, Namespace>,
}

impl Namespaces {
    /// The namespace that `channel` is in: `default` for names without a colon, and for namespaces that are not configured.
    pub fn of(&self, channel: &ChannelName) -> &Namespace {
        channel.namespace().and_then(|name| self.named.get(name)).unwrap_or(&self.default)
    }

    /// Every namespace by its name but `default`, in no order.
    pub fn named(&self) -> impl Iterator<Item = (&str, &Namespace)> {
        self.named.iter().map(|(name, namespace)| (name.as_str(), namespace))
    }

    pub(super) fn read(reader: &mut Reader) -> Self {
        let default = Namespace::read(reader.inheriting(OUTER, DEFAULT, DEFAULT));
        let mut named = HashMap::new();
        for (name, setting) in reader.tables(OUTER) {
            if !is_namespace(&name) {
                let key = spell(&[OUTER.to_owned(), name.clone()], &setting.origin);
                reader.mistake(Mistake::Namespace { key, origin: setting.origin });
            }
            if name != DEFAULT {
                let namespace = Namespace::read(reader.inheriting(OUTER, &name, DEFAULT));
                named.insert(name, namespace);
            }
        }
        Self { default, named }
    }
}

impl Namespace {
    fn read(mut section: Section<'_>) -> Self {
        let durable = section.switch("durable");
        let namespace = Self {
            durability: if durable { Durability::Durable } else { Durability::Ephemeral },
            history_entries: section.whole("history_entries", 1..=1_000_000_000),
            history_age: section.duration("history_age", Duration::from_secs(60)..=Duration::from_secs(3650 * 86_400)),
            slow: section.choice("slow", &[("close", Slow::Close), ("latest", Slow::Latest)]),
            presence: section.switch("presence"),
            create: section.choice("create", &[("implicit", Creation::Implicit), ("explicit", Creation::Explicit)]),
            auto_subscribe: section.switch("auto_subscribe"),
            account_grants: section.parsed("account_grants", Show::Whole, ACCOUNT_GRANTS, AccountGrants::parse),
        };
        if namespace.create == Creation::Explicit
            && section.is_set("account_grants")
            && namespace.account_grants != AccountGrants::default()
        {
            section.contradiction("account_grants", "has no meaning where", "create");
        }
        if namespace.create == Creation::Implicit && namespace.auto_subscribe && section.is_set("auto_subscribe") {
            section.contradiction("auto_subscribe", "has no meaning where", "create");
        }
        for key in ["history_entries", "history_age"] {
            if !durable && section.is_set(key) {
                section.contradiction(key, "has no meaning where", "durable");
            }
        }
        namespace
    }
}

/// Whether a channel's name can start with `name` and a colon.
fn is_namespace(name: &str) -> bool {
    !name.contains(':') && ChannelName::parse(&format!("{name}:x")).is_ok()
}
