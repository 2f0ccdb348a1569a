//! The previous release beside this one, on one database and one NATS, as in the middle of a rolling upgrade.

use std::{fs, path::Path};

use crate::{common::hubbub, instance::Cluster, postgres::service, replay::delays};

/// The older one was there first, and goes on after this one has migrated. What either publishes reaches the other's subscribers by NATS:
/// sooner than a look at the database would find it.
#[test]
fn both_releases_are_one_cluster() {
    let previous = service("HUBBUB_TEST_PREVIOUS");
    if previous == "none" {
        println!("LEFT OUT: HUBBUB_TEST_PREVIOUS=none; `.ci/previous.sh` tells why there is no previous release");
        return;
    }
    assert!(fs::read(&previous).unwrap() != fs::read(hubbub()).unwrap(), "{previous} is this release itself");
    let mut cluster = Cluster::start(0);
    cluster.join(Path::new(&previous), &[]);
    cluster.join(&hubbub(), &[]);
    let arguments =
        ["--limit", "3000", "--rate", "500", "--publishers", "2", "--subscribers", "4", "--dropping", "2", "--drop-every", "2s"];
    let record = cluster.replay("zipcodes.csv", "state", &arguments).verify(3_000, 4);
    for subscriber in 2..4 {
        let (median, p99) = delays(&record.deliveries(subscriber), 0..u64::MAX);
        println!("subscriber {subscriber}: median {median} ms, p99 {p99} ms");
        assert!(median < 50 && p99 < 1_000, "the envelope is understood both ways: median {median} ms, p99 {p99} ms");
    }
}
