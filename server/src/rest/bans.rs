//! `/v1/channels/{channel}/bans`: who is kept out.

use std::sync::Arc;

use axum::{
    extract::{Path, State},
    response::{IntoResponse, Response},
};
use http::StatusCode;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{
    Api,
    channels::name,
    kit::{self, Actor, Body, Field, List, Listed, Page, Wants, WantsList, created},
    members::in_channel,
};
use crate::{
    http::Problem,
    room::{NewBan, RoomError, Rooms, Standing},
    store::{
        bans,
        listing::{Selection, Term},
    },
};

pub(super) fn router() -> OpenApiRouter<Api> {
    OpenApiRouter::new().routes(routes!(list)).routes(routes!(show, put, lift))
}

/// A ban: somebody may not, in one channel.
#[derive(Debug, Serialize, ToSchema)]
struct Ban {
    /// Where.
    channel: String,
    /// Who: a user's id.
    user: String,
    /// Why, for people.
    reason: String,
    /// By whom.
    banned_by: String,
    /// Since when, in Unix milliseconds.
    created_at: u64,
    /// When it is over by itself; null: when it is lifted.
    expires_at: Option<u64>,
}

impl From<bans::Ban> for Ban {
    fn from(ban: bans::Ban) -> Self {
        Self {
            channel: ban.channel.as_str().to_owned(),
            user: ban.user,
            reason: ban.reason,
            banned_by: ban.banned_by,
            created_at: ban.created_at,
            expires_at: ban.expires_at,
        }
    }
}

impl Listed for Ban {
    const FIELDS: &'static [Field] = crate::store::bans::FIELDS;

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

/// A ban to be spoken.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = NewBan, example = json!({ "reason": "advertising" }))]
struct Sentence {
    /// Why, for people.
    #[serde(default)]
    #[schema(max_length = 512)]
    reason: String,
    /// When it is over by itself, in Unix milliseconds; when it is lifted if it is missing.
    #[schema(minimum = 1, maximum = 9007199254740991i64)]
    expires_at: Option<u64>,
}

/// List the bans of a channel
///
/// Takes the right to moderate it.
#[utoipa::path(get, path = "/v1/channels/{channel}/bans", tag = "bans", operation_id = "listBans",
    params(("channel" = String, Path, description = "Its name, percent-encoded."), List<Ban>),
    responses((status = 200, description = "A page of them; those that are over may still be among them.", body = Page<Ban>)))]
async fn list(
    WantsList(media): WantsList,
    actor: Actor,
    State(rooms): State<Arc<Rooms>>,
    Path(channel): Path<String>,
    mut list: List<Ban>,
) -> Result<Response, Problem> {
    let channel = name(&channel)?;
    list.selection.conditions.insert(0, in_channel(channel.as_str()));
    kit::answer(list, media, move |selection: Selection| {
        let (rooms, actor, channel) = (rooms.clone(), actor.clone(), channel.clone());
        async move { Ok::<_, RoomError>(rooms.bans(actor.by(), &channel, &selection).await?.into_iter().map(Ban::from).collect()) }
    })
    .await
}

/// Show a ban
#[utoipa::path(get, path = "/v1/channels/{channel}/bans/{user}", tag = "bans", operation_id = "getBan",
    params(("channel" = String, Path, description = "Its name, percent-encoded."), ("user" = String, Path, description = "The user's id, percent-encoded.")),
    responses((status = 200, description = "The ban.", body = Ban)))]
async fn show(
    wants: Wants,
    actor: Actor,
    State(rooms): State<Arc<Rooms>>,
    Path((channel, user)): Path<(String, String)>,
) -> Result<Response, Problem> {
    Ok(wants.ok(&Ban::from(rooms.ban_of(actor.by(), &name(&channel)?, &user).await?)))
}

/// Ban somebody from a channel
///
/// Whoever is in is taken out, and every subscription ends. Takes the right to moderate, and a role above the user's.
#[utoipa::path(put, path = "/v1/channels/{channel}/bans/{user}", tag = "bans", operation_id = "banUser", request_body = Sentence,
    params(("channel" = String, Path, description = "Its name, percent-encoded."), ("user" = String, Path, description = "The user's id, percent-encoded.")),
    responses((status = 200, description = "It was there, and says this now.", body = Ban), (status = 201, description = "The user is banned.", body = Ban, headers(("Location" = String)))))]
async fn put(
    wants: Wants,
    actor: Actor,
    State(rooms): State<Arc<Rooms>>,
    Path((channel, user)): Path<(String, String)>,
    Body(sentence): Body<Sentence>,
) -> Result<Response, Problem> {
    let channel = name(&channel)?;
    if sentence.expires_at.is_some_and(|at| at <= rooms.world.clock.now()) {
        return Err(kit::fault("/expires_at", "too_small", "it has to be later than now"));
    }
    if !crate::auth::is_user(&user) {
        return Err(Problem::new(hubbub_protocol::ErrorCode::NotFound, "no user can have this id"));
    }
    let new = NewBan { reason: sentence.reason, expires_at: sentence.expires_at };
    let (ban, standing) = rooms.ban(actor.by(), &channel, &user, &new).await?;
    let location = format!("/v1/channels/{}/bans/{}", kit::encoded(channel.as_str()), kit::encoded(&user));
    let response = wants.ok(&Ban::from(ban));
    Ok(if standing == Standing::New { created(response, &location) } else { response })
}

/// Lift a ban
#[utoipa::path(delete, path = "/v1/channels/{channel}/bans/{user}", tag = "bans", operation_id = "unbanUser",
    params(("channel" = String, Path, description = "Its name, percent-encoded."), ("user" = String, Path, description = "The user's id, percent-encoded.")),
    responses((status = 204, description = "It is lifted.")))]
async fn lift(actor: Actor, State(rooms): State<Arc<Rooms>>, Path((channel, user)): Path<(String, String)>) -> Result<Response, Problem> {
    rooms.unban(actor.by(), &name(&channel)?, &user).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}
