//! Subscriptions that the server begins: how a program asks for them, and gets them.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use futures_util::Stream;
use hubbub_protocol::{
    ChannelName,
    frame::{ErrorBody, Slow},
};
use tokio::sync::mpsc;

use crate::{Client, Subscription, buffer::Buffer};

/// Beginnings that may wait for the program; what comes beyond that is left again, and begins anew with the next connection.
pub(crate) const WAITING: usize = 4_096;

/// How the server subscribes a client by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct AutoOptions {
    /// The server's policy for a connection that reads too slowly; each namespace's if `None`.
    pub slow: Option<Slow>,
    /// See members come and go, in those channels where that can be.
    pub presence: bool,
}

/// What the server has begun.
#[derive(Debug)]
pub enum Began {
    /// A subscription; its stream's first event is the server's word on it.
    Subscription(Subscription),
    /// It could not begin one: too many, or not now. To be subscribed to by [`Client::subscribe`], if it is wanted.
    Refused {
        /// The channel.
        channel: String,
        /// Why.
        error: ErrorBody,
    },
}

/// The subscriptions that the server begins, made by [`crate::Builder::connect_auto`]: the user's personal channel and those of which he is a
/// member, as the server's configuration says, then whatever he becomes a member of.
///
/// Each is a [`Subscription`] like any other, which resumes by itself and ends with [`crate::Event::Ended`] when the membership does. One that is
/// dropped is left, and begins again with the next connection: keep those that you want. The stream ends with the client, which it keeps
/// alive.
///
/// ```no_run
/// # use hubbub_client::{AutoOptions, Began, Client, Event, StreamExt};
/// # async fn example() {
/// let (client, mut begun) = Client::builder("ws://127.0.0.1:8080").token("eyJhbGciOi…").connect_auto(AutoOptions::default());
/// while let Some(began) = begun.next().await {
///     match began {
///         Began::Subscription(mut room) => _ = tokio::spawn(async move {
///             while let Some(event) = room.next().await {
///                 if let Event::Entry(entry) = event {
///                     println!("{}: {entry:?}", room.channel());
///                 }
///             }
///         }),
///         Began::Refused { channel, error } => eprintln!("{channel}: {}", error.message),
///     }
/// }
/// # }
/// ```
#[derive(Debug)]
pub struct Begun {
    client: Client,
    starts: mpsc::Receiver<Start>,
}

impl Begun {
    pub(crate) fn new(client: Client, starts: mpsc::Receiver<Start>) -> Self {
        Self { client, starts }
    }
}

impl Stream for Begun {
    type Item = Began;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Began>> {
        let start = std::task::ready!(self.starts.poll_recv(cx));
        Poll::Ready(start.map(|start| match start {
            Start::Begun { channel, generation, buffer } => {
                Began::Subscription(Subscription::new(self.client.clone(), channel, generation, buffer, None))
            }
            Start::Refused { channel, error } => Began::Refused { channel, error },
        }))
    }
}

impl Drop for Begun {
    fn drop(&mut self) {
        // Nobody takes what is still in it: as if each had been dropped.
        self.starts.close();
        while let Ok(start) = self.starts.try_recv() {
            if let Start::Begun { channel, generation, buffer } = start {
                drop(Subscription::new(self.client.clone(), channel, generation, buffer, None));
            }
        }
    }
}

/// The same as the task says it. It holds no client, which it would keep alive.
#[derive(Debug)]
pub(crate) enum Start {
    Begun { channel: ChannelName, generation: u64, buffer: Arc<Buffer> },
    Refused { channel: String, error: ErrorBody },
}

/// What the task makes them with.
#[derive(Debug)]
pub(crate) struct Starts {
    pub options: AutoOptions,
    /// Events that each buffers.
    pub buffer: usize,
    pub sender: mpsc::Sender<Start>,
}
