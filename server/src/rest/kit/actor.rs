//! Who asks, from where, in which request: what use cases that leave a trace work with.

use std::{net::IpAddr, sync::Arc};

use axum::extract::{FromRef, FromRequestParts};
use http::request::Parts;

use crate::{
    access::By,
    auth::Identity,
    http::{Caller, Peer, Problem, RequestId},
    session::Backend,
    store::audit::Trace,
};

/// A caller with good credentials, and the request's circumstances.
#[derive(Debug, Clone)]
pub struct Actor {
    /// Who.
    pub identity: Identity,
    /// From where.
    pub address: IpAddr,
    /// What the audit log says of whoever asks.
    pub trace: Trace,
}

impl Actor {
    /// What use cases are told of it.
    pub fn by(&self) -> By<'_> {
        By { identity: &self.identity, trace: &self.trace }
    }

    /// The user's id.
    pub fn user(&self) -> &str {
        &self.identity.user
    }
}

impl<S> FromRequestParts<S> for Actor
where
    Arc<Backend>: FromRef<S>,
    S: Send + Sync,
{
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let Caller(identity) = Caller::from_request_parts(parts, state).await?;
        let Peer(address) = Peer::from_request_parts(parts, state).await?;
        let request = parts.extensions.get::<RequestId>().map(|id| id.0.clone()).unwrap_or_default();
        let trace = Trace { actor: identity.user.to_string(), address: address.to_string(), request };
        Ok(Self { identity, address, trace })
    }
}
