//! Migrations: embedded, numbered, up and down.

use sqlx::migrate::Migrator;
use thiserror::Error;

use super::Db;

static SQLITE: Migrator = sqlx::migrate!("migrations/sqlite");

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
    /// If a statement fails, or the database was migrated by a newer build.
    pub async fn migrate(&self) -> Result<(), MigrateError> {
        match self {
            Db::Sqlite(sqlite) => Ok(self.migrator().run(sqlite.writer()).await?),
        }
    }

    /// Undoes every migration above `version`.
    ///
    /// # Errors
    /// If a statement fails.
    pub async fn migrate_down(&self, version: i64) -> Result<(), MigrateError> {
        match self {
            Db::Sqlite(sqlite) => Ok(self.migrator().undo(sqlite.writer(), version).await?),
        }
    }
}
