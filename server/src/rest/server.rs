//! `/v1/server/…`: what backends do. Many things in one request, each with its own result.

mod subscriptions;

use std::sync::Arc;

use axum::{extract::State, response::Response};
use futures_util::future::join_all;
use hubbub_protocol::{
    ChannelName, ErrorCode, Key, MessageId,
    frame::{ErrorBody, PresencePage, Published},
    msgpack_payload,
};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{
    Api,
    kit::{
        self, Actor, Body, Wants,
        texts::{MessageIdText, PlaceText, UserText},
    },
};
use crate::{
    access::By,
    auth::Power,
    channel::{NewMessage, Refused, Ticket},
    http::Problem,
    room::personal_of,
    session::Backend,
    user::Users,
};

/// Of a page of members for backends, bytes at most.
const PRESENCE_BYTES: usize = 1 << 20;

pub(super) fn router() -> OpenApiRouter<Api> {
    OpenApiRouter::new()
        .routes(routes!(publish))
        .routes(routes!(broadcast))
        .routes(routes!(disconnect))
        .merge(subscriptions::router())
        .routes(routes!(presence))
        .routes(routes!(info))
}

/// What became of each thing, in the request's order.
#[derive(Serialize, ToSchema)]
struct Results<T: ToSchema> {
    results: Vec<T>,
}

/// What became of one message: its place, or `error`.
#[derive(Serialize, ToSchema)]
struct Outcome {
    /// The message's id.
    #[serde(skip_serializing_if = "Option::is_none")]
    message_id: Option<String>,
    /// Its epoch, in a durable channel.
    #[serde(skip_serializing_if = "Option::is_none")]
    epoch: Option<u64>,
    /// Its place, in a durable channel.
    #[serde(skip_serializing_if = "Option::is_none")]
    seq: Option<u64>,
    /// When the server took it, in Unix milliseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    time: Option<u64>,
    /// Whether it had been published before.
    #[serde(skip_serializing_if = "Option::is_none")]
    duplicate: Option<bool>,
    /// Why it was refused.
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<Failure>,
}

/// Why one thing was refused.
#[derive(Serialize, ToSchema)]
struct Failure {
    /// For programs.
    code: String,
    /// For people.
    message: String,
}

impl From<ErrorBody> for Failure {
    fn from(error: ErrorBody) -> Self {
        Self { code: error.code, message: error.message }
    }
}

impl From<Result<Published, ErrorBody>> for Outcome {
    fn from(result: Result<Published, ErrorBody>) -> Self {
        match result {
            Ok(published) => Self {
                message_id: Some(published.message_id.to_string()),
                epoch: published.epoch,
                seq: published.seq,
                time: Some(published.time),
                duplicate: Some(published.duplicate),
                error: None,
            },
            Err(error) => Self { message_id: None, epoch: None, seq: None, time: None, duplicate: None, error: Some(error.into()) },
        }
    }
}

/// Messages, each for its channel.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = Publications, example = json!({ "messages": [{ "channel": "chat:rust", "payload": { "text": "Good morning" } }] }))]
struct Messages {
    /// 1 to 256.
    #[schema(min_items = 1, max_items = 256)]
    messages: Vec<Message>,
}

/// A message for a channel.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = Publication)]
struct Message {
    /// Where.
    #[schema(min_length = 1, max_length = 128)]
    channel: String,
    /// Any value.
    #[schema(value_type = Value)]
    payload: Value,
    /// What it is about: newer ones supersede it for whoever wants only the latest.
    #[schema(min_length = 1, max_length = 64)]
    key: Option<String>,
    /// A UUID of version 7: makes it safe to send again.
    #[schema(value_type = Option<MessageIdText>)]
    message_id: Option<String>,
}

/// One message for many channels.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({ "channels": ["ticker:eurusd", "ticker:gbpusd"], "payload": { "open": false } }))]
struct Broadcast {
    /// Where: 1 to 1,000.
    #[schema(value_type = Vec<PlaceText>, min_items = 1, max_items = 1000)]
    channels: Vec<String>,
    /// Any value.
    #[schema(value_type = Value)]
    payload: Value,
    /// What it is about.
    #[schema(min_length = 1, max_length = 64)]
    key: Option<String>,
    /// A UUID of version 7, the same in each channel.
    #[schema(value_type = Option<MessageIdText>)]
    message_id: Option<String>,
}

