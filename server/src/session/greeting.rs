//! Before `connect`: nobody yet.

use std::sync::Arc;

use hubbub_protocol::{
    CloseCode, ErrorCode, MessageId, ServerFrame, encode,
    frame::{Connect, Connected, ErrorBody, Limits},
    limits,
};
use tokio::sync::OwnedSemaphorePermit;

use super::{Backend, MAX_TRAIL, Trail, Vitals, auto::Auto, live::Session};
use crate::{
    access::{Denied, Listed},
    auth::Identity,
    hub::Outbox,
};

/// A client that has not said who it is.
#[derive(Debug)]
pub(super) struct Greeting {
    pub(super) id: MessageId,
    pub(super) identity: Option<Identity>,
    pub(super) vitals: Arc<Vitals>,
    pub(super) trail: Option<Arc<Trail>>,
    /// One of the places for connections that are nobody yet.
    pub(super) _admission: OwnedSemaphorePermit,
}

impl Greeting {
    /// Verifies the token; on success the reply is in the outbox, on failure the error and a goodbye.
    pub(super) fn connect(&mut self, connect: Connect, backend: &Arc<Backend>, outbox: &Arc<Outbox>) -> Option<Session> {
        let now = backend.world.clock.now();
        let trail = self.trail.take();
        let (identity, listed) = match self.identify(connect.token, trail.as_ref(), backend, outbox) {
            Ok(admitted) => admitted,
            Err((error, code)) => {
                backend.metrics.frames_refused.increment(1);
                outbox.push(outbox.wire().frame(&ServerFrame::Error { id: Some(connect.id), error }));
                outbox.close(code, None);
                return None;
            }
        };
        let config = &backend.config;
        let subscriptions = trail.as_ref().map_or(config.session.subscriptions, |_| config.session.subscriptions.min(MAX_TRAIL));
        let connected = Connected {
            session: backend.session_name(self.id),
            user: identity.user.to_string(),
            time: now,
            expires_at: identity.expires_at,
            heartbeat: config.session.heartbeat.as_millis() as u64,
            grace: config.session.grace.as_millis() as u64,
            limits: Limits {
                payload: config.channel.payload as u64,
                frame: limits::MAX_FRAME as u64,
                subscriptions,
                dedup_window: config.channel.dedup_window.as_millis() as u64,
            },
        };
        outbox.push(outbox.wire().seal(|format, out| encode::reply(format, connect.id, &connected, out)));
        self.vitals.authenticate(identity.expires_at);
        tracing::debug!(session = %self.id, user = %identity.user, client = connect.client.as_deref().unwrap_or(""), "connected");
        let enlist = |wanted| Box::new(Auto::new(backend.access.enlist(&identity, outbox), wanted));
        let auto = connect.auto.map(enlist);
        if auto.is_some() {
            // Its task looks what is due.
            outbox.review();
        }
        let mut session = Session::new(self.id, identity, listed, backend.clone(), outbox.clone(), self.vitals.clone(), trail);
        session.auto = auto;
        Some(session)
    }

    /// Who it is, on the list of those that rulings reach; or what it is told, and how it is closed.
    fn identify(
        &mut self,
        token: Option<String>,
        trail: Option<&Arc<Trail>>,
        backend: &Backend,
        outbox: &Arc<Outbox>,
    ) -> Result<(Identity, Listed), (ErrorBody, CloseCode)> {
        let unauthorized = |error| (error, CloseCode::Unauthorized);
        let identity = match (token, self.identity.take()) {
            (Some(token), _) => backend.identify(&token).map_err(|error| ErrorBody::new(error.code(), error.to_string())),
            (None, Some(identity)) => Ok(identity),
            (None, None) => {
                Err(ErrorBody::new(ErrorCode::Unauthorized, "send a token in `connect`, or in the upgrade's Authorization header"))
            }
        };
        let identity = identity.map_err(unauthorized)?;
        if trail.is_some_and(|trail| !trail.follow(&identity)) {
            return Err(unauthorized(Trail::too_long()));
        }
        // In this order: a ruling that is not seen yet finds it on the list.
        let listed = backend.access.list(&identity, outbox);
        backend.access.admits(&identity).map_err(|denied| {
            let code = if denied == Denied::Revoked { CloseCode::Revoked } else { CloseCode::Unverified };
            (ErrorBody::new(denied.code(), denied.to_string()), code)
        })?;
        Ok((identity, listed))
    }
}
