//! The sweeper: what was deleted long ago, what no message refers to, and objects that no row names. In small batches, by one instance of a
//! cluster; nothing breaks if two do it.
//!
//! An object without a row is either on its way in, for [`LONGEST`] at most, or was left behind by an instance that was killed between the
//! two. Names are never given twice, so to delete an old one cannot meet an upload of the same content.

use std::{sync::Arc, time::Duration};

use futures_util::StreamExt;

use super::{Refused, Uploads, depot, intake::LONGEST};
use crate::{
    store::uploads::{self, Swept},
    tasks::Duty,
    telemetry::SweptKind,
};

/// Between two rounds.
const EVERY: Duration = Duration::from_secs(30);
/// Between two transactions.
const PAUSE: Duration = Duration::from_millis(20);
/// Uploads a transaction: a few milliseconds.
const ROWS: u32 = 100;
/// Objects that are looked up before the next are listed.
const OBJECTS: usize = 100;
/// An object without a row that is older than this is nobody's: twice as old as one on its way in can be.
const OLD: Duration = Duration::from_secs(2 * LONGEST.as_secs());

pub(super) async fn run(uploads: Arc<Uploads>, duty: Arc<Duty>) {
    let mut shard = 0;
    loop {
        tokio::time::sleep(EVERY).await;
        if !duty.is_ours() {
            continue;
        }
        if let Err(error) = uploads.sweep(shard).await {
            tracing::warn!(error = %super::cause(&error), "old uploads could not be deleted; trying again later");
        }
        shard = (shard + 1) % depot::SHARDS;
    }
}

impl Uploads {
    /// One round: everything that is due, and the objects of one shard.
    pub(super) async fn sweep(&self, shard: u16) -> Result<(), Refused> {
        let now = self.world.clock.now();
        let before = |age: Duration| now.saturating_sub(age.as_millis() as u64);
        let deleted = before(self.config.retention);
        while self.clear_away(uploads::sweep_deleted(&self.db, deleted, ROWS).await?, SweptKind::Deleted).await {
            tokio::time::sleep(PAUSE).await;
        }
        if let Some(after) = self.config.orphans_after {
            while self.clear_away(uploads::sweep_loose(&self.db, before(after), ROWS).await?, SweptKind::Orphan).await {
                tokio::time::sleep(PAUSE).await;
            }
        }
        self.sweep_objects(shard as u8, before(OLD)).await
    }

    /// Whether there may be more.
    async fn clear_away(&self, swept: Swept, kind: SweptKind) -> bool {
        self.metrics.uploads_swept.of(kind).increment(swept.uploads as u64);
        self.discard(swept.objects).await;
        swept.uploads == ROWS as usize
    }

    async fn sweep_objects(&self, shard: u8, old: u64) -> Result<(), Refused> {
        let mut found = self.depot.shard(shard, old).await?.ready_chunks(OBJECTS);
        while let Some(chunk) = found.next().await {
            let mut objects = Vec::new();
            for one in chunk {
                let one = one?;
                if one.time < old && is_ours(&one.object) {
                    objects.push(one.object);
                }
            }
            let unknown = uploads::unknown_objects(&self.db, objects).await?;
            self.metrics.uploads_swept.of(SweptKind::Object).increment(unknown.len() as u64);
            self.discard(unknown).await;
        }
        Ok(())
    }
}

/// Whether an object can be one of ours: whatever else is in the folder or the bucket stays.
fn is_ours(object: &str) -> bool {
    object
        .split_once('/')
        .is_some_and(|(shard, id)| hubbub_protocol::MessageId::parse(id).is_some() && id.ends_with(shard) && shard.len() == 2)
}
