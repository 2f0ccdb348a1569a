//! A cluster of processes, and what goes wrong in one: instances are killed, NATS and PostgreSQL restarted, cut off, restored from a
//! backup, promoted; releases differ.
//!
//! Each test starts a NATS, a PostgreSQL that syncs to disk, and instances of its own, from the binaries that `.ci/services.sh` names,
//! with a [`proxy`] before either service.

#[path = "../common/mod.rs"]
mod common;
mod faults;
mod instance;
mod lost;
mod nats;
mod past;
mod postgres;
mod proxy;
mod replay;
mod upgrade;
