//! What decides who may do what, as `access` reads it: of a user, and of everybody who is not as most are.

use serde_json::json;

use super::{Db, StoreError, column, read};
use crate::auth::Role;

/// What is known of a user.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Ruled {
    /// Blocked on the whole instance.
    pub is_blocked: bool,
    /// Deleted, and to be restored or forgotten.
    pub is_deleted: bool,
    /// Tokens that were issued before, in Unix milliseconds, are refused.
    pub tokens_from: u64,
    /// On the instance.
    pub role: Role,
}

#[derive(sqlx::FromRow)]
struct Row {
    id: String,
    blocked: i64,
    deleted: i64,
    tokens_from: i64,
    role: String,
}

impl Row {
    fn ruled(self) -> (String, Ruled) {
        let Row { id, blocked, deleted, tokens_from, role } = self;
        // A role of a later release: not more than is known of it.
        let role = Role::parse(&role).unwrap_or(Role::Guest);
        (id, Ruled { is_blocked: blocked != 0, is_deleted: deleted != 0, tokens_from: tokens_from as u64, role })
    }
}

/// A ban of a user: where, and until when if it ends, in Unix milliseconds.
pub type Ban = (String, String, Option<u64>);

/// What is known of each of `users`, but for those who are not there.
///
/// # Errors
/// [`StoreError::Database`].
pub async fn users_of(db: &Db, users: &[&str]) -> Result<Vec<(String, Ruled)>, StoreError> {
    macro_rules! rows {
        ($which:literal) => {
            concat!(
                "SELECT id, CAST(CASE WHEN blocked_at IS NULL THEN 0 ELSE 1 END AS BIGINT) AS blocked,
                 CAST(CASE WHEN deleted_at IS NULL THEN 0 ELSE 1 END AS BIGINT) AS deleted, tokens_from, role FROM users WHERE id ",
                $which
            )
        };
    }
    let rows: Vec<Row> = match db {
        Db::Sqlite(sqlite) => {
            let list = json!(users).to_string();
            sqlx::query_as(rows!("IN (SELECT value FROM json_each($1))")).bind(list).fetch_all(sqlite.reader()).await?
        }
        Db::Postgres(postgres) => sqlx::query_as(rows!("= ANY($1)")).bind(users).fetch_all(&postgres.reader()).await?,
    };
    Ok(rows.into_iter().map(Row::ruled).collect())
}

/// Every user who is blocked or deleted, has had tokens called in, or has a role.
///
/// # Errors
/// [`StoreError::Database`].
pub async fn users(db: &Db) -> Result<Vec<(String, Ruled)>, StoreError> {
    const ROWS: &str = "SELECT id, CAST(CASE WHEN blocked_at IS NULL THEN 0 ELSE 1 END AS BIGINT) AS blocked,
        CAST(CASE WHEN deleted_at IS NULL THEN 0 ELSE 1 END AS BIGINT) AS deleted, tokens_from, role FROM users
        WHERE blocked_at IS NOT NULL OR tokens_from > 0 OR role <> 'member' OR deleted_at IS NOT NULL";
    let rows: Vec<Row> = read!(db, pool => sqlx::query_as(ROWS).fetch_all(pool).await)?;
    Ok(rows.into_iter().map(Row::ruled).collect())
}

/// The bans of `users` that are not over at `now`: who, where, and until when.
///
/// # Errors
/// [`StoreError::Database`].
pub async fn bans_of(db: &Db, users: &[&str], now: u64) -> Result<Vec<Ban>, StoreError> {
    macro_rules! rows {
        ($which:literal) => {
            concat!("SELECT user_id, channel, expires_at FROM bans WHERE (expires_at IS NULL OR expires_at > $2) AND user_id ", $which)
        };
    }
    let rows: Vec<(String, String, Option<i64>)> = match db {
        Db::Sqlite(sqlite) => {
            let list = json!(users).to_string();
            sqlx::query_as(rows!("IN (SELECT value FROM json_each($1))")).bind(list).bind(column(now)).fetch_all(sqlite.reader()).await?
        }
        Db::Postgres(postgres) => sqlx::query_as(rows!("= ANY($1)")).bind(users).bind(column(now)).fetch_all(&postgres.reader()).await?,
    };
    Ok(rows.into_iter().map(|(user, channel, until)| (user, channel, until.map(|until| until as u64))).collect())
}

/// Every ban that is not over at `now`: who, where, and until when.
///
/// # Errors
/// [`StoreError::Database`].
pub async fn bans(db: &Db, now: u64) -> Result<Vec<Ban>, StoreError> {
    const ROWS: &str = "SELECT user_id, channel, expires_at FROM bans WHERE expires_at IS NULL OR expires_at > $1";
    let rows: Vec<(String, String, Option<i64>)> = read!(db, pool => sqlx::query_as(ROWS).bind(column(now)).fetch_all(pool).await)?;
    Ok(rows.into_iter().map(|(user, channel, until)| (user, channel, until.map(|until| until as u64))).collect())
}

/// The logins that ended after `since`, in Unix milliseconds.
///
/// # Errors
/// [`StoreError::Database`].
pub async fn ended_sessions(db: &Db, since: u64) -> Result<Vec<String>, StoreError> {
    const ROWS: &str = "SELECT id FROM sessions WHERE revoked_at IS NOT NULL AND revoked_at > $1";
    Ok(read!(db, pool => sqlx::query_scalar(ROWS).bind(column(since)).fetch_all(pool).await)?)
}
