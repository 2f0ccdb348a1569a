//! Logins. A refresh token is made of a row, its generation and a secret that is not in the database, so that what is kept opens nothing.
//!
//! Every change goes by the row as it is: two who refresh, or one who refreshes and one who revokes, cannot both have their way.

use serde_json::json;

use super::{
    Db, StoreError, Tx, audit,
    audit::{Deed, Record},
    listing,
    listing::{Condition, Field, Op, Selection, Term},
    on, read, rulings,
    rulings::Ruling,
    users,
    users::{Account, NewAccount},
};
use crate::auth::Role;

/// Logins of one user that are good at the same time, at most: the oldest ends when one more begins.
pub const MAX_SESSIONS: u32 = 100;

/// What lists of these are filtered and sorted by.
pub const FIELDS: &[Field] = &[
    Field::whole("created_at").sorted(),
    Field::whole("used_at"),
    Field::whole("expires_at"),
    Field::text("device"),
    Field::text("address"),
];

/// A login.
#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow)]
pub struct Session {
    /// A UUID.
    pub id: String,
    /// Whose it is.
    pub user_id: String,
    /// What the client called itself.
    pub device: String,
    /// From where it last came.
    pub address: String,
    /// Part of its refresh tokens.
    pub salt: Vec<u8>,
    /// Rises with each refresh.
    pub generation: i64,
    /// When it began, in Unix milliseconds.
    pub created_at: i64,
    /// When its tokens were last made.
    pub used_at: i64,
    /// When it ends if nobody refreshes it.
    pub expires_at: i64,
    /// When it was ended.
    pub revoked_at: Option<i64>,
}

impl Session {
    /// Whether it is good at `now`.
    pub fn is_good(&self, now: u64) -> bool {
        self.revoked_at.is_none() && now < self.expires_at as u64
    }
}

/// A login to begin.
#[derive(Debug, Clone, Copy)]
pub struct NewSession<'a> {
    /// A UUID.
    pub id: &'a str,
    /// What the client calls itself.
    pub device: &'a str,
    /// From where it comes.
    pub address: &'a str,
    /// Random.
    pub salt: &'a [u8],
    /// When it ends if nobody refreshes it, in Unix milliseconds.
    pub expires_at: u64,
}

/// Why a login ended before its time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// Its user logged out.
    Logout,
    /// Its user, or somebody in charge, ended it.
    Revoked,
    /// One of its old refresh tokens was used: somebody has stolen it.
    Replayed,
    /// The password was changed.
    Password,
    /// The user has too many.
    Crowded,
}

impl Ending {
    const fn as_str(self) -> &'static str {
        match self {
            Ending::Logout => "logout",
            Ending::Revoked => "revoked",
            Ending::Replayed => "replayed",
            Ending::Password => "password",
            Ending::Crowded => "crowded",
        }
    }
}

/// What became of a registration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Registered {
    /// There is the account, with this role, and its first login; and the ruling of this number, 0 if none was needed.
    Made(Role, u64),
    /// Somebody else has the login.
    Taken,
}

macro_rules! session {
    () => {
        "SELECT id, user_id, device, address, salt, generation, created_at, used_at, expires_at, revoked_at FROM sessions"
    };
    ($condition:literal) => {
        concat!(session!(), " WHERE ", $condition)
    };
}

/// Makes an account and its first login.
///
/// # Errors
/// [`StoreError`]: there is neither, unless the commit failed.
pub async fn register(
    db: &Db,
    account: NewAccount<'_>,
    session: NewSession<'_>,
    record: Record<'_>,
    now: u64,
) -> Result<Registered, StoreError> {
    let mut tx = db.begin().await?;
    let Some(role) = users::register(&mut tx, account, now).await? else { return Ok(Registered::Taken) };
    insert(&mut tx, account.id, session, now).await?;
    let detail = json!({"login": account.login, "role": role.as_str(), "session": session.id});
    let deed = Deed { action: "user.registered", target: "user", id: account.id, channel: None, detail };
    audit::append(&mut tx, record.id, record.trace, &deed, now).await?;
    // A member is what everybody is taken for.
    let number = match role {
        Role::Member => 0,
        _ => rulings::append(&mut tx, &Ruling::User(account.id.to_owned()), now).await?,
    };
    tx.commit().await?;
    Ok(Registered::Made(role, number))
}

