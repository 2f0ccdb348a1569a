//! `/v1/channels/{channel}/messages`: messages as they stand now.

use std::{collections::HashMap, sync::Arc};

use axum::{
    body::{Body as Bytes, Bytes as Piece},
    extract::{Path, State},
    response::{IntoResponse, Response},
};
use futures_util::StreamExt;
use http::{HeaderMap, HeaderValue, StatusCode, header};
use hubbub_protocol::{ChannelName, Entry, ErrorCode, Key, MessageId, json_payload, msgpack_payload};
use serde::{Deserialize, Serialize};
use serde_json::{Value, value::RawValue};
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{
    Api,
    channels::name,
    entries::{Published, direction},
    kit::{self, Actor, Body, Expected, MaybeIfMatch, Media, Query, Wants, WantsList, created, query, texts::MessageIdText},
};
use crate::{
    auth::{Act, Identity},
    channel::{Authority, Message, MessageRange, NewMessage, Refused, Stored},
    http::{Caller, Problem},
    session::Backend,
    upload::Uploads,
};

/// How often an edit is merged anew because another one was quicker.
const MERGES: u32 = 8;

pub(super) fn router() -> OpenApiRouter<Api> {
    OpenApiRouter::new().routes(routes!(list, publish)).routes(routes!(show, edit, delete))
}

/// A message as it stands now.
#[derive(Serialize, ToSchema)]
#[schema(as = Message)]
struct View {
    /// Its place in the log, by which it is named.
    seq: u64,
    /// The epoch of that place.
    epoch: u64,
    /// Which message of the channel it is.
    ordinal: u64,
    /// The publisher's id for it.
    message_id: Option<String>,
    /// Who published it: a user's id.
    publisher: String,
    /// What it is about.
    key: Option<String>,
    /// When it was published, in Unix milliseconds.
    time: u64,
    /// What the newest edit says; null if it was deleted.
    #[schema(value_type = Value)]
    payload: Box<RawValue>,
    /// When it was edited last.
    edited_at: Option<u64>,
    /// How often it was edited.
    edits: u32,
    /// When it was deleted.
    deleted_at: Option<u64>,
    /// By whom.
    deleted_by: Option<String>,
    /// The ids of uploads that are attached.
    attachments: Vec<String>,
}

/// What became of a new message.
#[derive(ToSchema)]
#[schema(as = NewMessageAnswer)]
#[serde(untagged)]
#[allow(dead_code)] // For the document: which one it is depends on the channel.
enum Told {
    /// In a durable channel: the message.
    Message(View),
    /// In an ephemeral one: that it was taken.
    Published(Published),
}

/// Messages in the order of their places.
#[derive(Serialize, ToSchema)]
struct Messages {
    messages: Vec<View>,
    /// The oldest place that the history shows.
    first: u64,
    /// The newest entry's place.
    head: u64,
    /// Whether there are more in the direction that was asked for.
    more: bool,
}

/// Which messages.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct Range {
    /// Only those behind this place, the oldest first. Together with `before` it is refused.
    #[schema(minimum = 0, maximum = 9007199254740991i64)]
    after: Option<u64>,
    /// Only those before this place: the newest of them. Together with `after` it is refused.
    #[schema(minimum = 1, maximum = 9007199254740991i64)]
    before: Option<u64>,
    /// Only those that are not older, in Unix milliseconds.
    #[schema(minimum = 0, maximum = 9007199254740991i64)]
    since: Option<u64>,
    /// Only those that are older.
    #[schema(minimum = 0, maximum = 9007199254740991i64)]
    until: Option<u64>,
    /// Messages of the page, 100 if it is missing. NDJSON has no pages.
    #[schema(minimum = 1, maximum = 1000)]
    limit: Option<u32>,
}
query!(Range);

/// A new message.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = NewMessage, example = json!({ "payload": { "text": "Good morning" } }))]
struct Post {
    /// Any value.
    #[schema(value_type = Value)]
    payload: Value,
    /// What it is about: newer ones supersede it for whoever wants only the latest.
    #[schema(min_length = 1, max_length = 64)]
    key: Option<String>,
    /// A UUID of version 7: makes it safe to send again.
    #[schema(value_type = Option<MessageIdText>)]
    message_id: Option<String>,
    /// Ids of uploads: one's own, or the channel's. None twice.
    #[serde(default)]
    #[schema(value_type = HashSet<String>, max_items = 16)]
    attachments: Vec<String>,
}

/// What to change of a message's payload: a JSON merge patch.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = MessageEdit, example = json!({ "payload": { "text": "Good evening" } }))]
struct Edit {
    /// Any value; of an object only what changes, with null for what goes.
    #[schema(value_type = Value)]
    payload: Value,
    /// A UUID of version 7: makes it safe to send again.
    #[schema(value_type = Option<MessageIdText>)]
    message_id: Option<String>,
}

