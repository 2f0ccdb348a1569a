//! Deleted rooms whose time is over go for good: first the log, then the room with its members and bans.

use std::time::Duration;

use super::{RoomError, Rooms};
use crate::store::{channels, entries, rooms};

/// For how long a deleted room can be restored.
pub const RETENTION: Duration = Duration::from_secs(30 * 86_400);
/// Rooms that go at once.
const BATCH: u32 = 100;
/// Entries that go in one transaction.
const ENTRIES: u32 = 500;

impl Rooms {
    /// Removes rooms whose time is over. Returns how many.
    ///
    /// # Errors
    /// [`RoomError::Store`].
    pub async fn purge(&self) -> Result<u64, RoomError> {
        let before = self.world.clock.now().saturating_sub(RETENTION.as_millis() as u64);
        let mut gone = 0;
        for channel in rooms::deleted_before(&self.db, before, BATCH).await? {
            // Whoever takes the name next finds nothing of it.
            if let Some(head) = channels::head(&self.db, &channel).await? {
                while entries::trim(&self.db, head.channel_id, head.cursor().seq + 1, ENTRIES).await? > 0 {}
            }
            gone += u64::from(rooms::purge(&self.db, &channel, before).await?);
        }
        Ok(gone)
    }
}
