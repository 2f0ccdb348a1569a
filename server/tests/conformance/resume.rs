//! Promise 5: resume is subscribe.

use crate::support::{Pair, Server, Transport, json, seq};
use hubbub_protocol::{
    Cursor, ServerFrame,
    frame::{SkipReason, Slow, Unrecovered},
};

crate::over_every_transport_and_instance!(
    replay_then_live_without_hole_or_double,
    from_the_first_entry,
    from_memory_reads_no_store,
    a_storm_after_a_newcomer_reads_the_store_once,
    from_the_store_when_memory_is_short,
    under_load,
    an_expired_cursor_says_so,
    too_far_says_so,
    another_past_says_so,
    latest_gets_the_newest_of_each_key,
    ten_thousand_through_a_small_outbox,
    several_channels_in_one_subscribe,
);

crate::behind_each_proxy!(
    replay_then_live_without_hole_or_double,
    from_the_first_entry,
    from_the_store_when_memory_is_short,
    under_load,
    an_expired_cursor_says_so,
    too_far_says_so,
    another_past_says_so,
    latest_gets_the_newest_of_each_key,
    several_channels_in_one_subscribe,
);

// Restoring a file is SQLite's own; PostgreSQL goes back in time with whole servers: see the load tester's `cluster`.
crate::on_pair!(local_sqlite_file, LOCAL_SQLITE, a_restored_database_says_so);
crate::on_pair!(nats_sqlite_file, NATS_SQLITE, a_restored_database_says_so);

fn at(epoch: u64, seq: u64) -> Option<Cursor> {
    Some(Cursor { epoch, seq })
}

/// A server on whose `room:1` `count` messages were published, and it was started again since: nothing is in memory.
async fn cold(pair: Pair, count: u32, settings: &[&str]) -> Server {
    let server = pair.server_with(settings).await;
    let mut alice = server.peer("alice").await;
    alice.publish_many("room:1", count).await;
    alice.leave().await;
    server.restart().await
}

async fn replay_then_live_without_hole_or_double(pair: Pair) {
    let server = pair.server().await;
    let mut alice = server.peer("alice").await;
    alice.publish_many("room:1", 5).await;
    let mut bob = server.peer("bob").await;
    let subscribed = bob.subscribe_with("room:1", at(1, 2), None).await.unwrap();
    assert_eq!((subscribed.recovered, subscribed.reason, subscribed.from, subscribed.to), (Some(true), None, Some(3), Some(5)));
    assert_eq!(subscribed.head, at(1, 5));
    alice.publish("room:1", "6").await;
    for expected in 3..=6 {
        assert_eq!(seq(&bob.entry().await), expected);
    }
    // At the head there is nothing to replay.
    let mut carol = server.peer("carol").await;
    let subscribed = carol.subscribe_with("room:1", at(1, 6), None).await.unwrap();
    assert_eq!((subscribed.recovered, subscribed.from, subscribed.to), (Some(true), None, None));
    alice.publish("room:1", "7").await;
    assert_eq!(seq(&carol.entry().await), 7);
}

async fn from_the_first_entry(pair: Pair) {
    let server = cold(pair, 30, &[]).await;
    let mut bob = server.peer("bob").await;
    let subscribed = bob.subscribe_with("room:1", at(0, 0), None).await.unwrap();
    assert_eq!((subscribed.recovered, subscribed.from, subscribed.to), (Some(true), Some(1), Some(30)));
    for expected in 1..=30 {
        assert_eq!(seq(&bob.entry().await), expected);
    }
    // A channel in which nothing was ever published is whole, too.
    let subscribed = bob.subscribe_with("room:new", at(0, 0), None).await.unwrap();
    assert_eq!((subscribed.recovered, subscribed.from), (Some(true), None));
    bob.publish("room:new", "1").await;
    assert_eq!(seq(&bob.entry().await), 1);
}

