//! `/v1/api-keys`: keys of backends.

use std::sync::Arc;

use axum::{
    extract::{Path, State},
    response::Response,
};
use http::{HeaderMap, HeaderValue, StatusCode, header};
use hubbub_protocol::ErrorCode;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{
    Api,
    kit::{self, Actor, Body, Field, List, Listed, Page, Wants, WantsList, created, texts::PatternText},
};
use crate::{
    api_key::{self, ApiKeyError, ApiKeys},
    http::Problem,
    store::{
        api_keys,
        listing::{Selection, Term},
    },
};

pub(super) fn router() -> OpenApiRouter<Api> {
    OpenApiRouter::new().routes(routes!(list, make)).routes(routes!(show, revoke))
}

/// A backend's key, without its secret.
#[derive(Debug, Serialize, ToSchema)]
struct ApiKey {
    /// Which.
    id: String,
    /// What it is called.
    name: String,
    /// What it may do.
    scopes: Vec<String>,
    /// Patterns of the channels where; `*` stands for any run of characters.
    channels: Vec<String>,
    /// By whom it was made.
    created_by: String,
    /// When, in Unix milliseconds.
    created_at: i64,
    /// When it was last used, give or take an hour.
    used_at: Option<i64>,
    /// When it ends by itself.
    expires_at: Option<i64>,
    /// When it was revoked.
    revoked_at: Option<i64>,
}

impl From<api_keys::ApiKey> for ApiKey {
    fn from(key: api_keys::ApiKey) -> Self {
        Self {
            id: key.id,
            name: key.name,
            scopes: serde_json::from_str(&key.scopes).unwrap_or_default(),
            channels: serde_json::from_str(&key.channels).unwrap_or_default(),
            created_by: key.created_by,
            created_at: key.created_at,
            used_at: key.used_at,
            expires_at: key.expires_at,
            revoked_at: key.revoked_at,
        }
    }
}

impl Listed for ApiKey {
    const FIELDS: &'static [Field] = crate::store::api_keys::FIELDS;

    fn id(&self) -> String {
        self.id.clone()
    }

    fn sort_key(&self, _: &str) -> Term {
        Term::Whole(self.created_at)
    }
}

/// What a key may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
enum Scope {
    /// See channels and their members.
    Subscribe,
    /// Publish, and act on memberships and channels as their admin does.
    Publish,
    /// Read what channels keep.
    History,
    /// See who is there.
    Presence,
    /// Delete messages, ban, change and delete channels.
    Moderate,
    /// Rule over users and sessions, read the audit log, see the instances: of the whole instance, whatever the key's channels.
    Operate,
}

impl Scope {
    const fn name(self) -> &'static str {
        match self {
            Scope::Subscribe => "subscribe",
            Scope::Publish => "publish",
            Scope::History => "history",
            Scope::Presence => "presence",
            Scope::Moderate => "moderate",
            Scope::Operate => "operate",
        }
    }
}

/// A new key.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({ "name": "prices", "scopes": ["publish"], "channels": ["ticker:*"] }))]
struct NewApiKey {
    /// What it is called.
    #[schema(min_length = 1, max_length = 64)]
    name: String,
    /// What it may do, nothing twice. Any key may see users and public channels, as every member of the instance may.
    #[schema(value_type = HashSet<Scope>, min_items = 1, max_items = 6)]
    scopes: Vec<Scope>,
    /// Patterns of the channels where; everywhere if it is missing.
    #[serde(default = "everywhere")]
    #[schema(value_type = Vec<PatternText>, min_items = 1, max_items = 64)]
    channels: Vec<String>,
    /// When it ends by itself, in Unix milliseconds; never if it is missing.
    #[schema(minimum = 1, maximum = 9007199254740991i64)]
    expires_at: Option<u64>,
}

fn everywhere() -> Vec<String> {
    vec!["*".to_owned()]
}

/// A key with its secret: shown this once.
#[derive(Serialize, ToSchema)]
struct Made {
    #[serde(flatten)]
    about: ApiKey,
    /// The key itself, for `Authorization: Bearer …`.
    key: String,
}

