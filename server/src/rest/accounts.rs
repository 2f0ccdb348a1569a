//! `/v1/accounts`, `/v1/login`, `/v1/token`, `/v1/logout`, `/v1/me/password`: who is who, and tokens to show it.
//!
//! Answers with tokens are kept by nobody: no cache, and no Idempotency-Key.

use std::sync::Arc;

use axum::{
    extract::{FromRef, FromRequestParts, State},
    response::{IntoResponse, Response},
};
use http::{HeaderMap, HeaderValue, StatusCode, header, request::Parts};
use hubbub_protocol::ErrorCode;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{
    Api,
    kit::{Body, Wants, created},
};
use crate::{
    account::{self, Accounts, Client, Flaw, LogIn, Refused, Register},
    http::{At, Caller, Fault, Peer, Problem, RequestId},
    session::Backend,
};

pub(super) fn router() -> OpenApiRouter<Api> {
    OpenApiRouter::new()
        .routes(routes!(register))
        .routes(routes!(log_in))
        .routes(routes!(refresh))
        .routes(routes!(log_out))
        .routes(routes!(change_password))
        .routes(routes!(jwks))
}

/// The use cases; a problem if this server has no accounts.
pub(super) struct Own(pub Arc<Accounts>);

impl<S> FromRequestParts<S> for Own
where
    Arc<Backend>: FromRef<S>,
    S: Send + Sync,
{
    type Rejection = Problem;

    async fn from_request_parts(_: &mut Parts, state: &S) -> Result<Self, Problem> {
        let accounts = Arc::<Backend>::from_ref(state).accounts.clone();
        accounts.map(Self).ok_or_else(|| Problem::new(ErrorCode::NotFound, "this server has no accounts of its own (accounts.enabled)"))
    }
}

/// Where a request comes from.
pub(super) struct Origin(pub Client);

impl<S> FromRequestParts<S> for Origin
where
    Arc<Backend>: FromRef<S>,
    S: Send + Sync,
{
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let Peer(address) = Peer::from_request_parts(parts, state).await?;
        let request = parts.extensions.get::<RequestId>().map(|id| id.0.clone()).unwrap_or_default();
        Ok(Self(Client { address, device: device(&parts.headers), request }))
    }
}

fn device(headers: &HeaderMap) -> String {
    headers.get(header::USER_AGENT).map(|agent| String::from_utf8_lossy(agent.as_bytes()).into_owned()).unwrap_or_default()
}

impl From<Refused> for Problem {
    fn from(refused: Refused) -> Self {
        if refused.code() == ErrorCode::Internal || matches!(refused, Refused::Store(_)) {
            tracing::warn!(error = ?refused, "accounts: the store or the hashing failed");
        }
        match refused {
            Refused::Invalid(flaws) => Problem::invalid(flaws.into_iter().map(fault).collect()),
            Refused::TooMany { wait } => {
                Problem::new(ErrorCode::RateLimited, refused.to_string()).retry_after(wait.as_millis().div_ceil(1_000) as u64)
            }
            refused => Problem::new(refused.code(), refused.to_string()),
        }
    }
}

fn fault(flaw: Flaw) -> Fault {
    Fault { at: At::Pointer(flaw.place().pointer().to_owned()), code: flaw.rule(), detail: flaw.to_string() }
}

/// Somebody who registers.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({ "login": "ada", "name": "Ada Lovelace", "password": "correct horse battery" }))]
struct NewAccount {
    /// What to log in with: 3 to 32 of the characters a-z, 0-9, `.`, `_` and `-`, the first a letter or a digit. Kept in lower case.
    #[schema(min_length = 3, max_length = 32, pattern = "^[A-Za-z0-9][A-Za-z0-9._-]*$", example = "ada")]
    login: String,
    /// The name to show; the login, if there is none.
    #[schema(min_length = 1, max_length = 64, example = "Ada Lovelace")]
    name: Option<String>,
    /// The password: none that is guessed first, and not the login or the name.
    #[schema(min_length = 10, max_length = 128, format = "password", example = "correct horse battery")]
    password: String,
}

/// Somebody who logs in.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({ "login": "ada", "password": "correct horse battery" }))]
struct Credentials {
    /// The account's login.
    #[schema(max_length = 64, example = "ada")]
    login: String,
    /// Its password.
    #[schema(max_length = 512, format = "password", example = "correct horse battery")]
    password: String,
}

/// A refresh token to be used up.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({ "refresh_token": "hbr_AZvT1XsbfMCNLz8eamwJoRE" }))]
struct Refresh {
    /// The last one of the login.
    #[schema(max_length = 256)]
    refresh_token: String,
}

/// A change of the password.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({ "old": "correct horse battery", "new": "staple of another colour" }))]
struct PasswordChange {
    /// The password as it is.
    #[schema(max_length = 512, format = "password", example = "correct horse battery")]
    old: String,
    /// The password to be.
    #[schema(min_length = 10, max_length = 128, format = "password", example = "staple of another colour")]
    new: String,
}

/// Tokens of a login.
#[derive(Serialize, ToSchema)]
struct Tokens {
    /// For `Authorization: Bearer …`, and for `connect`.
    access_token: String,
    /// Always `Bearer`.
    #[schema(example = "Bearer")]
    token_type: &'static str,
    /// For how many seconds the access token is good.
    expires_in: u64,
    /// For `POST /v1/token`, once.
    refresh_token: String,
    /// Who has logged in.
    user: LoggedIn,
    /// The login, as in `/v1/sessions`.
    session: String,
}