async fn from_memory_reads_no_store(pair: Pair) {
    let server = pair.server().await;
    let mut alice = server.peer("alice").await;
    alice.subscribe("room:1").await;
    alice.publish_many("room:1", 100).await;
    server.verified().await;
    let reads = |server: &Server| {
        ["replay", "repair", "history"].map(|kind| server.metric(&format!("hubbub_store_reads_total{{kind=\"{kind}\"}}")))
    };
    let before = reads(&server);
    for n in 0..20 {
        let mut peer = server.peer("bob").await;
        let subscribed = peer.subscribe_with("room:1", at(1, 50 + n), None).await.unwrap();
        assert_eq!(subscribed.recovered, Some(true));
        for expected in 51 + n..=100 {
            assert_eq!(seq(&peer.entry().await), expected);
        }
    }
    assert_eq!(reads(&server), before, "a storm costs reads per channel, not per client");
}

/// Nothing is in memory, and the first who comes asks for nothing of the past: those who resume after him share one read.
async fn a_storm_after_a_newcomer_reads_the_store_once(pair: Pair) {
    let server = cold(pair, 150, &[]).await;
    let mut newcomer = server.peer("newcomer").await;
    newcomer.subscribe("room:1").await;
    server.verified().await;
    let mut storm = Vec::new();
    for _ in 0..30 {
        storm.push(server.peer("bob").await);
    }
    futures_util::future::join_all(storm.iter_mut().map(|peer| async {
        assert_eq!(peer.subscribe_with("room:1", at(1, 50), None).await.unwrap().recovered, Some(true));
        for expected in 51..=150 {
            assert_eq!(seq(&peer.entry().await), expected);
        }
    }))
    .await;
    let reads = ["head", "replay", "repair"].map(|kind| server.metric(&format!("hubbub_store_reads_total{{kind=\"{kind}\"}}")));
    assert_eq!(reads, [2.0, 0.0, 0.0], "the head for the newcomer, the recent entries for everybody else");
}

async fn from_the_store_when_memory_is_short(pair: Pair) {
    let server = pair.server_with(&["channel.feed_entries=10"]).await;
    let mut alice = server.peer("alice").await;
    alice.subscribe("room:1").await;
    alice.publish_many("room:1", 500).await;
    let mut bob = server.peer("bob").await;
    bob.subscribe_with("room:1", at(1, 3), None).await.unwrap();
    for expected in 4..=500 {
        let entry = bob.entry().await;
        assert_eq!(seq(&entry), expected);
        assert_eq!(json(&entry), (expected - 1) as i64);
    }
}

/// Resumes at random places while four publishers publish: every joint holds.
async fn under_load(pair: Pair) {
    let server = pair.server_with(&["channel.feed_entries=20"]).await;
    let publishers: Vec<_> = ["p0", "p1", "p2", "p3"].map(|user| server.peer(user)).into_iter().collect();
    let mut running = Vec::new();
    for publisher in publishers {
        let mut publisher = publisher.await;
        running.push(tokio::spawn(async move { publisher.publish_many("room:1", 750).await }));
    }
    let mut cursor = Cursor::default();
    let mut round = 0;
    while cursor.seq < 3_000 {
        let mut peer = server.peer_over([pair.transport, Transport::ALL[round / 2 % 4]][round % 2], "bob").await;
        let subscribed = peer.subscribe_with("room:1", Some(cursor), None).await.unwrap();
        assert_eq!(subscribed.recovered, Some(true));
        for _ in 0..(round * 37) % 200 + 1 {
            if cursor.seq == 3_000 {
                break;
            }
            let entry = peer.entry().await;
            assert_eq!(seq(&entry), cursor.seq + 1);
            cursor = entry.cursor().unwrap();
        }
        round += 1;
    }
    for publisher in running {
        publisher.await.unwrap();
    }
}

