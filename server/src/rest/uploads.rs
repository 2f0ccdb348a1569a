//! `/v1/uploads`: files, what is known of them, and their bytes.

mod content;
mod disposition;
mod form;
mod intake;
mod range;
mod rights;

use std::sync::Arc;

use axum::{
    extract::{Path, State},
    response::{IntoResponse, Response},
};
use http::{HeaderMap, StatusCode, header};
use hubbub_protocol::{ChannelName, ErrorCode, MessageId};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{
    Api,
    kit::{
        self, Body, Expected, Field, IfMatch, List, Listed, MaybeIfMatch, Page, Query, Wants, WantsList, answer, changed, is_fresh, query,
        tag,
    },
};
use crate::{
    auth::Act,
    http::{At, Caller, Fault, Problem},
    session::Backend,
    store::{
        listing::{Condition, Op, Term},
        uploads,
    },
    upload::{Name, NameError, Refused, Uploads},
};

/// What is answered at once.
pub(super) fn router() -> OpenApiRouter<Api> {
    OpenApiRouter::new().routes(routes!(list)).routes(routes!(read, rename, delete)).routes(routes!(restore))
}

/// Bodies that come or go for as long as it takes: they have idle times of their own, and their own bounds.
pub(super) fn streams() -> OpenApiRouter<Api> {
    OpenApiRouter::new().routes(routes!(intake::create)).routes(routes!(content::content)).layer(axum::extract::DefaultBodyLimit::disable())
}

/// A file that somebody uploaded. Its bytes are at `/v1/uploads/{id}/content`.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Upload)]
struct View {
    /// A UUID of version 7.
    id: String,
    /// The user who uploaded it.
    owner: String,
    /// Who may read the history of this channel may read the file; null: its owner alone, and whoever may read a message that it is attached to.
    channel: Option<String>,
    /// What it is called.
    name: String,
    /// What it is, judged by its bytes.
    media_type: String,
    /// Bytes.
    size: u64,
    /// The SHA-256 digest of its bytes, in hexadecimal.
    sha256: String,
    /// Rises with each change.
    version: u64,
    /// In Unix milliseconds.
    created_at: u64,
    /// Since when it is deleted; null if it is not.
    deleted_at: Option<u64>,
}

impl From<uploads::Upload> for View {
    fn from(upload: uploads::Upload) -> Self {
        Self {
            id: upload.id,
            owner: upload.owner,
            channel: upload.channel,
            name: upload.name,
            media_type: upload.media_type,
            size: upload.size,
            sha256: upload.sha256,
            version: upload.version,
            created_at: upload.created_at,
            deleted_at: upload.deleted_at,
        }
    }
}

impl Listed for View {
    const FIELDS: &'static [Field] = crate::store::uploads::FIELDS;
    const MORE: &'static [(&'static str, &'static str)] = &[
        ("channel", "The uploads of this channel, instead of one's own."),
        ("deleted", "`true`: one's own that are deleted and can be restored."),
    ];

    fn id(&self) -> String {
        self.id.clone()
    }

    fn sort_key(&self, _: &str) -> Term {
        Term::Whole(self.created_at as i64)
    }
}

impl From<Refused> for Problem {
    fn from(refused: Refused) -> Self {
        let problem = Problem::new(refused.code(), refused.to_string());
        match refused {
            Refused::TooSlow => problem.with_status(StatusCode::REQUEST_TIMEOUT),
            Refused::Overloaded => problem.retry_after(5),
            _ => problem,
        }
    }
}

/// The name in the query or in a form.
fn name(text: &str, at: At) -> Result<Name, Problem> {
    Name::parse(text).map_err(|error| {
        let code = match error {
            NameError::Length => "length",
            NameError::Path => "path",
            NameError::Control => "control_character",
        };
        Problem::invalid(vec![Fault { at, code, detail: error.to_string() }])
    })
}

