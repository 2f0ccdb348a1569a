//! Promise 6: a slow subscriber harms nobody.

use std::time::Duration;

use hubbub_protocol::{
    Cursor, ServerFrame,
    frame::{SkipReason, Slow},
};

use crate::support::{Pair, eventually, json, publish, seq};

crate::over_every_transport!(
    a_burst_closes_nobody_who_reads,
    close_closes_and_the_others_go_on,
    latest_gets_the_newest_when_it_reads_again,
    latest_of_an_ephemeral_channel_counts_what_it_lost,
    a_stalled_reader_is_still_read,
    unread_answers_are_bounded,
);

crate::behind_each_proxy!(a_burst_closes_nobody_who_reads, a_stalled_reader_is_still_read,);

const SMALL: [&str; 2] = ["session.outbox=64KiB", "channel.payload=16KiB"];

fn filler(n: u32) -> String {
    format!("[{n},\"{}\"]", "x".repeat(4_000))
}

/// More than an outbox at once, to somebody who reads all the time.
async fn a_burst_closes_nobody_who_reads(pair: Pair) {
    let server = pair.server_with(&SMALL).await;
    let mut good = server.peer("good").await;
    good.subscribe("room:1").await;
    let mut alice = server.peer("alice").await;
    let frames: Vec<_> = (1..=200).map(|n| publish(Some(n), "room:1", &filler(n), None, None)).collect();
    alice.send(&frames).await;
    for expected in 1..=200 {
        assert_eq!(seq(&good.entry().await), expected);
    }
    good.publish("room:1", "1").await;
    assert_eq!(seq(&good.entry().await), 201);
}

async fn close_closes_and_the_others_go_on(pair: Pair) {
    let server = pair.server_with(&[SMALL[0], SMALL[1], "session.grace=500ms"]).await;
    let mut slow = server.stalled("slow").await;
    slow.subscribe("room:1").await;
    let mut good = server.peer("good").await;
    good.subscribe("room:1").await;
    let mut alice = server.peer("alice").await;
    for n in 1..=600 {
        alice.publish("room:1", &filler(n)).await;
        assert_eq!(seq(&good.entry().await), u64::from(n));
    }
    eventually("the slow one is closed", || server.metric("hubbub_connections_closed_total{code=\"4505\"}") == 1.0).await;
    // It reads again: entries in order, then the goodbye if it still fits; and it resumes where it was.
    let mut cursor = Cursor::default();
    let code = loop {
        match slow.step().await {
            Ok(ServerFrame::Entry(entry)) => {
                assert_eq!(seq(&entry), cursor.seq + 1);
                cursor = entry.cursor().unwrap();
            }
            Ok(ServerFrame::Disconnect(disconnect)) => assert_eq!(disconnect.code, 4505),
            Ok(_) => {}
            Err(code) => break code,
        }
    };
    assert!(code.is_none_or(|code| code == 4505), "{code:?}");
    assert!(cursor.seq < 600);
    let mut again = server.peer("slow").await;
    assert_eq!(again.subscribe_with("room:1", Some(cursor), None).await.unwrap().recovered, Some(true));
    for expected in cursor.seq + 1..=600 {
        assert_eq!(seq(&again.entry().await), expected);
    }
}

