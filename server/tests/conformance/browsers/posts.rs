//! What goes up.

use std::time::{Duration, Instant};

use futures_util::future::join_all;
use hubbub_protocol::{ServerFrame, limits};

use super::{ask, ask_above, by_itself_and_through_another, code, publishing, refusal};
use crate::support::{
    Pair, Peer, Process, Server, Transport,
    client::{Client, Request},
    json, message_id,
};

by_itself_and_through_another!(
    one_that_comes_again_is_answered_and_not_applied,
    one_that_comes_early_waits_for_its_elders,
    one_whose_elder_does_not_come_is_refused,
    what_comes_early_is_bounded_in_bytes,
    a_token_in_connect_is_of_the_same_user,
    only_its_user_speaks_for_a_session,
    a_session_that_is_not_there_is_gone,
    what_is_no_message_ends_the_session_or_is_refused,
);

crate::on_pair!(of_a_cluster_sse, NATS_POSTGRES over Sse, one_whose_instance_is_gone_is_gone);
crate::on_pair!(of_a_cluster_polling, NATS_POSTGRES over Polling, one_whose_instance_is_gone_is_gone);

/// POST `n` of the session that `peer` reads.
fn post(server: &Server, peer: &Peer, n: u64, body: impl Into<bytes::Bytes>) -> Request {
    Request::post(&path(peer, &format!("?n={n}")), body).with_token(&server.token("alice"))
}

fn path(peer: &Peer, query: &str) -> String {
    format!("/v1/sse/{}{query}", peer.session().unwrap())
}

async fn applied(server: &Server, post: Request, n: u64) {
    let response = ask_above(server, post).await;
    assert_eq!(response.status(), 200);
    assert_eq!(response.json().await, serde_json::json!({"n": n}));
}

async fn head(server: &Server, channel: &str) -> u64 {
    server.peer_over(Transport::MSGPACK, "reader").await.history(channel, None, None, None).await.unwrap().head.seq
}

async fn one_that_comes_again_is_answered_and_not_applied(pair: Pair) {
    let server = pair.server().await;
    let mut alice = server.peer("alice").await;
    let first = post(&server, &alice, 1, publishing(7, "room:1", "1"));
    applied(&server, first.clone(), 1).await;
    alice.answer(7).await.unwrap();
    applied(&server, first.clone(), 1).await;
    // To the instance that holds it as well, and whatever it says.
    assert_eq!(ask(&server, post(&server, &alice, 1, publishing(8, "room:1", "2"))).await.status(), 200);
    applied(&server, post(&server, &alice, 2, publishing(9, "room:1", "3")), 2).await;
    applied(&server, first, 1).await;
    assert!(matches!(alice.next().await, ServerFrame::Reply { id: 9, .. }), "nothing else was answered");
    assert_eq!(head(&server, "room:1").await, 2);
    // Many at once are one, too.
    let same = (0..8).map(|_| applied(&server, post(&server, &alice, 3, publishing(10, "room:1", "4")), 3));
    join_all(same).await;
    alice.answer(10).await.unwrap();
    assert_eq!(head(&server, "room:1").await, 3);
}

async fn one_that_comes_early_waits_for_its_elders(pair: Pair) {
    let server = pair.server().await;
    let mut alice = server.peer("alice").await;
    let mut reader = server.peer_over(Transport::MSGPACK, "reader").await;
    reader.subscribe("room:1").await;
    // The fifth to the seventeenth, the first at last.
    let early = (2..=17).rev().map(|n| applied(&server, post(&server, &alice, n, publishing(n as u32, "room:1", &n.to_string())), n));
    let all = join_all(early);
    let first = async {
        tokio::time::sleep(Duration::from_millis(300)).await;
        applied(&server, post(&server, &alice, 1, publishing(1, "room:1", "1")), 1).await;
    };
    tokio::join!(all, first);
    for n in 1..=17 {
        assert_eq!(json(&reader.entry().await), n);
        alice.answer(n).await.unwrap();
    }
}

