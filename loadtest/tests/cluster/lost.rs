//! An entry that is stored, and of which nobody was told.

use std::time::{Duration, Instant};

use hubbub_client::{Event, Message, StreamExt as _, SubscribeOptions, Subscription};
use hubbub_protocol::ChannelName;

use crate::{common::hubbub, instance::Cluster};

async fn seq(subscription: &mut Subscription) -> u64 {
    loop {
        match subscription.next().await.unwrap() {
            Event::Entry(entry) => return entry.place.unwrap().seq,
            Event::Subscribed(_) => {}
            other => panic!("{other:?}"),
        }
    }
}

/// The third commit of its instance is the last thing that it does: it dies before NATS hears of it, and nothing else is published.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn is_found_elsewhere_within_two_seconds() {
    let mut cluster = Cluster::start(1);
    cluster.join(&hubbub(), &["--die-after-commit", "3"]);
    let room = ChannelName::parse("room:1").unwrap();
    let reader = cluster.client(0, "reader");
    let mut subscription = reader.subscribe(room.clone(), SubscribeOptions::default()).await.unwrap();
    let alice = cluster.client(1, "alice");
    let publish = |n: u64| alice.publish(Message::encode(room.clone(), &n).unwrap());
    for n in 1..=2 {
        publish(n).await.unwrap();
        assert_eq!(seq(&mut subscription).await, n);
    }
    // It is never answered: its instance is dead, and its client knows no other.
    let third = publish(3);
    let died = async {
        let mut doomed = cluster.instances.pop().unwrap();
        let status = tokio::task::spawn_blocking(move || doomed.ended()).await.unwrap();
        assert!(!status.success(), "it was to die: {status}");
        Instant::now()
    };
    let died = tokio::select! {
        died = died => died,
        answer = third => panic!("it was answered: {answer:?}"),
    };
    let found = tokio::time::timeout(Duration::from_secs(10), seq(&mut subscription)).await.expect("it is never found");
    println!("found {:?} after the death of its instance", died.elapsed());
    assert_eq!(found, 3);
    assert!(died.elapsed() < Duration::from_secs(2), "it took {:?}", died.elapsed());
}
