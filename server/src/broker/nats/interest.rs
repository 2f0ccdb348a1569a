//! What this instance listens to, with counts: the first to listen to a subject subscribes, the last to leave unsubscribes.

use std::{
    collections::{HashMap, VecDeque, hash_map},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use async_nats::{Client, SubscribeError, Subscriber};
use futures_util::stream::{AbortHandle, AbortRegistration, Abortable};
use hubbub_protocol::ChannelName;
use tokio::{
    sync::{Notify, mpsc, watch},
    time::timeout,
};

use super::{
    super::{
        Plane,
        subject::{self, Subjects},
    },
    trip::Trips,
};
use crate::{config, telemetry::Metrics};

/// How long one that begins to listen waits for the server, at most.
const PATIENCE: Duration = Duration::from_millis(500);
/// Subjects subscribed before the server is awaited: few enough to leave publishes room in the client's queue.
const BATCH: usize = 1_024;

/// A subject's messages, until its handle is aborted.
pub(super) type Messages = Abortable<Subscriber>;

/// A subject that waits to be subscribed, and what ends its messages.
type Waiting = (Box<str>, AbortRegistration);

/// Who listens to what. Its lock is held for the moment only, never across an await.
#[derive(Debug)]
pub(super) struct Interest {
    by: config::Interest,
    subjects: Subjects,
    table: Mutex<Table>,
    /// Something waits to be subscribed.
    wanted: Notify,
    /// How many of all subjects that ever waited the server has by now.
    settled: watch::Sender<u64>,
    metrics: Arc<Metrics>,
}

#[derive(Debug, Default)]
struct Table {
    /// How many listen to a channel's subject, where shards are subscribed: the rest of a shard is not wanted.
    channels: HashMap<Box<str>, usize>,
    topics: HashMap<Box<str>, Topic>,
    waiting: VecDeque<Waiting>,
    /// How many subjects ever waited.
    asked: u64,
}

/// A subject that is subscribed, or waits to be.
#[derive(Debug)]
struct Topic {
    listeners: usize,
    /// Its place among all that ever waited, from 1.
    place: u64,
    handle: AbortHandle,
}

impl Interest {
    pub(super) fn new(by: config::Interest, subjects: Subjects, metrics: Arc<Metrics>) -> Self {
        let settled = watch::Sender::new(0);
        Self { by, subjects, table: Mutex::default(), wanted: Notify::new(), settled, metrics }
    }

    /// Counts one more listener. Returns when the server has the subject, or after half a second.
    pub(super) async fn listen(&self, plane: Plane, channel: &ChannelName) {
        let place = self.add(plane, channel);
        if *self.settled.borrow() < place {
            // The sender lives as long as `self`: only time can be up.
            let _ = timeout(PATIENCE, self.settled.subscribe().wait_for(|settled| *settled >= place)).await;
        }
    }

    /// Counts one more listener, without waiting. Returns the subject's place among all that ever waited.
    pub(super) fn add(&self, plane: Plane, channel: &ChannelName) -> u64 {
        let name = self.subjects.channel(plane, channel);
        let mut guard = self.lock();
        let table = &mut *guard;
        let topic = match self.by {
            config::Interest::Names => name,
            config::Interest::Shards => {
                *table.channels.entry(name.into()).or_default() += 1;
                self.subjects.shard(plane, subject::shard(channel))
            }
        };
        match table.topics.entry(topic.into()) {
            hash_map::Entry::Occupied(mut topic) => {
                topic.get_mut().listeners += 1;
                topic.get().place
            }
            hash_map::Entry::Vacant(vacant) => {
                let (handle, registration) = AbortHandle::new_pair();
                table.asked += 1;
                table.waiting.push_back((vacant.key().clone(), registration));
                let place = table.asked;
                vacant.insert(Topic { listeners: 1, place, handle });
                self.metrics.broker_subjects.set(table.topics.len() as f64);
                self.wanted.notify_one();
                place
            }
        }
    }

    /// Counts one listener less. Never waits.
    pub(super) fn unlisten(&self, plane: Plane, channel: &ChannelName) {
        let name = self.subjects.channel(plane, channel);
        let mut guard = self.lock();
        let table = &mut *guard;
        let topic = match self.by {
            config::Interest::Names => name,
            config::Interest::Shards => {
                if let hash_map::Entry::Occupied(mut listeners) = table.channels.entry(name.into()) {
                    *listeners.get_mut() -= 1;
                    if *listeners.get() == 0 {
                        listeners.remove();
                    }
                }
                self.subjects.shard(plane, subject::shard(channel))
            }
        };
        if let hash_map::Entry::Occupied(mut topic) = table.topics.entry(topic.into()) {
            topic.get_mut().listeners -= 1;
            if topic.get().listeners == 0 {
                // What comes after this is not read any more, so that to listen again at once hears nothing twice.
                topic.remove().handle.abort();
                self.metrics.broker_subjects.set(table.topics.len() as f64);
            }
        }
    }

    /// Whether anybody here listens to the channel with this subject.
    pub(super) fn wants(&self, subject: &str) -> bool {
        match self.by {
            config::Interest::Names => true,
            config::Interest::Shards => self.lock().channels.contains_key(subject),
        }
    }

    /// Subscribes what is listened to, and hands the messages on. Ends when the connection is closed for good.
    pub(super) async fn keep(self: Arc<Self>, client: Client, trips: Arc<Trips>, streams: mpsc::Sender<Messages>) {
        loop {
            self.wanted.notified().await;
            while let Some((settled, batch)) = self.batch() {
                if subscribe(&client, batch, &streams).await.is_err() {
                    return;
                }
                trips.make(PATIENCE).await;
                self.settled.send_replace(settled);
            }
        }
    }

    /// What waits to be subscribed, some of it, and how many of all that ever waited are done then.
    fn batch(&self) -> Option<(u64, Vec<Waiting>)> {
        let mut table = self.lock();
        let size = table.waiting.len().min(BATCH);
        let batch: Vec<_> = table.waiting.drain(..size).collect();
        let settled = table.asked - table.waiting.len() as u64;
        (!batch.is_empty()).then_some((settled, batch))
    }

    fn lock(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn subscribe(client: &Client, batch: Vec<Waiting>, streams: &mpsc::Sender<Messages>) -> Result<(), SubscribeError> {
    for (subject, registration) in batch {
        if registration.handle().is_aborted() {
            continue;
        }
        let messages = Abortable::new(client.subscribe(subject.into_string()).await?, registration);
        // The receiver is gone when the instance stops.
        let _ = streams.send(messages).await;
    }
    Ok(())
}
