//! A browser's own `EventSource`: tickets to begin with, ids to come back with.

use futures_util::future::join_all;
use hubbub_protocol::ServerFrame;
use hubbub_server::auth::Action;
use serde_json::{Value, json};

use super::{ask, code, frame, parsed, refusal, rest, stream};
use crate::{
    accounts::CHEAP,
    resources::person,
    support::{
        Pair, Server, Transport, advance,
        client::{Client, Request},
        clock,
        events::Events,
        seq,
    },
};

crate::on_pair!(
    local_sqlite,
    LOCAL_SQLITE over Sse,
    a_ticket_is_good_for_fifteen_seconds,
    a_ticket_takes_a_token_and_bounds,
    an_id_is_as_good_as_its_token,
    what_is_no_id_is_refused,
    there_is_room_for_sixty_four_subscriptions,
    an_id_stays_below_four_kibibytes,
    frames_go_up_with_a_token
);

macro_rules! on_two_instances {
    ($($test:ident),* $(,)?) => {
        crate::on_pair!(nats_sqlite, NATS_SQLITE over Sse, $($test),*);
        crate::on_pair!(nats_postgres, NATS_POSTGRES over Sse, $($test),*);
    };
}

on_two_instances!(a_ticket_is_taken_once, an_id_resumes_anywhere, a_restart_is_resumed, what_the_server_has_begun_is_resumed_anywhere);

/// A ticket for `user`.
pub(super) async fn ticket(server: &Server, user: &str, wanted: Value) -> String {
    let response = ask(server, Request::post("/v1/tickets", wanted.to_string()).with_token(&server.token(user))).await;
    assert_eq!((response.status(), response.header("cache-control")), (201, Some("no-store")));
    response.json().await["ticket"].as_str().unwrap().to_owned()
}

fn with_ticket(ticket: &str) -> Request {
    Request::get(&format!("/v1/sse?ticket={ticket}"))
}

/// As a browser comes back: to the same address, with the ticket that is used up.
fn with_id(id: &str) -> Request {
    with_ticket("used").with("last-event-id", id)
}

/// A native stream, what it has seen, and its last id.
struct Native {
    events: Events,
    id: String,
    /// Of `room:1`.
    seqs: Vec<u64>,
    replies: Vec<Value>,
    /// Channels that the server has begun.
    begun: Vec<String>,
}

impl Native {
    async fn open(server: &Server, request: Request) -> Self {
        Self { events: stream(server, request).await, id: String::new(), seqs: Vec::new(), replies: Vec::new(), begun: Vec::new() }
    }

    /// Reads one block; whether there was one.
    async fn step(&mut self) -> bool {
        let Some(block) = self.events.next().await else { return false };
        if let Some(id) = block.id.clone() {
            assert_eq!(block.data, None, "an id fires no event");
            assert!(id.len() <= 4 << 10, "{} bytes", id.len());
            self.id = id;
        }
        match parsed(&block) {
            Some(ServerFrame::Entry(entry)) => self.seqs.push(seq(&entry)),
            Some(ServerFrame::Subscribed(one)) => self.begun.push(one.channel),
            Some(ServerFrame::Reply { .. }) => self.replies.push(serde_json::from_str(&block.data.unwrap()).unwrap()),
            _ => {}
        }
        true
    }

    /// Reads until the entry `seq` and an id after it have come.
    async fn until(&mut self, seq: u64) {
        while self.seqs.last() != Some(&seq) {
            assert!(self.step().await, "it ended");
        }
        let before = self.id.clone();
        while self.id == before {
            assert!(self.step().await, "it ended");
        }
    }
}

async fn a_ticket_is_taken_once(pair: Pair) {
    let [a, b] = pair.fleet().await;
    let mut races = Vec::new();
    for _ in 0..15 {
        let ticket = ticket(&a, "alice", json!({"channels": [{"channel": "room:1"}]})).await;
        let requests = [&a, &b, &a, &b].map(|server| {
            let request = with_ticket(&ticket);
            async move { ask(server, request).await }
        });
        races.push(join_all(requests));
    }
    for race in join_all(races).await {
        let mut winners = Vec::new();
        for response in race {
            match response.status() {
                200 => winners.push(response),
                _ => assert_eq!(code(response).await, refusal(401, "unauthorized")),
            }
        }
        assert_eq!(winners.len(), 1);
        let mut events = Events::of(winners.pop().unwrap());
        let connected = frame(&mut events).await;
        assert_eq!((&connected["id"], &connected["result"]["user"]), (&json!(1), &json!("alice")));
        let subscribed = frame(&mut events).await;
        assert_eq!((&subscribed["id"], &subscribed["result"]["channels"][0]["channel"]), (&json!(2), &json!("room:1")));
    }
}

