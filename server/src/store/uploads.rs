//! Uploads and the blobs that they share. A blob's row is locked by whoever adds an upload to it, and by whoever takes the last one off:
//! so no upload is ever without its blob.

mod attachments;
mod list;
mod sweep;

use super::{Db, StoreError, Tx, column, listing::Field, on, read};

pub use attachments::{Attached, Attaching, attach, channels, detach, of_messages};
pub(crate) use attachments::{detach_below, release};
pub use list::list;
pub use sweep::{Swept, purge, sweep_deleted, sweep_loose, unknown_objects};

/// Attachments of one message, at most.
pub const MAX_ATTACHMENTS: usize = 16;

/// What lists of these are filtered and sorted by.
pub const FIELDS: &[Field] =
    &[Field::whole("created_at").sorted(), Field::text("name"), Field::text("media_type"), Field::whole("size"), Field::text("sha256")];

/// A file that somebody uploaded, as it is known; its bytes are elsewhere.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Upload {
    /// A UUID of version 7.
    pub id: String,
    /// The user who uploaded it.
    pub owner: String,
    /// Who may read this channel may read it.
    pub channel: Option<String>,
    /// What its owner calls it.
    pub name: String,
    /// What it is, judged by its bytes.
    pub media_type: String,
    /// Bytes.
    pub size: u64,
    /// The digest of its bytes, in hexadecimal.
    pub sha256: String,
    /// Rises with each change of what is said here.
    pub version: u64,
    /// In Unix milliseconds.
    pub created_at: u64,
    /// Since when it is deleted, if it is.
    pub deleted_at: Option<u64>,
}

#[derive(sqlx::FromRow)]
struct Row {
    id: String,
    owner: String,
    channel: Option<String>,
    name: String,
    media_type: String,
    size: i64,
    sha256: String,
    version: i64,
    created_at: i64,
    deleted_at: Option<i64>,
}

impl From<Row> for Upload {
    fn from(row: Row) -> Self {
        Self {
            id: row.id,
            owner: row.owner,
            channel: row.channel,
            name: row.name,
            media_type: row.media_type,
            size: row.size as u64,
            sha256: row.sha256,
            version: row.version as u64,
            created_at: row.created_at as u64,
            deleted_at: row.deleted_at.map(|at| at as u64),
        }
    }
}

/// What became of an upload whose bytes are stored.
#[derive(Debug, PartialEq, Eq)]
pub enum Put {
    /// It is there, on the object that was brought.
    Stored,
    /// It is there, on an object of the same content; the one that was brought is not needed.
    Shared,
    /// Its owner would have more than the quota.
    OverQuota,
}

/// Adds an upload, whose bytes are in `object` unless a blob of the same content is there already. Nothing is added over `quota`.
///
/// # Errors
/// [`StoreError`]. If the commit is unknown the object may be in use.
pub async fn put(db: &Db, upload: &Upload, object: &str, quota: Option<u64>) -> Result<Put, StoreError> {
    let mut tx = db.begin().await?;
    if let Some(quota) = quota {
        one_at_a_time(&mut tx, &upload.owner).await?;
        let used: i64 = on!(&mut tx, conn => sqlx::query_scalar(USED).bind(&upload.owner).fetch_one(conn).await)?;
        if (used as u64).saturating_add(upload.size) > quota {
            return Ok(Put::OverQuota);
        }
    }
    let kept: String = on!(&mut tx, conn => sqlx::query_scalar(
        "INSERT INTO blobs (sha256, object, size, created_at) VALUES ($1, $2, $3, $4)
         ON CONFLICT (sha256) DO UPDATE SET size = blobs.size RETURNING object",
    )
    .bind(&upload.sha256)
    .bind(object)
    .bind(column(upload.size))
    .bind(column(upload.created_at))
    .fetch_one(conn)
    .await)?;
    on!(&mut tx, conn => sqlx::query(
        "INSERT INTO uploads (id, owner, channel, name, media_type, size, sha256, version, created_at, loose_since)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $9)",
    )
    .bind(&upload.id)
    .bind(&upload.owner)
    .bind(&upload.channel)
    .bind(&upload.name)
    .bind(&upload.media_type)
    .bind(column(upload.size))
    .bind(&upload.sha256)
    .bind(column(upload.version))
    .bind(column(upload.created_at))
    .execute(conn)
    .await
    .map(drop))?;
    tx.commit().await?;
    Ok(if kept == object { Put::Stored } else { Put::Shared })
}