async fn latest_gets_the_newest_when_it_reads_again(pair: Pair) {
    let server = pair.server_with(&SMALL).await;
    let mut slow = server.stalled("slow").await;
    slow.subscribe_with("room:1", None, Some(Slow::Latest)).await.unwrap();
    let mut alice = server.peer("alice").await;
    for n in 1..=600 {
        alice.publish_with("room:1", &filler(n), None, Some(["a", "b", "c"][n as usize % 3])).await.unwrap();
    }
    let mut cursor = 0;
    let mut newest = std::collections::HashMap::new();
    let mut superseded = 0;
    while cursor < 600 {
        match slow.next().await {
            ServerFrame::Entry(entry) => {
                assert_eq!(seq(&entry), cursor + 1, "every seq is accounted for");
                cursor += 1;
                newest.insert(entry.key.clone().unwrap().as_str().to_owned(), json(&entry)[0].as_u64().unwrap());
            }
            ServerFrame::Skip(skip) => {
                let range = skip.range.unwrap();
                assert_eq!((range.from, skip.count, skip.reason), (cursor + 1, range.to - cursor, SkipReason::Superseded));
                cursor = range.to;
                superseded += skip.count;
            }
            other => panic!("{other:?}"),
        }
    }
    assert!(superseded > 100, "only {superseded} were superseded: it was not slow");
    assert_eq!(server.metric("hubbub_skipped_entries_total{reason=\"superseded\"}"), superseded as f64);
    assert_eq!(newest, [("a", 600), ("b", 598), ("c", 599)].map(|(key, n)| (key.to_owned(), n)).into());
    // It is live again, and its cursor is right.
    alice.publish("room:1", "601").await;
    assert_eq!(seq(&slow.entry().await), 601);
}

async fn latest_of_an_ephemeral_channel_counts_what_it_lost(pair: Pair) {
    let server = pair.server_with(&SMALL).await;
    let mut slow = server.stalled("slow").await;
    slow.subscribe("live:1").await;
    let mut good = server.peer("good").await;
    good.subscribe("live:1").await;
    let mut alice = server.peer("alice").await;
    for n in 1..=600 {
        alice.publish_with("live:1", &filler(n), None, Some(["a", "b", "c"][n as usize % 3])).await.unwrap();
        assert_eq!(json(&good.entry().await)[0], n);
    }
    alice.publish_with("live:1", "\"end\"", None, Some("end")).await.unwrap();
    let (mut entries, mut lost, mut newest) = (0, 0, std::collections::HashMap::new());
    loop {
        match slow.next().await {
            ServerFrame::Entry(entry) if json(&entry) == "end" => break,
            ServerFrame::Entry(entry) => {
                entries += 1;
                newest.insert(entry.key.clone().unwrap().as_str().to_owned(), json(&entry)[0].as_u64().unwrap());
            }
            ServerFrame::Skip(skip) => {
                assert_eq!((skip.range, skip.reason), (None, SkipReason::Superseded));
                lost += skip.count;
            }
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(entries + lost, 600);
    assert!(lost > 100);
    assert_eq!(newest, [("a", 600), ("b", 598), ("c", 599)].map(|(key, n)| (key.to_owned(), n)).into());
}

/// Its outbox is full, and what it says is heard all the same.
async fn a_stalled_reader_is_still_read(pair: Pair) {
    let server = pair.server_with(&SMALL).await;
    let mut slow = server.stalled("slow").await;
    slow.subscribe_with("room:1", None, Some(Slow::Latest)).await.unwrap();
    let mut alice = server.peer("alice").await;
    for n in 1..=200 {
        alice.publish("room:1", &filler(n)).await;
    }
    slow.send(&[publish(None, "room:2", "\"heard\"", None, None)]).await;
    let mut bob = server.peer("bob").await;
    bob.subscribe_with("room:2", Some(Cursor::default()), None).await.unwrap();
    assert_eq!(json(&bob.entry().await), "heard");
}

/// Asking and never reading the answers costs the asker his connection, not the server its memory.
async fn unread_answers_are_bounded(pair: Pair) {
    let server = pair.server_with(&SMALL).await;
    let mut alice = server.peer("alice").await;
    for n in 1..=20 {
        alice.publish("room:1", &filler(n)).await;
    }
    let mut slow = server.stalled("slow").await;
    let history = |id| {
        hubbub_protocol::ClientFrame::History(hubbub_protocol::frame::History {
            id,
            channel: crate::support::name("room:1"),
            after: None,
            before: None,
            limit: None,
        })
    };
    let requests: Vec<_> = (100..300).map(history).collect();
    slow.send(&requests).await;
    eventually("it is closed", || server.metric("hubbub_connections_closed_total{code=\"4505\"}") == 1.0).await;
    tokio::time::timeout(Duration::from_secs(10), alice.publish("room:1", "1")).await.unwrap();
}
