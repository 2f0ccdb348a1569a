//! The conformance suite: every promise and every bound, over real sockets, on every pair of broker and store and over every transport.
//!
//! A test is written once, for a [`Pair`]; the macros of [`matrix`] make a test of it for each pair and transport on which its promise could
//! break. NATS and PostgreSQL are those that `.ci/services.sh` starts: `.ci/services.sh cargo nextest run -p hubbub-server --test conformance`.
//!
//! [`Pair`]: support::Pair

#[macro_use]
mod matrix;

mod access;
mod accounts;
mod acknowledged;
mod amend;
mod auto;
mod bounds;
mod browsers;
mod cluster;
mod contract;
mod credentials;
mod ephemeral;
mod frames;
mod guests;
mod http;
mod lifecycle;
mod order;
mod page;
mod presence;
mod proxies;
mod resources;
mod resume;
mod retry;
mod revocation;
mod slow;
mod smuggling;
mod support;
mod uploads;
