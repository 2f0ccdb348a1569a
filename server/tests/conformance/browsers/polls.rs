//! Batches, each kept until it is acknowledged.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::{ask, ask_above, code, opening, publishing, refusal};
use crate::support::{
    Pair, Server, Transport,
    client::{Client, Request},
};

macro_rules! polled {
    ($($test:ident),* $(,)?) => {
        crate::on_pair!(local_sqlite, LOCAL_SQLITE over Polling, $($test),*);
        crate::on_pair!(nats_postgres, NATS_POSTGRES over Polling, $($test),*);
    };
}

polled!(
    a_batch_comes_again_until_it_is_acknowledged,
    of_two_at_once_the_older_is_empty,
    one_that_breaks_off_loses_nothing,
    one_waits_as_long_as_it_says,
    who_does_not_poll_is_gone,
    a_batch_has_a_bound,
    a_stream_is_not_polled,
);

/// A session that is polled by hand.
struct Polled {
    session: String,
    token: String,
}

impl Polled {
    /// One of alice's, and the first batch.
    async fn open(server: &Server, channels: &[(&str, Option<u64>)]) -> (Self, Value) {
        let token = server.token("alice");
        let response = ask(server, Request::post("/v1/poll", opening(channels)).with_token(&token)).await;
        assert_eq!(
            (response.status(), response.header("content-type"), response.header("cache-control")),
            (200, Some("application/json"), Some("no-store"))
        );
        let first = response.json().await;
        assert_eq!(first["batch"], 1);
        assert_eq!(first["frames"][0]["id"], 1);
        let session = first["frames"][0]["result"]["session"].as_str().unwrap().to_owned();
        (Self { session, token }, first)
    }

    fn poll(&self, query: &str) -> Request {
        Request::get(&format!("/v1/poll/{}?{query}", self.session)).with_token(&self.token)
    }

    async fn polled(&self, server: &Server, query: &str) -> Value {
        let response = ask_above(server, self.poll(query)).await;
        assert_eq!(response.status(), 200, "{query}");
        response.json().await
    }
}

fn empty(batch: u64) -> Value {
    json!({"batch": batch, "frames": []})
}

/// Polls until `count` entries have come; their seqs, and the last batch.
async fn entries(server: &Server, polled: &Polled, mut ack: u64, count: usize) -> (Vec<u64>, u64) {
    let mut seqs = Vec::new();
    while seqs.len() < count {
        let batch = polled.polled(server, &format!("ack={ack}")).await;
        ack = batch["batch"].as_u64().unwrap();
        seqs.extend(batch["frames"].as_array().unwrap().iter().filter_map(|frame| frame["seq"].as_u64()));
    }
    (seqs, ack)
}

async fn a_batch_comes_again_until_it_is_acknowledged(pair: Pair) {
    let server = pair.server().await;
    let (alice, first) = Polled::open(&server, &[("room:1", None)]).await;
    assert_eq!(first["frames"][1]["result"]["channels"][0]["channel"], "room:1");
    assert_eq!(alice.polled(&server, "ack=0").await, first, "the first one, too");
    let mut bob = server.peer_over(Transport::MSGPACK, "bob").await;
    bob.publish("room:1", "1").await;
    let second = alice.polled(&server, "ack=1").await;
    assert_eq!((&second["batch"], &second["frames"][0]["seq"]), (&json!(2), &json!(1)));
    bob.publish("room:1", "2").await;
    for _ in 0..3 {
        assert_eq!(alice.polled(&server, "ack=1").await, second, "the same, and nothing that came since");
    }
    for wrong in ["ack=0", "ack=3", "ack=18446744073709551615"] {
        assert_eq!(code(ask_above(&server, alice.poll(wrong)).await).await, refusal(409, "out_of_order"), "{wrong}");
    }
    assert_eq!(entries(&server, &alice, 2, 1).await, (vec![2], 3));
    assert_eq!(alice.polled(&server, "ack=3&wait=0").await, empty(3));
    assert_eq!(alice.polled(&server, "ack=3&wait=0").await, empty(3), "an empty batch needs no acknowledgement");
    assert_eq!(code(ask_above(&server, alice.poll("ack=2")).await).await, refusal(409, "out_of_order"), "it was acknowledged");
    for wrong in ["", "ack=", "ack=-1", "ack=x", "ack=3&wait=x"] {
        assert_eq!(ask_above(&server, alice.poll(wrong)).await.status(), 400, "{wrong}");
    }
}

async fn of_two_at_once_the_older_is_empty(pair: Pair) {
    let server = pair.server().await;
    let (alice, _) = Polled::open(&server, &[("room:1", None)]).await;
    let mut bob = server.peer_over(Transport::MSGPACK, "bob").await;
    for round in 1..=5 {
        let query = format!("ack={round}");
        let older = tokio::spawn({
            let (request, door) = (alice.poll(&query), server.doors().up[0]);
            async move { Client::new(&[door]).ask(&request).await.unwrap().json().await }
        });
        // It has come before the younger one; what is in between is at most the way.
        tokio::time::sleep(Duration::from_millis(150)).await;
        let younger = async {
            let younger = alice.polled(&server, &query);
            let publish = async {
                assert_eq!(older.await.unwrap(), empty(round), "the older gives way at once");
                bob.publish("room:1", "1").await;
            };
            tokio::join!(younger, publish).0
        };
        let batch = younger.await;
        assert_eq!((batch["batch"].as_u64(), batch["frames"][0]["seq"].as_u64()), (Some(round + 1), Some(round)));
    }
}

