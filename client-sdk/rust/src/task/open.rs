//! From nothing to a connection that has been let in: token, socket, `connect`.

use std::time::Duration;

use hubbub_protocol::{
    ClientFrame, ErrorCode, ServerFrame, ServerFrames,
    frame::{Connect, Connected, ErrorBody},
    limits::MAX_FRAME,
};
use tokio::time::timeout;
use url::Url;

use super::{
    Lost,
    socket::{Heard, Socket},
};
use crate::{Error, ProtocolError, TransportError, batch::Batch, builder::Settings, session::Greeting};

/// How long the whole of it may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// A connection that has been let in.
pub(super) struct Opened {
    pub socket: Socket,
    pub connected: Connected,
    /// What came behind the answer, in the same message.
    pub rest: Vec<ServerFrame>,
}

/// Connects to `url`, says the greeting, and waits for the answer to its `connect`.
pub(super) async fn open(settings: &Settings, url: &Url, greeting: Greeting) -> Result<Opened, Lost> {
    match timeout(CONNECT_TIMEOUT, attempt(settings, url, greeting)).await {
        Ok(outcome) => outcome,
        Err(_) => Err(Error::from(TransportError::ConnectTimeout).into()),
    }
}

async fn attempt(settings: &Settings, url: &Url, greeting: Greeting) -> Result<Opened, Lost> {
    let Greeting { id, auto, subscribes } = greeting;
    let token = settings.tokens.current().await?;
    let mut socket = Socket::open(url, settings.format).await?;
    let mut batch = Batch::new(settings.format, MAX_FRAME as u64);
    let connect = ClientFrame::Connect(Connect { id, token, client: settings.name.clone(), auto });
    batch.push(&connect).map_err(|_| Lost::refused(ErrorBody::new(ErrorCode::Unauthorized, "the token does not fit a frame")))?;
    let mut message = batch.finish().unwrap_or_default();
    message.extend(subscribes);
    socket.write(message).await?;
    loop {
        match socket.next().await? {
            Heard::Message(message) => {
                let mut frames = ServerFrames::new(settings.format, &message);
                while let Some(frame) = frames.next() {
                    match frame.map_err(ProtocolError::Frame).map_err(Error::from)? {
                        ServerFrame::Reply { id: answered, result } if answered == id => {
                            let connected = result.read::<Connected>().ok_or(Error::from(ProtocolError::Result))?;
                            return Ok(Opened { socket, connected, rest: frames.filter_map(Result::ok).collect() });
                        }
                        ServerFrame::Error { id: answered, error } if answered.is_none_or(|answered| answered == id) => {
                            socket.close(None).await;
                            return Err(Lost::refused(error));
                        }
                        ServerFrame::Disconnect(disconnect) => {
                            socket.close(None).await;
                            return Err(Lost::disconnected(disconnect));
                        }
                        _ => {}
                    }
                }
            }
            Heard::Close { code, reason } => {
                socket.close(None).await;
                return Err(Lost::closed(code, reason));
            }
            Heard::Life | Heard::Written => {}
        }
    }
}
