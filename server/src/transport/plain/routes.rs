//! `/v1/sse`, `/v1/poll` and `/v1/tickets`: PROTOCOL.md section 9.

use std::{sync::Arc, time::Duration};

use axum::{
    body::{Body, Bytes},
    extract::{DefaultBodyLimit, FromRef, FromRequest, Path, RawQuery, Request, State},
    response::{IntoResponse, Response},
    routing::head,
};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use hubbub_protocol::{
    Cursor, ErrorCode,
    frame::{Auto, SubscribeChannel},
    limits,
};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

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
    http::{At, Caller, Problem, Somebody},
    rest::kit::{Schemas, fault},
    session::{Backend, Passport, Trail},
};

/// What a browser's `EventSource` was last told.
const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");
/// How long a request's body may take.
const BODY: Duration = Duration::from_secs(30);
/// Channels in the query of one `GET`.
const MAX_CHANNELS: usize = 512;

/// The routes, each with its place in the document. The state brings a [`Plain`] and, for who is asking, a [`Backend`].
pub(crate) fn router<S>() -> OpenApiRouter<S>
where
    S: Clone + Send + Sync + 'static,
    Arc<Plain>: FromRef<S>,
    Arc<Backend>: FromRef<S>,
    Schemas: FromRef<S>,
{
    OpenApiRouter::new()
        .routes(routes!(stream, open_stream))
        .route("/v1/sse", head(no_head))
        .routes(routes!(up, end))
        .routes(routes!(open_polls))
        .routes(routes!(poll, up_polled, end_polled))
        .routes(routes!(ticket))
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

/// An event of a stream.
#[derive(ToSchema)]
#[schema(as = StreamEvent)]
#[allow(dead_code)] // For the document: events are written as bytes.
struct Event {
    /// A frame, as JSON.
    data: String,
}

/// Open a session as a stream of events
///
/// The body is what a client's first WebSocket message would be: frames of JSON back to back, `connect` first. Each event is a frame. The
/// AsyncAPI document describes frames.
#[utoipa::path(post, path = "/v1/sse", tag = "sessions over HTTP", operation_id = "openStream", security(("token" = [])), extensions(("x-json-alone" = json!(true))),
    request_body(content = Option<serde_json::Value>, content_type = "application/json", example = json!({ "type": "connect", "id": 1 })),
    responses((status = 200, description = "The stream, which goes on for as long as the session does.", body = Event, content_type = "text/event-stream")))]
async fn open_stream(State(plain): State<Arc<Plain>>, Somebody(identity): Somebody, Said(body): Said) -> Result<Response, Problem> {
    plain.endpoint.welcome()?;
    let admission = plain.endpoint.admit()?;
    let session = plain.open(identity, body, Way::Events, admission);
    Ok(plain.stream(&session, None))
}

/// There is nothing to be told of a stream without opening it, which would use a ticket up.
async fn no_head() -> Response {
    (StatusCode::METHOD_NOT_ALLOWED, [(header::ALLOW, "GET,POST")]).into_response()
}

/// Open a session for what can only GET
///
/// As if `connect` and, if there are channels, `subscribe` had been sent. Who asks says the header `Authorization`; or a ticket; or the id of
/// the last event, by which an `EventSource` comes back.
#[utoipa::path(get, path = "/v1/sse", tag = "sessions over HTTP", operation_id = "getStream", security((), ("token" = [])),
    params(
        ("channel" = Option<Vec<String>>, Query, description = "A channel to subscribe to, perhaps with a cursor behind a semicolon: `room:1;EPOCH:SEQ`. At most 512."),
        ("ticket" = Option<String>, Query, description = "A ticket of `POST /v1/tickets`."),
        ("Last-Event-ID" = Option<String>, Header, description = "The id of the last event, as an `EventSource` sends it."),
    ),
    responses((status = 200, description = "The stream, which goes on for as long as the session does.", body = Event, content_type = "text/event-stream"),
        (status = 204, description = "What the id stands for is over: do not come back."), (status = 401, description = "Nobody knows who asks."), (status = 403, description = "It is not allowed.")))]
