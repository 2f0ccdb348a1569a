//! Users as others see them, and as admins rule them. How they log in is in `users`.

use super::{
    Db, StoreError, Tx, column,
    listing::{self, Field, Selection},
    on, read,
};
use crate::auth::Role;

/// What lists of these are filtered and sorted by.
pub const FIELDS: &[Field] =
    &[Field::whole("created_at").sorted(), Field::text("name").sorted(), Field::text("id").sorted(), Field::choice("role", Role::NAMES)];

/// A user as it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Person {
    /// What tokens say in `sub`.
    pub id: String,
    /// What one logs in with; `None` for those who were only vouched for.
    pub login: Option<String>,
    /// What to call them.
    pub name: String,
    /// On the whole instance.
    pub role: Role,
    /// The user's own JSON object.
    pub data: String,
    /// Since when blocked, in Unix milliseconds.
    pub blocked_at: Option<u64>,
    /// Rises with each change.
    pub version: u64,
    /// When first seen.
    pub created_at: u64,
    /// When changed last.
    pub updated_at: u64,
    /// Since when deleted.
    pub deleted_at: Option<u64>,
}

#[derive(sqlx::FromRow)]
struct Row {
    id: String,
    login: Option<String>,
    name: String,
    role: String,
    data: String,
    blocked_at: Option<i64>,
    version: i64,
    created_at: i64,
    updated_at: i64,
    deleted_at: Option<i64>,
}

impl TryFrom<Row> for Person {
    type Error = StoreError;

    fn try_from(row: Row) -> Result<Self, StoreError> {
        Ok(Self {
            id: row.id,
            login: row.login,
            name: row.name,
            role: Role::parse(&row.role).ok_or(StoreError::Corrupt("a user's role"))?,
            data: row.data,
            blocked_at: row.blocked_at.map(|at| at as u64),
            version: row.version as u64,
            created_at: row.created_at as u64,
            updated_at: row.updated_at as u64,
            deleted_at: row.deleted_at.map(|at| at as u64),
        })
    }
}

/// The users of a selection.
///
/// # Errors
/// [`StoreError`].
pub async fn list(db: &Db, selection: &Selection) -> Result<Vec<Person>, StoreError> {
    const FROM: &str = "SELECT id, login, name, role, data, blocked_at, version, created_at, updated_at, deleted_at FROM users";
    let rows: Vec<Row> = listing::select(db, FROM, "id", selection).await?;
    rows.into_iter().map(Person::try_from).collect()
}

/// The user with that id, deleted or not.
///
/// # Errors
/// [`StoreError`].
pub async fn find(db: &Db, id: &str) -> Result<Option<Person>, StoreError> {
    const ROW: &str =
        "SELECT id, login, name, role, data, blocked_at, version, created_at, updated_at, deleted_at FROM users WHERE id = $1";
    let row: Option<Row> = read!(db, pool => sqlx::query_as(ROW).bind(id).fetch_optional(pool).await)?;
    row.map(Person::try_from).transpose()
}

/// The same, held until the transaction ends.
///
/// # Errors
/// [`StoreError`].
pub(crate) async fn hold(tx: &mut Tx, id: &str) -> Result<Option<Person>, StoreError> {
    // An update that changes nothing locks the row on either database.
    let row: Option<Row> = on!(tx, conn => sqlx::query_as(
        "UPDATE users SET version = version WHERE id = $1
         RETURNING id, login, name, role, data, blocked_at, version, created_at, updated_at, deleted_at",
    )
    .bind(id)
    .fetch_optional(conn)
    .await)?;
    row.map(Person::try_from).transpose()
}

/// Writes what of a held user can be changed, and raises the version. Returns the user as it stands then.
///
/// # Errors
/// [`StoreError`].
pub(crate) async fn put(tx: &mut Tx, person: &Person, now: u64) -> Result<Person, StoreError> {
    let row: Row = on!(tx, conn => sqlx::query_as(
        "UPDATE users SET name = $2, role = $3, data = $4, blocked_at = $5, deleted_at = $6, version = version + 1, updated_at = $7 WHERE id = $1
         RETURNING id, login, name, role, data, blocked_at, version, created_at, updated_at, deleted_at",
    )
    .bind(&person.id)
    .bind(&person.name)
    .bind(person.role.as_str())
    .bind(&person.data)
    .bind(person.blocked_at.map(column))
    .bind(person.deleted_at.map(column))
    .bind(column(now))
    .fetch_one(conn)
    .await)?;
    Person::try_from(row)
}

/// How many owners the instance has who are neither blocked nor deleted. Holds them, so that two do not go at the same time.
///
/// # Errors
/// [`StoreError`].
pub(crate) async fn owners(tx: &mut Tx) -> Result<usize, StoreError> {
    let owners: Vec<String> = on!(tx, conn => sqlx::query_scalar(
        "UPDATE users SET version = version WHERE role = 'owner' AND blocked_at IS NULL AND deleted_at IS NULL RETURNING id",
    )
    .fetch_all(conn)
    .await)?;
    Ok(owners.len())
}
