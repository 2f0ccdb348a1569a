//! The same over several instances.

use std::time::Duration;

use futures_util::future::join_all;

use super::{ON, Watcher, member, page};
use crate::support::{Pair, Server};

crate::in_every_cluster!(
    members_of_all_instances_are_one_list,
    a_move_between_instances_is_not_seen,
    members_of_one_that_stops_leave,
    what_is_lost_on_the_way_is_found,
);

crate::behind_each_proxy!(a_move_between_instances_is_not_seen, what_is_lost_on_the_way_is_found,);

async fn members_of_all_instances_are_one_list(pair: Pair) {
    let fleet: [Server; 3] = pair.fleet_with(ON).await;
    let mut watchers = Vec::new();
    for (server, user) in fleet.iter().zip(["alice", "bob", "carol"]) {
        watchers.push(Watcher::open(server, user, "room:1").await);
    }
    for watcher in &mut watchers {
        watcher.until(&["alice", "bob", "carol"]).await;
    }
    let mut dave = Vec::new();
    for server in &fleet {
        let mut peer = server.peer("dave").await;
        peer.subscribe("room:1").await;
        dave.push(peer);
    }
    for watcher in &mut watchers {
        watcher.until(&["alice", "bob", "carol", "dave"]).await;
    }
    // A view that is made now asks the others; one that is there follows within a moment.
    let mut eve = fleet[0].peer("eve").await;
    loop {
        let page = page(&mut eve, "room:1", Some("carol"), Some(1)).await.unwrap();
        assert_eq!((page.count, page.more), (4, false));
        if page.members == [member("dave", 3)] {
            break;
        }
    }
    let newcomer = Watcher::open(&fleet[1], "eve", "room:1").await;
    assert_eq!(newcomer.users(), ["alice", "bob", "carol", "dave", "eve"]);
    for _ in 0..2 {
        dave.pop().unwrap().leave().await;
    }
    let [_alice, mut bob, mut carol]: [Watcher; 3] = watchers.try_into().unwrap_or_else(|_| unreachable!());
    dave.pop().unwrap().leave().await;
    newcomer.peer.leave().await;
    bob.until(&["alice", "bob", "carol"]).await;
    carol.until(&["alice", "bob", "carol"]).await;
    for server in &fleet {
        assert!(server.metric("hubbub_presence_refused_total") == 0.0);
    }
}

async fn a_move_between_instances_is_not_seen(pair: Pair) {
    let [a, b] = pair.fleet_with(ON).await;
    let mut bob = b.peer("bob").await;
    bob.subscribe("room:1").await;
    let mut alice = Watcher::open(&a, "alice", "room:1").await;
    alice.until(&["alice", "bob"]).await;
    for server in [&a, &b, &a] {
        bob.leave().await;
        bob = server.peer("bob").await;
        bob.subscribe("room:1").await;
    }
    tokio::time::sleep(Duration::from_millis(1_700)).await;
    let mut carol = b.peer("carol").await;
    carol.subscribe("room:1").await;
    alice.until(&["alice", "bob", "carol"]).await;
    assert_eq!(alice.left, [""; 0]);
}

async fn members_of_one_that_stops_leave(pair: Pair) {
    let [a, b] = pair.fleet_with(ON).await;
    let mut bob = b.peer("bob").await;
    bob.subscribe("room:1").await;
    let mut alice = Watcher::open(&a, "alice", "room:1").await;
    alice.until(&["alice", "bob"]).await;
    tokio::join!(b.app.shut_down(hubbub_server::app::Notice::None), bob.closed());
    alice.until(&["alice"]).await;
}

/// Another instance's view is made while members come and go, and its first questions and answers cross their changes.
async fn what_is_lost_on_the_way_is_found(pair: Pair) {
    let [a, b] = pair.fleet_with(ON).await;
    let churn = async {
        let mut stays = Vec::new();
        for n in 0..60 {
            let mut peer = b.peer(&format!("user-{n:02}")).await;
            peer.subscribe("room:1").await;
            if n % 3 == 0 {
                stays.push(peer);
            } else {
                peer.leave().await;
            }
        }
        stays
    };
    let watch = async {
        let mut watchers = Vec::new();
        for n in 0..10 {
            watchers.push(Watcher::open(&a, &format!("watcher-{n}"), "room:1").await);
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        watchers
    };
    let (stays, watchers) = tokio::join!(churn, watch);
    let mut all: Vec<String> = (0..60).step_by(3).map(|n| format!("user-{n:02}")).collect();
    all.extend((0..10).map(|n| format!("watcher-{n}")));
    let all: Vec<&str> = all.iter().map(String::as_str).collect();
    // All of them stay until the last one has seen all.
    let mut watchers = watchers;
    join_all(watchers.iter_mut().map(|watcher| watcher.until(&all))).await;
    drop(stays);
}
