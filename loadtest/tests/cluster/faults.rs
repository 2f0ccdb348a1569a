//! Three instances with subscribers on each, 20,000 rows of real data, and one kind of fault in each test: every acknowledged row arrives
//! once and in order at every subscriber that stayed or came back.

use std::{thread::sleep, time::Duration};

use crate::{
    instance::Cluster,
    postgres::Stop,
    proxy::Road,
    replay::{Replay, delays, unix_ms},
};

const ROWS: usize = 20_000;
const SUBSCRIBERS: usize = 6;

/// Zip codes, by state: 20,000 rows at a thousand a second, published and read everywhere, while two of the readers come and go.
fn replay(cluster: &Cluster) -> Replay {
    let arguments =
        ["--limit", "20000", "--rate", "1000", "--publishers", "3", "--subscribers", "6", "--dropping", "2", "--drop-every", "3s"];
    cluster.replay("zipcodes.csv", "state", &arguments)
}

#[test]
fn instances_are_killed() {
    let mut cluster = Cluster::start(3);
    let replay = replay(&cluster);
    for (number, rows) in [3_000, 8_000, 13_000].into_iter().enumerate() {
        replay.wait_for(rows);
        cluster.instances[number].kill_and_restart();
    }
    replay.verify(ROWS, SUBSCRIBERS);
}

#[test]
fn nats_is_restarted() {
    let mut cluster = Cluster::start(3);
    let replay = replay(&cluster);
    for (rows, pause) in [(3_000, Duration::ZERO), (8_000, Duration::from_secs(3)), (14_000, Duration::ZERO)] {
        replay.wait_for(rows);
        cluster.nats.kill();
        sleep(pause);
        cluster.nats.start_again();
    }
    replay.verify(ROWS, SUBSCRIBERS);
}

#[test]
fn postgresql_is_restarted() {
    let cluster = Cluster::start(3);
    let replay = replay(&cluster);
    for (rows, how, pause) in [(3_000, Stop::Immediate, 0), (8_000, Stop::Fast, 2), (14_000, Stop::Immediate, 1)] {
        replay.wait_for(rows);
        cluster.postgres.stop(how);
        sleep(Duration::from_secs(pause));
        cluster.postgres.start_again();
    }
    replay.verify(ROWS, SUBSCRIBERS);
}

/// Every connection to the database falls silent, and none of them ends. Whoever waits for an answer gives up after some seconds.
#[test]
fn postgresql_vanishes_without_a_word() {
    let cluster = Cluster::start(3);
    let replay = replay(&cluster);
    replay.wait_for(5_000);
    cluster.to_postgres.lose_connections();
    replay.verify(ROWS, SUBSCRIBERS);
}

/// For ten seconds what is sent to NATS goes nowhere and nobody is told, for ten more there is no connection. Meanwhile the looks at the
/// database deliver, late by about a second.
#[test]
fn nats_is_cut_off() {
    const CUT: Duration = Duration::from_secs(10);
    let cluster = Cluster::start(3);
    // One publisher, at the first instance; a reader at each, who stays there.
    let arguments = ["--limit", "20000", "--rate", "700", "--publishers", "1", "--subscribers", "3", "--dropping", "0"];
    let replay = cluster.replay("zipcodes.csv", "state", &arguments);
    replay.wait_for(3_000);
    let stalled = unix_ms();
    cluster.to_nats.set(Road::Stalled);
    sleep(CUT);
    let cut = unix_ms();
    cluster.to_nats.set(Road::Cut);
    sleep(CUT);
    let opened = unix_ms();
    cluster.to_nats.set(Road::Open);
    let record = replay.verify(ROWS, 3);
    for subscriber in 0..3 {
        let deliveries = record.deliveries(subscriber);
        let before = delays(&deliveries, 0..stalled - 100);
        let during = [stalled + 200..cut, cut + 200..opened - 200].map(|span| delays(&deliveries, span));
        println!("subscriber {subscriber}: median and p99 in ms: before {before:?}, stalled {:?}, cut {:?}", during[0], during[1]);
        if subscriber == 0 {
            assert!(during.iter().all(|(median, _)| *median < 50), "the publisher's own instance needs no NATS: {during:?}");
            continue;
        }
        assert!(before.0 < 50, "with NATS it is at once: {before:?}");
        for (median, p99) in during {
            assert!((50..1_500).contains(&median) && p99 < 4_000, "late by about a second: median {median} ms, p99 {p99} ms");
        }
    }
}
