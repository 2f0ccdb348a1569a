//! HTTP resources: a file each, with its own `router()`.

mod accounts;
mod api_keys;
mod audit;
mod bans;
mod channels;
mod entries;
mod guests;
mod health;
mod instances;
pub mod kit;
mod members;
mod messages;
mod openapi;
mod page;
mod presence;
mod server;
mod sessions;
mod uploads;
mod users;

use std::{sync::Arc, time::Duration};

use axum::{
    Router,
    extract::FromRef,
    middleware::{from_fn, from_fn_with_state, map_response},
    response::Response,
};
use kit::Schemas;
use tower_http::{
    catch_panic::CatchPanicLayer,
    compression::{
        CompressionLayer, Predicate,
        predicate::{NotForContentType, SizeAbove},
    },
    decompression::RequestDecompressionLayer,
    limit::RequestBodyLimitLayer,
    timeout::TimeoutLayer,
};
use utoipa_axum::router::OpenApiRouter;

use crate::{
    api_key::ApiKeys,
    http::{Rates, around, one_host, origins, panicked, rates},
    instance::Membership,
    room::Rooms,
    session::Backend,
    store::Db,
    transport::{
        Endpoint,
        plain::{self, Plain},
    },
    upload::Uploads,
    user::Users,
};

pub use guests::Guests;
pub use health::Health;

/// A REST request has to be answered within this.
const TIMEOUT: Duration = Duration::from_secs(30);

/// Bytes below which compressing an answer does not pay: they fit into one packet.
const MIN_COMPRESSED: u64 = 1_024;

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
    /// Files.
    pub uploads: Arc<Uploads>,
    /// The database, for answers that are kept.
    pub db: Db,
    /// How often one may ask.
    pub rates: Arc<Rates>,
    /// Channels that somebody makes.
    pub rooms: Arc<Rooms>,
    /// Users, as they see one another.
    pub users: Arc<Users>,
    /// Keys of backends.
    pub api_keys: Arc<ApiKeys>,
    /// What requests have to look like.
    pub(crate) schemas: Schemas,
}

impl FromRef<Api> for Arc<Rooms> {
    fn from_ref(api: &Api) -> Self {
        api.rooms.clone()
    }
}

impl FromRef<Api> for Arc<Users> {
    fn from_ref(api: &Api) -> Self {
        api.users.clone()
    }
}

impl FromRef<Api> for Arc<ApiKeys> {
    fn from_ref(api: &Api) -> Self {
        api.api_keys.clone()
    }
}

impl FromRef<Api> for Schemas {
    fn from_ref(api: &Api) -> Self {
        api.schemas.clone()
    }
}

impl FromRef<Api> for Arc<Uploads> {
    fn from_ref(api: &Api) -> Self {
        api.uploads.clone()
    }
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

/// The resources that keep their answers for an `Idempotency-Key`, each with its place in the document.
fn resources() -> OpenApiRouter<Api> {
    OpenApiRouter::new()
        .merge(accounts::router())
        .merge(api_keys::router())
        .merge(audit::router())
        .merge(bans::router())
        .merge(channels::router())
        .merge(entries::router())
        .merge(instances::router())
        .merge(members::router())
        .merge(messages::router())
        .merge(presence::router())
        .merge(server::router())
        .merge(sessions::router())
        .merge(uploads::router())
        .merge(users::router())
}

/// Tags of compressed bodies name their coding.
async fn coded(mut response: Response) -> Response {
    kit::tag_coding(response.headers_mut());
    response
}

/// Every route. ARCHITECTURE.md draws what lies around them.
pub fn router(api: Api) -> Router {
    let http = &api.backend.config.http;
    let (resources, mut document) = resources().split_for_parts();
    kit::document_keys(&mut document);
    let (streams, of_streams) = uploads::streams().split_for_parts();
    document.merge(of_streams);
    let (plain, of_plain) = plain::router().split_for_parts();
    document.merge(of_plain);
    let (guests, of_guests) = guests::router().split_for_parts();
    if api.backend.config.page.enabled {
        document.merge(of_guests);
    }
    let document = kit::finish(document);
    let mut timed = Router::new()
        .merge(health::router())
        .merge(resources.layer(from_fn_with_state(api.clone(), kit::once)))
        .merge(openapi::router(document));
    if api.backend.config.page.enabled {
        timed = timed.merge(page::router()).merge(guests);
    }
    if http.metrics {
        timed = timed.merge(health::metrics_router());
    }
    let timed = timed
        .layer(from_fn_with_state((api.backend.clone(), api.rates.clone()), rates))
        .layer(RequestBodyLimitLayer::new(http.max_body))
        .layer(RequestDecompressionLayer::new())
        .layer(TimeoutLayer::with_status_code(http::StatusCode::SERVICE_UNAVAILABLE, TIMEOUT))
        .layer(CompressionLayer::new().compress_when(SizeAbove::new(MIN_COMPRESSED).and(NotForContentType::new("text/event-stream"))))
        .layer(map_response(coded));
    let sockets = Router::new().route("/v1/ws", axum::routing::any(crate::transport::websocket::upgrade)).merge(plain);
    let streams = streams.layer(from_fn_with_state((api.backend.clone(), api.rates.clone()), rates));
    timed
        .merge(streams)
        .merge(sockets)
        .layer(from_fn_with_state(api.backend.clone(), origins))
        .layer(from_fn(one_host))
        .layer(CatchPanicLayer::custom(panicked))
        .layer(from_fn_with_state(api.backend.clone(), around))
        .with_state(api)
}