fn view(message: Message, attachments: Vec<String>) -> View {
    let json = json_payload(&message.payload).ok().and_then(|json| String::from_utf8(json).ok());
    let payload = json.and_then(|json| RawValue::from_string(json).ok()).unwrap_or_default();
    View {
        seq: message.seq,
        epoch: message.epoch,
        ordinal: message.ordinal,
        message_id: message.message_id.map(|id| id.to_string()),
        publisher: message.publisher.to_string(),
        key: message.key.map(|key| key.as_str().to_owned()),
        time: message.time,
        payload,
        edited_at: message.edited_at,
        edits: message.edits,
        deleted_at: message.deleted_at,
        deleted_by: message.deleted_by.map(|user| user.to_string()),
        attachments,
    }
}

/// Rises with each change.
fn version(message: &Message) -> u64 {
    1 + u64::from(message.edits) + u64::from(message.deleted_at.is_some())
}

async fn may_read(backend: &Backend, identity: &Identity, channel: &ChannelName) -> Result<(), Problem> {
    Ok(backend.access.may(identity, Act::History, channel).await?)
}

async fn attached(uploads: &Uploads, channel: &ChannelName, messages: &[Message]) -> Result<HashMap<u64, Vec<String>>, Problem> {
    let mut by_seq: HashMap<u64, Vec<String>> = HashMap::new();
    let mut with = messages.iter().filter(|message| message.has_attachments);
    if let Some(first) = with.next() {
        let last = with.next_back().unwrap_or(first);
        for (seq, upload) in uploads.attached(channel, first.seq, last.seq).await? {
            by_seq.entry(seq).or_default().push(upload.id);
        }
    }
    Ok(by_seq)
}

/// List messages
///
/// As they stand now: with their edits, and without what was deleted. The newest if no place is given. As NDJSON: all of them,
/// whatever `limit` says.
#[utoipa::path(get, path = "/v1/channels/{channel}/messages", tag = "messages", operation_id = "listMessages",
    params(("channel" = String, Path, description = "Its name, percent-encoded."), Range),
    responses((status = 200, description = "A page of them, the oldest first.", content((Messages = "application/json"), (String = "application/x-ndjson"))), (status = 409, description = "An ephemeral channel keeps nothing.")))]
async fn list(
    WantsList(media): WantsList,
    Caller(identity): Caller,
    State(backend): State<Arc<Backend>>,
    State(uploads): State<Arc<Uploads>>,
    Path(channel): Path<String>,
    Query(range): Query<Range>,
) -> Result<Response, Problem> {
    let channel = name(&channel)?;
    may_read(&backend, &identity, &channel).await?;
    let direction = direction(range.after, range.before)?;
    let wanted = MessageRange { direction, since: range.since, until: range.until };
    match media {
        Media::Json | Media::Msgpack => {
            let page = backend.channels.messages(&channel, wanted, range.limit).await?;
            let mut attached = attached(&uploads, &channel, &page.messages).await?;
            let view = |message: Message| {
                let attachments = attached.remove(&message.seq).unwrap_or_default();
                view(message, attachments)
            };
            let messages = page.messages.into_iter().map(view).collect();
            Ok(Wants(media).ok(&Messages { messages, first: page.first, head: page.head.seq, more: page.more }))
        }
        Media::Ndjson => {
            let pages = backend.channels.every_page(&identity, &channel, wanted).then(move |page| {
                let (uploads, channel) = (uploads.clone(), channel.clone());
                async move { lines(&uploads, &channel, page.map_err(std::io::Error::other)?).await }
            });
            let kind = HeaderValue::from_static(Media::Ndjson.as_str());
            // Fused, as `export::rows`.
            Ok(([(header::CONTENT_TYPE, kind)], Bytes::from_stream(pages.fuse())).into_response())
        }
        Media::Csv => Err(Problem::new(ErrorCode::NotAcceptable, "messages can be had as JSON, MessagePack and NDJSON")),
    }
}

/// A page of an export, a line a message.
async fn lines(uploads: &Uploads, channel: &ChannelName, messages: Vec<Message>) -> std::io::Result<Piece> {
    let mut attached = attached(uploads, channel, &messages).await.map_err(|problem| std::io::Error::other(problem.detail().to_owned()))?;
    let mut lines = Vec::new();
    for message in messages {
        let attachments = attached.remove(&message.seq).unwrap_or_default();
        serde_json::to_writer(&mut lines, &view(message, attachments))?;
        lines.push(b'\n');
    }
    Ok(lines.into())
}

