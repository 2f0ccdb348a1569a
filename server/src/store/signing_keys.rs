//! What access tokens are signed with. Private halves come sealed and leave sealed.

use serde_json::json;

use super::{
    Db, StoreError, Tx, audit,
    audit::{Deed, Record},
    on, read, rulings,
    rulings::Ruling,
};

/// A key.
#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow)]
pub struct StoredKey {
    /// Its name.
    pub kid: String,
    /// The public half, a JWK.
    pub jwk: String,
    /// The private half, sealed.
    pub sealed: Vec<u8>,
    /// When it was made, in Unix milliseconds.
    pub created_at: i64,
    /// From when on it signs.
    pub signs_from: i64,
    /// From when on it verifies nothing any more; `None`: it is the newest.
    pub retires_at: Option<i64>,
}

/// A key to add.
#[derive(Debug, Clone, Copy)]
pub struct NewKey<'a> {
    /// Its name.
    pub kid: &'a str,
    /// The public half, a JWK.
    pub jwk: &'a str,
    /// The private half, sealed.
    pub sealed: &'a [u8],
    /// From when on it signs, in Unix milliseconds.
    pub signs_from: u64,
    /// Until when those that signed before it verify.
    pub retires_others_at: u64,
}

const ALL: &str = "SELECT kid, jwk, sealed, created_at, signs_from, retires_at FROM signing_keys ORDER BY signs_from, kid";

/// Every key, the oldest first.
///
/// # Errors
/// [`StoreError`].
pub async fn all(db: &Db) -> Result<Vec<StoredKey>, StoreError> {
    Ok(read!(db, pool => sqlx::query_as(ALL).fetch_all(pool).await)?)
}

/// Adds a key that takes the place of the newest, if that is still `newest`, and tells the number of the ruling. `None` if it
/// was not.
///
/// # Errors
/// [`StoreError`]: there is no other key, unless the commit failed.
pub async fn add(db: &Db, new: NewKey<'_>, newest: Option<&str>, record: Record<'_>, now: u64) -> Result<Option<u64>, StoreError> {
    let mut tx = db.begin().await?;
    // First, and not last as elsewhere: two instances that want to add a key do it one after the other.
    let number = rulings::append(&mut tx, &Ruling::Key(new.kid.to_owned()), now).await?;
    let known: Option<String> = on!(&mut tx, conn => {
        sqlx::query_scalar("SELECT kid FROM signing_keys WHERE retires_at IS NULL ORDER BY signs_from DESC, kid DESC LIMIT 1")
            .fetch_optional(conn)
            .await
    })?;
    if known.as_deref() != newest {
        return Ok(None);
    }
    insert(&mut tx, new, now).await?;
    let deed = Deed { action: "key.added", target: "key", id: new.kid, channel: None, detail: json!({"signs_from": new.signs_from}) };
    audit::append(&mut tx, record.id, record.trace, &deed, now).await?;
    tx.commit().await?;
    Ok(Some(number))
}

async fn insert(tx: &mut Tx, new: NewKey<'_>, now: u64) -> Result<(), StoreError> {
    on!(tx, conn => sqlx::query("UPDATE signing_keys SET retires_at = $1 WHERE retires_at IS NULL")
        .bind(new.retires_others_at as i64)
        .execute(conn)
        .await
        .map(drop))?;
    on!(tx, conn => sqlx::query("INSERT INTO signing_keys (kid, jwk, sealed, created_at, signs_from) VALUES ($1, $2, $3, $4, $5)")
        .bind(new.kid)
        .bind(new.jwk)
        .bind(new.sealed)
        .bind(now as i64)
        .bind(new.signs_from as i64)
        .execute(conn)
        .await
        .map(drop))?;
    Ok(())
}

/// Deletes keys that have verified nothing since `before`.
///
/// # Errors
/// [`StoreError`].
pub async fn sweep(db: &Db, before: u64) -> Result<(), StoreError> {
    let mut tx = db.begin().await?;
    on!(&mut tx, conn => {
        sqlx::query("DELETE FROM signing_keys WHERE retires_at < $1").bind(before as i64).execute(conn).await.map(drop)
    })?;
    tx.commit().await
}
