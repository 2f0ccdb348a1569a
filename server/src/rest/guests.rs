//! `POST /v1/guests`: a token for whoever tries the page, so that a newcomer needs nothing. Nothing is stored.
//!
//! [`Guests`] decides who gets one; by default only who sits at the server's own machine, while nothing says that it serves others.

mod rules;

use std::{net::SocketAddr, sync::Arc};

use axum::{
    extract::{ConnectInfo, FromRequest, Request, State},
    response::Response,
};
use http::{HeaderMap, HeaderValue, StatusCode, Uri, Version, header};
use hubbub_protocol::ErrorCode;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{
    Api,
    kit::{self, Body, Wants},
};
use crate::{
    auth::{Action, Claims, Grant, Identity, MAX_USER, mint},
    config::{self, Config, Secret},
    http::{Problem, bearer},
    session::Backend,
    world::{Chance, World},
};
use rules::{Asking, Refusal};

/// For how long a guest's token is good, in seconds.
const GOOD_FOR: u64 = 3_600;
/// Characters of a guest's name, at most; what is longer is cut.
const NAME: usize = 32;
/// Its bytes in UTF-8, at most, so that it is a user's name with its tail.
const NAME_BYTES: usize = MAX_USER - TAIL - 1;
/// What a guest's name ends with, so that two of a name are two: so many characters behind a tilde.
const TAIL: usize = 4;
/// Characters of the tail: none that is taken for another.
const ALPHABET: &[u8; 31] = b"abcdefghjkmnpqrstuvwxyz23456789";

/// Who gets a guest's token, and what signs it.
#[derive(Debug)]
pub struct Guests {
    policy: config::Guests,
    /// Why nobody gets one under `auto`, whoever asks.
    closed: Option<Refusal>,
    secret: Option<Secret>,
    audience: Option<String>,
    issuer: Option<String>,
}

impl Guests {
    /// What `config` says of guests, on an instance that signs with `secret`, if it has one.
    pub fn new(config: &Config, secret: Option<Secret>) -> Self {
        let auth = &config.auth;
        let closed = if auth.secret.is_some() || auth.jwks.is_some() {
            Some(Refusal::Configured)
        } else if !config.http.listen.ip().is_loopback() {
            Some(Refusal::Public)
        } else {
            None
        };
        Self { policy: config.page.guests, closed, secret, audience: auth.audience.clone(), issuer: auth.issuer.clone() }
    }

    /// Whether whoever asks gets a token.
    fn admit(&self, asking: &Asking<'_>) -> Result<&Secret, Refusal> {
        match self.policy {
            config::Guests::Off => return Err(Refusal::Off),
            config::Guests::On => {}
            config::Guests::Auto => {
                self.closed.map_or(Ok(()), Err)?;
                rules::at_this_machine(asking)?;
            }
        }
        self.secret.as_ref().ok_or(Refusal::Configured)
    }

    fn token(&self, secret: &Secret, user: &str, world: &World) -> Result<Token, Problem> {
        let now = world.clock.now() / 1_000;
        let claims = Claims {
            sub: user.to_owned(),
            iat: now,
            exp: now + GOOD_FOR,
            aud: self.audience.clone(),
            iss: self.issuer.clone(),
            grants: grants(),
        };
        let token = mint(secret.expose(), &claims).map_err(|error| {
            tracing::error!(%error, "a guest's token could not be made");
            Problem::new(ErrorCode::Internal, "a fault of the server: its log says more")
        })?;
        Ok(Token { token, user: claims.sub, expires_at: claims.exp * 1_000 })
    }
}

pub(super) fn router() -> OpenApiRouter<Api> {
    OpenApiRouter::new().routes(routes!(admit))
}

/// Who wants to be a guest.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = NewGuest, example = json!({ "name": "Ada" }))]
struct Ask {
    /// What to be called, without control characters: what else cannot be seen is taken out, and what is longer than 32 characters is cut.
    name: Option<String>,
}

/// A guest's token.
#[derive(Serialize, ToSchema)]
#[schema(as = GuestToken)]
struct Token {
    /// For `Authorization: Bearer …`, and for `connect`.
    token: String,
    /// The guest's id: the name, and a tail behind a tilde.
    user: String,
    /// Until when the token is good, in Unix milliseconds.
    expires_at: u64,
}

