//! One subscriber of a run: all channels, over as many connections as their number needs. Some drop their connections at
//! random moments and come back with the cursors of what they have really read.

use std::{
    pin::pin,
    sync::{Arc, Mutex, atomic::Ordering::Relaxed},
    time::Duration,
};

use anyhow::{Context as _, Result, bail, ensure};
use futures_util::{
    StreamExt as _,
    stream::{Map, SelectAll},
};
use hubbub_client::{Client, Event, SubscribeOptions, Subscription};
use hubbub_protocol::{Entry, frame::Subscribed};
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

use super::{
    Target,
    court::{Court, lock},
    payload,
    record::{ReceivedLine, Recorder},
    verify::{ChannelIndex, Joined, Seen, Violation, Witness},
};

/// How long a subscriber that dropped its connections stays away at most.
const MAX_AWAY: Duration = Duration::from_millis(500);

/// What one subscriber is made of.
pub struct Subscriber {
    /// For people.
    pub name: String,
    /// The server to which it goes first; each of its lives begins at the next one.
    pub home: usize,
    /// The servers.
    pub target: Arc<Target>,
    /// The run.
    pub court: Arc<Court>,
    /// What it has seen.
    pub witness: Arc<Mutex<Witness>>,
    /// `subscriber-N.ndjson`.
    pub recorder: Recorder,
    /// The mean time between two drops; `None`: it stays.
    pub drop_every: Option<Duration>,
    /// Nobody drops any more: everything is published.
    pub published: CancellationToken,
    /// The run is over.
    pub done: CancellationToken,
}

type Tagged = Map<Subscription, Box<dyn FnMut(Event) -> (ChannelIndex, Event) + Send>>;

/// The connections of one life of a subscriber.
struct Session {
    clients: Vec<Client>,
    events: SelectAll<Tagged>,
}

impl Subscriber {
    /// Listens until the run is over; says once when it is subscribed to every channel.
    ///
    /// # Errors
    /// The server refuses a channel, or the client for good; a channel is not durable.
    pub async fn run(mut self, subscribed: oneshot::Sender<()>) -> Result<()> {
        let mut subscribed = Some(subscribed);
        loop {
            let mut session = self.connect().await?;
            if let Some(subscribed) = subscribed.take() {
                self.await_subscribed(&mut session).await?;
                // Nobody waits for it only if the run has failed.
                let _ = subscribed.send(());
            }
            let over = self.listen(&mut session).await?;
            for client in &session.clients {
                self.court.add_stats(&self.name, client.stats());
            }
            drop(session);
            if over {
                return self.recorder.finish();
            }
            self.court.drops.fetch_add(1, Relaxed);
            self.home += 1;
            tokio::time::sleep(MAX_AWAY.mul_f64(rand::random())).await;
        }
    }

    /// New clients, subscribed after what the witness has seen.
    async fn connect(&self) -> Result<Session> {
        let first = self.target.client(&self.name, self.home);
        let limit = self.target.ready(&first).await?.limits.subscriptions.max(1) as usize;
        let mut session = Session { clients: vec![first], events: SelectAll::new() };
        for (chunk, names) in self.court.channels.names().chunks(limit).enumerate() {
            if chunk > 0 {
                session.clients.push(self.target.client(&self.name, self.home));
            }
            for (at, name) in names.iter().enumerate() {
                let index = (chunk * limit + at) as ChannelIndex;
                let since = lock(&self.witness).cursor(index);
                let options = SubscribeOptions { since, ..Default::default() };
                let subscription =
                    session.clients[chunk].subscribe(name.clone(), options).await.with_context(|| format!("subscribe to {name}"))?;
                session.events.push(subscription.map(Box::new(move |event| (index, event))));
            }
        }
        Ok(session)
    }

    /// Handles events until every channel has its head.
    async fn await_subscribed(&mut self, session: &mut Session) -> Result<()> {
        let channels = self.court.channels.names().len() as ChannelIndex;
        while (0..channels).any(|channel| lock(&self.witness).cursor(channel).is_none()) {
            let (channel, event) = session.events.next().await.context("the client ended while it subscribed")?;
            self.event(channel, event)?;
        }
        Ok(())
    }

    /// Handles events until the run is over (true) or the connections are to be dropped (false).
    async fn listen(&mut self, session: &mut Session) -> Result<bool> {
        // A mean of `drop_every`: anything between nothing and twice that.
        let life = self.drop_every.map(|mean| mean.mul_f64(2.0 * rand::random::<f64>()));
        let mut end_of_life = pin!(tokio::time::sleep(life.unwrap_or_default()));
        let (published, done) = (self.published.clone(), self.done.clone());
        loop {
            tokio::select! {
                () = done.cancelled() => return Ok(true),
                () = &mut end_of_life, if life.is_some() && !published.is_cancelled() => return Ok(false),
                event = session.events.next() => match event {
                    Some((channel, event)) => self.event(channel, event)?,
                    None => bail!("{} lost every subscription: {:?}", self.name, session.clients[0].state().borrow()),
                },
            }
        }
    }

    fn event(&mut self, channel: ChannelIndex, event: Event) -> Result<()> {
        match event {
            Event::Subscribed(subscribed) => self.subscribed(channel, &subscribed),
            Event::Entry(entry) => self.entry(channel, &entry),
            Event::Skip(skip) => {
                let found = lock(&self.witness).skip(channel, &skip);
                self.court.note(&self.name, found);
                self.recorder.line(&ReceivedLine::skip(&skip))
            }
            Event::Presence(_) => Ok(()),
            Event::Ended(error) => {
                self.court.note(&self.name, [Violation::Ended(channel)]);
                let name = &self.court.channels.names()[channel as usize];
                self.recorder.line(&ReceivedLine::Ended { channel: name.as_str(), code: &error.code })
            }
        }
    }

    fn subscribed(&mut self, channel: ChannelIndex, subscribed: &Subscribed) -> Result<()> {
        let name = self.court.channels.names()[channel as usize].clone();
        ensure!(subscribed.durable, "{name} is not durable: there is nothing to verify; choose another --prefix");
        let how = match subscribed.recovered {
            None => Joined::Fresh(subscribed.head.with_context(|| format!("{name}: the server did not tell its head"))?),
            Some(true) => Joined::Whole,
            Some(false) => Joined::Broken,
        };
        self.court.resumes.fetch_add(u64::from(how == Joined::Whole), Relaxed);
        let found = lock(&self.witness).joined(channel, how);
        self.court.note(&self.name, found);
        self.recorder.line(&ReceivedLine::subscribed(name.as_str(), subscribed))
    }

    fn entry(&mut self, channel: ChannelIndex, entry: &Entry) -> Result<()> {
        let place = entry.cursor().with_context(|| format!("an entry of {} has no seq", entry.channel))?;
        let row = payload::decode(&self.court.run, entry);
        let seen = Seen { channel, place, message_id: entry.message_id, row };
        let found = lock(&self.witness).entry(&mut self.court.ledger(), seen);
        self.court.note(&self.name, found);
        self.court.deliveries.fetch_add(1, Relaxed);
        self.recorder.line(&ReceivedLine::entry(entry, row.map(|(row, _)| row)))
    }
}