async fn one_whose_elder_does_not_come_is_refused(pair: Pair) {
    let server = pair.server().await;
    let mut alice = server.peer("alice").await;
    let asked = Instant::now();
    assert_eq!(
        code(ask_above(&server, post(&server, &alice, 18, publishing(18, "room:1", "18"))).await).await,
        refusal(409, "out_of_order")
    );
    assert!(asked.elapsed() < Duration::from_secs(3), "more than sixteen ahead is refused at once");
    let second = post(&server, &alice, 2, publishing(2, "room:1", "2"));
    assert_eq!(code(ask_above(&server, second.clone()).await).await, refusal(409, "out_of_order"));
    assert!(asked.elapsed() > Duration::from_millis(4_900), "{:?}", asked.elapsed());
    // In order all is well.
    applied(&server, post(&server, &alice, 1, publishing(1, "room:1", "1")), 1).await;
    applied(&server, second, 2).await;
    alice.answer(1).await.unwrap();
    alice.answer(2).await.unwrap();
    assert_eq!(head(&server, "room:1").await, 2);
}

async fn what_comes_early_is_bounded_in_bytes(pair: Pair) {
    let server = pair.server().await;
    let mut alice = server.peer("alice").await;
    let long = |n: u32, length: usize| publishing(n, "room:1", "1") + &" ".repeat(length);
    let waits = tokio::spawn({
        let (post, door) = (post(&server, &alice, 3, long(3, 200 << 10)), server.doors().up[0]);
        async move { Client::new(&[door]).ask(&post).await.unwrap().status() }
    });
    tokio::time::sleep(Duration::from_millis(300)).await;
    let asked = Instant::now();
    let second = post(&server, &alice, 2, long(2, 100 << 10));
    assert_eq!(code(ask_above(&server, second.clone()).await).await, refusal(409, "out_of_order"));
    assert!(asked.elapsed() < Duration::from_secs(3), "there is no room, and it is told at once: {:?}", asked.elapsed());
    // The one whose turn it is may be as long as a message may be.
    applied(&server, post(&server, &alice, 1, long(1, 900 << 10)), 1).await;
    applied(&server, second, 2).await;
    assert_eq!(waits.await.unwrap(), 200);
    for n in 1..=3 {
        alice.answer(n).await.unwrap();
    }
    assert_eq!(head(&server, "room:1").await, 3);
}

async fn a_token_in_connect_is_of_the_same_user(pair: Pair) {
    let server = pair.server().await;
    let (alice, bob) = (server.token("alice"), server.token("bob"));
    let path = if pair.transport == Transport::Sse { "/v1/sse" } else { "/v1/poll" };
    let open = |token: &str| {
        let connect = serde_json::json!({"type": "connect", "id": 1, "token": token}).to_string();
        ask(&server, Request::post(path, connect).with_token(&alice))
    };
    let mut served = open(&alice).await;
    assert_eq!(served.status(), 200);
    assert!(served.chunk().await.is_some());
    // It is told, and nothing follows.
    let said = open(&bob).await.text().await;
    assert!(said.contains("\"disconnect\"") && said.contains("\"code\":4401"), "{said}");
}

async fn only_its_user_speaks_for_a_session(pair: Pair) {
    let server = pair.server().await;
    let mut alice = server.peer("alice").await;
    let (posts, polls) = (path(&alice, "?n=1"), path(&alice, "?ack=1&wait=0").replace("/sse/", "/poll/"));
    let say = |token: &str| Request::post(&posts, publishing(1, "room:1", "1")).with_token(token);
    let none = || Request::post(&posts, publishing(1, "room:1", "1"));
    let bob = server.token("bob");
    for (request, refused) in [
        (say(&bob), refusal(403, "identity_changed")),
        (Request::get(&polls).with_token(&bob), refusal(403, "identity_changed")),
        (Request::delete(&path(&alice, "")).with_token(&bob), refusal(403, "identity_changed")),
        (say(&server.token_for("alice", -1, &[])), refusal(401, "token_expired")),
        (say("nonsense"), refusal(401, "unauthorized")),
        (say(&server.token_for("alice", 60, &[])), refusal(403, "forbidden")),
        (none(), refusal(401, "unauthorized")),
        (Request::get(&polls), refusal(401, "unauthorized")),
    ] {
        assert_eq!(code(ask_above(&server, request).await).await, refused);
    }
    // Another token of the same user that allows no less is as good as the first.
    applied(&server, say(&server.token("alice")), 1).await;
    alice.answer(1).await.unwrap();
}

