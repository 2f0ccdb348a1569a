//! `/v1/channels`: rooms that somebody made, and what is known of any channel.

use std::sync::Arc;

use axum::{
    extract::{Path, State},
    response::{IntoResponse, Response},
};
use http::{HeaderMap, StatusCode};
use hubbub_protocol::{ChannelName, ErrorCode};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{
    Api,
    kit::{
        self, Actor, Body, Field, IfMatch, List, Listed, MaybeIfMatch, Page, Patch, Schemas, Wants, WantsList, created,
        texts::{ChannelText, UserText},
    },
};
use crate::{
    auth::policy::Visibility,
    channel::{ChannelInfo, Refused},
    http::{Caller, Problem},
    room::{RoomError, Rooms, Said, Standing},
    session::Backend,
    store::{
        listing::{Condition, Op, Selection, Term},
        rooms::{Room, kind_name, visibility_name},
    },
};

pub(super) fn router() -> OpenApiRouter<Api> {
    OpenApiRouter::new()
        .routes(routes!(list, make))
        .routes(routes!(show, replace, change, delete))
        .routes(routes!(restore))
        .routes(routes!(direct))
}

/// The name in a path, percent-decoded.
pub(super) fn name(text: &str) -> Result<ChannelName, Problem> {
    ChannelName::parse(text).map_err(|error| Problem::new(Refused::ChannelInvalid.code(), error.to_string()))
}

impl From<RoomError> for Problem {
    fn from(error: RoomError) -> Self {
        let code = match &error {
            RoomError::Denied(denied) => denied.code(),
            RoomError::Implicit | RoomError::Reserved | RoomError::Fixed => ErrorCode::Conflict,
            RoomError::Taken | RoomError::IsMember | RoomError::IsBanned | RoomError::LastOwner => ErrorCode::Conflict,
            RoomError::NoMember | RoomError::NoBan => ErrorCode::NotFound,
            RoomError::NoUser(_) => return kit::fault("/users", "unknown", error.to_string()),
            RoomError::Participants(_) => return kit::fault("/users", "out_of_range", error.to_string()),
            RoomError::Changed => return kit::changed(),
            RoomError::Rank => ErrorCode::Forbidden,
            RoomError::Store(error) => return kit::unavailable(error),
        };
        Problem::new(code, error.to_string())
    }
}

/// A channel: a room that somebody made, or one that is there because it is used.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Channel {
    /// Its name: its identity.
    name: String,
    /// `group`, `direct`, `personal`, or `implicit`: without members, there when it is used.
    kind: &'static str,
    /// Whether its entries are stored.
    durable: bool,
    /// Who may know of it: `public` or `private`; null for implicit ones.
    visibility: Option<&'static str>,
    /// What it is called.
    title: Option<String>,
    /// What it is about.
    topic: Option<String>,
    /// Its own object.
    #[schema(value_type = Option<Object>)]
    data: Option<Value>,
    /// Who made it: a user's id.
    created_by: Option<String>,
    /// How many have joined.
    members: Option<u64>,
    /// Rises with each change; in the ETag.
    version: Option<u64>,
    /// When it was made, in Unix milliseconds; of an implicit one: its first entry.
    created_at: Option<u64>,
    /// When it was changed last; of an implicit one: its newest entry.
    updated_at: Option<u64>,
}

impl From<Room> for Channel {
    fn from(room: Room) -> Self {
        Self {
            name: room.channel.as_str().to_owned(),
            kind: kind_name(room.kind),
            durable: true,
            visibility: Some(visibility_name(room.visibility)),
            title: Some(room.title),
            topic: Some(room.topic),
            data: Some(serde_json::from_str(&room.data).unwrap_or_else(|_| json!({}))),
            created_by: Some(room.created_by),
            members: Some(room.members),
            version: Some(room.version),
            created_at: Some(room.created_at),
            updated_at: Some(room.updated_at),
        }
    }
}

impl Listed for Channel {
    const FIELDS: &'static [Field] = crate::store::rooms::FIELDS;
    const MORE: &'static [(&'static str, &'static str)] =
        &[("all", "`true`: private ones too, but those between people. For admins of the instance.")];

