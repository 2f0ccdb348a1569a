//! What every accepted connection is set to.

use std::{
    future::{Ready, ready},
    io,
};

use axum_server::accept::Accept;
use socket2::SockRef;
use tokio::net::TcpStream;

/// Bytes that the kernel may hold unsent for one connection: enough to keep a fast link busy, little for a reader that stalls.
const NOT_SENT: u32 = 64 << 10;

/// Sets a connection up, and hands it on as it is: an upgrade needs the plain socket.
#[derive(Debug, Clone, Copy)]
pub(super) struct Acceptor;

impl<S> Accept<TcpStream, S> for Acceptor {
    type Stream = TcpStream;
    type Service = S;
    type Future = Ready<io::Result<(TcpStream, S)>>;

    fn accept(&self, stream: TcpStream, service: S) -> Self::Future {
        let socket = SockRef::from(&stream);
        let set = socket.set_tcp_nodelay(true);
        // A kernel without it holds more for a stalled reader; the outbox is bounded all the same. No `TCP_USER_TIMEOUT`: it ends those too
        // who read slowly.
        let _ = socket.set_tcp_notsent_lowat(NOT_SENT);
        ready(set.map(|()| (stream, service)))
    }
}
