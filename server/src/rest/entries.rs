//! `/v1/channels/{channel}/entries`: publish one or many, and read the history.

use std::sync::Arc;

use axum::{
    extract::{Path, State},
    response::Response,
};
use futures_util::future::join_all;
use http::StatusCode;
use hubbub_protocol::{ChannelName, ErrorCode, Format, Key, MessageId, encode, frame::ErrorBody, msgpack_payload};
use serde::{Deserialize, Serialize, de::IgnoredAny};
use serde_json::{Value, value::RawValue};
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{
    Api,
    channels::name,
    kit::{Media, Query, Text, Wants, query, texts::MessageIdText},
};
use crate::{
    auth::Identity,
    channel::{Direction, NewMessage, Refused},
    http::{At, Caller, Fault, Problem},
    session::Backend,
};

pub(super) fn router() -> OpenApiRouter<Api> {
    OpenApiRouter::new().routes(routes!(list, publish))
}

/// One message. Fields that are not known are refused: a misspelt `message_id` would cost a promise.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = NewEntry)]
struct Message<'a> {
    /// Any value.
    #[serde(borrow)]
    #[schema(value_type = Value)]
    payload: &'a RawValue,
    /// What it is about: newer ones supersede it for whoever wants only the latest.
    #[serde(default)]
    #[schema(min_length = 1, max_length = 64, pattern = r"^[^\x00-\x1f\x7f-\x9f]*$")]
    key: Option<String>,
    /// Makes it safe to send again.
    #[serde(default)]
    #[schema(value_type = Option<MessageIdText>)]
    message_id: Option<String>,
}

/// Many messages, each with its own outcome: a key or an id that is none fails alone.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = NewEntries)]
struct Many<'a> {
    /// 1 to 256.
    #[serde(borrow)]
    #[schema(value_type = Vec<Loose>, min_items = 1, max_items = 256)]
    messages: Vec<Message<'a>>,
}

/// One of many messages.
#[derive(ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = NewEntryOfMany)]
#[allow(dead_code)] // For the document: what is wrong with one of many is told in its outcome.
struct Loose {
    /// Any value.
    #[schema(value_type = Value)]
    payload: Value,
    /// As of one message.
    key: Option<String>,
    /// As of one message.
    message_id: Option<String>,
}

/// One message, or many.
#[derive(ToSchema)]
#[serde(untagged)]
#[schema(as = EntriesToPublish, example = json!({ "payload": { "text": "Good morning" } }))]
#[allow(dead_code)] // For the document: which one it is decides how the body is read.
enum Posted<'a> {
    /// One.
    One(Message<'a>),
    /// Many.
    Many(Many<'a>),
}

/// That a message was taken.
#[derive(ToSchema)]
#[allow(dead_code)] // For the document: the protocol's own.
pub(super) struct Published {
    /// The message's id: the publisher's own, or the server's.
    #[schema(value_type = MessageIdText)]
    message_id: String,
    /// The epoch of its place; missing in an ephemeral channel.
    #[serde(skip_serializing_if = "Option::is_none")]
    epoch: Option<u64>,
    /// Its place; missing in an ephemeral channel.
    #[serde(skip_serializing_if = "Option::is_none")]
    seq: Option<u64>,
    /// When the server took it, in Unix milliseconds.
    time: u64,
    /// There if it had been published before: this is the first answer again.
    #[serde(skip_serializing_if = "Option::is_none")]
    duplicate: Option<bool>,
}

/// What became of one message of many.
#[derive(Serialize)]
#[serde(untagged)]
enum Outcome {
    Published(hubbub_protocol::frame::Published),
    Failed { error: ErrorBody },
}

/// What became of many messages.
#[derive(Serialize)]
struct Results {
    results: Vec<Outcome>,
}

/// What became of one message of many.
#[derive(ToSchema)]
#[serde(untagged)]
#[schema(as = EntryOutcome)]
#[allow(dead_code)] // For the document: as [`Outcome`].
enum OutcomeText {
    /// It was taken.
    Published(Published),
    /// It was refused.
    Failed {
        /// Why.
        error: Reason,
    },
}

/// Why a message was refused.
#[derive(ToSchema)]
#[allow(dead_code)] // As above.
struct Reason {
    /// For programs.
    code: String,
    /// For people: what to do next.
    message: String,
    /// Whether to try again: `never`, `now`, `later` or `refresh`.
    retry: String,
    /// When, in milliseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    retry_after: Option<u64>,
}

/// What became of many messages, in the request's order.
#[derive(ToSchema)]
#[schema(as = EntryOutcomes)]
#[allow(dead_code)] // As above.
struct Outcomes {
    results: Vec<OutcomeText>,
}

/// What became of one that had been published before, or of many.
#[derive(ToSchema)]
#[serde(untagged)]
#[schema(as = EntriesPublished)]
#[allow(dead_code)] // As above.
enum Answer {
    /// The first answer again.
    One(Published),
    /// Of many.
    Many(Outcomes),
}

/// Publish one or many
///
/// What came before it is a message of the log all the same: this is the log's own door, without attachments.
#[utoipa::path(post, path = "/v1/channels/{channel}/entries", tag = "entries", operation_id = "publishEntries",
    request_body(content = Posted<'static>, content_type = "application/json"),
    params(("channel" = String, Path, description = "Its name, percent-encoded.")),
    responses((status = 200, description = "One that had been published before; or many, each with its own outcome.", body = Answer),
        (status = 201, description = "One message is taken.", body = Published)))]
