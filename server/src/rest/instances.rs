//! `/v1/instances`.

use std::sync::Arc;

use axum::{extract::State, response::Response};
use hubbub_protocol::ErrorCode;
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{Api, kit::Wants};
use crate::{
    auth::{Action, Power},
    http::{Caller, Problem},
    instance::{About, Listed, Membership},
    session::Backend,
};

pub(super) fn router() -> OpenApiRouter<Api> {
    OpenApiRouter::new().routes(routes!(list))
}

/// The instances of the database.
#[derive(Serialize, ToSchema)]
struct Instances {
    instances: Vec<Instance>,
}

/// One running server.
#[derive(Serialize, ToSchema)]
struct Instance {
    /// Its name.
    id: String,
    /// Whether it is the one that answers.
    this: bool,
    /// Whether its lease is good.
    alive: bool,
    /// Rises whenever its lease had been lost.
    generation: i64,
    /// When it started.
    started_at: u64,
    /// From its start to its last renewal, in milliseconds.
    uptime_ms: u64,
    /// When it last said that it lives.
    renewed_at: u64,
    /// Milliseconds until its lease ends; negative if it has.
    lease_left_ms: i64,
    #[serde(flatten)]
    about: About,
}

/// List the instances
///
/// Takes a grant of `operate` on `*`, or an admin of the instance.
#[utoipa::path(
    get, path = "/v1/instances", tag = "instances", operation_id = "listInstances",
    responses((status = 200, description = "What each last said of itself.", body = Instances))
)]
async fn list(
    wants: Wants,
    Caller(identity): Caller,
    State(backend): State<Arc<Backend>>,
    State(membership): State<Arc<Membership>>,
) -> Result<Response, Problem> {
    if !(identity.grants.allows_everywhere(Action::Operate) || backend.access.wields(&identity, Power::RuleUsers)) {
        return Err(Problem::new(ErrorCode::Forbidden, "the token needs a grant of `operate` on `*`, or the user to be an admin"));
    }
    let listed = membership.list().await.map_err(|error| {
        tracing::warn!(%error, "the instances could not be listed");
        Problem::new(ErrorCode::Unavailable, "the store does not answer")
    })?;
    let instance = |one: Listed| Instance {
        this: one.id == **membership.id(),
        alive: one.left_ms > 0,
        generation: one.generation,
        started_at: one.started_at,
        uptime_ms: one.renewed_at.saturating_sub(one.started_at),
        renewed_at: one.renewed_at,
        lease_left_ms: one.left_ms,
        id: one.id,
        about: one.about,
    };
    Ok(wants.ok(&Instances { instances: listed.into_iter().map(instance).collect() }))
}