async fn stream(State(plain): State<Arc<Plain>>, RawQuery(query): RawQuery, headers: HeaderMap) -> Result<Response, Problem> {
    let query = query.unwrap_or_default();
    let (asked, auto) = (channels(&query)?, auto(&query)?);
    if let Some(identity) = plain.endpoint.identity(&headers)? {
        plain.endpoint.welcome()?;
        let admission = plain.endpoint.admit()?;
        let session = plain.open(identity, native::opening(asked, auto), Way::Events, admission);
        return Ok(plain.stream(&session, None));
    }
    let came = if plain.endpoint.draining.is_cancelled() {
        Err(Problem::new(ErrorCode::Draining, "this instance is shutting down"))
    } else {
        plain.native(&query, &headers, asked, auto).await
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
    async fn native(
        self: &Arc<Self>,
        query: &str,
        headers: &HeaderMap,
        asked: Vec<SubscribeChannel>,
        auto: Option<Auto>,
    ) -> Result<Response, Problem> {
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
        let session = self.open(identity, native::opening(channels, auto), Way::Native(trail.clone()), admission);
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

/// Frames that waited.
#[derive(ToSchema)]
#[allow(dead_code)] // For the document: batches are written frame by frame.
struct Batch {
    /// Its number, to be acknowledged by the next poll.
    batch: u64,
    /// Frames, as they would come over a socket.
    #[schema(value_type = Vec<Object>)]
    frames: Vec<serde_json::Value>,
}

/// Open a session that is polled
///
/// Like `POST /v1/sse`; the answer is the first batch of frames.
#[utoipa::path(post, path = "/v1/poll", tag = "sessions over HTTP", operation_id = "openPolls", security(("token" = [])), extensions(("x-json-alone" = json!(true))),
    request_body(content = Option<serde_json::Value>, content_type = "application/json", example = json!({ "type": "connect", "id": 1 })),
    responses((status = 200, description = "The first batch.", body = Batch), (status = 408, description = "The body came too slowly."), (status = 410, description = "The session ended at once.")))]
async fn open_polls(State(plain): State<Arc<Plain>>, Somebody(identity): Somebody, Said(body): Said) -> Result<Response, Problem> {
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

/// Poll a session
///
/// Waits until there are frames, for `wait` milliseconds at most, and gets an empty batch then.
#[utoipa::path(get, path = "/v1/poll/{session}", tag = "sessions over HTTP", operation_id = "poll", extensions(("x-json-alone" = json!(true))),
    params(("session" = String, Path, description = "`session` of `connect`'s result."),
        ("ack" = u64, Query, description = "The last batch that was received; that before it, to get the last one again."),
        ("wait" = Option<u64>, Query, description = "How long to wait, in milliseconds; as long as a heartbeat if it is missing.")),
    responses((status = 200, description = "The next batch.", body = Batch), (status = 409, description = "It is not the last batch."), (status = 410, description = "The session has ended.")))]
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

/// That frames were handed to the session.
#[derive(Serialize, ToSchema)]
struct Applied {
    /// The number of the POST.
    n: u64,
}

/// Send frames to a polled session
///
/// As to a stream.
#[utoipa::path(post, path = "/v1/poll/{session}", tag = "sessions over HTTP", operation_id = "sendToPolls", extensions(("x-json-alone" = json!(true))),
    params(("session" = String, Path, description = "`session` of `connect`'s result."), ("n" = u64, Query, minimum = 1, description = "Which POST of the session this is: 1, 2, 3 …")),
    request_body(content = Option<serde_json::Value>, content_type = "application/json", example = json!({ "type": "ping", "id": 2 })),
    responses((status = 200, description = "They were handed to the session.", body = Applied), (status = 408, description = "The body came too slowly."), (status = 410, description = "The session has ended.")))]
async fn up_polled(
    plain: State<Arc<Plain>>,
    caller: Caller,
    session: Path<String>,
    query: RawQuery,
    said: Said,
) -> Result<Response, Problem> {
    up(plain, caller, session, query, said).await
}

/// Send frames to a stream
///
/// Applied in order, each POST once: one is safe to repeat with its number. Replies come by the stream.
#[utoipa::path(post, path = "/v1/sse/{session}", tag = "sessions over HTTP", operation_id = "sendToStream", extensions(("x-json-alone" = json!(true))),
    params(("session" = String, Path, description = "`session` of `connect`'s result."), ("n" = u64, Query, minimum = 1, description = "Which POST of the session this is: 1, 2, 3 …")),
    request_body(content = Option<serde_json::Value>, content_type = "application/json", example = json!({ "type": "ping", "id": 2 })),
    responses((status = 200, description = "They were handed to the session.", body = Applied), (status = 408, description = "The body came too slowly."), (status = 410, description = "The session has ended.")))]
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

/// End a polled session
#[utoipa::path(delete, path = "/v1/poll/{session}", tag = "sessions over HTTP", operation_id = "endPolls",
    params(("session" = String, Path, description = "`session` of `connect`'s result.")),
    responses((status = 204, description = "It has ended."), (status = 410, description = "It had ended before.")))]
async fn end_polled(plain: State<Arc<Plain>>, caller: Caller, session: Path<String>) -> Result<StatusCode, Problem> {
    end(plain, caller, session).await
}