/// Begins a login of `account`, whose password was found to be right. `false` if it has another by now than when it was read, or is blocked.
///
/// # Errors
/// [`StoreError`]: there is none, unless the commit failed.
pub async fn open(db: &Db, account: &Account, session: NewSession<'_>, record: Record<'_>, now: u64) -> Result<bool, StoreError> {
    let user = &*account.id;
    let mut tx = db.begin().await?;
    if !users::hold(&mut tx, user, account.password_at).await? {
        return Ok(false);
    }
    insert(&mut tx, user, session, now).await?;
    let deed =
        Deed { action: "session.begun", target: "session", id: session.id, channel: None, detail: json!({"device": session.device}) };
    audit::append(&mut tx, record.id, record.trace, &deed, now).await?;
    let crowd: Vec<String> = on!(&mut tx, conn => sqlx::query_scalar(
        "SELECT id FROM sessions WHERE user_id = $1 AND revoked_at IS NULL AND expires_at > $2 ORDER BY created_at DESC, id DESC
         LIMIT 1000 OFFSET $3",
    )
    .bind(user)
    .bind(now as i64)
    .bind(i64::from(MAX_SESSIONS))
    .fetch_all(conn)
    .await)?;
    for id in crowd {
        end(&mut tx, &id, Ending::Crowded, now).await?;
        rulings::append(&mut tx, &ended(user, id), now).await?;
    }
    tx.commit().await?;
    Ok(true)
}

async fn insert(tx: &mut Tx, user: &str, session: NewSession<'_>, now: u64) -> Result<(), StoreError> {
    Ok(on!(tx, conn => sqlx::query(
        "INSERT INTO sessions (id, user_id, device, address, salt, generation, created_at, used_at, expires_at)
         VALUES ($1, $2, $3, $4, $5, 1, $6, $6, $7)",
    )
    .bind(session.id)
    .bind(user)
    .bind(session.device)
    .bind(session.address)
    .bind(session.salt)
    .bind(now as i64)
    .bind(session.expires_at as i64)
    .execute(conn)
    .await
    .map(drop))?)
}

/// The login with that id.
///
/// # Errors
/// [`StoreError`].
pub async fn find(db: &Db, id: &str) -> Result<Option<Session>, StoreError> {
    Ok(read!(db, pool => sqlx::query_as(session!("id = $1")).bind(id).fetch_optional(pool).await)?)
}

/// Of the logins of `user` that are good at `now`, those that `selection` names.
///
/// # Errors
/// [`StoreError`].
pub async fn list(db: &Db, user: &str, selection: &Selection, now: u64) -> Result<Vec<Session>, StoreError> {
    let condition = |column, op, terms| Condition { column, op, terms };
    let mut conditions = vec![
        condition("user_id", Op::In, vec![Term::Text(user.to_owned())]),
        condition("revoked_at", Op::Absent, Vec::new()),
        condition("expires_at", Op::Gt, vec![Term::Whole(now as i64)]),
    ];
    conditions.extend(selection.conditions.iter().cloned());
    listing::select(db, session!(), "id", &Selection { conditions, ..selection.clone() }).await
}

/// Takes the login on to its next generation, unless somebody else did, it has ended, or it is over. Tells whether it did.
///
/// # Errors
/// [`StoreError`]: it did not, unless the commit failed.
pub async fn rotate(db: &Db, session: &Session, address: &str, now: u64, expires_at: u64) -> Result<bool, StoreError> {
    let mut tx = db.begin().await?;
    let rotated = on!(&mut tx, conn => sqlx::query(
        "UPDATE sessions SET generation = generation + 1, used_at = $3, expires_at = $4, address = $5
         WHERE id = $1 AND generation = $2 AND revoked_at IS NULL AND expires_at > $3",
    )
    .bind(&session.id)
    .bind(session.generation)
    .bind(now as i64)
    .bind(expires_at as i64)
    .bind(address)
    .execute(conn)
    .await
    .map(|done| done.rows_affected() == 1))?;
    tx.commit().await?;
    Ok(rotated)
}

/// Ends a login, if it is the user's and has not ended, and tells the number of the ruling. `None` if it did not.
///
/// # Errors
/// [`StoreError`]: it did not, unless the commit failed.
pub async fn revoke(db: &Db, user: &str, id: &str, why: Ending, record: Record<'_>, now: u64) -> Result<Option<u64>, StoreError> {
    let mut tx = db.begin().await?;
    let owner: Option<String> = on!(&mut tx, conn => {
        sqlx::query_scalar("SELECT user_id FROM sessions WHERE id = $1").bind(id).fetch_optional(conn).await
    })?;
    if owner.is_none_or(|owner| owner != user) || !end(&mut tx, id, why, now).await? {
        return Ok(None);
    }
    let detail = json!({"reason": why.as_str(), "user": user});
    let deed = Deed { action: "session.ended", target: "session", id, channel: None, detail };
    audit::append(&mut tx, record.id, record.trace, &deed, now).await?;
    let number = rulings::append(&mut tx, &ended(user, id.to_owned()), now).await?;
    tx.commit().await?;
    Ok(Some(number))
}

