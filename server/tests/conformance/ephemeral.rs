//! Ephemeral channels: order per publisher, at most once, and never in the database.

use hubbub_protocol::{ErrorCode, frame::Slow};

use crate::support::{Pair, json, publish, refused};

crate::over_every_transport!(reach_who_listens_and_are_not_kept, without_an_id_nothing_is_answered);

async fn reach_who_listens_and_are_not_kept(pair: Pair) {
    let server = pair.server().await;
    let mut alice = server.peer("alice").await;
    let mut bob = server.peer("bob").await;
    alice.publish("live:1", "0").await;
    // `close` leaves nothing out; under `latest` whoever polls gets the newest when it polls.
    let subscribed = bob.subscribe_with("live:1", None, Some(Slow::Close)).await.unwrap();
    assert_eq!((subscribed.durable, subscribed.head), (false, None));
    for n in 1..=200 {
        let published = alice.publish("live:1", &n.to_string()).await;
        assert_eq!((published.seq, published.epoch), (None, None));
    }
    for n in 1..=200 {
        let entry = bob.entry().await;
        assert_eq!((json(&entry), entry.place), (n.into(), None));
    }
    refused(alice.history("live:1", None, None, None).await, ErrorCode::NotDurable);
    let database = hubbub_server::store::Db::open(&server.config().store).await.unwrap();
    assert_eq!(hubbub_server::store::channels::info(&database, &crate::support::name("live:1")).await.unwrap(), None);
    database.close().await;
}

async fn without_an_id_nothing_is_answered(pair: Pair) {
    let server = pair.server().await;
    let mut alice = server.peer("alice").await;
    alice.subscribe("live:1").await;
    alice.send(&[publish(None, "live:1", "1", None, None), publish(None, "room:1", "2", None, None)]).await;
    assert_eq!(json(&alice.entry().await), 1);
    // The durable one is stored all the same.
    let page = loop {
        let page = alice.history("room:1", None, None, None).await.unwrap();
        if page.head.seq > 0 {
            break page;
        }
    };
    assert_eq!(page.entries.len(), 1);
}
