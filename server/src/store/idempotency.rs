//! Answers to requests with an Idempotency-Key: a request that is repeated gets the first answer.

use super::{Db, StoreError, instances::moment, on};

/// An answer as it was given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// The status.
    pub status: u16,
    /// Headers, as a JSON object.
    pub headers: String,
    /// The body.
    pub body: Vec<u8>,
}

/// What a key stands for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reserved {
    /// This request, now: finish or release it.
    Ours,
    /// The same request, which is under way.
    Busy,
    /// The same request, with its answer.
    Answered(Answer),
    /// Another request.
    Other,
}

#[derive(sqlx::FromRow)]
struct Row {
    request: Vec<u8>,
    status: Option<i64>,
    headers: Option<String>,
    body: Option<Vec<u8>>,
    expires_at: i64,
}

/// Takes the key for the request with the digest `request`, if nobody has it: for `patience` milliseconds, after which a request that was
/// never finished is forgotten.
///
/// # Errors
/// [`StoreError`].
pub async fn reserve(db: &Db, key: &[u8], request: &[u8], now: u64, patience: u64) -> Result<Reserved, StoreError> {
    let mut tx = db.begin().await?;
    let now = moment(&mut tx, now).await?;
    on!(&mut tx, conn => sqlx::query("DELETE FROM idempotency WHERE digest = $1 AND expires_at <= $2").bind(key).bind(now).execute(conn).await.map(drop))?;
    let taken = on!(&mut tx, conn => sqlx::query(
        "INSERT INTO idempotency (digest, request, created_at, expires_at) VALUES ($1, $2, $3, $4) ON CONFLICT (digest) DO NOTHING",
    )
    .bind(key)
    .bind(request)
    .bind(now)
    .bind(now + patience as i64)
    .execute(conn)
    .await
    .map(|done| done.rows_affected()))?;
    if taken == 1 {
        tx.commit().await?;
        return Ok(Reserved::Ours);
    }
    let row: Option<Row> = on!(&mut tx, conn => {
        sqlx::query_as("SELECT request, status, headers, body, expires_at FROM idempotency WHERE digest = $1").bind(key).fetch_optional(conn).await
    })?;
    tx.commit().await?;
    Ok(match row {
        Some(row) if row.request != request => Reserved::Other,
        Some(Row { status: Some(status), headers: Some(headers), body: Some(body), expires_at, .. }) if expires_at > now => {
            Reserved::Answered(Answer { status: status as u16, headers, body })
        }
        // Under way, or gone this very moment: the next try will know.
        _ => Reserved::Busy,
    })
}

/// Keeps the answer for `life` milliseconds.
///
/// # Errors
/// [`StoreError`].
pub async fn finish(db: &Db, key: &[u8], answer: &Answer, now: u64, life: u64) -> Result<(), StoreError> {
    let mut tx = db.begin().await?;
    let now = moment(&mut tx, now).await?;
    on!(&mut tx, conn => sqlx::query("UPDATE idempotency SET status = $2, headers = $3, body = $4, expires_at = $5 WHERE digest = $1")
        .bind(key)
        .bind(i64::from(answer.status))
        .bind(&answer.headers)
        .bind(&answer.body[..])
        .bind(now + life as i64)
        .execute(conn)
        .await
        .map(drop))?;
    tx.commit().await
}

/// Gives the key back: the request failed, and may be tried again.
///
/// # Errors
/// [`StoreError`].
pub async fn release(db: &Db, key: &[u8]) -> Result<(), StoreError> {
    let mut tx = db.begin().await?;
    on!(&mut tx, conn => sqlx::query("DELETE FROM idempotency WHERE digest = $1 AND status IS NULL").bind(key).execute(conn).await.map(drop))?;
    tx.commit().await
}

/// Deletes at most `limit` answers that are kept no longer. Returns how many.
///
/// # Errors
/// [`StoreError`].
pub async fn sweep(db: &Db, now: u64, limit: u32) -> Result<u64, StoreError> {
    let mut tx = db.begin().await?;
    let now = moment(&mut tx, now).await?;
    let deleted = on!(&mut tx, conn => sqlx::query(
        "DELETE FROM idempotency WHERE digest IN (SELECT digest FROM idempotency WHERE expires_at <= $1 LIMIT $2)",
    )
    .bind(now)
    .bind(i64::from(limit))
    .execute(conn)
    .await
    .map(|done| done.rows_affected()))?;
    tx.commit().await?;
    Ok(deleted)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{store::testing::Place, world::World};

    #[tokio::test]
    async fn a_key_stands_for_one_request_and_its_answer() {
        for place in Place::all().await {
            let db = place.open().await;
            let now = World::system().clock.now();
            let reserve = async |key: &str, request: &str| reserve(&db, key.as_bytes(), request.as_bytes(), now, 60_000).await.unwrap();
            assert_eq!(reserve("k", "a").await, Reserved::Ours);
            assert_eq!(reserve("k", "a").await, Reserved::Busy);
            assert_eq!(reserve("k", "b").await, Reserved::Other);
            let answer = Answer { status: 201, headers: "{}".into(), body: b"x".to_vec() };
            finish(&db, b"k", &answer, now, 60_000).await.unwrap();
            assert_eq!(reserve("k", "a").await, Reserved::Answered(answer));
            assert_eq!(reserve("k", "b").await, Reserved::Other);
            assert_eq!(reserve("failed", "a").await, Reserved::Ours);
            release(&db, b"failed").await.unwrap();
            assert_eq!(reserve("failed", "b").await, Reserved::Ours);
            db.close().await;
        }
    }

    #[tokio::test]
    async fn what_has_expired_is_forgotten() {
        for place in Place::all().await {
            let db = place.open().await;
            let now = World::system().clock.now();
            assert_eq!(reserve(&db, b"k", b"a", now, 0).await.unwrap(), Reserved::Ours);
            assert_eq!(reserve(&db, b"k", b"b", now, 0).await.unwrap(), Reserved::Ours);
            assert_eq!(sweep(&db, now, 10).await.unwrap(), 1);
            assert_eq!(sweep(&db, now, 10).await.unwrap(), 0);
            db.close().await;
        }
    }
}
