//! `/v1/users` and `/v1/me`: everybody who was ever seen.

use std::sync::Arc;

use axum::{
    extract::{Path, State},
    response::{IntoResponse, Response},
};
use http::{HeaderMap, StatusCode};
use hubbub_protocol::ErrorCode;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{
    Api,
    kit::{self, Actor, Field, IfMatch, List, Listed, MaybeIfMatch, Page, Patch, Schemas, Wants, WantsList},
};
use crate::{
    auth::{Identity, Role},
    http::Problem,
    room::Rooms,
    store::{
        listing::{Condition, Op, Selection, Term},
        people::Person,
    },
    user::{Profile, UserError, Users},
};

pub(super) fn router() -> OpenApiRouter<Api> {
    OpenApiRouter::new().routes(routes!(list)).routes(routes!(show, change, delete)).routes(routes!(restore)).routes(routes!(me))
}

impl From<UserError> for Problem {
    fn from(error: UserError) -> Self {
        let code = match &error {
            UserError::NotFound => ErrorCode::NotFound,
            UserError::Forbidden | UserError::NoRuler => ErrorCode::Forbidden,
            UserError::Changed => return kit::changed(),
            UserError::LastOwner => ErrorCode::Conflict,
            UserError::Store(error) => return kit::unavailable(error),
        };
        Problem::new(code, error.to_string())
    }
}

/// A user.
#[derive(Debug, Serialize, ToSchema)]
struct User {
    /// What tokens say in `sub`.
    id: String,
    /// What to call the user.
    name: String,
    /// What the user logs in with: shown to the user and to admins; null for those of outside issuers.
    login: Option<String>,
    /// On the whole instance.
    role: Role,
    /// The user's own object.
    #[schema(value_type = Object)]
    data: Value,
    /// Whether every door is closed to the user.
    blocked: bool,
    /// Rises with each change; in the ETag.
    version: u64,
    /// When first seen, in Unix milliseconds.
    created_at: u64,
    /// When changed last.
    updated_at: u64,
    /// Since when deleted: shown to admins.
    deleted_at: Option<u64>,
}

impl User {
    /// As `identity` may see it.
    fn seen(person: Person, identity: &Identity, is_ruler: bool) -> Self {
        let is_close = is_ruler || *person.id == *identity.user;
        Self {
            login: person.login.filter(|_| is_close),
            data: serde_json::from_str(&person.data).unwrap_or_else(|_| json!({})),
            blocked: person.blocked_at.is_some(),
            id: person.id,
            name: person.name,
            role: person.role,
            version: person.version,
            created_at: person.created_at,
            updated_at: person.updated_at,
            deleted_at: person.deleted_at,
        }
    }
}

impl Listed for User {
    const FIELDS: &'static [Field] = crate::store::people::FIELDS;
    const MORE: &'static [(&'static str, &'static str)] =
        &[("deleted", "`true`: those who are deleted instead. For admins of the instance.")];

    fn id(&self) -> String {
        self.id.clone()
    }

    fn sort_key(&self, field: &str) -> Term {
        match field {
            "name" => Term::Text(self.name.clone()),
            "id" => Term::Text(self.id.clone()),
            _ => Term::Whole(self.created_at as i64),
        }
    }
}

/// What of a user can be changed.
#[derive(Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = Profile)]
struct Changeable {
    /// What to call the user.
    #[schema(min_length = 1, max_length = 64)]
    name: String,
    /// The user's own object, of at most 4 KiB as JSON.
    #[serde(default = "empty")]
    #[schema(value_type = Object)]
    data: Value,
    /// On the whole instance. For admins who stand above.
    role: Role,
    /// Closes every door at once, and ends every login: whoever is let in again logs in again. For admins who stand above.
    blocked: bool,
}

fn empty() -> Value {
    json!({})
}

/// For the document: patches are applied to the whole, which is checked then.
type UserPatch = kit::PatchOf<Changeable>;

/// List users
#[utoipa::path(get, path = "/v1/users", tag = "users", operation_id = "listUsers", params(List<User>),
    responses((status = 200, description = "A page of them.", body = Page<User>)))]
async fn list(
    WantsList(media): WantsList,
    actor: Actor,
    State(users): State<Arc<Users>>,
    mut list: List<User>,
) -> Result<Response, Problem> {
    let is_ruler = users.is_ruler(&actor.identity);
    let deleted = list.switch("deleted")?;
    if deleted && !is_ruler {
        return Err(UserError::Forbidden.into());
    }
    let op = if deleted { Op::Present } else { Op::Absent };
    list.selection.conditions.push(Condition { column: "deleted_at", op, terms: vec![] });
    kit::answer(list, media, move |selection: Selection| {
        let (users, actor) = (users.clone(), actor.clone());
        async move {
            let found = users.list(&actor.identity, &selection).await?;
            Ok::<_, UserError>(found.into_iter().map(|person| User::seen(person, &actor.identity, is_ruler)).collect())
        }
    })
    .await
}