/// Who has logged in.
#[derive(Serialize, ToSchema)]
struct LoggedIn {
    /// What tokens say in `sub`.
    id: String,
    /// What one logs in with.
    login: Option<String>,
    /// The name to show.
    name: String,
    /// On the whole instance: owner, admin, moderator, member or guest.
    #[schema(example = "member")]
    role: &'static str,
    /// When the user was first seen.
    created_at: u64,
}

/// A JSON Web Key Set (RFC 7517).
#[derive(Serialize, ToSchema)]
struct Jwks {
    /// The keys.
    #[schema(value_type = Vec<Object>)]
    keys: Vec<serde_json::Value>,
}

impl From<account::Tokens> for Tokens {
    fn from(tokens: account::Tokens) -> Self {
        let account::User { id, login, name, role, created_at } = tokens.user;
        Self {
            access_token: tokens.access,
            token_type: "Bearer",
            expires_in: tokens.expires_in,
            refresh_token: tokens.refresh,
            user: LoggedIn { id, login, name, role: role.as_str(), created_at },
            session: tokens.session,
        }
    }
}

fn answer(wants: Wants, tokens: account::Tokens) -> Response {
    let mut response = wants.ok(&Tokens::from(tokens));
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// Register
///
/// Makes an account and logs it in. The first account of all becomes the owner of the instance.
#[utoipa::path(
    post, path = "/v1/accounts", tag = "accounts", operation_id = "register", security(()), request_body = NewAccount,
    responses((status = 201, description = "The account's first tokens.", body = Tokens, headers(("Location" = String))), (status = 403, description = "Registration is closed."),
        (status = 404, description = "This server has no accounts of its own."))
)]
async fn register(wants: Wants, Own(accounts): Own, Origin(client): Origin, Body(new): Body<NewAccount>) -> Result<Response, Problem> {
    let new = Register { login: &new.login, name: new.name.as_deref(), password: &new.password };
    let tokens = accounts.register(new, &client).await?;
    let location = format!("/v1/users/{}", tokens.user.id);
    Ok(created(answer(wants, tokens), &location))
}

/// Log in
///
/// The answer is the same, whatever is wrong with the login, the password or the account. Whoever fails often has to wait.
#[utoipa::path(
    post, path = "/v1/login", tag = "accounts", operation_id = "logIn", security(()), request_body = Credentials,
    responses((status = 200, description = "Tokens of a new login.", body = Tokens), (status = 401, description = "They are not good."),
        (status = 404, description = "This server has no accounts of its own."))
)]
async fn log_in(wants: Wants, Own(accounts): Own, Origin(client): Origin, Body(given): Body<Credentials>) -> Result<Response, Problem> {
    let tokens = accounts.log_in(LogIn { login: &given.login, password: &given.password }, &client).await?;
    Ok(answer(wants, tokens))
}

/// Get the next tokens
///
/// Uses the refresh token up. Sent again within some seconds it gets the same refresh token again; later it counts as stolen, and the login ends.
#[utoipa::path(
    post, path = "/v1/token", tag = "accounts", operation_id = "refreshTokens", security(()), request_body = Refresh,
    responses((status = 200, description = "The next tokens of the login.", body = Tokens), (status = 401, description = "They are not good."),
        (status = 404, description = "This server has no accounts of its own."))
)]
async fn refresh(wants: Wants, Own(accounts): Own, Origin(client): Origin, Body(given): Body<Refresh>) -> Result<Response, Problem> {
    let refreshed = accounts.refresh(&given.refresh_token, &client).await.map_err(|refused| match Problem::from(refused) {
        // Elsewhere that says to come here.
        problem if problem.status() == StatusCode::UNAUTHORIZED => problem.for_good(),
        problem => problem,
    });
    Ok(answer(wants, refreshed?))
}

/// Log out
///
/// Ends the login that the token came from; its tokens are refused from then on.
#[utoipa::path(
    post, path = "/v1/logout", tag = "accounts", operation_id = "logOut",
    responses((status = 204, description = "The login has ended."))
)]
async fn log_out(Own(accounts): Own, Caller(identity): Caller, Origin(client): Origin) -> Result<StatusCode, Problem> {
    accounts.log_out(&identity, &client).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Change the password
///
/// The user's other logins end.
#[utoipa::path(
    put, path = "/v1/me/password", tag = "accounts", operation_id = "changePassword", request_body = PasswordChange,
    responses((status = 204, description = "The password is another one."))
)]
async fn change_password(
    Own(accounts): Own,
    Caller(identity): Caller,
    Origin(client): Origin,
    Body(change): Body<PasswordChange>,
) -> Result<StatusCode, Problem> {
    accounts.change_password(&identity, &change.old, &change.new, &client).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Get the public keys
///
/// Those that access tokens of this server can be verified with. A key is here a minute before it signs.
#[utoipa::path(
    get, path = "/.well-known/jwks.json", tag = "accounts", operation_id = "getKeys", security(()),
    responses((status = 200, description = "A JSON Web Key Set (RFC 7517).", body = Jwks, content_type = "application/jwk-set+json"), (status = 404, description = "This server has no accounts."))
)]
async fn jwks(Own(accounts): Own, State(backend): State<Arc<Backend>>) -> Response {
    let set = serde_json::json!(Jwks { keys: accounts.keys().ring().public(backend.world.clock.now()) });
    let about = [(header::CONTENT_TYPE, "application/jwk-set+json"), (header::CACHE_CONTROL, "public, max-age=30")];
    (about, set.to_string()).into_response()
}
