//! Rulings: what instances have to hear of at once when somebody's rights change, in the order of commits. The state itself is in the
//! other tables; a ruling says where to look.

use hubbub_protocol::{ChannelName, Cursor};

use super::{Db, StoreError, Tx, column, on, read};

/// Whose rights may have changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ruling {
    /// A user was blocked or let in again, deleted or restored, got another role, or had all tokens called in.
    User(String),
    /// A login has ended: its access tokens are refused from now on.
    Session {
        /// Whose.
        user: String,
        /// Which, as tokens say in `sid`.
        session: String,
    },
    /// A single token was called in.
    Token {
        /// Whose.
        user: String,
        /// Its `jti`.
        token: String,
        /// Until when it would be good, in Unix milliseconds.
        until: u64,
    },
    /// A channel was made, changed, deleted or restored: for all of its members.
    Channel(ChannelName),
    /// Somebody was invited, has joined, has left or was taken out, or got another role in a channel.
    Member {
        /// Where.
        channel: ChannelName,
        /// Who.
        user: String,
    },
    /// Somebody has joined a channel. To a release that does not know the cursor it is [`Ruling::Member`].
    Joined {
        /// Where.
        channel: ChannelName,
        /// Who.
        user: String,
        /// The channel's head before that: what follows it is heard by whoever has subscriptions begun for him.
        since: Cursor,
    },
    /// Somebody was banned from a channel, or let in again.
    Ban {
        /// Where.
        channel: ChannelName,
        /// Who.
        user: String,
    },
    /// There is a new key that signs tokens, or one was retired: its `kid`.
    Key(String),
    /// A backend's key was revoked: its id.
    ApiKey(String),
    /// A user's connections end now, whatever his rights.
    Disconnect(String),
    /// A user's subscriptions to a channel end now, whatever his rights.
    Unsubscribe {
        /// From where.
        channel: ChannelName,
        /// Who.
        user: String,
    },
    /// A user's connections that have subscriptions begun for them are subscribed to a channel, if he may.
    Subscribe {
        /// To what.
        channel: ChannelName,
        /// Who.
        user: String,
        /// From where, if not from now on.
        since: Option<Cursor>,
    },
}

/// A ruling with its number: consecutive, without a hole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Numbered {
    /// From 1.
    pub number: u64,
    /// `None` if it is of a kind that this release does not know: then everything may have changed.
    pub ruling: Option<Ruling>,
}

#[derive(sqlx::FromRow)]
struct Row {
    number: i64,
    kind: String,
    user_id: Option<String>,
    channel: Option<String>,
    subject: Option<String>,
    until: Option<i64>,
}

impl From<Row> for Numbered {
    fn from(row: Row) -> Self {
        let number = row.number as u64;
        let channel = row.channel.and_then(|name| ChannelName::parse(&name).ok());
        let ruling = match (row.kind.as_str(), row.user_id, channel, row.subject) {
            ("user", Some(user), ..) => Some(Ruling::User(user)),
            ("session", Some(user), _, Some(session)) => Some(Ruling::Session { user, session }),
            ("token", Some(user), _, Some(token)) => Some(Ruling::Token { user, token, until: row.until.unwrap_or(i64::MAX) as u64 }),
            ("channel", _, Some(channel), _) => Some(Ruling::Channel(channel)),
            ("member", Some(user), Some(channel), Some(since)) => cursor_of(&since).map(|since| Ruling::Joined { channel, user, since }),
            ("member", Some(user), Some(channel), None) => Some(Ruling::Member { channel, user }),
            ("ban", Some(user), Some(channel), _) => Some(Ruling::Ban { channel, user }),
            ("key", _, _, Some(key)) => Some(Ruling::Key(key)),
            ("api_key", _, _, Some(key)) => Some(Ruling::ApiKey(key)),
            ("disconnect", Some(user), ..) => Some(Ruling::Disconnect(user)),
            ("unsubscribe", Some(user), Some(channel), _) => Some(Ruling::Unsubscribe { channel, user }),
            ("subscribe", Some(user), Some(channel), since) => {
                Some(Ruling::Subscribe { channel, user, since: since.as_deref().and_then(cursor_of) })
            }
            _ => None,
        };
        Self { number, ruling }
    }
}

/// A cursor as `EPOCH:SEQ`, in the column for a ruling's subject.
fn cursor_of(text: &str) -> Option<Cursor> {
    let (epoch, seq) = text.split_once(':')?;
    Some(Cursor { epoch: epoch.parse().ok()?, seq: seq.parse().ok()? })
}

