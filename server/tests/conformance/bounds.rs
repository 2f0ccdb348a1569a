//! Every bound has an error of its own. (Frames and messages: `frames`; outboxes: `slow`; replay: `resume`; sessions over HTTP: `browsers`.)

use hubbub_protocol::ErrorCode;
use tokio_tungstenite::tungstenite::Error;

use crate::{
    http::{Request, request},
    support::{Pair, advance, clock, eventually, refused},
};

crate::over_every_transport!(payloads, subscriptions, history_pages, names_and_keys);
crate::behind_each_proxy!(payloads, subscriptions);

// Pings and upgrades are a socket's; the queue is asked by REST.
mod by_socket {
    use super::{a_peer_that_is_gone_is_noticed, connections_that_are_nobody, the_publish_queue, who_does_not_connect_is_closed};

    crate::on_every_pair!(who_does_not_connect_is_closed, a_peer_that_is_gone_is_noticed, connections_that_are_nobody, the_publish_queue);
}

async fn payloads(pair: Pair) {
    let server = pair.server_with(&["channel.payload=1KiB"]).await;
    let mut alice = server.peer("alice").await;
    // A string of 1,021 bytes has a header of three.
    let text = |length: usize| format!("\"{}\"", "x".repeat(length));
    alice.publish("room:1", &text(1_021)).await;
    refused(alice.publish_with("room:1", &text(1_022), None, None).await, ErrorCode::PayloadTooLarge);
}

async fn subscriptions(pair: Pair) {
    let server = pair.server_with(&["session.subscriptions=3"]).await;
    let mut alice = server.peer("alice").await;
    for n in 0..3 {
        alice.subscribe(&format!("room:{n}")).await;
    }
    refused(alice.subscribe_with("room:3", None, None).await, ErrorCode::TooManySubscriptions);
    alice.unsubscribe("room:0").await;
    alice.subscribe("room:3").await;
}

async fn history_pages(pair: Pair) {
    let server = pair.server().await;
    let mut alice = server.peer("alice").await;
    for limit in [0, 1_001, u32::MAX] {
        refused(alice.history("room:1", None, None, Some(limit)).await, ErrorCode::OutOfRange);
    }
    refused(alice.history("room:1", Some(1), Some(2), None).await, ErrorCode::OutOfRange);
    alice.history("room:1", None, None, Some(1_000)).await.unwrap();
    // The largest number that the wire takes, and the one after it.
    const MOST: u64 = (1 << 53) - 1;
    alice.history("room:1", Some(MOST), None, None).await.unwrap();
    alice.history("room:1", None, Some(MOST), None).await.unwrap();
    refused(alice.history("room:1", Some(MOST + 1), None, None).await, ErrorCode::OutOfRange);
}

async fn who_does_not_connect_is_closed(pair: Pair) {
    let clock = clock();
    let server = pair.server_at(&clock, &[]).await;
    let mut silent = server.open().await;
    let mut somebody = server.peer("alice").await;
    advance(&clock, 5_001);
    let (disconnect, code) = silent.closed().await;
    assert_eq!((disconnect.unwrap().code, code), (4502, Some(4502)));
    somebody.publish("room:1", "1").await;
}

async fn a_peer_that_is_gone_is_noticed(pair: Pair) {
    let server = pair.server_with(&["session.heartbeat=200ms", "session.grace=300ms"]).await;
    // It never reads, so it never answers a ping.
    let mut gone = server.peer("gone").await;
    let mut alive = server.peer("alive").await;
    let alive = tokio::spawn(async move {
        loop {
            if let Err(code) = alive.step().await {
                return code;
            }
        }
    });
    eventually("it is noticed", || server.metric("hubbub_connections_closed_total{code=\"4504\"}") == 1.0).await;
    assert!(!alive.is_finished());
    alive.abort();
    gone.closed().await;
}

async fn connections_that_are_nobody(pair: Pair) {
    let server = pair.server_with(&["session.unauthenticated=2"]).await;
    let open = || server.upgrade(None);
    let (mut first, _second) = (open().await.unwrap(), open().await.unwrap());
    let Err(Error::Http(response)) = open().await else { panic!("a third one was let in") };
    assert_eq!(response.status(), 503);
    // Being somebody makes room.
    first.connect(&server.token("alice")).await.unwrap();
    open().await.unwrap();
}

/// The database is locked by somebody else: what the queue cannot take is refused, and nothing is lost or doubled.
async fn the_publish_queue(pair: Pair) {
    let server = pair.server_with(&["channel.publish_queue=16", "channel.commit_batch=16"]).await;
    let held = server.ground().hold_writes().await;
    let token = server.token("alice");
    let posts = (0..64).map(|n| {
        let body = format!("{{\"payload\":{n}}}");
        let post = Request::post("/v1/channels/room:1/entries", &body).with_token(&token);
        request(server.address(), post)
    });
    let posts = tokio::spawn(futures_util::future::join_all(posts));
    tokio::time::sleep(std::time::Duration::from_millis(2_500)).await;
    held.release().await;
    let answers = posts.await.unwrap();
    let stored = answers.iter().filter(|answer| answer.status == 201).count();
    let overloaded: Vec<_> = answers.iter().filter(|answer| answer.status == 503).collect();
    assert_eq!(stored + overloaded.len(), 64);
    assert!(overloaded.len() >= 16, "only {} were refused", overloaded.len());
    for answer in overloaded {
        assert_eq!((answer.json()["code"].as_str(), answer.header("retry-after")), (Some("overloaded"), Some("1")));
    }
    let mut alice = server.peer("alice").await;
    assert_eq!(alice.history("room:1", None, None, None).await.unwrap().head.seq, stored as u64);
}

async fn names_and_keys(pair: Pair) {
    let server = pair.server().await;
    let mut alice = server.peer("alice").await;
    refused(alice.subscribe_with(&"x".repeat(129), None, None).await, ErrorCode::ChannelInvalid);
    alice.subscribe(&"x".repeat(128)).await;
    alice.publish_with(&"x".repeat(128), "1", None, Some(&"k".repeat(64))).await.unwrap();
    let mut alice = server.peer_in_json("alice").await;
    alice.send_bytes(format!(r#"{{"type":"publish","id":1,"channel":"x","key":"{}","payload":1}}"#, "k".repeat(65)).into_bytes()).await;
    refused(alice.answer(1).await, ErrorCode::KeyInvalid);
}