/// Ends all logins of a user but `except`, and tells the number of the last ruling, 0 if there was nothing to end.
///
/// # Errors
/// [`StoreError`]: none has ended, unless the commit failed.
pub async fn revoke_all(db: &Db, user: &str, except: Option<&str>, record: Record<'_>, now: u64) -> Result<u64, StoreError> {
    let mut tx = db.begin().await?;
    let deed = Deed { action: "sessions.ended", target: "user", id: user, channel: None, detail: json!({"except": except}) };
    audit::append(&mut tx, record.id, record.trace, &deed, now).await?;
    let number = end_all(&mut tx, user, except, Ending::Revoked, now).await?;
    tx.commit().await?;
    Ok(number)
}

/// Gives `account` the password of the hash `new`, and ends its logins but `except`. Tells the number of the last ruling, 0 if none had to end; `None` if it has another by now than it had when it was
/// read, or is blocked.
///
/// # Errors
/// [`StoreError`]: nothing has changed, unless the commit failed.
pub async fn change_password(
    db: &Db,
    account: &Account,
    new: &str,
    except: Option<&str>,
    record: Record<'_>,
    now: u64,
) -> Result<Option<u64>, StoreError> {
    let mut tx = db.begin().await?;
    if !users::hold(&mut tx, &account.id, account.password_at).await? {
        return Ok(None);
    }
    users::set_password(&mut tx, &account.id, new, now).await?;
    let deed = Deed { action: "user.password_changed", target: "user", id: &account.id, channel: None, detail: json!({}) };
    audit::append(&mut tx, record.id, record.trace, &deed, now).await?;
    let number = end_all(&mut tx, &account.id, except, Ending::Password, now).await?;
    tx.commit().await?;
    Ok(Some(number))
}

async fn end(tx: &mut Tx, id: &str, why: Ending, now: u64) -> Result<bool, StoreError> {
    let text = "UPDATE sessions SET revoked_at = $2, reason = $3 WHERE id = $1 AND revoked_at IS NULL";
    let ended = on!(tx, conn => {
        sqlx::query(text).bind(id).bind(now as i64).bind(why.as_str()).execute(conn).await.map(|done| done.rows_affected() == 1)
    })?;
    Ok(ended)
}

/// Ends the logins of `user` but `except`. Tells the number of the last ruling, 0 if none had to end.
///
/// # Errors
/// [`StoreError`].
pub(crate) async fn end_all(tx: &mut Tx, user: &str, except: Option<&str>, why: Ending, now: u64) -> Result<u64, StoreError> {
    let ids: Vec<String> = on!(tx, conn => sqlx::query_scalar(
        "UPDATE sessions SET revoked_at = $2, reason = $3 WHERE user_id = $1 AND revoked_at IS NULL AND expires_at > $2 AND id <> $4
         RETURNING id",
    )
    .bind(user)
    .bind(now as i64)
    .bind(why.as_str())
    .bind(except.unwrap_or_default())
    .fetch_all(conn)
    .await)?;
    let mut number = 0;
    for id in ids {
        number = rulings::append(tx, &ended(user, id), now).await?;
    }
    Ok(number)
}

fn ended(user: &str, session: String) -> Ruling {
    Ruling::Session { user: user.to_owned(), session }
}

/// Deletes at most `rows` logins that are over, and tells how many. None of their access tokens is good by then.
///
/// # Errors
/// [`StoreError`].
pub async fn sweep(db: &Db, before: u64, rows: u32) -> Result<u64, StoreError> {
    let mut tx = db.begin().await?;
    let text = "DELETE FROM sessions WHERE id IN (SELECT id FROM sessions WHERE expires_at < $1 ORDER BY expires_at LIMIT $2)";
    let swept = on!(&mut tx, conn => {
        sqlx::query(text).bind(before as i64).bind(i64::from(rows)).execute(conn).await.map(|done| done.rows_affected())
    })?;
    tx.commit().await?;
    Ok(swept)
}
