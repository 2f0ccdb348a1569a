//! Publish: from a message to its place in the log, or straight to the lanes if the channel is ephemeral.

use std::{
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use aws_lc_rs::digest::{Context as Digest, SHA256};
use bytes::Bytes;
use hubbub_protocol::{ChannelName, Entry, Key, Kind, MessageId, frame::Published, limits};
use tokio::sync::{mpsc::error::SendTimeoutError, oneshot};

use super::{Channels, Refused, append::Pending};
use crate::{
    auth::{Act, Identity},
    hub::Delivery,
    store::entries::NewEntry,
    telemetry::PublishResult,
};

/// How long a publish waits for room in the queue.
const PATIENCE: Duration = Duration::from_secs(2);

/// A message that somebody wants to publish.
#[derive(Debug, Clone)]
pub struct NewMessage {
    /// Where.
    pub channel: ChannelName,
    /// Makes a retry safe; made here if absent.
    pub message_id: Option<MessageId>,
    /// What it is about.
    pub key: Option<Key>,
    /// One checked MessagePack value.
    pub payload: Bytes,
}

/// A publish that was accepted, and what it comes to.
#[derive(Debug)]
pub enum Ticket {
    /// Done: the channel is ephemeral.
    Done(Published),
    /// Stored with the next commit.
    Waiting(oneshot::Receiver<Result<Stored, Refused>>),
}

/// A publish that was accepted, and the message that it made.
#[derive(Debug, Clone)]
pub struct Stored {
    /// What the publisher is told.
    pub published: Published,
    /// What is stored; `None` if nothing is, or was before.
    pub entry: Option<Arc<Entry>>,
}

impl Future for Ticket {
    type Output = Result<Published, Refused>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match &mut *self {
            Ticket::Done(published) => Poll::Ready(Ok(published.clone())),
            Ticket::Waiting(answer) => Pin::new(answer).poll(cx).map(|answer| Ok(settled(answer)?.published)),
        }
    }
}

impl Ticket {
    /// The same with the entry, for whoever shows it.
    ///
    /// # Errors
    /// [`Refused`].
    pub async fn stored(self) -> Result<Stored, Refused> {
        match self {
            Ticket::Done(published) => Ok(Stored { published, entry: None }),
            Ticket::Waiting(answer) => settled(answer.await),
        }
    }
}

/// The writer may be gone with the answer: it may have committed.
fn settled(answer: Result<Result<Stored, Refused>, oneshot::error::RecvError>) -> Result<Stored, Refused> {
    answer.unwrap_or(Err(Refused::Unknown))
}

impl Channels {
    /// Accepts `message` from `identity`; the ticket tells when it is stored. Waits only while the queue is full.
    ///
    /// # Errors
    /// [`Refused`]: nothing was stored.
    pub async fn publish(&self, identity: &Identity, message: NewMessage) -> Result<Ticket, Refused> {
        self.access.may(identity, Act::Publish, &message.channel).await?;
        if message.payload.len() > self.config.channel.payload {
            return Err(Refused::PayloadTooLarge);
        }
        let now = self.world.clock.now();
        let message_id = match message.message_id {
            Some(id) => self.check_age(id, now)?,
            None => self.world.id(),
        };
        if self.namespace(&message.channel).is_durable() {
            self.publish_durable(identity, message, message_id).await
        } else {
            Ok(Ticket::Done(self.publish_ephemeral(identity, message, message_id, now).await))
        }
    }

    pub(super) fn check_age(&self, id: MessageId, now: u64) -> Result<MessageId, Refused> {
        if id.unix_ms() + (self.config.channel.dedup_window.as_millis() as u64) < now {
            return Err(Refused::TooOld);
        }
        if id.unix_ms() > now + limits::MAX_ID_AHEAD_MS {
            return Err(Refused::TooNew);
        }
        Ok(id)
    }

    async fn publish_durable(&self, identity: &Identity, message: NewMessage, message_id: MessageId) -> Result<Ticket, Refused> {
        let digest = digest(&message);
        let NewMessage { channel, key, payload, .. } = message;
        self.append(NewEntry { channel, publisher: identity.user.clone(), message_id, amends: None, key, payload, digest }).await
    }

    /// Puts `entry` into its writer's queue.
    pub(super) async fn append(&self, entry: NewEntry) -> Result<Ticket, Refused> {
        let (reply, answer) = oneshot::channel();
        match self.queue(&entry.channel).send_timeout(Pending { entry, reply }, PATIENCE).await {
            Ok(()) => Ok(Ticket::Waiting(answer)),
            Err(SendTimeoutError::Timeout(_)) => Err(Refused::Overloaded),
            Err(SendTimeoutError::Closed(_)) => Err(Refused::Draining),
        }
    }

    async fn publish_ephemeral(&self, identity: &Identity, message: NewMessage, message_id: MessageId, now: u64) -> Published {
        let NewMessage { channel, key, payload, .. } = message;
        let publisher = identity.user.clone();
        let entry = Entry {
            channel: channel.clone(),
            place: None,
            kind: Kind::Message,
            refers: None,
            message_id: Some(message_id),
            publisher,
            key,
            time: now,
            payload,
        };
        let entry = Arc::new(entry);
        self.broker.publish(std::slice::from_ref(&entry));
        self.feeds.pass(&channel, Delivery::new(entry)).await;
        self.metrics.publishes.of(PublishResult::Ephemeral).increment(1);
        Published { message_id, epoch: None, seq: None, time: now, duplicate: false }
    }
}

/// Tells one message from another by key and payload.
pub(crate) fn digest(message: &NewMessage) -> i64 {
    let key = message.key.as_ref().map_or("", Key::as_str);
    digest_of(&[&[key.len() as u8], key.as_bytes(), &message.payload])
}

/// Tells one content from another: 64 bits of SHA-256. It guards a publisher against its own mistake, not against an attacker, who could only
/// deceive himself.
pub(super) fn digest_of(parts: &[&[u8]]) -> i64 {
    let mut digest = Digest::new(&SHA256);
    parts.iter().for_each(|part| digest.update(part));
    let mut first = [0; 8];
    first.copy_from_slice(&digest.finish().as_ref()[..8]);
    i64::from_be_bytes(first)
}