/// The server has made a batch for whoever was gone when it came.
async fn one_that_breaks_off_loses_nothing(pair: Pair) {
    let server = pair.server().await;
    let (alice, _) = Polled::open(&server, &[("room:1", None)]).await;
    let mut bob = server.peer_over(Transport::MSGPACK, "bob").await;
    let (mut seqs, mut ack) = (Vec::new(), 1);
    for round in 1..=20 {
        let lost = tokio::time::timeout(Duration::from_millis(round * 3), alice.polled(&server, &format!("ack={ack}"))).await;
        drop(lost);
        bob.publish("room:1", "1").await;
        let (more, last) = entries(&server, &alice, ack, 1).await;
        seqs.extend(more);
        ack = last;
    }
    assert_eq!(seqs, (1..=20).collect::<Vec<_>>());
}

async fn one_waits_as_long_as_it_says(pair: Pair) {
    let server = pair.server_with(&["session.heartbeat=2s"]).await;
    let (alice, _) = Polled::open(&server, &[]).await;
    for (query, least, most) in [("ack=1&wait=0", 0, 500), ("ack=1&wait=400", 400, 1_500)] {
        let asked = Instant::now();
        assert_eq!(alice.polled(&server, query).await, empty(1));
        let waited = asked.elapsed().as_millis();
        assert!((least..most).contains(&waited), "{query}: {waited} ms");
    }
    // Never longer than a heartbeat, and that is news by itself.
    let asked = Instant::now();
    let batch = alice.polled(&server, "ack=1&wait=3600000").await;
    assert!(asked.elapsed() < Duration::from_millis(3_500), "{:?}", asked.elapsed());
    assert!(batch == empty(1) || batch["frames"][0]["type"] == "heads", "{batch}");
}

async fn who_does_not_poll_is_gone(pair: Pair) {
    let server = pair.server_with(&["session.heartbeat=1s", "session.grace=500ms", "namespaces.room.presence=true"]).await;
    let (alice, _) = Polled::open(&server, &[("room:1", None)]).await;
    let mut ack = 1;
    // A poll is a sign of life, also when it is over at once.
    for _ in 0..6 {
        tokio::time::sleep(Duration::from_millis(400)).await;
        ack = alice.polled(&server, &format!("ack={ack}&wait=0")).await["batch"].as_u64().unwrap();
    }
    tokio::time::sleep(Duration::from_millis(2_500)).await;
    assert_eq!(code(ask_above(&server, alice.poll(&format!("ack={ack}"))).await).await, refusal(410, "session_gone"));
    assert_eq!(server.metric("hubbub_connections"), 0.0);
    assert_eq!(server.metric("hubbub_subscriptions"), 0.0);
}

/// Many frames go in several batches, none of which is longer than the largest message between instances.
async fn a_batch_has_a_bound(pair: Pair) {
    let server = pair.server_with(&["session.outbox=4MiB"]).await;
    let (alice, _) = Polled::open(&server, &[("room:1", None)]).await;
    let mut bob = server.peer_over(Transport::MSGPACK, "bob").await;
    let payload = format!("\"{}\"", "x".repeat(40_000));
    for _ in 0..40 {
        bob.publish("room:1", &payload).await;
    }
    let (mut seqs, mut ack) = (Vec::new(), 1);
    while seqs.len() < 40 {
        let response = ask_above(&server, alice.poll(&format!("ack={ack}"))).await;
        let text = response.text().await;
        assert!(text.len() < 512 << 10, "{} bytes", text.len());
        let batch: Value = serde_json::from_str(&text).unwrap();
        ack = batch["batch"].as_u64().unwrap();
        seqs.extend(batch["frames"].as_array().unwrap().iter().filter_map(|frame| frame["seq"].as_u64()));
    }
    assert_eq!(seqs, (1..=40).collect::<Vec<_>>());
}

async fn a_stream_is_not_polled(pair: Pair) {
    let server = pair.server().await;
    let mut alice = server.peer_over(Transport::Sse, "alice").await;
    let poll = Request::get(&format!("/v1/poll/{}?ack=1", alice.session().unwrap())).with_token(&server.token("alice"));
    assert_eq!(code(ask_above(&server, poll).await).await, refusal(400, "bad_frame"));
    let expired = Request::get(&format!("/v1/poll/{}?ack=1", alice.session().unwrap())).with_token(&server.token_for("alice", -1, &[]));
    assert_eq!(code(ask_above(&server, expired).await).await, refusal(401, "token_expired"));
    // Whichever the path of its POSTs.
    let post = Request::post(&format!("/v1/poll/{}?n=1", alice.session().unwrap()), publishing(1, "room:1", "1"));
    assert_eq!(ask_above(&server, post.with_token(&server.token("alice"))).await.status(), 200);
    alice.answer(1).await.unwrap();
}
