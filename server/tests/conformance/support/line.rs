//! What frames travel on: a socket, or a session over HTTP.

mod polls;
mod session;
mod socket;
mod stream;

use std::net::SocketAddr;

use hubbub_protocol::{
    ErrorCode, ServerFrame,
    frame::{Disconnect, ErrorBody},
};
use tokio::net::TcpSocket;

use super::Transport;

pub use polls::Polls;
pub use session::Session;
pub use socket::Socket;
pub use stream::Stream;

/// Where a session is opened, and where its POSTs and polls go: the first of them that answers.
#[derive(Debug, Clone)]
pub struct Doors {
    pub down: SocketAddr,
    pub up: Vec<SocketAddr>,
}

/// A connection, or what stands for one.
pub enum Line {
    Socket(Socket),
    Stream(Stream),
    Polls(Polls),
}

/// How many bytes the kernel may hold for whoever does not read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Buffer {
    Usual,
    Tiny,
}

impl Buffer {
    pub fn socket(self) -> TcpSocket {
        let socket = TcpSocket::new_v4().unwrap();
        if self == Buffer::Tiny {
            socket.set_recv_buffer_size(4 << 10).unwrap();
        }
        socket
    }
}

impl Line {
    /// An open socket, or a session over HTTP that its first frames open.
    pub async fn open(doors: &Doors, transport: Transport, buffer: Buffer) -> Result<Self, ErrorBody> {
        Ok(match transport {
            Transport::Socket(format) => Line::Socket(Socket::open(doors.down, format, buffer.socket(), None).await.map_err(unreachable)?),
            Transport::Sse => Line::Stream(Stream::new(doors, buffer)),
            Transport::Polling => Line::Polls(Polls::new(doors)),
        })
    }

    /// Keeps the token if it travels in a header, and gives it back if it travels in `connect`.
    pub fn identify(&mut self, token: &str) -> Option<String> {
        match self {
            Line::Socket(_) => return Some(token.to_owned()),
            Line::Stream(stream) => token.clone_into(&mut stream.session.token),
            Line::Polls(polls) => token.clone_into(&mut polls.session.token),
        }
        None
    }

    /// One message up: frames back to back. Over HTTP it may be refused as a whole.
    pub async fn send(&mut self, bytes: Vec<u8>) -> Result<(), ErrorBody> {
        match self {
            Line::Socket(socket) => socket.send(bytes).await,
            Line::Stream(stream) => stream.send(bytes).await,
            Line::Polls(polls) => polls.send(bytes).await,
        }
    }

    /// What comes next; the close code if it is over and there was one.
    pub async fn receive(&mut self) -> Result<Vec<ServerFrame>, Option<u16>> {
        match self {
            Line::Socket(socket) => socket.receive().await,
            Line::Stream(stream) => stream.receive().await,
            Line::Polls(polls) => polls.receive().await,
        }
    }

    /// Goes without a goodbye where the transport notices that, with one where it cannot.
    pub async fn leave(self) {
        if let Line::Polls(polls) = self {
            polls.session.delete().await;
        }
    }
}

/// Nobody was reached, or the way there broke.
fn unreachable(error: impl std::fmt::Display) -> ErrorBody {
    ErrorBody::new(ErrorCode::Unavailable, format!("nobody answers: {error}"))
}

/// The code of a `disconnect` among `frames`.
fn goodbye(frames: &[ServerFrame]) -> Option<u16> {
    frames.iter().find_map(|frame| match frame {
        ServerFrame::Disconnect(Disconnect { code, .. }) => Some(*code),
        _ => None,
    })
}
