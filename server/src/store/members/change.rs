//! What is written about members, each within the caller's transaction, with the room held.

use hubbub_protocol::ChannelName;

use super::{Member, Row, state_name};
use crate::{
    auth::{Role, policy::MemberState},
    store::{
        Db, StoreError, Tx, column,
        listing::{self, Selection},
        on,
    },
};

/// The membership of `user`, as it stands in this transaction.
///
/// # Errors
/// [`StoreError`].
pub(crate) async fn find_in(tx: &mut Tx, channel: &ChannelName, user: &str) -> Result<Option<Member>, StoreError> {
    let row: Option<Row> = on!(tx, conn => sqlx::query_as(
        "SELECT channel, user_id, role, state, invited_by, version, created_at, updated_at FROM members WHERE channel = $1 AND user_id = $2",
    )
    .bind(channel.as_str())
    .bind(user)
    .fetch_optional(conn)
    .await)?;
    row.map(Member::try_from).transpose()
}

/// Puts `user` into the room, or changes how. Returns the membership as it stands then; the room's count follows.
///
/// # Errors
/// [`StoreError`].
pub(crate) async fn put(
    tx: &mut Tx,
    channel: &ChannelName,
    user: &str,
    (role, state): (Role, MemberState),
    invited_by: Option<&str>,
    now: u64,
) -> Result<Member, StoreError> {
    let was = find_in(tx, channel, user).await?.is_some_and(|member| member.state == MemberState::Joined);
    let row: Row = on!(&mut *tx, conn => sqlx::query_as(
        "INSERT INTO members (channel, user_id, role, state, invited_by, version, created_at, updated_at) VALUES ($1, $2, $3, $4, $5, 1, $6, $6)
         ON CONFLICT (channel, user_id) DO UPDATE SET role = excluded.role, state = excluded.state, version = members.version + 1,
         updated_at = excluded.updated_at
         RETURNING channel, user_id, role, state, invited_by, version, created_at, updated_at",
    )
    .bind(channel.as_str())
    .bind(user)
    .bind(role.as_str())
    .bind(state_name(state))
    .bind(invited_by)
    .bind(column(now))
    .fetch_one(conn)
    .await)?;
    count(tx, channel, i64::from(state == MemberState::Joined) - i64::from(was)).await?;
    Member::try_from(row)
}

/// Takes `user` out. Returns the membership that was.
///
/// # Errors
/// [`StoreError`].
pub(crate) async fn remove(tx: &mut Tx, channel: &ChannelName, user: &str) -> Result<Option<Member>, StoreError> {
    let row: Option<Row> = on!(&mut *tx, conn => sqlx::query_as(
        "DELETE FROM members WHERE channel = $1 AND user_id = $2
         RETURNING channel, user_id, role, state, invited_by, version, created_at, updated_at",
    )
    .bind(channel.as_str())
    .bind(user)
    .fetch_optional(conn)
    .await)?;
    let member = row.map(Member::try_from).transpose()?;
    if member.as_ref().is_some_and(|member| member.state == MemberState::Joined) {
        count(tx, channel, -1).await?;
    }
    Ok(member)
}

async fn count(tx: &mut Tx, channel: &ChannelName, change: i64) -> Result<(), StoreError> {
    if change == 0 {
        return Ok(());
    }
    Ok(on!(tx, conn => sqlx::query("UPDATE rooms SET members = members + $2 WHERE channel = $1")
        .bind(channel.as_str())
        .bind(change)
        .execute(conn)
        .await
        .map(drop))?)
}

/// How many owners have joined.
///
/// # Errors
/// [`StoreError`].
pub(crate) async fn owners(tx: &mut Tx, channel: &ChannelName) -> Result<u64, StoreError> {
    let count: i64 = on!(tx, conn => {
        sqlx::query_scalar("SELECT count(*) FROM members WHERE channel = $1 AND role = 'owner' AND state = 'joined'")
            .bind(channel.as_str())
            .fetch_one(conn)
            .await
    })?;
    Ok(count as u64)
}

/// The members of a selection, by user; the selection names the channel.
///
/// # Errors
/// [`StoreError`].
pub async fn list(db: &Db, selection: &Selection) -> Result<Vec<Member>, StoreError> {
    const FROM: &str = "SELECT channel, user_id, role, state, invited_by, version, created_at, updated_at FROM members";
    let rows: Vec<Row> = listing::select(db, FROM, "user_id", selection).await?;
    rows.into_iter().map(Member::try_from).collect()
}

/// The same by channel; the selection names the user.
///
/// # Errors
/// [`StoreError`].
pub async fn list_of_user(db: &Db, selection: &Selection) -> Result<Vec<Member>, StoreError> {
    const FROM: &str = "SELECT channel, user_id, role, state, invited_by, version, created_at, updated_at FROM members";
    let rows: Vec<Row> = listing::select(db, FROM, "channel", selection).await?;
    rows.into_iter().map(Member::try_from).collect()
}
