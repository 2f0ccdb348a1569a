//! Subscribe, and catch up. Resume is subscribe: the same rules, the same answer.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use hubbub_protocol::{
    Cursor,
    frame::{SkipReason, Slow, Subscribed, Unrecovered},
};

use super::{
    Channels, Refused,
    feed::{self, Pulled, Resume, Unloaded, skip, steps},
};
use crate::{
    auth::{Act, Identity},
    hub::{Delivery, Live, Outbox, Standing, Subscription},
    store::{StoreError, channels, entries},
    telemetry::ReadKind,
};

/// How long a replay waits for its feed to see that the store has changed under it.
const PAUSE: Duration = Duration::from_millis(20);
/// How long a replay may take to read a page.
const LIMIT: Duration = Duration::from_secs(10);

/// A subscription that has joined. Send the answer, then `skip`, then activate it.
#[derive(Debug)]
pub struct Accepted {
    /// The subscription.
    pub subscription: Arc<Subscription>,
    /// The answer.
    pub answer: Subscribed,
    /// A skip that precedes everything else, sealed for the outbox.
    pub skip: Option<Bytes>,
}

/// What a resume comes to.
struct Outcome {
    recovered: bool,
    reason: Option<Unrecovered>,
    /// Replay what follows this cursor.
    replay: Option<Cursor>,
    /// First and last seq that are not sent, and why.
    skip: Option<(u64, Cursor, SkipReason)>,
}

impl Outcome {
    fn whole(since: Cursor) -> Self {
        Self { recovered: true, reason: None, replay: Some(since), skip: None }
    }

    fn lost(reason: Unrecovered) -> Self {
        Self { recovered: false, reason: Some(reason), replay: None, skip: None }
    }
}

impl Channels {
    /// Subscribes `outbox` to a channel, from `since` if it is given. Nothing is pushed before [`Outbox::activate`].
    ///
    /// # Errors
    /// [`Refused`]: there is no subscription.
    pub async fn subscribe(
        &self,
        identity: &Identity,
        outbox: Arc<Outbox>,
        channel: hubbub_protocol::ChannelName,
        since: Option<Cursor>,
        slow: Option<Slow>,
    ) -> Result<Accepted, Refused> {
        self.access.may(identity, Act::Subscribe, &channel).await?;
        let namespace = self.namespace(&channel);
        let durable = namespace.is_durable();
        let subscription = Subscription::new(channel.clone(), outbox, slow.unwrap_or(namespace.slow));
        let joined =
            self.feeds.join(subscription.clone(), durable, since, namespace.keep()).await.map_err(|Unloaded| Refused::Unavailable)?;
        // Again, now that whoever changes the channel finds the subscription on its list.
        if let Err(denied) = self.access.may(identity, Act::Subscribe, &subscription.channel).await {
            self.unsubscribe(subscription).await;
            return Err(denied.into());
        }
        let mut answer =
            Subscribed { channel: channel.as_str().to_owned(), durable, head: durable.then_some(joined.position), ..Subscribed::default() };
        let mut first_skip = None;
        if let Some(since) = since {
            let outcome = match joined.resume {
                _ if !durable => Ok(Outcome::lost(Unrecovered::Ephemeral)),
                Resume::Fresh | Resume::Whole if joined.position.seq - since.seq <= self.config.channel.replay => Ok(Outcome::whole(since)),
                Resume::OtherEpoch => Ok(Outcome::lost(Unrecovered::Epoch)),
                Resume::Fresh | Resume::Whole | Resume::AskStore => {
                    let asked = tokio::time::timeout(LIMIT, self.ask_store(&subscription, since, joined.position));
                    asked.await.unwrap_or(Err(StoreError::Database(sqlx::Error::PoolTimedOut)))
                }
            };
            let outcome = match outcome {
                Ok(outcome) => outcome,
                Err(error) => {
                    tracing::warn!(channel = channel.as_str(), %error, "a resume could not be read");
                    self.unsubscribe(subscription).await;
                    return Err(Refused::Unavailable);
                }
            };
            self.metrics.replays.of(outcome.reason.into()).increment(1);
            answer.recovered = Some(outcome.recovered);
            answer.reason = outcome.reason;
            if let Some(cursor) = outcome.replay {
                if cursor.seq < joined.position.seq {
                    (answer.from, answer.to) = (Some(cursor.seq + 1), Some(joined.position.seq));
                } else {
                    answer.head = Some(cursor);
                }
                subscription.outbox.begin_after(&subscription, cursor);
            }
            first_skip = outcome.skip.map(|(from, to, reason)| {
                self.metrics.skipped_entries.of(reason).increment(to.seq + 1 - from);
                skip(&subscription, from, to, reason)
            });
        }
        Ok(Accepted { subscription, answer, skip: first_skip })
    }

