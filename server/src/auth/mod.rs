//! Who is there and what they may do: tokens in, identities and grants out.
//!
//! Pure: no I/O, no clock. The caller passes the time and the keys in. Sessions and HTTP extractors ask a [`Verifier`] for an
//! [`Identity`], and its [`Grants`] before each use of a channel. Nothing here prints a token, or keeps
//! one: of those that were verified of late there are digests.

mod act;
mod common;
mod grants;
mod keys;
mod mint;
mod password;
mod pattern;
pub mod policy;
mod role;
mod signing;
#[cfg(test)]
mod tests;
mod token;
mod verified;

use std::sync::Arc;

pub use act::{Act, Power};
pub use grants::{Action, Grant, Grants, GrantsError, MAX_GRANTS, MAX_PATTERNS};
pub use keys::{KeyError, MIN_SECRET};
pub use mint::{Claims, MintError, mint};
pub use password::{Cost, HashError, Hasher, MAX_PASSWORD, MIN_PASSWORD, Password, PasswordFlaw, SALT, Verdict};
pub use policy::Denied;
pub use role::Role;
pub use signing::{KeyRing, OwnKey, SEED, Sealed, SigningError, Vault, derive};
pub use token::{Rules, TokenError, Verifier};

/// Bytes of a user's name in UTF-8, at most.
pub const MAX_USER: usize = 128;

/// Who a verified token stands for, until when, and what it allows. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Identity {
    /// The token's `sub`: 1 to [`MAX_USER`] bytes without control characters.
    pub user: Arc<str>,
    /// From when on the token is no longer accepted, in Unix milliseconds: its `exp` and the leeway. Below 2⁵³.
    pub expires_at: u64,
    /// When it was issued, in Unix milliseconds: its `iat`. 0 if it does not say.
    pub issued_at: u64,
    /// The token's own name, its `jti`.
    pub token: Option<Arc<str>>,
    /// The login that it came from. Only tokens of this server's own have one.
    pub session: Option<Arc<str>>,
    /// What it allows in implicit channels.
    pub grants: Grants,
    /// Whether it says what it allows: then a membership allows no more than that either.
    pub is_narrowed: bool,
    /// Whether it is a backend, by its key: in every explicit channel it counts as an admin, as far as its grants go.
    pub is_backend: bool,
}

impl Identity {
    /// Somebody with these grants, for ever: for tests, and for what acts by itself.
    pub fn new(user: &str, grants: Grants) -> Self {
        Self {
            user: user.into(),
            expires_at: u64::MAX,
            issued_at: 0,
            token: None,
            session: None,
            grants,
            is_narrowed: true,
            is_backend: false,
        }
    }
}

/// Whether `user` can be a user's name.
pub(crate) fn is_user(user: &str) -> bool {
    (1..=MAX_USER).contains(&user.len()) && !user.contains(char::is_control)
}
