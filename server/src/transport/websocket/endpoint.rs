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
use tokio::sync::OwnedSemaphorePermit;

use super::{accept, drive, handshake, socket};
use crate::{
    auth::Identity,
    http::Problem,
    hub::{Outbox, Sink, Wire},
    session::{Client, Vitals},
    telemetry::{Ended, Transport},
    transport::{Connection, Endpoint},
};

/// Upgrades to a WebSocket that speaks `hubbub.v1`.
pub async fn upgrade(State(endpoint): State<Endpoint>, mut request: Request<Body>) -> Response {
    match endpoint.upgrade(&mut request) {
        Ok(response) => response,
        Err(problem) => problem.into_response(),
    }
}

impl Endpoint {
    fn upgrade(&self, request: &mut Request<Body>) -> Result<Response, Problem> {
        self.welcome()?;
        let format = subprotocol(request.headers()).ok_or_else(|| {
            Problem::new(ErrorCode::BadFrame, "offer the subprotocol hubbub.v1.msgpack or hubbub.v1.json in Sec-WebSocket-Protocol")
        })?;
        let identity = self.identity(request.headers())?;
        let handshake =
            handshake(request).map_err(|error| Problem::new(ErrorCode::BadFrame, error.to_string()).with_status(error.status()))?;
        let admission = self.admit()?;
        let (response, upgrade) = handshake.accept(Some(format.subprotocol()));
        self.tasks.spawn(self.clone().serve(upgrade, format, identity, admission));
        Ok(response)
    }

    async fn serve(self, upgrade: OnUpgrade, format: Format, identity: Option<Identity>, admission: OwnedSemaphorePermit) {
        let Some((stream, early)) = socket(upgrade).await else { return };
        let Endpoint { backend, connections, .. } = self;
        let vitals = Arc::new(Vitals::new(backend.world.clock.elapsed()));
        let outbox = Outbox::new(Sink::Socket(stream), Wire::Socket(format), backend.config.session.outbox);
        let number = connections.add(Connection { outbox: outbox.clone(), vitals: vitals.clone(), transport: Transport::WebSocket });
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
