//! `POST /v1/server/subscribe` and `…/unsubscribe`.

use std::sync::Arc;

use axum::{extract::State, response::Response};
use hubbub_protocol::{ChannelName, Cursor, ErrorCode, frame::ErrorBody};
use serde::Deserialize;
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{Done, Failure, Results};
use crate::{
    auth::Denied,
    http::Problem,
    rest::{
        Api,
        kit::{Actor, Body, Wants},
    },
    room::{NewSubscription, RoomError, Rooms},
};

pub(super) fn router() -> OpenApiRouter<Api> {
    OpenApiRouter::new().routes(routes!(subscribe)).routes(routes!(unsubscribe))
}

/// Users and channels.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct Subscriptions {
    /// 1 to 1,000.
    #[schema(min_items = 1, max_items = 1000)]
    subscriptions: Vec<Wanted>,
}

/// A subscription of a user, on each connection that wants the server to begin some.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = WantedSubscription)]
struct Wanted {
    /// A user's id.
    #[schema(min_length = 1, max_length = 128)]
    user: String,
    /// To what.
    #[schema(min_length = 1, max_length = 128)]
    channel: String,
    /// After which entry; from now on if absent.
    since: Option<Place>,
}

/// A place in a channel's log.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = SinceCursor)]
struct Place {
    /// Its epoch; 0 if absent.
    #[schema(maximum = 9_007_199_254_740_991_u64)]
    #[serde(default)]
    epoch: u64,
    /// Its seq; 0 is before the first.
    #[schema(maximum = 9_007_199_254_740_991_u64)]
    seq: u64,
}

/// Users, and channels that they are to hear no longer.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({ "subscriptions": [{ "user": "ada", "channel": "chat:rust" }] }))]
struct Unsubscriptions {
    /// 1 to 1,000.
    #[schema(min_items = 1, max_items = 1000)]
    subscriptions: Vec<Subscription>,
}

/// A user's subscription to a channel, on however many connections.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct Subscription {
    /// A user's id.
    #[schema(min_length = 1, max_length = 128)]
    user: String,
    /// Where.
    #[schema(min_length = 1, max_length = 128)]
    channel: String,
}

/// Begin users' subscriptions
///
/// On every connection of the user that asked for that (`auto` in `connect`), everywhere within a second; once, not for connections to come. In
/// a channel with members the user has to be one (`not_found` or `forbidden` otherwise); elsewhere each connection's own token decides, which
/// is not told here. Takes `moderate` on the channel.
#[utoipa::path(post, path = "/v1/server/subscribe", tag = "server", operation_id = "serverSubscribe", request_body = Subscriptions,
    responses((status = 200, description = "What became of each.", body = Results<Done>)))]
async fn subscribe(
    wants: Wants,
    actor: Actor,
    State(rooms): State<Arc<Rooms>>,
    Body(body): Body<Subscriptions>,
) -> Result<Response, Problem> {
    let wanted = body.subscriptions.into_iter().map(|Wanted { user, channel, since }| (channel, (user, since))).collect();
    let begin = async |named: Vec<_>| {
        let new = |(channel, (user, since)): (_, (_, Option<Place>))| {
            let since = since.map(|Place { epoch, seq }| Cursor { epoch, seq });
            NewSubscription { user, channel, since }
        };
        rooms.begin(actor.by(), named.into_iter().map(new).collect()).await
    };
    Ok(wants.ok(&Results { results: each(wanted, begin).await? }))
}

/// End users' subscriptions
///
/// Everywhere within a second; they may subscribe again. To keep them out, ban them. Takes `moderate` on the channel.
#[utoipa::path(post, path = "/v1/server/unsubscribe", tag = "server", operation_id = "serverUnsubscribe", request_body = Unsubscriptions,
    responses((status = 200, description = "What became of each.", body = Results<Done>)))]
async fn unsubscribe(
    wants: Wants,
    actor: Actor,
    State(rooms): State<Arc<Rooms>>,
    Body(body): Body<Unsubscriptions>,
) -> Result<Response, Problem> {
    let ended = body.subscriptions.into_iter().map(|Subscription { user, channel }| (channel, user)).collect();
    let end = async |named: Vec<_>| rooms.unsubscribe(actor.by(), named).await;
    Ok(wants.ok(&Results { results: each(ended, end).await? }))
}

/// Does `act` with those whose channel has a name, and tells of each what became of it.
async fn each<T>(
    asked: Vec<(String, T)>,
    act: impl AsyncFnOnce(Vec<(ChannelName, T)>) -> Result<Vec<Result<(), Denied>>, RoomError>,
) -> Result<Vec<Done>, Problem> {
    let mut errors = Vec::with_capacity(asked.len());
    let mut named = Vec::new();
    for (channel, what) in asked {
        let channel = ChannelName::parse(&channel).map_err(|error| ErrorBody::new(ErrorCode::ChannelInvalid, error.to_string()));
        errors.push(channel.as_ref().err().cloned());
        named.extend(channel.ok().map(|channel| (channel, what)));
    }
    let mut outcomes = act(named).await?.into_iter();
    for error in errors.iter_mut().filter(|error| error.is_none()) {
        *error = outcomes.next().and_then(Result::err).map(|denied| ErrorBody::new(denied.code(), denied.to_string()));
    }
    Ok(errors.into_iter().map(|error| Done { error: error.map(Failure::from) }).collect())
}
