//! Users: who registered here, and who was only vouched for by an outside issuer's token.

use super::{Db, StoreError, Tx, on, read};
use crate::auth::Role;

/// A user as logging in needs it.
#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow)]
pub struct Account {
    /// What tokens say in `sub`.
    pub id: String,
    /// What one logs in with; `None` for those who were only vouched for.
    pub login: Option<String>,
    /// The name to show.
    pub name: String,
    /// On the whole instance.
    pub role: String,
    /// A PHC string; `None`: no password logs this user in.
    pub password: Option<String>,
    /// When the user chose it; a new hash of the same password does not change that.
    pub password_at: Option<i64>,
    /// Since when the user is blocked, in Unix milliseconds.
    pub blocked_at: Option<i64>,
    /// Tokens that were issued before are refused.
    pub tokens_from: i64,
    /// When the user was first seen.
    pub created_at: i64,
    /// Since when the user is deleted.
    pub deleted_at: Option<i64>,
}

impl Account {
    /// Whether the user may come in at all.
    pub fn is_welcome(&self) -> bool {
        self.blocked_at.is_none() && self.deleted_at.is_none()
    }
}

/// An account to make.
#[derive(Debug, Clone, Copy)]
pub struct NewAccount<'a> {
    /// Its id.
    pub id: &'a str,
    /// What it logs in with, in lower case.
    pub login: &'a str,
    /// The name to show.
    pub name: &'a str,
    /// A PHC string.
    pub password: &'a str,
}

macro_rules! account {
    ($condition:literal) => {
        concat!(
            "SELECT id, login, name, role, password, password_at, blocked_at, tokens_from, created_at, deleted_at FROM users WHERE ",
            $condition
        )
    };
}

/// The account with that login.
///
/// # Errors
/// [`StoreError`].
pub async fn with_login(db: &Db, login: &str) -> Result<Option<Account>, StoreError> {
    Ok(read!(db, pool => sqlx::query_as(account!("login = $1")).bind(login).fetch_optional(pool).await)?)
}

/// The user with that id.
///
/// # Errors
/// [`StoreError`].
pub async fn find(db: &Db, id: &str) -> Result<Option<Account>, StoreError> {
    Ok(read!(db, pool => sqlx::query_as(account!("id = $1")).bind(id).fetch_optional(pool).await)?)
}

/// Makes an account, and tells its role: the first of all is the owner. `None` if the login is taken.
pub(super) async fn register(tx: &mut Tx, new: NewAccount<'_>, now: u64) -> Result<Option<Role>, StoreError> {
    // Whoever comes at the same time waits here for the other's end, on either database.
    let is_first = on!(tx, conn => {
        sqlx::query("INSERT INTO counters (name, value) VALUES ('owner', 1) ON CONFLICT (name) DO NOTHING")
            .execute(conn)
            .await
            .map(|done| done.rows_affected() == 1)
    })?;
    let role = if is_first { Role::Owner } else { Role::Member };
    let is_new = on!(tx, conn => sqlx::query(
        "INSERT INTO users (id, login, name, role, password, password_at, data, tokens_from, version, created_at, updated_at)
         VALUES ($1, $2, $3, $4, $5, $6, '{}', 0, 1, $6, $6) ON CONFLICT (login) DO NOTHING",
    )
    .bind(new.id)
    .bind(new.login)
    .bind(new.name)
    .bind(role.as_str())
    .bind(new.password)
    .bind(now as i64)
    .execute(conn)
    .await
    .map(|done| done.rows_affected() == 1))?;
    Ok(is_new.then_some(role))
}

/// Makes a row for each of these users of outside issuers that has none yet.
///
/// # Errors
/// [`StoreError`]: none was made.
pub async fn see(db: &Db, mut users: Vec<String>, now: u64) -> Result<(), StoreError> {
    // In one order, so that two instances which see the same users wait for each other at most.
    users.sort_unstable();
    let mut tx = db.begin().await?;
    match &mut tx {
        Tx::Sqlite(transaction) => {
            let list = serde_json::to_string(&users).map_err(|_| StoreError::Corrupt("a user's name is no text"))?;
            sqlx::query(
                "INSERT INTO users (id, name, role, data, tokens_from, version, created_at, updated_at)
                 SELECT value, value, 'member', '{}', 0, 1, $2, $2 FROM json_each($1) WHERE true ON CONFLICT (id) DO NOTHING",
            )
            .bind(list)
            .bind(now as i64)
            .execute(&mut **transaction)
            .await?;
        }
        Tx::Postgres(transaction) => {
            sqlx::query(
                "INSERT INTO users (id, name, role, data, tokens_from, version, created_at, updated_at)
                 SELECT seen, seen, 'member', '{}', 0, 1, $2, $2 FROM UNNEST($1::text[]) AS seen ON CONFLICT (id) DO NOTHING",
            )
            .bind(users)
            .bind(now as i64)
            .execute(&mut **transaction)
            .await?;
        }
    }
    tx.commit().await
}

/// Locks the row until the transaction's end, if the user is welcome and the password is still the one of `password_at`: nobody blocks him or
/// changes it meanwhile.
pub(super) async fn hold(tx: &mut Tx, id: &str, password_at: Option<i64>) -> Result<bool, StoreError> {
    let text = "UPDATE users SET updated_at = updated_at
                WHERE id = $1 AND password_at = $2 AND blocked_at IS NULL AND deleted_at IS NULL";
    Ok(on!(tx, conn => sqlx::query(text).bind(id).bind(password_at).execute(conn).await.map(|done| done.rows_affected() == 1))?)
}

/// Puts another hash of the same password in the place of `old`, unless it has changed meanwhile.
///
/// # Errors
/// [`StoreError`]: the old one stays.
pub async fn rehash(db: &Db, id: &str, old: &str, new: &str) -> Result<(), StoreError> {
    let mut tx = db.begin().await?;
    on!(&mut tx, conn => sqlx::query("UPDATE users SET password = $3 WHERE id = $1 AND password = $2")
        .bind(id)
        .bind(old)
        .bind(new)
        .execute(conn)
        .await
        .map(drop))?;
    tx.commit().await
}

/// Gives a user another password. To be called with the row held.
pub(super) async fn set_password(tx: &mut Tx, id: &str, password: &str, now: u64) -> Result<(), StoreError> {
    let text = "UPDATE users SET password = $2, password_at = $3, updated_at = $3, version = version + 1 WHERE id = $1";
    Ok(on!(tx, conn => sqlx::query(text).bind(id).bind(password).bind(now as i64).execute(conn).await.map(drop))?)
}
