//! The writer: waiting publishes become one transaction (group commit), then go to the feeds, then are answered.

use std::{sync::Arc, time::Instant};

use hubbub_protocol::{ChannelName, Entry, frame::Published};
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use super::{Refused, feed::Feeds};
use crate::{
    broker::Broker,
    hub::Delivery,
    store::{
        Db, StoreError,
        entries::{self, Appended, NewEntry},
    },
    telemetry::{Metrics, PublishResult},
    world::Clock,
};

/// A publish in the queue.
#[derive(Debug)]
pub(super) struct Pending {
    pub(super) entry: NewEntry,
    pub(super) reply: oneshot::Sender<Result<Published, Refused>>,
}

/// The one task that appends. What waits while a commit runs is the next batch, so the cost per publish falls as load rises.
pub(super) struct Writer {
    pub(super) db: Db,
    pub(super) feeds: Feeds,
    pub(super) broker: Broker,
    pub(super) metrics: Arc<Metrics>,
    pub(super) clock: Clock,
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

    async fn append(&self, batch: &[NewEntry]) -> Vec<Result<Published, Refused>> {
        let begun = Instant::now();
        let appended = entries::append(&self.db, batch, self.clock.now()).await;
        self.metrics.commit_seconds.record(begun.elapsed().as_secs_f64());
        self.metrics.commit_rows.record(batch.len() as f64);
        let appended = match appended {
            Ok(appended) => appended,
            Err(error) => return self.failed(batch, &error).await,
        };
        self.hand_on(&appended).await;
        batch.iter().zip(appended).map(|(new, appended)| self.answer(new, appended)).collect()
    }

    /// To the other instances, and to this one's feeds: a channel's entries stay in order.
    async fn hand_on(&self, appended: &[Appended]) {
        let stored: Vec<Arc<Entry>> = appended.iter().filter_map(Appended::stored).cloned().collect();
        self.broker.publish(&stored);
        let mut channels: Vec<(ChannelName, Vec<Arc<Delivery>>)> = Vec::new();
        let mut places = std::collections::HashMap::new();
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

    fn answer(&self, new: &NewEntry, appended: Appended) -> Result<Published, Refused> {
        let message_id = new.message_id;
        match appended {
            Appended::Stored(entry) => {
                self.metrics.publishes.of(PublishResult::Stored).increment(1);
                let cursor = entry.cursor().unwrap_or_default();
                Ok(Published { message_id, epoch: Some(cursor.epoch), seq: Some(cursor.seq), time: entry.time, duplicate: false })
            }
            Appended::Duplicate { seq, epoch, time } => {
                self.metrics.publishes.of(PublishResult::Duplicate).increment(1);
                Ok(Published { message_id, epoch: Some(epoch), seq: Some(seq), time, duplicate: true })
            }
            Appended::IdReused => {
                self.metrics.publishes.of(PublishResult::Refused).increment(1);
                Err(Refused::IdReused)
            }
        }
    }

    /// Nothing of the batch was stored, or it is not known: then the feeds look for themselves.
    async fn failed(&self, batch: &[NewEntry], error: &StoreError) -> Vec<Result<Published, Refused>> {
        tracing::error!(%error, publishes = batch.len(), "a batch of publishes could not be stored");
        self.metrics.publishes.of(PublishResult::Failed).increment(batch.len() as u64);
        let refused = match error {
            StoreError::CommitUnknown(_) => {
                for new in batch {
                    self.feeds.verify(&new.channel).await;
                }
                Refused::Unknown
            }
            StoreError::Database(_) | StoreError::Corrupt(_) => Refused::Unavailable,
        };
        vec![Err(refused); batch.len()]
    }
}
