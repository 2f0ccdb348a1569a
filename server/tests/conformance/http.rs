//! REST and health: the same use cases by another door.

use std::net::SocketAddr;

use hubbub_server::auth::Action;
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use crate::support::{Pair, json as payload, message_id, seq};

crate::on_every_pair!(
    a_publish_reaches_subscribers_and_is_safe_to_retry,
    many_at_once_each_with_its_own_outcome,
    history_and_info,
    every_error_is_a_problem,
    every_fault_names_its_place,
    entries_come_and_go_as_messagepack,
    health_names_what_it_depends_on,
    upgrades_that_are_none,
);

/// A request of one connection.
#[derive(Clone)]
pub struct Request {
    head: String,
    body: String,
}

impl Request {
    pub fn get(path: &str) -> Self {
        Self { head: format!("GET {path} HTTP/1.1\r\nhost: test\r\nconnection: close\r\n"), body: String::new() }
    }

    pub fn post(path: &str, body: &str) -> Self {
        let head = format!(
            "POST {path} HTTP/1.1\r\nhost: test\r\nconnection: close\r\ncontent-type: application/json\r\ncontent-length: {}\r\n",
            body.len()
        );
        Self { head, body: body.to_owned() }
    }

    /// Of any method, with a body if it is not empty.
    pub fn of(method: &str, path: &str, body: &str) -> Self {
        let Self { head, body } = Self::post(path, body);
        let head = head.replacen("POST", method, 1);
        Self { head: if body.is_empty() { head.replace("content-type: application/json\r\n", "") } else { head }, body }
    }

    pub fn head(path: &str) -> Self {
        Self { head: format!("HEAD {path} HTTP/1.1\r\nhost: test\r\nconnection: close\r\n"), body: String::new() }
    }

    /// The same without one of its headers.
    pub fn without(self, name: &str) -> Self {
        let lines = self.head.split_inclusive("\r\n").filter(|line| !line.starts_with(&format!("{name}:")));
        Self { head: lines.collect(), ..self }
    }

    /// The same, to a server of another name.
    pub fn for_host(self, host: &str) -> Self {
        Self { head: self.head.replacen("host: test", &format!("host: {host}"), 1), ..self }
    }

    pub fn with(mut self, name: &str, value: &str) -> Self {
        self.head += &format!("{name}: {value}\r\n");
        self
    }

    pub fn with_token(self, token: &str) -> Self {
        self.with("authorization", &format!("Bearer {token}"))
    }
}

/// Its answer.
pub struct Answer {
    pub status: u16,
    head: String,
    pub body: String,
}

impl Answer {
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|_| panic!("not JSON: {}", self.body))
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.head
            .lines()
            .filter_map(|line| line.split_once(':'))
            .find(|(other, _)| other.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.trim())
    }
}

pub async fn request(address: SocketAddr, request: Request) -> Answer {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(format!("{}\r\n{}", request.head, request.body).as_bytes()).await.unwrap();
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).await.unwrap();
    let text = String::from_utf8_lossy(&bytes);
    let (head, body) = text.split_once("\r\n\r\n").unwrap();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    Answer { status, head: head.to_owned(), body: body.to_owned() }
}

const ENTRIES: &str = "/v1/channels/room%3A1/entries";