/// Publish a message
#[utoipa::path(post, path = "/v1/channels/{channel}/messages", tag = "messages", operation_id = "createMessage", request_body = Post,
    params(("channel" = String, Path, description = "Its name, percent-encoded.")),
    responses((status = 200, description = "It had been published before.", body = View), (status = 201, description = "It is stored; or, in an ephemeral channel, on its way, and what it says is not repeated.", body = Told, headers(("Location" = String), ("ETag" = String)))))]
async fn publish(
    wants: Wants,
    Caller(identity): Caller,
    State(backend): State<Arc<Backend>>,
    State(uploads): State<Arc<Uploads>>,
    Path(channel): Path<String>,
    Body(post): Body<Post>,
) -> Result<Response, Problem> {
    let channel = name(&channel)?;
    let key = post.key.as_deref().map(Key::parse).transpose().map_err(|error| Problem::new(ErrorCode::KeyInvalid, error.to_string()))?;
    let (message_id, payload) = (parse_id(post.message_id.as_deref())?, encode(&post.payload)?);
    backend.access.may(&identity, Act::Publish, &channel).await?;
    attachable(&uploads, &identity, &channel, &post.attachments).await?;
    let message = NewMessage { channel: channel.clone(), message_id, key, payload };
    let Stored { published, entry } = backend.channels.publish(&identity, message).await?.stored().await?;
    let Some(seq) = published.seq else {
        // Nothing is kept of it: what was sent is all there is.
        return Ok(wants.reply(StatusCode::CREATED, &published));
    };
    if !post.attachments.is_empty() {
        let ids: Vec<&str> = post.attachments.iter().map(String::as_str).collect();
        uploads.attach(&identity.user, &channel, seq, &ids).await?;
    }
    let message = match entry {
        Some(entry) => Message::from(Entry::clone(&entry)),
        None => backend.channels.message(&channel, seq).await?,
    };
    let location = format!("/v1/channels/{}/messages/{seq}", kit::encoded(channel.as_str()));
    let response = versioned(wants, message, post.attachments);
    Ok(if published.duplicate { response } else { created(response, &location) })
}

/// Refuses attachments before anything is published.
async fn attachable(uploads: &Uploads, identity: &Identity, channel: &ChannelName, ids: &[String]) -> Result<(), Problem> {
    for (place, id) in ids.iter().enumerate() {
        let found = uploads.find(id).await.ok();
        let is_ours = found.is_some_and(|upload| *upload.owner == *identity.user || upload.channel.as_deref() == Some(channel.as_str()));
        if !is_ours {
            return Err(kit::fault(&format!("/attachments/{place}"), "unknown", "there is no such upload of yours or of this channel"));
        }
    }
    Ok(())
}

fn parse_id(id: Option<&str>) -> Result<Option<MessageId>, Problem> {
    let is_none = || Problem::new(ErrorCode::MessageIdInvalid, "`message_id` is not a hyphenated UUID of version 7");
    id.map(|id| MessageId::parse(id).ok_or_else(is_none)).transpose()
}

fn encode(payload: &Value) -> Result<bytes::Bytes, Problem> {
    let payload = msgpack_payload(&payload.to_string()).map_err(|error| Problem::new(ErrorCode::PayloadInvalid, error.to_string()))?;
    Ok(payload.into())
}

fn versioned(wants: Wants, message: Message, attachments: Vec<String>) -> Response {
    let (version, aside) = (version(&message), aside(&attachments));
    wants.versioned_beside(version, &aside, &view(message, attachments))
}

/// What is shown of a message beside what its version is of: uploads come and go by themselves.
fn aside(attachments: &[String]) -> String {
    attachments.join(" ")
}

/// Show a message
#[utoipa::path(get, path = "/v1/channels/{channel}/messages/{seq}", tag = "messages", operation_id = "getMessage",
    params(("channel" = String, Path, description = "Its name, percent-encoded."), ("seq" = u64, Path, description = "Its place."), kit::IfNoneMatch),
    responses((status = 200, description = "The message.", body = View, headers(("ETag" = String))), (status = 304, description = "It is the version that is known."), (status = 409, description = "An ephemeral channel keeps nothing.")))]
async fn show(
    wants: Wants,
    Caller(identity): Caller,
    State(backend): State<Arc<Backend>>,
    State(uploads): State<Arc<Uploads>>,
    Path((channel, seq)): Path<(String, String)>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let (channel, seq) = (name(&channel)?, place(&seq)?);
    may_read(&backend, &identity, &channel).await?;
    let message = backend.channels.message(&channel, seq).await?;
    let attachments = attached(&uploads, &channel, std::slice::from_ref(&message)).await?.remove(&seq).unwrap_or_default();
    if let Some(unchanged) = wants.unchanged_beside(&headers, version(&message), &aside(&attachments)) {
        return Ok(unchanged);
    }
    Ok(versioned(wants, message, attachments))
}

