//! What one instance says, and what another hears.

use std::time::Duration;

use bytes::Bytes;
use hubbub_protocol::limits;
use tokio::time::timeout;

use super::{Node, config, entry, entry_of, name, seqs};
use crate::broker::{Arrival, Plane, To, envelope, subject::Subjects};

#[tokio::test]
async fn entries_arrive_in_order_and_not_where_they_came_from() {
    let [mut one, mut two] = Node::pair(&config()).await;
    for node in [&one, &two] {
        node.broker.listen(Plane::Entries, &name("room:1")).await;
    }
    let sent: Vec<_> = (1..=500).map(|seq| entry("room:1", seq)).collect();
    for batch in sent.chunks(7) {
        one.broker.publish(batch);
    }
    let mut heard = Vec::new();
    while heard.len() < sent.len() {
        heard.extend(two.next_entries().await);
    }
    assert!(heard.iter().zip(&sent).all(|(heard, sent)| *heard == **sent));
    assert_eq!(one.count("hubbub_broker_sent_total{result=\"sent\"}"), 500_u64.div_ceil(7));
    assert_eq!(two.count("hubbub_broker_received_total{result=\"accepted\"}"), 500_u64.div_ceil(7));
    assert_eq!(one.count("hubbub_broker_sent_bytes_total"), two.count("hubbub_broker_received_bytes_total"));

    // What the first one hears next is the answer, not its own words.
    two.broker.publish(&[entry("room:1", 501)]);
    assert_eq!(seqs(&one.next_entries().await), [501]);
}

#[tokio::test]
async fn a_batch_of_many_channels_is_one_message_for_each() {
    let [one, mut two] = Node::pair(&config()).await;
    for channel in ["a", "b"] {
        two.broker.listen(Plane::Entries, &name(channel)).await;
    }
    let mixed: Vec<_> = (1..=6).map(|seq| entry(["a", "b"][seq as usize % 2], seq)).collect();
    one.broker.publish(&mixed);
    let mut heard = [two.next_entries().await, two.next_entries().await].map(|entries| seqs(&entries));
    heard.sort();
    assert_eq!(heard, [[1, 3, 5], [2, 4, 6]]);
}

#[tokio::test]
async fn large_batches_are_split_and_the_largest_entry_fits() {
    let [one, mut two] = Node::pair(&config()).await;
    two.broker.listen(Plane::Entries, &name("big")).await;
    let mut sent: Vec<_> = (1..=40).map(|seq| entry_of("big", seq, 50_000)).collect();
    sent.push(entry_of("big", 41, limits::MAX_PAYLOAD - 5));
    sent.push(entry("big", 42));
    one.broker.publish(&sent);
    let mut heard = Vec::new();
    let mut messages = 0;
    while heard.len() < sent.len() {
        heard.extend(two.next_entries().await);
        messages += 1;
    }
    assert_eq!(seqs(&heard), (1..=42).collect::<Vec<_>>());
    assert!(heard.iter().zip(&sent).all(|(heard, sent)| heard.payload == sent.payload));
    assert_eq!(messages, 6, "four of ten, the largest, the last");
}

#[tokio::test]
async fn messages_reach_whom_they_are_for() {
    let config = config();
    let [mut one, mut two] = Node::pair(&config).await;
    let mut three = Node::start(&config, "three").await;
    two.broker.listen(Plane::Presence, &name("room:1")).await;
    one.broker.send(To::Everybody, b"all".to_vec());
    assert_eq!(two.next_message().await, b"all");
    assert_eq!(three.next_message().await, b"all");
    one.broker.send(To::Presence(&name("room:1")), b"presence".to_vec());
    assert_eq!(two.next_message().await, b"presence");
    two.broker.send(To::Instance("three"), b"three".to_vec());
    assert_eq!(three.next_message().await, b"three");
    three.broker.send(To::Instance("one"), b"one".to_vec());
    assert_eq!(one.next_message().await, b"one");
}

#[tokio::test]
async fn clusters_with_prefixes_of_their_own_hear_nothing_of_each_other() {
    let (ours, theirs) = (config(), config());
    let [one, mut two] = Node::pair(&ours).await;
    let stranger = Node::start(&theirs, "one").await;
    two.broker.listen(Plane::Entries, &name("room:1")).await;
    stranger.broker.publish(&[entry("room:1", 1)]);
    stranger.broker.send(To::Everybody, b"stranger".to_vec());
    // The stranger's words are with the server before ours are: a subject's subscriber would have them first.
    stranger.broker.listen(Plane::Entries, &name("room:2")).await;
    one.broker.publish(&[entry("room:1", 2)]);
    assert_eq!(seqs(&two.next_entries().await), [2]);
    assert_eq!(two.count("hubbub_broker_received_total{result=\"accepted\"}"), 1);
}

#[tokio::test]
async fn what_is_no_envelope_is_counted_and_harms_nobody() {
    let config = config();
    let [one, mut two] = Node::pair(&config).await;
    two.broker.listen(Plane::Entries, &name("room:1")).await;
    let subject = Subjects::new(&config.prefix).channel(Plane::Entries, &name("room:1"));
    let stranger = async_nats::connect(config.url.expose()).await.unwrap();
    let good = envelope::encode(&[entry("room:1", 1)]);
    let newer = [&[2], &good[1..]].concat();
    let of_two_channels = envelope::encode(&[entry("room:1", 1), entry("room:2", 1)]);
    let bad = [Vec::new(), vec![1], b"{}".to_vec(), newer, good[..good.len() - 1].to_vec(), envelope::encode(&[]), of_two_channels];
    for body in &bad {
        stranger.publish(subject.clone(), Bytes::from(body.clone())).await.unwrap();
    }
    stranger.publish(subject, good.into()).await.unwrap();
    assert_eq!(seqs(&two.next_entries().await), [1]);
    assert_eq!(two.count("hubbub_broker_received_total{result=\"malformed\"}"), bad.len() as u64);
    drop(one);
}

#[tokio::test]
async fn an_instance_that_takes_nothing_is_told_of_doubt_when_it_does() {
    let [one, mut two] = Node::pair(&config()).await;
    two.broker.listen(Plane::Entries, &name("storm")).await;
    let batch = [entry("storm", 1)];
    while two.count("hubbub_broker_slow_consumer_total") == 0 {
        for _ in 0..500 {
            one.broker.publish(&batch);
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let doubt = async { while !matches!(two.next().await, Arrival::Doubt) {} };
    timeout(super::LONG, doubt).await.expect("doubt arrives");
}

#[tokio::test]
async fn what_was_published_before_the_end_arrives() {
    let [one, mut two] = Node::pair(&config()).await;
    two.broker.listen(Plane::Entries, &name("room:1")).await;
    let large: Vec<_> = (1..=20).map(|seq| entry_of("room:1", seq, 400_000)).collect();
    one.broker.publish(&large);
    timeout(super::LONG, one.tasks.stop()).await.expect("the tasks end");
    let mut heard = Vec::new();
    while heard.len() < large.len() {
        heard.extend(seqs(&two.next_entries().await));
    }
    assert_eq!(heard, (1..=20).collect::<Vec<_>>());
}