async fn a_publish_reaches_subscribers_and_is_safe_to_retry(pair: Pair) {
    let server = pair.server().await;
    let mut bob = server.peer("bob").await;
    bob.subscribe("room:1").await;
    let id = message_id(server.now(), 1).to_string();
    let body = json!({"payload": {"text": "hi"}, "key": "k", "message_id": id}).to_string();
    let post = || request(server.address(), Request::post(ENTRIES, &body).with_token(&server.token("alice")));
    let first = post().await;
    assert_eq!((first.status, first.json()["seq"].as_u64(), first.json()["message_id"].as_str()), (201, Some(1), Some(id.as_str())));
    let again = post().await;
    assert_eq!((again.status, again.json()["seq"].as_u64(), again.json()["duplicate"].as_bool()), (200, Some(1), Some(true)));
    let entry = bob.entry().await;
    assert_eq!((payload(&entry), &*entry.publisher, seq(&entry)), (json!({"text": "hi"}), "alice", 1));
    let other = json!({"payload": 2, "message_id": id}).to_string();
    let reused = request(server.address(), Request::post(ENTRIES, &other).with_token(&server.token("alice"))).await;
    assert_eq!((reused.status, reused.json()["code"].as_str()), (409, Some("id_reused")));
    let ephemeral =
        request(server.address(), Request::post("/v1/channels/live:1/entries", "{\"payload\":1}").with_token(&server.token("alice"))).await;
    assert_eq!((ephemeral.status, ephemeral.json()["seq"].as_u64()), (201, None));
}

async fn many_at_once_each_with_its_own_outcome(pair: Pair) {
    let server = pair.server().await;
    let id = message_id(server.now(), 1).to_string();
    let body = json!({"messages": [{"payload": 1}, {"payload": 2, "message_id": id}, {"payload": 3, "key": "\u{7}"}, {"payload": 2, "message_id": id}, {"payload": 5}]}).to_string();
    let answer = request(server.address(), Request::post(ENTRIES, &body).with_token(&server.token("alice"))).await;
    assert_eq!(answer.status, 200);
    let results = answer.json()["results"].clone();
    let seqs: Vec<_> = results.as_array().unwrap().iter().map(|result| result["seq"].as_u64()).collect();
    assert_eq!(seqs, [Some(1), Some(2), None, Some(2), Some(3)]);
    assert_eq!((results[2]["error"]["code"].as_str(), results[3]["duplicate"].as_bool()), (Some("key_invalid"), Some(true)));
    let none = request(server.address(), Request::post(ENTRIES, "{\"messages\":[]}").with_token(&server.token("alice"))).await;
    assert_eq!((none.status, none.json()["errors"][0]["pointer"].as_str()), (422, Some("/messages")));
}

async fn history_and_info(pair: Pair) {
    let server = pair.server().await;
    let mut alice = server.peer("alice").await;
    alice.publish_many("room:1", 12).await;
    alice.subscribe("room:1").await;
    let token = server.token("alice");
    let get = |path: String| request(server.address(), Request::get(&path).with_token(&token));
    let page = get(format!("{ENTRIES}?after=3&limit=4")).await.json();
    let seqs: Vec<_> = page["entries"].as_array().unwrap().iter().map(|entry| entry["seq"].as_u64().unwrap()).collect();
    assert_eq!((seqs, page["more"].as_bool(), page["head"]["seq"].as_u64()), (vec![4, 5, 6, 7], Some(true), Some(12)));
    assert_eq!(page["entries"][0]["payload"], 3);
    let info = get("/v1/channels/room:1".to_owned()).await.json();
    assert_eq!(
        (info["name"].as_str(), info["messages"].as_u64(), info["subscribers"].as_u64(), info["durable"].as_bool()),
        (Some("room:1"), Some(12), Some(1), Some(true))
    );
    assert_eq!(get("/v1/channels/room:none".to_owned()).await.status, 404);
    let ephemeral = get("/v1/channels/live:1".to_owned()).await.json();
    assert_eq!((ephemeral["durable"].as_bool(), ephemeral["head"].is_null()), (Some(false), true));
}

