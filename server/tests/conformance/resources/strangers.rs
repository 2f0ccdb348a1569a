//! What belongs to one is out of another's reach, by whatever address; and nothing that comes in is more than text.

use serde_json::{Value, json};

use super::{Person, person};
use crate::{
    accounts::{CHEAP, text},
    http::{Request, request},
    support::{Pair, Server},
};

crate::on_local_pairs!(
    nobody_reaches_what_is_another_s,
    nobody_gives_himself_what_he_has_not,
    text_is_text_wherever_it_goes,
    bombs_and_giants_are_refused,
);

/// Everything that Ada has, and Eve asks for by its address.
async fn nobody_reaches_what_is_another_s(pair: Pair) {
    let server = pair.server_with(CHEAP).await;
    let owner = person(&server, "owner").await;
    let (ada, eve) = (person(&server, "ada").await, person(&server, "eve").await);
    ada.does(&server, "POST", "/v1/channels", json!({"name": "chat:a", "title": "A"}), 201).await;
    ada.does(&server, "POST", "/v1/channels/chat:a/messages", json!({"payload": "secret"}), 201).await;
    let key = owner.does(&server, "POST", "/v1/api-keys", json!({"name": "k", "scopes": ["publish"]}), 201).await.json();
    let upload = request(server.address(), Request::of("POST", "/v1/uploads?name=a.txt", "mine").with_token(&ada.token)).await.json();
    let session = ada.get(&server, "/v1/sessions").await.json();
    let (key, upload, session) = (text(&key["id"]), text(&upload["id"]), text(&session["items"][0]["id"]));
    let any = [("if-match", "*")];
    let asked: Vec<(&str, String, Value)> = vec![
        ("GET", "/v1/channels/chat:a".into(), Value::Null),
        ("PUT", "/v1/channels/chat:a".into(), json!({"title": "mine"})),
        ("PATCH", "/v1/channels/chat:a".into(), json!({"title": "mine"})),
        ("DELETE", "/v1/channels/chat:a".into(), Value::Null),
        ("POST", "/v1/channels/chat:a/restore".into(), Value::Null),
        ("GET", "/v1/channels/chat:a/members".into(), Value::Null),
        ("POST", "/v1/channels/chat:a/members".into(), json!({"user": eve.id})),
        ("PUT", "/v1/channels/chat:a/membership".into(), Value::Null),
        ("GET", format!("/v1/channels/chat:a/members/{}", ada.id), Value::Null),
        ("PATCH", format!("/v1/channels/chat:a/members/{}", ada.id), json!({"role": "guest"})),
        ("DELETE", format!("/v1/channels/chat:a/members/{}", ada.id), Value::Null),
        ("GET", "/v1/channels/chat:a/bans".into(), Value::Null),
        ("PUT", format!("/v1/channels/chat:a/bans/{}", ada.id), json!({})),
        ("GET", format!("/v1/channels/chat:a/bans/{}", ada.id), Value::Null),
        ("DELETE", format!("/v1/channels/chat:a/bans/{}", ada.id), Value::Null),
        ("GET", "/v1/channels/chat:a/messages".into(), Value::Null),
        ("POST", "/v1/channels/chat:a/messages".into(), json!({"payload": 1})),
        ("GET", "/v1/channels/chat:a/messages/1".into(), Value::Null),
        ("PATCH", "/v1/channels/chat:a/messages/1".into(), json!({"payload": 1})),
        ("DELETE", "/v1/channels/chat:a/messages/1".into(), Value::Null),
        ("GET", "/v1/channels/chat:a/entries".into(), Value::Null),
        ("POST", "/v1/channels/chat:a/entries".into(), json!({"payload": 1})),
        ("GET", "/v1/channels/chat:a/presence".into(), Value::Null),
        ("GET", format!("/v1/uploads/{upload}"), Value::Null),
        ("PATCH", format!("/v1/uploads/{upload}"), json!({"name": "x"})),
        ("DELETE", format!("/v1/uploads/{upload}"), Value::Null),
        ("GET", format!("/v1/uploads/{upload}/content"), Value::Null),
        ("GET", format!("/v1/sessions/{session}"), Value::Null),
        ("DELETE", format!("/v1/sessions/{session}"), Value::Null),
        ("PATCH", format!("/v1/users/{}", ada.id), json!({"name": "Eve"})),
        ("DELETE", format!("/v1/users/{}", ada.id), Value::Null),
        ("POST", format!("/v1/users/{}/restore", ada.id), Value::Null),
        ("GET", format!("/v1/api-keys/{key}"), Value::Null),
        ("DELETE", format!("/v1/api-keys/{key}"), Value::Null),
        ("GET", "/v1/api-keys".into(), Value::Null),
        ("GET", "/v1/audit".into(), Value::Null),
        ("GET", "/v1/instances".into(), Value::Null),
        ("GET", "/v1/server/info".into(), Value::Null),
        ("POST", "/v1/server/disconnect".into(), json!({"users": [ada.id]})),
        ("GET", "/v1/channels?all=true".into(), Value::Null),
        ("GET", "/v1/users?deleted=true".into(), Value::Null),
    ];
    for (method, path, body) in asked {
        let answer = eve.ask_with(&server, method, &path, body, &any).await;
        assert!(matches!(answer.status, 403 | 404), "{method} {path}: {} {}", answer.status, answer.body);
        assert!(!answer.body.contains("secret") && !answer.body.contains("mine"), "{method} {path}: {}", answer.body);
    }
    let attach = json!({"payload": "x", "attachments": [upload]});
    eve.does(&server, "POST", "/v1/channels", json!({"name": "chat:e", "title": "E"}), 201).await;
    eve.does(&server, "POST", "/v1/channels/chat:e/messages", attach, 422).await;
    ada.does(&server, "GET", "/v1/channels/chat:a/messages/1", Value::Null, 200).await;
}

