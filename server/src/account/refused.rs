//! Why a use case did not do what was asked.

use std::time::Duration;

use hubbub_protocol::ErrorCode;
use thiserror::Error;

use super::Flaw;
use crate::{auth::HashError, store::StoreError};

/// Why not. The message is for the client: of an account it never tells whether there is one, but to whoever registers.
#[derive(Debug, Error)]
pub enum Refused {
    /// Registration is closed.
    #[error("nobody can register here: ask whoever runs this server for an account")]
    Closed,
    /// Fields break their rules.
    #[error("some fields break their rules: `errors` names each")]
    Invalid(Vec<Flaw>),
    /// Somebody has the login.
    #[error("the login is taken: choose another")]
    Taken,
    /// No such account, or another password, or it is blocked.
    #[error("the login and the password do not go together")]
    Login,
    /// Too many tries failed.
    #[error("too many tries failed: wait, then try again")]
    TooMany {
        /// For how long.
        wait: Duration,
    },
    /// Too many passwords wait to be hashed.
    #[error("too many log in at this moment: try again later")]
    Overloaded,
    /// Not a refresh token of this server.
    #[error("the refresh token is none of this server's: log in again")]
    Token,
    /// The login was not used for long.
    #[error("the login has expired: log in again")]
    Expired,
    /// The login was ended, or the user blocked.
    #[error("the login has been ended: log in again")]
    Revoked,
    /// The refresh token was used before, and is not the last one: somebody has a copy.
    #[error("this refresh token was used before: its login has been ended, in case somebody has stolen it; log in again")]
    Replayed,
    /// The access token is of an outside issuer.
    #[error("the token came from no login here: there is nothing to log out of")]
    NoLogin,
    /// The user has no password.
    #[error("this user has no password here: it was vouched for by another server")]
    NoPassword,
    /// The token says what it allows, and this is not in it.
    #[error("the token does not allow this: its grants say nothing of the account")]
    Narrowed,
    /// The user has no such login.
    #[error("there is no such login")]
    NotFound,
    /// No key signs.
    #[error("no token can be signed at this moment: try again later")]
    NoKey,
    /// Hashing failed.
    #[error("a fault of the server; its log has the details")]
    Hash(#[from] HashError),
    /// The store failed.
    #[error("the store does not answer: try again later")]
    Store(#[from] StoreError),
}

impl Refused {
    /// Its code on the wire.
    pub fn code(&self) -> ErrorCode {
        match self {
            Refused::Closed | Refused::Narrowed => ErrorCode::Forbidden,
            Refused::Invalid(_) => ErrorCode::Invalid,
            Refused::Taken | Refused::NoLogin | Refused::NoPassword => ErrorCode::Conflict,
            Refused::Login => ErrorCode::LoginFailed,
            Refused::TooMany { .. } => ErrorCode::RateLimited,
            Refused::Overloaded => ErrorCode::Overloaded,
            Refused::Token => ErrorCode::Unauthorized,
            Refused::Expired => ErrorCode::TokenExpired,
            Refused::Revoked | Refused::Replayed => ErrorCode::Revoked,
            Refused::NotFound => ErrorCode::NotFound,
            Refused::Store(StoreError::CommitUnknown(_)) => ErrorCode::Unknown,
            Refused::Store(error) if error.is_transient() => ErrorCode::Unavailable,
            Refused::NoKey => ErrorCode::Unavailable,
            Refused::Hash(_) | Refused::Store(_) => ErrorCode::Internal,
        }
    }
}
