//! Edit and delete: entries that change a message of a durable channel's log. Whether they fit is decided where they are stored.

use std::sync::Arc;

use bytes::Bytes;
use hubbub_protocol::{ChannelName, Kind, MessageId};
use serde_json::json;

use super::{Channels, Refused, Ticket, publish::digest_of};
use crate::{
    access::By,
    auth::{Act, Identity},
    store::{
        amendments::{Amendment, Unfit},
        audit::Deed,
        channels,
        entries::NewEntry,
    },
    telemetry::ReadKind,
};

pub use crate::store::amendments::Authority;

/// MessagePack's nil: what a deletion says.
const NIL: Bytes = Bytes::from_static(&[0xc0]);
/// Begins what an amendment's digest is made of. A message's begins with the length of its key, which is lower.
const DIGEST: u8 = 0xff;

impl Channels {
    /// Accepts a new payload for a message of `identity`'s own, the one at `seq`, as long as it has one of the `expected` versions (`None` for
    /// any); the ticket tells the place of the edit itself. A retry with the same id gets the first answer, whatever the version is by then.
    ///
    /// # Errors
    /// [`Refused`]: nothing was stored. The ticket comes to [`Refused::NoMessage`], [`Refused::NotAuthor`], [`Refused::Changed`] or
    /// [`Refused::Deleted`] if the edit does not fit.
    pub async fn edit(
        &self,
        identity: &Identity,
        channel: &ChannelName,
        seq: u64,
        message_id: Option<MessageId>,
        payload: Bytes,
        expected: Option<Arc<[u64]>>,
    ) -> Result<Ticket, Refused> {
        if payload.len() > self.config.channel.payload {
            return Err(Refused::PayloadTooLarge);
        }
        let amendment = Amendment { kind: Kind::Edit, refers: seq, authority: Authority::Own, expected };
        self.amend(identity, channel, message_id, amendment, payload).await
    }

    /// Accepts the deletion of the message at `seq`: its payload and those of its edits are gone with the commit, and their entries stay. With
    /// [`Authority::Moderate`] it may be anybody's: the caller has asked whether `identity` may.
    ///
    /// # Errors
    /// As [`Channels::edit`].
    pub async fn delete(
        &self,
        identity: &Identity,
        channel: &ChannelName,
        seq: u64,
        message_id: Option<MessageId>,
        authority: Authority,
        expected: Option<Arc<[u64]>>,
    ) -> Result<Ticket, Refused> {
        let amendment = Amendment { kind: Kind::Delete, refers: seq, authority, expected };
        self.amend(identity, channel, message_id, amendment, NIL).await
    }

    /// Notes that a moderator has deleted somebody else's message.
    ///
    /// # Errors
    /// [`Refused::Unavailable`].
    pub async fn note_deletion(&self, by: By<'_>, channel: &ChannelName, seq: u64, publisher: &str) -> Result<(), Refused> {
        let (id, detail) = (seq.to_string(), json!({ "publisher": publisher }));
        let deed = Deed { action: "message.deleted", target: "message", id: &id, channel: Some(channel.as_str()), detail };
        let noted = async { self.access.conclude(self.db.begin().await?, by.trace, &[deed], &[]).await };
        noted.await.map_err(|error| {
            tracing::error!(%error, channel = channel.as_str(), seq, "a moderator's deletion could not be noted in the audit log");
            Refused::Unavailable
        })
    }

    async fn amend(
        &self,
        identity: &Identity,
        channel: &ChannelName,
        message_id: Option<MessageId>,
        amendment: Amendment,
        payload: Bytes,
    ) -> Result<Ticket, Refused> {
        if amendment.authority == Authority::Own {
            self.access.may(identity, Act::Publish, channel).await?;
        }
        if !self.namespace(channel).is_durable() {
            return Err(Refused::NotDurable);
        }
        self.metrics.store_reads.of(ReadKind::Head).increment(1);
        let head = channels::head(&self.db, channel).await.map_err(|_| Refused::Unavailable)?;
        // Beyond the head there is nothing to change; and a channel where nothing was published is not to be made by this.
        if head.is_none_or(|head| head.cursor().seq < amendment.refers) {
            return Err(Refused::NoMessage);
        }
        let message_id = match message_id {
            Some(id) => self.check_age(id, self.world.clock.now())?,
            None => self.world.id(),
        };
        let digest = digest_of(&[&[DIGEST], amendment.kind.as_str().as_bytes(), &amendment.refers.to_be_bytes(), &payload]);
        let (channel, publisher) = (channel.clone(), identity.user.clone());
        self.append(NewEntry { channel, publisher, message_id, amends: Some(amendment), key: None, payload, digest }).await
    }
}

impl From<Unfit> for Refused {
    fn from(unfit: Unfit) -> Self {
        match unfit {
            Unfit::NoMessage => Refused::NoMessage,
            Unfit::NotAuthor => Refused::NotAuthor,
            Unfit::Changed => Refused::Changed,
            Unfit::Deleted => Refused::Deleted,
        }
    }
}
