//! Looking at what changed: which heads moved since the last look, and whether the store has gone back in time.
//!
//! The cost follows the changes: a store in which nothing happens answers from an index that has nothing new.

use hubbub_protocol::ChannelName;

use super::{
    Db, StoreError,
    channels::Head,
    epoch,
    postgres::{Past, Postgres},
    sqlite::Sqlite,
};

/// Where a look ended, and where the next one begins. What it means is the store's own affair.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Since {
    /// The first change of the next look. SQLite: the count of appended entries. PostgreSQL: a transaction; no later one is below it.
    change: i64,
    /// The epoch then.
    epoch: i64,
    /// PostgreSQL: which past, as a number; how far its log had come; and the newest transaction that had moved a head.
    past: i64,
    lsn: i64,
    newest: i64,
    /// PostgreSQL: when the server was started.
    started: i64,
}

/// What a look saw.
#[derive(Debug, Clone)]
pub struct Looked {
    /// The epoch that entries get now.
    pub epoch: u64,
    /// The store is not the one of the last look, or has gone back in time since: `epoch` was raised because of that, by this look or by
    /// somebody before it. `heads` are all heads then.
    pub went_back: bool,
    /// The database server is not the one of the last look, or has been started again since: whatever was done to it meanwhile.
    pub restarted: bool,
    /// Channels whose head moved since the last look; one may be named although it did not.
    pub heads: Vec<(ChannelName, Head)>,
    /// Where the next look begins.
    pub since: Since,
}

#[derive(sqlx::FromRow)]
struct Row {
    name: String,
    #[sqlx(flatten)]
    head: Head,
}

impl Row {
    fn head(self) -> Option<(ChannelName, Head)> {
        ChannelName::parse(&self.name).ok().map(|name| (name, self.head))
    }
}

/// Looks at the heads that moved after `since`; without it only for where to begin.
///
/// # Errors
/// [`StoreError`]: look again from the same place.
pub async fn look(db: &Db, since: Option<Since>) -> Result<Looked, StoreError> {
    match db {
        Db::Sqlite(sqlite) => look_sqlite(sqlite, since).await,
        Db::Postgres(postgres) => look_postgres(db, postgres, since).await,
    }
}

async fn look_sqlite(sqlite: &Sqlite, since: Option<Since>) -> Result<Looked, StoreError> {
    // First how far it has come: a head that moves between the two reads is seen twice rather than not at all.
    let (epoch, change): (i64, i64) = sqlx::query_as("SELECT epoch, appended FROM cluster WHERE id = 1").fetch_one(sqlite.reader()).await?;
    let went_back = since.is_some_and(|since| change < since.change || epoch != since.epoch);
    let from = since.map_or(change, |since| if went_back { 0 } else { since.change });
    let rows: Vec<Row> = sqlx::query_as("SELECT name, id, head_epoch, head_seq, head_ordinal FROM channels WHERE changed > $1")
        .bind(from)
        .fetch_all(sqlite.reader())
        .await?;
    let heads = rows.into_iter().filter_map(Row::head).collect();
    Ok(Looked { epoch: epoch as u64, went_back, restarted: false, heads, since: Since { change, epoch, ..Since::default() } })
}

async fn look_postgres(db: &Db, postgres: &Postgres, since: Option<Since>) -> Result<Looked, StoreError> {
    let (state, heads) = read_postgres(postgres, since.map_or(i64::MAX, |since| since.change)).await?;
    let went_back = since.is_some_and(|since| state.went_back(since));
    if !went_back && state.known {
        postgres.remember(&state.past());
        postgres.see_heads(heads.iter().map(|(channel, head)| (channel.as_str(), head.cursor().seq as i64)));
        let restarted = since.is_some_and(|since| since.started != state.started);
        return Ok(Looked { restarted, ..state.looked(heads, false) });
    }
    // Raised unless somebody did it before: what this process has seen of the store decides.
    let past = postgres.compare().await?;
    if let Some(since) = since
        && past.epoch <= since.epoch
    {
        epoch::raise(db, since.epoch as u64).await?;
    }
    let (state, heads) = read_postgres(postgres, if since.is_some() { 0 } else { i64::MAX }).await?;
    Ok(state.looked(heads, since.is_some()))
}

/// What PostgreSQL says of itself in a look.
#[derive(sqlx::FromRow)]
struct State {
    epoch: i64,
    /// The past is the mark's: the epoch has been compared with it.
    known: bool,
    mark: String,
    past: i64,
    lsn: i64,
    /// When the server was started, in microseconds.
    started: i64,
    /// Transactions below it have ended.
    oldest: i64,
    newest: i64,
}

/// The state and the heads in one statement: one snapshot of both.
async fn read_postgres(postgres: &Postgres, from: i64) -> Result<(State, Vec<(ChannelName, Head)>), StoreError> {
    /// A head, or none if nothing moved.
    #[derive(sqlx::FromRow)]
    struct Both {
        #[sqlx(flatten)]
        state: State,
        name: Option<String>,
        id: Option<i64>,
        head_epoch: Option<i64>,
        head_seq: Option<i64>,
        head_ordinal: Option<i64>,
    }
    let rows: Vec<Both> = sqlx::query_as(
        "SELECT s.*, c.name, c.id, c.head_epoch, c.head_seq, c.head_ordinal
         FROM (SELECT epoch, mark = hubbub_past() AS known, hubbub_past() AS mark, hashtextextended(hubbub_past(), 0) AS past,
                      (pg_current_wal_flush_lsn() - '0/0'::pg_lsn)::bigint AS lsn,
                      (extract(epoch FROM pg_postmaster_start_time()) * 1000000)::bigint AS started,
                      pg_snapshot_xmin(pg_current_snapshot())::text::bigint AS oldest,
                      (SELECT coalesce(max(changed), 0) FROM channels) AS newest
               FROM cluster WHERE id = 1) AS s
         LEFT JOIN channels AS c ON c.changed >= $1",
    )
    .bind(from)
    .fetch_all(&postgres.looker())
    .await?;
    let mut state = None;
    let mut heads = Vec::new();
    for row in rows {
        state.get_or_insert(row.state);
        let (Some(name), Some(id), Some(epoch), Some(seq), Some(ordinal)) =
            (row.name, row.id, row.head_epoch, row.head_seq, row.head_ordinal)
        else {
            continue;
        };
        if let Ok(name) = ChannelName::parse(&name) {
            heads.push((name, Head::new(id, epoch, seq, ordinal)));
        }
    }
    Ok((state.ok_or(StoreError::Corrupt("the cluster has no row"))?, heads))
}

impl State {
    /// In one past an epoch stays, the log grows, transactions end, and heads move on.
    fn went_back(&self, since: Since) -> bool {
        self.past != since.past
            || self.epoch != since.epoch
            || self.lsn < since.lsn
            || self.oldest < since.change
            || self.newest < since.newest
    }

    fn past(&self) -> Past {
        Past { epoch: self.epoch, mark: self.mark.clone(), lsn: self.lsn, raised: false }
    }

    fn looked(self, heads: Vec<(ChannelName, Head)>, went_back: bool) -> Looked {
        let since = Since {
            // What this look did not see has the number of a transaction that was under way, or a later one. After a crash numbers of
            // transactions that never committed are given again: none of them is up to the newest that did.
            change: self.oldest.min(self.newest + 1),
            epoch: self.epoch,
            past: self.past,
            lsn: self.lsn,
            newest: self.newest,
            started: self.started,
        };
        Looked { epoch: self.epoch as u64, went_back, restarted: false, heads, since }
    }
}
