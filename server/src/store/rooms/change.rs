//! What is written about rooms, each within the caller's transaction.

use hubbub_protocol::ChannelName;

use super::{Room, Row, kind_name, visibility_name};
use crate::{
    auth::policy::{RoomKind, Visibility},
    store::{
        Db, StoreError, Tx, column,
        listing::{self, Selection},
        on,
    },
};

/// A room to be made.
#[derive(Debug, Clone, Copy)]
pub struct NewRoom<'a> {
    /// The channel.
    pub channel: &'a ChannelName,
    /// What it is for.
    pub kind: RoomKind,
    /// Who may know of it.
    pub visibility: Visibility,
    /// What it is called.
    pub title: &'a str,
    /// What it is about.
    pub topic: &'a str,
    /// Its own JSON object.
    pub data: &'a str,
    /// By whom.
    pub created_by: &'a str,
}

/// Makes a room without members. `None` if there is one, deleted or not.
///
/// # Errors
/// [`StoreError`].
pub(crate) async fn make(tx: &mut Tx, new: NewRoom<'_>, now: u64) -> Result<Option<Room>, StoreError> {
    let row: Option<Row> = on!(tx, conn => sqlx::query_as(
        "INSERT INTO rooms (channel, kind, visibility, title, topic, data, created_by, members, version, created_at, updated_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7, 0, 1, $8, $8) ON CONFLICT (channel) DO NOTHING
         RETURNING channel, kind, visibility, title, topic, data, created_by, members, version, created_at, updated_at, deleted_at",
    )
    .bind(new.channel.as_str())
    .bind(kind_name(new.kind))
    .bind(visibility_name(new.visibility))
    .bind(new.title)
    .bind(new.topic)
    .bind(new.data)
    .bind(new.created_by)
    .bind(column(now))
    .fetch_optional(conn)
    .await)?;
    row.map(Room::try_from).transpose()
}

/// The room, deleted or not, held until the transaction ends: nobody else changes it or its members meanwhile.
///
/// # Errors
/// [`StoreError`].
pub(crate) async fn hold(tx: &mut Tx, channel: &ChannelName) -> Result<Option<Room>, StoreError> {
    // An update that changes nothing locks the row on either database.
    let row: Option<Row> = on!(tx, conn => sqlx::query_as(
        "UPDATE rooms SET version = version WHERE channel = $1
         RETURNING channel, kind, visibility, title, topic, data, created_by, members, version, created_at, updated_at, deleted_at",
    )
    .bind(channel.as_str())
    .fetch_optional(conn)
    .await)?;
    row.map(Room::try_from).transpose()
}

/// Writes what of a held room can be changed, and raises its version. Returns it as it stands then.
///
/// # Errors
/// [`StoreError`].
pub(crate) async fn put(tx: &mut Tx, room: Room, now: u64) -> Result<Room, StoreError> {
    let row: Row = on!(tx, conn => sqlx::query_as(
        "UPDATE rooms SET visibility = $2, title = $3, topic = $4, data = $5, deleted_at = $6, version = version + 1, updated_at = $7
         WHERE channel = $1
         RETURNING channel, kind, visibility, title, topic, data, created_by, members, version, created_at, updated_at, deleted_at",
    )
    .bind(room.channel.as_str())
    .bind(visibility_name(room.visibility))
    .bind(room.title)
    .bind(room.topic)
    .bind(room.data)
    .bind(room.deleted_at.map(column))
    .bind(column(now))
    .fetch_one(conn)
    .await)?;
    Room::try_from(row)
}

/// The rooms of a selection.
///
/// # Errors
/// [`StoreError`].
pub async fn list(db: &Db, selection: &Selection) -> Result<Vec<Room>, StoreError> {
    const FROM: &str =
        "SELECT channel, kind, visibility, title, topic, data, created_by, members, version, created_at, updated_at, deleted_at FROM rooms";
    let rows: Vec<Row> = listing::select(db, FROM, "channel", selection).await?;
    rows.into_iter().map(Room::try_from).collect()
}

/// At most `limit` channels whose rooms were deleted before `before`.
///
/// # Errors
/// [`StoreError`].
pub async fn deleted_before(db: &Db, before: u64, limit: u32) -> Result<Vec<ChannelName>, StoreError> {
    use crate::store::read;
    let names: Vec<String> = read!(db, pool => {
        let rows = sqlx::query_scalar("SELECT channel FROM rooms WHERE deleted_at IS NOT NULL AND deleted_at < $1 ORDER BY deleted_at LIMIT $2");
        rows.bind(column(before)).bind(i64::from(limit)).fetch_all(pool).await
    })?;
    names.iter().map(|name| ChannelName::parse(name).map_err(|_| StoreError::Corrupt("a room's channel"))).collect()
}

/// Deletes at most `limit` members of `channel`, and tells whom.
///
/// # Errors
/// [`StoreError`].
pub(crate) async fn clear_members(tx: &mut Tx, channel: &ChannelName, limit: u32) -> Result<Vec<String>, StoreError> {
    clear(
        tx,
        channel,
        limit,
        "DELETE FROM members WHERE channel = $1 AND user_id IN (SELECT user_id FROM members WHERE channel = $1 LIMIT $2) RETURNING user_id",
    )
    .await
}

/// The same of its bans.
///
/// # Errors
/// [`StoreError`].
pub(crate) async fn clear_bans(tx: &mut Tx, channel: &ChannelName, limit: u32) -> Result<Vec<String>, StoreError> {
    clear(
        tx,
        channel,
        limit,
        "DELETE FROM bans WHERE channel = $1 AND user_id IN (SELECT user_id FROM bans WHERE channel = $1 LIMIT $2) RETURNING user_id",
    )
    .await
}

async fn clear(tx: &mut Tx, channel: &ChannelName, limit: u32, sql: &'static str) -> Result<Vec<String>, StoreError> {
    Ok(on!(tx, conn => sqlx::query_scalar(sql).bind(channel.as_str()).bind(i64::from(limit)).fetch_all(conn).await)?)
}

/// Deletes the row of `channel`, if it was deleted before `before`. What belongs to it is not touched.
///
/// # Errors
/// [`StoreError`].
pub(crate) async fn purge(tx: &mut Tx, channel: &ChannelName, before: u64) -> Result<bool, StoreError> {
    Ok(on!(tx, conn => sqlx::query("DELETE FROM rooms WHERE channel = $1 AND deleted_at IS NOT NULL AND deleted_at < $2")
        .bind(channel.as_str())
        .bind(column(before))
        .execute(conn)
        .await
        .map(|done| done.rows_affected() > 0))?)
}