async fn publish(
    wants: Wants,
    Caller(identity): Caller,
    State(backend): State<Arc<Backend>>,
    Path(channel): Path<String>,
    body: Text<Posted<'static>>,
) -> Result<Response, Problem> {
    /// Which of the two it is.
    #[derive(Deserialize)]
    struct Shape {
        messages: Option<IgnoredAny>,
    }

    let channel = name(&channel)?;
    if body.read::<Shape>()?.messages.is_some() {
        return Ok(wants.ok(&publish_many(&backend, &identity, &channel, body.read()?).await));
    }
    let published = publish_one(&backend, &identity, &channel, body.read()?).await.map_err(|error| {
        let code = error.known().unwrap_or(ErrorCode::Internal);
        Problem::new(code, error.message)
    })?;
    let status = if published.duplicate { StatusCode::OK } else { StatusCode::CREATED };
    Ok(wants.reply(status, &published))
}

async fn publish_many(backend: &Backend, identity: &Identity, channel: &ChannelName, many: Many<'_>) -> Results {
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
    let outcome = |result: Result<_, _>| result.map_or_else(|error| Outcome::Failed { error }, Outcome::Published);
    Results { results: join_all(tickets).await.into_iter().map(outcome).collect() }
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

/// Which entries.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct Range {
    /// Only those behind this place, the oldest first. Together with `before` it is refused.
    #[schema(minimum = 0, maximum = 9007199254740991i64)]
    after: Option<u64>,
    /// Only those before this place: the newest of them. Together with `after` it is refused.
    #[schema(minimum = 1, maximum = 9007199254740991i64)]
    before: Option<u64>,
    /// Entries of the page, 100 if it is missing.
    #[schema(minimum = 1, maximum = 1000)]
    limit: Option<u32>,
}
query!(Range);

/// An entry of a channel's log.
#[derive(ToSchema)]
#[allow(dead_code)] // For the document: the protocol's own.
struct Entry {
    /// Always `entry`.
    r#type: String,
    /// Where.
    channel: String,
    /// The epoch of its place.
    epoch: u64,
    /// Its place.
    seq: u64,
    /// How many messages the log has up to here.
    ordinal: u64,
    /// `edit`, `delete` or another kind; missing of messages.
    #[serde(skip_serializing_if = "Option::is_none")]
    kind: Option<String>,
    /// The place of the message that it is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    r#ref: Option<u64>,
    /// The publisher's id for it.
    #[serde(skip_serializing_if = "Option::is_none")]
    message_id: Option<String>,
    /// Who published it: a user's id.
    publisher: String,
    /// What it is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    key: Option<String>,
    /// When, in Unix milliseconds.
    time: u64,
    /// What it says.
    #[schema(value_type = Value)]
    payload: Value,
}

/// A place in a log.
#[derive(ToSchema)]
#[schema(as = Cursor)]
#[allow(dead_code)] // As above.
pub(super) struct Cursor {
    /// The epoch of the entry there.
    epoch: u64,
    /// Which entry: 1, 2, 3 …; 0 is before the first.
    seq: u64,
}

/// A page of a log.
#[derive(ToSchema)]
#[schema(as = Entries)]
#[allow(dead_code)] // As above.
struct Page {
    /// The newest entry's place.
    head: Cursor,
    /// The oldest place that the history shows.
    first: u64,
    /// Whether there are more in the direction that was asked for.
    more: bool,
    /// The oldest first.
    entries: Vec<Entry>,
}

/// List entries
///
/// The log as it was written: edits and deletes are entries of their own. The newest if no place is given.
#[utoipa::path(get, path = "/v1/channels/{channel}/entries", tag = "entries", operation_id = "listEntries",
    params(("channel" = String, Path, description = "Its name, percent-encoded."), Range),
    responses((status = 200, description = "A page, the oldest first.", body = Page), (status = 409, description = "An ephemeral channel keeps nothing.")))]
async fn list(
    wants: Wants,
    Caller(identity): Caller,
    State(backend): State<Arc<Backend>>,
    Path(channel): Path<String>,
    Query(range): Query<Range>,
) -> Result<Response, Problem> {
    let direction = direction(range.after, range.before)?;
    let page = backend.channels.history(&identity, &name(&channel)?, direction, range.limit).await?;
    let format = match wants.0 {
        Media::Msgpack => Format::Msgpack,
        Media::Json | Media::Ndjson | Media::Csv => Format::Json,
    };
    let mut body = Vec::new();
    encode::history_page(format, page.rest, page.entries.iter(), &mut body);
    Ok(wants.written(StatusCode::OK, body))
}

/// Which way a page lies, from two parameters of which one at most may be given.
pub(super) fn direction(after: Option<u64>, before: Option<u64>) -> Result<Direction, Problem> {
    Direction::new(after, before).map_err(|_| {
        let at = At::Parameter("before".to_owned());
        Problem::invalid(vec![Fault { at, code: "excluded", detail: "`before` and `after` are not given together".to_owned() }])
    })
}
