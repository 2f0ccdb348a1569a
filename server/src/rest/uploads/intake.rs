//! A file comes in: as the body itself, or as the one part of a form.

use std::sync::Arc;

use axum::{
    extract::{Request, State},
    response::Response,
};
use http::{HeaderMap, StatusCode, header};
use hubbub_protocol::ErrorCode;
use serde::Deserialize;
use tokio::time::timeout;
use utoipa::{
    ToSchema,
    openapi::schema::{Object, ObjectBuilder, SchemaType},
};

use super::{
    View, channel,
    form::{AROUND, Form},
    name,
};
use crate::{
    auth::{Act, Power, policy::Denied},
    http::{At, Caller, Fault, Problem},
    rest::kit::{KEY, Query, Wants, created, query, tag},
    session::Backend,
    store::uploads::Upload,
    upload::{NewUpload, Refused, Uploads},
};

/// What a file is, and where it belongs.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Place {
    /// What it is called: no path, no control characters. A form may say it as the part's file name.
    #[schema(min_length = 1, max_length = 255)]
    name: Option<String>,
    /// The channel whose readers may read it, into which one has to be allowed to publish. Without one it is its owner's own until it is
    /// attached to a message.
    channel: Option<String>,
}
query!(Place);

/// The bytes of a file.
#[derive(ToSchema)]
#[schema(value_type = String, format = Binary)]
#[allow(dead_code)] // Only what the document says of a body that is never whole in memory.
pub(super) struct Bytes(Vec<u8>);

/// A form with one file.
#[derive(ToSchema)]
#[schema(as = Form)]
#[allow(dead_code)] // As above.
pub(super) struct FormBody {
    /// The file. Its Content-Type and its file name count.
    #[schema(schema_with = part)]
    file: Bytes,
}

/// Bytes of any kind: a form has no way to say what would not be some.
fn part() -> Object {
    ObjectBuilder::new()
        .schema_type(SchemaType::AnyValue)
        .content_media_type("application/octet-stream")
        .description(Some("The file. Its Content-Type and its file name count."))
        .build()
}

/// Upload a file
///
/// The body is the file, of whatever media type, or a form with the file as its only part, named `file`. It is stored before it is answered; a body that
/// breaks off leaves nothing. An `Idempotency-Key` is refused (400): whoever does not know whether a file has come lists the uploads by its
/// `sha256`. An upload that is attached to no message is deleted after a day (`uploads.orphans_after`).
#[utoipa::path(
    post, path = "/v1/uploads", tag = "uploads", operation_id = "createUpload", params(Place),
    request_body(content((Bytes = "application/octet-stream"), (FormBody = "multipart/form-data"))),
    responses((status = 201, description = "It is stored.", body = View, headers(("Location" = String), ("ETag" = String))), (status = 408, description = "The body came too slowly."))
)]
pub(super) async fn create(
    wants: Wants,
    Caller(identity): Caller,
    State(uploads): State<Arc<Uploads>>,
    State(backend): State<Arc<Backend>>,
    Query(place): Query<Place>,
    request: Request,
) -> Result<Response, Problem> {
    if request.headers().contains_key(&KEY) {
        let text = "an upload takes no Idempotency-Key, since its bytes are not kept to be compared: send it again without, and delete what is double";
        return Err(Problem::new(ErrorCode::BadFrame, text));
    }
    let channel = place.channel.as_deref().map(channel).transpose()?;
    match &channel {
        Some(channel) => backend.access.may(&identity, Act::Upload, channel).await?,
        None if backend.access.wields(&identity, Power::OwnFiles) => {}
        None => return Err(Denied::Forbidden.into()),
    }
    let given = place.name.as_deref().map(|text| name(text, At::Parameter("name".to_owned()))).transpose()?;
    let kind = text(request.headers(), &header::CONTENT_TYPE).map(str::to_owned);
    let length = text(request.headers(), &header::CONTENT_LENGTH).and_then(|length| length.parse::<u64>().ok());
    let is_form = kind.as_deref().is_some_and(|kind| kind.trim_start().to_ascii_lowercase().starts_with("multipart/form-data"));
    let new = |name, claimed, declared| NewUpload { owner: identity.user.clone(), channel, name, claimed, declared };
    let upload = if is_form {
        // Before its head is read, which takes its time like any other body.
        let place = uploads.place(&identity.user)?;
        let opening = Form::open(kind.as_deref().unwrap_or_default(), request.into_body().into_data_stream());
        let mut form = timeout(uploads.idle_timeout(), opening).await.map_err(|_| Refused::TooSlow)??;
        let name = match given {
            Some(name) => name,
            None => name(form.file_name().unwrap_or_default(), At::Pointer(String::new()))?,
        };
        let around = 2 * AROUND as u64;
        let new = new(name, form.claimed(), length.map(|length| length.saturating_sub(around)));
        let taken = uploads.take_in_at(place, new, &mut form).await;
        if let Some(fault) = form.into_fault() {
            return Err(fault.into());
        }
        taken?
    } else {
        let name = given.ok_or_else(|| missing("name", "a file has a name: send it as `?name=…`"))?;
        uploads.take_in(new(name, kind, length), request.into_body().into_data_stream()).await?
    };
    Ok(answer(wants, upload))
}

fn answer(wants: Wants, upload: Upload) -> Response {
    let location = format!("/v1/uploads/{}", upload.id);
    let etag = tag(upload.version, wants.0);
    let mut response = created(wants.reply(StatusCode::CREATED, &View::from(upload)), &location);
    response.headers_mut().insert(header::ETAG, etag);
    response
}

fn missing(parameter: &str, detail: &str) -> Problem {
    Problem::invalid(vec![Fault { at: At::Parameter(parameter.to_owned()), code: "required", detail: detail.to_owned() }])
}

fn text<'a>(headers: &'a HeaderMap, name: &http::HeaderName) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}
