//! Several instances, one database, NATS between them: whoever is connected to one notices nothing of the others.

use std::{collections::HashMap, time::Duration};

use hubbub_protocol::{ClientFrame, Entry, frame::Slow};
use hubbub_server::auth::Action;

use crate::{
    http::{Request, request},
    support::{Pair, Peer, Server, Transport, eventually, json, message_id, publish, seq},
};

crate::in_every_cluster!(
    what_one_stores_all_deliver_once_and_in_order,
    a_cursor_of_one_resumes_on_another,
    a_retry_elsewhere_gets_the_first_answer,
    two_at_full_speed_make_one_order,
    batches_that_cross_do_not_lock_each_other_out,
    ephemeral_entries_cross_in_their_publishers_order,
    history_and_info_are_the_same_everywhere,
    one_that_stops_leaves_the_others_whole,
);

crate::behind_each_proxy!(
    a_cursor_of_one_resumes_on_another,
    a_retry_elsewhere_gets_the_first_answer,
    batches_that_cross_do_not_lock_each_other_out,
    ephemeral_entries_cross_in_their_publishers_order,
);

// Counts what comes by NATS: POSTs that another instance hands on would be among it.
mod by_socket {
    use super::interest_ends_with_the_last_subscriber;

    crate::on_nats_pairs!(interest_ends_with_the_last_subscriber);
}

/// The next `count` entries, and that nothing else comes behind them.
async fn entries(peer: &mut Peer, count: usize) -> Vec<Entry> {
    let mut entries = Vec::with_capacity(count);
    while entries.len() < count {
        entries.push(peer.entry().await);
    }
    let id = peer.next_id();
    peer.send(&[ClientFrame::Ping { id }]).await;
    assert!(matches!(peer.next().await, hubbub_protocol::ServerFrame::Reply { id: of, .. } if of == id), "an entry too many");
    entries
}

fn repairs(fleet: &[Server]) -> f64 {
    fleet.iter().map(|server| server.metric("hubbub_store_reads_total{kind=\"repair\"}")).sum()
}

async fn what_one_stores_all_deliver_once_and_in_order(pair: Pair) {
    let fleet: [Server; 3] = pair.fleet().await;
    let mut subscribers = Vec::new();
    for server in &fleet {
        for transport in Transport::ALL {
            let mut peer = server.peer_over(transport, "reader").await;
            peer.subscribe("room:1").await;
            subscribers.push(peer);
        }
    }
    fleet[0].peer("alice").await.publish_many("room:1", 500).await;
    let first = entries(&mut subscribers[0], 500).await;
    assert!(first.iter().map(seq).eq(1..=500));
    for peer in &mut subscribers[1..] {
        assert_eq!(entries(peer, 500).await, first);
    }
    // The other way too.
    fleet[2].peer("bob").await.publish("room:1", "\"from the third\"").await;
    for peer in &mut subscribers {
        let entry = peer.entry().await;
        assert_eq!((seq(&entry), &*entry.publisher, json(&entry)), (501, "bob", "from the third".into()));
    }
}

async fn a_cursor_of_one_resumes_on_another(pair: Pair) {
    let [a, b] = pair.fleet().await;
    let mut alice = a.peer("alice").await;
    let mut reader = a.peer("reader").await;
    reader.subscribe("room:1").await;
    alice.publish_many("room:1", 100).await;
    for _ in 1..40 {
        reader.entry().await;
    }
    let cursor = reader.entry().await.cursor();
    reader.leave().await;
    let mut reader = b.peer("reader").await;
    let subscribed = reader.subscribe_with("room:1", cursor, None).await.unwrap();
    assert_eq!((subscribed.recovered, subscribed.from, subscribed.to), (Some(true), Some(41), Some(100)));
    alice.publish_many("room:1", 20).await;
    assert!(entries(&mut reader, 80).await.iter().map(seq).eq(41..=120));
}