/// End the session of a stream
#[utoipa::path(delete, path = "/v1/sse/{session}", tag = "sessions over HTTP", operation_id = "endStream",
    params(("session" = String, Path, description = "`session` of `connect`'s result.")),
    responses((status = 204, description = "It has ended."), (status = 410, description = "It had ended before.")))]
async fn end(State(plain): State<Arc<Plain>>, Caller(identity): Caller, Path(session): Path<String>) -> Result<StatusCode, Problem> {
    plain.wish(&session, &identity, Wish::End).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// What a ticket is to subscribe to.
#[derive(Deserialize, Default, ToSchema)]
#[serde(default, deny_unknown_fields)]
#[schema(as = NewTicket, example = json!({ "channels": [{ "channel": "room:1" }] }))]
struct Wanted {
    /// Channels to subscribe to.
    #[schema(value_type = Vec<Subscribed>, max_items = 64)]
    channels: Vec<SubscribeChannel>,
}

/// A channel to subscribe to.
#[derive(ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = TicketChannel)]
#[allow(dead_code)] // For the document: the protocol's own.
struct Subscribed {
    /// Its name. A bad one is refused alone, when the ticket is used.
    channel: String,
    /// Resume behind this place: `{epoch?, seq}`.
    since: Option<Since>,
    /// What to do when this subscriber is slow: `close` or `latest`.
    #[schema(pattern = "^(close|latest)$")]
    slow: Option<String>,
    /// Wants to see who comes and goes.
    #[schema(default = false)]
    #[serde(default)]
    presence: bool,
}

/// A place in a log.
#[derive(ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = TicketCursor)]
#[allow(dead_code)] // As above.
struct Since {
    /// The epoch of the entry there; 0 if it is missing.
    #[schema(minimum = 0, maximum = 9007199254740991i64)]
    #[serde(default)]
    epoch: u64,
    /// Which entry; 0 is before the first.
    #[schema(minimum = 0, maximum = 9007199254740991i64)]
    seq: u64,
}

/// What opens a stream, once.
#[derive(Serialize, ToSchema)]
struct Ticket {
    /// For `GET /v1/sse?ticket=…`.
    ticket: String,
    /// Until when it is good, in Unix milliseconds.
    expires_at: u64,
}

/// Make a ticket
///
/// For a browser's `EventSource`, which can send no header: good once, for 15 seconds. JSON only.
#[utoipa::path(post, path = "/v1/tickets", tag = "sessions over HTTP", operation_id = "createTicket", security(("token" = [])), extensions(("x-json-alone" = json!(true))),
    request_body(content = Option<Wanted>, content_type = "application/json"),
    responses((status = 201, description = "A ticket.", body = Ticket), (status = 408, description = "The body came too slowly.")))]
async fn ticket(
    State(plain): State<Arc<Plain>>,
    State(schemas): State<Schemas>,
    Somebody(identity): Somebody,
    Said(body): Said,
) -> Result<Response, Problem> {
    let wanted = if body.is_empty() { Wanted::default() } else { wanted(&schemas, &body)? };
    let Identity { expires_at: until, .. } = identity;
    let (ticket, expires_at) = plain.ticket(&Passport { identity, channels: wanted.channels }).await?;
    let mut response = (StatusCode::CREATED, axum::Json(Ticket { ticket, expires_at: expires_at.min(until) })).into_response();
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Ok(response)
}

/// Reads what is wanted, if it is as the document says.
fn wanted(schemas: &Schemas, body: &[u8]) -> Result<Wanted, Problem> {
    let value: Value =
        serde_json::from_slice(body).map_err(|error| Problem::new(ErrorCode::BadFrame, format!("the body is not JSON: {error}")))?;
    match schemas.of::<Wanted>().faults(&value, At::Pointer) {
        faults if faults.is_empty() => serde_json::from_value(value).map_err(|error| fault("", "invalid", error.to_string())),
        faults => Err(Problem::invalid(faults)),
    }
}

/// The first parameter of that name.
fn parameter(query: &str, name: &str) -> Option<String> {
    form_urlencoded::parse(query.as_bytes()).find(|(key, _)| key == name).map(|(_, value)| value.into_owned())
}

fn number(query: &str, name: &str) -> Result<Option<u64>, Problem> {
    let wrong = |_| Problem::new(ErrorCode::OutOfRange, format!("`{name}` is a whole number"));
    parameter(query, name).map(|text| text.parse().map_err(wrong)).transpose()
}

/// Whether the server is to begin subscriptions. A browser says it again when it comes back.
fn auto(query: &str) -> Result<Option<Auto>, Problem> {
    match parameter(query, "auto").as_deref() {
        None | Some("false") => Ok(None),
        Some("true") => Ok(Some(Auto::default())),
        Some(_) => Err(Problem::new(ErrorCode::OutOfRange, "`auto` is `true` or `false`")),
    }
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
