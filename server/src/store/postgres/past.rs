//! The database's past: what identifies it, how far it has come, and whether it went back.
//!
//! A restored backup of the server, a promoted standby and a restored dump differ in `hubbub_past()`. A base backup that is started
//! again does not: but its log is shorter than what this process has seen of it.

use super::Postgres;
use crate::store::StoreError;

/// The furthest that this handle has seen: the place in the log, and of which past; the highest epoch.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(in crate::store) struct Seen {
    pub(in crate::store) mark: String,
    pub(in crate::store) lsn: i64,
    pub(in crate::store) epoch: i64,
}

/// What the database says of itself, after it compared its past with the mark and with what the caller had seen.
#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow)]
pub(in crate::store) struct Past {
    pub(in crate::store) epoch: i64,
    pub(in crate::store) mark: String,
    pub(in crate::store) lsn: i64,
    /// This comparison raised the epoch.
    pub(in crate::store) raised: bool,
}

impl Seen {
    /// Answers overtake one another: only another past, or one that went back, makes the place lower.
    pub(super) fn take(&mut self, past: &Past) {
        if past.raised || self.mark != past.mark {
            self.mark.clone_from(&past.mark);
            self.lsn = past.lsn;
        } else {
            self.lsn = self.lsn.max(past.lsn);
        }
        self.epoch = self.epoch.max(past.epoch);
    }
}

impl Postgres {
    /// Compares the database's past with its mark and with what this handle has seen, and raises the epoch if it is another.
    pub(in crate::store) async fn compare(&self) -> Result<Past, StoreError> {
        let seen = self.seen();
        let past: Past = sqlx::query_as("SELECT epoch, mark, lsn, raised FROM hubbub_epoch($1, $2, $3)")
            .bind(&seen.mark)
            .bind(seen.lsn)
            .bind(seen.epoch)
            .fetch_one(&self.writer())
            .await
            .map_err(super::append::classify)?;
        self.remember(&past);
        Ok(past)
    }
}
