//! Migrations: embedded, numbered, up and down.

use std::sync::LazyLock;

use sqlx::migrate::Migrator;
use thiserror::Error;

use super::{Db, epoch, postgres::Postgres};

// A newer release's migrations do not disturb this one: they expand first, and contract a release later, so that two releases can run side
// by side, and the older one can be started again meanwhile.
static SQLITE: LazyLock<Migrator> = LazyLock::new(|| Migrator { ignore_missing: true, ..sqlx::migrate!("migrations/sqlite") });
static POSTGRES: LazyLock<Migrator> = LazyLock::new(|| Migrator { ignore_missing: true, ..sqlx::migrate!("migrations/postgres") });

/// A migration could not be run.
#[derive(Debug, Error)]
#[error("the schema could not be migrated: {0}")]
pub struct MigrateError(#[from] sqlx::migrate::MigrateError);

/// One step of the schema.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Migration {
    /// Its number.
    pub version: i64,
    /// What it is about.
    pub description: String,
}

impl Db {
    fn migrator(&self) -> &'static Migrator {
        match self {
            Db::Sqlite(_) => &SQLITE,
            Db::Postgres(_) => &POSTGRES,
        }
    }

    /// Every migration in this build, in order.
    pub fn migrations(&self) -> Vec<Migration> {
        self.migrator()
            .iter()
            .filter(|migration| migration.migration_type.is_up_migration())
            .map(|migration| Migration { version: migration.version, description: migration.description.to_string() })
            .collect()
    }

    /// Runs what is missing.
    ///
    /// # Errors
    /// If a statement fails, or a migration is not what it was when it was run.
    pub async fn migrate(&self) -> Result<(), MigrateError> {
        match self {
            Db::Sqlite(sqlite) => {
                // Several processes may start at once; sqlx locks nothing here.
                let _alone = epoch::alone(sqlite).await.map_err(|error| sqlx::migrate::MigrateError::Source(error.into()))?;
                Ok(self.migrator().run(sqlite.writer()).await?)
            }
            Db::Postgres(postgres) => {
                if self.is_migrated(postgres).await? {
                    return Ok(());
                }
                let patient = postgres.patient();
                let run = self.migrator().run(&patient).await;
                patient.close().await;
                Ok(run?)
            }
        }
    }

    /// Whether nothing is missing. The server's own role may look, but not migrate.
    async fn is_migrated(&self, postgres: &Postgres) -> Result<bool, sqlx::migrate::MigrateError> {
        let table: Option<String> =
            sqlx::query_scalar("SELECT to_regclass('_sqlx_migrations')::text").fetch_one(&postgres.reader()).await?;
        if table.is_none() {
            return Ok(false);
        }
        let applied: Vec<(i64, Vec<u8>)> = sqlx::query_as("SELECT version, checksum FROM _sqlx_migrations WHERE success ORDER BY version")
            .fetch_all(&postgres.reader())
            .await?;
        let mut ups = self.migrator().iter().filter(|migration| migration.migration_type.is_up_migration());
        Ok(ups.all(|migration| applied.iter().any(|(version, sum)| *version == migration.version && *sum == *migration.checksum)))
    }

    /// Undoes every migration above `version`.
    ///
    /// # Errors
    /// If a statement fails.
    pub async fn migrate_down(&self, version: i64) -> Result<(), MigrateError> {
        match self {
            Db::Sqlite(sqlite) => Ok(self.migrator().undo(sqlite.writer(), version).await?),
            Db::Postgres(postgres) => {
                let patient = postgres.patient();
                let undone = self.migrator().undo(&patient, version).await;
                patient.close().await;
                Ok(undone?)
            }
        }
    }
}
