//! The writers: waiting publishes become one transaction (group commit), then go to the broker and the feeds, then are answered.
//!
//! Each writer has its share of the channels, so that a channel's publishes are in one queue. SQLite has one.

use std::{
    collections::HashMap,
    sync::Arc,
    time::{Duration, Instant},
};

use futures_util::future::BoxFuture;
use hubbub_protocol::{ChannelName, Entry, frame::Published};
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use super::{Refused, Stored, feed::Feeds};
use crate::{
    broker::Broker,
    hub::Delivery,
    store::{
        Db, StoreError,
        entries::{self, Appended, NewEntry},
    },
    telemetry::{Metrics, PublishResult},
    world::World,
};

/// For how long a batch is tried again while the database does not answer. Trying again is safe: message ids tell what was stored.
const PATIENCE: Duration = Duration::from_secs(8);
/// Between two tries, doubled each time.
const FIRST_PAUSE: Duration = Duration::from_millis(25);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// A publish in the queue.
#[derive(Debug)]
pub(super) struct Pending {
    pub(super) entry: NewEntry,
    pub(super) reply: oneshot::Sender<Result<Stored, Refused>>,
}

/// A task that appends. What waits while a commit runs is the next batch, so the cost per publish falls as load rises.
#[derive(Clone)]
pub(super) struct Writer {
    pub(super) db: Db,
    pub(super) feeds: Feeds,
    pub(super) broker: Broker,
    pub(super) metrics: Arc<Metrics>,
    pub(super) world: World,
}

impl Writer {
    /// Runs until `stop` is cancelled and the queue is empty.
    pub(super) async fn run(self, mut pending: mpsc::Receiver<Pending>, batch: usize, stop: CancellationToken) {
        let mut taken = Vec::with_capacity(batch);
        loop {
            let count = tokio::select! {
                biased;
                count = pending.recv_many(&mut taken, batch) => count,
                () = stop.cancelled(), if !pending.is_closed() => {
                    pending.close();
                    continue;
                }
            };
            if count == 0 {
                return;
            }
            let (entries, replies): (Vec<_>, Vec<_>) = taken.drain(..).map(|pending| (pending.entry, pending.reply)).unzip();
            let answers = self.append(&entries).await;
            for (reply, answer) in replies.into_iter().zip(answers) {
                // Nobody waits for it any more: it is stored all the same.
                let _ = reply.send(answer);
            }
        }
    }

    /// One answer for each of `batch`. What the store refuses is halved until the row that it refuses stands alone.
    fn append<'a>(&'a self, batch: &'a [NewEntry]) -> BoxFuture<'a, Vec<Result<Stored, Refused>>> {
        Box::pin(async move {
            match self.try_append(batch).await {
                Ok(appended) => {
                    self.world.misfortune.committed();
                    self.hand_on(&appended).await;
                    batch.iter().zip(appended).map(|(new, appended)| self.answer(new, appended)).collect()
                }
                Err(error) if error.blames_a_row() && batch.len() > 1 => {
                    let (first, second) = batch.split_at(batch.len() / 2);
                    let mut answers = self.append(first).await;
                    answers.extend(self.append(second).await);
                    answers
                }
                Err(error) if error.blames_a_channel() && batch.iter().any(|new| new.channel != batch[0].channel) => {
                    self.append_by_channel(batch).await
                }
                Err(error) => self.failed(batch, &error).await,
            }
        })
    }

    /// Each channel by itself: somebody holds one of them.
    async fn append_by_channel(&self, batch: &[NewEntry]) -> Vec<Result<Stored, Refused>> {
        let mut groups: HashMap<&ChannelName, Vec<usize>> = HashMap::new();
        for (place, new) in batch.iter().enumerate() {
            groups.entry(&new.channel).or_default().push(place);
        }
        let mut answers = vec![Err(Refused::Unavailable); batch.len()];
        for places in groups.into_values() {
            let group: Vec<NewEntry> = places.iter().map(|place| batch[*place].clone()).collect();
            for (place, answer) in places.into_iter().zip(self.append(&group).await) {
                answers[place] = answer;
            }
        }
        answers
    }