async fn a_session_that_is_not_there_is_gone(pair: Pair) {
    let server = pair.server().await;
    let mut alice = server.peer("alice").await;
    let mut bob = server.peer("alice").await;
    let (instance, other) = (alice.session().unwrap().to_owned(), bob.session().unwrap().to_owned());
    let (instance, _) = instance.split_once('.').unwrap();
    let (_, id) = other.split_once('.').unwrap();
    let token = server.token("alice");
    assert_eq!(ask_above(&server, Request::delete(&format!("/v1/poll/{other}")).with_token(&token)).await.status(), 204);
    for session in [
        other.as_str(),
        "nonsense",
        "a.b",
        &format!("{id}.{id}"),
        &format!("{instance}.x"),
        &format!("*.{id}"),
        &format!("{instance}.{instance}"),
    ] {
        for request in [
            Request::post(&format!("/v1/sse/{session}?n=1"), publishing(1, "room:1", "1")),
            Request::get(&format!("/v1/poll/{session}?ack=1")),
            Request::delete(&format!("/v1/sse/{session}")),
        ] {
            assert_eq!(code(ask_above(&server, request.with_token(&token)).await).await, refusal(410, "session_gone"), "{session}");
        }
    }
    // Whoever reads it is told that it is over; the other one goes on.
    assert_eq!(bob.closed().await, (None, None));
    alice.ping().await;
}

async fn what_is_no_message_ends_the_session_or_is_refused(pair: Pair) {
    let server = pair.server().await;
    for (body, ends) in [("{".to_owned(), 4400), ("[".to_owned(), 4400), ("{}".repeat(257), 4402), ("[".repeat(40), 4400)] {
        let mut alice = server.peer("alice").await;
        alice.send_bytes(body.into_bytes()).await;
        let (disconnect, closed) = alice.closed().await;
        assert_eq!((closed, disconnect.map(|disconnect| disconnect.code)), (Some(ends), Some(ends)));
    }
    let mut alice = server.peer("alice").await;
    let long = vec![b' '; limits::MAX_FRAME + 1];
    assert_eq!(code(ask_above(&server, post(&server, &alice, 1, long)).await).await, refusal(413, "payload_too_large"));
    for query in ["", "?n=", "?n=0", "?n=-1", "?n=x", "?m=1"] {
        let response = ask_above(&server, Request::post(&path(&alice, query), "").with_token(&server.token("alice"))).await;
        assert_eq!(response.status(), 400, "{query}");
        response.refusal().await;
    }
    // None of these counted. A message without a frame is one, and says nothing.
    applied(&server, post(&server, &alice, 1, ""), 1).await;
    applied(&server, post(&server, &alice, 2, " {\"type\":\"ping\",\"id\":2} \n"), 2).await;
    alice.answer(2).await.unwrap();
}

/// Killed, its instance says nothing to anybody.
async fn one_whose_instance_is_gone_is_gone(pair: Pair) {
    let [server] = pair.fleet().await;
    let process = Process::beside(&server).await;
    let mut alice = Peer::open(&process.doors_by(&server), pair.transport).await;
    alice.connect(&server.token("alice")).await.unwrap();
    alice.publish("room:1", "1").await;
    let next = post(&server, &alice, 2, publishing(2, "room:1", "2"));
    let (instance, _) = alice.session().unwrap().split_once('.').unwrap();
    let other = Request::delete(&format!("/v1/sse/{instance}.{}", message_id(server.now(), 1))).with_token(&server.token("alice"));
    process.kill();
    // What is asked before NATS has noticed is waited for, and may be asked again. This one not for long; when it is answered NATS has.
    let first = code(ask(&server, other).await).await;
    assert!([refusal(410, "session_gone"), refusal(503, "unavailable")].contains(&first), "{first:?}");
    let asked = Instant::now();
    assert_eq!(code(ask(&server, next).await).await, refusal(410, "session_gone"));
    assert!(asked.elapsed() < Duration::from_secs(3), "{:?}", asked.elapsed());
    assert_eq!(alice.closed().await, (None, None));
    assert_eq!(head(&server, "room:1").await, 1);
}