    /// Ends a subscription: nothing of its channel is put into its outbox after this.
    pub async fn unsubscribe(&self, subscription: Arc<Subscription>) {
        subscription.outbox.end(&subscription);
        self.feeds.leave(subscription).await;
    }

    /// What the store says of a cursor that memory does not cover: one that is older, or ahead of the feed.
    async fn ask_store(&self, subscription: &Subscription, since: Cursor, position: Cursor) -> Result<Outcome, StoreError> {
        self.metrics.store_reads.of(ReadKind::Replay).increment(1);
        let namespace = self.namespace(&subscription.channel);
        let head = channels::head(&self.db, &subscription.channel).await?.filter(|head| since.seq <= head.cursor().seq);
        // Ahead of the head: the store went back in time, or the cursor is of another one.
        let Some(head) = head else { return Ok(Outcome::lost(Unrecovered::Epoch)) };
        if since.seq > 0 && !entries::shares(&self.db, &head, since).await? {
            return Ok(Outcome::lost(Unrecovered::Epoch));
        }
        if since.seq >= position.seq {
            // The client read in the store what the feed is about to hand on.
            return Ok(Outcome::whole(since));
        }
        let (floor, oldest) = namespace.window(position.seq, self.world.clock.now());
        let first = entries::first(&self.db, head.channel_id, floor, oldest).await?.filter(|(seq, _)| *seq <= position.seq);
        let (first_seq, first_epoch) = first.unwrap_or((position.seq + 1, position.epoch));
        if position.seq - since.seq > self.config.channel.replay {
            return Ok(Outcome { skip: Some((since.seq + 1, position, SkipReason::TooFar)), ..Outcome::lost(Unrecovered::TooFar) });
        }
        if since.seq + 1 < first_seq {
            let before = Cursor { epoch: first_epoch, seq: first_seq - 1 };
            return Ok(Outcome {
                replay: Some(before),
                skip: Some((since.seq + 1, before, SkipReason::Expired)),
                ..Outcome::lost(Unrecovered::Expired)
            });
        }
        Ok(Outcome::whole(since))
    }

    /// Appends the next page of what `subscription` lacks to its outbox.
    pub async fn catch_up(&self, subscription: &Arc<Subscription>) {
        if subscription.standing() != Standing::Behind {
            return;
        }
        if subscription.is_void() {
            // The store went back while it subscribed.
            subscription.outbox.revoke(subscription, subscription.outbox.wire().frame(&feed::gone_back(&subscription.channel)));
            return subscription.outbox.flush();
        }
        let from = subscription.cursor();
        let Pulled::Store { upto } = self.feeds.pull(subscription.clone()).await else { return };
        let read = tokio::time::timeout(LIMIT, self.catch_up_from_store(subscription, from, upto));
        if let Err(error) = read.await.unwrap_or(Err(StoreError::Database(sqlx::Error::PoolTimedOut))) {
            tracing::warn!(channel = subscription.channel.as_str(), %error, "a replay could not be read; its connection is closed");
            // It resumes where it was.
            subscription.outbox.close(hubbub_protocol::CloseCode::Internal, None);
        }
    }

    async fn catch_up_from_store(&self, subscription: &Subscription, from: Cursor, upto: Cursor) -> Result<(), StoreError> {
        self.metrics.store_reads.of(ReadKind::Replay).increment(1);
        let Some(head) = channels::head(&self.db, &subscription.channel).await? else { return Ok(()) };
        let page = entries::Page { after: from.seq, upto: upto.seq, entries: self.config.channel.history_page, bytes: feed::PAGE };
        let (entries, missing) = match subscription.slow {
            Slow::Close => (entries::page(&self.db, &subscription.channel, head.channel_id, page).await?, SkipReason::Expired),
            Slow::Latest => (entries::latest(&self.db, &subscription.channel, head.channel_id, page).await?, SkipReason::Superseded),
        };
        if entries.iter().any(|entry| entry.place.is_some_and(|place| place.epoch > upto.epoch)) {
            // The store has another past than the feed, or a newer epoch: the feed finds out first.
            self.feeds.compare_one(subscription.channel.clone()).await;
            tokio::time::sleep(PAUSE).await;
            subscription.outbox.advance(subscription, from, Vec::new(), Live::NotYet);
            return Ok(());
        }
        let wire = subscription.outbox.wire();
        let steps = if entries.is_empty() {
            vec![crate::hub::Step { bytes: skip(subscription, from.seq + 1, upto, SkipReason::Expired), cursor: upto, skips: true }]
        } else {
            let sealed =
                entries.into_iter().map(|entry| (entry.cursor().unwrap_or_default(), Delivery::new(Arc::new(entry)).sealed(wire).clone()));
            steps(subscription, from, sealed, missing)
        };
        feed::count(&self.metrics, from, &steps, missing);
        subscription.outbox.advance(subscription, from, steps, Live::NotYet);
        subscription.outbox.flush();
        Ok(())
    }
}
