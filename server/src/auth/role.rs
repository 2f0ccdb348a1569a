//! Roles: of an account on the whole instance, and of a member in a channel. The same five for both.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A role. They are ordered: whoever has more power is greater.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, Default, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Reads, and no more.
    Guest,
    /// Takes part.
    #[default]
    Member,
    /// Keeps order.
    Moderator,
    /// Manages.
    Admin,
    /// May do everything, and hand it on.
    Owner,
}

impl Role {
    /// Every role, the one with most power first.
    pub const ALL: [Role; 5] = [Role::Owner, Role::Admin, Role::Moderator, Role::Member, Role::Guest];

    /// Their names, in the same order.
    pub const NAMES: &[&str] = &["owner", "admin", "moderator", "member", "guest"];

    /// Its name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Role::Owner => "owner",
            Role::Admin => "admin",
            Role::Moderator => "moderator",
            Role::Member => "member",
            Role::Guest => "guest",
        }
    }

    /// The role of that name.
    pub fn parse(name: &str) -> Option<Self> {
        Role::ALL.into_iter().find(|role| role.as_str() == name)
    }

    /// Whether somebody with this role may ban, kick or overrule somebody with `other` in a channel.
    pub fn outranks(self, other: Role) -> bool {
        self > other
    }

    /// What an account's role on the instance makes of it in every group's channel; `None`: nothing by itself.
    pub fn in_channels(self) -> Option<Role> {
        match self {
            Role::Owner | Role::Admin => Some(Role::Admin),
            Role::Moderator => Some(Role::Moderator),
            Role::Member | Role::Guest => None,
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn are_ordered_by_their_power_and_come_back_by_their_names() {
        assert!(Role::ALL.is_sorted_by(|one, next| one.outranks(*next)));
        assert!(Role::ALL.into_iter().all(|role| Role::parse(role.as_str()) == Some(role) && !role.outranks(role)));
        assert_eq!(Role::parse("Owner"), None);
    }
}
