//! Rooms and memberships as they were last read, and whether that still holds.
//!
//! Each channel, and each pair of channel and user, has a *stamp*, shared with those that happen to have the same place in the table. A
//! ruling moves the stamp first; whoever reads takes the stamp first and the row second, and what is kept counts only while its stamp has
//! not moved. So a row that was read before a ruling and is kept after it counts for nobody else.

use std::{
    future::Future,
    hash::BuildHasher,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::SeqCst},
    },
    time::Duration,
};

use foldhash::quality::FixedState;
use hubbub_protocol::ChannelName;
use moka::future::Cache;

use super::Denied;
use crate::{
    auth::policy::{Membership, Room},
    store::{
        Db, StoreError,
        members::{self, Joined},
        rooms,
    },
};

/// Rooms that are kept, at most: about 200 bytes each.
const ROOMS: u64 = 50_000;
/// Memberships that are kept, at most: about 250 bytes each.
const MEMBERS: u64 = 200_000;
/// Stamps: rulings of others cost a read in so many.
const STAMPS: usize = 4_096;
/// How long a read may take.
const LIMIT: Duration = Duration::from_secs(5);

/// A row, and its place's stamp before it was read.
#[derive(Debug, Clone, Copy)]
struct Stamped<T> {
    stamp: u64,
    row: Option<T>,
}

/// All stamps, as they were at one time.
pub(super) struct Stamps(Box<[u64]>);

/// What is kept.
#[derive(Debug)]
pub(super) struct Keep {
    rooms: Cache<ChannelName, Stamped<Room>, FixedState>,
    members: Cache<(ChannelName, Arc<str>), Stamped<Membership>, FixedState>,
    stamps: Box<[AtomicU64]>,
    hash: FixedState,
}

impl Keep {
    pub(super) fn new(seed: u64) -> Self {
        let hash = FixedState::with_seed(seed);
        Self {
            rooms: Cache::builder().max_capacity(ROOMS).build_with_hasher(hash.clone()),
            members: Cache::builder().max_capacity(MEMBERS).build_with_hasher(hash.clone()),
            stamps: (0..STAMPS).map(|_| AtomicU64::new(0)).collect(),
            hash,
        }
    }

    /// The room of `channel`.
    pub(super) async fn room(&self, db: &Db, channel: &ChannelName) -> Result<Option<Room>, Denied> {
        let stamp = self.stamp(channel).load(SeqCst);
        if let Some(kept) = self.rooms.get(channel).await.filter(|kept| kept.stamp == stamp) {
            return Ok(kept.row);
        }
        // Boxed: whoever publishes should not hold room for it.
        let row = read(Box::pin(rooms::find(db, channel))).await?.map(|room| room.policy());
        self.rooms.insert(channel.clone(), Stamped { stamp, row }).await;
        Ok(row)
    }

    /// The membership of `user` in `channel`.
    pub(super) async fn membership(&self, db: &Db, channel: &ChannelName, user: &Arc<str>) -> Result<Option<Membership>, Denied> {
        let key = (channel.clone(), user.clone());
        let stamp = self.stamp(&key).load(SeqCst);
        if let Some(kept) = self.members.get(&key).await.filter(|kept| kept.stamp == stamp) {
            return Ok(kept.row);
        }
        let row = read(Box::pin(members::find(db, channel, user))).await?.map(|member| member.policy());
        self.members.insert(key, Stamped { stamp, row }).await;
        Ok(row)
    }

    /// The stamps as they are now: what is read after this may be kept under them.
    pub(super) fn stamps(&self) -> Stamps {
        Stamps(self.stamps.iter().map(|stamp| stamp.load(SeqCst)).collect())
    }

    /// Keeps what was read for a whole list at once, under the stamps from before.
    pub(super) async fn take(&self, user: &Arc<str>, joined: &Joined, before: &Stamps) {
        let key = (joined.channel.clone(), user.clone());
        let room = Stamped { stamp: before.0[self.place(&joined.channel)], row: Some(joined.room) };
        let membership = Stamped { stamp: before.0[self.place(&key)], row: Some(joined.membership) };
        self.rooms.insert(joined.channel.clone(), room).await;
        self.members.insert(key, membership).await;
    }

    /// A room has changed.
    pub(super) fn forget_room(&self, channel: &ChannelName) {
        self.stamp(channel).fetch_add(1, SeqCst);
    }

    /// A membership has changed.
    pub(super) fn forget_member(&self, channel: &ChannelName, user: &str) {
        self.stamp(&(channel.clone(), Arc::<str>::from(user))).fetch_add(1, SeqCst);
    }

    /// Everything may have changed.
    pub(super) fn forget(&self) {
        for stamp in &self.stamps {
            stamp.fetch_add(1, SeqCst);
        }
    }

    fn stamp(&self, key: &impl std::hash::Hash) -> &AtomicU64 {
        &self.stamps[self.place(key)]
    }

    fn place(&self, key: &impl std::hash::Hash) -> usize {
        self.hash.hash_one(key) as usize % self.stamps.len()
    }
}

pub(super) async fn read<T>(row: impl Future<Output = Result<T, StoreError>>) -> Result<T, Denied> {
    match tokio::time::timeout(LIMIT, row).await {
        Ok(Ok(row)) => Ok(row),
        Ok(Err(error)) => {
            tracing::warn!(%error, "rights could not be read");
            Err(Denied::Unavailable)
        }
        Err(_) => Err(Denied::Unavailable),
    }
}
