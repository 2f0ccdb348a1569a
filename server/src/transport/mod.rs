//! Sockets only, no rules: each transport drives a [`crate::session::Client`].

mod connections;
mod endpoint;
pub mod plain;
pub mod websocket;

pub use connections::{Connection, Connections};
pub use endpoint::Endpoint;