async fn what_the_server_has_begun_is_resumed_anywhere(pair: Pair) {
    let [a, b] = pair.fleet_with(CHEAP).await;
    let (ada, bob) = (person(&a, "ada").await, person(&a, "bob").await);
    let say = async |payload: u64| {
        ada.does(&a, "POST", "/v1/channels/chat:a/messages", json!({"payload": payload}), 201).await;
    };
    let join = async |channel: &str| {
        ada.does(&a, "POST", "/v1/channels", json!({"name": channel, "title": "T", "visibility": "public"}), 201).await;
        bob.does(&a, "PUT", &format!("/v1/channels/{channel}/membership"), Value::Null, 201).await;
    };
    join("chat:a").await;
    let made = ask(&a, Request::post("/v1/tickets", "{}").with_token(&bob.token)).await.json().await;
    let ticket = made["ticket"].as_str().unwrap();
    let mut native = Native::open(&a, Request::get(&format!("/v1/sse?auto=true&ticket={ticket}"))).await;
    let own = format!("user:{}", bob.id);
    while native.begun.len() < 2 {
        assert!(native.step().await);
    }
    assert_eq!(native.begun, [&*own, "chat:a"]);
    say(1).await;
    say(2).await;
    native.until(2).await;
    let Native { id, .. } = native;
    say(3).await;
    join("chat:b").await;
    // As a browser comes back: by the same address, to another instance.
    let mut native = Native::open(&b, Request::get("/v1/sse?auto=true&ticket=used").with("last-event-id", &id)).await;
    native.until(3).await;
    while native.begun.is_empty() {
        assert!(native.step().await);
    }
    assert_eq!((&*native.seqs, &*native.begun), (&[3][..], &["chat:b".to_owned()][..]));
    let channels = native.replies[1]["result"]["channels"].as_array().unwrap();
    let resumed: Vec<_> = channels.iter().map(|one| (one["channel"].as_str().unwrap(), one["recovered"].as_bool())).collect();
    assert_eq!(resumed, [(&*own, Some(true)), ("chat:a", Some(true))]);
    let wrong = Request::get("/v1/sse?auto=perhaps").with_token(&bob.token);
    assert_eq!(code(ask(&a, wrong).await).await, refusal(400, "out_of_range"));
}

async fn a_ticket_is_good_for_fifteen_seconds(pair: Pair) {
    let clock = clock();
    let server = pair.server_at(&clock, &[]).await;
    let made = ask(&server, Request::post("/v1/tickets", "{}").with_token(&server.token("alice"))).await.json().await;
    assert_eq!(made["expires_at"].as_u64().unwrap(), server.now() + 15_000);
    let [first, second] = [ticket(&server, "alice", json!({})).await, ticket(&server, "alice", json!({})).await];
    assert_ne!(first, second);
    advance(&clock, 14_900);
    assert_eq!(ask(&server, with_ticket(&first)).await.status(), 200);
    advance(&clock, 200);
    assert_eq!(code(ask(&server, with_ticket(&second)).await).await, refusal(401, "unauthorized"));
    // Not longer than the token that it was made with.
    let short = server.token_for("alice", 5, &[]);
    let made = ask(&server, Request::post("/v1/tickets", "").with_token(&short)).await.json().await;
    assert!(made["expires_at"].as_u64().unwrap() <= server.now() + 5_000);
    advance(&clock, 6_000);
    assert_eq!(code(ask(&server, with_ticket(made["ticket"].as_str().unwrap())).await).await, refusal(401, "unauthorized"));
}

