//! Failed tries of late, by what they are held against: an account, an address, a pair of both. All instances share the counts. Subjects
//! are digests: who tried to log in where is not to be read here.

use super::{Db, StoreError, Tx, on, read};

/// A digest.
pub type Subject = [u8; 32];

/// What is held against a subject.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Failures {
    /// How many tries failed, or have not ended yet.
    pub count: u64,
    /// When the last of them began, in Unix milliseconds.
    pub last_at: u64,
}

/// What is held against each of `subjects`, in their order.
///
/// # Errors
/// [`StoreError`].
pub async fn of<const N: usize>(db: &Db, subjects: &[Subject; N]) -> Result<[Failures; N], StoreError> {
    let mut failures = [Failures::default(); N];
    for (subject, failures) in subjects.iter().zip(&mut failures) {
        let row: Option<(i64, i64)> = read!(db, pool => {
            sqlx::query_as("SELECT failures, last_at FROM login_failures WHERE subject = $1").bind(&subject[..]).fetch_optional(pool).await
        })?;
        *failures = row.map_or(Failures::default(), counted);
    }
    Ok(failures)
}

/// Holds one more try against each of `subjects`, before it is known how it ends, if `admit` lets it: it sees what is held against them,
/// and says from how many each goes on. Tries that come at the same time are admitted one after the other, so none slips through.
///
/// # Errors
/// The database's, around `admit`'s own: nothing is counted then.
pub async fn charge<const N: usize, E>(
    db: &Db,
    subjects: &[Subject; N],
    now: u64,
    admit: impl FnOnce([Failures; N]) -> Result<[u64; N], E>,
) -> Result<Result<[u64; N], E>, StoreError> {
    let mut tx = db.begin().await?;
    // In one order, so that nobody waits for somebody who waits for him.
    let mut order: Vec<usize> = (0..N).collect();
    order.sort_unstable_by_key(|at| subjects[*at]);
    let mut failures = [Failures::default(); N];
    for at in order {
        failures[at] = hold(&mut tx, &subjects[at]).await?;
    }
    let counts = match admit(failures) {
        Ok(counts) => counts,
        Err(refused) => return Ok(Err(refused)),
    };
    for ((subject, count), held) in subjects.iter().zip(counts).zip(failures) {
        on!(&mut tx, conn => sqlx::query("UPDATE login_failures SET failures = $2, last_at = $3 WHERE subject = $1")
            .bind(&subject[..])
            .bind(count as i64 + 1)
            // Tries are counted in another order than they began in.
            .bind(now.max(held.last_at) as i64)
            .execute(conn)
            .await
            .map(drop))?;
    }
    tx.commit().await?;
    Ok(Ok(counts))
}

/// Reads a row, made if it was missing, and keeps others from it until the transaction's end.
async fn hold(tx: &mut Tx, subject: &Subject) -> Result<Failures, StoreError> {
    let row: (i64, i64) = on!(tx, conn => sqlx::query_as(
        "INSERT INTO login_failures (subject, failures, last_at) VALUES ($1, 0, 0)
         ON CONFLICT (subject) DO UPDATE SET failures = login_failures.failures RETURNING failures, last_at",
    )
    .bind(&subject[..])
    .fetch_one(conn)
    .await)?;
    Ok(counted(row))
}

fn counted((count, last_at): (i64, i64)) -> Failures {
    Failures { count: count.max(0) as u64, last_at: last_at.max(0) as u64 }
}

/// A try has succeeded: forgets what is held against `forgotten`, and takes the one try back from each of `others`.
///
/// # Errors
/// [`StoreError`]: all is still held against them.
pub async fn take_back(db: &Db, forgotten: Option<&Subject>, others: &[Subject]) -> Result<(), StoreError> {
    const LESS: &str = "UPDATE login_failures SET failures = failures - 1 WHERE subject = $1 AND failures > 0";
    const NONE: &str = "DELETE FROM login_failures WHERE subject = $1";
    let mut changes: Vec<_> = others.iter().map(|subject| (subject, LESS)).chain(forgotten.map(|subject| (subject, NONE))).collect();
    changes.sort_unstable();
    let mut tx = db.begin().await?;
    for (subject, text) in changes {
        on!(&mut tx, conn => sqlx::query(text).bind(&subject[..]).execute(conn).await.map(drop))?;
    }
    tx.commit().await
}

/// Deletes at most `rows` of what has not grown since `before`, and tells how many.
///
/// # Errors
/// [`StoreError`].
pub async fn sweep(db: &Db, before: u64, rows: u32) -> Result<u64, StoreError> {
    let mut tx = db.begin().await?;
    let text =
        "DELETE FROM login_failures WHERE subject IN (SELECT subject FROM login_failures WHERE last_at < $1 ORDER BY last_at LIMIT $2)";
    let swept = on!(&mut tx, conn => {
        sqlx::query(text).bind(before as i64).bind(i64::from(rows)).execute(conn).await.map(|done| done.rows_affected())
    })?;
    tx.commit().await?;
    Ok(swept)
}
