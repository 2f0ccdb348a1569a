//! The audit log: who did what, written in the transaction that did it. Rows are added and never changed; triggers see to it.

use serde_json::Value;
use sqlx::FromRow;

use super::{
    Db, StoreError, Tx, column,
    listing::{self, Field, Selection},
    on,
};

/// Who acts, and in which request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trace {
    /// A user's id, `api-key:…`, or `operator` for the command line.
    pub actor: String,
    /// From where: an address, or empty.
    pub address: String,
    /// The request's id, or empty.
    pub request: String,
}

impl Trace {
    /// Of a command that an operator runs.
    pub fn operator() -> Self {
        Self { actor: "operator".to_owned(), address: String::new(), request: String::new() }
    }
}

/// Who acts, and the fresh id under which that is written down.
#[derive(Debug, Clone, Copy)]
pub struct Record<'a> {
    /// A UUID of version 7.
    pub id: &'a str,
    /// Who.
    pub trace: &'a Trace,
}

/// Something that was done.
#[derive(Debug, Clone)]
pub struct Deed<'a> {
    /// What: `user.blocked`, `member.removed`, ….
    pub action: &'static str,
    /// To what: `user`, `channel`, `session`, ….
    pub target: &'static str,
    /// To which.
    pub id: &'a str,
    /// In which channel, if in one.
    pub channel: Option<&'a str>,
    /// More about it: an object without secrets.
    pub detail: Value,
}

/// What lists of these are filtered and sorted by.
pub const FIELDS: &[Field] =
    &[Field::text("id").sorted(), Field::text("actor"), Field::text("action"), Field::text("target_id"), Field::text("channel").nullable()];

/// A row.
#[derive(Debug, Clone, PartialEq, Eq, FromRow)]
pub struct Logged {
    /// A UUID of version 7: ascending with time.
    pub id: String,
    /// Who.
    pub actor: String,
    /// What.
    pub action: String,
    /// To what.
    pub target: String,
    /// To which.
    pub target_id: String,
    /// In which channel.
    pub channel: Option<String>,
    /// More about it, as JSON.
    pub detail: String,
    /// From where.
    pub address: String,
    /// In which request.
    pub request_id: String,
    /// When, in Unix milliseconds.
    pub created_at: i64,
}

/// Writes `deed` into `tx` under the fresh id `id`.
///
/// # Errors
/// [`StoreError`].
pub(crate) async fn append(tx: &mut Tx, id: &str, trace: &Trace, deed: &Deed<'_>, now: u64) -> Result<(), StoreError> {
    on!(tx, conn => sqlx::query(
        "INSERT INTO audit (id, actor, action, target, target_id, channel, detail, address, request_id, created_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)",
    )
    .bind(id)
    .bind(&trace.actor)
    .bind(deed.action)
    .bind(deed.target)
    .bind(deed.id)
    .bind(deed.channel)
    .bind(deed.detail.to_string())
    .bind(&trace.address)
    .bind(&trace.request)
    .bind(column(now))
    .execute(conn)
    .await
    .map(drop))?;
    Ok(())
}

/// The rows of a selection.
///
/// # Errors
/// [`StoreError::Database`].
pub async fn list(db: &Db, selection: &Selection) -> Result<Vec<Logged>, StoreError> {
    const FROM: &str = "SELECT id, actor, action, target, target_id, channel, detail, address, request_id, created_at FROM audit";
    listing::select(db, FROM, "id", selection).await
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::{listing::Order, read, testing::Place};
    use serde_json::json;

    #[tokio::test]
    async fn what_was_written_stays_as_it_is() {
        for place in Place::all().await {
            let db = place.open().await;
            for id in ["1", "2"] {
                let mut tx = db.begin().await.unwrap();
                let deed = Deed { action: "user.blocked", target: "user", id: "u", channel: None, detail: json!({ "why": "spam" }) };
                append(&mut tx, id, &Trace::operator(), &deed, 7).await.unwrap();
                tx.commit().await.unwrap();
            }
            for sql in ["UPDATE audit SET actor = 'x'", "DELETE FROM audit"] {
                let mut tx = db.begin().await.unwrap();
                let done = on!(&mut tx, conn => sqlx::query(sql).execute(conn).await.map(drop));
                assert!(done.unwrap_err().to_string().contains("append-only"), "{sql}");
            }
            let order = Order { column: "id", descending: true };
            let rows = list(&db, &Selection { conditions: vec![], order, after: None, limit: 10 }).await.unwrap();
            assert_eq!(rows.iter().map(|row| &*row.id).collect::<Vec<_>>(), ["2", "1"]);
            assert_eq!((&*rows[0].actor, &*rows[0].detail), ("operator", r#"{"why":"spam"}"#));
            let count: i64 = read!(&db, pool => sqlx::query_scalar("SELECT count(*) FROM audit").fetch_one(pool).await).unwrap();
            assert_eq!(count, 2);
            db.close().await;
        }
    }
}