/// What is no place names no message.
fn place(text: &str) -> Result<u64, Problem> {
    text.parse().map_err(|_| Refused::NoMessage.into())
}

/// Edit a message
///
/// One's own. `payload` is patched like every other field: an object is merged into an object, and any other value takes the place of what is
/// there. Subscribers receive an entry of the kind `edit`, with the whole payload. Without `If-Match` the newest version is edited.
#[utoipa::path(patch, path = "/v1/channels/{channel}/messages/{seq}", tag = "messages", operation_id = "editMessage", request_body(content = Edit, content_type = "application/json"),
    params(("channel" = String, Path, description = "Its name, percent-encoded."), ("seq" = u64, Path, description = "Its place."), kit::MaybeIfMatchHeader),
    responses((status = 200, description = "As it is now.", body = View, headers(("ETag" = String)))))]
async fn edit(
    wants: Wants,
    Caller(identity): Caller,
    MaybeIfMatch(expected): MaybeIfMatch,
    State(backend): State<Arc<Backend>>,
    State(uploads): State<Arc<Uploads>>,
    Path((channel, seq)): Path<(String, String)>,
    Body(edit): Body<Edit>,
) -> Result<Response, Problem> {
    let (channel, seq) = (name(&channel)?, place(&seq)?);
    let message_id = parse_id(edit.message_id.as_deref())?;
    backend.access.may(&identity, Act::Publish, &channel).await?;
    let mut tries = 0;
    loop {
        let before = backend.channels.message(&channel, seq).await?;
        let is_covered = expected.covers(version(&before));
        // What counts is the version where the edit is stored. What is too late already need not get there; but an edit with an id may be a
        // repeat, and what is another's is refused for that.
        if !is_covered && message_id.is_none() && before.publisher == identity.user {
            return Err(kit::changed());
        }
        // What is merged is good for the version that it was merged into.
        let is_merged = edit.payload.is_object();
        let versions = if is_merged && is_covered { Some([version(&before)].into()) } else { expected.clone().versions() };
        let payload = encode(&merged(&before, &edit.payload))?;
        match backend.channels.edit(&identity, &channel, seq, message_id, payload, versions).await?.await {
            Err(Refused::Changed) if is_merged && expected == Expected::Any && tries < MERGES => tries += 1,
            edited => {
                edited?;
                break;
            }
        }
    }
    let message = backend.channels.message(&channel, seq).await?;
    let mut attached = attached(&uploads, &channel, std::slice::from_ref(&message)).await?;
    Ok(versioned(wants, message, attached.remove(&seq).unwrap_or_default()))
}

/// What the message says, with a merge patch applied.
fn merged(message: &Message, patch: &Value) -> Value {
    let mut payload = json_payload(&message.payload).ok().and_then(|json| serde_json::from_slice(&json).ok()).unwrap_or_default();
    kit::merge(&mut payload, patch);
    payload
}

/// Delete a message
///
/// One's own, or anybody's with the right to moderate. What it said is gone at once; subscribers receive an entry of the kind `delete`.
#[utoipa::path(delete, path = "/v1/channels/{channel}/messages/{seq}", tag = "messages", operation_id = "deleteMessage",
    params(("channel" = String, Path, description = "Its name, percent-encoded."), ("seq" = u64, Path, description = "Its place."), kit::MaybeIfMatchHeader),
    responses((status = 204, description = "It is deleted.")))]
async fn delete(
    actor: Actor,
    MaybeIfMatch(expected): MaybeIfMatch,
    State(backend): State<Arc<Backend>>,
    State(uploads): State<Arc<Uploads>>,
    Path((channel, seq)): Path<(String, String)>,
) -> Result<Response, Problem> {
    let (channel, seq) = (name(&channel)?, place(&seq)?);
    let identity = &actor.identity;
    let authority = match backend.access.may(identity, Act::Moderate, &channel).await {
        Ok(()) => Authority::Moderate,
        Err(_) => {
            backend.access.may(identity, Act::Publish, &channel).await?;
            Authority::Own
        }
    };
    let before = backend.channels.message(&channel, seq).await?;
    let is_own = before.publisher == identity.user;
    // As for an edit.
    if !expected.covers(version(&before)) && (authority == Authority::Moderate || is_own) {
        return Err(kit::changed());
    }
    backend.channels.delete(identity, &channel, seq, None, authority, expected.versions()).await?.await?;
    uploads.detach(&channel, seq).await?;
    if !is_own {
        backend.channels.note_deletion(actor.by(), &channel, seq, &before.publisher).await?;
    }
    Ok(StatusCode::NO_CONTENT.into_response())
}
