//! Who is in which room, and as what.

mod change;

use hubbub_protocol::ChannelName;

use super::{Db, StoreError, column, listing::Field, read, rooms};
use crate::auth::{
    Role,
    policy::{self, MemberState, Membership},
};

pub(crate) use change::{find_in, owners, put, remove};
pub use change::{list, list_of_user};

/// What lists of these are filtered and sorted by.
pub const FIELDS: &[Field] = &[
    Field::whole("created_at").sorted(),
    Field::text("user").of("user_id").sorted(),
    Field::choice("role", Role::NAMES),
    Field::choice("state", &["invited", "joined"]),
];

/// The same of a user's memberships.
pub const MEMBERSHIPS: &[Field] =
    &[Field::whole("created_at").sorted(), Field::choice("role", Role::NAMES), Field::choice("state", &["invited", "joined"])];

/// A member as it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// Where.
    pub channel: ChannelName,
    /// Who.
    pub user: String,
    /// As what.
    pub role: Role,
    /// Invited, or in.
    pub state: MemberState,
    /// By whom, if anybody.
    pub invited_by: Option<String>,
    /// Rises with each change.
    pub version: u64,
    /// In Unix milliseconds.
    pub created_at: u64,
    /// When it was last changed.
    pub updated_at: u64,
}

impl Member {
    /// What rights go by.
    pub fn policy(&self) -> Membership {
        Membership { role: self.role, state: self.state }
    }
}

#[derive(sqlx::FromRow)]
pub(super) struct Row {
    channel: String,
    user_id: String,
    role: String,
    state: String,
    invited_by: Option<String>,
    version: i64,
    created_at: i64,
    updated_at: i64,
}

impl TryFrom<Row> for Member {
    type Error = StoreError;

    fn try_from(row: Row) -> Result<Self, StoreError> {
        Ok(Self {
            channel: ChannelName::parse(&row.channel).map_err(|_| StoreError::Corrupt("a member's channel"))?,
            user: row.user_id,
            role: Role::parse(&row.role).ok_or(StoreError::Corrupt("a member's role"))?,
            state: state(&row.state).ok_or(StoreError::Corrupt("a member's state"))?,
            invited_by: row.invited_by,
            version: row.version as u64,
            created_at: row.created_at as u64,
            updated_at: row.updated_at as u64,
        })
    }
}

/// The state of that name.
pub fn state(name: &str) -> Option<MemberState> {
    match name {
        "invited" => Some(MemberState::Invited),
        "joined" => Some(MemberState::Joined),
        _ => None,
    }
}

/// A state's name.
pub const fn state_name(state: MemberState) -> &'static str {
    match state {
        MemberState::Invited => "invited",
        MemberState::Joined => "joined",
    }
}

/// The membership of `user` in `channel`, if there is one.
///
/// # Errors
/// [`StoreError`].
pub async fn find(db: &Db, channel: &ChannelName, user: &str) -> Result<Option<Member>, StoreError> {
    const ROW: &str = "SELECT channel, user_id, role, state, invited_by, version, created_at, updated_at FROM members
        WHERE channel = $1 AND user_id = $2";
    let row: Option<Row> = read!(db, pool => sqlx::query_as(ROW).bind(channel.as_str()).bind(user).fetch_optional(pool).await)?;
    row.map(Member::try_from).transpose()
}

/// A room that a user has joined, with what rights there go by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Joined {
    /// Where.
    pub channel: ChannelName,
    /// As what.
    pub membership: Membership,
    /// The room.
    pub room: policy::Room,
    /// When the membership began, in Unix milliseconds.
    pub created_at: u64,
}

#[derive(sqlx::FromRow)]
struct JoinedRow {
    channel: String,
    role: String,
    kind: String,
    visibility: String,
    created_at: i64,
}

impl TryFrom<JoinedRow> for Joined {
    type Error = StoreError;

    fn try_from(row: JoinedRow) -> Result<Self, StoreError> {
        let role = Role::parse(&row.role).ok_or(StoreError::Corrupt("a member's role"))?;
        Ok(Self {
            channel: ChannelName::parse(&row.channel).map_err(|_| StoreError::Corrupt("a member's channel"))?,
            membership: Membership { role, state: MemberState::Joined },
            room: policy::Room {
                kind: rooms::kind(&row.kind).ok_or(StoreError::Corrupt("a room's kind"))?,
                visibility: rooms::visibility(&row.visibility).ok_or(StoreError::Corrupt("a room's visibility"))?,
                is_deleted: false,
            },
            created_at: row.created_at as u64,
        })
    }
}

/// At most `limit` of the rooms that `user` has joined and that are not deleted, newest membership first, after `last` of the page before:
/// one statement, whatever rights there are to be judged.
///
/// # Errors
/// [`StoreError`].
pub async fn joined(db: &Db, user: &str, last: Option<&Joined>, limit: u32) -> Result<Vec<Joined>, StoreError> {
    const ROWS: &str = "SELECT m.channel, m.role, r.kind, r.visibility, m.created_at FROM members m JOIN rooms r ON r.channel = m.channel
        WHERE m.user_id = $1 AND m.state = 'joined' AND r.deleted_at IS NULL AND (m.created_at, m.channel) < ($2, $3)
        ORDER BY m.created_at DESC, m.channel DESC LIMIT $4";
    let (created_at, channel) = last.map_or((i64::MAX, ""), |last| (column(last.created_at), last.channel.as_str()));
    let rows: Vec<JoinedRow> = read!(db, pool => {
        sqlx::query_as(ROWS).bind(user).bind(created_at).bind(channel).bind(i64::from(limit)).fetch_all(pool).await
    })?;
    rows.into_iter().map(Joined::try_from).collect()
}
