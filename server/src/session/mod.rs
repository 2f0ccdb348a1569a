//! One client's state machine: a message goes in, replies come out through its outbox. It knows no socket.
//!
//! *Before `connect`* and *after* are two types. Transports drive [`Client`]: they hand in messages, poll for answers that come later,
//! and tell it when there is room to catch up and when a heartbeat is due.

mod auto;
mod greeting;
mod live;
mod passport;
mod replies;
mod subscribing;
#[cfg(test)]
mod tests;
mod trail;
mod vitals;

use std::{
    sync::Arc,
    task::{Context, Poll},
};

use hubbub_protocol::{
    ClientFrame, ClientFrames, CloseCode, DecodeError, ErrorCode, MessageId, ServerFrame,
    frame::{ErrorBody, RequestId},
};

use crate::{
    access::Access,
    account::{Accounts, Sightings},
    auth::{Identity, TokenError, Verifier},
    channel::Channels,
    config::Config,
    hub::Outbox,
    room::Rooms,
    telemetry::Metrics,
    world::World,
};
use greeting::Greeting;
use live::Session;

pub use passport::{Passport, PassportError};
pub use trail::{MAX_PASSPORT, MAX_TRAIL, Trail};
pub use vitals::Vitals;

/// What sessions work with. One an instance, shared.
#[derive(Debug)]
pub struct Backend {
    /// Bounds.
    pub config: Arc<Config>,
    /// This instance's id.
    pub instance: Arc<str>,
    /// The use cases.
    pub channels: Arc<Channels>,
    /// Who may do what.
    pub access: Arc<Access>,
    /// Makes personal channels.
    pub rooms: Arc<Rooms>,
    /// Believes tokens, or not.
    pub verifier: Arc<Verifier>,
    /// Users of this server's own, if it has any.
    pub accounts: Option<Arc<Accounts>>,
    /// Sees users of outside issuers.
    pub sightings: Arc<Sightings>,
    /// Counts.
    pub metrics: Arc<Metrics>,
    /// Time and chance.
    pub world: World,
}

impl Backend {
    /// Who `token` stands for, now. Whoever is seen for the first time becomes a user.
    ///
    /// # Errors
    /// It does not verify.
    pub fn identify(&self, token: &str) -> Result<Identity, TokenError> {
        let identity = self.verifier.verify(token, self.world.clock.now());
        match (&identity, &self.accounts) {
            (Ok(identity), _) => self.sightings.saw(identity),
            // It may be one of ours that another instance has made: who asks again finds it.
            (Err(TokenError::UnknownKey), Some(accounts)) => accounts.keys().want(),
            (Err(_), _) => {}
        }
        identity
    }

    /// The name of the session `id` of this instance, as `connect` tells it. Whoever holds it finds the instance by it; it is no secret.
    pub fn session_name(&self, id: MessageId) -> String {
        format!("{}.{id}", self.instance)
    }
}

/// One client, from its first byte to its last.
#[derive(Debug)]
pub struct Client {
    backend: Arc<Backend>,
    outbox: Arc<Outbox>,
    stage: Stage,
}

#[derive(Debug)]
enum Stage {
    /// Nobody yet.
    Greeting(Greeting),
    /// Somebody.
    Live(Box<Session>),
}

impl Client {
    /// A client that has not said `connect`. `identity` is what the transport's own credentials told, if it had any; `admission` is
    /// held until the client is somebody.
    pub fn new(
        backend: Arc<Backend>,
        outbox: Arc<Outbox>,
        vitals: Arc<Vitals>,
        identity: Option<Identity>,
        admission: tokio::sync::OwnedSemaphorePermit,
    ) -> Self {
        let id = backend.world.id();
        let stage = Stage::Greeting(Greeting { id, identity, vitals, trail: None, _admission: admission });
        Self { backend, outbox, stage }
    }

    /// The same, and how far it comes is told to `trail`. To be called before its first message.
    pub fn with_trail(mut self, trail: Arc<Trail>) -> Self {
        if let Stage::Greeting(greeting) = &mut self.stage {
            greeting.trail = Some(trail);
        }
        self
    }

