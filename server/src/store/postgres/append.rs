//! The append: one call of `hubbub_append`, or of `hubbub_amend` where there are edits or deletions: one statement, one transaction and one
//! round trip.

use std::{sync::Arc, time::Duration};

use sqlx::{PgConnection, Postgres as Driver, pool::PoolConnection};
use tokio::time::timeout;

use super::{Postgres, STATEMENT, past::Past, silence};
use crate::store::{
    StoreError,
    amendments::{Authority, Unfit},
    entries::{Appended, NewEntry, entry},
};

/// How often a batch is tried that the server gave up for another's sake.
const TRIES: u32 = 5;
/// Before the second try, and twice as long before each further one.
const PAUSE: Duration = Duration::from_millis(5);
/// A server that does not even say that it gave up is not there any more.
const PATIENCE: Duration = Duration::from_secs(STATEMENT.as_secs() + 2);

const APPEND: &str = "SELECT kinds, epochs, seqs, ordinals, times, epoch, mark, lsn, raised
     FROM hubbub_append($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)";
const AMEND: &str = "SELECT kinds, epochs, seqs, ordinals, times, epoch, mark, lsn, raised
     FROM hubbub_amend($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15)";

impl Postgres {
    /// See [`crate::store::entries::append`].
    pub(in crate::store) async fn append(&self, batch: &[NewEntry], now: u64) -> Result<Vec<Appended>, StoreError> {
        let mut tries = 1;
        loop {
            let conn = self.writer().acquire().await?;
            match self.call(conn, batch, now).await {
                Err(error) if tries < TRIES && error.is_conflict() => tokio::time::sleep(pause(batch, tries)).await,
                done => return done,
            }
            tries += 1;
        }
    }

    async fn call(&self, mut conn: PoolConnection<Driver>, batch: &[NewEntry], now: u64) -> Result<Vec<Appended>, StoreError> {
        let Ok(called) = timeout(PATIENCE, self.query(&mut conn, batch, now)).await else {
            // Never into the pool again: dropped, it is closed.
            drop(conn.detach());
            return Err(StoreError::CommitUnknown(silence()));
        };
        let row = called.map_err(classify)?;
        self.remember(&row.past);
        self.see_heads(batch.iter().zip(&row.seqs).map(|(new, seq)| (new.channel.as_str(), *seq)));
        if row.past.raised {
            tracing::warn!(epoch = row.past.epoch, "the database may have gone back in time: the epoch was raised");
        }
        row.answers(batch, now)
    }

    /// These channels have come so far.
    pub(in crate::store) fn see_heads<'a>(&self, heads: impl Iterator<Item = (&'a str, i64)>) {
        let mut seen = self.heads();
        heads.for_each(|(channel, seq)| seen.see(channel, seq));
    }

    async fn query(&self, conn: &mut PgConnection, batch: &[NewEntry], now: u64) -> Result<Row, sqlx::Error> {
        let seen = self.seen();
        let seen_heads: Vec<i64> = {
            let heads = self.heads();
            batch.iter().map(|new| heads.of(new.channel.as_str())).collect()
        };
        let column = |of: fn(&NewEntry) -> &[u8]| batch.iter().map(of).collect::<Vec<_>>();
        let amends = batch.iter().any(|new| new.amends.is_some());
        let mut query = sqlx::query_as(if amends { AMEND } else { APPEND })
            .bind(batch.iter().map(|new| new.channel.as_str()).collect::<Vec<_>>())
            .bind(batch.iter().map(|new| &*new.publisher).collect::<Vec<_>>())
            .bind(column(|new| new.message_id.as_bytes()));
        if amends {
            query = query
                .bind(batch.iter().map(|new| new.kind().as_str()).collect::<Vec<_>>())
                .bind(batch.iter().map(|new| new.refers().map(crate::store::column)).collect::<Vec<_>>())
                .bind(batch.iter().map(|new| new.amends.as_ref().is_some_and(|it| it.authority == Authority::Own)).collect::<Vec<_>>())
                .bind(batch.iter().map(|new| Some(versions(new.amends.as_ref()?.expected.as_ref()?))).collect::<Vec<_>>());
        }
        query
            .bind(batch.iter().map(|new| new.key.as_ref().map(|key| key.as_str())).collect::<Vec<_>>())
            .bind(column(|new| &new.payload))
            .bind(batch.iter().map(|new| new.digest).collect::<Vec<_>>())
            .bind(now as i64)
            .bind(&seen.mark)
            .bind(seen.lsn)
            .bind(seen.epoch)
            .bind(seen_heads)
            .fetch_one(conn)
            .await
    }
}

