//! Sockets only, no rules: each transport drives a [`crate::session::Client`].

mod connections;
pub mod websocket;

pub use connections::{Connection, Connections};
