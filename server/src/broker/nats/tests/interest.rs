//! What an instance listens to: counted, and known to the server when `listen` returns.

use std::time::{Duration, Instant};

use futures_util::future::join_all;

use super::{LONG, Node, config, config_at, entry, name, seqs, server::Server};
use crate::{
    broker::{Plane, To, subject::Subjects},
    config::Interest,
};

/// The server's subjects of channels below `prefix`.
fn channels(server: &Server, prefix: &str) -> Vec<String> {
    let subjects = Subjects::new(prefix);
    server.subjects().into_iter().filter(|subject| subjects.plane(subject).is_some()).collect()
}

async fn eventually(what: &str, mut is: impl FnMut() -> bool) {
    let until = Instant::now() + LONG;
    while !is() {
        assert!(Instant::now() < until, "{what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn the_last_to_leave_unsubscribes() {
    let server = Server::start(&[]);
    let config = config_at(&server.url());
    let [one, mut two] = Node::pair(&config).await;
    let room = name("room:1");
    two.broker.listen(Plane::Entries, &room).await;
    two.broker.listen(Plane::Entries, &room).await;
    assert_eq!(channels(&server, &config.prefix), [Subjects::new(&config.prefix).channel(Plane::Entries, &room)]);
    assert_eq!(two.count("hubbub_broker_subjects"), 1);

    two.broker.unlisten(Plane::Entries, &room);
    one.broker.publish(&[entry("room:1", 1)]);
    assert_eq!(seqs(&two.next_entries().await), [1]);

    two.broker.unlisten(Plane::Entries, &room);
    assert_eq!(two.count("hubbub_broker_subjects"), 0);
    one.broker.publish(&[entry("room:1", 2)]);
    one.broker.send(To::Everybody, b"after".to_vec());
    assert_eq!(two.next_message().await, b"after", "silence before it");
    eventually("the server knows of no subject", || channels(&server, &config.prefix).is_empty()).await;

    // One unlisten too many takes nothing from the next.
    two.broker.unlisten(Plane::Entries, &room);
    two.broker.listen(Plane::Entries, &room).await;
    one.broker.publish(&[entry("room:1", 3)]);
    assert_eq!(seqs(&two.next_entries().await), [3]);
}

#[tokio::test]
async fn when_listen_returns_the_server_knows() {
    let config = config();
    let [one, mut two] = Node::pair(&config).await;
    let began = Instant::now();
    for at in 0..200 {
        let channel = format!("room:{at}");
        two.broker.listen(Plane::Entries, &name(&channel)).await;
        one.broker.publish(&[entry(&channel, at)]);
        assert_eq!(seqs(&two.next_entries().await), [at]);
    }
    assert!(began.elapsed() < LONG, "a listen does not wait out its patience: {:?}", began.elapsed());
}

#[tokio::test]
async fn many_listens_share_a_trip_to_the_server() {
    let server = Server::start(&[]);
    let config = config_at(&server.url());
    let node = Node::start(&config, "one").await;
    let rooms: Vec<_> = (0..3_000).map(|at| name(&format!("room:{at}"))).collect();
    let before = server.messages();
    join_all(rooms.iter().map(|room| node.broker.listen(Plane::Entries, room))).await;
    eventually("the server knows of all", || channels(&server, &config.prefix).len() == rooms.len()).await;
    let trips = server.messages() - before;
    assert!((1..=4).contains(&trips), "{trips} trips");
    assert_eq!(node.count("hubbub_broker_subjects"), rooms.len() as u64);
    for room in &rooms {
        node.broker.unlisten(Plane::Entries, room);
    }
    eventually("the server knows of no subject", || channels(&server, &config.prefix).is_empty()).await;
}

#[tokio::test]
async fn leaving_and_coming_back_at_once_hears_everything_once() {
    let [one, mut two] = Node::pair(&config()).await;
    let room = name("room:1");
    two.broker.listen(Plane::Entries, &room).await;
    for seq in 1..=50 {
        two.broker.unlisten(Plane::Entries, &room);
        two.broker.listen(Plane::Entries, &room).await;
        one.broker.publish(&[entry("room:1", seq)]);
        assert_eq!(seqs(&two.next_entries().await), [seq]);
    }
    one.broker.send(To::Everybody, b"after".to_vec());
    assert_eq!(two.next_message().await, b"after");
}

#[tokio::test]
async fn the_planes_of_a_channel_are_apart() {
    let [one, mut two] = Node::pair(&config()).await;
    two.broker.listen(Plane::Presence, &name("room:1")).await;
    one.broker.publish(&[entry("room:1", 1)]);
    one.broker.send(To::Presence(&name("room:1")), b"joined".to_vec());
    assert_eq!(two.next_message().await, b"joined");
    two.broker.unlisten(Plane::Presence, &name("room:1"));
    two.broker.listen(Plane::Entries, &name("room:1")).await;
    one.broker.send(To::Presence(&name("room:1")), b"left".to_vec());
    one.broker.publish(&[entry("room:1", 2)]);
    assert_eq!(seqs(&two.next_entries().await), [2]);
}

#[tokio::test]
async fn whole_shards_bring_only_what_is_listened_to() {
    let server = Server::start(&[]);
    let mut config = config_at(&server.url());
    let one = Node::start(&config, "one").await;
    config.interest = Interest::Shards;
    let mut two = Node::start(&config, "two").await;
    // Two channels of one shard.
    let shard = |at: u64| crate::broker::subject::shard(&name(&format!("room:{at}")));
    let other = (1..).find(|&at| shard(at) == shard(0)).unwrap();
    let [wanted, unwanted] = [0, other].map(|at| format!("room:{at}"));
    two.broker.listen(Plane::Entries, &name(&wanted)).await;
    two.broker.listen(Plane::Presence, &name(&wanted)).await;
    let subjects = Subjects::new(&config.prefix);
    let mut subscribed = channels(&server, &config.prefix);
    subscribed.sort();
    let mut shards = [Plane::Entries, Plane::Presence].map(|plane| subjects.shard(plane, shard(0)));
    shards.sort();
    assert_eq!(subscribed, shards);

    one.broker.publish(&[entry(&unwanted, 1)]);
    one.broker.publish(&[entry(&wanted, 2)]);
    assert_eq!(seqs(&two.next_entries().await), [2]);
    assert_eq!(two.count("hubbub_broker_received_total{result=\"unwanted\"}"), 1);
    one.broker.send(To::Presence(&name(&unwanted)), b"unwanted".to_vec());
    one.broker.send(To::Presence(&name(&wanted)), b"wanted".to_vec());
    assert_eq!(two.next_message().await, b"wanted");

    // The shard stays as long as one of its channels does.
    two.broker.listen(Plane::Entries, &name(&unwanted)).await;
    two.broker.unlisten(Plane::Entries, &name(&wanted));
    one.broker.publish(&[entry(&wanted, 3)]);
    one.broker.publish(&[entry(&unwanted, 4)]);
    assert_eq!(seqs(&two.next_entries().await), [4]);
    two.broker.unlisten(Plane::Entries, &name(&unwanted));
    two.broker.unlisten(Plane::Presence, &name(&wanted));
    eventually("the server knows of no subject", || channels(&server, &config.prefix).is_empty()).await;
}

#[tokio::test]
async fn somebody_who_listens_to_everything_slows_one_listen_only() {
    let server = Server::start(&[]);
    let node = Node::start(&config_at(&server.url()), "one").await;
    let client = async_nats::connect(server.url()).await.unwrap();
    let _everything = client.subscribe(">").await.unwrap();
    eventually("the server knows of it", || server.subjects().contains(&">".to_owned())).await;
    node.broker.listen(Plane::Entries, &name("first")).await;
    let began = Instant::now();
    for at in 0..20 {
        node.broker.listen(Plane::Entries, &name(&format!("room:{at}"))).await;
    }
    assert!(began.elapsed() < LONG / 2, "{:?}", began.elapsed());
}
