//! Promise 4: publishing is safe to retry.

use hubbub_protocol::{ErrorCode, limits};

use crate::support::{Pair, advance, clock, message_id, publish, refused, seq};

crate::over_every_transport_and_instance!(
    a_retry_gets_the_first_answer,
    ids_are_of_a_channel_and_a_publisher,
    retries_within_one_batch_are_one,
    another_content_is_refused,
    ids_outside_the_window_are_refused,
    the_window_outlives_the_history_and_a_restart,
);

crate::behind_each_proxy!(
    a_retry_gets_the_first_answer,
    ids_are_of_a_channel_and_a_publisher,
    retries_within_one_batch_are_one,
    another_content_is_refused,
);

async fn a_retry_gets_the_first_answer(pair: Pair) {
    let server = pair.server().await;
    let mut alice = server.peer("alice").await;
    alice.subscribe("room:1").await;
    let id = message_id(server.now(), 1);
    let first = alice.publish_with("room:1", "1", Some(id), Some("k")).await.unwrap();
    alice.publish("room:1", "2").await;
    let again = alice.publish_with("room:1", "1", Some(id), Some("k")).await.unwrap();
    assert!(again.duplicate && !first.duplicate);
    assert_eq!((again.epoch, again.seq, again.time, again.message_id), (first.epoch, first.seq, first.time, id));
    alice.publish("room:1", "3").await;
    let ids = [alice.entry().await, alice.entry().await, alice.entry().await].map(|entry| (seq(&entry), entry.message_id));
    assert_eq!(ids[0], (1, Some(id)), "the subscriber's copy carries the id");
    assert_eq!([ids[1].0, ids[2].0], [2, 3], "nothing was doubled");
}

async fn ids_are_of_a_channel_and_a_publisher(pair: Pair) {
    let server = pair.server().await;
    let mut alice = server.peer("alice").await;
    let mut bob = server.peer("bob").await;
    let id = message_id(server.now(), 1);
    assert!(!alice.publish_with("room:1", "1", Some(id), None).await.unwrap().duplicate);
    assert!(!alice.publish_with("room:2", "2", Some(id), None).await.unwrap().duplicate);
    assert!(!bob.publish_with("room:1", "3", Some(id), None).await.unwrap().duplicate);
    assert!(bob.publish_with("room:1", "3", Some(id), None).await.unwrap().duplicate);
}

async fn retries_within_one_batch_are_one(pair: Pair) {
    let server = pair.server().await;
    let mut alice = server.peer("alice").await;
    let now = server.now();
    // One message of many frames: they wait together, and are committed together.
    let frames: Vec<_> = (1..=200).map(|n| publish(Some(n), "room:1", "7", Some(message_id(now, (n % 10) as u8)), None)).collect();
    alice.send(&frames).await;
    let mut seqs = std::collections::HashMap::new();
    for n in 1..=200 {
        let published: hubbub_protocol::frame::Published = alice.answer(n).await.unwrap().read().unwrap();
        let first = *seqs.entry(published.message_id).or_insert(published.seq);
        assert_eq!(published.seq, first);
    }
    assert_eq!(seqs.len(), 10);
    assert_eq!(alice.history("room:1", None, None, None).await.unwrap().head.seq, 10);
}

async fn another_content_is_refused(pair: Pair) {
    let server = pair.server().await;
    let mut alice = server.peer("alice").await;
    let id = message_id(server.now(), 1);
    alice.publish_with("room:1", "1", Some(id), None).await.unwrap();
    refused(alice.publish_with("room:1", "2", Some(id), None).await, ErrorCode::IdReused);
    refused(alice.publish_with("room:1", "1", Some(id), Some("k")).await, ErrorCode::IdReused);
    // In one batch too, and it fails nobody else.
    let id = message_id(server.now(), 2);
    alice
        .send(&[
            publish(Some(900), "room:1", "1", Some(id), None),
            publish(Some(901), "room:1", "2", Some(id), None),
            publish(Some(902), "room:1", "3", None, None),
        ])
        .await;
    let mut answers = Vec::new();
    for n in 900..=902 {
        answers.push(alice.answer(n).await);
    }
    assert!(answers[0].is_ok() && answers[2].is_ok());
    refused(answers.remove(1), ErrorCode::IdReused);
    assert_eq!(alice.history("room:1", None, None, None).await.unwrap().head.seq, 3);
}

async fn ids_outside_the_window_are_refused(pair: Pair) {
    let server = pair.server_with(&["channel.dedup_window=1h"]).await;
    let mut alice = server.peer("alice").await;
    let now = server.now();
    refused(alice.publish_with("room:1", "1", Some(message_id(now - 3_601_000, 1)), None).await, ErrorCode::TooOld);
    refused(alice.publish_with("room:1", "1", Some(message_id(now + limits::MAX_ID_AHEAD_MS + 60_000, 1)), None).await, ErrorCode::TooNew);
    alice.publish_with("room:1", "1", Some(message_id(now - 3_500_000, 1)), None).await.unwrap();
    alice.publish_with("room:1", "1", Some(message_id(now + limits::MAX_ID_AHEAD_MS / 2, 1)), None).await.unwrap();
}

async fn the_window_outlives_the_history_and_a_restart(pair: Pair) {
    let clock = clock();
    let server = pair.server_at(&clock, &["namespaces.room.history_entries=1", "namespaces.room.history_age=1m"]).await;
    let mut alice = server.peer("alice").await;
    let id = message_id(server.now(), 1);
    let first = alice.publish_with("room:1", "1", Some(id), None).await.unwrap();
    alice.publish_many("room:1", 5).await;
    // A goodbye to who is still there would wait for a clock that stands.
    alice.leave().await;
    advance(&clock, 10 * 60_000);
    let server = server.restart().await;
    let mut alice = server.peer("alice").await;
    assert_eq!(alice.history("room:1", None, None, None).await.unwrap().entries, [], "the history is over");
    let again = alice.publish_with("room:1", "1", Some(id), None).await.unwrap();
    assert!(again.duplicate);
    assert_eq!(again.seq, first.seq);
    assert_eq!(alice.publish("room:1", "2").await.seq, Some(7));
}
