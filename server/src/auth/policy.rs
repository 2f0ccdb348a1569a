//! Who may do what: one decision for every door. Pure: whoever asks brings the facts, and is told each step, for `hubbub explain`.
//!
//! In order: a block or a revocation, a ban, then in an explicit channel the member's role, and in an implicit one the token's grants.
//! What nothing allows is denied.

mod reason;
#[cfg(test)]
mod tests;

use hubbub_protocol::{ChannelName, ErrorCode};
use thiserror::Error;

use super::{Act, Action, Identity, Power, Role};

pub use reason::{Reason, Steps};

/// Why not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Error)]
pub enum Denied {
    /// The user is blocked or deleted, the session has ended, or the token was called in.
    #[error("the credentials were revoked: log in again, or ask whoever runs this server")]
    Revoked,
    /// The user is banned from the channel.
    #[error("you are banned from this channel")]
    Banned,
    /// Neither a membership nor the token's grants allow it.
    #[error("neither your role nor the token's grants allow this on this channel")]
    Forbidden,
    /// There is no such channel, or none that this user may know of.
    #[error("there is no such channel")]
    NotFound,
    /// The store cannot be asked.
    #[error("it cannot be looked up whether this is allowed: try again")]
    Unavailable,
}

impl Denied {
    /// The code on the wire.
    pub const fn code(self) -> ErrorCode {
        match self {
            Denied::Revoked => ErrorCode::Revoked,
            Denied::Banned => ErrorCode::Banned,
            Denied::Forbidden => ErrorCode::Forbidden,
            Denied::NotFound => ErrorCode::NotFound,
            Denied::Unavailable => ErrorCode::Unavailable,
        }
    }
}

/// Whether credentials are good at all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// They are.
    Clear,
    /// The user is blocked.
    Blocked,
    /// The user was deleted.
    Deleted,
    /// The session or the token was revoked.
    Revoked,
}

/// What a channel of an explicit namespace is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RoomKind {
    /// Many.
    Group,
    /// Two, or a few, among themselves.
    Direct,
    /// One user's own.
    Personal,
}

/// Who may know of a channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Visibility {
    /// Everybody, and everybody may join.
    Public,
    /// Its members, and who is invited.
    Private,
}

/// A channel of an explicit namespace.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Room {
    /// What it is for.
    pub kind: RoomKind,
    /// Who may know of it.
    pub visibility: Visibility,
    /// It was deleted, and may be restored.
    pub is_deleted: bool,
}

/// How far somebody is a member.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MemberState {
    /// Asked in.
    Invited,
    /// In.
    Joined,
}

/// Somebody's place in a channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Membership {
    /// The role, which counts once one has joined.
    pub role: Role,
    /// How far.
    pub state: MemberState,
}

/// A few actions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Rights(u8);

impl Rights {
    /// These.
    pub fn of(actions: impl IntoIterator<Item = Action>) -> Self {
        Self(actions.into_iter().fold(0, |bits, action| bits | 1 << action as u8))
    }

    fn has(self, action: Action) -> bool {
        self.0 & 1 << action as u8 != 0
    }
}

/// How a channel comes to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// By its name alone: grants decide, and what its namespace gives to accounts of this server.
    Implicit(Rights),
    /// By somebody who made it, if anybody did: members have roles.
    Explicit(Option<Room>, Option<Membership>),
}

/// What a decision goes by.
#[derive(Debug, Clone, Copy)]
pub struct Facts<'a> {
    /// Who asks, and with which token.
    pub identity: &'a Identity,
    /// Whether the credentials are good.
    pub standing: Standing,
    /// The role on the instance.
    pub role: Role,
    /// Whether the user is banned from the channel.
    pub is_banned: bool,
    /// Where.
    pub channel: &'a ChannelName,
    /// What the channel is.
    pub place: Place,
}

/// What it came to, and how.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Decision {
    /// Allowed or not.
    pub outcome: Result<(), Denied>,
    /// The steps, in order; the last one decided.
    pub steps: Steps,
}

/// Whether `act` is allowed.
pub fn decide(facts: &Facts<'_>, act: Act) -> Decision {
    let mut steps = Steps::default();
    let outcome = weigh(facts, act, &mut steps);
    Decision { outcome, steps }
}

fn weigh(facts: &Facts<'_>, act: Act, steps: &mut Steps) -> Result<(), Denied> {
    if facts.standing != Standing::Clear {
        steps.push(Reason::Stands(facts.standing));
        return Err(Denied::Revoked);
    }
    if facts.is_banned {
        steps.push(Reason::Banned);
        return Err(Denied::Banned);
    }
    steps.push(Reason::NotBanned);
    match facts.place {
        Place::Implicit(rights) => implicit(facts, rights, act, steps),
        Place::Explicit(room, membership) => explicit(facts, room, membership, act, steps),
    }
}