/// Publish to many channels
///
/// Each message has its own result; messages to one channel are stored in the request's order. A user's own channel (`user:` and the id) is made
/// if there is none yet.
#[utoipa::path(post, path = "/v1/server/publish", tag = "server", operation_id = "serverPublish", request_body = Messages,
    responses((status = 200, description = "What became of each.", body = Results<Outcome>)))]
async fn publish(wants: Wants, actor: Actor, State(backend): State<Arc<Backend>>, Body(body): Body<Messages>) -> Result<Response, Problem> {
    Ok(wants.ok(&Results { results: publish_all(&backend, actor.by(), body.messages).await }))
}

/// Publish one message to many channels
#[utoipa::path(post, path = "/v1/server/broadcast", tag = "server", operation_id = "serverBroadcast", request_body = Broadcast,
    responses((status = 200, description = "What became of it in each.", body = Results<Outcome>)))]
async fn broadcast(
    wants: Wants,
    actor: Actor,
    State(backend): State<Arc<Backend>>,
    Body(body): Body<Broadcast>,
) -> Result<Response, Problem> {
    let Broadcast { channels, payload, key, message_id } = body;
    let message = |channel| Message { channel, payload: payload.clone(), key: key.clone(), message_id: message_id.clone() };
    Ok(wants.ok(&Results { results: publish_all(&backend, actor.by(), channels.into_iter().map(message).collect()).await }))
}

async fn publish_all(backend: &Backend, by: By<'_>, messages: Vec<Message>) -> Vec<Outcome> {
    // Enqueued in order; then all wait for their commits.
    let mut tickets: Vec<Result<Ticket, ErrorBody>> = Vec::with_capacity(messages.len());
    for message in messages {
        let ticket = match prepare(message) {
            Ok(message) => publish_one(backend, by, message).await,
            Err(error) => Err(error),
        };
        tickets.push(ticket);
    }
    let wait = tickets.into_iter().map(|ticket| async {
        Outcome::from(match ticket {
            Ok(ticket) => ticket.await.map_err(Refused::body),
            Err(error) => Err(error),
        })
    });
    join_all(wait).await
}

async fn publish_one(backend: &Backend, by: By<'_>, message: NewMessage) -> Result<Ticket, ErrorBody> {
    let again = personal_of(&message.channel).map(|_| message.clone());
    let refused = match (backend.channels.publish(by.identity, message).await, again) {
        (Err(refused), Some(again)) if refused.code() == ErrorCode::NotFound => {
            match backend.rooms.begin_personal(by, &again.channel).await {
                Ok(true) => return backend.channels.publish(by.identity, again).await.map_err(Refused::body),
                Ok(false) => refused,
                Err(error) => {
                    tracing::warn!(%error, "a personal channel could not be made");
                    Refused::Unavailable
                }
            }
        }
        (published, _) => return published.map_err(Refused::body),
    };
    Err(refused.body())
}

fn prepare(message: Message) -> Result<NewMessage, ErrorBody> {
    let channel = ChannelName::parse(&message.channel).map_err(|error| ErrorBody::new(ErrorCode::ChannelInvalid, error.to_string()))?;
    let key =
        message.key.as_deref().map(Key::parse).transpose().map_err(|error| ErrorBody::new(ErrorCode::KeyInvalid, error.to_string()))?;
    let is_no_id = || ErrorBody::new(ErrorCode::MessageIdInvalid, "`message_id` is not a hyphenated UUID of version 7");
    let message_id = message.message_id.as_deref().map(|id| MessageId::parse(id).ok_or_else(is_no_id)).transpose()?;
    let payload =
        msgpack_payload(&message.payload.to_string()).map_err(|error| ErrorBody::new(ErrorCode::PayloadInvalid, error.to_string()))?;
    Ok(NewMessage { channel, message_id, key, payload: payload.into() })
}