async fn nobody_gives_himself_what_he_has_not(pair: Pair) {
    let server = pair.server_with(CHEAP).await;
    let owner = person(&server, "owner").await;
    let eve = person(&server, "eve").await;
    let me = format!("/v1/users/{}", eve.id);
    let any = [("if-match", "*")];
    for (body, status) in [
        (json!({"role": "owner"}), 403),
        (json!({"blocked": true}), 403),
        (json!({"name": "Eve", "role": "admin"}), 403),
        (json!({"id": owner.id}), 422),
        (json!({"version": 1}), 422),
        (json!({"login": "root"}), 422),
        (json!({"password": "x"}), 422),
        (json!({"name": "Eve"}), 200),
    ] {
        let answer = eve.ask_with(&server, "PATCH", &me, body.clone(), &any).await;
        assert_eq!(answer.status, status, "{body}: {}", answer.body);
    }
    for body in
        [json!({"title": "x", "created_by": owner.id}), json!({"title": "x", "members": 5}), json!({"title": "x", "kind": "personal"})]
    {
        eve.does(&server, "POST", "/v1/channels", body, 422).await;
    }
    let register = json!({"login": "mallory", "password": "correct horse battery", "role": "owner"});
    assert_eq!(request(server.address(), Request::post("/v1/accounts", &register.to_string())).await.status, 422);
    // An owner makes another, and only then goes.
    let of_owner = format!("/v1/users/{}", owner.id);
    assert_eq!(owner.ask_with(&server, "PATCH", &of_owner, json!({"role": "member"}), &any).await.status, 409);
    assert_eq!(owner.ask_with(&server, "DELETE", &of_owner, Value::Null, &any).await.status, 409);
    assert_eq!(owner.ask_with(&server, "PATCH", &me, json!({"role": "owner"}), &any).await.status, 200);
    assert_eq!(owner.ask_with(&server, "DELETE", &of_owner, Value::Null, &any).await.status, 204);
    owner.does(&server, "GET", "/v1/me", Value::Null, 401).await;
}

const TEXTS: &[&str] = &[
    "'; DROP TABLE users; --",
    "\" OR 1=1 --",
    "%' OR '1'='1",
    "a\\",
    "${7*7}",
    "<script>alert(1)</script>",
    "../../etc/passwd",
    "名前 🦜",
];

