//! Makes tokens, for `hubbub token` and for tests. Whoever runs Hubbub beside an application makes them there.

use hubbub_protocol::limits::MAX_TOKEN;
use jsonwebtoken::{EncodingKey, Header, encode};
use serde::Serialize;
use thiserror::Error;

use super::{Grant, Grants, GrantsError, MIN_SECRET, is_user};

/// What a token says. Times are in Unix seconds.
#[derive(Debug, Clone, Serialize)]
pub struct Claims {
    /// The user.
    pub sub: String,
    /// When it was made.
    pub iat: u64,
    /// When it ends.
    pub exp: u64,
    /// For which server it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub aud: Option<String>,
    /// Who made it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub iss: Option<String>,
    /// What it allows.
    pub grants: Vec<Grant>,
}

/// Why a token was not made.
#[derive(Debug, Error)]
pub enum MintError {
    /// The secret is short.
    #[error("the secret has to have at least {MIN_SECRET} bytes")]
    ShortSecret,
    /// No server would take the user.
    #[error("a user has 1 to 128 bytes without control characters")]
    Subject,
    /// No server would take the grants.
    #[error(transparent)]
    Grants(#[from] GrantsError),
    /// No server would take a token this long.
    #[error("the token would have {0} bytes, and {MAX_TOKEN} are accepted: grant fewer patterns")]
    TooLong(usize),
    /// The claims could not be encoded.
    #[error("the token could not be encoded: {0}")]
    Encode(#[from] jsonwebtoken::errors::Error),
}

/// A token with these claims, signed with HS256.
///
/// # Errors
/// The secret is short, or a server would not take the token.
pub fn mint(secret: &[u8], claims: &Claims) -> Result<String, MintError> {
    if secret.len() < MIN_SECRET {
        return Err(MintError::ShortSecret);
    }
    if !is_user(&claims.sub) {
        return Err(MintError::Subject);
    }
    Grants::new(&claims.grants)?;
    let token = encode(&Header::default(), claims, &EncodingKey::from_secret(secret))?;
    if token.len() > MAX_TOKEN { Err(MintError::TooLong(token.len())) } else { Ok(token) }
}
