//! After `connect`: somebody.

use std::{
    collections::HashMap,
    sync::Arc,
    task::{Context, Poll},
};

use foldhash::quality::FixedState;
use futures_util::future::join_all;
use hubbub_protocol::{
    ChannelName, ClientFrame, CloseCode, ErrorCode, MessageId, ServerFrame, encode,
    frame::{
        Channels as ChannelList, ErrorBody, Head, History, Pong, PresenceRequest, Publish, Refreshed, RequestId, SubscribeChannel,
        Subscribed, UnsubscribedChannel,
    },
};
use serde::Serialize;

use super::{Backend, MAX_TRAIL, Trail, Vitals, replies::Replies, trail::Taken};
use crate::{
    access::{Denied, Listed},
    auth::{Act, Identity},
    channel::{
        Accepted, Direction, NewMessage, Refused, Ticket,
        presence::{Attendance, Place, Wish},
    },
    hub::{Outbox, Standing, Subscription},
};

/// Publishes of one session that may wait for their commit; more are read when some are answered.
const WAITING: usize = 1_024;

/// A client that has said who it is.
#[derive(Debug)]
pub(super) struct Session {
    id: MessageId,
    identity: Identity,
    /// Rulings about its credentials reach it by this.
    listed: Listed,
    backend: Arc<Backend>,
    outbox: Arc<Outbox>,
    vitals: Arc<Vitals>,
    subscriptions: HashMap<ChannelName, Seat, FixedState>,
    replies: Replies,
    /// Who pulled last.
    pulled: Option<ChannelName>,
    /// Follows it, so that the peer can resume by itself.
    trail: Option<Arc<Trail>>,
}

/// A subscription, and its place among the channel's members: both end together.
#[derive(Debug)]
struct Seat {
    subscription: Arc<Subscription>,
    _place: Option<Box<Place>>,
}

impl Seat {
    fn is_revoked(&self) -> bool {
        self.subscription.standing() == Standing::Ended
    }
}

impl Session {
    pub(super) fn new(
        id: MessageId,
        identity: Identity,
        listed: Listed,
        backend: Arc<Backend>,
        outbox: Arc<Outbox>,
        vitals: Arc<Vitals>,
        trail: Option<Arc<Trail>>,
    ) -> Self {
        // At most 512 names a client chooses itself: their hashes need no secret of their own.
        let subscriptions = HashMap::with_hasher(FixedState::with_seed(id.unix_ms()));
        Self { id, identity, listed, backend, outbox, vitals, subscriptions, replies: Replies::default(), pulled: None, trail }
    }

    pub(super) fn id(&self) -> MessageId {
        self.id
    }

    pub(super) fn user(&self) -> &str {
        &self.identity.user
    }

    pub(super) fn identity(&self) -> &Identity {
        &self.identity
    }

    pub(super) async fn frame(&mut self, frame: ClientFrame) {
        match frame {
            ClientFrame::Connect(connect) => self.refuse(
                Some(connect.id),
                ErrorBody::new(ErrorCode::AlreadyConnected, "`connect` comes once; use `refresh` for a new token"),
            ),
            ClientFrame::Refresh { id, token } => self.refresh(id, &token).await,
            ClientFrame::Subscribe { id, channels } => self.subscribe(id, channels).await,
            ClientFrame::Unsubscribe { id, channels } => self.unsubscribe(id, channels).await,
            ClientFrame::Publish(publish) => self.publish(publish).await,
            ClientFrame::History(history) => self.history(history).await,
            ClientFrame::Presence(request) => self.presence(request).await,
            ClientFrame::Ping { id } => self.reply(id, &Pong { time: self.backend.world.clock.now() }),
        }
    }

    fn reply<T: Serialize>(&self, id: RequestId, result: &T) {
        self.outbox.push(self.outbox.wire().seal(|format, out| encode::reply(format, id, result, out)));
    }

    fn refuse(&self, id: Option<RequestId>, error: ErrorBody) {
        self.backend.metrics.frames_refused.increment(1);
        if id.is_some() {
            self.outbox.push(self.outbox.wire().frame(&ServerFrame::Error { id, error }));
        }
    }

    async fn publish(&mut self, publish: Publish) {
        while self.replies.len() >= WAITING {
            std::future::poll_fn(|cx| self.poll_answers(cx)).await;
            self.outbox.flush();
        }
        let Publish { id, channel, message_id, key, payload } = publish;
        let message = NewMessage { channel, message_id, key, payload };
        match self.backend.channels.publish(&self.identity, message).await {
            Ok(Ticket::Done(published)) => {
                if let Some(id) = id {
                    self.reply(id, &published);
                }
            }
            Ok(ticket) => self.replies.push(id, ticket),
            Err(refused) => self.refuse(id, refused.body()),
        }
    }

