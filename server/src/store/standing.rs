//! How users stand on the instance: blocked, or with a role. Each change is a ruling in the same transaction.

use super::{
    Db, StoreError, Tx, column, on, read,
    rulings::{self, Ruling},
};
use crate::auth::Role;

/// A change of somebody's standing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// Nothing goes any more, and every session ends.
    Block,
    /// Everything goes again.
    Unblock,
    /// Another role on the instance.
    Role(Role),
}

/// A user, as an operator sees it.
#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow)]
pub struct Listed {
    /// What tokens say in `sub`.
    pub id: String,
    /// What one logs in with; `None` for those whom an outside issuer vouches for.
    pub login: Option<String>,
    /// The display name.
    pub name: String,
    /// On the instance.
    pub role: String,
    /// When the user was blocked, in Unix milliseconds.
    pub blocked_at: Option<i64>,
    /// When the user was deleted.
    pub deleted_at: Option<i64>,
    /// When the user was first seen.
    pub created_at: i64,
}

/// Changes how `user` stands, within `tx`, with the ruling as its last statement. A user who was never seen is made: outside issuers know
/// users before this server does. Returns the ruling's number.
///
/// # Errors
/// [`StoreError`].
pub(crate) async fn change(tx: &mut Tx, user: &str, change: Change, now: u64) -> Result<u64, StoreError> {
    let (now_column, member) = (column(now), Role::default().as_str());
    on!(tx, conn => sqlx::query(
        "INSERT INTO users (id, name, role, data, tokens_from, version, created_at, updated_at)
         VALUES ($1, $1, $2, '{}', 0, 1, $3, $3) ON CONFLICT (id) DO NOTHING",
    )
    .bind(user)
    .bind(member)
    .bind(now_column)
    .execute(conn)
    .await
    .map(drop))?;
    on!(tx, conn => match change {
        Change::Block => {
            let text = "UPDATE users SET blocked_at = COALESCE(blocked_at, $2), version = version + 1, updated_at = $2 WHERE id = $1";
            sqlx::query(text).bind(user).bind(now_column).execute(conn).await.map(drop)
        }
        Change::Unblock => {
            let text = "UPDATE users SET blocked_at = NULL, version = version + 1, updated_at = $2 WHERE id = $1";
            sqlx::query(text).bind(user).bind(now_column).execute(conn).await.map(drop)
        }
        Change::Role(role) => {
            let text = "UPDATE users SET role = $3, version = version + 1, updated_at = $2 WHERE id = $1";
            sqlx::query(text).bind(user).bind(now_column).bind(role.as_str()).execute(conn).await.map(drop)
        }
    })?;
    rulings::append(tx, &Ruling::User(user.to_owned()), now).await
}

/// At most `limit` users, in the order of their ids, after that one.
///
/// # Errors
/// [`StoreError`].
pub async fn list(db: &Db, after: &str, limit: u32) -> Result<Vec<Listed>, StoreError> {
    const ROWS: &str = "SELECT id, login, name, role, blocked_at, deleted_at, created_at FROM users WHERE id > $1 ORDER BY id LIMIT $2";
    Ok(read!(db, pool => sqlx::query_as(ROWS).bind(after).bind(i64::from(limit)).fetch_all(pool).await)?)
}