    fn id(&self) -> String {
        self.name.clone()
    }

    fn sort_key(&self, field: &str) -> Term {
        match field {
            "title" => Term::Text(self.title.clone().unwrap_or_default()),
            "name" => Term::Text(self.name.clone()),
            _ => Term::Whole(self.created_at.unwrap_or_default() as i64),
        }
    }
}

/// The channel with what its log says.
#[derive(Serialize, ToSchema)]
struct Shown {
    #[serde(flatten)]
    channel: Channel,
    /// Connections of this instance that listen.
    subscribers: usize,
    /// The newest entry's place; null if nothing is kept, or was never published.
    #[schema(value_type = Option<super::entries::Cursor>)]
    head: Option<hubbub_protocol::Cursor>,
    /// How many messages it has had.
    messages: Option<u64>,
}

/// A new channel.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({ "title": "Rust", "topic": "Everything about it", "visibility": "public" }))]
struct NewChannel {
    /// Its name, in a namespace whose channels are made; `chat:` and a UUID if it is missing.
    #[schema(value_type = Option<ChannelText>)]
    name: Option<String>,
    /// What it is called.
    #[schema(min_length = 1, max_length = 128)]
    title: String,
    /// What it is about.
    #[serde(default)]
    #[schema(max_length = 1024)]
    topic: String,
    /// Who may know of it, and join.
    #[serde(default = "private")]
    visibility: Seen,
    /// Its own object, of at most 4 KiB as JSON.
    #[serde(default = "empty")]
    #[schema(value_type = Object)]
    data: Value,
}

/// What is said of a channel. A PUT replaces all of it.
#[derive(Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({ "title": "Rust", "topic": "Everything about it", "visibility": "private", "data": { "color": "red" } }))]
struct Described {
    /// What it is called.
    #[schema(min_length = 1, max_length = 128)]
    title: String,
    /// What it is about.
    #[serde(default)]
    #[schema(max_length = 1024)]
    topic: String,
    /// Who may know of it, and join.
    #[serde(default = "private")]
    visibility: Seen,
    /// Its own object, of at most 4 KiB as JSON.
    #[serde(default = "empty")]
    #[schema(value_type = Object)]
    data: Value,
}

/// Who may know of a channel.
#[derive(Deserialize, Serialize, ToSchema, Clone, Copy)]
#[serde(rename_all = "snake_case")]
enum Seen {
    /// Everybody, and everybody may join.
    Public,
    /// Its members, and who is invited.
    Private,
}

fn private() -> Seen {
    Seen::Private
}

fn empty() -> Value {
    json!({})
}

impl From<Described> for Said {
    fn from(said: Described) -> Self {
        let visibility = match said.visibility {
            Seen::Public => Visibility::Public,
            Seen::Private => Visibility::Private,
        };
        Self { visibility, title: said.title, topic: said.topic, data: said.data }
    }
}

impl From<Said> for Described {
    fn from(said: Said) -> Self {
        let visibility = match said.visibility {
            Visibility::Public => Seen::Public,
            Visibility::Private => Seen::Private,
        };
        Self { visibility, title: said.title, topic: said.topic, data: said.data }
    }
}

/// Make a channel
///
/// In a namespace whose channels are made; its owner is whoever asks. Takes an account that is no guest.
#[utoipa::path(post, path = "/v1/channels", tag = "channels", operation_id = "createChannel", request_body = NewChannel,
    responses((status = 201, description = "It is made.", body = Channel, headers(("Location" = String), ("ETag" = String)))))]
async fn make(wants: Wants, actor: Actor, State(rooms): State<Arc<Rooms>>, Body(new): Body<NewChannel>) -> Result<Response, Problem> {
    let NewChannel { name: wanted, title, topic, visibility, data } = new;
    let said = Said::from(Described { title, topic, visibility, data });
    kit::bounded(&said.data, "/data")?;
    let channel = match &wanted {
        Some(text) => name(text)?,
        None => name(&format!("chat:{}", rooms.world.id()))?,
    };
    let room = rooms.make(actor.by(), &channel, &said).await?;
    let location = format!("/v1/channels/{}", kit::encoded(channel.as_str()));
    Ok(created(versioned(wants, room), &location))
}

