//! What every transport works with.

use std::sync::Arc;

use http::HeaderMap;
use hubbub_protocol::ErrorCode;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;

use super::Connections;
use crate::{
    auth::Identity,
    http::{Problem, bearer},
    session::Backend,
    tasks::Tasks,
};

/// What every transport works with. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Endpoint {
    /// Sessions.
    pub backend: Arc<Backend>,
    /// Open connections.
    pub connections: Arc<Connections>,
    /// Places for connections that are nobody yet.
    pub admission: Arc<Semaphore>,
    /// Spawns connections.
    pub tasks: Tasks,
    /// Cancelled when no new connection is welcome.
    pub draining: CancellationToken,
}

impl Endpoint {
    /// Refuses what is new while this instance shuts down.
    pub(super) fn welcome(&self) -> Result<(), Problem> {
        match self.draining.is_cancelled() {
            true => Err(Problem::new(ErrorCode::Draining, "this instance is shutting down")),
            false => Ok(()),
        }
    }

    /// Whom the `Authorization` header names, if there is one.
    pub(super) fn identity(&self, headers: &HeaderMap) -> Result<Option<Identity>, Problem> {
        let Some(token) = bearer(headers) else { return Ok(None) };
        let identity = self.backend.identify(token);
        let identity = identity.map_err(|error| Problem::new(error.code(), error.to_string()))?;
        self.backend.access.admits(&identity)?;
        Ok(Some(identity))
    }

    /// A place for a connection that is nobody yet.
    pub(super) fn admit(&self) -> Result<OwnedSemaphorePermit, Problem> {
        let full = |_| Problem::new(ErrorCode::Overloaded, "too many connections have not authenticated yet");
        self.admission.clone().try_acquire_owned().map_err(full)
    }
}
