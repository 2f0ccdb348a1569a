//! Files: taken in, told about, handed out, and cleared away. [`Uploads`] keeps the promises; the bytes are in a `Depot`, what is known
//! of them in the store.
//!
//! Who may do something is the caller's decision (`access`), but for whose an upload is. No name, type or other word of a client is ever
//! part of a path. Nothing here holds a whole file in memory.

mod depot;
mod intake;
mod kind;
mod name;
mod outflow;
mod refused;
mod sweeper;
#[cfg(test)]
mod tests;

use std::{sync::Arc, time::Duration};

use hubbub_protocol::ChannelName;

use crate::{
    config::UploadsConfig,
    store::{
        Db,
        listing::Selection,
        uploads::{self, Attached, Attaching, Change, Changed, MAX_ATTACHMENTS, Upload},
    },
    tasks::{Duty, Tasks},
    telemetry::Metrics,
    world::World,
};
use depot::Depot;
use intake::Places;

pub use depot::DepotError;
pub use intake::{NewUpload, PlaceHeld};
pub use kind::is_shown_inline;
pub use name::{MAX_NAME, Name, NameError};
pub use outflow::Outflow;
pub use refused::Refused;

/// Channels of an upload that are looked at to decide whether somebody may read it.
const CHANNELS: u32 = 16;

/// The use cases of files. One an instance, shared.
#[derive(Debug)]
pub struct Uploads {
    config: UploadsConfig,
    db: Db,
    depot: Depot,
    places: Places,
    tasks: Tasks,
    metrics: Arc<Metrics>,
    world: World,
}

/// What [`Uploads`] is made of.
#[derive(Debug)]
pub struct Parts {
    /// The place of the bytes, and bounds.
    pub config: UploadsConfig,
    /// Where uploads are known.
    pub db: Db,
    /// Runs what has to be carried through.
    pub tasks: Tasks,
    /// Counts.
    pub metrics: Arc<Metrics>,
    /// Time and chance.
    pub world: World,
}

impl Uploads {
    /// Makes it ready; the place of the bytes is not asked anything yet.
    ///
    /// # Errors
    /// [`DepotError`]: what is configured cannot be a place.
    pub fn open(parts: Parts) -> Result<Arc<Self>, DepotError> {
        let Parts { config, db, tasks, metrics, world } = parts;
        let (depot, places) = (Depot::open(&config)?, Places::new(config.at_once));
        Ok(Arc::new(Self { config, db, depot, places, tasks, metrics, world }))
    }

    /// Sweeps, whenever it is this instance's duty, until the instance stops.
    pub fn sweep_when_due(self: &Arc<Self>, duty: Arc<Duty>) {
        self.tasks.spawn_until_stop(sweeper::run(self.clone(), duty));
    }

    /// Bytes of an upload, at most.
    pub fn max_size(&self) -> u64 {
        self.config.max_size
    }

    /// How long an upload may be silent.
    pub fn idle_timeout(&self) -> Duration {
        self.config.idle_timeout
    }

    /// The upload with this id, if it is not deleted.
    ///
    /// # Errors
    /// [`Refused::NotFound`], or the store's.
    pub async fn find(&self, id: &str) -> Result<Upload, Refused> {
        uploads::find(&self.db, id).await?.filter(|upload| upload.deleted_at.is_none()).ok_or(Refused::NotFound)
    }

    /// The upload with this id, if it is deleted and can be restored.
    ///
    /// # Errors
    /// [`Refused::NotFound`], or the store's.
    pub async fn find_deleted(&self, id: &str) -> Result<Upload, Refused> {
        uploads::find(&self.db, id).await?.filter(|upload| upload.deleted_at.is_some()).ok_or(Refused::NotFound)
    }

    /// The channels whose readers may read the upload: that of the upload, and those where it is attached.
    ///
    /// # Errors
    /// The store's.
    pub async fn channels(&self, upload: &Upload) -> Result<Vec<ChannelName>, Refused> {
        let attached = uploads::channels(&self.db, &upload.id, CHANNELS).await?;
        let names = upload.channel.iter().chain(attached.iter().filter(|name| Some(*name) != upload.channel.as_ref()));
        Ok(names.filter_map(|name| ChannelName::parse(name).ok()).collect())
    }

