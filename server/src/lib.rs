//! Hubbub: a real-time, WebSocket-first server. ARCHITECTURE.md is the map.

pub mod access;
pub mod account;
pub mod api_key;
pub mod app;
pub mod auth;
pub mod broker;
pub mod channel;
pub mod cli;
pub mod config;
pub mod http;
pub mod hub;
pub mod instance;
pub mod rest;
pub mod room;
pub mod session;
pub mod store;
pub mod tasks;
pub mod telemetry;
#[cfg(test)]
pub(crate) mod testing;
pub mod transport;
pub mod upload;
pub mod user;
pub mod world;
