//! What has had its time: rooms that were deleted long ago go for good, first their logs and then they themselves; and kept answers. In small
//! batches, by one instance of a cluster.

use std::{sync::Arc, time::Duration};

use super::{RoomError, Rooms};
use crate::{
    store::{channels, entries, idempotency, rooms},
    tasks::{Duty, Tasks},
};

/// For how long a deleted room can be restored.
pub const RETENTION: Duration = Duration::from_secs(30 * 86_400);
/// Between two rounds.
const EVERY: Duration = Duration::from_secs(60);
/// Between two transactions.
const PAUSE: Duration = Duration::from_millis(20);
/// Rooms of one round, entries of one transaction, and answers of one.
const ROOMS: u32 = 100;
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
        self.purge().await?;
        while idempotency::sweep(&self.db, self.world.clock.now(), ANSWERS).await? == u64::from(ANSWERS) {
            tokio::time::sleep(PAUSE).await;
        }
        Ok(())
    }

    /// Removes rooms whose time is over. Returns how many.
    ///
    /// # Errors
    /// [`RoomError::Store`].
    pub async fn purge(&self) -> Result<u64, RoomError> {
        let before = self.world.clock.now().saturating_sub(RETENTION.as_millis() as u64);
        let mut gone = 0;
        for channel in rooms::deleted_before(&self.db, before, ROOMS).await? {
            // Whoever takes the name next finds nothing of it.
            if let Some(head) = channels::head(&self.db, &channel).await? {
                let (past, now) = (head.cursor().seq + 1, self.world.clock.now());
                while entries::trim(&self.db, &channel, head.channel_id, past, now, ENTRIES).await? > 0 {
                    tokio::time::sleep(PAUSE).await;
                }
            }
            gone += u64::from(rooms::purge(&self.db, &channel, before).await?);
        }
        Ok(gone)
    }
}
