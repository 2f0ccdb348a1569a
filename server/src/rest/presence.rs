//! `/v1/channels/{channel}/presence`: who is there.

use std::sync::Arc;

use axum::{
    Json, Router,
    extract::{Path, Query, State, rejection::QueryRejection},
    routing::get,
};
use hubbub_protocol::{ErrorCode, frame::PresencePage};
use serde::Deserialize;

use super::{Api, channels::name};
use crate::{
    http::{Caller, Problem},
    session::Backend,
};

pub(super) fn router() -> Router<Api> {
    Router::new().route("/v1/channels/{channel}/presence", get(list))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Range {
    after: Option<String>,
    limit: Option<u32>,
}

/// A page of members, in byte order of their users.
async fn list(
    Caller(identity): Caller,
    State(backend): State<Arc<Backend>>,
    Path(channel): Path<String>,
    range: Result<Query<Range>, QueryRejection>,
) -> Result<Json<PresencePage>, Problem> {
    let Query(range) = range.map_err(|error| {
        Problem::new(ErrorCode::OutOfRange, format!("the query takes `after`, a user, and `limit`, 1 to 1000: {}", error.body_text()))
    })?;
    Ok(Json(backend.channels.members(&identity, &name(&channel)?, range.after, range.limit, usize::MAX).await?))
}
