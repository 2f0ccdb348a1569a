//! Who is asking: the extractor that makes a handler's signature its access rule.

use axum::extract::{FromRef, FromRequestParts};
use http::{HeaderMap, header, request::Parts};
use hubbub_protocol::ErrorCode;

use super::Problem;
use crate::{access::backends, auth::Identity, session::Backend};

use std::sync::Arc;

/// A caller with a token that verifies, and was not revoked.
#[derive(Debug, Clone)]
pub struct Caller(pub Identity);

/// A caller who is no backend. Keys are for REST: what they open would go on when they are revoked.
#[derive(Debug, Clone)]
pub struct Somebody(pub Identity);

/// Whom this request's credentials stand for: whoever asks first has verified them for the others.
#[derive(Debug, Clone)]
pub(super) struct Known(pub(super) Identity);

/// The token of `Authorization: Bearer …`.
pub fn bearer(headers: &HeaderMap) -> Option<&str> {
    let (scheme, token) = headers.get(header::AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

impl<S> FromRequestParts<S> for Caller
where
    Arc<Backend>: FromRef<S>,
    S: Send + Sync,
{
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let backend = Arc::<Backend>::from_ref(state);
        let token = bearer(&parts.headers)
            .ok_or_else(|| Problem::new(ErrorCode::Unauthorized, "send a token in the header `Authorization: Bearer …`"))?;
        if let Some(Known(identity)) = parts.extensions.get() {
            backend.access.admits(identity)?;
            return Ok(Self(identity.clone()));
        }
        let identity = if token.starts_with(backends::PREFIX) {
            let found = backend.access.backend(token).await?;
            found.ok_or_else(|| Problem::new(ErrorCode::Unauthorized, "the API key is wrong, over or revoked"))?
        } else {
            backend.identify(token).map_err(|error| Problem::new(error.code(), error.to_string()))?
        };
        backend.access.admits(&identity)?;
        parts.extensions.insert(Known(identity.clone()));
        Ok(Self(identity))
    }
}

impl<S> FromRequestParts<S> for Somebody
where
    Arc<Backend>: FromRef<S>,
    S: Send + Sync,
{
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        match Caller::from_request_parts(parts, state).await? {
            Caller(identity) if identity.is_backend => {
                Err(Problem::new(ErrorCode::Unauthorized, "API keys open no sessions: this takes a user's token"))
            }
            Caller(identity) => Ok(Self(identity)),
        }
    }
}
