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
        if token.starts_with(backends::PREFIX) {
            let found = backend.access.backend(token).await?;
            return found.map(Self).ok_or_else(|| Problem::new(ErrorCode::Unauthorized, "the API key is wrong, over or revoked"));
        }
        let identity = backend.identify(token).map_err(|error| Problem::new(error.code(), error.to_string()))?;
        backend.access.admits(&identity)?;
        Ok(Self(identity))
    }
}
