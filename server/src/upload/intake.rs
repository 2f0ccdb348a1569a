//! A file comes in: streamed to its place, measured, digested and judged on the way, and then either known as a whole or gone.

mod pace;
mod places;

use std::sync::Arc;

use aws_lc_rs::digest::{Context, SHA256};
use bytes::Bytes;
use futures_util::Stream;
use hubbub_protocol::ChannelName;
use metrics::Gauge;
use tokio::sync::oneshot;

use super::{
    Name, Refused, Uploads,
    depot::{Depot, Incoming},
    kind,
};
use crate::{
    store::uploads::{self, Put, Upload},
    telemetry::UploadResult,
};

pub(super) use pace::LONGEST;
use pace::Pace;
pub use places::PlaceHeld;
pub(super) use places::Places;

/// What is known of a file before it comes.
#[derive(Debug, Clone)]
pub struct NewUpload {
    /// Who uploads it.
    pub owner: Arc<str>,
    /// The channel whose readers may read it; the caller has decided that its owner may upload there.
    pub channel: Option<ChannelName>,
    /// What it is called.
    pub name: Name,
    /// The media type that its owner says it has.
    pub claimed: Option<String>,
    /// How many bytes it has, if that was said.
    pub declared: Option<u64>,
}

/// A file that has come, but is not known yet.
struct Arrived {
    new: NewUpload,
    incoming: Incoming,
    id: String,
    object: String,
    media_type: String,
    size: u64,
    sha256: String,
}

impl Uploads {
    /// A place for an upload of `owner`: for whoever has to read something before the file.
    ///
    /// # Errors
    /// [`Refused::Overloaded`].
    pub fn place(&self, owner: &Arc<str>) -> Result<PlaceHeld, Refused> {
        self.places.take(owner).ok_or_else(|| {
            self.metrics.uploads.of(UploadResult::Failed).increment(1);
            Refused::Overloaded
        })
    }

    /// Takes a file in. Nothing is left of one that is refused, also if the caller goes away before the end of `body`; after it the upload
    /// is carried through.
    ///
    /// # Errors
    /// [`Refused`].
    pub async fn take_in<E>(
        self: &Arc<Self>,
        new: NewUpload,
        body: impl Stream<Item = Result<Bytes, E>> + Send,
    ) -> Result<Upload, Refused> {
        let place = self.place(&new.owner)?;
        self.take_in_at(place, new, body).await
    }

    /// Takes a file in, as [`Uploads::take_in`] does, at a place that its owner has already.
    ///
    /// # Errors
    /// [`Refused`].
    pub async fn take_in_at<E>(
        self: &Arc<Self>,
        place: PlaceHeld,
        new: NewUpload,
        body: impl Stream<Item = Result<Bytes, E>> + Send,
    ) -> Result<Upload, Refused> {
        let under_way = UnderWay::begin(&self.metrics.uploads_under_way);
        let taken = self.try_take_in(place, new, body).await;
        drop(under_way);
        if let Err(refused) = &taken {
            let result = if refused.is_failure() { UploadResult::Failed } else { UploadResult::Refused };
            self.metrics.uploads.of(result).increment(1);
            if let Refused::Depot(_) | Refused::Unavailable(_) | Refused::Unknown(_) = refused {
                tracing::warn!(error = %super::cause(refused), "an upload could not be stored");
            }
        }
        taken
    }

    async fn try_take_in<E>(
        self: &Arc<Self>,
        place: PlaceHeld,
        new: NewUpload,
        body: impl Stream<Item = Result<Bytes, E>> + Send,
    ) -> Result<Upload, Refused> {
        let bound = self.bound(&new.owner).await?;
        bound.check(new.declared.unwrap_or_default())?;
        let id = self.world.id().to_string();
        let object = Depot::name_for(&id);
        let mut incoming = self.depot.begin(object.clone()).map_err(Refused::Depot)?;
        let mut digest = Context::new(&SHA256);
        let (mut size, mut head) = (0_u64, Vec::new());
        let (mut body, mut pace) = (std::pin::pin!(body), Pace::new(self.config.idle_timeout));
        while let Some(bytes) = pace.next(&mut body).await? {
            size += bytes.len() as u64;
            bound.check(size)?;
            digest.update(&bytes);
            head.extend_from_slice(&bytes[..bytes.len().min(kind::HEAD - head.len())]);
            incoming.write(&bytes).await.map_err(Refused::Depot)?;
        }
        let sha256 = hex(digest.finish().as_ref());
        let media_type = kind::judge(&head, new.claimed.as_deref());
        let arrived = Arrived { new, incoming, id, object, media_type, size, sha256 };
        // On its own: a client that goes away now would leave an object without a row.
        let (told, hear) = oneshot::channel();
        let uploads = self.clone();
        self.tasks.spawn(async move {
            // Nobody hears it who has gone away.
            let _ = told.send(uploads.settle(arrived).await);
            drop(place);
        });
        hear.await.unwrap_or(Err(Refused::Overloaded))
    }

    /// Makes the object whole, then known.
    async fn settle(&self, arrived: Arrived) -> Result<Upload, Refused> {
        let Arrived { new, incoming, id, object, media_type, size, sha256 } = arrived;
        incoming.finish().await.map_err(Refused::Depot)?;
        let upload = Upload {
            id,
            owner: new.owner.to_string(),
            channel: new.channel.map(|channel| channel.to_string()),
            name: new.name.to_string(),
            media_type,
            size,
            sha256,
            version: 1,
            created_at: self.world.clock.now(),
            deleted_at: None,
        };
        let put = uploads::put(&self.db, &upload, &object, self.config.user_quota).await;
        match put {
            Ok(Put::Stored) => {}
            // If it is not known whether the row is there, the object stays until a sweep has looked.
            Err(error @ crate::store::StoreError::CommitUnknown(_)) => return Err(error.into()),
            Ok(Put::Shared | Put::OverQuota) | Err(_) => self.discard(vec![object]).await,
        }
        let result = match put? {
            Put::Stored => UploadResult::Stored,
            Put::Shared => UploadResult::Shared,
            Put::OverQuota => return Err(self.over_quota()),
        };
        self.metrics.uploads.of(result).increment(1);
        self.metrics.upload_bytes.increment(size);
        Ok(upload)
    }

    /// How large the next upload of `owner` may be.
    async fn bound(&self, owner: &str) -> Result<Bound, Refused> {
        let max = self.config.max_size;
        let Some(quota) = self.config.user_quota else { return Ok(Bound { max, quota: u64::MAX, room: u64::MAX }) };
        Ok(Bound { max, quota, room: quota.saturating_sub(uploads::used(&self.db, owner).await?) })
    }

    fn over_quota(&self) -> Refused {
        Refused::OverQuota { quota: self.config.user_quota.unwrap_or(u64::MAX) }
    }
}

/// Counts an upload for as long as it comes in, however it ends.
struct UnderWay(Gauge);

impl UnderWay {
    fn begin(gauge: &Gauge) -> Self {
        gauge.increment(1.0);
        Self(gauge.clone())
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.0.decrement(1.0);
    }
}

/// How large an upload may be.
struct Bound {
    max: u64,
    quota: u64,
    /// What is left of the quota.
    room: u64,
}

impl Bound {
    fn check(&self, size: u64) -> Result<(), Refused> {
        match size {
            _ if size > self.max => Err(Refused::TooLarge { max: self.max }),
            _ if size > self.room => Err(Refused::OverQuota { quota: self.quota }),
            _ => Ok(()),
        }
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