async fn every_error_is_a_problem(pair: Pair) {
    let server = pair.server_with(&["http.max_body=64KiB", "channel.payload=32KiB"]).await;
    let token = server.token("alice");
    let weak = server.token_for("alice", 60, &[("room:2", &Action::ALL)]);
    let long = format!("{{\"payload\":\"{}\"}}", "x".repeat(70_000));
    let too_long = format!("{{\"payload\":\"{}\"}}", "x".repeat(40_000));
    let post = |body: &str| Request::post(ENTRIES, body).with_token(&token);
    let cases = [
        (Request::get("/nowhere"), 404, "not_found"),
        (Request::get(ENTRIES), 401, "unauthorized"),
        (Request::get(ENTRIES).with_token("nonsense"), 401, "unauthorized"),
        (Request::get(ENTRIES).with_token(&server.token_for("alice", -10, &[])), 401, "token_expired"),
        (Request::get(ENTRIES).with_token(&weak), 403, "forbidden"),
        (Request::get("/v1/channels/a%20b/entries").with_token(&token), 400, "channel_invalid"),
        (Request::get(ENTRIES).with_token(&token).with("accept", "text/csv"), 406, "not_acceptable"),
        (Request::get("/v1/channels/live:1/entries").with_token(&token), 409, "not_durable"),
        (post("{"), 400, "bad_frame"),
        (post("{\"payload\":1,\"payload\":2}"), 422, "invalid"),
        (post("{\"payload\":1}").with("accept", "text/csv"), 406, "not_acceptable"),
        (post("{\"payload\":1}").without("content-type").with("content-type", "text/plain"), 415, "unsupported_media_type"),
        (post(&too_long), 413, "payload_too_large"),
        (post(&long), 413, "payload_too_large"),
    ];
    for (request_, status, code) in cases {
        let line = request_.head.lines().next().unwrap().to_owned();
        let answer = request(server.address(), request_).await;
        assert_eq!(answer.status, status, "{line}: {}", answer.body);
        assert_eq!(answer.header("content-type"), Some("application/problem+json"), "{line}");
        let body = answer.json();
        assert_eq!((body["code"].as_str(), body["status"].as_u64()), (Some(code), Some(u64::from(status))), "{line}");
        assert_eq!(body["request_id"].as_str(), answer.header("x-request-id"), "{line}");
        assert!(body["detail"].as_str().is_some_and(|detail| !detail.is_empty()), "{line}");
        assert!(!answer.body.contains("nonsense"), "no token comes back");
    }
    let answer = request(server.address(), Request::post("/healthz", "")).await;
    assert_eq!((answer.status, answer.header("allow")), (405, Some("GET,HEAD")));
    assert_eq!(answer.header("content-type"), Some("application/problem+json"));
    let answer = request(server.address(), post("1").with("x-request-id", "mine-7")).await;
    assert_eq!(answer.header("x-request-id"), Some("mine-7"));
}

/// Messages and entries are asked for, and published, under the same rules.
async fn every_fault_names_its_place(pair: Pair) {
    let server = pair.server().await;
    let token = server.token("alice");
    let first = |answer: &Value, place: &str| {
        let fault = &answer["errors"][0];
        (fault[place].as_str().unwrap_or_default().to_owned(), fault["code"].as_str().unwrap_or_default().to_owned())
    };
    for door in [ENTRIES, "/v1/channels/room%3A1/messages"] {
        for (query, parameter, code) in [
            ("limit=0", "limit", "too_small"),
            ("limit=x", "limit", "type"),
            ("after=x", "after", "type"),
            ("before=0", "before", "too_small"),
            ("after=9007199254740992", "after", "too_large"),
            ("after=0&before=9", "before", "excluded"),
            ("nope=1", "nope", "unknown_field"),
        ] {
            let answer = request(server.address(), Request::get(&format!("{door}?{query}")).with_token(&token)).await;
            assert_eq!(answer.status, 422, "{door}?{query}: {}", answer.body);
            assert_eq!(first(&answer.json(), "parameter"), (parameter.to_owned(), code.to_owned()), "{door}?{query}");
        }
        for (body, pointer, code) in [
            ("{}", "/payload", "required"),
            ("[1,null,null]", "", "type"),
            ("{\"payload\":1,\"mesage_id\":\"x\"}", "/mesage_id", "unknown_field"),
            ("{\"payload\":1,\"message_id\":\"x\"}", "/message_id", "pattern"),
            ("{\"payload\":1,\"key\":5}", "/key", "type"),
        ] {
            let answer = request(server.address(), Request::post(door, body).with_token(&token)).await;
            assert_eq!(answer.status, 422, "{door} {body}: {}", answer.body);
            assert_eq!(first(&answer.json(), "pointer"), (pointer.to_owned(), code.to_owned()), "{door} {body}");
        }
    }
    for (body, pointer, code) in [
        ("{\"messages\":[[1,null,null]]}", "/messages/0", "type"),
        ("{\"messages\":[{\"payload\":1},{\"payloud\":1}]}", "/messages/1/payloud", "unknown_field"),
        ("{\"payload\":1,\"key\":\"\\u0007\"}", "/key", "pattern"),
    ] {
        let answer = request(server.address(), Request::post(ENTRIES, body).with_token(&token)).await;
        assert_eq!((answer.status, first(&answer.json(), "pointer")), (422, (pointer.to_owned(), code.to_owned())), "{body}");
    }
}

