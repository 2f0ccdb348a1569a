//! Why an upload was refused, or cannot be had.

use hubbub_protocol::ErrorCode;
use thiserror::Error;

use super::{DepotError, NameError};
use crate::store::StoreError;

/// Why a request concerning uploads was refused. The message tells its reader what to do.
#[derive(Debug, Error)]
#[allow(missing_docs)] // The messages say it.
pub enum Refused {
    #[error(transparent)]
    Name(#[from] NameError),
    #[error("the file is larger than {max} bytes, which is the most that this server takes")]
    TooLarge { max: u64 },
    #[error("with this file all your uploads would have more than {quota} bytes together; delete some for good first")]
    OverQuota { quota: u64 },
    #[error("the body ended before it was whole; nothing was stored")]
    Broken,
    #[error("the body came too slowly; nothing was stored")]
    TooSlow,
    #[error("too many uploads come in at the moment; nothing was stored")]
    Overloaded,
    #[error("there is no such upload")]
    NotFound,
    #[error("the upload was changed meanwhile: read it again")]
    OtherVersion,
    #[error("the upload at index {index} is not there, or it is neither yours nor the channel's")]
    NotAttachable { index: usize },
    #[error("a message has at most {max} attachments")]
    TooManyAttachments { max: usize },
    #[error("the place of the files does not answer; nothing was stored")]
    Depot(#[source] DepotError),
    #[error("the store does not answer; nothing was stored")]
    Unavailable(#[source] StoreError),
    #[error("it is not known whether the upload was stored; list your uploads")]
    Unknown(#[source] StoreError),
}

impl From<StoreError> for Refused {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::CommitUnknown(_) => Refused::Unknown(error),
            _ => Refused::Unavailable(error),
        }
    }
}

impl From<DepotError> for Refused {
    fn from(error: DepotError) -> Self {
        if error.is_missing() { Refused::NotFound } else { Refused::Depot(error) }
    }
}

impl Refused {
    /// The code on the wire.
    pub fn code(&self) -> ErrorCode {
        match self {
            Refused::Name(_) => ErrorCode::Invalid,
            Refused::TooLarge { .. } => ErrorCode::PayloadTooLarge,
            Refused::OverQuota { .. } => ErrorCode::QuotaExceeded,
            Refused::Broken | Refused::TooSlow => ErrorCode::BadFrame,
            Refused::Overloaded => ErrorCode::Overloaded,
            Refused::NotFound => ErrorCode::NotFound,
            Refused::OtherVersion => ErrorCode::PreconditionFailed,
            Refused::NotAttachable { .. } | Refused::TooManyAttachments { .. } => ErrorCode::Invalid,
            Refused::Depot(_) | Refused::Unavailable(_) => ErrorCode::Unavailable,
            Refused::Unknown(_) => ErrorCode::Unknown,
        }
    }

    /// Whether the server is at fault, and not who asked.
    pub fn is_failure(&self) -> bool {
        matches!(self, Refused::Overloaded | Refused::Depot(_) | Refused::Unavailable(_) | Refused::Unknown(_))
    }
}