/// Writes `ruling` into the transaction that changes the state, when it has done its work: from here to the commit no other ruling is given a
/// number, and no other row that anybody waits for may be locked. `now` is in Unix milliseconds. Tell the looker after the commit (`Access::look_now`). Returns its number.
///
/// # Errors
/// [`StoreError`].
pub(crate) async fn append(tx: &mut Tx, ruling: &Ruling, now: u64) -> Result<u64, StoreError> {
    let since = match ruling {
        Ruling::Joined { since: Cursor { epoch, seq }, .. } | Ruling::Subscribe { since: Some(Cursor { epoch, seq }), .. } => {
            Some(format!("{epoch}:{seq}"))
        }
        _ => None,
    };
    let (kind, user, channel, subject, until) = match ruling {
        Ruling::User(user) => ("user", Some(user), None, None, None),
        Ruling::Session { user, session } => ("session", Some(user), None, Some(session), None),
        Ruling::Token { user, token, until } => ("token", Some(user), None, Some(token), Some(column(*until))),
        Ruling::Channel(channel) => ("channel", None, Some(channel), None, None),
        Ruling::Member { channel, user } => ("member", Some(user), Some(channel), None, None),
        Ruling::Joined { channel, user, .. } => ("member", Some(user), Some(channel), since.as_ref(), None),
        Ruling::Ban { channel, user } => ("ban", Some(user), Some(channel), None, None),
        Ruling::Key(key) => ("key", None, None, Some(key), None),
        Ruling::ApiKey(key) => ("api_key", None, None, Some(key), None),
        Ruling::Disconnect(user) => ("disconnect", Some(user), None, None, None),
        Ruling::Unsubscribe { channel, user } => ("unsubscribe", Some(user), Some(channel), None, None),
        Ruling::Subscribe { channel, user, .. } => ("subscribe", Some(user), Some(channel), since.as_ref(), None),
    };
    let number: i64 = on!(tx, conn => {
        sqlx::query_scalar("UPDATE counters SET value = value + 1 WHERE name = 'rulings' RETURNING value").fetch_one(conn).await
    })?;
    on!(tx, conn => sqlx::query(
        "INSERT INTO rulings (number, kind, user_id, channel, subject, until, created_at) VALUES ($1, $2, $3, $4, $5, $6, $7)",
    )
    .bind(number)
    .bind(kind)
    .bind(user)
    .bind(channel.map(ChannelName::as_str))
    .bind(subject)
    .bind(until)
    .bind(column(now))
    .execute(conn)
    .await
    .map(drop))?;
    Ok(number as u64)
}

/// The number of the newest ruling; 0 before the first.
///
/// # Errors
/// [`StoreError::Database`].
pub async fn newest(db: &Db) -> Result<u64, StoreError> {
    let number: i64 = read!(db, pool => sqlx::query_scalar("SELECT value FROM counters WHERE name = 'rulings'").fetch_one(pool).await)?;
    Ok(number as u64)
}

/// At most `limit` rulings after `number`, oldest first. If the first of them is not the next one, some were deleted.
///
/// # Errors
/// [`StoreError::Database`].
pub async fn after(db: &Db, number: u64, limit: u32) -> Result<Vec<Numbered>, StoreError> {
    const ROWS: &str = "SELECT number, kind, user_id, channel, subject, until FROM rulings WHERE number > $1 ORDER BY number LIMIT $2";
    let rows: Vec<Row> = read!(db, pool => sqlx::query_as(ROWS).bind(column(number)).bind(i64::from(limit)).fetch_all(pool).await)?;
    Ok(rows.into_iter().map(Numbered::from).collect())
}

/// The tokens that were called in and are not over at `now`, with their ends.
///
/// # Errors
/// [`StoreError::Database`].
pub async fn tokens(db: &Db, now: u64) -> Result<Vec<(String, u64)>, StoreError> {
    const ROWS: &str = "SELECT subject, until FROM rulings WHERE kind = 'token' AND until > $1 AND subject IS NOT NULL";
    let rows: Vec<(String, i64)> = read!(db, pool => sqlx::query_as(ROWS).bind(column(now)).fetch_all(pool).await)?;
    Ok(rows.into_iter().map(|(token, until)| (token, until as u64)).collect())
}

/// Deletes at most `limit` rulings from before `before`, but for tokens that are not over at `now`. Returns how many.
///
/// # Errors
/// [`StoreError`].
pub async fn trim(db: &Db, before: u64, now: u64, limit: u32) -> Result<u64, StoreError> {
    let mut tx = db.begin().await?;
    let rows = on!(&mut tx, conn => sqlx::query(
        "DELETE FROM rulings WHERE number IN (SELECT number FROM rulings
         WHERE created_at < $1 AND NOT (kind = 'token' AND until > $2) ORDER BY created_at LIMIT $3)",
    )
    .bind(column(before))
    .bind(column(now))
    .bind(i64::from(limit))
    .execute(conn)
    .await
    .map(|done| done.rows_affected()))?;
    tx.commit().await?;
    Ok(rows)
}
