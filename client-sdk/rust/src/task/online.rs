//! One connection, from `connect`'s reply to its end: a thin loop around the session.

use std::{sync::Arc, time::Duration};

use hubbub_protocol::{
    ClientFrame, CloseCode, DecodeError, Format, ServerFrame, ServerFrames,
    frame::{Connected, Disconnect, Refreshed},
};
use tokio::time::{Instant, sleep_until};

use super::{
    Closing, Lost, Task,
    renewal::Renewal,
    socket::{Heard, Socket},
};
use crate::{
    Error, ProtocolError, TransportError,
    batch::Batch,
    clock::ServerClock,
    session::Then,
    token::{BoxError, Tokens},
};

/// The longest silence that is waited for, whatever the server says.
const MAX_SILENCE: Duration = Duration::from_secs(24 * 3_600);

/// What one connection knows beside the session.
struct Connection {
    socket: Socket,
    connected: Arc<Connected>,
    clock: ServerClock,
    renewal: Renewal,
    /// Since when there has been silence, and how much of it is too much.
    heard: Instant,
    silence: Duration,
    /// What the server said before it closes.
    farewell: Option<Disconnect>,
    /// The `refresh` to be written as soon as the socket is idle, before anything of the session's.
    first: Option<Vec<u8>>,
}

impl Task {
    /// Runs the connection to its end, by the server's will or by accident.
    pub(super) async fn online(&mut self, socket: Socket, connected: Arc<Connected>, rest: Vec<ServerFrame>) -> Result<Lost, Closing> {
        let now = Instant::now();
        let life = Duration::from_millis(connected.expires_at.saturating_sub(connected.time));
        let silence = Duration::from_millis(connected.heartbeat.saturating_add(connected.grace)).min(MAX_SILENCE);
        let renewal = Renewal::new(&self.settings.tokens, now, life);
        let clock = ServerClock::new(connected.time, now);
        let mut connection = Connection { socket, connected, clock, renewal, heard: now, silence, farewell: None, first: None };
        let begun = rest.into_iter().try_for_each(|frame| self.frame(&mut connection, frame));
        let served = match begun {
            Ok(()) => self.serve(&mut connection).await,
            Err(error) => Err(error),
        };
        let Err(error) = served else {
            connection.socket.close(Some(CloseCode::Normal)).await;
            return Err(Closing);
        };
        let lost = match (connection.farewell, error) {
            (Some(farewell), _) => Lost::disconnected(farewell),
            (None, Error::Disconnected { code, reason }) => Lost::closed(code, reason),
            (None, error) => error.into(),
        };
        if let Error::Disconnected { .. } = lost.error {
            connection.socket.close(None).await;
        }
        Ok(lost)
    }

    /// Returns when the client is to be closed, or with what ended the connection.
    async fn serve(&mut self, connection: &mut Connection) -> Result<(), Error> {
        let timer = sleep_until(Instant::now());
        tokio::pin!(timer);
        loop {
            let now = Instant::now();
            let format = self.settings.format;
            if connection.socket.idle()
                && let Some(message) =
                    connection.first.take().or_else(|| self.session.next_message(format, connection.connected.limits.frame, now))
            {
                connection.socket.write(message).await?;
            }
            let wake = connection.deadline().min(self.session.next_deadline(now));
            // Deadlines mostly move away: the timer is set again when it rings, or must ring earlier.
            if wake < timer.deadline() || timer.is_elapsed() {
                timer.as_mut().reset(wake);
            }
            tokio::select! {
                heard = connection.socket.next() => {
                    match heard? {
                        Heard::Message(message) => self.message(connection, format, &message)?,
                        Heard::Close { code, reason } => return Err(Error::Disconnected { code, reason }),
                        Heard::Life => connection.heard = Instant::now(),
                        Heard::Written => {}
                    }
                }
                received = self.inbox.next(self.session.room()) => {
                    if self.received(received) == Then::Close {
                        return Ok(());
                    }
                }
                token = connection.renewal.token() => self.refresh(connection, token),
                () = &mut timer => {
                    let now = Instant::now();
                    if now >= connection.heard + connection.silence {
                        return Err(TransportError::Silent.into());
                    }
                    connection.renewal.begin(&self.settings.tokens, now);
                    self.session.tick(now);
                }
            }
        }
    }

    fn message(&mut self, connection: &mut Connection, format: Format, message: &[u8]) -> Result<(), Error> {
        connection.heard = Instant::now();
        for frame in ServerFrames::new(format, message) {
            let frame = match frame {
                Ok(frame) => frame,
                Err(fatal @ DecodeError::Fatal(_)) => return Err(ProtocolError::Frame(fatal).into()),
                Err(error) => {
                    // A lost entry shows as a gap, a lost answer as a timeout.
                    tracing::warn!(%error, "the server sent a frame that cannot be read");
                    continue;
                }
            };
            self.frame(connection, frame)?;
        }
        Ok(())
    }

    fn frame(&mut self, connection: &mut Connection, frame: ServerFrame) -> Result<(), Error> {
        let Some(frame) = connection.refreshed(&self.settings.tokens, frame) else { return Ok(()) };
        if let Some(disconnect) = self.session.frame(frame, connection.heard)? {
            connection.farewell = Some(disconnect);
        }
        Ok(())
    }

    fn refresh(&mut self, connection: &mut Connection, token: Result<String, BoxError>) {
        let now = Instant::now();
        match token {
            Ok(token) => {
                let id = self.session.ids.next();
                let mut batch = Batch::new(self.settings.format, connection.connected.limits.frame);
                match batch.push(&ClientFrame::Refresh { id, token }) {
                    Ok(()) => {
                        connection.first = batch.finish();
                        connection.renewal.request = Some(id);
                    }
                    Err(_) => connection.renewal.failed(now),
                }
            }
            Err(error) => {
                tracing::warn!(%error, "the token provider failed");
                connection.renewal.failed(now);
            }
        }
    }
}

impl Connection {
    /// When the connection itself has something to do.
    fn deadline(&self) -> Instant {
        let silent = self.heard + self.silence;
        self.renewal.due.map_or(silent, |due| due.min(silent))
    }

    /// Takes the answer to `refresh`; gives back every other frame.
    fn refreshed(&mut self, tokens: &Tokens, frame: ServerFrame) -> Option<ServerFrame> {
        let refresh = self.renewal.request;
        match frame {
            ServerFrame::Reply { id, result } if refresh == Some(id) => {
                match result.read::<Refreshed>() {
                    Some(refreshed) => {
                        let life = Duration::from_millis(refreshed.expires_at.saturating_sub(self.clock.unix_ms(self.heard)));
                        self.renewal = Renewal::new(tokens, self.heard, life);
                    }
                    None => self.renewal.failed(self.heard),
                }
                None
            }
            ServerFrame::Error { id, error } if refresh.is_some() && refresh == id => {
                tracing::warn!(code = error.code, "the server refused a refresh: {}", error.message);
                self.renewal.failed(self.heard);
                None
            }
            frame => Some(frame),
        }
    }
}
