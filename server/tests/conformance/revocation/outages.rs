//! An instance that can look nowhere.

use super::{connects, eventually_connects, older_token};
use crate::support::{Pair, Server, eventually};

/// Its database is cut off: ten seconds later it admits nobody, and goes on only with those whose token is young. (The same with a table that is
/// away, on every pair: `who_cannot_be_looked_up_is_not_admitted`.)
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_is_cut_off_from_the_database_admits_nobody() {
    let [a, b]: [Server; 2] = Pair::NATS_POSTGRES.breakable().fleet().await;
    let mut young = a.peer("alice").await;
    let mut old = a.open().await;
    old.connect(&older_token(&a, "bob")).await.unwrap();
    let mut elsewhere = b.open().await;
    elsewhere.connect(&older_token(&b, "carol")).await.unwrap();
    a.ground().to_store().cut();
    let began = std::time::Instant::now();
    assert_eq!(old.closed().await.1, Some(4506));
    let took = began.elapsed();
    eprintln!("closed {took:?} after the database was cut off");
    assert!((9..15).contains(&took.as_secs()), "{took:?}");
    assert_eq!(elsewhere.closed().await.1, Some(4506), "every instance by itself");
    for server in [&a, &b] {
        assert_eq!(connects(server, "dave").await.as_deref(), Some("unavailable"));
    }
    young.ping().await;
    a.ground().to_store().mend();
    for server in [&a, &b] {
        eventually_connects(server, "dave", None).await;
    }
    let looks = || a.metric("hubbub_looks_total{result=\"done\"}");
    let before = looks();
    eventually("it looks again", || looks() > before).await;
    young.publish("room:1", "1").await;
}
