//! `GET /v1/ws`.

use std::sync::Arc;

use axum::{
    body::Body,
    extract::{Request, State},
    response::{IntoResponse, Response},
};
use http::{HeaderMap, header};
use hubbub_protocol::{CloseCode, ErrorCode, Format, limits};
use hyper::upgrade::OnUpgrade;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;

use super::{accept, drive, handshake, socket};
use crate::{
    auth::Identity,
    http::{Problem, bearer},
    hub::{Outbox, Sink, Wire},
    session::{Backend, Client, Vitals},
    tasks::Tasks,
    telemetry::Ended,
    transport::{Connection, Connections},
};

/// What the endpoint works with. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Endpoint {
    /// Sessions.
    pub backend: Arc<Backend>,
    /// Open connections.
    pub connections: Arc<Connections>,
    /// Places for connections that are nobody yet.
    pub admission: Arc<Semaphore>,
    /// Spawns connections.
    pub tasks: Tasks,
    /// Cancelled when no new connection is welcome.
    pub draining: CancellationToken,
}

/// Upgrades to a WebSocket that speaks `hubbub.v1`.
pub async fn upgrade(State(endpoint): State<Endpoint>, mut request: Request<Body>) -> Response {
    match endpoint.upgrade(&mut request) {
        Ok(response) => response,
        Err(problem) => problem.into_response(),
    }
}

impl Endpoint {
    fn upgrade(&self, request: &mut Request<Body>) -> Result<Response, Problem> {
        if self.draining.is_cancelled() {
            return Err(Problem::new(ErrorCode::Draining, "this instance is shutting down"));
        }
        let format = subprotocol(request.headers()).ok_or_else(|| {
            Problem::new(ErrorCode::BadFrame, "offer the subprotocol hubbub.v1.msgpack or hubbub.v1.json in Sec-WebSocket-Protocol")
        })?;
        let identity = match bearer(request.headers()) {
            Some(token) => Some(
                self.backend
                    .verifier
                    .verify(token, self.backend.world.clock.now())
                    .map_err(|error| Problem::new(error.code(), error.to_string()))?,
            ),
            None => None,
        };
        let handshake =
            handshake(request).map_err(|error| Problem::new(ErrorCode::BadFrame, error.to_string()).with_status(error.status()))?;
        let admission = self
            .admission
            .clone()
            .try_acquire_owned()
            .map_err(|_| Problem::new(ErrorCode::Overloaded, "too many connections have not authenticated yet"))?;
        let (response, upgrade) = handshake.accept(Some(format.subprotocol()));
        self.tasks.spawn(self.clone().serve(upgrade, format, identity, admission));
        Ok(response)
    }

    async fn serve(self, upgrade: OnUpgrade, format: Format, identity: Option<Identity>, admission: OwnedSemaphorePermit) {
        let Some((stream, early)) = socket(upgrade).await else { return };
        let Endpoint { backend, connections, .. } = self;
        let vitals = Arc::new(Vitals::new(backend.world.clock.elapsed()));
        let outbox = Outbox::new(Sink::Socket(stream), Wire::Socket(format), backend.config.session.outbox);
        let number = connections.add(Connection { outbox: outbox.clone(), vitals: vitals.clone() });
        let socket = accept(outbox.clone(), vitals.clone(), backend.world.clock.clone(), early, limits::MAX_FRAME).await;
        let mut client = Client::new(backend, outbox.clone(), vitals, identity, admission);
        let ended = drive(socket, outbox, &mut client).await;
        if let Ended::Closed(code) = ended
            && code != CloseCode::Normal
        {
            tracing::debug!(session = client.session(), user = client.user(), code = code.code(), reason = code.reason(), "closed");
        }
        // Boxed: an idle connection should not hold room for its end.
        Box::pin(client.leave()).await;
        connections.remove(number, ended);
    }
}

fn subprotocol(headers: &HeaderMap) -> Option<Format> {
    headers.get_all(header::SEC_WEBSOCKET_PROTOCOL).iter().filter_map(|offered| offered.to_str().ok()).find_map(Format::negotiate)
}
