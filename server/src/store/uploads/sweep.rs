//! What goes for good: rows first, in a transaction, and then the objects that nobody else needs.

use std::collections::BTreeSet;

use super::{
    super::{Db, StoreError, Tx, column, on, read},
    hold,
};

/// What a transaction has deleted.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Swept {
    /// How many uploads.
    pub uploads: usize,
    /// Objects that are of no use any more.
    pub objects: Vec<String>,
}

/// Deletes at most `limit` uploads for good that were deleted before `before`.
///
/// # Errors
/// [`StoreError`]. If the commit is unknown, objects may be left without a row.
pub async fn sweep_deleted(db: &Db, before: u64, limit: u32) -> Result<Swept, StoreError> {
    sweep(
        db,
        "SELECT id FROM uploads WHERE deleted_at < $1 ORDER BY deleted_at LIMIT $2",
        "DELETE FROM uploads WHERE id = $1 AND deleted_at < $2 RETURNING id, sha256",
        before,
        limit,
    )
    .await
}

/// Deletes at most `limit` uploads for good to which no message has referred since `before`.
///
/// # Errors
/// [`StoreError`]. If the commit is unknown, objects may be left without a row.
pub async fn sweep_loose(db: &Db, before: u64, limit: u32) -> Result<Swept, StoreError> {
    sweep(
        db,
        "SELECT id FROM uploads WHERE loose_since < $1 AND deleted_at IS NULL ORDER BY loose_since LIMIT $2",
        "DELETE FROM uploads WHERE id = $1 AND loose_since < $2 AND deleted_at IS NULL RETURNING id, sha256",
        before,
        limit,
    )
    .await
}

/// Deletes with `delete` what `due` finds: what was restored or attached since is not due any more.
async fn sweep(db: &Db, due: &'static str, delete: &'static str, before: u64, limit: u32) -> Result<Swept, StoreError> {
    let ids: Vec<String> = read!(db, pool => sqlx::query_scalar(due).bind(column(before)).bind(i64::from(limit)).fetch_all(pool).await)?;
    if ids.is_empty() {
        return Ok(Swept::default());
    }
    let mut tx = db.begin().await?;
    hold(&mut tx, ids.iter().map(String::as_str)).await?;
    let mut gone = Vec::with_capacity(ids.len());
    for id in ids {
        let row: Option<(String, String)> =
            on!(&mut tx, conn => sqlx::query_as(delete).bind(&id).bind(column(before)).fetch_optional(conn).await)?;
        gone.extend(row);
    }
    let swept = clear(&mut tx, gone).await?;
    tx.commit().await?;
    Ok(swept)
}

/// Deletes this upload for good.
///
/// # Errors
/// [`StoreError`]. If the commit is unknown, an object may be left without a row.
pub async fn purge(db: &Db, id: &str) -> Result<Swept, StoreError> {
    let mut tx = db.begin().await?;
    let gone: Vec<(String, String)> =
        on!(&mut tx, conn => sqlx::query_as("DELETE FROM uploads WHERE id = $1 RETURNING id, sha256").bind(id).fetch_all(conn).await)?;
    let swept = clear(&mut tx, gone).await?;
    tx.commit().await?;
    Ok(swept)
}

/// Deletes what referred to uploads that are gone, and blobs that no upload is left of.
async fn clear(tx: &mut Tx, gone: Vec<(String, String)>) -> Result<Swept, StoreError> {
    let mut swept = Swept { uploads: gone.len(), objects: Vec::new() };
    for (id, _) in &gone {
        on!(&mut *tx, conn => sqlx::query("DELETE FROM attachments WHERE upload_id = $1").bind(id).execute(conn).await.map(drop))?;
    }
    // In one order: two that sweep do not wait for each other.
    for sha256 in gone.into_iter().map(|(_, sha256)| sha256).collect::<BTreeSet<_>>() {
        // Locks the row, as `put` does. Only the next statement sees what a transaction that held it has added.
        on!(&mut *tx, conn => sqlx::query("UPDATE blobs SET size = size WHERE sha256 = $1").bind(&sha256).execute(conn).await.map(drop))?;
        let object: Option<String> = on!(&mut *tx, conn => sqlx::query_scalar(
            "DELETE FROM blobs WHERE sha256 = $1 AND NOT EXISTS (SELECT 1 FROM uploads WHERE sha256 = $1) RETURNING object",
        )
        .bind(&sha256)
        .fetch_optional(conn)
        .await)?;
        swept.objects.extend(object);
    }
    Ok(swept)
}

/// Those of `objects` that no blob names.
///
/// # Errors
/// [`StoreError::Database`].
pub async fn unknown_objects(db: &Db, objects: Vec<String>) -> Result<Vec<String>, StoreError> {
    let mut unknown = Vec::new();
    for object in objects {
        let known: Option<i64> =
            read!(db, pool => sqlx::query_scalar("SELECT size FROM blobs WHERE object = $1").bind(&object).fetch_optional(pool).await)?;
        if known.is_none() {
            unknown.push(object);
        }
    }
    Ok(unknown)
}
