//! The handle: what a program holds. It speaks to the task by bounded queues and holds no state of its own.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use hubbub_protocol::{
    ChannelName,
    frame::{Connected, HistoryPage, PresencePage, Published},
};
use tokio::{
    sync::{Semaphore, mpsc, oneshot, watch},
    time::Instant,
};

use crate::{
    Builder, Error, HistoryOptions, Message, PresenceOptions, State, Stats, SubscribeOptions, Subscription,
    begun::Starts,
    buffer::Buffer,
    builder::Settings,
    inbox::{Control, HistoryAsk, Inbox, NewPublish, NewRequest, NewSubscription, Note, PresenceAsk, QUEUE},
    requests::{Ask, MAX_REQUESTS},
    state::Counters,
    task,
};

/// A client of one server: one connection at a time, made again whenever it breaks. Cheap to clone; the connection is
/// closed when the last clone and the last [`Subscription`] are gone, or by [`Client::close`].
#[derive(Debug, Clone)]
pub struct Client {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    settings: Arc<Settings>,
    notes: mpsc::UnboundedSender<Note>,
    control: mpsc::Sender<Control>,
    publishes: mpsc::Sender<NewPublish>,
    /// One at a time, first come, first served: so publishes enter their queue in the order of their callers.
    turnstile: Semaphore,
    /// A place for each `history`, `presence` and `ping` in flight.
    requests: Arc<Semaphore>,
    /// Numbers the subscriptions, so that one which is gone is never taken for its successor.
    generation: AtomicU64,
    state: watch::Receiver<State>,
    counters: Arc<Counters>,
}

impl Client {
    /// Starts to build a client for the server at `url`: `ws://host:port/v1/ws`, or its origin, or the same with `http://`.
    pub fn builder(url: impl AsRef<str>) -> Builder {
        Builder::new(url.as_ref())
    }

    pub(crate) fn start(settings: Settings, starts: Option<Starts>) -> Self {
        let settings = Arc::new(settings);
        let counters = Arc::new(Counters::default());
        let (state_sender, state) = watch::channel(State::Connecting { attempt: 0 });
        let (notes, notes_receiver) = mpsc::unbounded_channel();
        let (control, control_receiver) = mpsc::channel(QUEUE);
        let (publishes, publishes_receiver) = mpsc::channel(QUEUE);
        let inbox = Inbox { notes: notes_receiver, control: control_receiver, publishes: publishes_receiver, published: Vec::new() };
        tokio::spawn(task::run(settings.clone(), starts, inbox, state_sender, counters.clone()));
        Self {
            shared: Arc::new(Shared {
                settings,
                notes,
                control,
                publishes,
                turnstile: Semaphore::new(1),
                requests: Arc::new(Semaphore::new(MAX_REQUESTS)),
                generation: AtomicU64::new(0),
                state,
                counters,
            }),
        }
    }

    /// Waits until the client is connected, and returns what the server said.
    ///
    /// # Errors
    /// Why the client has ended. Whatever a new attempt may cure is tried again instead, so bound the wait yourself.
    ///
    /// ```no_run
    /// # async fn example() -> Result<(), hubbub_client::Error> {
    /// let client = hubbub_client::Client::builder("ws://127.0.0.1:8080").token("eyJhbGciOi…").connect();
    /// println!("connected as {}", client.ready().await?.user);
    /// # Ok(())
    /// # }
    /// ```
    pub async fn ready(&self) -> Result<Connected, Error> {
        let mut state = self.shared.state.clone();
        let decided = state.wait_for(|state| matches!(state, State::Connected(_) | State::Closed(_))).await;
        match decided.as_deref() {
            Ok(State::Connected(connected)) => Ok(connected.as_ref().clone()),
            _ => {
                drop(decided);
                Err(self.ended())
            }
        }
    }

    /// The client's state, to read or to watch.
    ///
    /// ```no_run
    /// # async fn example(client: hubbub_client::Client) {
    /// let mut state = client.state();
    /// while state.changed().await.is_ok() {
    ///     println!("{:?}", *state.borrow_and_update());
    /// }
    /// # }
    /// ```
    pub fn state(&self) -> watch::Receiver<State> {
        self.shared.state.clone()
    }

    /// What has been counted so far.
    pub fn stats(&self) -> Stats {
        self.shared.counters.read()
    }

    /// Subscribes, and waits for the server's answer (and for a connection first, if there is none). The answer itself is
    /// the stream's first event. A client has at most one subscription a channel.
    ///
    /// # Errors
    /// [`Error::Server`] if the channel is refused for good, [`Error::AlreadySubscribed`], or why the client has ended.
    ///
    /// See [`Subscription`] for an example.
    pub async fn subscribe(&self, channel: ChannelName, options: SubscribeOptions) -> Result<Subscription, Error> {
        let generation = self.shared.generation.fetch_add(1, Relaxed);
        let buffer = Arc::new(Buffer::new(self.shared.settings.buffer));
        // Made before it is asked for: if this future is dropped, so is the subscription, which unsubscribes.
        let subscription = Subscription::new(self.clone(), channel.clone(), generation, buffer.clone(), options.since);
        let (answer, answered) = oneshot::channel();
        self.control(Control::Subscribe(NewSubscription { channel, generation, options, buffer, answer })).await?;
        answered.await.unwrap_or_else(|_| Err(self.ended()))?;
        Ok(subscription)
    }