/// List public channels
#[utoipa::path(get, path = "/v1/channels", tag = "channels", operation_id = "listChannels", params(List<Channel>),
    responses((status = 200, description = "A page of them.", body = Page<Channel>)))]
async fn list(
    WantsList(media): WantsList,
    actor: Actor,
    State(rooms): State<Arc<Rooms>>,
    mut list: List<Channel>,
) -> Result<Response, Problem> {
    let is_all = list.switch("all")?;
    if is_all && !rooms.access.wields(&actor.identity, crate::auth::Power::RuleUsers) {
        return Err(Problem::new(ErrorCode::Forbidden, "only admins of the instance see private channels that they are not in"));
    }
    let is = |column, op, value: &str| Condition { column, op, terms: vec![Term::Text(value.to_owned())] };
    // Of what people say to each other alone admins hear as little as others.
    list.selection.conditions.extend([Condition { column: "deleted_at", op: Op::Absent, terms: vec![] }, is("kind", Op::In, "group")]);
    if !is_all {
        list.selection.conditions.push(is("visibility", Op::In, "public"));
    }
    kit::answer(list, media, move |selection: Selection| {
        let rooms = rooms.clone();
        async move { Ok::<_, RoomError>(rooms.list(&selection).await?.into_iter().map(Channel::from).collect()) }
    })
    .await
}

/// Show a channel
///
/// Of an implicit one: to whoever may subscribe to it or read its history.
#[utoipa::path(get, path = "/v1/channels/{channel}", tag = "channels", operation_id = "getChannel", params(("channel" = String, Path, description = "Its name, percent-encoded."), kit::IfNoneMatch),
    responses((status = 200, description = "The channel.", body = Shown, headers(("ETag" = String))), (status = 304, description = "It is the version that is known.")))]
async fn show(
    wants: Wants,
    Caller(identity): Caller,
    State(backend): State<Arc<Backend>>,
    State(rooms): State<Arc<Rooms>>,
    Path(channel): Path<String>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let channel = name(&channel)?;
    if rooms.is_implicit(&channel) {
        return Ok(wants.ok(&implicit(backend.channels.info(&identity, &channel).await?)));
    }
    let room = rooms.room(&identity, &channel).await?;
    let version = room.version;
    if let Some(unchanged) = wants.unchanged(&headers, version) {
        return Ok(unchanged);
    }
    let info = match backend.channels.info(&identity, &channel).await {
        Ok(info) => Some(info),
        // Nothing was published yet, or one may see that it is there and no more.
        Err(Refused::NotFound | Refused::Forbidden) => None,
        Err(refused) => return Err(refused.into()),
    };
    let shown = Shown {
        channel: Channel { durable: info.as_ref().is_none_or(|info| info.durable), ..room.into() },
        subscribers: info.as_ref().map_or(0, |info| info.subscribers),
        head: info.as_ref().and_then(|info| info.head),
        messages: info.as_ref().and_then(|info| info.messages),
    };
    Ok(wants.versioned(version, &shown))
}

fn implicit(info: ChannelInfo) -> Shown {
    let channel = Channel {
        name: info.name.as_str().to_owned(),
        kind: "implicit",
        durable: info.durable,
        visibility: None,
        title: None,
        topic: None,
        data: None,
        created_by: None,
        members: None,
        version: None,
        created_at: info.created_at,
        updated_at: info.updated_at,
    };
    Shown { channel, subscribers: info.subscribers, head: info.head, messages: info.messages }
}

/// Replace what is said of a channel
///
/// Takes the right to manage it.
#[utoipa::path(put, path = "/v1/channels/{channel}", tag = "channels", operation_id = "replaceChannel", request_body = Described,
    params(("channel" = String, Path, description = "Its name, percent-encoded."), kit::IfMatchHeader),
    responses((status = 200, description = "As it is now.", body = Channel, headers(("ETag" = String)))))]
async fn replace(
    wants: Wants,
    actor: Actor,
    IfMatch(expected): IfMatch,
    State(rooms): State<Arc<Rooms>>,
    Path(channel): Path<String>,
    Body(described): Body<Described>,
) -> Result<Response, Problem> {
    let said = Said::from(described);
    kit::bounded(&said.data, "/data")?;
    let is_known = |version| expected.covers(version);
    let room = rooms.change::<Problem>(actor.by(), &name(&channel)?, &is_known, |_| Ok(said)).await?;
    Ok(versioned(wants, room))
}

