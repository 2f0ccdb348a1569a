//! Who may do what with uploads. What one may not see is not there.

use hubbub_protocol::{ChannelName, ErrorCode};

use crate::{
    access::{Access, Denied},
    auth::{Act, Identity},
    http::Problem,
    store::uploads::Upload,
    upload::{Refused, Uploads},
};

/// The upload, if one may see it: one's own, and what is in a channel whose history one may read.
pub(super) async fn visible(access: &Access, uploads: &Uploads, identity: &Identity, id: &str) -> Result<Upload, Problem> {
    let upload = uploads.find(id).await?;
    if *upload.owner != *identity.user && !reads(access, uploads, identity, &upload).await? {
        return Err(Refused::NotFound.into());
    }
    Ok(upload)
}

/// The upload, if it is one's own. Whoever may only see it is told so.
pub(super) async fn own(access: &Access, uploads: &Uploads, identity: &Identity, upload: Upload) -> Result<Upload, Problem> {
    if *upload.owner == *identity.user {
        return Ok(upload);
    }
    match upload.deleted_at.is_none() && reads(access, uploads, identity, &upload).await? {
        true => Err(Problem::new(ErrorCode::Forbidden, "only its owner may do this with an upload")),
        false => Err(Refused::NotFound.into()),
    }
}

/// The upload, if one may delete it: one's own, and what is in a channel that one moderates.
pub(super) async fn deletable(access: &Access, uploads: &Uploads, identity: &Identity, upload: Upload) -> Result<Upload, Problem> {
    let channel = upload.channel.as_deref().filter(|_| upload.deleted_at.is_none()).and_then(|name| ChannelName::parse(name).ok());
    if let Some(channel) = channel
        && may(access, identity, Act::Moderate, &channel).await?
    {
        return Ok(upload);
    }
    own(access, uploads, identity, upload).await
}

async fn reads(access: &Access, uploads: &Uploads, identity: &Identity, upload: &Upload) -> Result<bool, Problem> {
    for channel in uploads.channels(upload).await? {
        if may(access, identity, Act::History, &channel).await? {
            return Ok(true);
        }
    }
    Ok(false)
}

async fn may(access: &Access, identity: &Identity, act: Act, channel: &ChannelName) -> Result<bool, Problem> {
    match access.may(identity, act, channel).await {
        Ok(()) => Ok(true),
        Err(Denied::Unavailable) => Err(Denied::Unavailable.into()),
        Err(_) => Ok(false),
    }
}
