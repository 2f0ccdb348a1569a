//! Rooms: the channels of explicit namespaces. A channel's log begins with its first entry; its room is there before.

mod change;

use hubbub_protocol::ChannelName;

use super::{Db, StoreError, listing::Field, read};
use crate::auth::policy::{self, RoomKind, Visibility};

pub use change::{NewRoom, deleted_before, list};
pub(crate) use change::{clear_bans, clear_members, purge};
pub(crate) use change::{hold, make, put};

/// What lists of these are filtered and sorted by.
pub const FIELDS: &[Field] = &[
    Field::whole("created_at").sorted(),
    Field::text("title").sorted(),
    Field::text("name").of("channel").sorted(),
    Field::text("created_by"),
];

/// A room as it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Room {
    /// The channel.
    pub channel: ChannelName,
    /// What it is for.
    pub kind: RoomKind,
    /// Who may know of it.
    pub visibility: Visibility,
    /// What it is called.
    pub title: String,
    /// What it is about.
    pub topic: String,
    /// Its own JSON object.
    pub data: String,
    /// A user's id.
    pub created_by: String,
    /// How many have joined.
    pub members: u64,
    /// Rises with each change.
    pub version: u64,
    /// In Unix milliseconds, as the following.
    pub created_at: u64,
    /// When it was last changed.
    pub updated_at: u64,
    /// When it was deleted.
    pub deleted_at: Option<u64>,
}

impl Room {
    /// What rights go by.
    pub fn policy(&self) -> policy::Room {
        policy::Room { kind: self.kind, visibility: self.visibility, is_deleted: self.deleted_at.is_some() }
    }
}

/// A row; [`COLUMNS`] are its columns.
#[derive(sqlx::FromRow)]
pub(super) struct Row {
    channel: String,
    kind: String,
    visibility: String,
    title: String,
    topic: String,
    data: String,
    created_by: String,
    members: i64,
    version: i64,
    created_at: i64,
    updated_at: i64,
    deleted_at: Option<i64>,
}

impl TryFrom<Row> for Room {
    type Error = StoreError;

    fn try_from(row: Row) -> Result<Self, StoreError> {
        Ok(Self {
            channel: ChannelName::parse(&row.channel).map_err(|_| StoreError::Corrupt("a room's channel"))?,
            kind: kind(&row.kind).ok_or(StoreError::Corrupt("a room's kind"))?,
            visibility: visibility(&row.visibility).ok_or(StoreError::Corrupt("a room's visibility"))?,
            title: row.title,
            topic: row.topic,
            data: row.data,
            created_by: row.created_by,
            members: row.members as u64,
            version: row.version as u64,
            created_at: row.created_at as u64,
            updated_at: row.updated_at as u64,
            deleted_at: row.deleted_at.map(|at| at as u64),
        })
    }
}

/// The kind of that name.
pub fn kind(name: &str) -> Option<RoomKind> {
    match name {
        "group" => Some(RoomKind::Group),
        "direct" => Some(RoomKind::Direct),
        "personal" => Some(RoomKind::Personal),
        _ => None,
    }
}

/// A kind's name.
pub const fn kind_name(kind: RoomKind) -> &'static str {
    match kind {
        RoomKind::Group => "group",
        RoomKind::Direct => "direct",
        RoomKind::Personal => "personal",
    }
}

/// The visibility of that name.
pub fn visibility(name: &str) -> Option<Visibility> {
    match name {
        "public" => Some(Visibility::Public),
        "private" => Some(Visibility::Private),
        _ => None,
    }
}

/// A visibility's name.
pub const fn visibility_name(visibility: Visibility) -> &'static str {
    match visibility {
        Visibility::Public => "public",
        Visibility::Private => "private",
    }
}

/// The room of `channel`, deleted or not; `None` if nobody has made it.
///
/// # Errors
/// [`StoreError`].
pub async fn find(db: &Db, channel: &ChannelName) -> Result<Option<Room>, StoreError> {
    const ROW: &str =
        "SELECT channel, kind, visibility, title, topic, data, created_by, members, version, created_at, updated_at, deleted_at
        FROM rooms WHERE channel = $1";
    let row: Option<Row> = read!(db, pool => sqlx::query_as(ROW).bind(channel.as_str()).fetch_optional(pool).await)?;
    row.map(Room::try_from).transpose()
}
