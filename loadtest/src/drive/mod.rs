//! The generator: thousands of raw WebSocket connections driven by one thread and one epoll.
//!
//! It must cost little beside the server that it measures, so deliveries are found by a marker in the bytes and counted,
//! not decoded. [`Swarm`] owns the sockets, [`Speech`] knows what the server under test wants to hear, the tally counts.

mod link;
mod payload;
mod speech;
mod swarm;
mod tally;
pub mod wire;

pub use link::Role;
pub use payload::MIN_SIZE as MIN_PAYLOAD;
pub use speech::{Durability, Speech};
pub use swarm::Swarm;
