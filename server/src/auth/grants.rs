//! What a token allows: actions on channels, the latter named by patterns.

use std::{fmt, sync::Arc};

use hubbub_protocol::ChannelName;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::pattern;

/// Grants in one token, at most.
pub const MAX_GRANTS: usize = 64;
/// Patterns in one grant, at most.
pub const MAX_PATTERNS: usize = 64;

/// What can be done with a channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    /// Receive its entries.
    Subscribe,
    /// Add to it.
    Publish,
    /// Read what it keeps.
    History,
    /// See who is there.
    Presence,
    /// See the instances. Granted on `*` only.
    Operate,
    /// Delete others' messages, ban and kick; in channels with members, as far as the role goes.
    Moderate,
}

impl Action {
    /// Every action.
    pub const ALL: [Action; 6] = [Action::Subscribe, Action::Publish, Action::History, Action::Presence, Action::Operate, Action::Moderate];

    /// Its name in a token.
    pub const fn as_str(self) -> &'static str {
        match self {
            Action::Subscribe => "subscribe",
            Action::Publish => "publish",
            Action::History => "history",
            Action::Presence => "presence",
            Action::Operate => "operate",
            Action::Moderate => "moderate",
        }
    }

    /// The action of that name.
    pub fn parse(name: &str) -> Option<Self> {
        Action::ALL.into_iter().find(|action| action.as_str() == name)
    }
}

/// One item of a token's `grants`: these actions, on every channel that one of the patterns covers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Grant {
    /// Patterns, in which `*` stands for any run of characters; at most [`MAX_PATTERNS`].
    pub channels: Vec<String>,
    /// What is allowed.
    pub actions: Vec<Action>,
}

/// More than [`MAX_GRANTS`] grants, or more than [`MAX_PATTERNS`] patterns in one of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("a token holds at most {MAX_GRANTS} grants of {MAX_PATTERNS} patterns each: use `*` in fewer patterns")]
pub struct GrantsError;

/// What a token allows. Without grants, nothing. Cheap to clone.
#[derive(Clone)]
pub struct Grants(Arc<[Rule]>);

struct Rule {
    /// A bit for each [`Action`].
    actions: u8,
    patterns: Box<[Box<str>]>,
}

/// A grant as a token spells it. Fields and actions that this build does not know are ignored: they allow nothing here.
#[derive(Deserialize)]
struct Spelled {
    channels: Vec<Box<str>>,
    actions: Vec<Box<str>>,
}

impl Grants {
    /// Grants of these.
    ///
    /// # Errors
    /// There are more than a token may hold.
    pub fn new(grants: &[Grant]) -> Result<Self, GrantsError> {
        let rules = grants.iter().map(|grant| Rule {
            actions: bits(grant.actions.iter().copied()),
            patterns: grant.channels.iter().map(|pattern| pattern.as_str().into()).collect(),
        });
        Self::bounded(rules.collect())
    }

    /// Reads a token's `grants`, as JSON. `None` if it is not what PROTOCOL.md section 8 says, or more than may be.
    pub(super) fn parse(json: &str) -> Option<Self> {
        let spelled: Vec<Spelled> = serde_json::from_str(json).ok()?;
        let rules = spelled.into_iter().map(|grant| Rule {
            actions: bits(grant.actions.iter().filter_map(|name| Action::parse(name))),
            patterns: grant.channels.into(),
        });
        Self::bounded(rules.collect()).ok()
    }

    /// Whether `action` is allowed on `channel`.
    pub fn allows(&self, action: Action, channel: &ChannelName) -> bool {
        let covers = |rule: &Rule| rule.patterns.iter().any(|pattern| pattern::matches(pattern, channel.as_str()));
        self.0.iter().any(|rule| rule.actions & bit(action) != 0 && covers(rule))
    }

    /// Whether `action` is granted on `*`: what concerns no channel in particular.
    pub fn allows_everywhere(&self, action: Action) -> bool {
        self.0.iter().any(|rule| rule.actions & bit(action) != 0 && rule.patterns.iter().any(|pattern| &**pattern == "*"))
    }

    /// Whether `action` is granted on any channel at all.
    pub fn allows_anywhere(&self, action: Action) -> bool {
        self.0.iter().any(|rule| rule.actions & bit(action) != 0)
    }

    /// Whether they are the same ones, without looking at each.
    pub fn is_same(&self, other: &Grants) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    /// Whether everything that `other` allows is allowed here too. May say no of patterns that cover each other only taken together.
    pub fn cover(&self, other: &Grants) -> bool {
        let covers = |actions: u8, pattern: &str| {
            // A pattern that matches another one's text, stars and all, matches whatever that one does.
            let matching = self.0.iter().filter(|rule| rule.patterns.iter().any(|own| pattern::matches(own, pattern)));
            matching.fold(0, |all, rule| all | rule.actions) & actions == actions
        };
        other.0.iter().all(|rule| rule.patterns.iter().all(|pattern| covers(rule.actions, pattern)))
    }