/// Two uploads of one user must not both find the last of the quota free. SQLite has one writer anyway.
async fn one_at_a_time(tx: &mut Tx, owner: &str) -> Result<(), StoreError> {
    match tx {
        Tx::Sqlite(_) => Ok(()),
        Tx::Postgres(transaction) => {
            let lock = "SELECT pg_advisory_xact_lock(hashtextextended('hubbub uploads of ' || $1, 0))";
            sqlx::query(lock).bind(owner).execute(&mut **transaction).await?;
            Ok(())
        }
    }
}

const USED: &str = "SELECT CAST(COALESCE(SUM(size), 0) AS BIGINT) FROM uploads WHERE owner = $1";

/// Bytes that count against the quota of `owner`: of all uploads that are there, deleted ones included.
///
/// # Errors
/// [`StoreError::Database`].
pub async fn used(db: &Db, owner: &str) -> Result<u64, StoreError> {
    let used: i64 = read!(db, pool => sqlx::query_scalar(USED).bind(owner).fetch_one(pool).await)?;
    Ok(used as u64)
}

const FIND: &str = "SELECT id, owner, channel, name, media_type, size, sha256, version, created_at, deleted_at FROM uploads WHERE id = $1";

/// The upload with this id, deleted or not.
///
/// # Errors
/// [`StoreError::Database`].
pub async fn find(db: &Db, id: &str) -> Result<Option<Upload>, StoreError> {
    let row: Option<Row> = read!(db, pool => sqlx::query_as(FIND).bind(id).fetch_optional(pool).await)?;
    Ok(row.map(Upload::from))
}

/// Where the bytes with this digest are.
///
/// # Errors
/// [`StoreError::Database`].
pub async fn object(db: &Db, sha256: &str) -> Result<Option<String>, StoreError> {
    Ok(read!(db, pool => sqlx::query_scalar("SELECT object FROM blobs WHERE sha256 = $1").bind(sha256).fetch_optional(pool).await)?)
}

/// What is changed of an upload.
#[derive(Debug, Clone, Copy)]
pub enum Change<'a> {
    /// Its name.
    Rename(&'a str),
    /// It is deleted, and can be restored for a while.
    Delete,
    /// It is no longer deleted.
    Restore,
}

impl Change<'_> {
    /// `$1` is the id, `$2` the version or -1 for any, `$3` the time.
    fn sql(self) -> &'static str {
        match self {
            Change::Rename(_) => {
                "UPDATE uploads SET name = $4, version = version + 1 WHERE id = $1 AND $2 IN (-1, version) AND $3 > 0 AND deleted_at IS NULL"
            }
            Change::Delete => {
                "UPDATE uploads SET deleted_at = $3, version = version + 1 WHERE id = $1 AND $2 IN (-1, version) AND deleted_at IS NULL"
            }
            // Nobody has had the time to attach it again.
            Change::Restore => {
                "UPDATE uploads SET deleted_at = NULL, version = version + 1,
                 loose_since = CASE WHEN loose_since IS NULL THEN NULL ELSE $3 END
                 WHERE id = $1 AND $2 IN (-1, version) AND deleted_at IS NOT NULL"
            }
        }
    }
}

/// What became of a change.
#[derive(Debug, PartialEq, Eq)]
pub enum Changed {
    /// It was made; the upload as it is now.
    Done(Upload),
    /// There is no upload to which it applies.
    Gone,
    /// The upload's version is another.
    OtherVersion,
}

/// Changes the upload with this id, if its version is `expected` or whatever it is.
///
/// # Errors
/// [`StoreError`].
pub async fn change(db: &Db, id: &str, expected: Option<u64>, change: Change<'_>, now: u64) -> Result<Changed, StoreError> {
    let mut tx = db.begin().await?;
    let changed = on!(&mut tx, conn => {
        let query = sqlx::query(change.sql()).bind(id).bind(expected.map_or(-1, column)).bind(column(now));
        let query = if let Change::Rename(name) = change { query.bind(name) } else { query };
        query.execute(conn).await.map(|done| done.rows_affected())
    })?;
    let row: Option<Row> = on!(&mut tx, conn => sqlx::query_as(FIND).bind(id).fetch_optional(conn).await)?;
    tx.commit().await?;
    let is_other = |upload: &Upload| expected.is_some_and(|expected| expected != upload.version);
    Ok(match row.map(Upload::from) {
        Some(upload) if changed > 0 => Changed::Done(upload),
        Some(upload) if is_other(&upload) => Changed::OtherVersion,
        _ => Changed::Gone,
    })
}
