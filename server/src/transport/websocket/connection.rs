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
    tungstenite::{Error, Message, error::ProtocolError},
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
    /// Rights may have changed.
    fn review(&mut self) -> impl Future<Output = ()> + Send {
        std::future::ready(())
    }
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

    async fn review(&mut self) {
        Client::review(self).await;
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
            Event::Drive(Drive::Review) => {
                peer.review().await;
                dirty = true;
            }
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
        Error::Protocol(ProtocolError::ResetWithoutClosingHandshake) => None,
        Error::Protocol(_) => Some(CloseCode::WebSocketProtocol),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        net::{TcpListener, TcpStream},
        task::JoinHandle,
    };

    use super::*;
    use crate::{
        hub::{Sink, Wire, close},
        session::Vitals,
        transport::websocket::accept,
        world::Clock,
    };

    struct Silent;

    impl Peer for Silent {
        async fn message(&mut self, _: Message) {}
        fn poll_answers(&mut self, _: &mut Context<'_>) -> Poll<()> {
            Poll::Pending
        }
        fn is_waiting(&self) -> bool {
            false
        }
        async fn room(&mut self) {}
        fn beat(&mut self) {}
    }

    /// The peer's end of a connection, and how it will have ended.
    async fn connection() -> (TcpStream, JoinHandle<Ended>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let peer = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (stream, _) = listener.accept().await.unwrap();
        let outbox = Outbox::new(Sink::Socket(stream), Wire::Socket(Format::Json), 1 << 20);
        let vitals = Arc::new(Vitals::new(0));
        let ended = tokio::spawn(async move {
            let socket = accept(outbox.clone(), vitals, Clock::System, Vec::new(), 1 << 10).await;
            drive(socket, outbox, &mut Silent).await
        });
        (peer, ended)
    }

    async fn heard(peer: &mut TcpStream) -> Vec<u8> {
        let mut bytes = Vec::new();
        peer.read_to_end(&mut bytes).await.unwrap();
        bytes
    }

    #[tokio::test]
    async fn a_close_is_answered_with_its_code() {
        let (mut peer, ended) = connection().await;
        // 1000, under a mask of zeros.
        peer.write_all(&[0x88, 0x82, 0, 0, 0, 0, 0x03, 0xe8]).await.unwrap();
        assert_eq!(heard(&mut peer).await, [0x88, 0x02, 0x03, 0xe8]);
        drop(peer);
        assert_eq!(ended.await.unwrap(), Ended::Closed(CloseCode::Normal));
    }

    #[tokio::test]
    async fn a_peer_that_leaves_without_a_word_broke_no_rule() {
        let (mut peer, ended) = connection().await;
        peer.shutdown().await.unwrap();
        assert!(heard(&mut peer).await.is_empty());
        drop(peer);
        assert_eq!(ended.await.unwrap(), Ended::Broken);
    }

    #[tokio::test]
    async fn what_nobody_reads_after_a_violation_does_not_lose_the_close_frame() {
        let (mut peer, ended) = connection().await;
        // A frame that is not masked, and much more.
        peer.write_all(&[0x82, 0x01, 0x00]).await.unwrap();
        peer.write_all(&[0; 1 << 20]).await.unwrap();
        assert_eq!(heard(&mut peer).await, close(CloseCode::WebSocketProtocol));
        drop(peer);
        assert_eq!(ended.await.unwrap(), Ended::Closed(CloseCode::WebSocketProtocol));
    }

    #[tokio::test]
    async fn a_message_that_is_too_long_is_refused_by_its_header() {
        let (mut peer, ended) = connection().await;
        peer.write_all(&[0x82, 0xfe, 0x04, 0x01, 0, 0, 0, 0]).await.unwrap();
        assert_eq!(heard(&mut peer).await, close(CloseCode::TooLarge));
        drop(peer);
        assert_eq!(ended.await.unwrap(), Ended::Closed(CloseCode::TooLarge));
    }
}
