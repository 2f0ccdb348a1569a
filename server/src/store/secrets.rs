//! Secrets that all instances of a store share.

use super::{Db, StoreError, on};

/// The secret of that name: `fresh` if there was none. All who ask get the same.
///
/// # Errors
/// [`StoreError`].
pub async fn shared(db: &Db, name: &str, fresh: &[u8], now: u64) -> Result<Vec<u8>, StoreError> {
    let mut tx = db.begin().await?;
    on!(&mut tx, conn => sqlx::query("INSERT INTO secrets (name, secret, made_at) VALUES ($1, $2, $3) ON CONFLICT (name) DO NOTHING")
        .bind(name)
        .bind(fresh)
        .bind(now as i64)
        .execute(conn)
        .await
        .map(drop))?;
    let secret = on!(&mut tx, conn => sqlx::query_scalar("SELECT secret FROM secrets WHERE name = $1").bind(name).fetch_one(conn).await)?;
    tx.commit().await?;
    Ok(secret)
}
