//! Accounts by the front door: registering, logging in, tokens and what ends them.

use serde_json::{Value, json};

use crate::{
    http::{Answer, Request, request},
    support::{Pair, Server, clock, until},
};

mod guessing;
mod keys;

crate::on_every_pair!(
    who_registers_talks_with_the_tokens_that_came,
    a_stolen_refresh_token_ends_its_login,
    logins_are_listed_and_ended,
    another_password_is_asked_for_from_then_on,
    what_is_wrong_is_told_at_once,
    an_outsider_is_a_user_at_first_sight,
);

/// Hashing that costs nothing.
pub const CHEAP: &[&str] = &["accounts.memory=8KiB", "accounts.passes=1"];
pub const PASSWORD: &str = "correct horse battery";

pub async fn post(server: &Server, path: &str, body: Value) -> Answer {
    request(server.address(), Request::post(path, &body.to_string())).await
}

pub async fn register(server: &Server, login: &str) -> Value {
    let answer = post(server, "/v1/accounts", json!({"login": login, "password": PASSWORD})).await;
    assert_eq!(answer.status, 201, "{}", answer.body);
    answer.json()
}

pub async fn log_in(server: &Server, login: &str, password: &str) -> Answer {
    post(server, "/v1/login", json!({"login": login, "password": password})).await
}

pub async fn refresh(server: &Server, token: &str) -> Answer {
    post(server, "/v1/token", json!({"refresh_token": token})).await
}

/// A text of an answer.
pub fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_else(|| panic!("no text: {value}"))
}

pub fn failed(answer: &Answer, status: u16, code: &str) {
    assert_eq!((answer.status, text(&answer.json()["code"])), (status, code), "{}", answer.body);
}

async fn get(server: &Server, path: &str, token: &str) -> Answer {
    request(server.address(), Request::get(path).with_token(token)).await
}

async fn send(server: &Server, method: &str, path: &str, token: &str, body: &str) -> Answer {
    request(server.address(), Request::of(method, path, body).with_token(token)).await
}

/// What connects with a token of our own: an account has no grants, so it is let in, and may do nothing here.
async fn connects(server: &Server, token: &str) {
    let mut peer = server.open().await;
    peer.connect(token).await.unwrap();
    peer.leave().await;
}

async fn who_registers_talks_with_the_tokens_that_came(pair: Pair) {
    let server = pair.server_with(CHEAP).await;
    let body = json!({"login": "Ada", "name": "Ada Lovelace", "password": PASSWORD});
    let answer = post(&server, "/v1/accounts", body.clone()).await;
    let ada = answer.json();
    assert_eq!((answer.status, answer.header("cache-control")), (201, Some("no-store")), "{}", answer.body);
    let id = text(&ada["user"]["id"]);
    assert_eq!(answer.header("location"), Some(&*format!("/v1/users/{id}")));
    assert_eq!((text(&ada["user"]["login"]), text(&ada["user"]["name"]), text(&ada["user"]["role"])), ("ada", "Ada Lovelace", "owner"));
    assert_eq!((text(&ada["token_type"]), ada["expires_in"].as_u64()), ("Bearer", Some(900)));
    connects(&server, text(&ada["access_token"])).await;
    failed(&post(&server, "/v1/accounts", body).await, 409, "conflict");
    assert_eq!(register(&server, "bob").await["user"]["role"], "member");
    let again = log_in(&server, "ADA", PASSWORD).await;
    assert_eq!((again.status, again.header("cache-control"), text(&again.json()["user"]["id"])), (200, Some("no-store"), id));
    let next = refresh(&server, text(&again.json()["refresh_token"])).await;
    assert_eq!((next.status, &next.json()["session"]), (200, &again.json()["session"]));
    connects(&server, text(&next.json()["access_token"])).await;
    let closed = pair.server_with(&[CHEAP, &["accounts.registration=closed"]].concat()).await;
    failed(&post(&closed, "/v1/accounts", json!({"login": "ada", "password": PASSWORD})).await, 403, "forbidden");
    let none = pair.server_with(&["accounts.enabled=false"]).await;
    failed(&log_in(&none, "ada", PASSWORD).await, 404, "not_found");
}

async fn a_stolen_refresh_token_ends_its_login(pair: Pair) {
    let server = pair.server_with(&[CHEAP, &["accounts.refresh_leeway=0s"]].concat()).await;
    let ada = register(&server, "ada").await;
    let first = text(&ada["refresh_token"]);
    let second = refresh(&server, first).await.json();
    failed(&refresh(&server, first).await, 401, "revoked");
    let refused = refresh(&server, text(&second["refresh_token"])).await;
    failed(&refused, 401, "revoked");
    assert_eq!(refused.json()["retry"], "never", "who is told to refresh comes here again");
    failed(&get(&server, "/v1/sessions", text(&second["access_token"])).await, 401, "revoked");
    failed(&refresh(&server, "hbr_nonsense").await, 401, "unauthorized");
    assert_eq!(server.metric("hubbub_refreshes_total{result=\"replayed\"}"), 1.0);
    assert_eq!(server.metric("hubbub_refreshes_total{result=\"rotated\"}"), 1.0);
    assert_eq!(log_in(&server, "ada", PASSWORD).await.status, 200);
}