async fn a_retry_elsewhere_gets_the_first_answer(pair: Pair) {
    let [a, b] = pair.fleet().await;
    let mut reader = b.peer("reader").await;
    reader.subscribe("room:1").await;
    let id = message_id(a.now(), 1);
    let first = a.peer("alice").await.publish_with("room:1", "1", Some(id), None).await.unwrap();
    let mut alice = b.peer("alice").await;
    let again = alice.publish_with("room:1", "1", Some(id), None).await.unwrap();
    assert!(again.duplicate && !first.duplicate);
    assert_eq!((again.epoch, again.seq, again.time), (first.epoch, first.seq, first.time));
    crate::support::refused(alice.publish_with("room:1", "2", Some(id), None).await, hubbub_protocol::ErrorCode::IdReused);
    alice.publish("room:1", "3").await;
    assert!(entries(&mut reader, 2).await.iter().map(seq).eq(1..=2), "nothing was doubled");
}

/// Publishes of two instances overtake each other in NATS as a matter of course. What arrives early waits for its elders; the store is
/// read for one entry in a hundred at most.
async fn two_at_full_speed_make_one_order(pair: Pair) {
    const EACH: u32 = 1_000;
    const ALL: usize = 4 * EACH as usize;
    let fleet: [Server; 2] = pair.fleet().await;
    let mut subscribers = Vec::new();
    for server in &fleet {
        let mut peer = server.peer("reader").await;
        peer.subscribe("room:1").await;
        subscribers.push(peer);
    }
    let mut publishers = Vec::new();
    for (server, user) in [(0, "p0"), (0, "p1"), (1, "p2"), (1, "p3")] {
        let mut publisher = fleet[server].peer(user).await;
        publishers.push(tokio::spawn(async move { publisher.publish_many("room:1", EACH).await }));
    }
    let mut orders = Vec::new();
    for peer in &mut subscribers {
        let order = entries(peer, ALL).await;
        assert!(order.iter().map(seq).eq(1..=ALL as u64));
        let mut last = HashMap::new();
        for entry in &order {
            let before = last.insert(entry.publisher.clone(), json(entry).as_u64());
            assert!(before.is_none_or(|before| before < json(entry).as_u64()), "one publisher's messages keep their order");
        }
        orders.push(order);
    }
    assert_eq!(orders[0], orders[1]);
    for publisher in publishers {
        publisher.await.unwrap();
    }
    let repairs = repairs(&fleet);
    println!("{repairs} repairs by reading the store, {ALL} entries on 2 instances");
    assert!(repairs <= ALL as f64 / 100.0, "{repairs} repairs of {ALL} entries");
}

/// Two instances whose batches hold the same channels, in opposite orders.
async fn batches_that_cross_do_not_lock_each_other_out(pair: Pair) {
    const CHANNELS: u32 = 20;
    const ROUNDS: u32 = 20;
    let fleet: [Server; 2] = pair.fleet().await;
    let mut running = Vec::new();
    for (number, server) in fleet.iter().enumerate() {
        let mut peer = server.peer("alice").await;
        running.push(tokio::spawn(async move {
            for _ in 0..ROUNDS {
                let channels = (0..CHANNELS).map(|n| if number == 0 { n } else { CHANNELS - 1 - n });
                let ids: Vec<_> = channels.map(|channel| (peer.next_id(), format!("room:{channel}"))).collect();
                let frames: Vec<_> = ids.iter().map(|(id, channel)| publish(Some(*id), channel, "1", None, None)).collect();
                peer.send(&frames).await;
                for (id, channel) in ids {
                    peer.answer(id).await.unwrap_or_else(|error| panic!("{channel}: {error:?}"));
                }
            }
        }));
    }
    for one in running {
        one.await.unwrap();
    }
    let mut reader = fleet[0].peer("reader").await;
    for channel in 0..CHANNELS {
        let head = reader.history(&format!("room:{channel}"), None, None, Some(1)).await.unwrap().head;
        assert_eq!(head.seq, u64::from(2 * ROUNDS));
    }
}