impl From<ApiKeyError> for Problem {
    fn from(error: ApiKeyError) -> Self {
        let code = match &error {
            ApiKeyError::Forbidden => ErrorCode::Forbidden,
            ApiKeyError::NotFound => ErrorCode::NotFound,
            ApiKeyError::Past => return kit::fault("/expires_at", "too_small", error.to_string()),
            ApiKeyError::Store(error) => return kit::unavailable(error),
        };
        Problem::new(code, error.to_string())
    }
}

/// Make a key
///
/// For admins of the instance. The answer has the key itself, which is shown this once: no `Idempotency-Key` is taken (400), since it could not be
/// shown again.
#[utoipa::path(post, path = "/v1/api-keys", tag = "api-keys", operation_id = "createApiKey", request_body = NewApiKey, extensions(("x-unkeyed" = json!(true))),
    responses((status = 201, description = "It is made. `key` is shown this once.", body = Made, headers(("Location" = String)))))]
async fn make(
    wants: Wants,
    actor: Actor,
    headers: HeaderMap,
    State(keys): State<Arc<ApiKeys>>,
    Body(new): Body<NewApiKey>,
) -> Result<Response, Problem> {
    if headers.contains_key(&kit::KEY) {
        let text = "a new key takes no Idempotency-Key, since it is shown once: send it again without, and revoke what is double";
        return Err(Problem::new(ErrorCode::BadFrame, text));
    }
    if let Some(place) = new.channels.iter().position(|pattern| pattern.is_empty() || pattern.len() > 128) {
        return Err(kit::fault(&format!("/channels/{place}"), "too_long", "a pattern has 1 to 128 bytes"));
    }
    let NewApiKey { name, scopes, channels, expires_at } = new;
    let scopes = scopes.into_iter().map(|scope| scope.name().to_owned()).collect();
    let (about, key) = keys.make(actor.by(), api_key::NewApiKey { name, scopes, channels, expires_at }).await?;
    let location = format!("/v1/api-keys/{}", about.id);
    let mut response = created(wants.ok(&Made { about: about.into(), key }), &location);
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Ok(response)
}

/// List keys
///
/// For admins of the instance.
#[utoipa::path(get, path = "/v1/api-keys", tag = "api-keys", operation_id = "listApiKeys", params(List<ApiKey>),
    responses((status = 200, description = "A page of them, without their secrets.", body = Page<ApiKey>)))]
async fn list(
    WantsList(media): WantsList,
    actor: Actor,
    State(keys): State<Arc<ApiKeys>>,
    list: List<ApiKey>,
) -> Result<Response, Problem> {
    kit::answer(list, media, move |selection: Selection| {
        let (keys, actor) = (keys.clone(), actor.clone());
        async move { Ok::<_, ApiKeyError>(keys.list(&actor.identity, &selection).await?.into_iter().map(ApiKey::from).collect()) }
    })
    .await
}

/// Show a key
#[utoipa::path(get, path = "/v1/api-keys/{key}", tag = "api-keys", operation_id = "getApiKey",
    params(("key" = String, Path, description = "Its id.")), responses((status = 200, description = "The key, without its secret.", body = ApiKey)))]
async fn show(wants: Wants, actor: Actor, State(keys): State<Arc<ApiKeys>>, Path(id): Path<String>) -> Result<Response, Problem> {
    Ok(wants.ok(&ApiKey::from(keys.show(&actor.identity, &id).await?)))
}

/// Revoke a key
///
/// It is refused everywhere within a second.
#[utoipa::path(delete, path = "/v1/api-keys/{key}", tag = "api-keys", operation_id = "revokeApiKey",
    params(("key" = String, Path, description = "Its id.")), responses((status = 204, description = "It is revoked.")))]
async fn revoke(actor: Actor, State(keys): State<Arc<ApiKeys>>, Path(id): Path<String>) -> Result<StatusCode, Problem> {
    keys.revoke(actor.by(), &id).await?;
    Ok(StatusCode::NO_CONTENT)
}
