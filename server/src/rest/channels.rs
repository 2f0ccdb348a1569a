//! `/v1/channels/{channel}`.

use std::sync::Arc;

use axum::{
    Json, Router,
    extract::{Path, State},
    routing::get,
};
use hubbub_protocol::{ChannelName, Cursor};
use serde::Serialize;

use super::Api;
use crate::{
    channel::Refused,
    http::{Caller, Problem},
    session::Backend,
};

pub(super) fn router() -> Router<Api> {
    Router::new().route("/v1/channels/{channel}", get(show))
}

/// The name in a path, percent-decoded.
pub(super) fn name(text: &str) -> Result<ChannelName, Problem> {
    ChannelName::parse(text).map_err(|error| Problem::new(Refused::ChannelInvalid.code(), error.to_string()))
}

#[derive(Serialize)]
struct Channel {
    name: ChannelName,
    durable: bool,
    /// Connections of this instance.
    subscribers: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    head: Option<Cursor>,
    #[serde(skip_serializing_if = "Option::is_none")]
    messages: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    created_at: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    updated_at: Option<u64>,
}

async fn show(
    Caller(identity): Caller,
    State(backend): State<Arc<Backend>>,
    Path(channel): Path<String>,
) -> Result<Json<Channel>, Problem> {
    let info = backend.channels.info(&identity, &name(&channel)?).await?;
    Ok(Json(Channel {
        name: info.name,
        durable: info.durable,
        subscribers: info.subscribers,
        head: info.head,
        messages: info.messages,
        created_at: info.created_at,
        updated_at: info.updated_at,
    }))
}