/// Show a user
#[utoipa::path(get, path = "/v1/users/{user}", tag = "users", operation_id = "getUser",
    params(("user" = String, Path, description = "The id, percent-encoded."), kit::IfNoneMatch),
    responses((status = 200, description = "The user.", body = User, headers(("ETag" = String))), (status = 304, description = "It is the version that is known.")))]
async fn show(
    wants: Wants,
    actor: Actor,
    State(users): State<Arc<Users>>,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let person = users.show(&actor.identity, &id).await?;
    if let Some(unchanged) = wants.unchanged(&headers, person.version) {
        return Ok(unchanged);
    }
    Ok(versioned(wants, person, &actor.identity, users.is_ruler(&actor.identity)))
}

fn versioned(wants: Wants, person: Person, identity: &Identity, is_ruler: bool) -> Response {
    wants.versioned(person.version, &User::seen(person, identity, is_ruler))
}

/// Change a user
///
/// A JSON merge patch (RFC 7396). Name and data: of oneself, but not by a token that has `grants`. Role and blocks: for admins who stand
/// above.
#[utoipa::path(patch, path = "/v1/users/{user}", tag = "users", operation_id = "changeUser", request_body(content = UserPatch, content_type = "application/json"),
    params(("user" = String, Path, description = "The id, percent-encoded."), kit::IfMatchHeader),
    responses((status = 200, description = "As it is now.", body = User, headers(("ETag" = String)))))]
async fn change(
    wants: Wants,
    actor: Actor,
    IfMatch(expected): IfMatch,
    State(users): State<Arc<Users>>,
    State(schemas): State<Schemas>,
    Path(id): Path<String>,
    Patch { changes, .. }: Patch<UserPatch>,
) -> Result<Response, Problem> {
    let is_known = |version| expected.covers(version);
    let change = |old: Profile| -> Result<Profile, Problem> {
        let Profile { name, data, role, is_blocked } = old;
        let new: Changeable = kit::patched(&schemas, &Changeable { name, data, role, blocked: is_blocked }, &changes)?;
        kit::bounded(&new.data, "/data")?;
        Ok(Profile { name: new.name, data: new.data, role: new.role, is_blocked: new.blocked })
    };
    let person = users.change(actor.by(), &id, &is_known, change).await?;
    Ok(versioned(wants, person, &actor.identity, users.is_ruler(&actor.identity)))
}

/// Delete a user
///
/// Oneself, but not by a token that has `grants`; or somebody whom one stands above. Every session ends; admins may restore.
#[utoipa::path(delete, path = "/v1/users/{user}", tag = "users", operation_id = "deleteUser",
    params(("user" = String, Path, description = "The id, percent-encoded."), kit::MaybeIfMatchHeader),
    responses((status = 204, description = "The user is deleted.")))]
async fn delete(
    actor: Actor,
    MaybeIfMatch(expected): MaybeIfMatch,
    State(users): State<Arc<Users>>,
    Path(id): Path<String>,
) -> Result<Response, Problem> {
    users.delete(actor.by(), &id, &|version| expected.covers(version)).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

/// Restore a deleted user
///
/// As it was, but for the logins: they have ended.
#[utoipa::path(post, path = "/v1/users/{user}/restore", tag = "users", operation_id = "restoreUser",
    params(("user" = String, Path, description = "The id, percent-encoded.")),
    responses((status = 200, description = "As it was.", body = User, headers(("ETag" = String)))))]
async fn restore(wants: Wants, actor: Actor, State(users): State<Arc<Users>>, Path(id): Path<String>) -> Result<Response, Problem> {
    let person = users.restore(actor.by(), &id).await?;
    Ok(versioned(wants, person, &actor.identity, true))
}

/// Oneself.
#[derive(Serialize, ToSchema)]
struct Me {
    #[serde(flatten)]
    user: User,
    /// One's own channel, which nobody else sees.
    channel: String,
}

/// Show oneself
#[utoipa::path(get, path = "/v1/me", tag = "users", operation_id = "getMe", params(kit::IfNoneMatch),
    responses((status = 200, description = "Whoever asks, and the personal channel.", body = Me, headers(("ETag" = String))), (status = 304, description = "It is the version that is known.")))]
async fn me(
    wants: Wants,
    actor: Actor,
    State(users): State<Arc<Users>>,
    State(rooms): State<Arc<Rooms>>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let person = users.show(&actor.identity, &actor.identity.user).await?;
    let (room, _) = rooms.personal(actor.by()).await?;
    let version = person.version;
    if let Some(unchanged) = wants.unchanged(&headers, version) {
        return Ok(unchanged);
    }
    let user = User::seen(person, &actor.identity, true);
    Ok(wants.versioned(version, &Me { user, channel: room.channel.as_str().to_owned() }))
}
