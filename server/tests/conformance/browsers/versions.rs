//! HTTP/1.1 and HTTP/2.

use futures_util::future::join_all;
use serde_json::json;

use super::{frame, opening, publishing};
use crate::support::{
    Pair, Transport,
    client::{Client, Request, Version},
    events::Events,
};

crate::on_pair!(local_sqlite, LOCAL_SQLITE over Sse, a_stream_and_its_posts_share_a_connection_of_http_2, either_version_serves_polls);

async fn a_stream_and_its_posts_share_a_connection_of_http_2(pair: Pair) {
    let server = pair.server().await;
    let token = server.token("alice");
    let mut client = Client::new(&[server.address()]).speaking(Version::Http2);
    let mut streams = Vec::new();
    for _ in 0..3 {
        let response = client.ask(&Request::post("/v1/sse", opening(&[("room:1", None)])).with_token(&token)).await.unwrap();
        assert_eq!((response.status(), response.version()), (200, http::Version::HTTP_2));
        let mut events = Events::of(response);
        let connected = frame(&mut events).await;
        frame(&mut events).await;
        streams.push((events, connected["result"]["session"].as_str().unwrap().to_owned()));
    }
    for n in 1..=50 {
        for (_, session) in &streams {
            let post = Request::post(&format!("/v1/sse/{session}?n={n}"), publishing(n, "live:none", "1")).with_token(&token);
            assert_eq!(client.ask(&post).await.unwrap().json().await, json!({"n": n}));
        }
    }
    let publish = Request::post(&format!("/v1/sse/{}?n=51", streams[0].1), publishing(51, "room:1", "\"all\"")).with_token(&token);
    client.ask(&publish).await.unwrap();
    join_all(streams.iter_mut().map(|(events, _)| async { while frame(events).await["payload"] != "all" {} })).await;
    assert_eq!(client.opened(), 1, "all of it went over one connection");
    // A stream that its client cancels is over, and the others go on.
    let (gone, _) = streams.pop().unwrap();
    drop(gone);
    crate::support::eventually("it has left", || server.metric("hubbub_connections") == 2.0).await;
    let publish = Request::post(&format!("/v1/sse/{}?n=52", streams[0].1), publishing(52, "room:1", "\"again\"")).with_token(&token);
    client.ask(&publish).await.unwrap();
    for (events, _) in &mut streams {
        while frame(events).await["payload"] != "again" {}
    }
}

async fn either_version_serves_polls(pair: Pair) {
    let server = pair.server().await;
    let token = server.token("alice");
    for version in [Version::Http1, Version::Http2] {
        let mut client = Client::new(&[server.address()]).speaking(version);
        let opened = client.ask(&Request::post("/v1/poll", opening(&[("live:1", None)])).with_token(&token)).await.unwrap().json().await;
        let session = opened["frames"][0]["result"]["session"].as_str().unwrap();
        let mut bob = server.peer_over(Transport::MSGPACK, "bob").await;
        for n in 1..=20 {
            bob.publish("live:1", &n.to_string()).await;
            let poll = Request::get(&format!("/v1/poll/{session}?ack={n}")).with_token(&token);
            let batch = client.ask(&poll).await.unwrap().json().await;
            assert_eq!((&batch["batch"], &batch["frames"][0]["payload"]), (&json!(n + 1), &json!(n)));
        }
        assert_eq!(client.opened(), 1, "{version:?} keeps its connection");
    }
}