/// The channel in the query.
fn channel(text: &str) -> Result<ChannelName, Problem> {
    let invalid =
        |error: &dyn std::fmt::Display| Fault { at: At::Parameter("channel".to_owned()), code: "channel", detail: error.to_string() };
    ChannelName::parse(text).map_err(|error| Problem::invalid(vec![invalid(&error)]))
}

/// An id of a path; what cannot be one names nothing.
fn id(text: &str) -> Result<String, Refused> {
    MessageId::parse(text).map(|id| id.to_string()).ok_or(Refused::NotFound)
}

/// The upload with its version as ETag.
fn reply(wants: Wants, upload: uploads::Upload) -> Response {
    let etag = tag(upload.version, wants.0);
    let mut response = wants.ok(&View::from(upload));
    response.headers_mut().insert(header::ETAG, etag);
    response
}

/// List uploads
///
/// One's own, the newest first; or those of a channel whose history one may read.
#[utoipa::path(
    get, path = "/v1/uploads", tag = "uploads", operation_id = "listUploads", params(List<View>),
    responses((status = 200, description = "A page.", body = Page<View>))
)]
async fn list(
    WantsList(wants): WantsList,
    Caller(identity): Caller,
    State(uploads): State<Arc<Uploads>>,
    State(backend): State<Arc<Backend>>,
    mut list: List<View>,
) -> Result<Response, Problem> {
    let deleted = match list.more("deleted") {
        None | Some("false") => Op::Absent,
        Some("true") => Op::Present,
        Some(_) => {
            let at = At::Parameter("deleted".to_owned());
            return Err(Problem::invalid(vec![Fault { at, code: "not_one_of", detail: "it is true or false".to_owned() }]));
        }
    };
    let channel = list.more("channel").map(channel).transpose()?;
    let conditions = &mut list.selection.conditions;
    let is = |column, text: &str| Condition { column, op: Op::In, terms: vec![Term::Text(text.to_owned())] };
    conditions.push(Condition { column: "deleted_at", op: deleted, terms: vec![] });
    if let Some(channel) = &channel {
        backend.access.may(&identity, Act::History, channel).await?;
        conditions.push(is("channel", channel.as_str()));
    }
    if channel.is_none() || deleted == Op::Present {
        conditions.push(is("owner", &identity.user));
    }
    answer(list, wants, move |selection| {
        let uploads = uploads.clone();
        async move { Ok::<_, Refused>(uploads.list(&selection).await?.into_iter().map(View::from).collect()) }
    })
    .await
}

/// Read what is known of an upload
#[utoipa::path(
    get, path = "/v1/uploads/{id}", tag = "uploads", operation_id = "readUpload",
    params(("id" = String, Path, description = "The upload's id."), kit::IfNoneMatch),
    responses((status = 200, description = "The upload.", body = View, headers(("ETag" = String))), (status = 304, description = "It is as `If-None-Match` says."))
)]
async fn read(
    wants: Wants,
    Caller(identity): Caller,
    State(uploads): State<Arc<Uploads>>,
    State(backend): State<Arc<Backend>>,
    Path(text): Path<String>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let upload = rights::visible(&backend.access, &uploads, &identity, &id(&text)?).await?;
    let etag = tag(upload.version, wants.0);
    if is_fresh(&headers, &etag) {
        return Ok((StatusCode::NOT_MODIFIED, [(header::ETAG, etag)]).into_response());
    }
    Ok(reply(wants, upload))
}

/// What can be changed of an upload.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = UploadChange, example = json!({ "name": "notes.txt" }))]
struct Change {
    /// What it is called from now on: no path, no control characters.
    #[schema(min_length = 1, max_length = 255)]
    name: String,
}

