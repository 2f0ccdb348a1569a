//! Promises 2 and 3: one order, and no silent gap.

use hubbub_protocol::{ClientFrame, ServerFrame};

use crate::support::{Pair, Transport, json, publish, seq};

crate::over_every_transport_and_instance!(
    every_subscriber_sees_one_order,
    every_transport_sees_the_same,
    a_reply_precedes_what_follows_from_it,
    nothing_follows_an_unsubscribe,
    heads_tell_how_far_one_is,
);

crate::behind_each_proxy!(
    every_subscriber_sees_one_order,
    every_transport_sees_the_same,
    a_reply_precedes_what_follows_from_it,
    heads_tell_how_far_one_is,
);

async fn every_subscriber_sees_one_order(pair: Pair) {
    let server = pair.server().await;
    let mut subscribers = Vec::new();
    for transport in Transport::ALL {
        let mut peer = server.peer_over(transport, "reader").await;
        peer.subscribe("room:1").await;
        subscribers.push(peer);
    }
    let publishers = (0..4).map(|n| {
        let publisher = server.peer(["p0", "p1", "p2", "p3"][n]);
        async { publisher.await.publish_many("room:1", 250).await }
    });
    futures_util::future::join_all(publishers).await;
    let mut orders = Vec::new();
    for peer in &mut subscribers {
        let mut order = Vec::new();
        let mut per_publisher = std::collections::HashMap::new();
        for expected in 1..=1_000 {
            let entry = peer.entry().await;
            assert_eq!(seq(&entry), expected);
            let last = per_publisher.insert(entry.publisher.to_string(), json(&entry).as_u64());
            assert!(last.is_none_or(|last| last < json(&entry).as_u64()), "one publisher's messages keep their order");
            order.push(entry.message_id);
        }
        orders.push(order);
    }
    assert!(orders.windows(2).all(|pair| pair[0] == pair[1]));
}

async fn every_transport_sees_the_same(pair: Pair) {
    let server = pair.server().await;
    let mut peers = Vec::new();
    for transport in Transport::ALL {
        let mut peer = server.peer_over(transport, "alice").await;
        peer.subscribe("room:1").await;
        peers.push(peer);
    }
    let payload = r#"{"text":"שלום 👩🏽‍🚀","n":[1,-2,3.5,null,true],"bin":{"$bin":"aGk="}}"#;
    for peer in &mut peers {
        peer.publish_with("room:1", payload, None, Some("k")).await.unwrap();
    }
    for _ in 0..peers.len() {
        let first = peers[0].entry().await;
        assert_eq!(json(&first), serde_json::from_str::<serde_json::Value>(payload).unwrap());
        for peer in &mut peers[1..] {
            assert_eq!(peer.entry().await, first);
        }
    }
}

async fn a_reply_precedes_what_follows_from_it(pair: Pair) {
    let server = pair.server().await;
    let mut noisy = server.peer("noisy").await;
    let mut alice = server.peer("alice").await;
    // Live entries all the while.
    let noise = tokio::spawn(async move { noisy.publish_many("room:1", 2_000).await });
    for _ in 0..50 {
        let id = alice.next_id();
        let one = hubbub_protocol::frame::SubscribeChannel { channel: "room:1".to_owned(), ..Default::default() };
        alice.send(&[ClientFrame::Subscribe { id, channels: vec![one] }]).await;
        let head = match alice.next().await {
            ServerFrame::Reply { id: of, result } if of == id => {
                let list: hubbub_protocol::frame::Channels<hubbub_protocol::frame::Subscribed> = result.read().unwrap();
                list.channels[0].head.unwrap()
            }
            other => panic!("before the reply: {other:?}"),
        };
        let id = alice.next_id();
        alice.send(&[ClientFrame::Unsubscribe { id, channels: vec!["room:1".to_owned()] }]).await;
        let mut cursor = head.seq;
        loop {
            match alice.next().await {
                ServerFrame::Entry(entry) => {
                    assert_eq!(seq(&entry), cursor + 1);
                    cursor += 1;
                }
                ServerFrame::Reply { id: of, .. } if of == id => break,
                other => panic!("{other:?}"),
            }
        }
    }
    noise.await.unwrap();
}

async fn nothing_follows_an_unsubscribe(pair: Pair) {
    let server = pair.server().await;
    let mut alice = server.peer("alice").await;
    alice.subscribe("room:1").await;
    alice.publish("room:1", "1").await;
    alice.entry().await;
    alice.unsubscribe("room:1").await;
    alice.publish("room:1", "2").await;
    // The answer to a later request is the next thing that comes.
    let id = alice.next_id();
    alice.send(&[ClientFrame::Ping { id }]).await;
    assert!(matches!(alice.next().await, ServerFrame::Reply { id: of, .. } if of == id));
    // And the channel is forgotten, not only silent.
    let channels = std::time::Duration::from_secs(10);
    tokio::time::timeout(channels, async {
        while server.metric("hubbub_subscriptions") > 0.0 {
            tokio::task::yield_now().await;
        }
    })
    .await
    .unwrap();
}

async fn heads_tell_how_far_one_is(pair: Pair) {
    let server = pair.server_with(&["session.heartbeat=1s"]).await;
    let mut alice = server.peer("alice").await;
    alice.subscribe("room:1").await;
    alice.subscribe("room:2").await;
    let id = alice.next_id();
    alice.send(&[publish(Some(id), "room:1", "1", None, None)]).await;
    let mut seen = 0;
    loop {
        match alice.step().await.unwrap() {
            ServerFrame::Entry(entry) => seen = seq(&entry),
            ServerFrame::Heads { channels, .. } if !channels.is_empty() => {
                assert_eq!(channels.len(), 1, "only what moved: {channels:?}");
                assert_eq!((channels[0].channel.as_str(), channels[0].cursor.seq), ("room:1", seen));
                break;
            }
            _ => {}
        }
    }
    assert_eq!(seen, 1);
    loop {
        if let ServerFrame::Heads { channels, .. } = alice.step().await.unwrap() {
            assert_eq!(channels, [], "nothing has moved since");
            break;
        }
    }
}
