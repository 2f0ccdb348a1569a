//! Behind nginx and HAProxy, as `config/proxies` recommends them: what only shows with one in between. The promises themselves are tested
//! behind both wherever `behind_each_proxy!` stands.

mod client;

use std::{
    collections::HashMap,
    sync::atomic::{AtomicBool, Ordering::Relaxed},
    time::Duration,
};

use futures_util::future::join_all;
use serde_json::json;

use crate::support::{
    Pair, Transport,
    client::{Client, Request},
    events::Events,
};
use client::Resuming;

crate::behind!(
    nginx,
    Nginx over MSGPACK,
    a_rolling_restart_and_two_reloads_lose_nothing,
    events_come_at_once,
    large_heads_and_bodies_pass,
    metrics_stay_inside
);
crate::behind!(
    haproxy,
    Haproxy over MSGPACK,
    a_rolling_restart_and_two_reloads_lose_nothing,
    events_come_at_once,
    large_heads_and_bodies_pass,
    metrics_stay_inside
);

/// Publishers and subscribers over each transport, while the proxy is reloaded twice and both instances stop in order and start again. Every
/// publish is acknowledged in the end, and every subscriber sees each once and in order.
async fn a_rolling_restart_and_two_reloads_lose_nothing(pair: Pair) {
    let [a, b] = pair.fleet_with(&["drain.notice=2s", "drain.window=8s"]).await;
    let doors = a.doors();
    let over = AtomicBool::new(false);
    let tokens: HashMap<String, String> = Transport::ALL
        .map(|transport| format!("{transport:?}"))
        .into_iter()
        .chain(["reader".to_owned(), "last".to_owned()])
        .map(|user| (user.clone(), a.token(&user)))
        .collect();
    let resuming = |transport, user: &str| Resuming::new(doors.clone(), transport, tokens[user].clone());
    let publishers = Transport::ALL.map(|transport| {
        let mut publisher = resuming(transport, &format!("{transport:?}"));
        let over = &over;
        async move {
            let mut n = 0;
            while !over.load(Relaxed) {
                publisher.publish("room:1", n).await;
                n += 1;
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
            (format!("{transport:?}"), n)
        }
    });
    let subscribers = Transport::ALL.map(|transport| {
        let mut subscriber = resuming(transport, "reader");
        async move {
            let mut entries = Vec::new();
            loop {
                let entry = subscriber.entry("room:1").await;
                if crate::support::json(&entry) == "end" {
                    return (entries, subscriber.connections());
                }
                entries.push((crate::support::seq(&entry), entry.publisher.to_string(), crate::support::json(&entry).as_u64().unwrap()));
            }
        }
    });
    let mut last = resuming(Transport::MSGPACK, "last");
    let disturb = async {
        tokio::time::sleep(Duration::from_millis(500)).await;
        a.ground().proxy().unwrap().reload().await;
        let b = b.restart_after_notice().await;
        b.ground().proxy().unwrap().reload().await;
        tokio::time::sleep(Duration::from_millis(1_500)).await;
        (a.restart_after_notice().await, b)
    };
    let publish = async {
        let instances = disturb.await;
        tokio::time::sleep(Duration::from_millis(1_500)).await;
        over.store(true, Relaxed);
        instances
    };
    let all = async {
        let (instances, published) = tokio::join!(publish, join_all(publishers));
        last.publish("room:1", "end").await;
        (instances, published)
    };
    let ((_instances, published), seen) = tokio::join!(all, join_all(subscribers));
    let published: HashMap<String, u64> = published.into_iter().collect();
    let total: u64 = published.values().sum();
    println!("{total} entries; connections: {:?}", seen.iter().map(|(_, connections)| connections).collect::<Vec<_>>());
    for (transport, (entries, connections)) in Transport::ALL.into_iter().zip(&seen) {
        assert!(entries.iter().map(|(seq, ..)| *seq).eq(1..=total), "{transport:?}: every entry once and in order");
        for (publisher, count) in &published {
            let own = entries.iter().filter(|(_, of, _)| of == publisher).map(|(.., n)| *n);
            assert!(own.eq(0..*count), "{transport:?} saw {publisher}'s messages as they were published");
        }
        assert!(*connections > 1, "{transport:?} was never disturbed");
        assert_eq!(entries, &seen[0].0);
    }
    assert!(published.values().all(|count| *count > 50), "{published:?}");
}

/// Nothing on the way collects events, or polls' answers.
async fn events_come_at_once(pair: Pair) {
    let server = pair.server().await;
    let door = server.doors().down;
    let token = server.token("alice");
    let opening = super::browsers::opening(&[("room:1", None)]);
    // What a browser says of itself; it makes some proxies compress.
    let request = Request::post("/v1/sse", opening).with_token(&token).with("accept-encoding", "gzip, deflate, br");
    let response = Client::new(&[door]).ask(&request).await.unwrap();
    assert_eq!((response.status(), response.header("content-encoding")), (200, None));
    assert!(response.header("cache-control").unwrap().contains("no-transform"));
    let mut events = Events::of(response);
    let mut polls = server.peer_over(Transport::Polling, "alice").await;
    polls.subscribe("room:1").await;
    let mut bob = server.peer("bob").await;
    let began = std::time::Instant::now();
    for n in 1..=50 {
        bob.publish("room:1", &n.to_string()).await;
        while super::browsers::frame(&mut events).await["payload"] != n {}
        assert_eq!(crate::support::json(&polls.entry().await), n);
    }
    // A kernel that waits for more takes 40 or 200 ms for each.
    assert!(began.elapsed() < Duration::from_millis(1_900), "{:?}", began.elapsed());
}

/// The longest token and the longest id that there may be, and a message of a megabyte.
async fn large_heads_and_bodies_pass(pair: Pair) {
    let server = pair.server().await;
    let door = server.doors().down;
    let names: Vec<String> = (0..58).map(|n| format!("{n:02}{}", "x".repeat(109))).collect();
    let all: Vec<_> = names.iter().map(|name| (name.as_str(), &hubbub_server::auth::Action::ALL[..])).collect();
    let token = server.token_for("alice", 60, &all);
    assert!((15_000..16 << 10).contains(&token.len()), "{} bytes", token.len());
    let opened = Client::new(&[door]).ask(&Request::post("/v1/poll", super::browsers::opening(&[])).with_token(&token)).await.unwrap();
    assert_eq!(opened.status(), 200);
    let session = opened.json().await["frames"][0]["result"]["session"].as_str().unwrap().to_owned();
    // White space between frames: as long as a message may be.
    let ping = json!({"type": "ping", "id": 3}).to_string();
    let body = ping.clone() + &" ".repeat((900 << 10) - ping.len());
    let post = Request::post(&format!("/v1/poll/{session}?n=1"), body).with_token(&token);
    assert_eq!(Client::new(&[door]).ask(&post).await.unwrap().json().await, json!({"n": 1}));
    let last = Request::get("/v1/sse").with("last-event-id", &"A".repeat(4_000));
    let refused = Client::new(&[door]).ask(&last).await.unwrap();
    assert_eq!((refused.status(), refused.refusal().await.code.as_str()), (401, "unauthorized"), "it reached an instance");
}

async fn metrics_stay_inside(pair: Pair) {
    let server = pair.server().await;
    let mut client = Client::new(&[server.doors().down]);
    assert_eq!(client.ask(&Request::get("/metrics")).await.unwrap().status(), 404);
    assert_eq!(client.ask(&Request::get("/healthz")).await.unwrap().status(), 200);
}
