//! Hearing of what was published inside other transactions: `hubbub_publish(…, notify => true)`.

use std::time::Duration;

use sqlx::postgres::{PgConnectOptions, PgListener};

use super::{Postgres, pool};

/// The channel of NOTIFY.
const TOPIC: &str = "hubbub";
/// Before a connection that broke is made again.
const PAUSE: Duration = Duration::from_secs(1);

/// Tells when it is worth to look before the next look is due. Without it everything is found by the look all the same, a little later.
#[derive(Debug)]
pub struct Notices {
    postgres: Postgres,
    listener: Option<PgListener>,
}

impl Notices {
    pub(in crate::store) fn new(postgres: &Postgres) -> Self {
        Self { postgres: postgres.clone(), listener: None }
    }

    /// Waits for the next notice; those that come together are one. Also when the connection was made, or made again: what was said
    /// meanwhile was not heard. A call that is dropped loses nothing.
    pub async fn next(&mut self) {
        loop {
            let heard = match &mut self.listener {
                Some(listener) => listener.try_recv().await.map(drop),
                None => self.connect().await,
            };
            let Err(error) = heard else { break };
            tracing::debug!(%error, "not listening to the database");
            // Some failures leave the listener with a connection that stays broken.
            self.listener = None;
            tokio::time::sleep(PAUSE).await;
        }
        while self.listener.as_mut().is_some_and(|listener| listener.next_buffered().is_some()) {}
    }

    async fn connect(&mut self) -> Result<(), sqlx::Error> {
        // It keeps its connection for as long as it lives: not one of those that read.
        let own = pool(1).idle_timeout(None).max_lifetime(None).connect_lazy_with(PgConnectOptions::clone(&self.postgres.options));
        let mut listener = PgListener::connect_with(&own).await?;
        listener.listen(TOPIC).await?;
        self.listener = Some(listener);
        Ok(())
    }
}
