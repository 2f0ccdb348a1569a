//! `/v1/sse`, `/v1/poll` and `/v1/tickets`: PROTOCOL.md section 9.

use std::{sync::Arc, time::Duration};

use axum::{
    Router,
    body::{Body, Bytes},
    extract::{DefaultBodyLimit, FromRef, FromRequest, Path, RawQuery, Request, State},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use hubbub_protocol::{Cursor, ErrorCode, frame::SubscribeChannel, limits};
use serde::{Deserialize, Serialize};

use super::{
    Plain,
    elsewhere::Wish,
    events::Events,
    native::{self, Return},
    open::Way,
    upstream::Upstream,
};
use crate::{
    auth::Identity,
    http::{Caller, Problem},
    session::{Backend, Passport, Trail},
};

/// What a browser's `EventSource` was last told.
const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");
/// How long a request's body may take.
const BODY: Duration = Duration::from_secs(30);
/// Channels in the query of one `GET`.
const MAX_CHANNELS: usize = 512;

/// The routes. The state brings a [`Plain`] and, for who is asking, a [`Backend`].
pub fn router<S>() -> Router<S>
where
    S: Clone + Send + Sync + 'static,
    Arc<Plain>: FromRef<S>,
    Arc<Backend>: FromRef<S>,
{
    Router::new()
        .route("/v1/sse", get(stream).head(no_head).post(open_stream))
        .route("/v1/sse/{session}", post(up).delete(end))
        .route("/v1/poll", post(open_polls))
        .route("/v1/poll/{session}", get(poll).post(up).delete(end))
        .route("/v1/tickets", post(ticket))
        .layer(DefaultBodyLimit::max(limits::MAX_FRAME))
}

/// A request's body, whole and in time.
struct Said(Bytes);

impl<S: Send + Sync> FromRequest<S> for Said {
    type Rejection = Response;

    async fn from_request(request: Request, state: &S) -> Result<Self, Response> {
        match tokio::time::timeout(BODY, Bytes::from_request(request, state)).await {
            Ok(body) => body.map(Self).map_err(IntoResponse::into_response),
            Err(_) => {
                let late = Problem::new(ErrorCode::BadFrame, "the body did not come in time: send it again");
                Err(late.with_status(StatusCode::REQUEST_TIMEOUT).into_response())
            }
        }
    }
}

/// Opens a stream for a client that says itself where it stands.
async fn open_stream(State(plain): State<Arc<Plain>>, Caller(identity): Caller, Said(body): Said) -> Result<Response, Problem> {
    plain.endpoint.welcome()?;
    let admission = plain.endpoint.admit()?;
    let session = plain.open(identity, body, Way::Events, admission);
    Ok(plain.stream(&session, None))
}

/// There is nothing to be told of a stream without opening it, which would use a ticket up.
async fn no_head() -> Response {
    (StatusCode::METHOD_NOT_ALLOWED, [(header::ALLOW, "GET,POST")]).into_response()
}

/// Opens a stream for what can only `GET`: by a header, by a ticket, or by the id of the last event.
async fn stream(State(plain): State<Arc<Plain>>, RawQuery(query): RawQuery, headers: HeaderMap) -> Result<Response, Problem> {
    let query = query.unwrap_or_default();
    let asked = channels(&query)?;
    if let Some(identity) = plain.endpoint.identity(&headers)? {
        plain.endpoint.welcome()?;
        let admission = plain.endpoint.admit()?;
        let session = plain.open(identity, native::opening(asked), Way::Events, admission);
        return Ok(plain.stream(&session, None));
    }
    let came = if plain.endpoint.draining.is_cancelled() {
        Err(Problem::new(ErrorCode::Draining, "this instance is shutting down"))
    } else {
        plain.native(&query, &headers, asked).await
    };
    match came {
        // An EventSource would never come back.
        Err(problem) if problem.status().is_server_error() => {
            Ok(event_stream(Body::from(plain.later(problem.code() == ErrorCode::Draining))))
        }
        other => other,
    }
}

impl Plain {
    /// A native `EventSource`, which begins or comes back.
    async fn native(self: &Arc<Self>, query: &str, headers: &HeaderMap, asked: Vec<SubscribeChannel>) -> Result<Response, Problem> {
        // A place first: a ticket is good once.
        let admission = self.endpoint.admit()?;
        let last = headers.get(LAST_EVENT_ID).and_then(|last| last.to_str().ok()).filter(|last| !last.is_empty());
        let Passport { identity, channels } = match (last, parameter(query, "ticket")) {
            (Some(last), _) => match self.returning(last)? {
                Return::Welcome(passport) => passport,
                Return::Over => return Ok((StatusCode::NO_CONTENT, [(header::CACHE_CONTROL, "no-store")]).into_response()),
            },
            (None, Some(ticket)) => {
                let mut passport = self.redeem(&ticket).await?;
                passport.channels.extend(asked);
                passport
            }
            (None, None) => {
                let text = "send a token in the header `Authorization: Bearer …`, or a ticket (POST /v1/tickets) as `?ticket=`";
                return Err(Problem::new(ErrorCode::Unauthorized, text));
            }
        };
        let trail = Trail::new(&channels);
        let session = self.open(identity, native::opening(channels), Way::Native(trail.clone()), admission);
        Ok(self.stream(&session, Some(trail)))
    }

    /// The answer that is a session's stream.
    fn stream(self: &Arc<Self>, session: &Upstream, trail: Option<Arc<Trail>>) -> Response {
        event_stream(Body::new(Events::new(self.clone(), session.outbox.clone(), session.vitals.clone(), trail)))
    }
}

fn event_stream(body: Body) -> Response {
    let headers = [
        (header::CONTENT_TYPE, "text/event-stream"),
        // Nobody keeps it, and nobody compresses it: that would hold events back.
        (header::CACHE_CONTROL, "no-cache, no-store, no-transform"),
        // nginx, and whoever took the header over, passes each piece on.
        (HeaderName::from_static("x-accel-buffering"), "no"),
    ];
    (headers, body).into_response()
}

/// Opens a session that is polled, and answers with its first batch.
async fn open_polls(State(plain): State<Arc<Plain>>, Caller(identity): Caller, Said(body): Said) -> Result<Response, Problem> {
    plain.endpoint.welcome()?;
    let admission = plain.endpoint.admit()?;
    let session = plain.open(identity, body, Way::Polls, admission);
    // Nobody else knows its name before the first batch.
    let stillborn = Stillborn(Some(session.clone()));
    session.is_open().await;
    let longest = plain.endpoint.backend.config.session.heartbeat;
    let first = plain.polled(&session, 0, longest).await?;
    stillborn.lives();
    Ok(batch(first))
}

/// A session that ends if who opened it leaves before its first batch.
struct Stillborn(Option<Arc<Upstream>>);

impl Stillborn {
    fn lives(mut self) {
        self.0 = None;
    }
}

impl Drop for Stillborn {
    fn drop(&mut self) {
        if let Some(session) = &self.0 {
            session.outbox.abort(None);
        }
    }
}

async fn poll(
    State(plain): State<Arc<Plain>>,
    Caller(identity): Caller,
    Path(session): Path<String>,
    RawQuery(query): RawQuery,
) -> Result<Response, Problem> {
    let query = query.unwrap_or_default();
    let acknowledged = number(&query, "ack")?.ok_or_else(|| Problem::new(ErrorCode::BadFrame, "say which batch you have: `?ack=N`"))?;
    let longest = plain.endpoint.backend.config.session.heartbeat.as_millis() as u64;
    let wait = number(&query, "wait")?.unwrap_or(longest);
    plain.wish(&session, &identity, Wish::Poll { acknowledged, wait }).await.map(batch)
}

fn batch(body: Bytes) -> Response {
    let headers = [(header::CONTENT_TYPE, "application/json"), (header::CACHE_CONTROL, "no-store")];
    (headers, body).into_response()
}

#[derive(Serialize)]
struct Applied {
    n: u64,
}

/// Frames from a client.
async fn up(
    State(plain): State<Arc<Plain>>,
    Caller(identity): Caller,
    Path(session): Path<String>,
    RawQuery(query): RawQuery,
    Said(body): Said,
) -> Result<Response, Problem> {
    let query = query.unwrap_or_default();
    let n = number(&query, "n")?.filter(|n| *n > 0);
    let n = n.ok_or_else(|| Problem::new(ErrorCode::BadFrame, "say which POST of the session this is, from 1: `?n=N`"))?;
    plain.wish(&session, &identity, Wish::Post { number: n, body }).await?;
    Ok(axum::Json(Applied { n }).into_response())
}

async fn end(State(plain): State<Arc<Plain>>, Caller(identity): Caller, Path(session): Path<String>) -> Result<StatusCode, Problem> {
    plain.wish(&session, &identity, Wish::End).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// What a ticket is to subscribe to.
#[derive(Deserialize, Default)]
#[serde(default, deny_unknown_fields)]
struct Wanted {
    channels: Vec<SubscribeChannel>,
}

#[derive(Serialize)]
struct Ticket {
    ticket: String,
    expires_at: u64,
}

async fn ticket(State(plain): State<Arc<Plain>>, Caller(identity): Caller, Said(body): Said) -> Result<Response, Problem> {
    let wanted: Wanted = match body.is_empty() {
        true => Wanted::default(),
        false => serde_json::from_slice(&body).map_err(|error| {
            Problem::new(ErrorCode::BadFrame, format!("the body is not {{channels?: [{{channel, since?, slow?, presence?}}]}}: {error}"))
        })?,
    };
    let Identity { expires_at: until, .. } = identity;
    let (ticket, expires_at) = plain.ticket(&Passport { identity, channels: wanted.channels }).await?;
    let mut response = (StatusCode::CREATED, axum::Json(Ticket { ticket, expires_at: expires_at.min(until) })).into_response();
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Ok(response)
}

/// The first parameter of that name.
fn parameter(query: &str, name: &str) -> Option<String> {
    form_urlencoded::parse(query.as_bytes()).find(|(key, _)| key == name).map(|(_, value)| value.into_owned())
}

fn number(query: &str, name: &str) -> Result<Option<u64>, Problem> {
    let wrong = |_| Problem::new(ErrorCode::OutOfRange, format!("`{name}` is a whole number"));
    parameter(query, name).map(|text| text.parse().map_err(wrong)).transpose()
}

/// The `channel` parameters: a name, or a name, a semicolon and a cursor.
fn channels(query: &str) -> Result<Vec<SubscribeChannel>, Problem> {
    let wrong = || Problem::new(ErrorCode::BadFrame, "a channel is a name, or a name and where to resume: `channel=room:1;EPOCH:SEQ`");
    let mut channels = Vec::new();
    for (_, text) in form_urlencoded::parse(query.as_bytes()).filter(|(key, _)| key == "channel") {
        let (channel, since) = match text.split_once(';') {
            Some((name, cursor)) => (name.to_owned(), Some(cursor_of(cursor).ok_or_else(wrong)?)),
            None => (text.into_owned(), None),
        };
        channels.push(SubscribeChannel { channel, since, ..SubscribeChannel::default() });
    }
    if channels.len() > MAX_CHANNELS {
        return Err(Problem::new(ErrorCode::OutOfRange, format!("at most {MAX_CHANNELS} channels")));
    }
    Ok(channels)
}

fn cursor_of(text: &str) -> Option<Cursor> {
    let (epoch, seq) = text.split_once(':')?;
    let number = |text: &str| text.parse().ok().filter(|number| *number <= limits::MAX_INTEGER);
    Some(Cursor { epoch: number(epoch)?, seq: number(seq)? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn channels_come_with_cursors_or_without() {
        let read = channels("ticket=x&channel=room%3A1&channel=a=b;1:42&other=1").unwrap();
        assert_eq!((read[0].channel.as_str(), read[0].since), ("room:1", None));
        assert_eq!((read[1].channel.as_str(), read[1].since), ("a=b", Some(Cursor { epoch: 1, seq: 42 })));
        for wrong in ["channel=a;", "channel=a;1", "channel=a;1:", "channel=a;-1:2", "channel=a;1:9007199254740992"] {
            assert!(channels(wrong).is_err(), "{wrong}");
        }
    }
}
