//! `/v1/channels/{channel}/entries`: publish one or many, and read the history.

use std::sync::Arc;

use axum::{
    Json, Router,
    body::Bytes,
    extract::{Path, Query, State, rejection::QueryRejection},
    response::{IntoResponse, Response},
    routing::get,
};
use futures_util::future::join_all;
use http::{HeaderMap, StatusCode, header};
use hubbub_protocol::{ChannelName, ErrorCode, Format, Key, MessageId, encode, frame::ErrorBody, msgpack_payload};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::{Api, channels::name};
use crate::{
    auth::Identity,
    channel::{Direction, NewMessage, Refused},
    http::{Caller, Problem},
    session::Backend,
};

/// Messages in one request.
const MANY: usize = 256;

pub(super) fn router() -> Router<Api> {
    Router::new().route("/v1/channels/{channel}/entries", get(list).post(publish))
}

/// One message, or `{"messages": [...]}`. Fields that are not known are refused: a misspelt `message_id` would cost a promise.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Message<'a> {
    #[serde(borrow)]
    payload: &'a RawValue,
    #[serde(default)]
    key: Option<String>,
    #[serde(default)]
    message_id: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Many<'a> {
    #[serde(borrow)]
    messages: Vec<Message<'a>>,
}

/// What became of one message of many.
#[derive(Serialize)]
#[serde(untagged)]
enum Outcome {
    Published(hubbub_protocol::frame::Published),
    Failed { error: ErrorBody },
}

/// Publishes one message (201, or 200 if it was published before), or many (200, each with its own outcome).
async fn publish(
    Caller(identity): Caller,
    State(backend): State<Arc<Backend>>,
    Path(channel): Path<String>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, Problem> {
    let channel = name(&channel)?;
    if !is_json(&headers) {
        return Err(Problem::new(ErrorCode::BadFrame, "send JSON, with `Content-Type: application/json`")
            .with_status(StatusCode::UNSUPPORTED_MEDIA_TYPE));
    }
    let bad = |error: serde_json::Error| {
        Problem::new(ErrorCode::BadFrame, format!("the body is not {{payload, key?, message_id?}}, nor {{messages: [...]}}: {error}"))
    };
    let raw: &RawValue = serde_json::from_slice(&body).map_err(bad)?;
    if is_many(raw) {
        return publish_many(&backend, &identity, &channel, serde_json::from_str(raw.get()).map_err(bad)?).await;
    }
    let message = serde_json::from_str(raw.get()).map_err(bad)?;
    let published = publish_one(&backend, &identity, &channel, message).await.map_err(|error| {
        let code = error.known().unwrap_or(ErrorCode::Internal);
        Problem::new(code, error.message)
    })?;
    let status = if published.duplicate { StatusCode::OK } else { StatusCode::CREATED };
    Ok((status, Json(published)).into_response())
}

/// Whether the body is meant as `{"messages": [...]}`, whatever else is wrong with it.
fn is_many(raw: &RawValue) -> bool {
    #[derive(Deserialize)]
    struct Shape {
        messages: Option<serde::de::IgnoredAny>,
    }
    serde_json::from_str::<Shape>(raw.get()).is_ok_and(|shape| shape.messages.is_some())
}

async fn publish_many(backend: &Backend, identity: &Identity, channel: &ChannelName, many: Many<'_>) -> Result<Response, Problem> {
    if many.messages.is_empty() || many.messages.len() > MANY {
        return Err(Problem::new(ErrorCode::OutOfRange, "`messages` holds 1 to 256 messages"));
    }
    // Enqueued in order, so that their seqs are in order; then they wait for the same commit.
    let mut tickets = Vec::with_capacity(many.messages.len());
    for message in many.messages {
        let ticket = match prepare(channel, message) {
            Ok(message) => backend.channels.publish(identity, message).await.map_err(Refused::body),
            Err(error) => Err(error),
        };
        tickets.push(async {
            match ticket {
                Ok(ticket) => ticket.await.map_err(Refused::body),
                Err(error) => Err(error),
            }
        });
    }
    let results: Vec<Outcome> = join_all(tickets)
        .await
        .into_iter()
        .map(|result| result.map_or_else(|error| Outcome::Failed { error }, Outcome::Published))
        .collect();
    Ok(Json(serde_json::json!({ "results": results })).into_response())
}

async fn publish_one(
    backend: &Backend,
    identity: &Identity,
    channel: &ChannelName,
    message: Message<'_>,
) -> Result<hubbub_protocol::frame::Published, ErrorBody> {
    let message = prepare(channel, message)?;
    let ticket = backend.channels.publish(identity, message).await.map_err(Refused::body)?;
    ticket.await.map_err(Refused::body)
}

fn prepare(channel: &ChannelName, message: Message<'_>) -> Result<NewMessage, ErrorBody> {
    let key =
        message.key.map(|key| Key::parse(&key)).transpose().map_err(|error| ErrorBody::new(ErrorCode::KeyInvalid, error.to_string()))?;
    let message_id = match message.message_id {
        Some(id) => Some(
            MessageId::parse(&id)
                .ok_or_else(|| ErrorBody::new(ErrorCode::MessageIdInvalid, "`message_id` is not a hyphenated UUID of version 7"))?,
        ),
        None => None,
    };
    let payload = msgpack_payload(message.payload.get()).map_err(|error| ErrorBody::new(ErrorCode::PayloadInvalid, error.to_string()))?;
    Ok(NewMessage { channel: channel.clone(), message_id, key, payload: payload.into() })
}

fn is_json(headers: &HeaderMap) -> bool {
    let kind = headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    kind.split(';').next().unwrap_or_default().trim().eq_ignore_ascii_case("application/json")
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Range {
    after: Option<u64>,
    before: Option<u64>,
    limit: Option<u32>,
}

/// A page of history, oldest first.
async fn list(
    Caller(identity): Caller,
    State(backend): State<Arc<Backend>>,
    Path(channel): Path<String>,
    range: Result<Query<Range>, QueryRejection>,
) -> Result<Response, Problem> {
    let Query(range) = range.map_err(|error| {
        Problem::new(ErrorCode::OutOfRange, format!("the query takes `after` or `before`, and `limit`: {}", error.body_text()))
    })?;
    let direction = Direction::new(range.after, range.before)?;
    let page = backend.channels.history(&identity, &name(&channel)?, direction, range.limit).await?;
    let mut body = Vec::new();
    encode::history_page(Format::Json, page.rest, page.entries.iter(), &mut body);
    Ok(([(header::CONTENT_TYPE, "application/json")], body).into_response())
}
