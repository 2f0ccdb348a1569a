//! How a session begins, and ends.

use std::sync::Arc;

use bytes::Bytes;
use hubbub_protocol::CloseCode;
use tokio::sync::OwnedSemaphorePermit;

use super::{
    Plain,
    polls::Polls,
    pump,
    upstream::{Posts, Upstream},
};
use crate::{
    auth::Identity,
    hub::{Outbox, Sink, Wire, retry_after},
    session::{Client, Trail, Vitals},
    telemetry::{Ended, Transport},
    transport::Connection,
};

/// How long an `EventSource` waits before it reconnects, in milliseconds: a random time between the two, so that those who were cut
/// together come back apart.
pub(super) const RETRY_MS: [u64; 2] = [250, 1_500];

/// How a session's bytes go down.
#[derive(Debug)]
pub(super) enum Way {
    /// As a stream of events, to a client that says itself where it stands.
    Events,
    /// The same, to one that is told where it stands.
    Native(Arc<Trail>),
    /// In batches.
    Polls,
}

impl Plain {
    /// Opens a session of `identity`, whose first frames are `opening`.
    pub(super) fn open(self: &Arc<Self>, identity: Identity, opening: Bytes, way: Way, admission: OwnedSemaphorePermit) -> Arc<Upstream> {
        let backend = &self.endpoint.backend;
        let vitals = Arc::new(Vitals::new(backend.world.clock.elapsed()));
        let outbox = Outbox::new(Sink::task(), Wire::Events, backend.config.session.outbox);
        let mut client = Client::new(backend.clone(), outbox.clone(), vitals.clone(), Some(identity.clone()), admission);
        let mut polls = None;
        let transport = match way {
            Way::Events => Transport::Events,
            Way::Native(trail) => {
                client = client.with_trail(trail);
                Transport::Native
            }
            Way::Polls => {
                polls = Some(Polls::default());
                Transport::Polls
            }
        };
        if polls.is_none() {
            outbox.push(self.retry());
        }
        let (session, posts) = Upstream::new(&identity, outbox, vitals, polls);
        self.sessions.insert(client.id(), session.clone());
        let connection = Connection { outbox: session.outbox.clone(), vitals: session.vitals.clone(), transport };
        let number = self.endpoint.connections.add(connection);
        if self.endpoint.draining.is_cancelled() {
            // Those that were there have been told already.
            session.outbox.retire(backend.world.chance.below(RETRY_MS[1]));
        }
        self.endpoint.tasks.spawn(self.clone().serve(number, client, session.clone(), posts, opening));
        session
    }

    /// Tells an `EventSource` when to come back.
    pub(super) fn retry(&self) -> Bytes {
        let [least, most] = RETRY_MS;
        retry_after(least + self.endpoint.backend.world.chance.below(most - least))
    }

    async fn serve(self: Arc<Self>, number: u64, mut client: Client, session: Arc<Upstream>, posts: Posts, opening: Bytes) {
        let outbox = &session.outbox;
        pump::run(&mut client, &session, posts, opening).await;
        let ended = outbox.code().map_or(Ended::Broken, Ended::Closed);
        if let Ended::Closed(code) = ended
            && code != CloseCode::Normal
        {
            tracing::debug!(session = client.session(), user = client.user(), code = code.code(), reason = code.reason(), "closed");
        }
        self.sessions.remove(&client.id());
        // Boxed: an idle connection should not hold room for its end.
        Box::pin(client.leave()).await;
        self.endpoint.connections.remove(number, ended);
    }
}