    pub(super) fn poll_answers(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let mut any = Poll::Pending;
        while let Poll::Ready((id, answer)) = self.replies.poll(cx) {
            match (id, answer) {
                (Some(id), Ok(published)) => self.reply(id, &published),
                (None, Ok(_)) => {}
                (id, Err(refused)) => self.refuse(id, refused.body()),
            }
            any = Poll::Ready(());
        }
        any
    }

    pub(super) fn is_waiting(&self) -> bool {
        self.replies.len() > 0
    }

    async fn subscribe(&mut self, id: RequestId, channels: Vec<SubscribeChannel>) {
        self.forget_revoked(&channels);
        let most = self.trail.as_ref().map_or(u32::MAX, |_| MAX_TRAIL).min(self.backend.config.session.subscriptions);
        let room = (most as usize).saturating_sub(self.subscriptions.len());
        let mut wanted = 0;
        let mut names = std::collections::HashSet::new();
        let watching: Vec<bool> = channels.iter().map(|asked| asked.presence).collect();
        let mut taken = Vec::new();
        let attempts: Vec<_> = channels
            .into_iter()
            .map(|asked| {
                let name = self.admit(&asked.channel, room - wanted, &mut names).and_then(|name| self.note(&asked, name));
                wanted += usize::from(name.is_ok());
                self.join(asked, name)
            })
            .collect();
        let results = join_all(attempts).await;
        let mut list = ChannelList { channels: Vec::with_capacity(results.len()) };
        let mut accepted = Vec::new();
        // For lists of members: more would not fit into the outbox.
        let mut room = self.outbox.limit() / 2;
        for (result, presence) in results.into_iter().zip(watching) {
            match result {
                Ok((mut one, mut attendance)) => {
                    attendance.fit(&mut room);
                    one.answer.presence = attendance.state.take();
                    if self.trail.is_some() {
                        taken.push(Taken { subscription: one.subscription.clone(), durable: one.answer.durable, presence });
                    }
                    list.channels.push(one.answer);
                    accepted.push((one.subscription, one.skip, attendance));
                }
                Err((channel, error)) => {
                    if let Some(trail) = &self.trail
                        && error.code != ErrorCode::AlreadySubscribed.as_str()
                    {
                        trail.refused(&channel, error.retry);
                    }
                    list.channels.push(Subscribed { channel, error: Some(error), ..Subscribed::default() });
                }
            }
        }
        let reply = self.outbox.wire().seal(|format, out| encode::reply(format, id, &list, out));
        let skips = accepted.iter_mut().filter_map(|(_, skip, _)| skip.take());
        self.outbox.push_all([reply].into_iter().chain(skips), || {
            if let Some(trail) = &self.trail {
                trail.answered(taken);
            }
        });
        self.backend.metrics.subscriptions.increment(accepted.len() as f64);
        for (subscription, _, attendance) in accepted {
            self.outbox.activate(&subscription);
            let place = self.backend.channels.attended(&subscription, attendance).await;
            self.subscriptions.insert(subscription.channel.clone(), Seat { subscription, _place: place });
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
    fn admit(&self, channel: &str, room: usize, names: &mut std::collections::HashSet<ChannelName>) -> Result<ChannelName, ErrorBody> {
        let name = ChannelName::parse(channel).map_err(|error| ErrorBody::new(ErrorCode::ChannelInvalid, error.to_string()))?;
        if self.subscriptions.contains_key(&name) || !names.insert(name.clone()) {
            return Err(ErrorBody::new(ErrorCode::AlreadySubscribed, "unsubscribe first"));
        }
        if room == 0 {
            return Err(ErrorBody::new(ErrorCode::TooManySubscriptions, "unsubscribe from something first, or open another connection"));
        }
        Ok(name)
    }

    async fn join(
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

    async fn unsubscribe(&mut self, id: RequestId, channels: Vec<String>) {
        let mut list = ChannelList { channels: Vec::with_capacity(channels.len()) };
        for channel in channels {
            let error = match self.subscriptions.remove(channel.as_str()) {
                Some(seat) => {
                    self.end(seat).await;
                    None
                }
                None => Some(ErrorBody::new(ErrorCode::NotSubscribed, "there is no such subscription on this connection")),
            };
            list.channels.push(UnsubscribedChannel { channel, error });
        }
        self.reply(id, &list);
    }

    async fn end(&self, seat: Seat) {
        if let Some(trail) = &self.trail {
            trail.forget(seat.subscription.channel.as_str());
        }
        self.backend.metrics.subscriptions.decrement(1.0);
        self.backend.channels.unsubscribe(seat.subscription).await;
    }

    async fn presence(&self, request: PresenceRequest) {
        let PresenceRequest { id, channel, after, limit } = request;
        match self.backend.channels.members(&self.identity, &channel, after, limit, self.outbox.limit() / 2).await {
            Ok(page) => self.reply(id, &page),
            Err(refused) => self.refuse(Some(id), refused.body()),
        }
    }

    async fn history(&self, history: History) {
        let page = match Direction::new(history.after, history.before) {
            Ok(direction) => self.backend.channels.history(&self.identity, &history.channel, direction, history.limit).await,
            Err(refused) => Err(refused),
        };
        match page {
            Ok(mut page) => loop {
                let wire = self.outbox.wire();
                let reply = wire.seal(|format, out| encode::history_reply(format, history.id, page.rest, page.entries.iter(), out));
                // JSON may take several times the bytes that the store counted.
                if reply.len() <= self.outbox.limit() / 2 || page.entries.len() == 1 {
                    return self.outbox.push(reply);
                }
                page.halve();
            },
            Err(refused) => self.refuse(Some(history.id), refused.body()),
        }
    }

    async fn refresh(&mut self, id: RequestId, token: &str) {
        let identity = match self.backend.identify(token) {
            Ok(identity) if identity.user == self.identity.user => identity,
            Ok(_) => {
                return self.refuse(
                    Some(id),
                    ErrorBody::new(ErrorCode::IdentityChanged, "the new token is of another user; open another connection"),
                );
            }
            Err(error) => return self.refuse(Some(id), ErrorBody::new(error.code(), error.to_string())),
        };
        let listed = self.backend.access.list(&identity, &self.outbox);
        if let Err(denied) = self.backend.access.admits(&identity) {
            return self.refuse(Some(id), ErrorBody::new(denied.code(), denied.to_string()));
        }
        if let Some(trail) = &self.trail
            && !trail.follow(&identity)
        {
            return self.refuse(Some(id), Trail::too_long());
        }
        (self.identity, self.listed) = (identity, listed);
        self.vitals.authenticate(self.identity.expires_at);
        self.reply(id, &Refreshed { expires_at: self.identity.expires_at });
        self.review().await;
    }

    /// Rights may have changed: what is no longer allowed ends.
    pub(super) async fn review(&mut self) {
        let channels: Vec<ChannelName> = self.subscriptions.keys().cloned().collect();
        for channel in channels {
            let refused = match self.backend.access.may(&self.identity, Act::Subscribe, &channel).await {
                Ok(()) => continue,
                // Not to be known is no reason to go on; it may come back, and resume.
                Err(Denied::Unavailable) => return self.outbox.close(CloseCode::Unverified, None),
                Err(denied) => Refused::from(denied),
            };
            if let Some(seat) = self.subscriptions.remove(&channel) {
                let is_told = !seat.is_revoked();
                self.backend.metrics.rulings_subscriptions_ended.increment(u64::from(is_told));
                self.end(seat).await;
                if is_told {
                    self.outbox.push(self.outbox.wire().frame(&ServerFrame::Unsubscribed { channel, error: refused.body() }));
                }
            }
        }
    }

    pub(super) async fn catch_up(&mut self) {
        let mut turns: Vec<_> = self.subscriptions.values().map(|seat| seat.subscription.clone()).collect();
        // From where it stopped: a channel that is behind all the time must not keep the others waiting.
        if let Some(last) = self.pulled.as_ref().and_then(|pulled| turns.iter().position(|turn| turn.channel == *pulled)) {
            turns.rotate_left(last + 1);
        }
        for subscription in turns.into_iter().filter(|turn| turn.standing() == Standing::Behind) {
            if self.outbox.bytes() > self.outbox.limit() / 4 {
                // No room for the others now: their turn comes when this has left.
                self.outbox.wait_for_room();
                return;
            }
            self.pulled = Some(subscription.channel.clone());
            self.backend.channels.catch_up(&subscription).await;
        }
    }

    /// Tells how far the subscriptions have come, and makes the peer's transport answer.
    pub(super) fn heartbeat(&mut self) {
        // Who was told to subscribe again and has not is no member for longer than this.
        let revoked = self.subscriptions.extract_if(|_, seat| seat.is_revoked()).count();
        self.backend.metrics.subscriptions.decrement(revoked as f64);
        let heads = |Seat { subscription, .. }: &Seat| {
            let cursor = self.outbox.moved(subscription)?;
            Some(Head { channel: subscription.channel.clone(), cursor })
        };
        let channels = self.subscriptions.values().filter_map(heads).collect();
        let wire = self.outbox.wire();
        self.outbox.push(wire.frame(&ServerFrame::Heads { time: self.backend.world.clock.now(), channels }));
        self.outbox.push(wire.ping());
        self.outbox.flush();
    }

    pub(super) async fn leave(mut self) {
        for (_, seat) in std::mem::take(&mut self.subscriptions) {
            self.end(seat).await;
        }
        tracing::debug!(session = %self.id, user = %self.identity.user, "left");
    }
}