async fn a_ticket_takes_a_token_and_bounds(pair: Pair) {
    let server = pair.server().await;
    let channels = |count: usize| json!({"channels": (0..count).map(|n| json!({"channel": format!("room:{n}")})).collect::<Vec<_>>()});
    let post = |body: String| Request::post("/v1/tickets", body);
    let token = server.token("alice");
    for (request, refused) in [
        (post("{}".to_owned()), refusal(401, "unauthorized")),
        (post("{}".to_owned()).with_token("nonsense"), refusal(401, "unauthorized")),
        (post("[".to_owned()).with_token(&token), refusal(400, "bad_frame")),
        (Request::get("/v1/sse?ticket=never-was"), refusal(401, "unauthorized")),
        (Request::get("/v1/sse?ticket="), refusal(401, "unauthorized")),
        (Request::get("/v1/sse"), refusal(401, "unauthorized")),
    ] {
        assert_eq!(code(ask(&server, request).await).await, refused);
    }
    for (body, pointer, code) in [
        (json!([]), "", "type"),
        (json!([[]]), "", "type"),
        (json!({"channel": "room:1"}), "/channel", "unknown_field"),
        (json!({"channels": [["room:1", null, null, false]]}), "/channels/0", "type"),
        (json!({"channels": [{"channel": "room:1", "since": [1, 1]}]}), "/channels/0/since", "type"),
        (json!({"channels": [{"channel": "room:1", "since": {"seq": 1_u64 << 53}}]}), "/channels/0/since/seq", "too_large"),
        (json!({"channels": [{"channel": "room:1", "sinse": {"seq": 1}}]}), "/channels/0/sinse", "unknown_field"),
        (channels(65), "/channels", "too_many"),
    ] {
        let answer = ask(&server, post(body.to_string()).with_token(&token)).await;
        assert_eq!(answer.status(), 422, "{body}");
        let fault = &answer.json().await["errors"][0];
        assert_eq!((fault["pointer"].as_str(), fault["code"].as_str()), (Some(pointer), Some(code)), "{body}");
    }
    // The ticket's channels, and those of the address behind them.
    let ticket = ticket(&server, "alice", json!({"channels": [{"channel": "room:1", "since": {"seq": 0}}, {"channel": "live:1"}]})).await;
    let mut events = stream(&server, Request::get(&format!("/v1/sse?ticket={ticket}&channel=room:2"))).await;
    frame(&mut events).await;
    let subscribed = frame(&mut events).await;
    let names: Vec<_> = subscribed["result"]["channels"].as_array().unwrap().iter().map(|one| one["channel"].as_str().unwrap()).collect();
    assert_eq!(names, ["room:1", "live:1", "room:2"]);
}

async fn an_id_resumes_anywhere(pair: Pair) {
    let fleet: [Server; 2] = pair.fleet().await;
    let mut bob = fleet[0].peer_over(Transport::MSGPACK, "bob").await;
    let opening = json!({"channels": [{"channel": "room:1"}, {"channel": "live:1"}]});
    let mut alice = Native::open(&fleet[0], with_ticket(&ticket(&fleet[0], "alice", opening).await)).await;
    while alice.replies.len() < 2 {
        alice.step().await;
    }
    bob.publish("room:1", "1").await;
    alice.until(1).await;
    for round in 1..=6 {
        let (missed, live) = (3 * round - 1, 3 * round + 1);
        let id = alice.id.clone();
        drop(alice);
        bob.publish("room:1", "1").await;
        bob.publish("room:1", "1").await;
        // The same instance, the other, and so on.
        alice = Native::open(&fleet[[0, 1, 1][round as usize % 3]], with_id(&id)).await;
        alice.until(missed + 1).await;
        let subscribed = &alice.replies[1];
        assert_eq!((&alice.replies[0]["id"], &subscribed["id"]), (&json!(1), &json!(2)));
        let channels = &subscribed["result"]["channels"];
        assert_eq!(
            (&channels[0]["channel"], &channels[0]["recovered"], &channels[0]["from"]),
            (&json!("room:1"), &json!(true), &json!(missed))
        );
        assert_eq!(channels[1]["channel"], "live:1");
        bob.publish("room:1", "1").await;
        alice.until(live).await;
        assert_eq!(alice.seqs, (missed..=live).collect::<Vec<_>>());
    }
}

