//! How subscriptions begin: by a request, or by the server's own will. The same rules, and the same order: the answers, then skips, then
//! what they make possible.

use std::collections::HashSet;

use bytes::Bytes;
use futures_util::future::join_all;
use hubbub_protocol::{
    ChannelName, ErrorCode, encode,
    frame::{Channels as ChannelList, ErrorBody, RequestId, SubscribeChannel, Subscribed},
};

use super::{
    MAX_TRAIL, Trail,
    live::{Seat, Session},
    trail::Taken,
};
use crate::channel::{
    Accepted, Refused,
    presence::{Attendance, Wish},
};

/// What several subscriptions come to.
pub(super) struct Joined {
    /// One for each that was asked for, in order.
    pub(super) answers: Vec<Subscribed>,
    accepted: Vec<(Accepted, Attendance)>,
    taken: Vec<Taken>,
}

impl Session {
    pub(super) async fn subscribe(&mut self, id: RequestId, channels: Vec<SubscribeChannel>) {
        // For lists of members: more would not fit into the outbox.
        let mut joined = self.join(channels, self.outbox.limit() / 2).await;
        let list = ChannelList { channels: std::mem::take(&mut joined.answers) };
        let reply = self.outbox.wire().seal(|format, out| encode::reply(format, id, &list, out));
        self.activate([reply], joined).await;
    }

    /// Joins channels, and puts nothing into the outbox. Lists of members take `room` bytes at most.
    pub(super) async fn join(&mut self, channels: Vec<SubscribeChannel>, mut room: usize) -> Joined {
        self.forget_revoked(&channels);
        let most = self.trail.as_ref().map_or(u32::MAX, |_| MAX_TRAIL).min(self.backend.config.session.subscriptions);
        let free = (most as usize).saturating_sub(self.subscriptions.len());
        let mut wanted = 0;
        let mut names = HashSet::new();
        let watching: Vec<bool> = channels.iter().map(|asked| asked.presence).collect();
        let attempts: Vec<_> = channels
            .into_iter()
            .map(|asked| {
                let name = self.admit(&asked.channel, free - wanted, &mut names).and_then(|name| self.note(&asked, name));
                wanted += usize::from(name.is_ok());
                self.join_one(asked, name)
            })
            .collect();
        let results = join_all(attempts).await;
        let mut joined = Joined { answers: Vec::with_capacity(results.len()), accepted: Vec::new(), taken: Vec::new() };
        for (result, presence) in results.into_iter().zip(watching) {
            match result {
                Ok((mut one, mut attendance)) => {
                    attendance.fit(&mut room);
                    one.answer.presence = attendance.state.take();
                    if self.trail.is_some() {
                        joined.taken.push(Taken { subscription: one.subscription.clone(), durable: one.answer.durable, presence });
                    }
                    joined.answers.push(std::mem::take(&mut one.answer));
                    joined.accepted.push((one, attendance));
                }
                Err((channel, error)) => {
                    if let Some(trail) = &self.trail
                        && error.code != ErrorCode::AlreadySubscribed.as_str()
                    {
                        trail.refused(&channel, error.retry);
                    }
                    joined.answers.push(Subscribed { channel, error: Some(error), ..Subscribed::default() });
                }
            }
        }
        joined
    }

    /// Puts `told` into the outbox, then what precedes everything else of the channels; then they are subscribed to.
    pub(super) async fn activate(&mut self, told: impl IntoIterator<Item = Bytes>, joined: Joined) {
        let Joined { mut accepted, taken, .. } = joined;
        let skips: Vec<Bytes> = accepted.iter_mut().filter_map(|(one, _)| one.skip.take()).collect();
        self.outbox.push_all(told.into_iter().chain(skips), || {
            if let Some(trail) = &self.trail {
                trail.answered(taken);
            }
        });
        self.backend.metrics.subscriptions.increment(accepted.len() as f64);
        for (Accepted { subscription, .. }, attendance) in accepted {
            self.outbox.activate(&subscription);
            let place = self.backend.channels.attended(&subscription, attendance).await;
            self.subscriptions.insert(subscription.channel.clone(), Seat::new(subscription, place));
        }
    }

    /// Notes on the trail that a channel is asked for.
    fn note(&self, asked: &SubscribeChannel, name: ChannelName) -> Result<ChannelName, ErrorBody> {
        match &self.trail {
            Some(trail) if !trail.ask(asked) => Err(Trail::too_long()),
            _ => Ok(name),
        }
    }

    /// What the server has ended by its own will is no subscription any more.
    fn forget_revoked(&mut self, channels: &[SubscribeChannel]) {
        for asked in channels {
            if self.subscriptions.get(asked.channel.as_str()).is_some_and(Seat::is_revoked) {
                self.subscriptions.remove(asked.channel.as_str());
                self.backend.metrics.subscriptions.decrement(1.0);
            }
        }
    }

    /// Checks what concerns this session alone.
    fn admit(&self, channel: &str, room: usize, names: &mut HashSet<ChannelName>) -> Result<ChannelName, ErrorBody> {
        let name = ChannelName::parse(channel).map_err(|error| ErrorBody::new(ErrorCode::ChannelInvalid, error.to_string()))?;
        if self.subscriptions.contains_key(&name) || !names.insert(name.clone()) {
            return Err(ErrorBody::new(ErrorCode::AlreadySubscribed, "unsubscribe first"));
        }
        if room == 0 {
            return Err(ErrorBody::new(ErrorCode::TooManySubscriptions, "unsubscribe from something first, or open another connection"));
        }
        Ok(name)
    }

    async fn join_one(
        &self,
        asked: SubscribeChannel,
        name: Result<ChannelName, ErrorBody>,
    ) -> Result<(Accepted, Attendance), (String, ErrorBody)> {
        let name = match name {
            Ok(name) => name,
            Err(error) => return Err((asked.channel, error)),
        };
        self.accept(&asked, name).await.map_err(|refused| (asked.channel, refused.body()))
    }

    async fn accept(&self, asked: &SubscribeChannel, name: ChannelName) -> Result<(Accepted, Attendance), Refused> {
        let channels = &self.backend.channels;
        let wish = if asked.presence { Wish::Watch } else { Wish::Attend };
        if wish == Wish::Watch {
            channels.may_watch(&self.identity, &name).await?;
        }
        let accepted = channels.subscribe(&self.identity, self.outbox.clone(), name.clone(), asked.since, asked.slow).await?;
        match channels.attend(&self.identity, &name, wish).await {
            Ok(attendance) => Ok((accepted, attendance)),
            Err(refused) => {
                channels.unsubscribe(accepted.subscription).await;
                Err(refused)
            }
        }
    }
}