    /// Appends, again and again while the database is away.
    async fn try_append(&self, batch: &[NewEntry]) -> Result<Vec<Appended>, StoreError> {
        let first = Instant::now();
        let mut pause = FIRST_PAUSE;
        let mut unknown = None;
        loop {
            let begun = Instant::now();
            let appended = entries::append(&self.db, batch, self.world.clock.now()).await;
            self.metrics.commit_seconds.record(begun.elapsed().as_secs_f64());
            self.metrics.commit_rows.record(batch.len() as f64);
            let error = match appended {
                Ok(appended) if unknown.is_some() => {
                    // What an earlier try stored after all is a duplicate by now, and nobody was told of it.
                    self.verify(batch).await;
                    return Ok(appended);
                }
                Ok(appended) => return Ok(appended),
                Err(error) => error,
            };
            let again = error.is_transient() && first.elapsed() + pause < PATIENCE;
            if again {
                tracing::warn!(%error, publishes = batch.len(), "a batch of publishes could not be stored; trying again");
            }
            let lost = matches!(error, StoreError::CommitUnknown(_));
            match (again, lost) {
                (true, true) => unknown = Some(error),
                (true, false) => {}
                (false, true) => return Err(error),
                // What was not known before is not known now.
                (false, false) => return Err(unknown.unwrap_or(error)),
            }
            tokio::time::sleep(pause + self.jitter(pause)).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    /// Up to a quarter of `pause`: instances that lost the same database do not all come back at once.
    fn jitter(&self, pause: Duration) -> Duration {
        Duration::from_micros(self.world.chance.below(pause.as_micros() as u64 / 4))
    }

    /// The feeds look for themselves whether the store has more.
    async fn verify(&self, batch: &[NewEntry]) {
        for new in batch {
            self.feeds.verify(&new.channel).await;
        }
    }

    /// To the other instances, and to this one's feeds: a channel's entries stay in order.
    async fn hand_on(&self, appended: &[Appended]) {
        let stored: Vec<Arc<Entry>> = appended.iter().filter_map(Appended::stored).cloned().collect();
        self.broker.publish(&stored);
        let mut channels: Vec<(ChannelName, Vec<Arc<Delivery>>)> = Vec::new();
        let mut places = HashMap::new();
        for entry in stored {
            let at = *places.entry(entry.channel.clone()).or_insert_with(|| {
                channels.push((entry.channel.clone(), Vec::new()));
                channels.len() - 1
            });
            channels[at].1.push(Delivery::new(entry));
        }
        for (channel, entries) in channels {
            self.feeds.deliver(&channel, entries).await;
        }
    }

    fn answer(&self, new: &NewEntry, appended: Appended) -> Result<Stored, Refused> {
        let message_id = new.message_id;
        match appended {
            Appended::Stored(entry) => {
                self.metrics.publishes.of(PublishResult::Stored).increment(1);
                let cursor = entry.cursor().unwrap_or_default();
                let published =
                    Published { message_id, epoch: Some(cursor.epoch), seq: Some(cursor.seq), time: entry.time, duplicate: false };
                Ok(Stored { published, entry: Some(entry) })
            }
            Appended::Duplicate { seq, epoch, time } => {
                self.metrics.publishes.of(PublishResult::Duplicate).increment(1);
                let published = Published { message_id, epoch: Some(epoch), seq: Some(seq), time, duplicate: true };
                Ok(Stored { published, entry: None })
            }
            Appended::IdReused => {
                self.metrics.publishes.of(PublishResult::Refused).increment(1);
                Err(Refused::IdReused)
            }
            Appended::Unfit(unfit) => {
                self.metrics.publishes.of(PublishResult::Refused).increment(1);
                Err(unfit.into())
            }
        }
    }

    /// Nothing of the batch was stored, or it is not known: then the feeds look for themselves.
    async fn failed(&self, batch: &[NewEntry], error: &StoreError) -> Vec<Result<Stored, Refused>> {
        tracing::error!(%error, publishes = batch.len(), "a batch of publishes could not be stored");
        self.metrics.publishes.of(PublishResult::Failed).increment(batch.len() as u64);
        let refused = match error {
            StoreError::CommitUnknown(_) => {
                self.verify(batch).await;
                Refused::Unknown
            }
            StoreError::Database(_) | StoreError::Corrupt(_) | StoreError::LeaseLost(_) => Refused::Unavailable,
        };
        vec![Err(refused); batch.len()]
    }
}