/// The instance stops in order and starts again; its `EventSource` comes back to the other one meanwhile, then to the new one.
async fn a_restart_is_resumed(pair: Pair) {
    let [a, b] = pair.fleet().await;
    let mut bob = b.peer_over(Transport::MSGPACK, "bob").await;
    let mut alice = Native::open(&a, with_ticket(&ticket(&a, "alice", json!({"channels": [{"channel": "room:1"}]})).await)).await;
    while alice.replies.len() < 2 {
        alice.step().await;
    }
    bob.publish("room:1", "1").await;
    alice.until(1).await;
    let restarting = tokio::spawn(a.restart());
    while alice.step().await {}
    bob.publish("room:1", "1").await;
    let mut there = Native::open(&b, with_id(&alice.id)).await;
    there.until(2).await;
    let a = restarting.await.unwrap();
    bob.publish("room:1", "1").await;
    let mut back = Native::open(&a, with_id(&there.id)).await;
    back.until(3).await;
    assert_eq!((there.seqs.clone(), back.seqs.clone()), (vec![2], vec![3]));
}

async fn an_id_is_as_good_as_its_token(pair: Pair) {
    let clock = clock();
    let server = pair.server_at(&clock, &[]).await;
    let token = server.token_for("alice", 60, &[("room:*", &Action::ALL)]);
    let wanted = json!({"channels": [{"channel": "room:1"}, {"channel": "desk:1"}]});
    let made = ask(&server, Request::post("/v1/tickets", wanted.to_string()).with_token(&token)).await.json().await;
    let mut alice = Native::open(&server, with_ticket(made["ticket"].as_str().unwrap())).await;
    while alice.replies.len() < 2 {
        alice.step().await;
    }
    let channels = &alice.replies[1]["result"]["channels"];
    assert_eq!((&channels[0]["error"], &channels[1]["error"]["code"]), (&Value::Null, &json!("forbidden")));
    while alice.id.is_empty() {
        alice.step().await;
    }
    advance(&clock, 50_000);
    let mut again = Native::open(&server, with_id(&alice.id)).await;
    while again.id.is_empty() {
        again.step().await;
    }
    assert_eq!(again.replies[0]["result"]["user"], "alice");
    assert!(again.replies[0]["result"]["expires_at"].as_u64().unwrap() <= server.now() + 10_000, "a reconnect renews nothing");
    advance(&clock, 11_000);
    let last = rest(&mut again.events).await;
    let disconnect =
        last.iter().position(|block| matches!(parsed(block), Some(ServerFrame::Disconnect(disconnect)) if disconnect.code == 4501));
    let expired = last.iter().position(|block| block.event.as_deref() == Some("expired"));
    assert!(disconnect.is_some() && disconnect < expired, "{last:?}");
    for id in [&alice.id, &again.id] {
        let answer = ask(&server, with_id(id)).await;
        assert_eq!(answer.status(), 204, "it makes the browser give up");
        assert_eq!(answer.text().await, "");
    }
}

async fn what_is_no_id_is_refused(pair: Pair) {
    let server = pair.server().await;
    let other = pair.server().await;
    let mut alice = Native::open(&server, with_ticket(&ticket(&server, "alice", json!({})).await)).await;
    while alice.id.is_empty() {
        alice.step().await;
    }
    let mut tampered = alice.id.clone().into_bytes();
    for at in [0, 1, tampered.len() / 2, tampered.len() - 1] {
        let was = tampered[at];
        tampered[at] = if was == b'A' { b'B' } else { b'A' };
        let id = String::from_utf8(tampered.clone()).unwrap();
        assert_eq!(code(ask(&server, with_id(&id)).await).await, refusal(401, "unauthorized"), "{at}");
        tampered[at] = was;
    }
    for id in ["1", "nonsense", &alice.id[..alice.id.len() - 1], &"A".repeat(5_000)] {
        assert_eq!(code(ask(&server, with_id(id)).await).await, refusal(401, "unauthorized"));
    }
    assert_eq!(code(ask(&other, with_id(&alice.id)).await).await, refusal(401, "unauthorized"), "of another database");
    assert_eq!(ask(&server, with_id(&alice.id)).await.status(), 200);
}

