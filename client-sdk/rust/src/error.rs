//! What can go wrong, and what the caller does about it.

use std::sync::Arc;

use hubbub_protocol::{ChannelName, DecodeError, MessageId, PayloadError, frame::ErrorBody};
use thiserror::Error;

use crate::UrlError;

/// Why a request failed, a connection was lost, or a client has ended.
#[derive(Debug, Clone, Error)]
pub enum Error {
    /// The address cannot be connected to. Build the client with another one.
    #[error("the address is not usable: {0}")]
    InvalidUrl(#[from] UrlError),
    /// The payload is not what every format can carry; nothing was sent. Send another payload.
    #[error("the payload cannot be sent: {0}")]
    Payload(#[from] PayloadError),
    /// This client listens to that channel already. Use its subscription, or drop it first.
    #[error("this client is already subscribed to {0}")]
    AlreadySubscribed(ChannelName),
    /// The server refused. Change the request: whatever could be cured by trying again has been tried.
    #[error("the server refused: {} ({})", .0.message, .0.code)]
    Server(ErrorBody),
    /// The publish's time is over and no answer came: it may or may not have been stored. Publish the same message
    /// again with this id ([`crate::Message::message_id`]): that never doubles it in a durable channel.
    #[error("no answer to the publish in time; publish again with the message id {message_id}")]
    Timeout {
        /// The id that every attempt carried.
        message_id: MessageId,
    },
    /// The publish's time is over and it was never sent, for want of a connection. Publish it again when
    /// [`crate::Client::ready`] says so.
    #[error("there was no connection in time; the message was not sent")]
    Unsent,
    /// No answer to a `history`, `presence` or `ping` in time. Ask again.
    #[error("no answer in time; ask again")]
    NoAnswer,
    /// The client was closed by [`crate::Client::close`]. Build another one.
    #[error("the client was closed")]
    Closed,
    /// The server closed the connection. As a client's end: its `code` forbids to come back unchanged
    /// (PROTOCOL.md section 7); otherwise the client reconnects by itself.
    #[error("the server closed the connection: {reason} ({code})")]
    Disconnected {
        /// The WebSocket close code.
        code: u16,
        /// The reason in the Close frame, for people.
        reason: String,
    },
    /// The connection could not be made, or broke. The client reconnects by itself; ask again what it cut off.
    #[error(transparent)]
    Transport(#[from] TransportError),
    /// The server said what `hubbub.v1` does not allow. The client reconnects by itself; if it goes on, the address is
    /// probably not that of a Hubbub server.
    #[error(transparent)]
    Protocol(#[from] ProtocolError),
    /// The token provider failed. It is asked again, with a growing pause.
    #[error("the token provider failed: {0}")]
    Token(#[source] Arc<dyn std::error::Error + Send + Sync>),
}

/// What happened to a connection.
#[derive(Debug, Clone, Error)]
pub enum TransportError {
    /// The socket or the WebSocket upgrade failed.
    #[error("the connection failed: {0}")]
    WebSocket(#[source] Arc<tokio_tungstenite::tungstenite::Error>),
    /// No connection, with `connect` answered, within 10 s.
    #[error("connecting took longer than 10 s")]
    ConnectTimeout,
    /// Nothing was heard for the server's heartbeat and its grace.
    #[error("the server has fallen silent")]
    Silent,
    /// The connection ended without a Close frame.
    #[error("the connection ended without a Close frame")]
    Ended,
}

impl From<tokio_tungstenite::tungstenite::Error> for TransportError {
    fn from(error: tokio_tungstenite::tungstenite::Error) -> Self {
        TransportError::WebSocket(Arc::new(error))
    }
}

/// What the server did wrong.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ProtocolError {
    /// Bytes that are not frames.
    #[error("the server sent what is not a frame: {0}")]
    Frame(#[from] DecodeError),
    /// A text message where binary was agreed, or the reverse.
    #[error("the server sent a message of the other format")]
    Format,
    /// A `reply` whose result is not what the request's type has.
    #[error("the server's answer is not one to the request")]
    Result,
}