async fn text_is_text_wherever_it_goes(pair: Pair) {
    let server = pair.server_with(CHEAP).await;
    let ada = person(&server, "ada").await;
    for (number, odd) in TEXTS.iter().enumerate() {
        let channel = format!("/v1/channels/chat:{number}");
        let room = json!({"name": format!("chat:{number}"), "title": odd, "topic": odd, "data": {"x": odd}, "visibility": "public"});
        let made = ada.does(&server, "POST", "/v1/channels", room, 201).await.json();
        assert_eq!((text(&made["title"]), text(&made["topic"]), text(&made["data"]["x"])), (*odd, *odd, *odd));
        let escaped = odd.replace('\\', "\\\\").replace(',', "\\,").replace('|', "\\|");
        let query = form_urlencoded::Serializer::new(String::new()).append_pair("filter", &format!("title:eq:{escaped}")).finish();
        let found = ada.does(&server, "GET", &format!("/v1/channels?{query}"), Value::Null, 200).await.json();
        assert_eq!(found["items"].as_array().unwrap().len(), 1, "{odd}");
        ada.does(&server, "POST", &format!("{channel}/messages"), json!({"payload": odd}), 201).await;
        let me = format!("/v1/users/{}", ada.id);
        let named = ada.ask_with(&server, "PATCH", &me, json!({"name": odd}), &[("if-match", "*")]).await;
        assert_eq!(text(&named.json()["name"]), *odd);
        let path = format!("{channel}/members/{}", percent(odd));
        assert!(matches!(ada.get(&server, &path).await.status, 404 | 400), "{odd}");
        assert!(matches!(ada.get(&server, &format!("/v1/users/{}", percent(odd))).await.status, 404), "{odd}");
    }
    assert_eq!(ada.get(&server, "/v1/users").await.json()["items"].as_array().unwrap().len(), 1);
}

fn percent(text: &str) -> String {
    text.bytes().map(|byte| format!("%{byte:02X}")).collect()
}

async fn bombs_and_giants_are_refused(pair: Pair) {
    let server = pair.server_with(CHEAP).await;
    let ada = person(&server, "ada").await;
    let huge = format!("{{\"title\": \"{}\"}}", "x".repeat(3 << 20));
    ada.does(&server, "POST", "/v1/channels", serde_json::from_str(&huge).unwrap(), 413).await;
    // 16 MiB of nothing in a few kilobytes.
    let mut bomb = flate(&vec![b' '; 16 << 20]);
    assert!(bomb.len() < 100 << 10);
    let answer = raw(&server, &ada, &bomb).await;
    assert!(answer.starts_with("HTTP/1.1 413"), "{answer}");
    bomb.truncate(100);
    assert!(raw(&server, &ada, &bomb).await.starts_with("HTTP/1.1 400"));
    assert!(raw(&server, &ada, &flate(br#"{"title": "small"}"#)).await.starts_with("HTTP/1.1 201"));
    let deep = format!("{{\"title\": \"x\", \"data\": {}1{}}}", "[".repeat(5_000), "]".repeat(5_000));
    let answer = request(server.address(), Request::of("POST", "/v1/channels", &deep).with_token(&ada.token)).await;
    assert_eq!(answer.status, 400, "{}", answer.body);
    let wide = json!({"title": "x", "data": {"x": "y".repeat(5_000)}});
    ada.does(&server, "POST", "/v1/channels", wide, 422).await;
}

fn flate(bytes: &[u8]) -> Vec<u8> {
    use std::io::Write;
    let mut coder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    coder.write_all(bytes).unwrap();
    coder.finish().unwrap()
}

/// Posts compressed bytes; the answer as it comes.
async fn raw(server: &Server, who: &Person, body: &[u8]) -> String {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let mut socket = tokio::net::TcpStream::connect(server.address()).await.unwrap();
    let head = format!(
        "POST /v1/channels HTTP/1.1\r\nhost: test\r\nconnection: close\r\nauthorization: Bearer {}\r\ncontent-type: application/json\r\n\
         content-encoding: gzip\r\ncontent-length: {}\r\n\r\n",
        who.token,
        body.len()
    );
    socket.write_all(head.as_bytes()).await.unwrap();
    // It may answer, and close, before everything has been sent.
    let _ = socket.write_all(body).await;
    let mut answer = Vec::new();
    let _ = socket.read_to_end(&mut answer).await;
    String::from_utf8_lossy(&answer).into_owned()
}
