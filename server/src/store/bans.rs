//! Bans: who may not, in one channel of whatever namespace. Each change is a ruling in the same transaction.

use hubbub_protocol::ChannelName;

use super::{
    Db, StoreError, Tx, column,
    listing::{self, Field},
    on, read,
    rulings::{self, Ruling},
};

/// What lists of these are filtered and sorted by.
pub const FIELDS: &[Field] =
    &[Field::whole("created_at").sorted(), Field::text("user").of("user_id").sorted(), Field::whole("expires_at").nullable()];

/// A ban as it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ban {
    /// Where.
    pub channel: ChannelName,
    /// Who.
    pub user: String,
    /// What was said of it.
    pub reason: String,
    /// By whom.
    pub banned_by: String,
    /// Rises with each change.
    pub version: u64,
    /// In Unix milliseconds.
    pub created_at: u64,
    /// When it is over by itself; `None`: when it is lifted.
    pub expires_at: Option<u64>,
}

#[derive(sqlx::FromRow)]
struct Row {
    channel: String,
    user_id: String,
    reason: String,
    banned_by: String,
    version: i64,
    created_at: i64,
    expires_at: Option<i64>,
}

impl TryFrom<Row> for Ban {
    type Error = StoreError;

    fn try_from(row: Row) -> Result<Self, StoreError> {
        Ok(Self {
            channel: ChannelName::parse(&row.channel).map_err(|_| StoreError::Corrupt("a ban's channel"))?,
            user: row.user_id,
            reason: row.reason,
            banned_by: row.banned_by,
            version: row.version as u64,
            created_at: row.created_at as u64,
            expires_at: row.expires_at.map(|at| at as u64),
        })
    }
}

/// What a new ban says.
#[derive(Debug, Clone, Copy)]
pub struct NewBan<'a> {
    /// Where.
    pub channel: &'a ChannelName,
    /// Who.
    pub user: &'a str,
    /// Why, for people.
    pub reason: &'a str,
    /// By whom.
    pub banned_by: &'a str,
    /// When it is over by itself, in Unix milliseconds.
    pub expires_at: Option<u64>,
}

/// Bans within `tx`, with the ruling as its last statement: one that is there already is replaced. Returns the ban.
///
/// # Errors
/// [`StoreError`].
pub(crate) async fn put(tx: &mut Tx, new: NewBan<'_>, now: u64) -> Result<Ban, StoreError> {
    let row: Row = on!(tx, conn => sqlx::query_as(
        "INSERT INTO bans (channel, user_id, reason, banned_by, version, created_at, expires_at) VALUES ($1, $2, $3, $4, 1, $5, $6)
         ON CONFLICT (channel, user_id) DO UPDATE SET reason = excluded.reason, banned_by = excluded.banned_by,
         expires_at = excluded.expires_at, version = bans.version + 1
         RETURNING channel, user_id, reason, banned_by, version, created_at, expires_at",
    )
    .bind(new.channel.as_str())
    .bind(new.user)
    .bind(new.reason)
    .bind(new.banned_by)
    .bind(column(now))
    .bind(new.expires_at.map(column))
    .fetch_one(conn)
    .await)?;
    rulings::append(tx, &Ruling::Ban { channel: new.channel.clone(), user: new.user.to_owned() }, now).await?;
    Ban::try_from(row)
}

/// Lifts a ban within `tx`. Returns whether there was one.
///
/// # Errors
/// [`StoreError`].
pub(crate) async fn lift(tx: &mut Tx, channel: &ChannelName, user: &str, now: u64) -> Result<bool, StoreError> {
    let rows = on!(tx, conn => sqlx::query("DELETE FROM bans WHERE channel = $1 AND user_id = $2")
        .bind(channel.as_str())
        .bind(user)
        .execute(conn)
        .await
        .map(|done| done.rows_affected()))?;
    if rows > 0 {
        rulings::append(tx, &Ruling::Ban { channel: channel.clone(), user: user.to_owned() }, now).await?;
    }
    Ok(rows > 0)
}

/// The ban of `user` from `channel`, over or not.
///
/// # Errors
/// [`StoreError`].
pub async fn find(db: &Db, channel: &ChannelName, user: &str) -> Result<Option<Ban>, StoreError> {
    const ROW: &str =
        "SELECT channel, user_id, reason, banned_by, version, created_at, expires_at FROM bans WHERE channel = $1 AND user_id = $2";
    let row: Option<Row> = read!(db, pool => sqlx::query_as(ROW).bind(channel.as_str()).bind(user).fetch_optional(pool).await)?;
    row.map(Ban::try_from).transpose()
}

/// Deletes at most `limit` bans that are over at `now`. Returns how many. Nobody need hear of it: they count no more.
///
/// # Errors
/// [`StoreError`].
pub async fn trim(db: &Db, now: u64, limit: u32) -> Result<u64, StoreError> {
    let mut tx = db.begin().await?;
    let rows = on!(&mut tx, conn => sqlx::query(
        "DELETE FROM bans WHERE (channel, user_id) IN (SELECT channel, user_id FROM bans WHERE expires_at <= $1 ORDER BY expires_at LIMIT $2)
         AND expires_at <= $1",
    )
    .bind(column(now))
    .bind(i64::from(limit))
    .execute(conn)
    .await
    .map(|done| done.rows_affected()))?;
    tx.commit().await?;
    Ok(rows)
}

/// The bans of a selection, by user; the selection names the channel.
///
/// # Errors
/// [`StoreError`].
pub async fn select(db: &Db, selection: &listing::Selection) -> Result<Vec<Ban>, StoreError> {
    const FROM: &str = "SELECT channel, user_id, reason, banned_by, version, created_at, expires_at FROM bans";
    let rows: Vec<Row> = listing::select(db, FROM, "user_id", selection).await?;
    rows.into_iter().map(Ban::try_from).collect()
}
