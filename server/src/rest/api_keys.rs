//! `/v1/api-keys`: keys of backends.

use axum::{
    extract::{Path, State},
    response::{IntoResponse, Response},
};
use http::{HeaderValue, StatusCode, header};
use hubbub_protocol::ErrorCode;
use serde::{Deserialize, Serialize};
use serde_json::json;
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{
    Api,
    kit::{self, Actor, Body, Field, Kind, List, Listed, Page, Wants, WantsList, created},
};
use crate::{
    access::backends,
    auth::{Identity, Power},
    http::Problem,
    store::{
        StoreError, api_keys,
        audit::{self, Deed},
        listing::{Selection, Term},
        rulings::{self, Ruling},
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
    const FIELDS: &'static [Field] = &[
        Field { name: "created_at", column: "created_at", kind: Kind::Whole, nullable: false, sorts: true },
        Field { name: "created_by", column: "created_by", kind: Kind::Text, nullable: false, sorts: false },
        Field { name: "revoked_at", column: "revoked_at", kind: Kind::Whole, nullable: true, sorts: false },
        Field { name: "expires_at", column: "expires_at", kind: Kind::Whole, nullable: true, sorts: false },
    ];

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
    /// Rule over users and sessions, read the audit log, see the instances.
    Operate,
}

/// A new key.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct NewApiKey {
    /// What it is called.
    #[schema(min_length = 1, max_length = 64)]
    name: String,
    /// What it may do.
    #[schema(min_items = 1, max_items = 6)]
    scopes: Vec<Scope>,
    /// Patterns of the channels where; everywhere if it is missing.
    #[serde(default = "everywhere")]
    #[schema(min_items = 1, max_items = 64)]
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

/// Only people make keys: one that leaked cannot make others that outlive it.
fn may_manage(api: &Api, identity: &Identity) -> Result<(), Problem> {
    if !identity.is_backend && api.rooms.access.wields(identity, Power::ManageKeys) {
        return Ok(());
    }
    Err(Problem::new(ErrorCode::Forbidden, "keys are managed by admins of the instance"))
}

/// Make a key
///
/// For admins of the instance. The answer has the key itself, which is shown this once; it is not kept for an `Idempotency-Key`.
#[utoipa::path(post, path = "/v1/api-keys", tag = "api-keys", operation_id = "createApiKey", request_body = NewApiKey,
    responses((status = 201, description = "It is made. `key` is shown this once.", body = Made, headers(("location" = String, description = "Where it is.")))))]
async fn make(wants: Wants, actor: Actor, State(api): State<Api>, Body(new): Body<NewApiKey>) -> Result<Response, Problem> {
    may_manage(&api, &actor.identity)?;
    let world = &api.rooms.world;
    let now = world.clock.now();
    if new.expires_at.is_some_and(|at| at <= now) {
        return Err(kit::fault("/expires_at", "too_small", "it has to be later than now"));
    }
    if let Some(place) = new.channels.iter().position(|pattern| pattern.is_empty() || pattern.len() > 128) {
        return Err(kit::fault(&format!("/channels/{place}"), "too_long", "a pattern has 1 to 128 bytes"));
    }
    let (secret, digest) = backends::fresh(&world.chance);
    let row = api_keys::ApiKey {
        id: world.id().to_string(),
        name: new.name,
        digest,
        scopes: json!(new.scopes).to_string(),
        channels: json!(new.channels).to_string(),
        created_by: actor.identity.user.to_string(),
        version: 1,
        created_at: now as i64,
        used_at: None,
        expires_at: new.expires_at.map(|at| at as i64),
        revoked_at: None,
    };
    let key = format!("{}{}.{secret}", backends::PREFIX, row.id);
    let written = async {
        let mut tx = api.db.begin().await?;
        api_keys::put(&mut tx, &row).await?;
        let detail = json!({ "name": row.name, "scopes": new.scopes, "channels": new.channels });
        let deed = Deed { action: "api_key.created", target: "api_key", id: &row.id, channel: None, detail };
        audit::append(&mut tx, &world.id().to_string(), &actor.trace, &deed, now).await?;
        let number = rulings::append(&mut tx, &Ruling::ApiKey(row.id.clone()), now).await?;
        tx.commit().await?;
        Ok(number)
    };
    let number = written.await.map_err(|error: StoreError| kit::unavailable(&error))?;
    api.rooms.access.settle(number).await;
    let location = format!("/v1/api-keys/{}", row.id);
    let mut response = created(wants.ok(&Made { about: row.into(), key }), &location);
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Ok(response)
}

/// List keys
///
/// For admins of the instance.
#[utoipa::path(get, path = "/v1/api-keys", tag = "api-keys", operation_id = "listApiKeys", params(List<ApiKey>),
    responses((status = 200, description = "A page of them, without their secrets.", body = Page<ApiKey>)))]
async fn list(WantsList(media): WantsList, actor: Actor, State(api): State<Api>, list: List<ApiKey>) -> Result<Response, Problem> {
    may_manage(&api, &actor.identity)?;
    kit::answer(list, media, move |selection: Selection| {
        let db = api.db.clone();
        async move {
            let rows = api_keys::list(&db, &selection).await.map_err(|error| kit::unavailable(&error))?;
            Ok::<_, Problem>(rows.into_iter().map(ApiKey::from).collect())
        }
    })
    .await
}

/// Show a key
#[utoipa::path(get, path = "/v1/api-keys/{key}", tag = "api-keys", operation_id = "getApiKey",
    params(("key" = String, Path, description = "Its id.")), responses((status = 200, description = "The key, without its secret.", body = ApiKey)))]
async fn show(wants: Wants, actor: Actor, State(api): State<Api>, Path(id): Path<String>) -> Result<Response, Problem> {
    may_manage(&api, &actor.identity)?;
    let found = api_keys::find(&api.db, &id).await.map_err(|error| kit::unavailable(&error))?;
    Ok(wants.ok(&ApiKey::from(found.ok_or_else(gone)?)))
}

fn gone() -> Problem {
    Problem::new(ErrorCode::NotFound, "there is no such key, or it was revoked")
}

/// Revoke a key
///
/// It is refused everywhere within a second.
#[utoipa::path(delete, path = "/v1/api-keys/{key}", tag = "api-keys", operation_id = "revokeApiKey",
    params(("key" = String, Path, description = "Its id.")), responses((status = 204, description = "It is revoked.")))]
async fn revoke(actor: Actor, State(api): State<Api>, Path(id): Path<String>) -> Result<Response, Problem> {
    may_manage(&api, &actor.identity)?;
    let world = &api.rooms.world;
    let now = world.clock.now();
    let written = async {
        let mut tx = api.db.begin().await?;
        if !api_keys::revoke(&mut tx, &id, now).await? {
            return Ok(None);
        }
        let deed = Deed { action: "api_key.revoked", target: "api_key", id: &id, channel: None, detail: json!({}) };
        audit::append(&mut tx, &world.id().to_string(), &actor.trace, &deed, now).await?;
        let number = rulings::append(&mut tx, &Ruling::ApiKey(id.clone()), now).await?;
        tx.commit().await?;
        Ok(Some(number))
    };
    let number = written.await.map_err(|error: StoreError| kit::unavailable(&error))?.ok_or_else(gone)?;
    api.rooms.access.settle(number).await;
    Ok(StatusCode::NO_CONTENT.into_response())
}
