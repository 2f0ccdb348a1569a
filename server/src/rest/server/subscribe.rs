//! `POST /v1/server/subscribe`.

use axum::{extract::State, response::Response};
use hubbub_protocol::{ChannelName, Cursor, ErrorCode, frame::ErrorBody};
use serde::Deserialize;
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{Done, Failure, Results};
use crate::{
    http::Problem,
    rest::{
        Api,
        kit::{self, Actor, Body, Wants},
    },
    room::{By, NewSubscription},
};

pub(super) fn router() -> OpenApiRouter<Api> {
    OpenApiRouter::new().routes(routes!(subscribe))
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

/// Begin users' subscriptions
///
/// On every connection of the user that asked for that (`auto` in `connect`), everywhere within a second; once, not for connections to come. In
/// a channel with members the user has to be one (`not_found` or `forbidden` otherwise); elsewhere each connection's own token decides, which
/// is not told here. Takes `moderate` on the channel.
#[utoipa::path(post, path = "/v1/server/subscribe", tag = "server", operation_id = "serverSubscribe", request_body = Subscriptions,
    responses((status = 200, description = "What became of each.", body = Results<Done>)))]
async fn subscribe(wants: Wants, actor: Actor, State(api): State<Api>, Body(body): Body<Subscriptions>) -> Result<Response, Problem> {
    let mut results = Vec::with_capacity(body.subscriptions.len());
    let mut wanted = Vec::new();
    for Wanted { user, channel, since } in body.subscriptions {
        let since = since.map(|Place { epoch, seq }| Cursor { epoch, seq });
        let allowed = match ChannelName::parse(&channel) {
            Ok(channel) => {
                let new = NewSubscription { user, channel, since };
                let judged = api.rooms.may_begin(&actor.identity, &new).await;
                judged.map(|()| new).map_err(|denied| ErrorBody::new(denied.code(), denied.to_string()))
            }
            Err(error) => Err(ErrorBody::new(ErrorCode::ChannelInvalid, error.to_string())),
        };
        results.push(Done { error: allowed.as_ref().err().cloned().map(Failure::from) });
        wanted.extend(allowed);
    }
    let by = By { identity: &actor.identity, trace: &actor.trace };
    api.rooms.begin(by, wanted).await.map_err(|error| kit::unavailable(&error))?;
    Ok(wants.ok(&Results::<Done> { results }))
}
