//! HTTP as a table: method, address and headers; status and headers.

use serde_json::{Value, json};

use super::{Person, person};
use crate::{
    accounts::{CHEAP, text},
    http::{Answer, Request, request},
    support::{Pair, Server},
};

crate::on_local_pairs!(
    requests_are_answered_as_the_standards_say,
    what_is_refused_says_what_is_taken,
    a_key_makes_a_post_safe_to_repeat,
    a_key_is_visible_signs_and_its_answer_is_kept_whole,
    a_patch_that_is_none_is_refused_whatever_it_would_change,
    a_long_problem_can_be_read,
    the_document_tells_what_is_there,
);

/// Method, path, headers, body, status, headers of the answer (`!name`: it is not there).
type Row =
    (&'static str, &'static str, &'static [(&'static str, &'static str)], &'static str, u16, &'static [(&'static str, &'static str)]);

const JSON: &str = "application/json";
const MP: &str = "application/msgpack";

const ROWS: &[Row] = &[
    // What is there, and what is not.
    ("GET", "/v1/channels/chat:t", &[], "", 200, &[("content-type", JSON), ("etag", "\"1\""), ("x-content-type-options", "nosniff")]),
    ("HEAD", "/v1/channels/chat:t", &[], "", 200, &[("content-type", JSON), ("etag", "\"1\"")]),
    ("GET", "/v1/channels/chat%3At", &[], "", 200, &[]),
    ("GET", "/v1/channels/chat:none", &[], "", 404, &[("content-type", "application/problem+json"), ("cache-control", "no-store")]),
    ("GET", "/v1/nothing", &[], "", 404, &[("content-type", "application/problem+json")]),
    ("GET", "/v1/channels/", &[], "", 404, &[]),
    ("GET", "/v1/channels/a%2Fb", &[], "", 400, &[]),
    ("GET", "/v1/channels/..%2F..%2Fetc", &[], "", 400, &[]),
    ("GET", "/v1/users/%00", &[], "", 404, &[]),
    ("GET", "/openapi.json", &[], "", 200, &[("content-type", JSON)]),
    ("GET", "/asyncapi.json", &[], "", 200, &[("content-type", JSON)]),
    // Methods.
    ("OPTIONS", "/v1/channels", &[], "", 204, &[("allow", "GET,HEAD,POST")]),
    ("OPTIONS", "/v1/channels/chat:t", &[], "", 204, &[("allow", "GET,HEAD,PUT,PATCH,DELETE")]),
    (
        "POST",
        "/v1/channels/chat:t",
        &[],
        "{}",
        405,
        &[("allow", "GET,HEAD,PUT,PATCH,DELETE"), ("content-type", "application/problem+json")],
    ),
    ("DELETE", "/v1/channels", &[], "", 405, &[("allow", "GET,HEAD,POST")]),
    ("PUT", "/v1/me", &[], "{}", 405, &[]),
    ("BREW", "/v1/me", &[], "", 405, &[]),
    // Formats that are wanted.
    ("GET", "/v1/me", &[("accept", "*/*")], "", 200, &[("content-type", JSON)]),
    ("GET", "/v1/me", &[("accept", MP)], "", 200, &[("content-type", MP)]),
    ("GET", "/v1/me", &[("accept", "application/vnd.msgpack;q=0.9, application/json;q=0.1")], "", 200, &[("content-type", MP)]),
    ("GET", "/v1/me", &[("accept", "image/png")], "", 406, &[("content-type", "application/problem+json")]),
    ("GET", "/v1/me", &[("accept", "text/csv")], "", 406, &[]),
    ("GET", "/v1/users", &[("accept", "text/csv")], "", 200, &[("content-type", "text/csv; charset=utf-8; header=present")]),
    ("GET", "/v1/users", &[("accept", "application/x-ndjson")], "", 200, &[("content-type", "application/x-ndjson")]),
    ("GET", "/v1/channels/chat:t", &[("accept", MP)], "", 200, &[("etag", "\"1.m\""), ("vary", "accept, authorization")]),
    // Formats that come.
    ("POST", "/v1/channels", &[("content-type", "text/plain")], "{}", 415, &[("accept-post", "application/json, application/msgpack")]),
    ("POST", "/v1/channels", &[("content-type", "application/merge-patch+json")], "{}", 415, &[]),
    (
        "PATCH",
        "/v1/channels/chat:t",
        &[("if-match", "*"), ("content-type", "text/csv")],
        "x",
        415,
        &[("accept-patch", "application/merge-patch+json, application/json, application/msgpack")],
    ),
    ("POST", "/v1/channels", &[("content-encoding", "compress")], "{}", 415, &[]),
    ("POST", "/v1/channels", &[("content-encoding", "lzma")], "{}", 415, &[("accept-encoding", "zstd,gzip,br")]),
    ("POST", "/v1/channels", &[("content-encoding", "gzip")], "not gzip", 400, &[]),
    ("POST", "/v1/channels", &[], "{", 400, &[("content-type", "application/problem+json")]),
    ("POST", "/v1/channels", &[], "", 415, &[]),
    ("POST", "/v1/channels", &[("content-type", MP)], "\u{1}", 422, &[]),
    // Fields.
    ("POST", "/v1/channels", &[], "[]", 422, &[]),
    ("POST", "/v1/channels", &[], r#"{"title": ""}"#, 422, &[]),
    ("POST", "/v1/channels", &[], r#"{"title": "x", "owner": "me"}"#, 422, &[]),
    ("POST", "/v1/channels", &[], r#"{"title": "x\u0000"}"#, 422, &[]),
    ("POST", "/v1/channels", &[], r#"{"title": 7}"#, 422, &[]),
    ("POST", "/v1/channels", &[], r#"{"title": "x", "name": "room:1"}"#, 409, &[]),
    ("POST", "/v1/channels", &[], r#"{"title": "x", "name": "dm:1"}"#, 409, &[]),
    ("POST", "/v1/channels", &[], r#"{"title": "x", "name": "chat:t"}"#, 409, &[]),
    ("GET", "/v1/users?limit=0", &[], "", 422, &[]),
    ("GET", "/v1/users?limit=x", &[], "", 422, &[]),
    ("GET", "/v1/users?limit=1&limit=2", &[], "", 422, &[]),
    ("GET", "/v1/users?nope=1", &[], "", 422, &[]),
    ("GET", "/v1/users?sort=password", &[], "", 422, &[]),
    ("GET", "/v1/users?filter=password:eq:x", &[], "", 422, &[]),
    ("GET", "/v1/users?cursor=AAAA", &[], "", 422, &[]),
    ("GET", "/v1/users?fields=password", &[], "", 422, &[]),
    ("GET", "/v1/channels/room:1/presence?limit=1001", &[], "", 422, &[]),
    // Conditions.
    ("GET", "/v1/channels/chat:t", &[("if-none-match", "\"1\"")], "", 304, &[("etag", "\"1\""), ("!content-type", "")]),
    ("GET", "/v1/channels/chat:t", &[("if-none-match", "W/\"1\"")], "", 304, &[]),
    ("GET", "/v1/channels/chat:t", &[("if-none-match", "\"1-gzip\"")], "", 304, &[]),
    ("GET", "/v1/channels/chat:t", &[("if-none-match", "*")], "", 304, &[]),
    ("GET", "/v1/channels/chat:t", &[("if-none-match", "\"2\", \"3\"")], "", 200, &[]),
    ("GET", "/v1/me", &[("if-none-match", "\"1\"")], "", 304, &[("etag", "\"1\""), ("!content-type", "")]),
    ("GET", "/v1/me", &[("if-none-match", "\"1\""), ("accept", MP)], "", 200, &[("etag", "\"1.m\"")]),
    ("PATCH", "/v1/channels/chat:t", &[], r#"{"topic": "x"}"#, 428, &[("content-type", "application/problem+json")]),
    ("PATCH", "/v1/channels/chat:t", &[("if-match", "\"9\"")], r#"{"topic": "x"}"#, 412, &[]),
    ("PATCH", "/v1/channels/chat:t", &[("if-match", "W/\"1\"")], r#"{"topic": "x"}"#, 412, &[]),
    ("PUT", "/v1/channels/chat:t", &[], r#"{"title": "x"}"#, 428, &[]),
    ("DELETE", "/v1/channels/chat:t", &[("if-match", "\"9\"")], "", 412, &[]),
    ("PATCH", "/v1/channels/chat:t", &[("if-match", "\"1\"")], r#"{"title": null}"#, 422, &[]),
    ("PATCH", "/v1/channels/chat:t", &[("if-match", "\"1\"")], r#"{"topic": "x"}"#, 200, &[("etag", "\"2\"")]),
    ("PATCH", "/v1/channels/chat:t", &[("if-match", "\"2.m\"")], r#"{"topic": "x"}"#, 200, &[("etag", "\"2\"")]),
    (
        "PATCH",
        "/v1/channels/chat:t",
        &[("if-match", "*"), ("content-type", "application/merge-patch+json")],
        r#"{"data": {"a": 1}}"#,
        200,
        &[("etag", "\"3\"")],
    ),
    ("PUT", "/v1/channels/chat:t", &[("if-match", "\"3\"")], r#"{"title": "new"}"#, 200, &[("etag", "\"4\"")]),
    // Credentials.
    ("GET", "/v1/me", &[("authorization", "")], "", 401, &[("www-authenticate", "Bearer")]),
    ("GET", "/v1/me", &[("authorization", "Basic eDp5")], "", 401, &[]),
    ("GET", "/v1/me", &[("authorization", "Bearer x.y.z")], "", 401, &[]),
    ("GET", "/v1/me", &[("authorization", "Bearer hbk_x.y")], "", 401, &[]),
    // Ids and rates.
    ("GET", "/v1/me", &[("x-request-id", "abc-1")], "", 200, &[("x-request-id", "abc-1"), ("ratelimit-limit", "10000")]),
];

async fn requests_are_answered_as_the_standards_say(pair: Pair) {
    assert!(ROWS.len() >= 60, "{}", ROWS.len());
    let server = pair.server_with(CHEAP).await;
    let ada = person(&server, "ada").await;
    ada.does(&server, "POST", "/v1/channels", json!({"name": "chat:t", "title": "T"}), 201).await;
    for row in ROWS {
        let (method, path, _, _, status, expected) = row;
        let answer = ask(&server, &ada, row).await;
        let line = format!("{method} {path} {:?}: {}", row.2, answer.body);
        assert_eq!(answer.status, *status, "{line}");
        for (name, value) in *expected {
            match name.strip_prefix('!') {
                Some(name) => assert_eq!(answer.header(name), None, "{line}"),
                None => assert_eq!(answer.header(name), Some(*value), "{name} of {line}"),
            }
        }
        assert!(answer.header("x-request-id").is_some(), "{line}");
        if *status >= 400 && *method != "HEAD" {
            let problem = answer.json();
            assert_eq!((problem["status"].as_u64(), problem["request_id"].is_string()), (Some(u64::from(*status)), true), "{line}");
        }
    }
}

async fn what_is_refused_says_what_is_taken(pair: Pair) {
    let server = pair.server_with(CHEAP).await;
    let ada = person(&server, "ada").await;
    let tell = |problem: Value, expected: &str| assert!(text(&problem["detail"]).contains(expected), "{expected}: {problem}");
    for (method, path, body, expected) in [
        ("POST", "/v1/channels", json!({"title": "x", "name": "a b"}), "letters, digits and marks of any script"),
        ("POST", "/v1/channels/room:1/messages", json!({"payload": 1, "message_id": "nope"}), "A UUID of version 7"),
        ("DELETE", "/v1/sessions?except=foo", Value::Null, r#"one of ["current"]"#),
        ("DELETE", "/v1/sessions?nope=1", Value::Null, "there is no such parameter"),
        ("GET", "/v1/channels/room:1/messages?nope=1", Value::Null, "there is no such parameter"),
    ] {
        tell(ada.does(&server, method, path, body, 422).await.json(), expected);
    }
    let coded = ada.ask_with(&server, "POST", "/v1/channels", json!({"title": "x"}), &[("content-encoding", "lzma")]).await;
    tell(coded.json(), "one of zstd, gzip, br");
}

/// A client that takes compressed answers reads problems, too.
async fn a_long_problem_can_be_read(pair: Pair) {
    let server = pair.server_with(CHEAP).await;
    let ada = person(&server, "ada").await;
    let path = format!("/v1/channels?{}", (0..30).map(|n| format!("f{n}=1")).collect::<Vec<_>>().join("&"));
    let answer = ada.ask_with(&server, "GET", &path, Value::Null, &[("accept-encoding", "gzip")]).await;
    assert_eq!((answer.status, answer.header("content-encoding")), (422, None));
    assert_eq!(answer.json()["errors"].as_array().unwrap().len(), 30);
    let mine = ada.get(&server, "/v1/me/channels?fields=channel,role").await;
    assert_eq!(mine.status, 200, "{}", mine.body);
    assert_eq!(ada.get(&server, "/v1/users?deleted=maybe").await.status, 422);
    let cursor = "WzM2NjYyNzg5MzQsICJhXHUwMDAwYiIsICJ4Il0";
    assert_eq!(ada.get(&server, &format!("/v1/channels?sort=title&cursor={cursor}")).await.status, 422);
    let page = request(server.address(), Request::get("/docs")).await;
    assert!(page.status == 200 && page.header("content-security-policy").unwrap().contains("script-src 'self'"), "{}", page.status);
}

async fn ask(server: &Server, ada: &Person, (method, path, headers, body, ..): &Row) -> Answer {
    let asked = Request::of(method, path, body);
    let has = |name: &str| headers.iter().any(|(given, _)| *given == name);
    let mut asked = if has("content-type") { asked.without("content-type") } else { asked };
    if !has("authorization") {
        asked = asked.with_token(&ada.token);
    }
    request(
        server.address(),
        headers.iter().filter(|(_, value)| !value.is_empty()).fold(asked, |asked, (name, value)| asked.with(name, value)),
    )
    .await
}

async fn a_key_makes_a_post_safe_to_repeat(pair: Pair) {
    let server = pair.server_with(CHEAP).await;
    let (ada, bob) = (person(&server, "ada").await, person(&server, "bob").await);
    let key = [("idempotency-key", "k1")];
    let room = json!({"title": "Tea"});
    let first = ada.ask_with(&server, "POST", "/v1/channels", room.clone(), &key).await;
    let second = ada.ask_with(&server, "POST", "/v1/channels", room.clone(), &key).await;
    assert_eq!((first.status, second.status, &first.body), (201, 201, &second.body));
    assert_eq!((second.header("idempotency-replayed"), second.header("location")), (Some("true"), first.header("location")));
    assert_eq!(ada.ask_with(&server, "POST", "/v1/channels", json!({"title": "Other"}), &key).await.status, 422);
    let refused = ada.ask_with(&server, "POST", "/v1/channels", json!({"title": ""}), &[("idempotency-key", "bad")]).await.json();
    let again = ada.ask_with(&server, "POST", "/v1/channels", json!({"title": ""}), &[("idempotency-key", "bad")]).await.json();
    assert_eq!((&again["code"], &again["errors"]), (&refused["code"], &refused["errors"]));
    // Another's key is another key; and a request that was refused is refused again, not done later.
    assert_ne!(bob.ask_with(&server, "POST", "/v1/channels", room.clone(), &key).await.body, first.body);
    assert_eq!(ada.ask_with(&server, "POST", "/v1/channels", room, &[("idempotency-key", "")]).await.status, 400);
    let many = (0..8).map(|_| async {
        ada.ask_with(&server, "POST", "/v1/channels", json!({"title": "Once"}), &[("idempotency-key", "k2")]).await.status
    });
    let statuses = futures_util::future::join_all(many).await;
    assert!(statuses.iter().all(|status| matches!(status, 201 | 409)), "{statuses:?}");
    let mine = ada.get(&server, "/v1/me/channels?limit=100").await.json();
    assert_eq!(mine["items"].as_array().unwrap().len(), 2);
}

async fn a_key_is_visible_signs_and_its_answer_is_kept_whole(pair: Pair) {
    let server = pair.server_with(CHEAP).await;
    let ada = person(&server, "ada").await;
    for key in ["two words", "a\tb"] {
        let answer = ada.ask_with(&server, "POST", "/v1/channels", json!({"title": "Tea"}), &[("idempotency-key", key)]).await;
        assert_eq!(answer.status, 400, "{key:?}");
    }
    let wrong = Request::of("POST", "/v1/channels", "x").without("content-type").with("content-type", "text/plain");
    let wrong = || wrong.clone().with_token(&ada.token).with("idempotency-key", "k");
    let (first, again) = (request(server.address(), wrong()).await, request(server.address(), wrong()).await);
    assert_eq!((first.status, again.status, again.header("idempotency-replayed")), (415, 415, Some("true")));
    assert!(first.header("accept-post").is_some_and(|taken| again.header("accept-post") == Some(taken)), "it says what is taken");
}

/// RFC 9110, section 13.2.1: what would be refused anyhow is refused for that, and not for its precondition.
async fn a_patch_that_is_none_is_refused_whatever_it_would_change(pair: Pair) {
    let server = pair.server_with(CHEAP).await;
    let ada = person(&server, "ada").await;
    let room = ada.does(&server, "POST", "/v1/channels", json!({"title": "Tea"}), 201).await.json();
    for path in [format!("/v1/users/{}", ada.id), format!("/v1/channels/{}", text(&room["name"]))] {
        for patch in [json!(7), json!([]), json!({ "data": 7 }), json!({ "nothing": 1 })] {
            let answer = ada.ask_with(&server, "PATCH", &path, patch.clone(), &[("if-match", "\"99\"")]).await;
            assert_eq!(answer.status, 422, "{path} {patch}: {}", answer.body);
        }
        let answer = ada.ask_with(&server, "PATCH", &path, json!({ "data": { "a": 1 } }), &[("if-match", "\"99\"")]).await;
        assert_eq!(answer.status, 412, "{path}: {}", answer.body);
    }
}

/// Every operation of the document is served, and what it answers without credentials is in it.
async fn the_document_tells_what_is_there(pair: Pair) {
    let server = pair.server_with(CHEAP).await;
    let document = request(server.address(), Request::get("/openapi.json")).await.json();
    assert_eq!(document["openapi"], "3.1.0");
    let mut ids = std::collections::HashSet::new();
    assert!(!document.to_string().contains("\"requestBody\":null"));
    let publication = &document["components"]["schemas"]["Publications"]["properties"]["messages"];
    assert_eq!(publication["items"]["$ref"], "#/components/schemas/Publication");
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            assert!(ids.insert(text(&operation["operationId"]).to_owned()), "{path} {method}");
            let address = path.replace("{channel}", "room:1").replace(['{', '}'], "");
            let answer = request(server.address(), Request::of(&method.to_uppercase(), &address, "")).await;
            let known = &operation["responses"][answer.status.to_string()];
            assert!(!known.is_null(), "{method} {path} answers {} {}", answer.status, answer.body);
            let ways = operation["security"].as_array().unwrap();
            let is_public = ways.is_empty() || ways.contains(&json!({}));
            assert!(
                is_public || answer.status == 401 || answer.status == 415 || answer.status == 422 || answer.status == 428,
                "{method} {path}: {}",
                answer.status
            );
        }
    }
    assert!(ids.len() >= 45, "{}", ids.len());
    assert_eq!(document["components"]["securitySchemes"]["token"]["scheme"], Value::from("bearer"));
}
