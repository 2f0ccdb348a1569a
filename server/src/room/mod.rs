//! The use cases of channels that somebody makes: making, changing and deleting them, who is in them and as what, who is kept out.
//!
//! REST calls [`Rooms`]. Each change asks `access`, is one transaction with its ruling and its line in the audit log, and counts on this
//! instance when the call returns.

mod bans;
mod begin;
mod direct;
mod janitor;
mod making;
mod members;
mod own;
#[cfg(test)]
mod tests;
mod unsubscribe;

use std::sync::Arc;

use hubbub_protocol::ChannelName;
use serde_json::Value;
use thiserror::Error;

use crate::{
    access::{Access, By},
    auth::{Denied, policy::Visibility},
    config::Config,
    store::{Db, StoreError, Tx, audit::Deed, rooms::Room, rulings::Ruling},
    world::World,
};

pub use bans::NewBan;
pub use begin::NewSubscription;
pub use direct::{personal_name, personal_of};
pub use members::Standing;
pub use own::Beginning;

/// The use cases, and what they work with. One an instance, shared.
#[derive(Debug)]
pub struct Rooms {
    /// Where rooms are kept.
    pub db: Db,
    /// Who may what.
    pub access: Arc<Access>,
    /// Namespaces.
    pub config: Arc<Config>,
    /// Time and ids.
    pub world: World,
}

/// What one gives a new room, or puts in the place of what an old one says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Said {
    /// Who may know of it.
    pub visibility: Visibility,
    /// What it is called.
    pub title: String,
    /// What it is about.
    pub topic: String,
    /// Its own JSON object.
    pub data: Value,
}

/// A version that is to be changed, as whoever asks knows it.
pub type IsKnown<'a> = &'a (dyn Fn(u64) -> bool + Sync);

/// Why nothing was done.
#[derive(Debug, Error)]
#[allow(missing_docs)] // The messages say it.
pub enum RoomError {
    #[error(transparent)]
    Denied(#[from] Denied),
    #[error("channels of this namespace are not made: they are there when they are used")]
    Implicit,
    #[error("channels of this namespace are made by the server: direct messages by POST /v1/direct-channels, personal ones by themselves")]
    Reserved,
    #[error("there is a channel of this name already, perhaps a deleted one")]
    Taken,
    #[error("there is no such member")]
    NoMember,
    #[error("there is no such ban")]
    NoBan,
    #[error("there is no such user: {0}")]
    NoUser(String),
    #[error("the user is a member already")]
    IsMember,
    #[error("the user is banned from this channel: lift the ban first")]
    IsBanned,
    #[error("it has changed meanwhile: read it again, and decide anew")]
    Changed,
    #[error("a channel keeps an owner: make somebody else one first, or delete the channel")]
    LastOwner,
    #[error("your own role has to be above the member's, and above the one that you give")]
    Rank,
    #[error("direct messages are between 2 and {0} users, you among them")]
    Participants(usize),
    #[error("who takes part in direct messages does not change: find or make another channel")]
    Fixed,
    #[error("the store does not answer: {0}")]
    Store(#[from] StoreError),
}

impl Rooms {
    /// Writes what was done and whom it concerns, commits, and waits until it counts here.
    async fn conclude(&self, tx: Tx, by: By<'_>, deed: Deed<'_>, rulings: &[Ruling]) -> Result<(), RoomError> {
        Ok(self.access.conclude(tx, by.trace, &[deed], rulings).await?)
    }

    /// The room, held, if it is there and not deleted.
    async fn hold(&self, tx: &mut Tx, channel: &ChannelName) -> Result<Room, RoomError> {
        let room = crate::store::rooms::hold(tx, channel).await?;
        room.filter(|room| room.deleted_at.is_none()).ok_or(RoomError::Denied(Denied::NotFound))
    }
}
