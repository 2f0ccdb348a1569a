//! Promise 1: acknowledged means stored.

use crate::support::{Pair, Transport, seq};

crate::over_every_transport!(
    survives_a_restart,
    history_tells_what_was_published,
    a_page_keeps_its_bound_in_every_format,
    a_refused_publish_leaves_nothing,
);

crate::behind_each_proxy!(survives_a_restart, history_tells_what_was_published,);

async fn survives_a_restart(pair: Pair) {
    let server = pair.server().await;
    let mut alice = server.peer("alice").await;
    let published = alice.publish("room:1", r#"{"text":"hello"}"#).await;
    alice.leave().await;
    let server = server.restart().await;
    let mut alice = server.peer("alice").await;
    let page = alice.history("room:1", None, None, None).await.unwrap();
    assert_eq!(page.entries.len(), 1);
    assert_eq!(page.entries[0].message_id, Some(published.message_id));
    assert_eq!((page.head.epoch, page.head.seq), (published.epoch.unwrap(), published.seq.unwrap()));
}

async fn history_tells_what_was_published(pair: Pair) {
    let server = pair.server().await;
    let mut alice = server.peer("alice").await;
    alice.publish_many("room:1", 25).await;
    let page = alice.history("room:1", None, None, Some(10)).await.unwrap();
    assert_eq!(page.entries.iter().map(seq).collect::<Vec<_>>(), (16..=25).collect::<Vec<_>>());
    assert!(page.more);
    let page = alice.history("room:1", None, Some(6), None).await.unwrap();
    assert_eq!(page.entries.iter().map(seq).collect::<Vec<_>>(), (1..=5).collect::<Vec<_>>());
    assert!(!page.more);
    let page = alice.history("room:1", Some(20), None, Some(3)).await.unwrap();
    assert_eq!(page.entries.iter().map(seq).collect::<Vec<_>>(), [21, 22, 23]);
    assert!(page.more);
    assert_eq!((page.first, page.head.seq), (1, 25));
    for entry in &page.entries {
        assert_eq!(entry.place.unwrap().ordinal, seq(entry));
        assert_eq!(&*entry.publisher, "alice");
    }
    let empty = alice.history("room:nothing", None, None, None).await.unwrap();
    assert_eq!((empty.entries.len(), empty.head.seq, empty.first, empty.more), (0, 0, 1, false));
}

/// In JSON a control character takes six bytes: a page is as long as its reader's outbox allows, and all pages together are the whole.
async fn a_page_keeps_its_bound_in_every_format(pair: Pair) {
    let server = pair.server_with(&["session.outbox=64KiB", "channel.payload=8KiB"]).await;
    let mut alice = server.peer("alice").await;
    let payload = serde_json::to_string(&"\u{1}".repeat(2_000)).unwrap();
    for _ in 0..20 {
        alice.publish("room:1", &payload).await;
    }
    for transport in [pair.transport, Transport::JSON] {
        let mut reader = server.peer_over(transport, "reader").await;
        let mut forwards = Vec::new();
        while forwards.len() < 20 {
            let page = reader.history("room:1", Some(forwards.len() as u64), None, Some(1_000)).await.unwrap();
            forwards.extend(page.entries.iter().map(seq));
            assert_eq!(page.more, forwards.len() < 20);
        }
        assert_eq!(forwards, (1..=20).collect::<Vec<_>>());
        let mut backwards = Vec::new();
        while backwards.len() < 20 {
            let page = reader.history("room:1", None, Some(21 - backwards.len() as u64), None).await.unwrap();
            backwards.extend(page.entries.iter().rev().map(seq));
        }
        assert_eq!(backwards, (1..=20).rev().collect::<Vec<_>>());
    }
}

async fn a_refused_publish_leaves_nothing(pair: Pair) {
    let server = pair.server_with(&["channel.payload=1KiB"]).await;
    let mut alice = server.peer("alice").await;
    let long = format!("\"{}\"", "x".repeat(2_000));
    let refusal = alice.publish_with("room:1", &long, None, None).await;
    crate::support::refused(refusal, hubbub_protocol::ErrorCode::PayloadTooLarge);
    assert_eq!(alice.publish("room:1", "1").await.seq, Some(1));
}
