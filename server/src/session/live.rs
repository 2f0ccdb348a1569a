//! After `connect`: somebody.

use std::{
    collections::HashMap,
    sync::Arc,
    task::{Context, Poll},
};

use foldhash::quality::FixedState;
use hubbub_protocol::{
    ChannelName, ClientFrame, CloseCode, ErrorCode, MessageId, ServerFrame, encode,
    frame::{Channels as ChannelList, ErrorBody, Head, History, Pong, PresenceRequest, Publish, Refreshed, RequestId, UnsubscribedChannel},
};
use serde::Serialize;

use super::{Backend, Trail, Vitals, auto::Auto, replies::Replies};
use crate::{
    access::{Denied, Listed},
    auth::{Act, Identity},
    channel::{Direction, NewMessage, Refused, Ticket, presence::Place},
    hub::{Outbox, Standing, Subscription},
};

/// Publishes of one session that may wait for their commit; more are read when some are answered.
const WAITING: usize = 1_024;

/// A client that has said who it is.
#[derive(Debug)]
pub(super) struct Session {
    id: MessageId,
    pub(super) identity: Identity,
    /// Rulings about its credentials reach it by this.
    listed: Listed,
    pub(super) backend: Arc<Backend>,
    pub(super) outbox: Arc<Outbox>,
    vitals: Arc<Vitals>,
    pub(super) subscriptions: HashMap<ChannelName, Seat, FixedState>,
    replies: Replies,
    /// Who pulled last.
    pulled: Option<ChannelName>,
    /// Follows it, so that the peer can resume by itself.
    pub(super) trail: Option<Arc<Trail>>,
    /// The server begins subscriptions, if the client wants that.
    pub(super) auto: Option<Box<Auto>>,
}

/// A subscription, and its place among the channel's members: both end together.
#[derive(Debug)]
pub(super) struct Seat {
    pub(super) subscription: Arc<Subscription>,
    _place: Option<Box<Place>>,
}

impl Seat {
    pub(super) fn new(subscription: Arc<Subscription>, place: Option<Box<Place>>) -> Self {
        Self { subscription, _place: place }
    }

    /// The server has ended it by its own will.
    pub(super) fn is_revoked(&self) -> bool {
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
        let replies = Replies::default();
        Self { id, identity, listed, backend, outbox, vitals, subscriptions, replies, pulled: None, trail, auto: None }
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

    async fn unsubscribe(&mut self, id: RequestId, channels: Vec<String>) {
        let mut list = ChannelList { channels: Vec::with_capacity(channels.len()) };
        for channel in channels {
            let error = match self.subscriptions.remove(channel.as_str()) {
                Some(seat) => {
                    if let Some(auto) = &mut self.auto {
                        auto.decline(&seat.subscription.channel);
                    }
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

    /// Rights may have changed: what is no longer allowed ends, and what the server is to begin begins.
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
        self.begin().await;
    }

    pub(super) async fn catch_up(&mut self) {
        self.begin().await;
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
        for (channel, _) in self.subscriptions.extract_if(|_, seat| seat.is_revoked()) {
            self.backend.metrics.subscriptions.decrement(1.0);
            if let Some(auto) = &mut self.auto {
                auto.decline(&channel);
            }
        }
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
