//! `/v1/channels/{channel}/presence`: who is there.

use std::sync::Arc;

use axum::{
    extract::{Path, State},
    response::Response,
};
use serde::Deserialize;
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{
    Api,
    channels::name,
    kit::{Query, Wants, query},
};
use crate::{
    http::{Caller, Problem},
    session::Backend,
};

pub(super) fn router() -> OpenApiRouter<Api> {
    OpenApiRouter::new().routes(routes!(list))
}

/// Which members.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct Range {
    /// Only users behind this one, in byte order.
    #[schema(max_length = 128)]
    after: Option<String>,
    /// Members of the page, 100 if it is missing.
    #[schema(minimum = 1, maximum = 1000)]
    limit: Option<u32>,
}
query!(Range);

/// Who is in a channel.
#[derive(ToSchema)]
#[schema(as = Presence)]
#[allow(dead_code)] // For the document: the protocol's own.
pub(super) struct Page {
    /// In byte order of their users.
    members: Vec<Present>,
    /// How many there are in all.
    count: u64,
    /// Whether others follow the last one.
    more: bool,
}

/// A user who is in a channel.
#[derive(ToSchema)]
#[allow(dead_code)] // As above.
struct Present {
    /// The user's id.
    user: String,
    /// How many connections of the user's are subscribed.
    connections: u32,
}

/// List who is present
///
/// A page of members, in byte order of their users.
#[utoipa::path(get, path = "/v1/channels/{channel}/presence", tag = "channels", operation_id = "listPresence",
    params(("channel" = String, Path, description = "Its name, percent-encoded."), Range),
    responses((status = 200, description = "Who is there.", body = Page), (status = 409, description = "The channel has no presence.")))]
async fn list(
    wants: Wants,
    Caller(identity): Caller,
    State(backend): State<Arc<Backend>>,
    Path(channel): Path<String>,
    Query(range): Query<Range>,
) -> Result<Response, Problem> {
    Ok(wants.ok(&backend.channels.members(&identity, &name(&channel)?, range.after, range.limit, usize::MAX).await?))
}