/// Rename an upload
///
/// Its owner may. A JSON Merge Patch (RFC 7396).
#[utoipa::path(
    patch, path = "/v1/uploads/{id}", tag = "uploads", operation_id = "renameUpload",
    params(("id" = String, Path, description = "The upload's id."), kit::IfMatchHeader),
    request_body = Change, responses((status = 200, description = "The upload as it is now.", body = View, headers(("ETag" = String))))
)]
async fn rename(
    wants: Wants,
    Caller(identity): Caller,
    State(uploads): State<Arc<Uploads>>,
    State(backend): State<Arc<Backend>>,
    Path(text): Path<String>,
    IfMatch(expected): IfMatch,
    Body(change): Body<Change>,
) -> Result<Response, Problem> {
    let name = name(&change.name, At::Pointer("/name".to_owned()))?;
    let upload = rights::own(&backend.access, &uploads, &identity, uploads.find(&id(&text)?).await?).await?;
    let version = version(&expected, &upload)?;
    Ok(reply(wants, uploads.rename(&upload.id, version, &name).await?))
}

/// How an upload is deleted.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct Deletion {
    /// For good, deleted before or not: it cannot be restored, and counts against the quota no more.
    forever: Option<bool>,
}
query!(Deletion);

/// Delete an upload
///
/// Its owner may, and moderators of its channel; for good its owner alone. It can be restored for as long as `uploads.retention` says, and counts against the quota until then.
#[utoipa::path(
    delete, path = "/v1/uploads/{id}", tag = "uploads", operation_id = "deleteUpload",
    params(("id" = String, Path, description = "The upload's id."), kit::MaybeIfMatchHeader, Deletion),
    responses((status = 204, description = "It is deleted."))
)]
async fn delete(
    Caller(identity): Caller,
    State(uploads): State<Arc<Uploads>>,
    State(backend): State<Arc<Backend>>,
    Path(text): Path<String>,
    MaybeIfMatch(expected): MaybeIfMatch,
    Query(deletion): Query<Deletion>,
) -> Result<StatusCode, Problem> {
    let id = id(&text)?;
    let found = match uploads.find(&id).await {
        Err(Refused::NotFound) if deletion.forever == Some(true) => uploads.find_deleted(&id).await,
        found => found,
    };
    let upload = rights::deletable(&backend.access, &uploads, &identity, found?).await?;
    let version = version(&expected, &upload)?;
    match deletion.forever {
        Some(true) => {
            let upload = rights::own(&backend.access, &uploads, &identity, upload).await?;
            uploads.purge(&upload.id).await?;
        }
        _ => drop(uploads.delete(&upload.id, version).await?),
    }
    Ok(StatusCode::NO_CONTENT)
}

/// Restore an upload that was deleted
///
/// One that is not stays as it is.
#[utoipa::path(
    post, path = "/v1/uploads/{id}/restore", tag = "uploads", operation_id = "restoreUpload",
    params(("id" = String, Path, description = "The upload's id.")),
    responses((status = 200, description = "The upload as it is now.", body = View, headers(("ETag" = String))))
)]
async fn restore(
    wants: Wants,
    Caller(identity): Caller,
    State(uploads): State<Arc<Uploads>>,
    State(backend): State<Arc<Backend>>,
    Path(text): Path<String>,
) -> Result<Response, Problem> {
    let id = id(&text)?;
    let found = match uploads.find_deleted(&id).await {
        Err(Refused::NotFound) => uploads.find(&id).await,
        found => found,
    };
    let upload = rights::own(&backend.access, &uploads, &identity, found?).await?;
    if upload.deleted_at.is_none() {
        return Ok(reply(wants, upload));
    }
    Ok(reply(wants, uploads.restore(&upload.id, None).await?))
}

/// The version that is to be changed; `None` for any.
fn version(expected: &Expected, upload: &uploads::Upload) -> Result<Option<u64>, Problem> {
    match expected {
        Expected::Any => Ok(None),
        expected if expected.covers(upload.version) => Ok(Some(upload.version)),
        Expected::Versions(_) => Err(changed()),
    }
}

/// What a media type would be refused for.
fn unreadable(detail: &str) -> Problem {
    Problem::new(ErrorCode::BadFrame, detail)
}
