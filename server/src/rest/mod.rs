//! HTTP resources: a file each, with its own `router()`.

mod channels;
mod entries;
mod guests;
mod health;
mod instances;
mod page;
mod presence;

use std::{sync::Arc, time::Duration};

use axum::{Router, extract::FromRef, middleware::from_fn_with_state};
use tower_http::{catch_panic::CatchPanicLayer, limit::RequestBodyLimitLayer, timeout::TimeoutLayer};

use crate::{
    http::{around, origins, panicked},
    instance::Membership,
    session::Backend,
    transport::{
        Endpoint,
        plain::{self, Plain},
    },
};

pub use guests::Guests;
pub use health::Health;

/// A REST request has to be answered within this.
const TIMEOUT: Duration = Duration::from_secs(30);

/// What handlers work with.
#[derive(Debug, Clone)]
pub struct Api {
    /// The use cases.
    pub backend: Arc<Backend>,
    /// Sockets.
    pub endpoint: Endpoint,
    /// Sessions without sockets.
    pub plain: Arc<Plain>,
    /// What this instance depends on.
    pub health: Arc<Health>,
    /// The other instances.
    pub membership: Arc<Membership>,
    /// Who may try the page.
    pub guests: Arc<Guests>,
}

impl FromRef<Api> for Arc<Guests> {
    fn from_ref(api: &Api) -> Self {
        api.guests.clone()
    }
}

impl FromRef<Api> for Arc<Backend> {
    fn from_ref(api: &Api) -> Self {
        api.backend.clone()
    }
}

impl FromRef<Api> for Endpoint {
    fn from_ref(api: &Api) -> Self {
        api.endpoint.clone()
    }
}

impl FromRef<Api> for Arc<Plain> {
    fn from_ref(api: &Api) -> Self {
        api.plain.clone()
    }
}

impl FromRef<Api> for Arc<Health> {
    fn from_ref(api: &Api) -> Self {
        api.health.clone()
    }
}

impl FromRef<Api> for Arc<Membership> {
    fn from_ref(api: &Api) -> Self {
        api.membership.clone()
    }
}

/// Every route. From the outside in: each request gets its id and is counted, panics are caught, pages of other origins are refused,
/// bodies are bounded; a timeout stands around everything but the sockets, streams and polls.
pub fn router(api: Api) -> Router {
    let http = &api.backend.config.http;
    let mut timed = Router::new()
        .merge(channels::router())
        .merge(entries::router())
        .merge(presence::router())
        .merge(health::router())
        .merge(instances::router());
    if api.backend.config.page.enabled {
        timed = timed.merge(page::router()).merge(guests::router());
    }
    if http.metrics {
        timed = timed.merge(health::metrics_router());
    }
    let timed = timed
        .layer(TimeoutLayer::with_status_code(http::StatusCode::SERVICE_UNAVAILABLE, TIMEOUT))
        .layer(RequestBodyLimitLayer::new(http.max_body));
    let sockets = Router::new().route("/v1/ws", axum::routing::any(crate::transport::websocket::upgrade)).merge(plain::router());
    timed
        .merge(sockets)
        .layer(from_fn_with_state(api.backend.clone(), origins))
        .layer(CatchPanicLayer::custom(panicked))
        .layer(from_fn_with_state(api.backend.clone(), around))
        .with_state(api)
}