/// Whom it concerns.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({ "users": ["ada"] }))]
struct Disconnections {
    /// Users' ids: 1 to 1,000.
    #[schema(value_type = Vec<UserText>, min_items = 1, max_items = 1000)]
    users: Vec<String>,
}

/// That it was done, or `error`.
#[derive(Serialize, ToSchema)]
struct Done {
    /// Why it was refused.
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<Failure>,
}

/// Disconnect users
///
/// Their connections end everywhere within a second; they may come back. To keep them out, block them. Takes `operate`.
#[utoipa::path(post, path = "/v1/server/disconnect", tag = "server", operation_id = "serverDisconnect", request_body = Disconnections,
    responses((status = 200, description = "What became of each.", body = Results<Done>)))]
async fn disconnect(
    wants: Wants,
    actor: Actor,
    State(users): State<Arc<Users>>,
    Body(body): Body<Disconnections>,
) -> Result<Response, Problem> {
    let results = body.users.iter().map(|_| Done { error: None }).collect();
    users.disconnect(actor.by(), body.users).await?;
    Ok(wants.ok(&Results::<Done> { results }))
}

/// Where to look.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({ "channels": ["chat:rust"] }))]
struct Places {
    /// Channels: 1 to 100.
    #[schema(value_type = Vec<PlaceText>, min_items = 1, max_items = 100)]
    channels: Vec<String>,
}

/// Who is in one channel, or `error`.
#[derive(Serialize, ToSchema)]
struct Attendance {
    /// The channel.
    channel: String,
    /// How many users are there, and the first of them.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<super::presence::Page>)]
    presence: Option<PresencePage>,
    /// Why it was refused.
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<Failure>,
}

/// Show who is in many channels
#[utoipa::path(post, path = "/v1/server/presence", tag = "server", operation_id = "serverPresence", request_body = Places,
    responses((status = 200, description = "Who is in each.", body = Results<Attendance>)))]
async fn presence(wants: Wants, actor: Actor, State(backend): State<Arc<Backend>>, Body(body): Body<Places>) -> Result<Response, Problem> {
    let look = body.channels.into_iter().map(|channel| async {
        let page = match ChannelName::parse(&channel) {
            Ok(name) => backend.channels.members(&actor.identity, &name, None, None, PRESENCE_BYTES).await.map_err(Refused::body),
            Err(error) => Err(ErrorBody::new(ErrorCode::ChannelInvalid, error.to_string())),
        };
        match page {
            Ok(page) => Attendance { channel, presence: Some(page), error: None },
            Err(error) => Attendance { channel, presence: None, error: Some(error.into()) },
        }
    });
    Ok(wants.ok(&Results { results: join_all(look).await }))
}

/// What this server is.
#[derive(Serialize, ToSchema)]
struct Info {
    /// Its version.
    version: String,
    /// This instance's name.
    instance: String,
    /// When it is, in Unix milliseconds.
    time: u64,
    /// Instances whose lease is good.
    instances: usize,
    /// Connections of all of them, as each last said.
    connections: u64,
}

/// Show what this server is
///
/// Takes `operate`.
#[utoipa::path(get, path = "/v1/server/info", tag = "server", operation_id = "serverInfo", responses((status = 200, description = "The server.", body = Info)))]
async fn info(wants: Wants, actor: Actor, State(api): State<Api>) -> Result<Response, Problem> {
    let identity = &actor.identity;
    if !(identity.grants.allows_everywhere(crate::auth::Action::Operate) || api.rooms.access.wields(identity, Power::RuleUsers)) {
        return Err(Problem::new(ErrorCode::Forbidden, "this takes `operate` on `*`"));
    }
    let listed = api.membership.list().await.map_err(|error| kit::unavailable(&error))?;
    let alive: Vec<_> = listed.into_iter().filter(|one| one.left_ms > 0).collect();
    Ok(wants.ok(&Info {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        instance: api.backend.instance.to_string(),
        time: api.backend.world.clock.now(),
        connections: alive.iter().map(|one| one.about.connections).sum(),
        instances: alive.len(),
    }))
}