async fn an_expired_cursor_says_so(pair: Pair) {
    let server = cold(pair, 50, &["namespaces.room.history_entries=10"]).await;
    let mut bob = server.peer("bob").await;
    let subscribed = bob.subscribe_with("room:1", at(1, 5), None).await.unwrap();
    assert_eq!((subscribed.recovered, subscribed.reason), (Some(false), Some(Unrecovered::Expired)));
    assert_eq!((subscribed.from, subscribed.to), (Some(41), Some(50)));
    let skip = bob.skip().await;
    let range = skip.range.unwrap();
    assert_eq!((range.from, range.to, skip.count, skip.reason), (6, 40, 35, SkipReason::Expired));
    for expected in 41..=50 {
        assert_eq!(seq(&bob.entry().await), expected);
    }
    // The last cursor that the history still covers is whole.
    let mut carol = server.peer("carol").await;
    assert_eq!(carol.subscribe_with("room:1", at(1, 40), None).await.unwrap().recovered, Some(true));
}

async fn too_far_says_so(pair: Pair) {
    let server = cold(pair, 50, &["channel.replay=20"]).await;
    let mut bob = server.peer("bob").await;
    let subscribed = bob.subscribe_with("room:1", at(1, 29), None).await.unwrap();
    assert_eq!((subscribed.recovered, subscribed.reason, subscribed.from), (Some(false), Some(Unrecovered::TooFar), None));
    let skip = bob.skip().await;
    let range = skip.range.unwrap();
    assert_eq!((range.from, range.to, skip.count, skip.reason), (30, 50, 21, SkipReason::TooFar));
    bob.publish("room:1", "51").await;
    assert_eq!(seq(&bob.entry().await), 51);
    let mut carol = server.peer("carol").await;
    assert_eq!(carol.subscribe_with("room:1", at(1, 31), None).await.unwrap().recovered, Some(true));
}

async fn another_past_says_so(pair: Pair) {
    let server = cold(pair, 5, &[]).await;
    for (cursor, why) in
        [(at(2, 3), "an epoch that never was"), (at(1, 6), "ahead of the head"), (at(1, (1 << 53) - 1), "the end of numbers")]
    {
        let mut bob = server.peer("bob").await;
        let subscribed = bob.subscribe_with("room:1", cursor, None).await.unwrap();
        assert_eq!((subscribed.recovered, subscribed.reason), (Some(false), Some(Unrecovered::Epoch)), "{why}");
        assert_eq!((subscribed.from, subscribed.head), (None, at(1, 5)));
    }
}

/// The database file is put back to an older copy: cursors of what is lost are told so, and nothing comes twice under one seq and epoch.
async fn a_restored_database_says_so(pair: Pair) {
    let server = pair.server().await;
    server.peer("alice").await.publish_many("room:1", 5).await;
    let mut backup = Vec::new();
    let server = server.restart_after(|ground| backup = std::fs::read(ground.file()).unwrap()).await;
    server.peer("alice").await.publish_many("room:1", 5).await;
    let server = server.restart_after(|ground| std::fs::write(ground.file(), &backup).unwrap()).await;
    let mut alice = server.peer("alice").await;
    let published = alice.publish("room:1", "\"other\"").await.seq;
    assert_eq!(published, Some(6));
    let mut bob = server.peer("bob").await;
    let subscribed = bob.subscribe_with("room:1", at(1, 6), None).await.unwrap();
    assert_eq!((subscribed.recovered, subscribed.reason), (Some(false), Some(Unrecovered::Epoch)));
    assert_eq!(subscribed.head, at(2, 6));
    // Who had only seen what the copy holds lost nothing.
    let mut carol = server.peer("carol").await;
    let subscribed = carol.subscribe_with("room:1", at(1, 5), None).await.unwrap();
    assert_eq!(subscribed.recovered, Some(true));
    let entry = carol.entry().await;
    assert_eq!((entry.place.unwrap().epoch, seq(&entry)), (2, 6));
}

