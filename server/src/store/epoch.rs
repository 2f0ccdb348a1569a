//! The epoch: a counter that rises whenever this database may have gone back in time.
//!
//! SQLite: every start writes a new random mark into the file and into `<database>.mark` beside it, and once a second what
//! the file has come to. A file that was restored from a copy has another mark than its neighbour, or has come less far. What
//! stands beside it remembers the epoch too: a copy that is restored twice must not get the same one twice.
//!
//! PostgreSQL: the server knows which cluster and timeline it is (`hubbub_past`), and every append and look compares that with the
//! mark, and how far the log has come with what this process has seen of it (`postgres/past.rs`).

use std::{
    fs::{File, OpenOptions, TryLockError},
    io,
    path::Path,
    time::Duration,
};

use serde::{Deserialize, Serialize};
use sqlx::SqliteConnection;

use super::{Db, StoreError, on, read, sqlite::Sqlite};

/// Between two tries to be the one process that writes beside the file.
const AGAIN: Duration = Duration::from_millis(5);

/// What stands beside the database.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Beside {
    /// The marks that the file may carry: one, or two while it changes.
    marks: Vec<String>,
    /// The file has appended at least so many entries.
    appended: i64,
    /// The highest epoch that was given to entries.
    #[serde(default)]
    epoch: i64,
}

/// Keeps what stands beside the database up to date.
#[derive(Debug)]
pub struct Mark {
    /// The epoch that was found, or raised, at the start.
    pub epoch: u64,
    /// Whether the database had gone back in time.
    pub raised: bool,
}

impl Mark {
    /// Compares the database's past with what was seen of it, and raises the epoch if it is another. SQLite compares the file with what
    /// stands beside it, and marks both with `mark`, which was never used before; PostgreSQL knows its past itself.
    ///
    /// # Errors
    /// [`StoreError::Database`], also for the file beside it.
    pub async fn open(db: &Db, mark: String) -> Result<Self, StoreError> {
        let sqlite = match db {
            Db::Sqlite(sqlite) => sqlite,
            Db::Postgres(postgres) => {
                let past = postgres.compare().await?;
                return Ok(Self { epoch: past.epoch as u64, raised: past.raised });
            }
        };
        let _alone = alone(sqlite).await?;
        let path = sqlite.beside(".mark");
        let (epoch, old, appended) = state(sqlite).await?;
        let beside = load(&path)?;
        let same_past = match &beside {
            Some(beside) => beside.marks.contains(&old) && beside.appended <= appended,
            // Never started: nobody has seen anything of it.
            None => old.is_empty(),
        };
        let highest = beside.map_or(epoch, |beside| beside.epoch.max(epoch));
        let epoch = if same_past { epoch } else { highest + 1 };
        // A file of another past is not let through by what is noted here, should the raise not come to be committed.
        let marks = if same_past { vec![old, mark.clone()] } else { vec![mark.clone()] };
        save(&path, &Beside { marks, appended, epoch: highest })?;
        let mut tx = sqlite.begin().await?;
        sqlx::query("UPDATE cluster SET epoch = $1, mark = $2 WHERE id = 1").bind(epoch).bind(&mark).execute(&mut *tx).await?;
        tx.commit().await.map_err(StoreError::CommitUnknown)?;
        save(&path, &Beside { marks: vec![mark], appended, epoch })?;
        Ok(Self { epoch: epoch as u64, raised: !same_past })
    }

    /// Notes beside the database how far it has come. Called every second or so. Nothing on PostgreSQL.
    ///
    /// # Errors
    /// [`StoreError::Database`], also for the file.
    pub async fn note(&self, db: &Db) -> Result<(), StoreError> {
        let Db::Sqlite(sqlite) = db else { return Ok(()) };
        let _alone = alone(sqlite).await?;
        // The mark that is there now: another process may have started since, and marked the file anew.
        let (epoch, mark, appended) = state(sqlite).await?;
        save(&sqlite.beside(".mark"), &Beside { marks: vec![mark], appended, epoch })
    }
}

/// Epoch, mark and count, as one moment has them.
async fn state(sqlite: &Sqlite) -> Result<(i64, String, i64), StoreError> {
    Ok(sqlx::query_as("SELECT epoch, mark, appended FROM cluster WHERE id = 1").fetch_one(sqlite.reader()).await?)
}

/// Waits until no other process is between reading the file and writing what stands beside it, and keeps it so.
pub(super) async fn alone(sqlite: &Sqlite) -> Result<File, StoreError> {
    let lock = OpenOptions::new().create(true).truncate(false).write(true).open(sqlite.beside(".mark.lock")).map_err(failed)?;
    loop {
        match lock.try_lock() {
            Ok(()) => return Ok(lock),
            Err(TryLockError::WouldBlock) => tokio::time::sleep(AGAIN).await,
            Err(TryLockError::Error(error)) => return Err(failed(error)),
        }
    }
}

fn failed(error: io::Error) -> StoreError {
    StoreError::Database(error.into())
}

fn load(path: &Path) -> Result<Option<Beside>, StoreError> {
    match std::fs::read(path) {
        // Not readable is as good as not there: the epoch rises, nobody is deceived.
        Ok(bytes) => Ok(serde_json::from_slice(&bytes).ok()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(failed(error)),
    }
}

/// Replaces the file whole: a crash leaves the old one or the new one.
fn save(path: &Path, beside: &Beside) -> Result<(), StoreError> {
    let write = || {
        let fresh = path.with_extension("mark.new");
        std::fs::write(&fresh, serde_json::to_vec(beside)?)?;
        std::fs::rename(&fresh, path)
    };
    write().map_err(failed)
}

/// Raises the epoch: what is appended from now on is of another past than what was appended under `known`. If it is above `known`
/// already, somebody else has seen it, and it stays.
///
/// # Errors
/// [`StoreError`].
pub async fn raise(db: &Db, known: u64) -> Result<u64, StoreError> {
    let mut tx = db.begin().await?;
    let epoch: i64 = on!(&mut tx, conn => sqlx::query_scalar(
        "UPDATE cluster SET epoch = CASE WHEN epoch <= $1 THEN $1 + 1 ELSE epoch END WHERE id = 1 RETURNING epoch",
    )
    .bind(known as i64)
    .fetch_one(conn)
    .await)?;
    tx.commit().await?;
    Ok(epoch as u64)
}

/// The epoch that entries get now.
///
/// # Errors
/// [`StoreError`].
pub async fn current(db: &Db) -> Result<u64, StoreError> {
    let epoch: i64 = read!(db, pool => sqlx::query_scalar("SELECT epoch FROM cluster WHERE id = 1").fetch_one(pool).await)?;
    Ok(epoch as u64)
}

/// SQLite: counts `entries` more, and returns the epoch that they get, and how many there are now.
pub(super) async fn count(conn: &mut SqliteConnection, entries: usize) -> Result<(i64, i64), StoreError> {
    Ok(sqlx::query_as("UPDATE cluster SET appended = appended + $1 WHERE id = 1 RETURNING epoch, appended")
        .bind(entries as i64)
        .fetch_one(conn)
        .await?)
}
