//! SQLite: the embedded default. WAL, one writing connection, reading ones that never wait for it.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use sqlx::{
    Sqlite as Driver, SqlitePool, Transaction,
    sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous},
};

/// How long a statement waits for another process's lock.
const BUSY: Duration = Duration::from_secs(5);

/// The two pools of one file. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Sqlite {
    writer: SqlitePool,
    reader: SqlitePool,
    path: PathBuf,
}

impl Sqlite {
    pub(super) async fn open(path: &Path, readers: u32) -> Result<Self, sqlx::Error> {
        let options = SqliteConnectOptions::new()
            .filename(path)
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            // An acknowledged entry survives a power cut, not only a crash.
            .synchronous(SqliteSynchronous::Full)
            .busy_timeout(BUSY)
            // 16 MiB of pages for the writer, and a checkpoint every 16 MiB of log: the default of 4 MiB stops a busy writer often.
            .pragma("cache_size", "-16384")
            .pragma("wal_autocheckpoint", "4000")
            // Callbacks are never entered from two threads: each connection has its own.
            .serialized(false)
            .statement_cache_capacity(64);
        let writer = SqlitePoolOptions::new()
            .max_connections(1)
            .min_connections(1)
            .idle_timeout(None)
            .max_lifetime(None)
            .test_before_acquire(false)
            .connect_with(options.clone())
            .await?;
        let reader = SqlitePoolOptions::new()
            .max_connections(readers)
            .idle_timeout(Duration::from_secs(60))
            // A file does not go away, and asking whether it has costs as much as a read.
            .test_before_acquire(false)
            // Each has a cache of its own, which one long export would fill in all of them; what is not in it the kernel has.
            .connect_with(options.read_only(true).pragma("cache_size", "-2048"))
            .await?;
        // What stands beside the file is one, however many links lead to it: SQLite's own log is beside the file itself, too.
        let path = path.canonicalize()?;
        Ok(Self { writer, reader, path })
    }

    pub(super) async fn begin(&self) -> Result<Transaction<'static, Driver>, sqlx::Error> {
        // IMMEDIATE: what is read first is what is written later.
        self.writer.begin_with("BEGIN IMMEDIATE").await
    }

    pub(super) fn reader(&self) -> &SqlitePool {
        &self.reader
    }

    pub(super) fn writer(&self) -> &SqlitePool {
        &self.writer
    }

    /// The file `<database><suffix>` beside the database.
    pub(super) fn beside(&self, suffix: &str) -> PathBuf {
        let mut name = self.path.clone().into_os_string();
        name.push(suffix);
        name.into()
    }

    pub(super) async fn close(&self) {
        self.reader.close().await;
        self.writer.close().await;
    }
}
