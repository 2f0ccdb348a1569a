//! Keys of backends. The database has a digest of each, so whoever reads it can use none.

use super::{
    Db, StoreError, Tx, column,
    listing::{self, Field, Selection},
    on, read,
};

/// What lists of these are filtered and sorted by.
pub const FIELDS: &[Field] = &[
    Field::whole("created_at").sorted(),
    Field::text("created_by"),
    Field::whole("revoked_at").nullable(),
    Field::whole("expires_at").nullable(),
];

/// A key as it stands.
#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow)]
pub struct ApiKey {
    /// Which.
    pub id: String,
    /// What it is called.
    pub name: String,
    /// SHA-256 of its secret.
    pub digest: Vec<u8>,
    /// What it may do: a JSON list.
    pub scopes: String,
    /// Patterns of the channels where: a JSON list.
    pub channels: String,
    /// By whom it was made.
    pub created_by: String,
    /// Rises with each change.
    pub version: i64,
    /// In Unix milliseconds, as the following.
    pub created_at: i64,
    /// When it was last used, by the hour.
    pub used_at: Option<i64>,
    /// When it ends by itself.
    pub expires_at: Option<i64>,
    /// When it was revoked.
    pub revoked_at: Option<i64>,
}

/// Keeps a new key.
///
/// # Errors
/// [`StoreError`].
pub(crate) async fn put(tx: &mut Tx, key: &ApiKey) -> Result<(), StoreError> {
    on!(tx, conn => sqlx::query(
        "INSERT INTO api_keys (id, name, digest, scopes, channels, created_by, version, created_at, expires_at) VALUES ($1, $2, $3, $4, $5, $6, 1, $7, $8)",
    )
    .bind(&key.id)
    .bind(&key.name)
    .bind(&key.digest[..])
    .bind(&key.scopes)
    .bind(&key.channels)
    .bind(&key.created_by)
    .bind(key.created_at)
    .bind(key.expires_at)
    .execute(conn)
    .await
    .map(drop))?;
    Ok(())
}

/// Revokes a key. Returns whether there was one that was good.
///
/// # Errors
/// [`StoreError`].
pub(crate) async fn revoke(tx: &mut Tx, id: &str, now: u64) -> Result<bool, StoreError> {
    let text = "UPDATE api_keys SET revoked_at = $2, version = version + 1 WHERE id = $1 AND revoked_at IS NULL";
    Ok(on!(tx, conn => sqlx::query(text).bind(id).bind(column(now)).execute(conn).await.map(|done| done.rows_affected() > 0))?)
}

/// Notes that a key was used, if that was not noted within the last hour.
///
/// # Errors
/// [`StoreError`].
pub async fn used(db: &Db, id: &str, now: u64) -> Result<(), StoreError> {
    const HOUR: u64 = 3_600_000;
    let mut tx = db.begin().await?;
    let text = "UPDATE api_keys SET used_at = $2 WHERE id = $1 AND (used_at IS NULL OR used_at < $3)";
    on!(&mut tx, conn => {
        sqlx::query(text).bind(id).bind(column(now)).bind(column(now.saturating_sub(HOUR))).execute(conn).await.map(drop)
    })?;
    tx.commit().await
}

/// The key with that id, good or not.
///
/// # Errors
/// [`StoreError`].
pub async fn find(db: &Db, id: &str) -> Result<Option<ApiKey>, StoreError> {
    const ROW: &str = "SELECT id, name, digest, scopes, channels, created_by, version, created_at, used_at, expires_at, revoked_at
         FROM api_keys WHERE id = $1";
    Ok(read!(db, pool => sqlx::query_as(ROW).bind(id).fetch_optional(pool).await)?)
}

/// The keys of a selection.
///
/// # Errors
/// [`StoreError`].
pub async fn list(db: &Db, selection: &Selection) -> Result<Vec<ApiKey>, StoreError> {
    const FROM: &str =
        "SELECT id, name, digest, scopes, channels, created_by, version, created_at, used_at, expires_at, revoked_at FROM api_keys";
    listing::select(db, FROM, "id", selection).await
}
