//! The one task that owns a client's connection: connects, serves, waits, connects again, until the client ends.

mod online;
mod open;
mod renewal;
mod socket;

use std::{future::Future, sync::Arc, time::Duration};

use hubbub_protocol::{
    Retry,
    frame::{Disconnect, ErrorBody},
};
use tokio::{
    sync::watch,
    time::{Instant, sleep, sleep_until},
};

use open::Opened;

use crate::{
    Error, State,
    begun::Starts,
    builder::Settings,
    inbox::{Control, Inbox, Received},
    session::{Session, Then},
    state::{Counters, count},
    subscriptions::STABLE_AFTER,
};

/// Everything the task owns.
struct Task {
    settings: Arc<Settings>,
    inbox: Inbox,
    session: Session,
    state: watch::Sender<State>,
    counters: Arc<Counters>,
}

/// Why there is no connection, and when there may be another.
struct Lost {
    error: Error,
    retry: Retry,
    not_before: Option<Duration>,
}

impl Lost {
    fn refused(error: ErrorBody) -> Self {
        Self { retry: error.retry, not_before: error.retry_after.map(Duration::from_millis), error: Error::Server(error) }
    }

    fn closed(code: u16, reason: String) -> Self {
        Self { error: Error::Disconnected { code, reason }, retry: Retry::after_close(code), not_before: None }
    }

    fn disconnected(disconnect: Disconnect) -> Self {
        Self {
            error: Error::Disconnected { code: disconnect.code, reason: disconnect.reason },
            retry: disconnect.retry,
            not_before: disconnect.reconnect_after.map(Duration::from_millis),
        }
    }
}

impl From<Error> for Lost {
    /// What broke by accident is tried again.
    fn from(error: Error) -> Self {
        Self { error, retry: Retry::Later, not_before: None }
    }
}

/// The client is to be closed.
struct Closing;

/// Runs a client from its beginning to its end.
pub(crate) async fn run(
    settings: Arc<Settings>,
    starts: Option<Starts>,
    inbox: Inbox,
    state: watch::Sender<State>,
    counters: Arc<Counters>,
) {
    let session = Session::new(settings.backoff, counters.clone(), starts);
    let mut task = Task { settings, inbox, session, state, counters };
    let end = task.live().await;
    tracing::debug!(%end, "the client has ended");
    task.end(end);
}

impl Task {
    /// Returns why it ends.
    async fn live(&mut self) -> Error {
        let settings = self.settings.clone();
        let urls = match &settings.urls {
            Ok(urls) => urls,
            Err(error) => return Error::InvalidUrl(error.clone()),
        };
        // Attempts in a row that led to nothing that lasted.
        let mut failures = 0;
        let mut had_connection = false;
        let mut turn = 0;
        loop {
            let url = &urls[turn];
            turn = (turn + 1) % urls.len();
            self.state.send_replace(State::Connecting { attempt: failures });
            let greeting = self.session.greeting(settings.format);
            let lost = match self.offline(open::open(&settings, url, greeting)).await {
                Err(Closing) => return Error::Closed,
                Ok(Err(lost)) => {
                    self.session.unheard();
                    lost
                }
                Ok(Ok(Opened { socket, connected, rest })) => {
                    count(&self.counters.reconnects, u64::from(had_connection));
                    had_connection = true;
                    let since = Instant::now();
                    self.session.connected(&connected, since);
                    let connected = Arc::new(connected);
                    self.state.send_replace(State::Connected(connected.clone()));
                    let Ok(lost) = self.online(socket, connected, rest).await else { return Error::Closed };
                    if since.elapsed() >= STABLE_AFTER {
                        failures = 0;
                    }
                    self.session.disconnected(&lost.error);
                    lost
                }
            };
            let Some(delay) = self.pause(&lost, failures) else { return lost.error };
            failures += 1;
            tracing::debug!(server = url.authority(), error = %lost.error, ?delay, "not connected");
            self.state.send_replace(State::Waiting { attempt: failures, delay, reason: Arc::new(lost.error) });
            if let Err(Closing) = self.offline(sleep(delay)).await {
                return Error::Closed;
            }
        }
    }

    /// How long to wait before the next attempt; `None` if there is none.
    fn pause(&self, lost: &Lost, failures: u32) -> Option<Duration> {
        let retry = match lost.retry {
            Retry::Refresh if self.settings.tokens.renewable() => Retry::Later,
            retry => retry,
        };
        self.settings.backoff.after(retry, lost.not_before, failures)
    }

    /// Waits for `work` without a connection, and listens to the handles meanwhile.
    async fn offline<F: Future>(&mut self, work: F) -> Result<F::Output, Closing> {
        tokio::pin!(work);
        loop {
            let deadline = self.session.next_deadline(Instant::now());
            tokio::select! {
                output = &mut work => return Ok(output),
                received = self.inbox.next(self.session.room()) => {
                    if self.received(received) == Then::Close {
                        return Err(Closing);
                    }
                }
                () = sleep_until(deadline) => self.session.tick(Instant::now()),
            }
        }
    }

    fn received(&mut self, received: Received) -> Then {
        match received {
            Received::Note(note) => self.session.note(note),
            Received::Control(control) => return self.control(control),
            Received::Publishes => self.inbox.published.drain(..).for_each(|publish| self.session.publish(publish)),
            Received::Abandoned => return Then::Close,
        }
        Then::Continue
    }

    fn control(&mut self, control: Control) -> Then {
        // Who drops a subscription and then subscribes again has said so in that order, by two queues.
        while let Ok(note) = self.inbox.notes.try_recv() {
            self.session.note(note);
        }
        self.session.control(control, Instant::now())
    }

    /// Tells everybody. What is still in the queues is dropped with them, after the state says why.
    fn end(mut self, error: Error) {
        self.session.close(&error);
        self.state.send_replace(State::Closed(Arc::new(error)));
    }
}
