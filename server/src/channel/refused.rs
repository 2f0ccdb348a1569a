//! Why a use case refused: one enum, mapped totally to the codes of the protocol.

use hubbub_protocol::{ErrorCode, frame::ErrorBody};
use thiserror::Error;

use crate::auth::Denied;

/// Why a request concerning a channel was refused. The message tells its reader what to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[allow(missing_docs)] // The messages say it.
pub enum Refused {
    #[error("neither your role nor the token's grants allow this on this channel")]
    Forbidden,
    #[error("you are banned from this channel")]
    Banned,
    #[error("the credentials were revoked: log in again, or ask whoever runs this server")]
    Revoked,
    #[error("there is no such channel")]
    Absent,
    #[error("the channel name is not valid: see section 3 of the specification")]
    ChannelInvalid,
    #[error("nothing was ever published in this channel")]
    NotFound,
    #[error("there is no such message, or none any more")]
    NoMessage,
    #[error("the message was published by somebody else")]
    NotAuthor,
    #[error("it has changed meanwhile: read it again, and decide anew")]
    Changed,
    #[error("the message was deleted")]
    Deleted,
    #[error("this channel is ephemeral and keeps nothing")]
    NotDurable,
    #[error("the channel's namespace has no presence")]
    PresenceDisabled,
    #[error("the payload is longer than this server takes")]
    PayloadTooLarge,
    #[error("the message id is older than the dedup window; if you know that it was not published, publish with a new id")]
    TooOld,
    #[error("the message id is too far ahead of the server's clock; make ids with the time that `connect` told")]
    TooNew,
    #[error("the message id was used with another payload or key; make a new id for each message")]
    IdReused,
    #[error("`limit` is 1 to the server's history page, and only one of `after` and `before` is given")]
    OutOfRange,
    #[error("`limit` is 1 to 1000 members")]
    LimitOutOfRange,
    #[error("this instance shows the members of too many channels already; try again later")]
    Crowded,
    #[error("it is not known whether the message was stored; publish again with the same message id")]
    Unknown,
    #[error("the store does not answer; nothing was stored")]
    Unavailable,
    #[error("the publish queue is full; nothing was stored")]
    Overloaded,
    #[error("this instance is shutting down; nothing was stored")]
    Draining,
}

impl From<Denied> for Refused {
    fn from(denied: Denied) -> Self {
        match denied {
            Denied::Revoked => Refused::Revoked,
            Denied::Banned => Refused::Banned,
            Denied::Forbidden => Refused::Forbidden,
            Denied::NotFound => Refused::Absent,
            Denied::Unavailable => Refused::Unavailable,
        }
    }
}

impl Refused {
    /// The code on the wire.
    pub fn code(self) -> ErrorCode {
        match self {
            Refused::Forbidden | Refused::NotAuthor => ErrorCode::Forbidden,
            Refused::ChannelInvalid => ErrorCode::ChannelInvalid,
            Refused::Banned => ErrorCode::Banned,
            Refused::Revoked => ErrorCode::Revoked,
            Refused::NotFound | Refused::Absent | Refused::NoMessage => ErrorCode::NotFound,
            Refused::Changed => ErrorCode::PreconditionFailed,
            Refused::Deleted => ErrorCode::Conflict,
            Refused::NotDurable => ErrorCode::NotDurable,
            Refused::PresenceDisabled => ErrorCode::PresenceDisabled,
            Refused::PayloadTooLarge => ErrorCode::PayloadTooLarge,
            Refused::TooOld => ErrorCode::TooOld,
            Refused::TooNew => ErrorCode::TooNew,
            Refused::IdReused => ErrorCode::IdReused,
            Refused::OutOfRange | Refused::LimitOutOfRange => ErrorCode::OutOfRange,
            Refused::Unknown => ErrorCode::Unknown,
            Refused::Unavailable => ErrorCode::Unavailable,
            Refused::Overloaded | Refused::Crowded => ErrorCode::Overloaded,
            Refused::Draining => ErrorCode::Draining,
        }
    }

    /// The body of an error frame.
    pub fn body(self) -> ErrorBody {
        ErrorBody::new(self.code(), self.to_string())
    }
}
