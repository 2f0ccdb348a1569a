//! `/v1/channels/{channel}/members`, and `/v1/me/channels`: who belongs where, and as what.

use std::sync::Arc;

use axum::{
    extract::{Path, State},
    response::{IntoResponse, Response},
};
use http::{HeaderMap, StatusCode};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{
    Api,
    channels::name,
    kit::{self, Actor, Body, Field, IfMatch, List, Listed, Page, Wants, WantsList, created, texts::UserText},
};
use crate::{
    auth::Role,
    http::Problem,
    room::{RoomError, Rooms, Standing},
    store::{
        listing::{Condition, Op, Selection, Term},
        members::{self, state_name},
    },
};

pub(super) fn router() -> OpenApiRouter<Api> {
    OpenApiRouter::new().routes(routes!(list, invite)).routes(routes!(show, change, remove)).routes(routes!(join)).routes(routes!(mine))
}

/// A user's place in a channel.
#[derive(Debug, Serialize, ToSchema)]
struct Member {
    /// Where.
    channel: String,
    /// Who: a user's id.
    user: String,
    /// As what.
    role: Role,
    /// `invited`, or `joined`.
    state: &'static str,
    /// By whom, if one was asked in.
    invited_by: Option<String>,
    /// Rises with each change; in the ETag.
    version: u64,
    /// Since when, in Unix milliseconds.
    created_at: u64,
    /// When it was changed last.
    updated_at: u64,
}

impl From<members::Member> for Member {
    fn from(member: members::Member) -> Self {
        Self {
            channel: member.channel.as_str().to_owned(),
            user: member.user,
            role: member.role,
            state: state_name(member.state),
            invited_by: member.invited_by,
            version: member.version,
            created_at: member.created_at,
            updated_at: member.updated_at,
        }
    }
}

impl Listed for Member {
    const FIELDS: &'static [Field] = crate::store::members::FIELDS;
    const NEWEST_FIRST: bool = false;

    fn id(&self) -> String {
        self.user.clone()
    }

    fn sort_key(&self, field: &str) -> Term {
        match field {
            "user" => Term::Text(self.user.clone()),
            _ => Term::Whole(self.created_at as i64),
        }
    }
}

/// One's own place in a channel.
#[derive(Debug, Serialize, ToSchema)]
struct Membership {
    #[serde(flatten)]
    member: Member,
}

impl Listed for Membership {
    const FIELDS: &'static [Field] = crate::store::members::MEMBERSHIPS;

    fn id(&self) -> String {
        self.member.channel.clone()
    }

    fn sort_key(&self, _: &str) -> Term {
        Term::Whole(self.member.created_at as i64)
    }
}

/// Whom to ask in.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({ "user": "ada", "role": "moderator" }))]
struct Invitation {
    /// A user's id.
    #[schema(value_type = UserText)]
    user: String,
    /// As what. More than a member gives only who has more.
    #[serde(default)]
    role: Role,
}

/// A member's role.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({ "role": "moderator" }))]
struct Promotion {
    /// As what: below one's own; owners give every role.
    role: Role,
}

/// List the members of a channel
#[utoipa::path(get, path = "/v1/channels/{channel}/members", tag = "members", operation_id = "listMembers",
    params(("channel" = String, Path, description = "Its name, percent-encoded."), List<Member>),
    responses((status = 200, description = "A page of them, those who are invited included.", body = Page<Member>)))]
async fn list(
    WantsList(media): WantsList,
    actor: Actor,
    State(rooms): State<Arc<Rooms>>,
    Path(channel): Path<String>,
    mut list: List<Member>,
) -> Result<Response, Problem> {
    let channel = name(&channel)?;
    list.selection.conditions.insert(0, in_channel(channel.as_str()));
    kit::answer(list, media, move |selection: Selection| {
        let (rooms, actor, channel) = (rooms.clone(), actor.clone(), channel.clone());
        async move { Ok::<_, RoomError>(rooms.members(actor.by(), &channel, &selection).await?.into_iter().map(Member::from).collect()) }
    })
    .await
}

/// Of this channel.
pub(super) fn in_channel(channel: &str) -> Condition {
    Condition { column: "channel", op: Op::In, terms: vec![Term::Text(channel.to_owned())] }
}

/// List one's own channels
///
/// Those that one is invited to included.
#[utoipa::path(get, path = "/v1/me/channels", tag = "members", operation_id = "listMyChannels", params(List<Membership>),
    responses((status = 200, description = "A page of one's memberships.", body = Page<Membership>)))]
async fn mine(
    WantsList(media): WantsList,
    actor: Actor,
    State(rooms): State<Arc<Rooms>>,
    mut list: List<Membership>,
) -> Result<Response, Problem> {
    let own = Condition { column: "user_id", op: Op::In, terms: vec![Term::Text(actor.identity.user.to_string())] };
    list.selection.conditions.insert(0, own);
    kit::answer(list, media, move |selection: Selection| {
        let rooms = rooms.clone();
        async move {
            let found = rooms.memberships(&selection).await?;
            Ok::<_, RoomError>(found.into_iter().map(|member| Membership { member: member.into() }).collect())
        }
    })
    .await
}

