//! `/v1/instances`.

use std::sync::Arc;

use axum::{Json, Router, extract::State, routing::get};
use hubbub_protocol::ErrorCode;
use serde::Serialize;

use super::Api;
use crate::{
    auth::Action,
    http::{Caller, Problem},
    instance::{About, Listed, Membership},
};

pub(super) fn router() -> Router<Api> {
    Router::new().route("/v1/instances", get(list))
}

#[derive(Serialize)]
struct Instances {
    instances: Vec<Instance>,
}

#[derive(Serialize)]
struct Instance {
    id: String,
    /// Whether it is the one that answers.
    this: bool,
    /// Whether its lease is good.
    alive: bool,
    generation: i64,
    started_at: u64,
    /// From its start to its last renewal, in milliseconds.
    uptime_ms: u64,
    renewed_at: u64,
    lease_left_ms: i64,
    #[serde(flatten)]
    about: About,
}

async fn list(Caller(identity): Caller, State(membership): State<Arc<Membership>>) -> Result<Json<Instances>, Problem> {
    if !identity.grants.allows_everywhere(Action::Operate) {
        return Err(Problem::new(ErrorCode::Forbidden, "the token needs a grant of `operate` on `*`"));
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
    Ok(Json(Instances { instances: listed.into_iter().map(instance).collect() }))
}