    /// The uploads that `selection` names.
    ///
    /// # Errors
    /// The store's.
    pub async fn list(&self, selection: &Selection) -> Result<Vec<Upload>, Refused> {
        Ok(uploads::list(&self.db, selection).await?)
    }

    /// Gives the upload another name, if its version is `expected` or none is.
    ///
    /// # Errors
    /// [`Refused::NotFound`], [`Refused::OtherVersion`], or the store's.
    pub async fn rename(&self, id: &str, expected: Option<u64>, name: &Name) -> Result<Upload, Refused> {
        self.change(id, expected, Change::Rename(name.as_str())).await
    }

    /// Deletes the upload; it can be restored for a while, and counts against the quota until then.
    ///
    /// # Errors
    /// [`Refused::NotFound`], [`Refused::OtherVersion`], or the store's.
    pub async fn delete(&self, id: &str, expected: Option<u64>) -> Result<Upload, Refused> {
        self.change(id, expected, Change::Delete).await
    }

    /// Takes a deletion back.
    ///
    /// # Errors
    /// [`Refused::NotFound`], [`Refused::OtherVersion`], or the store's.
    pub async fn restore(&self, id: &str, expected: Option<u64>) -> Result<Upload, Refused> {
        self.change(id, expected, Change::Restore).await
    }

    /// Deletes the upload for good, deleted before or not.
    ///
    /// # Errors
    /// [`Refused::NotFound`], or the store's.
    pub async fn purge(&self, id: &str) -> Result<(), Refused> {
        let swept = uploads::purge(&self.db, id).await?;
        self.discard(swept.objects).await;
        if swept.uploads == 0 { Err(Refused::NotFound) } else { Ok(()) }
    }

    async fn change(&self, id: &str, expected: Option<u64>, change: Change<'_>) -> Result<Upload, Refused> {
        match uploads::change(&self.db, id, expected, change, self.world.clock.now()).await? {
            Changed::Done(upload) => Ok(upload),
            Changed::Gone => Err(Refused::NotFound),
            Changed::OtherVersion => Err(Refused::OtherVersion),
        }
    }

    /// Attaches uploads to a message that is stored, after those that it has: `user`'s own, and those of the channel. All or nothing;
    /// again is the same as once.
    ///
    /// # Errors
    /// [`Refused::NotAttachable`], [`Refused::TooManyAttachments`], or the store's.
    pub async fn attach(&self, user: &str, channel: &ChannelName, seq: u64, ids: &[&str]) -> Result<(), Refused> {
        let to = Attaching { channel: channel.as_str(), seq, user };
        match uploads::attach(&self.db, to, ids).await? {
            Attached::Done => Ok(()),
            Attached::Refused(index) => Err(Refused::NotAttachable { index }),
            Attached::TooMany => Err(Refused::TooManyAttachments { max: MAX_ATTACHMENTS }),
        }
    }

    /// Takes everything off a message, as when it is deleted.
    ///
    /// # Errors
    /// The store's.
    pub async fn detach(&self, channel: &ChannelName, seq: u64) -> Result<(), Refused> {
        let now = self.world.clock.now();
        while uploads::detach(&self.db, channel.as_str(), seq..seq + 1, now, MAX_ATTACHMENTS as u32).await? > 0 {}
        Ok(())
    }

    /// What is attached to the messages from seq `first` to seq `last`, in order: one read for a page of messages.
    ///
    /// # Errors
    /// The store's.
    pub async fn attached(&self, channel: &ChannelName, first: u64, last: u64) -> Result<Vec<(u64, Upload)>, Refused> {
        Ok(uploads::of_messages(&self.db, channel.as_str(), first, last).await?)
    }

    /// Deletes objects that no row names. What cannot be deleted now a later sweep finds.
    async fn discard(&self, objects: Vec<String>) {
        for object in objects {
            if let Err(error) = self.depot.delete(&object).await {
                tracing::warn!(object, %error, "an object that nothing refers to could not be deleted; a later sweep tries again");
            }
        }
    }
}

/// An error and what caused it, in a line.
fn cause(error: &dyn std::error::Error) -> String {
    match error.source() {
        Some(source) => format!("{error}: {source}"),
        None => error.to_string(),
    }
}