/// As PostgreSQL spells an array: a column of arrays that differ in length has no other way there.
fn versions(versions: &[u64]) -> String {
    let versions: Vec<String> = versions.iter().map(|version| crate::store::column(*version).to_string()).collect();
    format!("{{{}}}", versions.join(","))
}

/// Half of it is fixed, the rest follows from the batch: two that met should not meet again, and a simulated run has to repeat.
fn pause(batch: &[NewEntry], tries: u32) -> Duration {
    let random = batch.first().map_or(0, |new| new.message_id.as_bytes()[15] ^ tries as u8);
    let whole = PAUSE * 2_u32.pow(tries - 1);
    whole / 2 + whole.mul_f64(f64::from(random) / 512.0)
}

/// What the server said it refused is not stored. If it did not come to say anything, or was going down, nobody knows.
pub(super) fn classify(error: sqlx::Error) -> StoreError {
    let error = StoreError::Database(error);
    match error {
        StoreError::Database(inner) if is_lost(&inner) => StoreError::CommitUnknown(inner),
        other => other,
    }
}

/// The connection broke, or the server ended it.
fn is_lost(error: &sqlx::Error) -> bool {
    match error {
        sqlx::Error::Database(error) => error.code().is_some_and(|code| code.starts_with("57P") || code.starts_with("08")),
        sqlx::Error::Io(_) | sqlx::Error::Protocol(_) | sqlx::Error::Tls(_) | sqlx::Error::WorkerCrashed => true,
        _ => false,
    }
}

/// Columns, each with a value for each message of the batch.
#[derive(sqlx::FromRow)]
struct Row {
    kinds: Vec<i16>,
    epochs: Vec<i64>,
    seqs: Vec<i64>,
    ordinals: Vec<i64>,
    times: Vec<i64>,
    #[sqlx(flatten)]
    past: Past,
}

impl Row {
    fn answers(self, batch: &[NewEntry], now: u64) -> Result<Vec<Appended>, StoreError> {
        let lengths = [self.kinds.len(), self.epochs.len(), self.seqs.len(), self.ordinals.len(), self.times.len()];
        if lengths != [batch.len(); 5] {
            return Err(StoreError::Corrupt("a batch was answered by another number of rows"));
        }
        let answer = |(at, new): (usize, &NewEntry)| {
            let (seq, epoch) = (self.seqs[at] as u64, self.epochs[at] as u64);
            match self.kinds[at] {
                0 => {
                    let place = hubbub_protocol::Place { epoch, seq, ordinal: self.ordinals[at] as u64 };
                    Ok(Appended::Stored(Arc::new(entry(new, place, now))))
                }
                1 => Ok(Appended::Duplicate { seq, epoch, time: self.times[at] as u64 }),
                2 => Ok(Appended::IdReused),
                3 => Ok(Appended::Unfit(Unfit::NoMessage)),
                4 => Ok(Appended::Unfit(Unfit::NotAuthor)),
                5 => Ok(Appended::Unfit(Unfit::Deleted)),
                6 => Ok(Appended::Unfit(Unfit::Changed)),
                _ => Err(StoreError::Corrupt("a message was answered by an unknown kind")),
            }
        };
        batch.iter().enumerate().map(answer).collect()
    }
}
