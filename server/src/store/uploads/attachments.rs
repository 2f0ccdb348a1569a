//! Which messages refer to which uploads.

use std::collections::BTreeSet;

use hubbub_protocol::ChannelName;

use super::{
    super::{Db, StoreError, Tx, column, on, read},
    MAX_ATTACHMENTS, Row, Upload,
};

/// A message, and the user who attaches something to it.
#[derive(Debug, Clone, Copy)]
pub struct Attaching<'a> {
    /// The message's channel.
    pub channel: &'a str,
    /// Its seq.
    pub seq: u64,
    /// Who attaches: their own uploads, and those of the channel.
    pub user: &'a str,
}

/// What became of it.
#[derive(Debug, PartialEq, Eq)]
pub enum Attached {
    /// All are attached.
    Done,
    /// Nothing was attached, because of the upload at this index: it is not there, or neither the user's nor the channel's.
    Refused(usize),
    /// Nothing was attached: the message would have more than [`MAX_ATTACHMENTS`].
    TooMany,
}

/// Attaches uploads to a message, after those that it has; what is attached already stays where it is. All or nothing.
///
/// # Errors
/// [`StoreError`].
pub async fn attach(db: &Db, to: Attaching<'_>, ids: &[&str]) -> Result<Attached, StoreError> {
    let mut tx = db.begin().await?;
    let mut there: Vec<(i64, String)> = on!(&mut tx, conn => sqlx::query_as("SELECT place, upload_id FROM attachments WHERE channel = $1 AND seq = $2 ORDER BY place")
            .bind(to.channel)
            .bind(column(to.seq))
            .fetch_all(conn)
            .await)?;
    for (index, id) in ids.iter().enumerate() {
        if there.iter().any(|(_, other)| other == id) {
            continue;
        }
        if there.len() == MAX_ATTACHMENTS {
            return Ok(Attached::TooMany);
        }
        // Locks the upload: a sweeper that would delete it as loose looks again.
        let taken = on!(&mut tx, conn => sqlx::query(
            "UPDATE uploads SET loose_since = NULL WHERE id = $1 AND deleted_at IS NULL AND (owner = $2 OR channel = $3)",
        )
        .bind(id)
        .bind(to.user)
        .bind(to.channel)
        .execute(conn)
        .await
        .map(|done| done.rows_affected()))?;
        if taken == 0 {
            return Ok(Attached::Refused(index));
        }
        let place = there.last().map_or(0, |(place, _)| place + 1);
        on!(&mut tx, conn => sqlx::query("INSERT INTO attachments (channel, seq, place, upload_id) VALUES ($1, $2, $3, $4)")
            .bind(to.channel)
            .bind(column(to.seq))
            .bind(place)
            .bind(id)
            .execute(conn)
            .await
            .map(drop))?;
        there.push((place, (*id).to_owned()));
    }
    tx.commit().await?;
    Ok(Attached::Done)
}

/// Takes everything off a message. What no message refers to any more is loose from `now` on.
///
/// # Errors
/// [`StoreError`].
pub async fn detach(db: &Db, channel: &str, seq: u64, now: u64) -> Result<(), StoreError> {
    let mut tx = db.begin().await?;
    let ids: Vec<String> = on!(&mut tx, conn => sqlx::query_scalar(
        "DELETE FROM attachments WHERE channel = $1 AND seq = $2 RETURNING upload_id",
    )
    .bind(channel)
    .bind(column(seq))
    .fetch_all(conn)
    .await)?;
    loosen(&mut tx, ids, now).await?;
    tx.commit().await
}

/// Takes everything off the messages of `channel` whose seq is below `seq`, and off all of them if there is none: for whoever deletes them in
/// the same transaction. What no message refers to any more is loose from `now` on.
///
/// # Errors
/// [`StoreError::Database`].
pub(crate) async fn detach_below(tx: &mut Tx, channel: &ChannelName, seq: Option<u64>, now: u64) -> Result<(), StoreError> {
    let ids: Vec<String> = on!(&mut *tx, conn => sqlx::query_scalar(
        "DELETE FROM attachments WHERE channel = $1 AND seq < $2 RETURNING upload_id",
    )
    .bind(channel.as_str())
    .bind(seq.map_or(i64::MAX, column))
    .fetch_all(conn)
    .await)?;
    loosen(tx, ids, now).await
}

/// Takes every upload out of `channel`: what nothing refers to any more is swept in its time, and nobody reads it as a part of that channel.
///
/// # Errors
/// [`StoreError`].
pub(crate) async fn release(tx: &mut Tx, channel: &ChannelName, now: u64) -> Result<(), StoreError> {
    detach_below(tx, channel, None, now).await?;
    on!(tx, conn => sqlx::query("UPDATE uploads SET channel = NULL, version = version + 1 WHERE channel = $1")
        .bind(channel.as_str())
        .execute(conn)
        .await
        .map(drop))?;
    Ok(())
}

/// Those of the uploads that no message refers to any more are loose from `now` on.
async fn loosen(tx: &mut Tx, ids: Vec<String>, now: u64) -> Result<(), StoreError> {
    // In one order, whoever else detaches.
    for id in ids.into_iter().collect::<BTreeSet<_>>() {
        // In two statements: the second sees what whoever held the row has attached.
        on!(&mut *tx, conn => sqlx::query("UPDATE uploads SET version = version WHERE id = $1").bind(&id).execute(conn).await.map(drop))?;
        on!(&mut *tx, conn => sqlx::query(
            "UPDATE uploads SET loose_since = $2 WHERE id = $1 AND NOT EXISTS (SELECT 1 FROM attachments WHERE upload_id = $1)",
        )
        .bind(&id)
        .bind(column(now))
        .execute(conn)
        .await
        .map(drop))?;
    }
    Ok(())
}

/// What is attached to the messages of a channel from seq `first` to seq `last`, in order, without what is deleted: in one read for a page
/// of messages.
///
/// # Errors
/// [`StoreError::Database`].
pub async fn of_messages(db: &Db, channel: &str, first: u64, last: u64) -> Result<Vec<(u64, Upload)>, StoreError> {
    #[derive(sqlx::FromRow)]
    struct Attachment {
        seq: i64,
        #[sqlx(flatten)]
        upload: Row,
    }
    let rows: Vec<Attachment> = read!(db, pool => sqlx::query_as(
        "SELECT a.seq, u.id, u.owner, u.channel, u.name, u.media_type, u.size, u.sha256, u.version, u.created_at, u.deleted_at
         FROM attachments a JOIN uploads u ON u.id = a.upload_id
         WHERE a.channel = $1 AND a.seq BETWEEN $2 AND $3 AND u.deleted_at IS NULL ORDER BY a.seq, a.place",
    )
    .bind(channel)
    .bind(column(first))
    .bind(column(last))
    .fetch_all(pool)
    .await)?;
    Ok(rows.into_iter().map(|row| (row.seq as u64, row.upload.into())).collect())
}

/// The channels in which the upload is attached, at most `limit`.
///
/// # Errors
/// [`StoreError::Database`].
pub async fn channels(db: &Db, id: &str, limit: u32) -> Result<Vec<String>, StoreError> {
    Ok(read!(db, pool => sqlx::query_scalar("SELECT DISTINCT channel FROM attachments WHERE upload_id = $1 LIMIT $2")
        .bind(id)
        .bind(i64::from(limit))
        .fetch_all(pool)
        .await)?)
}
