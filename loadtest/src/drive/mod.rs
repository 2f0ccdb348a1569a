//! The generator: thousands of raw connections, WebSockets and plain HTTP, driven by one thread and one epoll.
//!
//! It must cost little beside the server that it measures, so deliveries are found by a marker in the bytes and counted,
//! not decoded. [`Swarm`] owns the sockets, [`Speech`] knows what the server under test wants to hear, the tally counts.

mod events;
pub mod http;
mod link;
mod payload;
mod plain;
mod speech;
mod swarm;
mod tally;
mod transport;
pub mod wire;

pub use link::Role;
pub use payload::MIN_SIZE as MIN_PAYLOAD;
use plain::Plain;
pub use speech::{Durability, Speech};
pub use swarm::Swarm;
pub use transport::Transport;
