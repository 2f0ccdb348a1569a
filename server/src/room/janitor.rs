//! What has had its time: rooms that were deleted long ago go for good, first their logs and then they themselves; and kept answers. In small
//! batches, by one instance of a cluster.

use std::{sync::Arc, time::Duration};

use hubbub_protocol::ChannelName;

use super::{RoomError, Rooms};
use crate::{
    store::{audit::Trace, channels, entries, idempotency, rooms, rulings::Ruling, uploads},
    tasks::{Duty, Tasks},
};

/// For how long a deleted room can be restored.
pub const RETENTION: Duration = Duration::from_secs(30 * 86_400);
/// How much longer it is there at least: clocks differ, and what is cleared away half cannot be restored.
pub const GRACE: Duration = Duration::from_secs(3_600);
/// Between two rounds.
const EVERY: Duration = Duration::from_secs(60);
/// Between two transactions.
const PAUSE: Duration = Duration::from_millis(20);
/// Rooms of one round; entries, files, people and answers of one transaction.
const ROOMS: u32 = 100;
const FILES: u32 = 50;
const PEOPLE: u32 = 200;
const ENTRIES: u32 = 500;
const ANSWERS: u32 = 200;

impl Rooms {
    /// Clears away when this is the instance that does, until it stops.
    pub fn sweep_when_due(self: &Arc<Self>, duty: Arc<Duty>, tasks: &Tasks) {
        let rooms = self.clone();
        tasks.spawn_until_stop(async move {
            loop {
                tokio::time::sleep(EVERY).await;
                if duty.is_ours()
                    && let Err(error) = rooms.sweep().await
                {
                    tracing::warn!(%error, "old rooms and answers could not be deleted; trying again later");
                }
            }
        });
    }

    async fn sweep(&self) -> Result<(), RoomError> {
        while idempotency::sweep(&self.db, self.world.clock.now(), ANSWERS).await? == u64::from(ANSWERS) {
            tokio::time::sleep(PAUSE).await;
        }
        self.purge().await.map(drop)
    }

    /// Removes rooms whose time is over. Returns how many. One that cannot be removed now does not keep the others.
    ///
    /// Whoever takes the name next finds nothing of it: no entry, no member or ban, in no instance's memory either, and no file.
    ///
    /// # Errors
    /// [`RoomError::Store`].
    pub async fn purge(&self) -> Result<u64, RoomError> {
        let before = self.world.clock.now().saturating_sub((RETENTION + GRACE).as_millis() as u64);
        let mut gone = 0;
        for channel in rooms::deleted_before(&self.db, before, ROOMS).await? {
            match self.purge_room(&channel, before).await {
                Ok(is_gone) => gone += u64::from(is_gone),
                Err(error) => tracing::warn!(channel = channel.as_str(), %error, "an old room could not be deleted; trying again later"),
            }
        }
        Ok(gone)
    }

    async fn purge_room(&self, channel: &ChannelName, before: u64) -> Result<bool, RoomError> {
        loop {
            match self.clear(channel, before).await? {
                Cleared::Restored => return Ok(false),
                Cleared::Some => tokio::time::sleep(PAUSE).await,
                Cleared::All => break,
            }
        }
        let now = self.world.clock.now();
        while uploads::detach(&self.db, channel.as_str(), 0..u64::MAX, now, FILES).await? > 0 {
            tokio::time::sleep(PAUSE).await;
        }
        if let Some(head) = channels::head(&self.db, channel).await? {
            while entries::trim(&self.db, head.channel_id, head.cursor().seq + 1, ENTRIES).await? > 0 {
                tokio::time::sleep(PAUSE).await;
            }
        }
        while uploads::release(&self.db, channel.as_str(), FILES).await? > 0 {
            tokio::time::sleep(PAUSE).await;
        }
        let mut tx = self.db.begin().await?;
        let is_gone = rooms::purge(&mut tx, channel, before).await?;
        if is_gone {
            self.access.conclude(tx, &Trace::operator(), &[], &[Ruling::Channel(channel.clone())]).await?;
        }
        Ok(is_gone)
    }

    /// Removes some of who was in `channel`, or kept out of it, as long as it was deleted before `before`.
    async fn clear(&self, channel: &ChannelName, before: u64) -> Result<Cleared, RoomError> {
        let mut tx = self.db.begin().await?;
        let deleted_at = rooms::hold(&mut tx, channel).await?.and_then(|room| room.deleted_at);
        if deleted_at.is_none_or(|at| at >= before) {
            return Ok(Cleared::Restored);
        }
        let members = rooms::clear_members(&mut tx, channel, PEOPLE).await?;
        let banned = rooms::clear_bans(&mut tx, channel, PEOPLE).await?;
        let members = members.into_iter().map(|user| Ruling::Member { channel: channel.clone(), user });
        let banned = banned.into_iter().map(|user| Ruling::Ban { channel: channel.clone(), user });
        let rulings: Vec<_> = members.chain(banned).collect();
        self.access.conclude(tx, &Trace::operator(), &[], &rulings).await?;
        Ok(if rulings.is_empty() { Cleared::All } else { Cleared::Some })
    }
}

/// How far clearing has come.
enum Cleared {
    /// Nobody is left.
    All,
    /// There may be more.
    Some,
    /// It is not deleted any more, or not for long: nothing was removed.
    Restored,
}
