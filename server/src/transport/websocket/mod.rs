//! WebSocket: our own upgrade (`handshake`), tungstenite reading from and writing into the outbox (`half`), and a loop that hands
//! messages to a session (`connection`).

mod connection;
mod endpoint;
mod half;
mod handshake;

pub use connection::{Peer, drive};
pub use endpoint::upgrade;
pub use half::Half;
pub use handshake::{Handshake, HandshakeError, handshake, socket};

use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::protocol::{Role, WebSocketConfig},
};

use std::sync::Arc;

use crate::{hub::Outbox, session::Vitals, world::Clock};

/// Bytes that a socket's reader holds: a small client frame and its neighbour.
const READ_BUFFER: usize = 1 << 10;

/// A WebSocket whose every outgoing byte passes `outbox`. `early` are bytes that came with the upgrade; messages of more than
/// `max_message` bytes are refused.
pub async fn accept(outbox: Arc<Outbox>, vitals: Arc<Vitals>, clock: Clock, early: Vec<u8>, max_message: usize) -> WebSocketStream<Half> {
    let config = WebSocketConfig::default()
        .read_buffer_size(READ_BUFFER)
        .write_buffer_size(0)
        .max_write_buffer_size(max_message + (1 << 10))
        .max_message_size(Some(max_message))
        .max_frame_size(Some(max_message));
    let half = Half::new(outbox, vitals, clock);
    if early.is_empty() {
        WebSocketStream::from_raw_socket(half, Role::Server, Some(config)).await
    } else {
        WebSocketStream::from_partially_read(half, early, Role::Server, Some(config)).await
    }
}
