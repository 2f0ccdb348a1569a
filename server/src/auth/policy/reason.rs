//! The steps of a decision, in words.

use std::fmt;

use super::{Role, Standing, Visibility};
use crate::auth::Action;

/// One step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// The credentials are not good.
    Stands(Standing),
    /// The user is banned.
    Banned,
    /// The user is not.
    NotBanned,
    /// Grants decide.
    Implicit,
    /// The channel has no members, and so nobody invites, joins or manages.
    NoMembers,
    /// The token grants this.
    Granted(Action),
    /// The namespace gives this to accounts.
    GivenToAccounts(Action),
    /// Nothing does.
    NotGranted,
    /// Nobody has made the channel.
    NoRoom,
    /// It was deleted.
    DeletedRoom,
    /// The user is a member.
    Member(Role),
    /// The user is invited.
    Invited,
    /// The user is neither.
    NoMember(Visibility),
    /// By the role on the instance, the user counts as this.
    CountsAs(Role),
    /// The role allows it.
    Allowed,
    /// The role does not.
    NotAllowed,
    /// The role does, the token does not.
    Narrowed,
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Reason::Stands(Standing::Clear) => f.write_str("the credentials are good"),
            Reason::Stands(Standing::Blocked) => f.write_str("the user is blocked on the whole instance"),
            Reason::Stands(Standing::Deleted) => f.write_str("the user was deleted"),
            Reason::Stands(Standing::Revoked) => f.write_str("the session or the token was revoked"),
            Reason::Banned => f.write_str("the user is banned from the channel"),
            Reason::NotBanned => f.write_str("the user is neither blocked nor banned"),
            Reason::Implicit => f.write_str("the channel's namespace is implicit: the token's grants decide"),
            Reason::NoMembers => f.write_str("the channel has no members: nobody invites, joins, leaves, manages or deletes"),
            Reason::Granted(action) => write!(f, "the token grants `{}`", action.as_str()),
            Reason::GivenToAccounts(action) => write!(f, "the namespace's account_grants give `{}` to accounts", action.as_str()),
            Reason::NotGranted => f.write_str("nothing grants it"),
            Reason::NoRoom => f.write_str("the channel's namespace is explicit, and nobody has made this channel"),
            Reason::DeletedRoom => f.write_str("the channel was deleted; its owner may restore it"),
            Reason::Member(role) => write!(f, "the user is a member: {role}"),
            Reason::Invited => f.write_str("the user is invited, and has not joined"),
            Reason::NoMember(Visibility::Public) => f.write_str("the user is no member of this public channel"),
            Reason::NoMember(Visibility::Private) => f.write_str("the user is no member of this private channel"),
            Reason::CountsAs(role) => write!(f, "by the role on the instance the user counts as {role}"),
            Reason::Allowed => f.write_str("that is enough"),
            Reason::NotAllowed => f.write_str("that is not enough"),
            Reason::Narrowed => f.write_str("that would be enough, but the token's grants do not cover it"),
        }
    }
}

/// Steps of one decision, at most.
const MAX: usize = 5;

/// The steps of one decision. Allocates nothing: every publish makes one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Steps([Option<Reason>; MAX]);

impl Steps {
    pub(super) fn push(&mut self, reason: Reason) {
        if let Some(free) = self.0.iter_mut().find(|step| step.is_none()) {
            *free = Some(reason);
        }
    }

    /// In order.
    pub fn iter(&self) -> impl Iterator<Item = Reason> {
        self.0.iter().flatten().copied()
    }
}
