//! A server of its own for each test, on port 0 and a fresh database, and a peer that speaks frames and nothing else.

mod cable;
pub mod client;
pub mod events;
mod ground;
mod line;
mod pair;
mod peer;
mod postgres;
mod process;
mod proxy;
mod requests;
#[path = "../shared/s3.rs"]
mod s3;
mod server;

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use hubbub_protocol::{
    ChannelName, ClientFrame, Entry, ErrorCode, Key, MessageId,
    frame::{ErrorBody, Publish},
    msgpack_payload,
};
use hubbub_server::world::Clock;

pub use cable::Cable;
pub use ground::Ground;
pub use line::Doors;
pub use pair::{Pair, Transport};
pub use peer::Peer;
pub use process::Process;
pub use proxy::{Proxy, Running};
pub use s3::S3;
pub use server::Server;

/// How long a test waits for what must come.
pub const PATIENCE: Duration = Duration::from_secs(20);
/// Signs the tokens of every test.
pub const SECRET: &str = "a secret of at least thirty-two bytes, for tests";

pub fn name(text: &str) -> ChannelName {
    ChannelName::parse(text).unwrap()
}

pub fn json(entry: &Entry) -> serde_json::Value {
    serde_json::from_slice(&hubbub_protocol::json_payload(&entry.payload).unwrap()).unwrap()
}

pub fn seq(entry: &Entry) -> u64 {
    entry.place.unwrap().seq
}

pub fn publish(id: Option<u32>, channel: &str, payload: &str, message_id: Option<MessageId>, key: Option<&str>) -> ClientFrame {
    ClientFrame::Publish(Publish {
        id,
        channel: name(channel),
        message_id,
        key: key.map(|key| Key::parse(key).unwrap()),
        payload: msgpack_payload(payload).unwrap().into(),
    })
}

pub fn message_id(unix_ms: u64, n: u8) -> MessageId {
    MessageId::new(unix_ms, [n; 10])
}

#[track_caller]
pub fn refused<T: std::fmt::Debug>(result: Result<T, ErrorBody>, code: ErrorCode) {
    let error = result.expect_err("it was not refused");
    assert_eq!(error.code, code.as_str());
    assert_eq!(error.retry, code.retry());
    assert!(!error.message.is_empty());
}

/// Waits until `condition` holds.
pub async fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    let wait = async {
        while !condition() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(PATIENCE, wait).await.unwrap_or_else(|_| panic!("never: {what}"));
}

/// Waits until `condition`, which asks somebody, holds.
pub async fn until(what: &str, condition: impl AsyncFn() -> bool) {
    let wait = async {
        while !condition().await {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(PATIENCE, wait).await.unwrap_or_else(|_| panic!("never: {what}"));
}

/// Moves a manual clock.
pub fn advance(clock: &AtomicU64, ms: u64) {
    clock.fetch_add(ms, Relaxed);
}

/// A manual clock that begins now.
pub fn clock() -> Arc<AtomicU64> {
    Arc::new(AtomicU64::new(Clock::System.now()))
}
