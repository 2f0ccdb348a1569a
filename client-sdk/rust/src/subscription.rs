//! The consumer's side of a subscription: a stream of events.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use futures_util::Stream;
use hubbub_protocol::{
    ChannelName, Cursor, Entry,
    frame::{ErrorBody, PresenceChange, PresenceState, Skip, Slow, Subscribed},
};
use tokio::sync::oneshot;

use crate::{
    Client,
    buffer::Buffer,
    inbox::{Control, Note},
    presence,
};

/// From where to listen, what happens to a reader that is too slow, and whether to see who else listens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct SubscribeOptions {
    /// Resume after this cursor; `Cursor { epoch: 0, seq: 0 }` asks for everything from the first entry. `None`: from now on.
    pub since: Option<Cursor>,
    /// The server's policy for a connection that reads too slowly; the namespace's if `None`.
    pub slow: Option<Slow>,
    /// See members come and go: [`Event::Presence`] and [`Subscription::presence`]. Takes a grant for `presence`, and a
    /// namespace that keeps it: otherwise the subscription is refused.
    pub presence: bool,
}

/// What a subscription yields.
#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    /// First of all, and again after every resubscribe (a reconnect, a full buffer that was drained, a gap): whether what
    /// was missed follows, and if not, why. After `reason: epoch` discard what you hold of the channel.
    Subscribed(Subscribed),
    /// An entry. In a durable channel in ascending seq, without hole or duplicate.
    Entry(Entry),
    /// Entries that are not sent. In an ephemeral channel `range` is `None`; the client makes one itself, with reason
    /// `dropped`, for the entries that did not fit this subscription's buffer.
    Skip(Skip),
    /// Members came and went, if [`SubscribeOptions::presence`] asked for it. [`Subscription::presence`] has them all.
    Presence(PresenceChange),
    /// The server ended the subscription for good. The last event.
    Ended(ErrorBody),
}

/// A subscription that survives reconnects. Dropping it unsubscribes.
///
/// The stream ends after [`Event::Ended`], or without one when the client itself has ended: [`Client::state`] says why.
/// A consumer may take its time: what its buffer cannot hold is fetched again from its cursor (durable channels), or
/// counted and skipped (ephemeral ones); nothing else of the client waits for it.
///
/// ```no_run
/// # use hubbub_client::{Client, ChannelName, Cursor, Event, StreamExt, SubscribeOptions};
/// # async fn example(client: Client) -> Result<(), Box<dyn std::error::Error>> {
/// let everything = SubscribeOptions { since: Some(Cursor::default()), ..Default::default() };
/// let mut events = client.subscribe(ChannelName::parse("room:42")?, everything).await?;
/// while let Some(event) = events.next().await {
///     match event {
///         Event::Subscribed(how) => println!("whole: {:?}", how.recovered),
///         Event::Entry(entry) => println!("{entry:?}, resume after {:?}", events.cursor()),
///         Event::Skip(skip) => println!("{} entries are not sent", skip.count),
///         Event::Presence(change) => println!("{} members, new: {:?}", change.count, change.joined),
///         Event::Ended(why) => println!("over: {}", why.message),
///     }
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Subscription {
    client: Client,
    channel: ChannelName,
    generation: u64,
    buffer: Arc<Buffer>,
    cursor: Option<Cursor>,
    presence: Option<PresenceState>,
    left: bool,
}

impl Subscription {
    pub(crate) fn new(client: Client, channel: ChannelName, generation: u64, buffer: Arc<Buffer>, since: Option<Cursor>) -> Self {
        Self { client, channel, generation, buffer, cursor: since, presence: None, left: false }
    }

    /// The channel listened to.
    pub fn channel(&self) -> &ChannelName {
        &self.channel
    }

    /// How far this stream has been read: keep it to resume after a restart. `None` in an ephemeral channel, and before
    /// the first event unless the subscription began with one.
    pub fn cursor(&self) -> Option<Cursor> {
        self.cursor
    }

    /// Who listens, as far as this stream has been read: how many members there are and, up to 1,000 of them, who, in byte
    /// order of their users. `connections` is what it was when the member was told of. While there is no connection it stays
    /// as it was. `None` unless [`SubscribeOptions::presence`] asked for it, and before the first event. Above 1,000 members
    /// page with [`Client::presence`].
    pub fn presence(&self) -> Option<&PresenceState> {
        self.presence.as_ref()
    }

    /// Unsubscribes and waits until the server has confirmed it or the connection is gone. Dropping the subscription does
    /// the same without waiting.
    pub async fn unsubscribe(mut self) {
        let (done, confirmed) = oneshot::channel();
        self.left = true;
        self.buffer.abandon();
        let leave = Control::Leave { channel: self.channel.clone(), generation: self.generation, done };
        if self.client.control(leave).await.is_ok() {
            // An error is the connection's end, or the client's: nothing listens any more either way.
            let _ = confirmed.await;
        }
    }
}

impl Stream for Subscription {
    type Item = Event;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Event>> {
        let Some(taken) = std::task::ready!(self.buffer.poll_take(cx)) else { return Poll::Ready(None) };
        self.cursor = taken.cursor;
        match &taken.event {
            Event::Subscribed(subscribed) => self.presence = subscribed.presence.as_ref().map(presence::begin),
            Event::Presence(change) => presence::apply(self.presence.get_or_insert_default(), change),
            _ => {}
        }
        if taken.drained {
            self.client.note(Note::Drained { channel: self.channel.clone(), generation: self.generation });
        }
        Poll::Ready(Some(taken.event))
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        if !self.left {
            self.buffer.abandon();
            self.client.note(Note::Dropped { channel: self.channel.clone(), generation: self.generation });
        }
    }
}