    /// The session's id.
    pub fn id(&self) -> MessageId {
        match &self.stage {
            Stage::Greeting(greeting) => greeting.id,
            Stage::Live(session) => session.id(),
        }
    }

    /// Handles one message: its frames in order. Answers are in the outbox, not flushed, or come later by [`Client::poll_answers`].
    pub async fn message(&mut self, message: &[u8]) {
        let frames = ClientFrames::new(self.outbox.wire().format(), message, self.backend.config.channel.payload);
        for frame in frames {
            self.backend.metrics.frames_received.increment(1);
            match frame {
                Ok(frame) => self.frame(frame).await,
                Err(DecodeError::Frame { id, code, detail }) => self.refuse(id, ErrorBody::new(code, detail)),
                Err(DecodeError::Fatal(code)) => self.outbox.close(code, None),
            }
            if self.outbox.is_closing() {
                return;
            }
        }
    }

    async fn frame(&mut self, frame: ClientFrame) {
        match (&mut self.stage, frame) {
            (Stage::Greeting(greeting), ClientFrame::Connect(connect)) => {
                if let Some(session) = greeting.connect(connect, &self.backend, &self.outbox) {
                    self.stage = Stage::Live(Box::new(session));
                }
            }
            (Stage::Greeting(_), frame) => self.refuse(frame.id(), ErrorBody::new(ErrorCode::NotConnected, "the first frame is `connect`")),
            // Boxed: an idle connection should not hold room for the largest request.
            (Stage::Live(session), frame) => Box::pin(session.frame(frame)).await,
        }
    }

    fn refuse(&self, id: Option<RequestId>, error: ErrorBody) {
        self.backend.metrics.frames_refused.increment(1);
        self.outbox.push(self.outbox.wire().frame(&ServerFrame::Error { id, error }));
    }

    /// Puts answers that have come into the outbox. Ready if there were any: flush.
    pub fn poll_answers(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        match &mut self.stage {
            Stage::Greeting(_) => Poll::Pending,
            Stage::Live(session) => session.poll_answers(cx),
        }
    }

    /// Whether answers are still to come.
    pub fn is_waiting(&self) -> bool {
        matches!(&self.stage, Stage::Live(session) if session.is_waiting())
    }

    /// There is room: each subscription that is behind gets a page.
    pub async fn catch_up(&mut self) {
        if let Stage::Live(session) = &mut self.stage {
            Box::pin(session.catch_up()).await;
        }
    }

    /// Rights may have changed: subscriptions that are no longer allowed end.
    pub async fn review(&mut self) {
        if let Stage::Live(session) = &mut self.stage {
            Box::pin(session.review()).await;
        }
    }

    /// A heartbeat is due.
    pub fn heartbeat(&mut self) {
        if let Stage::Live(session) = &mut self.stage {
            session.heartbeat();
        }
    }

    /// The connection is over: every subscription ends.
    pub async fn leave(self) {
        if let Stage::Live(session) = self.stage {
            session.leave().await;
        }
    }

    /// The format of its frames.
    pub fn format(&self) -> hubbub_protocol::Format {
        self.outbox.wire().format()
    }

    /// Who it is, and by which token.
    pub fn identity(&self) -> Option<&Identity> {
        match &self.stage {
            Stage::Greeting(_) => None,
            Stage::Live(session) => Some(session.identity()),
        }
    }

    /// Who it is, for logs.
    pub fn user(&self) -> Option<&str> {
        match &self.stage {
            Stage::Greeting(_) => None,
            Stage::Live(session) => Some(session.user()),
        }
    }

    /// Its session's name, for logs.
    pub fn session(&self) -> Option<String> {
        match &self.stage {
            Stage::Greeting(_) => None,
            Stage::Live(session) => Some(session.id().to_string()),
        }
    }

    /// Closes with `code`, after what waits.
    pub fn close(&self, code: CloseCode) {
        self.outbox.close(code, None);
    }
}
