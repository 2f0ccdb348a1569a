//! `Idempotency-Key`: a POST that is sent again with the same key gets the first answer, and nothing is done twice
//! (draft-ietf-httpapi-idempotency-key-header).

use aws_lc_rs::digest::{Context, SHA256};
use axum::{
    body::{Body, Bytes, to_bytes},
    extract::{FromRequest, FromRequestParts, Request, State},
    middleware::Next,
    response::{IntoResponse, Response},
};
use http::{HeaderName, HeaderValue, Method, StatusCode, header};
use hubbub_protocol::ErrorCode;
use utoipa::{
    IntoParams,
    openapi::{OpenApi, RefOr},
};

use super::{IdempotencyKey, body::unread, unavailable};
use crate::{
    http::{Caller, KeptProblem, Problem, bearer},
    rest::Api,
    store::idempotency::{self, Answer, Reserved},
};

/// The header.
pub(crate) const KEY: HeaderName = HeaderName::from_static("idempotency-key");
/// Says that the answer is an old one.
const REPLAYED: HeaderName = HeaderName::from_static("idempotency-replayed");
/// Signs of a key, at most.
const MAX_KEY: usize = 255;
/// Milliseconds for which an answer is kept, and a request that never ends is waited for.
const LIFE: u64 = 24 * 60 * 60 * 1_000;
const PATIENCE: u64 = 60 * 1_000;
/// Bytes of an answer that is kept, at most.
const MAX_ANSWER: usize = 1 << 20;

/// Headers of an answer that are kept with it.
const KEPT: [HeaderName; 7] = [
    header::CONTENT_TYPE,
    header::LOCATION,
    header::ETAG,
    header::LINK,
    header::VARY,
    header::CACHE_CONTROL,
    HeaderName::from_static("accept-post"),
];

/// Says of every POST in `api` that it takes the header, but those that refuse it (`x-unkeyed`); of those that take no credentials it is not read.
pub(crate) fn document(api: &mut OpenApi) {
    for operation in api.paths.paths.values_mut().filter_map(|item| item.post.as_mut()) {
        let is_unkeyed = operation.extensions.as_mut().is_some_and(|fields| fields.remove("x-unkeyed").is_some());
        if operation.security.is_none() && !is_unkeyed {
            operation.parameters.get_or_insert_default().extend(IdempotencyKey::into_params(|| None).into_iter().map(RefOr::T));
        }
    }
}

/// The layer of routes that keep their answers.
pub(crate) async fn once(State(api): State<Api>, request: Request, next: Next) -> Response {
    // Who is nobody yet has no answers that could be kept.
    if request.method() != Method::POST || !request.headers().contains_key(KEY) || bearer(request.headers()).is_none() {
        return next.run(request).await;
    }
    keep(&api, request, next).await.unwrap_or_else(Problem::into_response)
}

async fn keep(api: &Api, request: Request, next: Next) -> Result<Response, Problem> {
    let (mut parts, body) = request.into_parts();
    let is_key = |key: &&str| (1..=MAX_KEY).contains(&key.len()) && key.bytes().all(|sign| sign.is_ascii_graphic());
    let name = parts.headers[KEY].to_str().ok().filter(is_key);
    let Some(name) = name else {
        return Err(Problem::new(ErrorCode::BadFrame, format!("an Idempotency-Key has 1 to {MAX_KEY} visible ASCII signs")));
    };
    let name = name.to_owned();
    let Caller(identity) = Caller::from_request_parts(&mut parts, api).await?;
    let bytes = Bytes::from_request(Request::new(body), &()).await.map_err(unread)?;
    let path = parts.uri.path_and_query().map_or("", |path| path.as_str());
    let key = digest(&[identity.user.as_bytes(), name.as_bytes(), parts.uri.path().as_bytes()]);
    let kind = parts.headers.get(header::CONTENT_TYPE).map(HeaderValue::as_bytes).unwrap_or_default();
    let asked = digest(&[path.as_bytes(), kind, &bytes]);
    let (db, clock) = (&api.db, &api.backend.world.clock);
    match idempotency::reserve(db, &key, &asked, clock.now(), PATIENCE).await.map_err(|error| unavailable(&error))? {
        Reserved::Ours => {}
        Reserved::Answered(answer) => return Ok(replay(answer)),
        Reserved::Busy => {
            return Err(Problem::new(ErrorCode::KeyInUse, "the first request with this key is still under way").retry_after(1));
        }
        Reserved::Other => {
            return Err(Problem::new(ErrorCode::KeyReused, "this key was used for another request: make a new one for each"));
        }
    }
    // Whoever asked may leave: what was begun is finished and kept all the same.
    let (db, clock) = (db.clone(), clock.clone());
    let work = tokio::spawn(async move {
        let response = next.run(Request::from_parts(parts, Body::from(bytes))).await;
        let (response, answer) = taken(response).await;
        let kept = match answer {
            Some(answer) => idempotency::finish(&db, &key, &answer, clock.now(), LIFE).await,
            None => idempotency::release(&db, &key).await,
        };
        if let Err(error) = kept {
            tracing::warn!(%error, "an answer could not be kept for its Idempotency-Key");
        }
        response
    });
    work.await.map_err(|_| Problem::new(ErrorCode::Internal, "a fault of the server; its log has the details under this request's id"))
}

/// The response, and what is kept of it: nothing of faults, of what may go better a moment later, and of secrets.
async fn taken(response: Response) -> (Response, Option<Answer>) {
    let status = response.status();
    // What nobody may keep, such as tokens.
    if status.is_success() && response.headers().get(header::CACHE_CONTROL).is_some_and(|control| control == "no-store") {
        return (response, None);
    }
    let passing = [StatusCode::TOO_MANY_REQUESTS, StatusCode::UNAUTHORIZED, StatusCode::REQUEST_TIMEOUT];
    if status.is_server_error() || passing.contains(&status) {
        return (response, None);
    }
    let (parts, body) = response.into_parts();
    let Ok(bytes) = to_bytes(body, MAX_ANSWER).await else {
        return (Problem::new(ErrorCode::Internal, "the answer is too long").into_response(), None);
    };
    let headers: serde_json::Map<String, serde_json::Value> =
        KEPT.iter().filter_map(|name| Some((name.as_str().to_owned(), parts.headers.get(name)?.to_str().ok()?.into()))).collect();
    let answer = Answer { status: status.as_u16(), headers: serde_json::Value::Object(headers).to_string(), body: bytes.to_vec() };
    (Response::from_parts(parts, Body::from(bytes)), Some(answer))
}

fn replay(answer: Answer) -> Response {
    let problem = if answer.status >= 400 { serde_json::from_slice(&answer.body).ok() } else { None };
    let mut response = Response::new(Body::from(answer.body));
    if let Some(problem) = problem {
        response.extensions_mut().insert(KeptProblem(problem));
    }
    *response.status_mut() = StatusCode::from_u16(answer.status).unwrap_or(StatusCode::OK);
    let headers: std::collections::HashMap<String, String> = serde_json::from_str(&answer.headers).unwrap_or_default();
    for (name, value) in headers {
        if let (Ok(name), Ok(value)) = (HeaderName::try_from(name), HeaderValue::try_from(value)) {
            response.headers_mut().insert(name, value);
        }
    }
    response.headers_mut().insert(REPLAYED, HeaderValue::from_static("true"));
    response
}

fn digest(parts: &[&[u8]]) -> Vec<u8> {
    let mut digest = Context::new(&SHA256);
    for part in parts {
        digest.update(&(part.len() as u64).to_be_bytes());
        digest.update(part);
    }
    digest.finish().as_ref().to_vec()
}