async fn logins_are_listed_and_ended(pair: Pair) {
    let server = pair.server_with(CHEAP).await;
    let bob = register(&server, "bob").await;
    let ada = register(&server, "ada").await;
    let token = text(&ada["access_token"]);
    let body = json!({"login": "ada", "password": PASSWORD}).to_string();
    let phone = request(server.address(), Request::post("/v1/login", &body).with("user-agent", "A phone/1.0")).await.json();
    log_in(&server, "ada", PASSWORD).await;
    let page = get(&server, "/v1/sessions?limit=2", token).await;
    let items = page.json();
    assert_eq!((page.status, items["items"].as_array().map(Vec::len)), (200, Some(2)), "{}", page.body);
    let rest = get(&server, &format!("/v1/sessions?limit=2&cursor={}", text(&items["next"])), token).await.json();
    let own = &rest["items"][0];
    assert_eq!((own["current"].as_bool(), text(&own["id"]), &rest["next"]), (Some(true), text(&ada["session"]), &Value::Null));
    let one = get(&server, &format!("/v1/sessions/{}", text(&phone["session"])), token).await;
    assert_eq!((text(&one.json()["device"]), text(&one.json()["address"])), ("A phone/1.0", "127.0.0.1"));
    // Somebody else's is not there.
    let path = format!("/v1/sessions/{}", text(&bob["session"]));
    failed(&get(&server, &path, token).await, 404, "not_found");
    failed(&send(&server, "DELETE", &path, token, "").await, 404, "not_found");
    let path = format!("/v1/sessions/{}", text(&phone["session"]));
    assert_eq!(send(&server, "DELETE", &path, token, "").await.status, 204);
    failed(&send(&server, "DELETE", &path, token, "").await, 404, "not_found");
    failed(&refresh(&server, text(&phone["refresh_token"])).await, 401, "revoked");
    assert_eq!(send(&server, "DELETE", "/v1/sessions?except=current", token, "").await.status, 204);
    assert_eq!(get(&server, "/v1/sessions", token).await.json()["items"].as_array().map(Vec::len), Some(1));
    assert_eq!(send(&server, "POST", "/v1/logout", token, "").await.status, 204);
    failed(&get(&server, "/v1/sessions", token).await, 401, "revoked");
    failed(&refresh(&server, text(&ada["refresh_token"])).await, 401, "revoked");
    assert_eq!(refresh(&server, text(&bob["refresh_token"])).await.status, 200);
    failed(&send(&server, "POST", "/v1/logout", &server.token("outsider"), "").await, 409, "conflict");
}

async fn another_password_is_asked_for_from_then_on(pair: Pair) {
    let server = pair.server_with(CHEAP).await;
    let ada = register(&server, "ada").await;
    let other = log_in(&server, "ada", PASSWORD).await.json();
    let change = async |old: &str, new: &str| {
        let body = json!({"old": old, "new": new}).to_string();
        send(&server, "PUT", "/v1/me/password", text(&ada["access_token"]), &body).await
    };
    failed(&change("not this one", "staple of colours").await, 401, "login_failed");
    let common = change(PASSWORD, "Password1234").await;
    failed(&common, 422, "invalid");
    assert_eq!((&common.json()["errors"][0]["pointer"], &common.json()["errors"][0]["code"]), (&json!("/new"), &json!("common")));
    assert_eq!(change(PASSWORD, "staple of colours").await.status, 204);
    failed(&log_in(&server, "ada", PASSWORD).await, 401, "login_failed");
    assert_eq!(log_in(&server, "ada", "staple of colours").await.status, 200);
    failed(&refresh(&server, text(&other["refresh_token"])).await, 401, "revoked");
    failed(&get(&server, "/v1/sessions", text(&other["access_token"])).await, 401, "revoked");
    assert_eq!(refresh(&server, text(&ada["refresh_token"])).await.status, 200);
}

async fn what_is_wrong_is_told_at_once(pair: Pair) {
    let server = pair.server_with(CHEAP).await;
    let answer = post(&server, "/v1/accounts", json!({"login": "a b", "password": "hunter2", "role": "owner"})).await;
    failed(&answer, 422, "invalid");
    let errors = answer.json()["errors"].clone();
    let mut pointers: Vec<&str> = errors.as_array().unwrap().iter().map(|error| text(&error["pointer"])).collect();
    pointers.sort_unstable();
    pointers.dedup();
    assert_eq!(pointers, ["/login", "/password", "/role"], "nobody makes himself an owner");
    assert!(!answer.body.contains("hunter2"), "a password is not repeated");
    let answer = post(&server, "/v1/accounts", json!({"login": "ada", "password": "QWERTYUIOP"})).await;
    assert_eq!(answer.json()["errors"][0]["code"], "common");
    for (path, body) in [("/v1/login", json!({})), ("/v1/token", json!({"refresh_token": 1})), ("/v1/login", json!([]))] {
        failed(&post(&server, path, body).await, 422, "invalid");
    }
    for sql in ["' OR 1=1 --", "ada'; DROP TABLE users; --", "\\", "%", "a\u{2028}b"] {
        failed(&log_in(&server, sql, sql).await, 401, "login_failed");
    }
    register(&server, "ada").await;
}

async fn an_outsider_is_a_user_at_first_sight(pair: Pair) {
    let server = pair.server_with(CHEAP).await;
    let outsider = server.peer("somebody from elsewhere").await;
    const SEEN: &str = "SELECT COUNT(*) FROM users WHERE id = 'somebody from elsewhere' AND login IS NULL";
    until("there is a row", async || server.ground().count(SEEN).await == 1).await;
    outsider.leave().await;
}
