//! Looking at what changed: which heads moved since the last look, and whether the store has gone back in time.
//!
//! The cost follows the changes: a store in which nothing happens answers from an index that has nothing new.

use hubbub_protocol::ChannelName;

use super::{Db, StoreError, channels::Head, read};

/// Where a look ended, and where the next one begins. What it means is the store's own affair.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Since {
    change: i64,
}

/// What a look saw.
#[derive(Debug, Clone)]
pub struct Looked {
    /// The epoch that entries get now.
    pub epoch: u64,
    /// The store is not the one of the last look, or has gone back in time since: `epoch` was raised because of that, by this look or by
    /// somebody before it.
    pub went_back: bool,
    /// Channels whose head moved since the last look; one may be named although it did not.
    pub heads: Vec<(ChannelName, Head)>,
    /// Where the next look begins.
    pub since: Since,
}

/// Looks at the heads that moved after `since`; without it only for where to begin.
///
/// # Errors
/// [`StoreError`]: look again from the same place.
pub async fn look(db: &Db, since: Option<Since>) -> Result<Looked, StoreError> {
    #[derive(sqlx::FromRow)]
    struct Row {
        name: String,
        #[sqlx(flatten)]
        head: Head,
    }
    // First how far it has come: a head that moves between the two reads is seen twice rather than not at all.
    let (epoch, change): (i64, i64) =
        read!(db, pool => sqlx::query_as("SELECT epoch, appended FROM cluster WHERE id = 1").fetch_one(pool).await)?;
    let went_back = since.is_some_and(|since| change < since.change);
    let from = since.map_or(change, |since| if went_back { 0 } else { since.change });
    let rows: Vec<Row> = read!(db, pool => sqlx::query_as("SELECT name, id, head_epoch, head_seq, head_ordinal FROM channels WHERE changed > $1")
            .bind(from)
            .fetch_all(pool)
            .await)?;
    let head = |row: Row| ChannelName::parse(&row.name).ok().map(|name| (name, row.head));
    Ok(Looked { epoch: epoch as u64, went_back, heads: rows.into_iter().filter_map(head).collect(), since: Since { change } })
}