async fn entries_come_and_go_as_messagepack(pair: Pair) {
    let server = pair.server().await;
    let token = server.token("alice");
    // {"payload": {"b": 1, "a": 2}}
    let body = b"\x81\xa7payload\x82\xa1b\x01\xa1a\x02";
    let post = Request::of("POST", ENTRIES, "").without("content-length").with("content-length", &body.len().to_string());
    let post = post.with("content-type", "application/msgpack").with("accept", "application/msgpack").with_token(&token);
    let mut stream = TcpStream::connect(server.address()).await.unwrap();
    stream.write_all(&[format!("{}\r\n", post.head).as_bytes(), body].concat()).await.unwrap();
    let mut published = Vec::new();
    stream.read_to_end(&mut published).await.unwrap();
    let published = String::from_utf8_lossy(&published);
    assert!(published.starts_with("HTTP/1.1 201") && published.contains("content-type: application/msgpack"), "{published}");
    let page = request(server.address(), Request::get(ENTRIES).with_token(&token).with("accept", "application/msgpack")).await;
    assert_eq!((page.status, page.header("content-type")), (200, Some("application/msgpack")));
    let page = request(server.address(), Request::get(ENTRIES).with_token(&token)).await;
    assert!(page.body.contains("\"payload\":{\"b\":1,\"a\":2}"), "fields stay in their order: {}", page.body);
}

async fn health_names_what_it_depends_on(pair: Pair) {
    let server = pair.server().await;
    let alive = request(server.address(), Request::get("/healthz")).await;
    assert_eq!((alive.status, alive.json()["status"].as_str()), (200, Some("ok")));
    let ready = request(server.address(), Request::get("/readyz")).await.json();
    assert_eq!(ready["dependencies"]["store"]["status"], "ok");
    assert_eq!(ready["dependencies"]["broker"]["status"], "ok");
    server.peer("alice").await.publish("room:1", "1").await;
    let metrics = request(server.address(), Request::get("/metrics")).await;
    assert_eq!(metrics.status, 200);
    assert!(metrics.body.contains("hubbub_publishes_total{result=\"stored\"} 1"), "{}", metrics.body);
}

async fn upgrades_that_are_none(pair: Pair) {
    let server = pair.server().await;
    let upgrade = |key: &str, version: &str, protocol: &str| {
        Request::get("/v1/ws")
            .with("upgrade", "websocket")
            .with("connection", "upgrade")
            .with("sec-websocket-key", key)
            .with("sec-websocket-version", version)
            .with("sec-websocket-protocol", protocol)
    };
    const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";
    for (request_, status) in [
        (Request::get("/v1/ws").with("sec-websocket-protocol", "hubbub.v1.json"), 426),
        (upgrade("short", "13", "hubbub.v1.json"), 400),
        (upgrade(KEY, "12", "hubbub.v1.json"), 426),
        (upgrade(KEY, "13", "chat"), 400),
    ] {
        let answer = request(server.address(), request_).await;
        assert_eq!(answer.status, status, "{}", answer.body);
        assert_eq!(answer.header("content-type"), Some("application/problem+json"));
        if status == 426 {
            assert_eq!(answer.header("sec-websocket-version"), Some("13"));
        }
    }
}
