//! A server that goes away and comes back.

use std::time::{Duration, Instant};

use super::{LONG, Node, config_at, entry, name, seqs, server::Server};
use crate::{
    broker::{self, Arrival, Broker, Plane, To},
    config::{BrokerConfig, NatsUrl},
};

async fn until(is_alive: bool, broker: &Broker) {
    let until = Instant::now() + 2 * LONG;
    while broker.is_alive() != is_alive {
        assert!(Instant::now() < until, "is_alive() stays {}", !is_alive);
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn nothing_blocks_while_the_server_is_gone_and_doubt_follows_its_return() {
    let mut server = Server::start(&[]);
    let [one, mut two] = Node::pair(&config_at(&server.url())).await;
    two.broker.listen(Plane::Entries, &name("room:1")).await;
    assert!(one.broker.is_alive() && one.broker.is_clustered() && one.broker.name() == "nats");

    server.stop();
    until(false, &one.broker).await;
    until(false, &two.broker).await;
    let began = Instant::now();
    for seq in 1..=10_000 {
        one.broker.publish(&[entry("room:1", seq)]);
    }
    one.broker.send(To::Everybody, b"nobody hears".to_vec());
    for _ in 0..20 {
        two.broker.listen(Plane::Entries, &name("room:3")).await;
        two.broker.unlisten(Plane::Entries, &name("room:3"));
    }
    two.broker.listen(Plane::Entries, &name("room:2")).await;
    assert!(began.elapsed() < Duration::from_secs(2), "{:?}", began.elapsed());
    assert_eq!(one.count("hubbub_broker_sent_total{result=\"dropped_disconnected\"}"), 10_001);

    server.restart();
    assert!(matches!(two.next().await, Arrival::Doubt));
    until(true, &one.broker).await;
    // What was subscribed before and meanwhile is subscribed when the doubt comes, or soon after it.
    two.broker.listen(Plane::Entries, &name("room:2")).await;
    one.broker.publish(&[entry("room:1", 10_001)]);
    assert_eq!(seqs(&two.next_entries().await), [10_001], "nothing of before");
    one.broker.publish(&[entry("room:2", 1)]);
    assert_eq!(seqs(&two.next_entries().await), [1]);
    assert_eq!(two.count("hubbub_broker_reconnects_total"), 1);
}

#[tokio::test]
async fn a_server_that_stalls_costs_drops_and_no_time() {
    let server = Server::start(&[]);
    let [one, mut two] = Node::pair(&config_at(&server.url())).await;
    two.broker.listen(Plane::Entries, &name("room:1")).await;
    server.pause();
    let began = Instant::now();
    let mut seq = 0;
    while one.count("hubbub_broker_sent_total{result=\"dropped_full\"}") == 0 {
        assert!(began.elapsed() < LONG, "the bound is never reached");
        for _ in 0..1_000 {
            seq += 1;
            one.broker.publish(&[super::entry_of("room:1", seq, 1_000)]);
        }
        tokio::task::yield_now().await;
    }
    let began = Instant::now();
    for _ in 0..1_000 {
        one.broker.publish(&[entry("room:1", seq)]);
    }
    assert!(began.elapsed() < Duration::from_secs(2), "{:?}", began.elapsed());
    server.resume();
    // Whatever was lost, what arrives is in order.
    let mut last = 0;
    while two.count("hubbub_broker_received_total{result=\"accepted\"}") < 1_000 {
        let Arrival::Entries(entries) = two.next().await else { continue };
        for seq in seqs(&entries) {
            assert!(seq > last, "{seq} after {last}");
            last = seq;
        }
    }
}

#[tokio::test]
async fn when_a_server_of_a_cluster_dies_another_takes_over() {
    let cluster = ["--cluster_name", "c", "--cluster", "nats://127.0.0.1:-1"];
    let mut first = Server::start(&cluster);
    let route = format!("nats://127.0.0.1:{}", first.route());
    let second = Server::start(&[&cluster[..], &["--routes", &route]].concat());
    while first.routes() == 0 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    // The first instance knows of the second server by the first server only.
    let config = config_at(&first.url());
    assert_eq!(broker::check(&config).await.unwrap().cluster.as_deref(), Some("c"));
    let mut one = Node::start(&config, "one").await;
    let config = BrokerConfig { url: NatsUrl::parse(&second.url()).unwrap(), ..config };
    let mut two = Node::start(&config, "two").await;
    two.broker.listen(Plane::Entries, &name("room:1")).await;

    first.stop();
    assert!(matches!(one.next().await, Arrival::Doubt));
    one.broker.publish(&[entry("room:1", 1)]);
    assert_eq!(seqs(&two.next_entries().await), [1]);
}

#[tokio::test]
async fn a_connection_without_an_answer_is_given_up() {
    let server = Server::start(&[]);
    let mut one = Node::start(&config_at(&server.url()), "one").await;
    server.pause();
    tokio::time::timeout(Duration::from_secs(12), until(false, &one.broker)).await.expect("it is found within about ten seconds");
    server.resume();
    assert!(matches!(one.next().await, Arrival::Doubt));
    assert!(one.broker.is_alive());
}
