//! What handles say to the task, and in which order it listens.

use std::{future::pending, sync::Arc};

use hubbub_protocol::{
    ChannelName,
    frame::{HistoryPage, PresencePage, Published},
};
use tokio::{
    sync::{OwnedSemaphorePermit, mpsc, oneshot},
    time::Instant,
};

use crate::{Error, HistoryOptions, Message, PresenceOptions, SubscribeOptions, buffer::Buffer, requests::Ask};

/// Requests waiting for the task, in either queue.
pub(crate) const QUEUE: usize = 256;

/// An answer to a caller, who may be gone.
pub(crate) type Answer<T> = oneshot::Sender<Result<T, Error>>;

/// A publish as its caller handed it over.
#[derive(Debug)]
pub(crate) struct NewPublish {
    pub message: Message,
    pub deadline: Instant,
    pub answer: Answer<Published>,
}

/// A subscription as its caller asked for it.
#[derive(Debug)]
pub(crate) struct NewSubscription {
    pub channel: ChannelName,
    pub generation: u64,
    pub options: SubscribeOptions,
    pub buffer: Arc<Buffer>,
    pub answer: Answer<()>,
}

/// A `history`, `presence` or `ping`; holds its caller's place among the bounded outstanding ones.
#[derive(Debug)]
pub(crate) struct NewRequest {
    pub ask: Ask,
    pub place: OwnedSemaphorePermit,
}

/// What a handle asks for.
#[derive(Debug)]
pub(crate) enum Control {
    Subscribe(NewSubscription),
    Leave { channel: ChannelName, generation: u64, done: oneshot::Sender<()> },
    Request(NewRequest),
    Close,
}

/// What a subscription says without waiting. The queue is unbounded because its content is not: a subscription says
/// `Dropped` once, and `Drained` once for each time the task found it full.
#[derive(Debug)]
pub(crate) enum Note {
    Dropped { channel: ChannelName, generation: u64 },
    Drained { channel: ChannelName, generation: u64 },
}

/// A `history` and who asked for it.
#[derive(Debug)]
pub(crate) struct HistoryAsk {
    pub channel: ChannelName,
    pub options: HistoryOptions,
    pub answer: Answer<HistoryPage>,
}

/// A `presence` and who asked for it.
#[derive(Debug)]
pub(crate) struct PresenceAsk {
    pub channel: ChannelName,
    pub options: PresenceOptions,
    pub answer: Answer<PresencePage>,
}

/// The next thing that a handle said.
#[derive(Debug)]
pub(crate) enum Received {
    Note(Note),
    Control(Control),
    /// At least one; they are taken from [`Inbox::published`].
    Publishes,
    /// No handle is left.
    Abandoned,
}

/// The task's ears.
#[derive(Debug)]
pub(crate) struct Inbox {
    pub notes: mpsc::UnboundedReceiver<Note>,
    pub control: mpsc::Receiver<Control>,
    pub publishes: mpsc::Receiver<NewPublish>,
    /// Publishes received, in order.
    pub published: Vec<NewPublish>,
}

impl Inbox {
    /// Waits for the next thing said; takes at most `room` publishes. Nothing is lost if the future is dropped.
    pub async fn next(&mut self, room: usize) -> Received {
        let Self { notes, control, publishes, published } = self;
        tokio::select! {
            biased;
            Some(note) = notes.recv() => Received::Note(note),
            control = control.recv() => control.map_or(Received::Abandoned, Received::Control),
            () = receive(publishes, published, room.min(QUEUE)) => Received::Publishes,
        }
    }
}

/// Takes what is there, once there is anything and room for it.
async fn receive(publishes: &mut mpsc::Receiver<NewPublish>, published: &mut Vec<NewPublish>, room: usize) {
    // Without senders `control` has ended too, and says so.
    if room == 0 || publishes.recv_many(published, room).await == 0 {
        pending::<()>().await;
    }
}
