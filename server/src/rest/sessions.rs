//! `/v1/sessions`: one's own logins, by device.

use axum::{extract::Path, response::Response};
use http::StatusCode;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{
    Api,
    accounts::{Origin, Own},
    kit::{self, Field, List, Listed, Page, Query, Wants, WantsList},
};
use crate::{
    account::{Login, Logins, Refused},
    http::{Caller, Problem},
    store::listing::Term,
};

pub(super) fn router() -> OpenApiRouter<Api> {
    OpenApiRouter::new().routes(routes!(list, end_many)).routes(routes!(show, end))
}

/// A login.
#[derive(Debug, Serialize, ToSchema)]
struct Session {
    /// Its id.
    id: String,
    /// What the client called itself (`User-Agent`).
    device: String,
    /// From where it last came.
    address: String,
    /// When it began.
    created_at: u64,
    /// When its tokens were last made.
    used_at: u64,
    /// When it ends if nobody refreshes it.
    expires_at: u64,
    /// Whether it is the one that asks.
    current: bool,
}

impl From<Login> for Session {
    fn from(login: Login) -> Self {
        let Login { id, device, address, created_at, used_at, expires_at, current } = login;
        Self { id, device, address, created_at, used_at, expires_at, current }
    }
}

impl Listed for Session {
    const FIELDS: &'static [Field] = crate::store::sessions::FIELDS;

    fn id(&self) -> String {
        self.id.clone()
    }

    fn sort_key(&self, _: &str) -> Term {
        Term::Whole(self.created_at as i64)
    }
}

/// Which logins to end.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct Which {
    /// `current`: all but the one that asks.
    #[schema(inline)]
    except: Option<Except>,
}
kit::query!(Which);

/// What goes on.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
enum Except {
    /// The login that asks.
    Current,
}

/// List one's logins
///
/// Those that are good. The newest first.
#[utoipa::path(
    get, path = "/v1/sessions", tag = "sessions", operation_id = "listSessions", params(List<Session>),
    responses((status = 200, description = "A page of logins.", body = Page<Session>))
)]
async fn list(WantsList(wants): WantsList, Own(accounts): Own, Caller(identity): Caller, list: List<Session>) -> Result<Response, Problem> {
    kit::answer(list, wants, move |selection| {
        let (accounts, identity) = (accounts.clone(), identity.clone());
        async move {
            let logins = accounts.logins(&identity, &selection).await?;
            Ok::<_, Refused>(logins.into_iter().map(Session::from).collect())
        }
    })
    .await
}

/// Get one of one's logins
#[utoipa::path(
    get, path = "/v1/sessions/{id}", tag = "sessions", operation_id = "getSession", params(("id" = String, Path, description = "The login.")),
    responses((status = 200, description = "The login.", body = Session))
)]
async fn show(wants: Wants, Own(accounts): Own, Caller(identity): Caller, Path(id): Path<String>) -> Result<Response, Problem> {
    Ok(wants.ok(&Session::from(accounts.login(&identity, &id).await?)))
}

/// End one of one's logins
///
/// Its tokens are refused from then on, and its connections are closed. A token that has `grants` does not allow it.
#[utoipa::path(
    delete, path = "/v1/sessions/{id}", tag = "sessions", operation_id = "endSession", params(("id" = String, Path, description = "The login.")),
    responses((status = 204, description = "The login has ended."))
)]
async fn end(Own(accounts): Own, Caller(identity): Caller, Origin(client): Origin, Path(id): Path<String>) -> Result<StatusCode, Problem> {
    accounts.end_login(&identity, &id, &client).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// End all of one's logins
///
/// With `except=current` the one that asks goes on. A token that has `grants` does not allow it.
#[utoipa::path(
    delete, path = "/v1/sessions", tag = "sessions", operation_id = "endSessions", params(Which),
    responses((status = 204, description = "They have ended."))
)]
async fn end_many(
    Own(accounts): Own,
    Caller(identity): Caller,
    Origin(client): Origin,
    Query(which): Query<Which>,
) -> Result<StatusCode, Problem> {
    let which = if which.except.is_some() { Logins::Others } else { Logins::All };
    accounts.end_logins(&identity, which, &client).await?;
    Ok(StatusCode::NO_CONTENT)
}