/// Change what is said of a channel
///
/// A JSON merge patch (RFC 7396). Takes the right to manage it.
#[utoipa::path(patch, path = "/v1/channels/{channel}", tag = "channels", operation_id = "changeChannel", request_body(content = DescribedPatch, content_type = "application/json"),
    params(("channel" = String, Path, description = "Its name, percent-encoded."), kit::IfMatchHeader),
    responses((status = 200, description = "As it is now.", body = Channel, headers(("ETag" = String)))))]
async fn change(
    wants: Wants,
    actor: Actor,
    IfMatch(expected): IfMatch,
    State(rooms): State<Arc<Rooms>>,
    State(schemas): State<Schemas>,
    Path(channel): Path<String>,
    Patch { changes, .. }: Patch<DescribedPatch>,
) -> Result<Response, Problem> {
    let is_known = |version| expected.covers(version);
    let change = |old: Said| -> Result<Said, Problem> {
        let new: Described = kit::patched(&schemas, &Described::from(old), &changes)?;
        kit::bounded(&new.data, "/data")?;
        Ok(new.into())
    };
    let room = rooms.change(actor.by(), &name(&channel)?, &is_known, change).await?;
    Ok(versioned(wants, room))
}

/// For the document: patches are applied to the whole, which is checked then.
type DescribedPatch = kit::PatchOf<Described>;

fn versioned(wants: Wants, room: Room) -> Response {
    wants.versioned(room.version, &Channel::from(room))
}

/// Delete a channel
///
/// Its owner may restore it for 30 days.
#[utoipa::path(delete, path = "/v1/channels/{channel}", tag = "channels", operation_id = "deleteChannel",
    params(("channel" = String, Path, description = "Its name, percent-encoded."), kit::MaybeIfMatchHeader),
    responses((status = 204, description = "It is deleted.")))]
async fn delete(
    actor: Actor,
    MaybeIfMatch(expected): MaybeIfMatch,
    State(rooms): State<Arc<Rooms>>,
    Path(channel): Path<String>,
) -> Result<Response, Problem> {
    rooms.delete(actor.by(), &name(&channel)?, &|version| expected.covers(version)).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

/// Restore a deleted channel
#[utoipa::path(post, path = "/v1/channels/{channel}/restore", tag = "channels", operation_id = "restoreChannel",
    params(("channel" = String, Path, description = "Its name, percent-encoded.")),
    responses((status = 200, description = "As it was.", body = Channel, headers(("ETag" = String)))))]
async fn restore(wants: Wants, actor: Actor, State(rooms): State<Arc<Rooms>>, Path(channel): Path<String>) -> Result<Response, Problem> {
    Ok(versioned(wants, rooms.restore(actor.by(), &name(&channel)?).await?))
}

/// Who else takes part.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({ "users": ["ada"] }))]
struct NewDirect {
    /// Users' ids, 1 to 7; oneself may be among them.
    #[schema(value_type = Vec<UserText>, min_items = 1, max_items = 8)]
    users: Vec<String>,
}

/// Find or make a channel for direct messages
///
/// There is one for each set of users, whoever of them asks.
#[utoipa::path(post, path = "/v1/direct-channels", tag = "channels", operation_id = "openDirectChannel", request_body = NewDirect,
    responses((status = 200, description = "It was there.", body = Channel, headers(("ETag" = String))), (status = 201, description = "It is made.", body = Channel, headers(("Location" = String), ("ETag" = String)))))]
async fn direct(wants: Wants, actor: Actor, State(rooms): State<Arc<Rooms>>, Body(new): Body<NewDirect>) -> Result<Response, Problem> {
    let (room, standing) = rooms.direct(actor.by(), &new.users).await?;
    let location = format!("/v1/channels/{}", kit::encoded(room.channel.as_str()));
    let response = versioned(wants, room);
    Ok(if standing == Standing::New { created(response, &location) } else { response })
}