async fn ephemeral_entries_cross_in_their_publishers_order(pair: Pair) {
    let fleet: [Server; 2] = pair.fleet().await;
    let mut subscribers = Vec::new();
    for server in &fleet {
        let mut peer = server.peer("reader").await;
        peer.subscribe_with("live:1", None, Some(Slow::Close)).await.unwrap();
        subscribers.push(peer);
    }
    for (server, user) in fleet.iter().zip(["alice", "bob"]) {
        server.peer(user).await.publish_many("live:1", 200).await;
    }
    for peer in &mut subscribers {
        let mut of: HashMap<String, Vec<u64>> = HashMap::new();
        for entry in entries(peer, 400).await {
            assert_eq!(entry.place, None);
            of.entry(entry.publisher.to_string()).or_default().push(json(&entry).as_u64().unwrap());
        }
        assert_eq!(of, ["alice", "bob"].map(|user| (user.to_owned(), (0..200).collect())).into());
    }
}

async fn history_and_info_are_the_same_everywhere(pair: Pair) {
    let [a, b] = pair.fleet().await;
    a.peer("alice").await.publish_many("room:1", 12).await;
    b.peer("bob").await.publish_many("room:1", 3).await;
    let mut pages = Vec::new();
    for server in [&a, &b] {
        let page = server.peer("reader").await.history("room:1", Some(4), None, Some(10)).await.unwrap();
        assert!(page.entries.iter().map(seq).eq(5..=14) && page.more);
        pages.push(page.entries);
        let token = server.token_for("reader", 60, &[("room:*", &[Action::History])]);
        let info = request(server.address(), Request::get("/v1/channels/room:1").with_token(&token)).await.json();
        assert_eq!((info["messages"].as_u64(), info["head"]["seq"].as_u64()), (Some(15), Some(15)));
    }
    assert_eq!(pages[0], pages[1]);
}

/// What nobody wants on an instance does not come there.
async fn interest_ends_with_the_last_subscriber(pair: Pair) {
    let [a, b] = pair.fleet().await;
    let subjects = || b.metric("hubbub_broker_subjects");
    let received = || b.metric("hubbub_broker_received_total{result=\"accepted\"}");
    let (mut first, mut last) = (b.peer("first").await, b.peer("last").await);
    first.subscribe("room:1").await;
    last.subscribe("room:1").await;
    eventually("one subject is subscribed for both", || subjects() == 1.0).await;
    first.unsubscribe("room:1").await;
    let mut alice = a.peer("alice").await;
    alice.publish("room:1", "1").await;
    assert_eq!(seq(&last.entry().await), 1);
    last.unsubscribe("room:1").await;
    eventually("nothing is subscribed", || subjects() == 0.0).await;
    let before = received();
    alice.publish("room:1", "2").await;
    last.subscribe("room:2").await;
    alice.publish("room:2", "1").await;
    assert_eq!(last.entry().await.channel.as_str(), "room:2");
    eventually("the one of room:2 has come by NATS", || received() > before).await;
    assert_eq!(received(), before + 1.0, "and that of room:1 has not");
}

/// An instance drains while the other publishes; its subscriber goes on over there.
async fn one_that_stops_leaves_the_others_whole(pair: Pair) {
    let [a, b] = pair.fleet().await;
    let (mut stays, mut moves) = (b.peer("stays").await, a.peer("moves").await);
    stays.subscribe("room:1").await;
    moves.subscribe("room:1").await;
    let mut alice = b.peer("alice").await;
    alice.publish_many("room:1", 50).await;
    let before = entries(&mut moves, 50).await;
    let stopping = tokio::spawn(a.app.shut_down(hubbub_server::app::Notice::None));
    alice.publish_many("room:1", 50).await;
    moves.closed().await;
    moves.leave().await;
    tokio::time::timeout(Duration::from_secs(10), stopping).await.unwrap().unwrap();
    let mut moves = b.peer("moves").await;
    assert_eq!(moves.subscribe_with("room:1", before[49].cursor(), None).await.unwrap().recovered, Some(true));
    assert!(entries(&mut moves, 50).await.iter().map(seq).eq(51..=100));
    assert!(entries(&mut stays, 100).await.iter().map(seq).eq(1..=100));
}
