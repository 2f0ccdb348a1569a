//! Sessions over plain HTTP: frames come down as Server-Sent Events (`events`) or by polling (`polls`), and go up in numbered POSTs
//! (`upstream`). A task of its own runs each session (`pump`), whoever is connected to it at the moment.
//!
//! A session lives on one instance, which its name tells; what comes to another one is handed on (`elsewhere`).

mod elsewhere;
mod events;
mod native;
mod open;
mod polls;
mod pump;
mod rights;
mod routes;
mod seal;
mod upstream;

use std::sync::Arc;

use dashmap::DashMap;
use foldhash::quality::FixedState;
use hubbub_protocol::{ErrorCode, MessageId};

use super::Endpoint;
use crate::{broker::Broker, http::Problem, store::Db};
use upstream::Upstream;

pub use native::LIFE_MS;
pub(crate) use routes::router;
pub use seal::{SealError, Sealer};

/// Every session over plain HTTP of this instance, and what they work with. One an instance, shared.
#[derive(Debug)]
pub struct Plain {
    endpoint: Endpoint,
    sessions: DashMap<MessageId, Arc<Upstream>, FixedState>,
    sealer: Sealer,
    db: Db,
    broker: Broker,
}

impl Plain {
    /// No session.
    pub fn new(endpoint: Endpoint, sealer: Sealer, db: Db, broker: Broker) -> Arc<Self> {
        let sessions = DashMap::with_hasher(FixedState::with_seed(endpoint.backend.world.chance.seed()));
        Arc::new(Self { endpoint, sessions, sealer, db, broker })
    }

    fn session(&self, id: MessageId) -> Option<Arc<Upstream>> {
        self.sessions.get(&id).map(|session| session.clone())
    }
}

/// There is no such session, or no more.
fn gone() -> Problem {
    Problem::new(ErrorCode::SessionGone, "this session has ended, or its instance is gone: open another one and resume")
}