async fn latest_gets_the_newest_of_each_key(pair: Pair) {
    for settings in [vec![], vec!["channel.feed_entries=5"]] {
        let server = pair.server_with(&settings).await;
        let mut alice = server.peer("alice").await;
        // Keeps the feed, and so its memory, alive.
        alice.subscribe("room:1").await;
        for n in 1..=30 {
            alice.publish_with("room:1", &n.to_string(), None, Some(["a", "b", "c"][n % 3])).await.unwrap();
        }
        let mut bob = server.peer("bob").await;
        let subscribed = bob.subscribe_with("room:1", at(1, 4), Some(Slow::Latest)).await.unwrap();
        assert_eq!((subscribed.recovered, subscribed.to), (Some(true), Some(30)));
        let skip = bob.skip().await;
        let range = skip.range.unwrap();
        assert_eq!((range.from, range.to, skip.count, skip.reason), (5, 27, 23, SkipReason::Superseded));
        for expected in [28, 29, 30] {
            assert_eq!(json(&bob.entry().await), expected);
        }
        alice.publish("room:1", "31").await;
        assert_eq!(seq(&bob.entry().await), 31);
    }
}

/// 10,000 entries of 1 KiB to a client with a receive buffer of a few kilobytes that reads slowly at first.
async fn ten_thousand_through_a_small_outbox(pair: Pair) {
    let server = pair.server_with(&["session.outbox=64KiB", "channel.payload=32KiB"]).await;
    let mut alice = server.peer("alice").await;
    let payload = format!("\"{}\"", "x".repeat(1_000));
    for chunk in 0..100 {
        let ids: Vec<u32> = (1..=100).map(|n| chunk * 100 + n + 10).collect();
        let frames: Vec<_> = ids.iter().map(|id| crate::support::publish(Some(*id), "room:1", &payload, None, None)).collect();
        alice.send(&frames).await;
        for id in ids {
            alice.answer(id).await.unwrap();
        }
    }
    let mut bob = server.stalled("bob").await;
    let subscribed = bob.subscribe_with("room:1", at(0, 0), None).await.unwrap();
    assert_eq!((subscribed.recovered, subscribed.from, subscribed.to), (Some(true), Some(1), Some(10_000)));
    // Live entries meanwhile.
    let live = tokio::spawn(async move {
        alice.publish_many("room:1", 200).await;
        alice
    });
    for expected in 1..=10_200 {
        assert_eq!(seq(&bob.entry().await), expected);
        if expected % 100 == 0 && expected < 2_000 {
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
    }
    live.await.unwrap();
    assert_eq!(server.metric("hubbub_outbox_overflows_total{policy=\"close\"}"), 0.0);
}

async fn several_channels_in_one_subscribe(pair: Pair) {
    use hubbub_protocol::{
        ClientFrame,
        frame::{Channels, SubscribeChannel, Subscribed},
    };
    let server = pair.server().await;
    let mut alice = server.peer("alice").await;
    alice.publish_many("room:1", 3).await;
    let one = |channel: &str, since| SubscribeChannel { channel: channel.to_owned(), since, ..SubscribeChannel::default() };
    let channels =
        vec![one("room:1", at(1, 1)), one("not a name", None), one("live:1", at(1, 1)), one("room:1", None), one("room:2", None)];
    let id = alice.next_id();
    alice.send(&[ClientFrame::Subscribe { id, channels }]).await;
    let ServerFrame::Reply { result, .. } = alice.next().await else { panic!("not a reply") };
    let list: Channels<Subscribed> = result.read().unwrap();
    let codes: Vec<_> = list.channels.iter().map(|one| one.error.as_ref().map(|error| error.code.as_str())).collect();
    assert_eq!(codes, [None, Some("channel_invalid"), None, Some("already_subscribed"), None]);
    assert_eq!(list.channels[0].recovered, Some(true));
    assert_eq!((list.channels[2].durable, list.channels[2].reason), (false, Some(Unrecovered::Ephemeral)));
    assert_eq!([seq(&alice.entry().await), seq(&alice.entry().await)], [2, 3]);
}