async fn there_is_room_for_sixty_four_subscriptions(pair: Pair) {
    let server = pair.server().await;
    let channels: Vec<_> = (0..64).map(|n| json!({"channel": format!("r:{n}")})).collect();
    let mut alice = Native::open(&server, with_ticket(&ticket(&server, "alice", json!({"channels": channels})).await)).await;
    while alice.replies.len() < 2 || alice.id.is_empty() {
        alice.step().await;
    }
    let session = alice.replies[0]["result"]["session"].as_str().unwrap().to_owned();
    let mut n = 0;
    let mut up = async |body: Value| {
        n += 1;
        let post = Request::post(&format!("/v1/sse/{session}?n={n}"), body.to_string()).with_token(&server.token("alice"));
        assert_eq!(ask(&server, post).await.status(), 200);
    };
    up(json!({"type": "subscribe", "id": 3, "channels": [{"channel": "room:1"}]})).await;
    up(json!({"type": "unsubscribe", "id": 4, "channels": ["r:7"]})).await;
    up(json!({"type": "subscribe", "id": 5, "channels": [{"channel": "room:1"}]})).await;
    while alice.replies.len() < 5 {
        alice.step().await;
    }
    let code = |reply: &Value| reply["result"]["channels"][0]["error"]["code"].as_str().map(str::to_owned);
    assert_eq!(code(&alice.replies[2]).as_deref(), Some("too_many_subscriptions"));
    assert_eq!((code(&alice.replies[3]), code(&alice.replies[4])), (None, None));
    let before = alice.id.clone();
    server.peer_over(Transport::MSGPACK, "bob").await.publish("room:1", "1").await;
    alice.until(1).await;
    assert_ne!(alice.id, before);
    // What it did since it began is in the id.
    let mut again = Native::open(&server, with_id(&alice.id)).await;
    while again.replies.len() < 2 {
        again.step().await;
    }
    let channels = again.replies[1]["result"]["channels"].as_array().unwrap();
    let mut names: Vec<_> = channels.iter().map(|one| one["channel"].as_str().unwrap()).collect();
    assert!(channels.iter().all(|one| one["recovered"] == true));
    names.sort_unstable();
    let mut expected: Vec<String> = (0..64).filter(|n| *n != 7).map(|n| format!("r:{n}")).chain(["room:1".to_owned()]).collect();
    expected.sort_unstable();
    assert_eq!(names, expected);
}

/// Long names leave room for fewer.
async fn an_id_stays_below_four_kibibytes(pair: Pair) {
    let server = pair.server().await;
    let mut alice = Native::open(&server, with_ticket(&ticket(&server, "alice", json!({})).await)).await;
    while alice.replies.is_empty() {
        alice.step().await;
    }
    let session = alice.replies[0]["result"]["session"].as_str().unwrap().to_owned();
    let channels: Vec<_> = (0..64).map(|n| json!({"channel": format!("{n:02}{}", "x".repeat(126))})).collect();
    let body = json!({"type": "subscribe", "id": 3, "channels": channels}).to_string();
    let post = Request::post(&format!("/v1/sse/{session}?n=1"), body).with_token(&server.token("alice"));
    assert_eq!(ask(&server, post).await.status(), 200);
    while alice.replies.len() < 2 {
        alice.step().await;
    }
    let errors = alice.replies[1]["result"]["channels"].as_array().unwrap().iter();
    let errors = errors.map(|one| one["error"]["code"].as_str().map(str::to_owned));
    let (taken, refused): (Vec<_>, Vec<_>) = errors.partition(Option::is_none);
    assert!(taken.len() >= 15 && !refused.is_empty(), "{} were taken", taken.len());
    assert!(refused.iter().all(|code| code.as_deref() == Some("too_many_subscriptions")));
    // And the id that follows holds them: `step` looks at its length.
    let before = alice.id.clone();
    while alice.id == before {
        alice.step().await;
    }
    let mut again = Native::open(&server, with_id(&alice.id)).await;
    while again.replies.len() < 2 {
        again.step().await;
    }
    assert_eq!(again.replies[1]["result"]["channels"].as_array().unwrap().len(), taken.len());
}

async fn frames_go_up_with_a_token(pair: Pair) {
    let server = pair.server().await;
    let mut alice = Native::open(&server, with_ticket(&ticket(&server, "alice", json!({"channels": [{"channel": "room:1"}]})).await)).await;
    while alice.replies.len() < 2 {
        alice.step().await;
    }
    let session = alice.replies[0]["result"]["session"].as_str().unwrap().to_owned();
    let post = |n: u32| Request::post(&format!("/v1/sse/{session}?n={n}"), super::publishing(n + 2, "room:1", "1"));
    let mut client = Client::new(&[server.address()]);
    assert_eq!(client.ask(&post(1)).await.unwrap().status(), 401);
    assert_eq!(client.ask(&post(1).with_token(&server.token("bob"))).await.unwrap().status(), 403);
    assert_eq!(client.ask(&post(1).with_token(&server.token("alice"))).await.unwrap().status(), 200);
    alice.until(1).await;
}
