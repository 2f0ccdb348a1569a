//! One connection's task: it reads messages, hands them to a peer, and does what the outbox leaves to it.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use futures_util::Stream;
use hubbub_protocol::{CloseCode, Format};
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{Error, Message},
};

use super::Half;
use crate::{
    hub::{Drive, Outbox},
    session::Client,
    telemetry::Ended,
};

/// How long the last bytes may take to leave, and the peer to end the connection, after both sides have said Close.
const LINGER: Duration = Duration::from_secs(2);

/// What a connection talks to: a session, or an echo in a conformance test.
pub trait Peer {
    /// A whole message came.
    fn message(&mut self, message: Message) -> impl Future<Output = ()> + Send;
    /// Answers that come later; ready if there are new ones in the outbox.
    fn poll_answers(&mut self, cx: &mut Context<'_>) -> Poll<()>;
    /// Whether answers are still to come.
    fn is_waiting(&self) -> bool;
    /// The outbox has room again.
    fn room(&mut self) -> impl Future<Output = ()> + Send;
    /// A heartbeat is due.
    fn beat(&mut self);
}

impl Peer for Client {
    async fn message(&mut self, message: Message) {
        match (self.format(), message) {
            (Format::Msgpack, Message::Binary(bytes)) => Client::message(self, &bytes).await,
            (Format::Json, Message::Text(text)) => Client::message(self, text.as_bytes()).await,
            (_, Message::Binary(_) | Message::Text(_)) => self.close(CloseCode::Unsupported),
            // tungstenite answers pings and Close; pongs only show that the peer lives.
            _ => {}
        }
    }

    fn poll_answers(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        Client::poll_answers(self, cx)
    }

    fn is_waiting(&self) -> bool {
        Client::is_waiting(self)
    }

    async fn room(&mut self) {
        self.catch_up().await;
    }

    fn beat(&mut self) {
        self.heartbeat();
    }
}

enum Event {
    Message(Message),
    Failed(Error),
    Ended,
    Drive(Drive),
}

/// Runs a connection to its end, and tells how it ended. The peer has heard everything when this returns.
pub async fn drive<P: Peer>(mut socket: WebSocketStream<Half>, outbox: Arc<Outbox>, peer: &mut P) -> Ended {
    let mut said = None;
    let mut dirty = false;
    loop {
        let event = std::future::poll_fn(|cx| {
            if let Poll::Ready(drive) = outbox.poll_drive(cx) {
                return Poll::Ready(Event::Drive(drive));
            }
            dirty |= peer.poll_answers(cx).is_ready();
            let message = match Pin::new(&mut socket).poll_next(cx) {
                Poll::Ready(Some(Ok(message))) => Poll::Ready(Event::Message(message)),
                Poll::Ready(Some(Err(error))) => Poll::Ready(Event::Failed(error)),
                Poll::Ready(None) => Poll::Ready(Event::Ended),
                Poll::Pending => Poll::Pending,
            };
            // Once for all messages that were there to be read.
            if message.is_pending() && std::mem::take(&mut dirty) {
                outbox.flush();
                if let Poll::Ready(drive) = outbox.poll_drive(cx) {
                    return Poll::Ready(Event::Drive(drive));
                }
            }
            message
        })
        .await;
        match event {
            Event::Message(Message::Close(frame)) => said = Some(frame.map_or(1005, |frame| frame.code.into())),
            Event::Message(_) if outbox.is_closing() => {}
            Event::Message(message) => {
                peer.message(message).await;
                dirty = true;
            }
            Event::Failed(error) => match violation(&error) {
                // Once: what comes after a violation cannot be read.
                Some(code) if !outbox.is_closing() => {
                    outbox.close(code, None);
                    break;
                }
                _ => break,
            },
            Event::Ended => break,
            Event::Drive(Drive::Room) => {
                peer.room().await;
                dirty = true;
            }
            Event::Drive(Drive::Beat) => peer.beat(),
            Event::Drive(Drive::Retire(reconnect_after)) => {
                while peer.is_waiting() && !outbox.is_closing() {
                    std::future::poll_fn(|cx| peer.poll_answers(cx)).await;
                }
                outbox.close(CloseCode::Draining, Some(reconnect_after));
            }
            Event::Drive(Drive::Over) => return ended(outbox.code(), said),
        }
    }
    finish(&outbox).await;
    ended(outbox.code(), said)
}

/// Lets the last bytes leave, and the peer end the connection: what it has sent and nobody reads would reset it, Close and all.
async fn finish(outbox: &Outbox) {
    outbox.flush();
    let goodbye = async {
        std::future::poll_fn(|cx| match outbox.poll_drive(cx) {
            Poll::Ready(Drive::Over) => Poll::Ready(()),
            // Nobody pulls and nobody beats any more.
            _ if outbox.is_empty() => Poll::Ready(()),
            _ => Poll::Pending,
        })
        .await;
        let Some(stream) = outbox.stream() else { return };
        let _ = socket2::SockRef::from(stream).shutdown(std::net::Shutdown::Write);
        let mut rest = [0; 512];
        while stream.readable().await.is_ok() {
            match stream.try_read(&mut rest) {
                Ok(0) => return,
                Err(error) if error.kind() != std::io::ErrorKind::WouldBlock => return,
                _ => {}
            }
        }
    };
    let _ = tokio::time::timeout(LINGER, goodbye).await;
    outbox.abort(None);
}

fn ended(ours: Option<CloseCode>, theirs: Option<u16>) -> Ended {
    let known = |code: u16| CloseCode::ALL.iter().copied().find(|known| known.code() == code);
    match (ours, theirs) {
        (Some(code), _) => Ended::Closed(code),
        (None, Some(code)) => Ended::Closed(known(code).unwrap_or(CloseCode::Normal)),
        (None, None) => Ended::Broken,
    }
}

/// The close code for what the peer did wrong; `None` if the connection is simply gone.
fn violation(error: &Error) -> Option<CloseCode> {
    match error {
        Error::Capacity(_) => Some(CloseCode::TooLarge),
        Error::Utf8(_) => Some(CloseCode::InvalidText),
        Error::Protocol(_) => Some(CloseCode::WebSocketProtocol),
        _ => None,
    }
}
