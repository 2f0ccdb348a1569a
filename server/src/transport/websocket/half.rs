//! tungstenite's view of a socket: it reads from it, and writes into the outbox. So pongs and Close frames wait their turn like
//! everything else, and a socket whose outbox is full is still read.

use std::{
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
};

use crate::{hub::Outbox, session::Vitals, world::Clock};

/// The first byte of a Close frame (RFC 6455 section 5.2).
const CLOSE: u8 = 0x88;

/// The reading side of a plain socket, and the way into its outbox.
#[derive(Debug)]
pub struct Half {
    outbox: Arc<Outbox>,
    vitals: Arc<Vitals>,
    clock: Clock,
}

impl Half {
    pub(super) fn new(outbox: Arc<Outbox>, vitals: Arc<Vitals>, clock: Clock) -> Self {
        Self { outbox, vitals, clock }
    }

    fn stream(&self) -> io::Result<&TcpStream> {
        self.outbox.stream().ok_or_else(|| io::ErrorKind::NotConnected.into())
    }
}

impl AsyncRead for Half {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let stream = self.stream()?;
        loop {
            ready!(stream.poll_read_ready(cx))?;
            match stream.try_read(buffer.initialize_unfilled()) {
                Ok(count) => {
                    buffer.advance(count);
                    self.vitals.hear(self.clock.elapsed());
                    return Poll::Ready(Ok(()));
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
    }
}

impl AsyncWrite for Half {
    /// tungstenite writes a whole frame at a time, because its own buffer is off: a pong, or the answer to a Close.
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let frame = Bytes::copy_from_slice(bytes);
        match bytes.first() {
            Some(&CLOSE) => self.outbox.answer_close(frame),
            _ => self.outbox.push(frame),
        }
        self.outbox.flush();
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
