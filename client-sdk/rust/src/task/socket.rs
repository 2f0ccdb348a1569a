//! The WebSocket: whole messages in and out, reading and writing at once. Knows no frames.

use std::{
    future::poll_fn,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use futures_util::{SinkExt, StreamExt};
use hubbub_protocol::Format;
use tokio::net::TcpStream;
use tokio_tungstenite::{
    MaybeTlsStream, WebSocketStream, connect_async_with_config,
    tungstenite::{
        Message, Utf8Bytes,
        client::IntoClientRequest,
        http::{HeaderValue, header::SEC_WEBSOCKET_PROTOCOL},
        protocol::{CloseFrame, WebSocketConfig, frame::coding::CloseCode},
    },
};
use url::Url;

use crate::{Error, ProtocolError, TransportError};

/// Bytes read at once; allocated for each connection, so a program may hold thousands.
const READ_BUFFER: usize = 8 << 10;
/// Bytes of one message from the server: its whole outbox may come as one.
const MAX_MESSAGE: usize = 16 << 20;
/// How long the end of a closing handshake is waited for.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(2);

/// What happened on the socket.
#[derive(Debug)]
pub(super) enum Heard {
    /// Frames.
    Message(Bytes),
    /// A ping or pong: a sign of life.
    Life,
    /// What was being written is with the kernel.
    Written,
    /// A Close frame.
    Close { code: u16, reason: String },
}

/// One open WebSocket. At most one message is being written at a time, so what waits is bounded.
#[derive(Debug)]
pub(super) struct Socket {
    stream: WebSocketStream<MaybeTlsStream<TcpStream>>,
    format: Format,
    writing: bool,
    /// Why writing failed: what the server still said is read first, a Close frame above all.
    broken: Option<TransportError>,
}

impl Socket {
    /// Connects and upgrades.
    pub async fn open(url: &Url, format: Format) -> Result<Self, Error> {
        let mut request = url.as_str().into_client_request().map_err(TransportError::from)?;
        request.headers_mut().insert(SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static(format.subprotocol()));
        let config = WebSocketConfig::default()
            .read_buffer_size(READ_BUFFER)
            .write_buffer_size(0)
            .max_message_size(Some(MAX_MESSAGE))
            .max_frame_size(Some(MAX_MESSAGE));
        let disable_nagle = true;
        let (stream, _) = connect_async_with_config(request, Some(config), disable_nagle).await.map_err(TransportError::from)?;
        Ok(Self { stream, format, writing: false, broken: None })
    }

    /// Whether [`Self::write`] may be called.
    pub fn idle(&self) -> bool {
        !self.writing && self.broken.is_none()
    }

    /// Starts to write a message, which [`Self::next`] goes on with.
    pub async fn write(&mut self, bytes: Vec<u8>) -> Result<(), Error> {
        let message = match self.format {
            Format::Msgpack => Message::Binary(bytes.into()),
            // JSON frames are UTF-8: they were written from strings.
            Format::Json => Message::Text(
                Utf8Bytes::try_from(Bytes::from(bytes))
                    .map_err(|error| TransportError::from(tokio_tungstenite::tungstenite::Error::from(error)))?,
            ),
        };
        self.writing = true;
        match self.stream.feed(message).await {
            Ok(()) => {}
            Err(error) => self.broken = Some(error.into()),
        }
        Ok(())
    }

    /// What happens next. Nothing is lost if the future is dropped.
    pub async fn next(&mut self) -> Result<Heard, Error> {
        poll_fn(|cx| self.poll_next(cx)).await
    }

    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Result<Heard, Error>> {
        if self.writing
            && let Poll::Ready(flushed) = self.stream.poll_flush_unpin(cx)
        {
            self.writing = false;
            match flushed {
                Ok(()) => return Poll::Ready(Ok(Heard::Written)),
                Err(error) => self.broken = Some(error.into()),
            }
        }
        let message = match std::task::ready!(self.stream.poll_next_unpin(cx)) {
            Some(Ok(message)) => message,
            Some(Err(error)) => return Poll::Ready(Err(self.broken.take().unwrap_or(error.into()).into())),
            None => return Poll::Ready(Err(self.broken.take().unwrap_or(TransportError::Ended).into())),
        };
        Poll::Ready(match (message, self.format) {
            (Message::Binary(bytes), Format::Msgpack) => Ok(Heard::Message(bytes)),
            (Message::Text(text), Format::Json) => Ok(Heard::Message(text.into())),
            (Message::Binary(_) | Message::Text(_), _) => Err(ProtocolError::Format.into()),
            (Message::Ping(_) | Message::Pong(_) | Message::Frame(_), _) => Ok(Heard::Life),
            (Message::Close(Some(frame)), _) => Ok(Heard::Close { code: frame.code.into(), reason: frame.reason.as_str().to_owned() }),
            (Message::Close(None), _) => Ok(Heard::Close { code: CloseCode::Status.into(), reason: String::new() }),
        })
    }

    /// Closes with `code` (1000: by our own will; none: the server has closed) and waits for the end, though not for long.
    pub async fn close(mut self, code: Option<hubbub_protocol::CloseCode>) {
        let ending = async {
            if let Some(code) = code {
                let frame = CloseFrame { code: code.code().into(), reason: Utf8Bytes::from_static(code.reason()) };
                self.stream.close(Some(frame)).await?;
            }
            while let Some(message) = self.stream.next().await {
                message?;
            }
            Ok::<(), tokio_tungstenite::tungstenite::Error>(())
        };
        // A server that does not finish the handshake in time has only itself to blame.
        let _ = tokio::time::timeout(CLOSE_TIMEOUT, ending).await;
    }
}