/// Be a guest
///
/// A token for a new guest; or, with the good token of one, another for the same guest, whatever the body says. `page.guests` decides who
/// gets one.
#[utoipa::path(
    post, path = "/v1/guests", tag = "accounts", operation_id = "beGuest", security((), ("token" = [])), request_body = Ask,
    responses((status = 201, description = "A token, good for an hour.", body = Token), (status = 401, description = "The token is none."),
        (status = 403, description = "Whoever asks gets none here."))
)]
async fn admit(
    wants: Wants,
    State(api): State<Api>,
    State(backend): State<Arc<Backend>>,
    State(guests): State<Arc<Guests>>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    request: Request,
) -> Result<Response, Problem> {
    let (parts, body) = request.into_parts();
    let secret = guests.admit(&asking(peer, &parts.uri, &parts.headers, parts.version))?;
    let user = match bearer(&parts.headers) {
        Some(token) => {
            let identity = backend.identify(token);
            guest(identity.map_err(|error| Problem::new(error.code(), error.to_string()))?)?
        }
        None => {
            let Body(ask) = Body::from_request(Request::from_parts(parts, body), &api).await?;
            new_guest(&name(ask)?, &backend.world.chance)
        }
    };
    let token = guests.token(secret, &user, &backend.world)?;
    let mut response = wants.reply(StatusCode::CREATED, &token);
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Ok(response)
}

fn asking<'a>(peer: SocketAddr, uri: &'a Uri, headers: &'a HeaderMap, version: Version) -> Asking<'a> {
    let text = |name| headers.get(name).and_then(|value: &http::HeaderValue| value.to_str().ok());
    // HTTP/2 has the host in its request target.
    let host = uri.authority().map(|authority| authority.as_str()).or_else(|| text(header::HOST));
    Asking { peer: peer.ip(), host, headers, version }
}

/// The name that is asked for, cleaned.
fn name(ask: Ask) -> Result<String, Problem> {
    let refused = |code| kit::fault("/name", code, "say who you are: `name` has 1 to 32 characters that can be seen");
    let name = cleaned(&ask.name.ok_or_else(|| refused("required"))?);
    if name.is_empty() { Err(refused("too_short")) } else { Ok(name) }
}

/// The user of a guest's token.
fn guest(identity: Identity) -> Result<String, Problem> {
    let is_guest = identity
        .user
        .rsplit_once('~')
        .is_some_and(|(name, tail)| !name.is_empty() && tail.len() == TAIL && tail.bytes().all(|byte| ALPHABET.contains(&byte)));
    if !is_guest {
        return Err(Problem::new(ErrorCode::Forbidden, "only a guest's token is renewed here: get a new one where yours comes from"));
    }
    Ok(identity.user.to_string())
}

fn new_guest(name: &str, chance: &Chance) -> String {
    let tail = (0..TAIL).map(|_| char::from(ALPHABET[chance.below(ALPHABET.len() as u64) as usize]));
    format!("{name}~{}", tail.collect::<String>())
}

/// At most [`NAME`] characters and [`NAME_BYTES`], white space as single spaces, nothing that cannot be seen or that turns the text around it, no tilde.
fn cleaned(name: &str) -> String {
    let seen: String = name
        .chars()
        .map(|c| if c == '~' { '-' } else { c })
        .filter(|c| c.is_whitespace() || !c.is_control())
        .filter(|c| !matches!(c, '\u{200b}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}'))
        .collect();
    let words: Vec<&str> = seen.split_whitespace().collect();
    let name: String = words.join(" ").chars().take(NAME).collect();
    name[..name.floor_char_boundary(NAME_BYTES)].trim_end().to_owned()
}

/// What a guest may do: chat, and watch prices.
fn grants() -> Vec<Grant> {
    let grant = |pattern: &str, actions: &[Action]| Grant { channels: vec![pattern.to_owned()], actions: actions.to_vec() };
    vec![
        grant("demo:*", &[Action::Subscribe, Action::Publish, Action::History, Action::Presence]),
        grant("live:demo:*", &[Action::Subscribe, Action::Publish]),
        grant("ticker:*", &[Action::Subscribe, Action::History]),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_cleaned() {
        for (given, name) in [
            ("Ada", "Ada"),
            ("  Ada \n\t Lovelace ", "Ada Lovelace"),
            ("a~b", "a-b"),
            ("\u{202e}adA\u{0}\u{200b}", "adA"),
            ("👩🏽\u{200d}🚀", "👩🏽\u{200d}🚀"),
            (" \u{feff}\u{7} ", ""),
        ] {
            assert_eq!(cleaned(given), name, "{given:?}");
        }
        assert_eq!(cleaned(&"é".repeat(100)), "é".repeat(32));
    }

    #[test]
    fn the_longest_name_is_a_user_and_two_of_a_name_are_two() {
        let chance = Chance::seeded(1);
        let [one, other] = [(); 2].map(|()| new_guest(&cleaned(&"𝒜".repeat(NAME)), &chance));
        assert!(one.len() <= MAX_USER && one != other, "{one} {other}");
    }
}