/// Ask somebody into a channel
#[utoipa::path(post, path = "/v1/channels/{channel}/members", tag = "members", operation_id = "inviteMember", request_body = Invitation,
    params(("channel" = String, Path, description = "Its name, percent-encoded.")),
    responses((status = 201, description = "The user is invited, and may join.", body = Member, headers(("Location" = String), ("ETag" = String)))))]
async fn invite(
    wants: Wants,
    actor: Actor,
    State(rooms): State<Arc<Rooms>>,
    Path(channel): Path<String>,
    Body(invitation): Body<Invitation>,
) -> Result<Response, Problem> {
    let channel = name(&channel)?;
    let member = rooms.invite(actor.by(), &channel, &invitation.user, invitation.role).await.map_err(|error| match error {
        RoomError::NoUser(_) => kit::fault("/user", "unknown", error.to_string()),
        error => error.into(),
    })?;
    let location = format!("/v1/channels/{}/members/{}", kit::encoded(channel.as_str()), kit::encoded(&member.user));
    Ok(created(versioned(wants, member), &location))
}

/// Show a member
#[utoipa::path(get, path = "/v1/channels/{channel}/members/{user}", tag = "members", operation_id = "getMember",
    params(("channel" = String, Path, description = "Its name, percent-encoded."), ("user" = String, Path, description = "The user's id, percent-encoded."), kit::IfNoneMatch),
    responses((status = 200, description = "The membership.", body = Member, headers(("ETag" = String))), (status = 304, description = "It is the version that is known.")))]
async fn show(
    wants: Wants,
    actor: Actor,
    State(rooms): State<Arc<Rooms>>,
    Path((channel, user)): Path<(String, String)>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let member = rooms.member(actor.by(), &name(&channel)?, &user).await?;
    if let Some(unchanged) = wants.unchanged(&headers, member.version) {
        return Ok(unchanged);
    }
    Ok(versioned(wants, member))
}

fn versioned(wants: Wants, member: members::Member) -> Response {
    wants.versioned(member.version, &Member::from(member))
}

/// Give a member another role
///
/// Takes the right to manage the channel, and a role above the member's.
#[utoipa::path(patch, path = "/v1/channels/{channel}/members/{user}", tag = "members", operation_id = "changeMember", request_body(content = Promotion, content_type = "application/json"),
    params(("channel" = String, Path, description = "Its name, percent-encoded."), ("user" = String, Path, description = "The user's id, percent-encoded."), kit::IfMatchHeader),
    responses((status = 200, description = "As it is now.", body = Member, headers(("ETag" = String)))))]
async fn change(
    wants: Wants,
    actor: Actor,
    IfMatch(expected): IfMatch,
    State(rooms): State<Arc<Rooms>>,
    Path((channel, user)): Path<(String, String)>,
    Body(promotion): Body<Promotion>,
) -> Result<Response, Problem> {
    let is_known = |version| expected.covers(version);
    Ok(versioned(wants, rooms.promote(actor.by(), &name(&channel)?, &user, promotion.role, &is_known).await?))
}

/// Take a member out, or leave
///
/// With one's own id: leave, or decline an invitation. Others: takes the right to moderate, and a role above theirs.
#[utoipa::path(delete, path = "/v1/channels/{channel}/members/{user}", tag = "members", operation_id = "removeMember",
    params(("channel" = String, Path, description = "Its name, percent-encoded."), ("user" = String, Path, description = "The user's id, percent-encoded.")),
    responses((status = 204, description = "The user is no member any more.")))]
async fn remove(actor: Actor, State(rooms): State<Arc<Rooms>>, Path((channel, user)): Path<(String, String)>) -> Result<Response, Problem> {
    rooms.remove(actor.by(), &name(&channel)?, &user).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

/// Join a channel
///
/// A public one, or one that one is invited to.
#[utoipa::path(put, path = "/v1/channels/{channel}/membership", tag = "members", operation_id = "joinChannel",
    params(("channel" = String, Path, description = "Its name, percent-encoded.")),
    responses((status = 200, description = "One was a member already.", body = Member, headers(("ETag" = String))), (status = 201, description = "One is a member now.", body = Member, headers(("Location" = String), ("ETag" = String)))))]
async fn join(wants: Wants, actor: Actor, State(rooms): State<Arc<Rooms>>, Path(channel): Path<String>) -> Result<Response, Problem> {
    let channel = name(&channel)?;
    let (member, standing) = rooms.join(actor.by(), &channel).await?;
    let location = format!("/v1/channels/{}/members/{}", kit::encoded(channel.as_str()), kit::encoded(&member.user));
    let response = versioned(wants, member);
    Ok(if standing == Standing::New { created(response, &location) } else { response })
}