    /// Publishes, and waits until the server has taken the message: in a durable channel, has stored it. Retried with one
    /// message id, across reconnects, for [`Builder::publish_timeout`]; durable channels never double it. **Ephemeral
    /// channels do not deduplicate**: a message whose answer was lost may be delivered twice.
    ///
    /// May be called from many tasks at once: messages are sent in the order in which these futures were first polled, and
    /// after a reconnect again in that order. At most 4,096 are outstanding; further callers wait. A message whose future is
    /// dropped is not sent, or not sent again.
    ///
    /// # Errors
    /// [`Error::Payload`], [`Error::Server`] if it is refused for good, [`Error::Timeout`] if the outcome is unknown,
    /// [`Error::Unsent`] if there was no connection in time, or why the client has ended.
    ///
    /// ```no_run
    /// # use hubbub_client::{ChannelName, Client, Message};
    /// # async fn example(client: Client) -> Result<(), Box<dyn std::error::Error>> {
    /// let published = client.publish(Message::encode(ChannelName::parse("room:42")?, "hello")?).await?;
    /// println!("stored as {:?}", published.seq);
    /// # Ok(())
    /// # }
    /// ```
    pub async fn publish(&self, message: Message) -> Result<Published, Error> {
        message.check()?;
        let deadline = Instant::now() + self.shared.settings.publish_timeout;
        let (answer, answered) = oneshot::channel();
        {
            // Two waiters for room in the queue could overtake each other between waking and sending; one cannot.
            let Ok(_turn) = self.shared.turnstile.acquire().await else { return Err(self.ended()) };
            let publish = NewPublish { message, deadline, answer };
            self.shared.publishes.send(publish).await.map_err(|_| self.ended())?;
        }
        answered.await.unwrap_or_else(|_| Err(self.ended()))
    }

    /// A page of a durable channel's log.
    ///
    /// # Errors
    /// [`Error::Server`], [`Error::NoAnswer`] after 30 s, the connection's error if it broke meanwhile (ask again), or why
    /// the client has ended.
    ///
    /// ```no_run
    /// # use hubbub_client::{ChannelName, Client, HistoryOptions};
    /// # async fn example(client: Client) -> Result<(), Box<dyn std::error::Error>> {
    /// let mut options = HistoryOptions { after: Some(0), limit: Some(1_000), ..Default::default() };
    /// loop {
    ///     let page = client.history(ChannelName::parse("room:42")?, options).await?;
    ///     page.entries.iter().for_each(|entry| println!("{entry:?}"));
    ///     let Some(last) = page.entries.last().and_then(|entry| entry.place).filter(|_| page.more) else { break };
    ///     options.after = Some(last.seq);
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub async fn history(&self, channel: ChannelName, options: HistoryOptions) -> Result<HistoryPage, Error> {
        let (answer, answered) = oneshot::channel();
        self.ask(Ask::History(HistoryAsk { channel, options, answer })).await?;
        answered.await.unwrap_or_else(|_| Err(self.ended()))
    }

    /// A page of a channel's members, in byte order of their users: of any channel that the token's grants let one see,
    /// subscribed or not, however many members it has. To see them come and go, subscribe with
    /// [`SubscribeOptions::presence`].
    ///
    /// # Errors
    /// As [`Self::history`]; [`Error::Server`] with `presence_disabled` if the channel's namespace keeps none.
    ///
    /// ```no_run
    /// # use hubbub_client::{ChannelName, Client, PresenceOptions};
    /// # async fn example(client: Client) -> Result<(), Box<dyn std::error::Error>> {
    /// let mut options = PresenceOptions { limit: Some(1_000), ..Default::default() };
    /// loop {
    ///     let page = client.presence(ChannelName::parse("room:42")?, options.clone()).await?;
    ///     page.members.iter().for_each(|member| println!("{} ({})", member.user, member.connections));
    ///     let Some(last) = page.members.into_iter().next_back().filter(|_| page.more) else { break };
    ///     options.after = Some(last.user);
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub async fn presence(&self, channel: ChannelName, options: PresenceOptions) -> Result<PresencePage, Error> {
        let (answer, answered) = oneshot::channel();
        self.ask(Ask::Presence(PresenceAsk { channel, options, answer })).await?;
        answered.await.unwrap_or_else(|_| Err(self.ended()))
    }

    /// How long a `ping` takes to the server and back.
    ///
    /// # Errors
    /// As [`Self::history`].
    pub async fn ping(&self) -> Result<Duration, Error> {
        let (answer, answered) = oneshot::channel();
        self.ask(Ask::Ping(answer)).await?;
        answered.await.unwrap_or_else(|_| Err(self.ended()))
    }

    /// Closes the connection with code 1000 and waits for the end. What is outstanding fails with [`Error::Closed`];
    /// streams end after what they hold.
    pub async fn close(&self) {
        // If the task is gone already, so much the better.
        let _ = self.control(Control::Close).await;
        self.shared.control.closed().await;
    }

    async fn ask(&self, ask: Ask) -> Result<(), Error> {
        let place = self.shared.requests.clone().acquire_owned().await.map_err(|_| self.ended())?;
        self.control(Control::Request(NewRequest { ask, place })).await
    }

    pub(crate) async fn control(&self, control: Control) -> Result<(), Error> {
        self.shared.control.send(control).await.map_err(|_| self.ended())
    }

    /// Says something without waiting.
    pub(crate) fn note(&self, note: Note) {
        // If the task is gone there is nothing left to be done about a subscription.
        let _ = self.shared.notes.send(note);
    }

    /// Why the client has ended.
    fn ended(&self) -> Error {
        match &*self.shared.state.borrow() {
            State::Closed(error) => error.as_ref().clone(),
            _ => Error::Closed,
        }
    }
}
