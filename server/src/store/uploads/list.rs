//! Pages of uploads.

use super::{
    super::{
        Db, StoreError,
        listing::{self, Selection},
    },
    Row, Upload,
};

/// The uploads that `selection` names.
///
/// # Errors
/// [`StoreError::Database`].
pub async fn list(db: &Db, selection: &Selection) -> Result<Vec<Upload>, StoreError> {
    const FROM: &str = "SELECT id, owner, channel, name, media_type, size, sha256, version, created_at, deleted_at FROM uploads";
    let rows: Vec<Row> = listing::select(db, FROM, "id", selection).await?;
    Ok(rows.into_iter().map(Upload::from).collect())
}