fn implicit(facts: &Facts<'_>, rights: Rights, act: Act, steps: &mut Steps) -> Result<(), Denied> {
    let Facts { identity, channel, .. } = facts;
    steps.push(Reason::Implicit);
    if !act.is_for_all_channels() {
        steps.push(Reason::NoMembers);
        return Err(Denied::Forbidden);
    }
    if let Some(action) = act.grants().iter().find(|action| identity.grants.allows(**action, channel)) {
        steps.push(Reason::Granted(*action));
        return Ok(());
    }
    // An outside issuer who grants nothing means nothing by it.
    let is_own = identity.session.is_some() && !identity.is_narrowed;
    if is_own && let Some(action) = act.grants().iter().find(|action| rights.has(**action)) {
        steps.push(Reason::GivenToAccounts(*action));
        return Ok(());
    }
    if act == Act::Moderate && !identity.is_narrowed && facts.role.in_channels().is_some() {
        steps.push(Reason::CountsAs(facts.role));
        return Ok(());
    }
    steps.push(Reason::NotGranted);
    Err(Denied::Forbidden)
}

fn explicit(facts: &Facts<'_>, room: Option<Room>, membership: Option<Membership>, act: Act, steps: &mut Steps) -> Result<(), Denied> {
    let Some(room) = room else {
        steps.push(Reason::NoRoom);
        return Err(Denied::NotFound);
    };
    let joined = membership.filter(|membership| membership.state == MemberState::Joined).map(|membership| membership.role);
    let is_invited = membership.is_some_and(|membership| membership.state == MemberState::Invited);
    // Whoever has a role on the instance counts among groups; a backend, as far as its grants go, everywhere.
    let counted = (room.kind == RoomKind::Group || facts.identity.is_backend).then(|| facts.role.in_channels()).flatten();
    steps.push(match (joined, is_invited) {
        (Some(role), _) => Reason::Member(role),
        (None, true) => Reason::Invited,
        (None, false) => Reason::NoMember(room.visibility),
    });
    if let Some(role) = counted.filter(|role| joined.is_none_or(|joined| *role > joined)) {
        steps.push(Reason::CountsAs(role));
    }
    let role = joined.max(counted);
    let is_open = room.visibility == Visibility::Public && room.kind == RoomKind::Group;
    let may_know = role.is_some() || is_invited || is_open;
    let is_covered = !facts.identity.is_narrowed || act.grants().iter().any(|action| facts.identity.grants.allows(*action, facts.channel));
    if room.is_deleted && !(act == Act::Delete && role == Some(Role::Owner)) {
        steps.push(Reason::DeletedRoom);
        return Err(Denied::NotFound);
    }
    let allowed = match act {
        Act::Join => joined.is_none() && may_know,
        Act::Leave => joined.is_some() || is_invited,
        Act::See => may_know,
        _ => role.is_some_and(|role| role_allows(role, act)),
    };
    if allowed && is_covered {
        steps.push(Reason::Allowed);
        return Ok(());
    }
    steps.push(if allowed { Reason::Narrowed } else { Reason::NotAllowed });
    // Of a private channel nobody hears who may not see it, by his role or by his token.
    let sees = may_know && (!facts.identity.is_narrowed || covers_sight(facts));
    Err(if sees || is_open { Denied::Forbidden } else { Denied::NotFound })
}

fn covers_sight(facts: &Facts<'_>) -> bool {
    Act::See.grants().iter().any(|action| facts.identity.grants.allows(*action, facts.channel))
}

/// The table of roles and what they may, but for seeing, joining and leaving, which do not go by the role alone.
const fn role_allows(role: Role, act: Act) -> bool {
    match act {
        Act::See | Act::Subscribe | Act::History | Act::Presence => true,
        Act::Publish | Act::Upload | Act::Invite => !matches!(role, Role::Guest),
        Act::Moderate => matches!(role, Role::Owner | Role::Admin | Role::Moderator),
        Act::Manage => matches!(role, Role::Owner | Role::Admin),
        Act::Delete => matches!(role, Role::Owner),
        Act::Join | Act::Leave => false,
    }
}

/// Whether somebody with `role` on the instance has `power`. A token that says what it allows has to say `operate` on `*`; for files of one's own
/// it may also say `publish` on anything.
pub fn wields(identity: &Identity, role: Role, power: Power) -> bool {
    let publishes = || power == Power::OwnFiles && identity.grants.allows_anywhere(Action::Publish);
    let is_covered = !identity.is_narrowed || identity.grants.allows_everywhere(Action::Operate) || publishes();
    let has = match power {
        Power::ListUsers => return role > Role::Guest,
        Power::OwnAccount | Power::OwnFiles => true,
        Power::RuleUsers | Power::ReadAudit | Power::ManageKeys => role >= Role::Admin,
    };
    has && is_covered
}

/// Whether an account with `role` may block, delete or change one with `other`: only owners touch admins and owners.
pub fn rules_over(role: Role, other: Role) -> bool {
    role == Role::Owner || role == Role::Admin && other < Role::Admin
}