    /// The grants, as a token spells them.
    pub fn list(&self) -> Vec<Grant> {
        let actions = |rule: &Rule| Action::ALL.into_iter().filter(|action| rule.actions & bit(*action) != 0).collect();
        let channels = |rule: &Rule| rule.patterns.iter().map(|pattern| pattern.to_string()).collect();
        self.0.iter().map(|rule| Grant { channels: channels(rule), actions: actions(rule) }).collect()
    }

    fn bounded(rules: Arc<[Rule]>) -> Result<Self, GrantsError> {
        if rules.len() > MAX_GRANTS || rules.iter().any(|rule| rule.patterns.len() > MAX_PATTERNS) {
            return Err(GrantsError);
        }
        Ok(Self(rules))
    }
}

impl Default for Grants {
    /// Grants of nothing.
    fn default() -> Self {
        Self(Arc::new([]))
    }
}

impl fmt::Debug for Grants {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let named = |rule: &Rule| Action::ALL.into_iter().filter(|action| rule.actions & bit(*action) != 0).collect::<Vec<_>>();
        f.debug_map().entries(self.0.iter().map(|rule| (&rule.patterns, named(rule)))).finish()
    }
}

const fn bit(action: Action) -> u8 {
    1 << action as u8
}

fn bits(actions: impl Iterator<Item = Action>) -> u8 {
    actions.fold(0, |bits, action| bits | bit(action))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn channel(name: &str) -> ChannelName {
        ChannelName::parse(name).unwrap()
    }

    fn grant(channels: &[&str], actions: &[Action]) -> Grant {
        Grant { channels: channels.iter().map(|pattern| (*pattern).to_owned()).collect(), actions: actions.to_vec() }
    }

    #[test]
    fn an_action_is_allowed_where_a_pattern_covers_the_channel() {
        let grants =
            Grants::new(&[grant(&["room:*", "lobby"], &[Action::Subscribe, Action::History]), grant(&["room:1"], &[Action::Publish])])
                .unwrap();
        assert!(grants.allows(Action::Subscribe, &channel("room:2")));
        assert!(grants.allows(Action::History, &channel("lobby")));
        assert!(grants.allows(Action::Publish, &channel("room:1")));
        assert!(!grants.allows(Action::Publish, &channel("room:2")));
        assert!(!grants.allows(Action::Presence, &channel("room:1")));
        assert!(!grants.allows(Action::Subscribe, &channel("rooms:2")));
        assert!(Action::ALL.into_iter().all(|action| !Grants::default().allows(action, &channel("lobby"))));
    }

    #[test]
    fn what_concerns_no_channel_is_granted_on_everything_or_not_at_all() {
        let on = |patterns: &[&str]| Grants::new(&[grant(patterns, &[Action::Operate])]).unwrap().allows_everywhere(Action::Operate);
        assert!(on(&["room:*", "*"]));
        assert!(!on(&["room:*", "**x"]));
        assert!(!Grants::new(&[grant(&["*"], &[Action::Publish])]).unwrap().allows_everywhere(Action::Operate));
    }

    #[test]
    fn grants_cover_others() {
        let wide = Grants::new(&[grant(&["room:*"], &[Action::Subscribe]), grant(&["*"], &[Action::Publish])]).unwrap();
        let narrow = Grants::new(&[grant(&["room:a*b", "room:1"], &[Action::Subscribe, Action::Publish])]).unwrap();
        assert!(wide.cover(&narrow) && wide.cover(&wide) && wide.cover(&Grants::default()));
        assert!(!narrow.cover(&wide) && !Grants::default().cover(&narrow));
        let other = Grants::new(&[grant(&["r*"], &[Action::Subscribe])]).unwrap();
        assert!(!wide.cover(&other));
    }

    #[test]
    fn what_a_newer_server_would_know_allows_nothing_here() {
        let grants = Grants::parse(r#"[{"channels": ["*"], "actions": ["levitate", "publish"], "until": 5}]"#).unwrap();
        assert!(grants.allows(Action::Publish, &channel("x")));
        assert!(!grants.allows(Action::Subscribe, &channel("x")));
    }

    #[test]
    fn what_is_not_a_list_of_grants_is_refused() {
        for json in
            ["{}", "[1]", r#"[{"channels": "*", "actions": ["publish"]}]"#, r#"[{"channels": ["*"]}]"#, r#"[{"actions": ["publish"]}]"#]
        {
            assert!(Grants::parse(json).is_none(), "{json}");
        }
        assert!(Grants::parse("[]").is_some());
    }

    #[test]
    fn grants_and_their_patterns_are_bounded() {
        let one = grant(&["x"], &[Action::Publish]);
        assert!(Grants::new(&vec![one.clone(); MAX_GRANTS]).is_ok());
        assert!(Grants::new(&vec![one; MAX_GRANTS + 1]).is_err());
        assert!(Grants::new(&[grant(&["x"; MAX_PATTERNS], &[])]).is_ok());
        assert!(Grants::new(&[grant(&["x"; MAX_PATTERNS + 1], &[])]).is_err());
    }
}
