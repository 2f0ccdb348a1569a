//! `/v1/audit`: who did what.

use axum::{extract::State, response::Response};
use hubbub_protocol::ErrorCode;
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{
    Api,
    kit::{self, Actor, Field, List, Listed, Page, WantsList},
};
use crate::{
    auth::Power,
    http::Problem,
    store::{
        audit::{self, Logged},
        listing::{Selection, Term},
    },
};

pub(super) fn router() -> OpenApiRouter<Api> {
    OpenApiRouter::new().routes(routes!(list))
}

/// Something that was done.
#[derive(Debug, Serialize, ToSchema)]
struct Deed {
    /// Ascending with time.
    id: String,
    /// Who: a user's id, `api-key:` and its id, or `operator` for the command line.
    actor: String,
    /// What: `channel.created`, `member.banned`, ….
    action: String,
    /// To what: `channel`, `user`, ….
    target: String,
    /// To which.
    target_id: String,
    /// In which channel.
    channel: Option<String>,
    /// More about it.
    #[schema(value_type = Object)]
    detail: Value,
    /// From where.
    address: String,
    /// In which request.
    request_id: String,
    /// When, in Unix milliseconds.
    created_at: i64,
}

impl From<Logged> for Deed {
    fn from(row: Logged) -> Self {
        Self {
            id: row.id,
            actor: row.actor,
            action: row.action,
            target: row.target,
            target_id: row.target_id,
            channel: row.channel,
            detail: serde_json::from_str(&row.detail).unwrap_or_default(),
            address: row.address,
            request_id: row.request_id,
            created_at: row.created_at,
        }
    }
}

impl Listed for Deed {
    const FIELDS: &'static [Field] = crate::store::audit::FIELDS;

    fn id(&self) -> String {
        self.id.clone()
    }

    fn sort_key(&self, _: &str) -> Term {
        Term::Text(self.id.clone())
    }
}

/// List what was done
///
/// For admins of the instance.
#[utoipa::path(get, path = "/v1/audit", tag = "audit", operation_id = "listAudit", params(List<Deed>),
    responses((status = 200, description = "A page of it, the newest first.", body = Page<Deed>)))]
async fn list(WantsList(media): WantsList, actor: Actor, State(api): State<Api>, list: List<Deed>) -> Result<Response, Problem> {
    if !api.rooms.access.wields(&actor.identity, Power::ReadAudit) {
        return Err(Problem::new(ErrorCode::Forbidden, "this is for admins of the instance"));
    }
    kit::answer(list, media, move |selection: Selection| {
        let db = api.db.clone();
        async move {
            let rows = audit::list(&db, &selection).await.map_err(|error| kit::unavailable(&error))?;
            Ok::<_, Problem>(rows.into_iter().map(Deed::from).collect())
        }
    })
    .await
}
