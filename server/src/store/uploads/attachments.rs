//! Which messages refer to which uploads.

use std::{collections::BTreeSet, ops::Range};

use super::{
    super::{Db, StoreError, column, on, read},
    MAX_ATTACHMENTS, Row, Upload, hold,
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
    hold(&mut tx, ids.iter().copied()).await?;
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

/// Takes uploads off the messages of `channel` whose seq is in `seqs`, `limit` at most, and tells how many. What no message refers to any more is
/// loose from `now` on.
///
/// # Errors
/// [`StoreError`].
pub async fn detach(db: &Db, channel: &str, seqs: Range<u64>, now: u64, limit: u32) -> Result<u64, StoreError> {
    let (first, end) = (column(seqs.start), column(seqs.end));
    let there: Vec<String> = read!(db, pool => sqlx::query_scalar(
        "SELECT upload_id FROM attachments WHERE channel = $1 AND seq >= $2 AND seq < $3 ORDER BY seq, place LIMIT $4",
    )
    .bind(channel)
    .bind(first)
    .bind(end)
    .bind(i64::from(limit))
    .fetch_all(pool)
    .await)?;
    let many = there.len() as u64;
    if many == 0 {
        return Ok(0);
    }
    let ids: BTreeSet<String> = there.into_iter().collect();
    let mut tx = db.begin().await?;
    hold(&mut tx, ids.iter().map(String::as_str)).await?;
    for id in ids {
        on!(&mut tx, conn => sqlx::query("DELETE FROM attachments WHERE channel = $1 AND seq >= $2 AND seq < $3 AND upload_id = $4")
            .bind(channel)
            .bind(first)
            .bind(end)
            .bind(&id)
            .execute(conn)
            .await
            .map(drop))?;
        on!(&mut tx, conn => sqlx::query(
            "UPDATE uploads SET loose_since = $2 WHERE id = $1 AND NOT EXISTS (SELECT 1 FROM attachments WHERE upload_id = $1)",
        )
        .bind(&id)
        .bind(column(now))
        .execute(conn)
        .await
        .map(drop))?;
    }
    tx.commit().await?;
    Ok(many)
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
