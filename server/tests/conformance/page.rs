//! The page at `/`, and the tokens of those who try it.

use std::net::SocketAddr;

use hubbub_protocol::{ClientFrame, ErrorCode, frame::PresenceRequest};
use hubbub_server::auth::Action;
use serde_json::{Value, json};

use crate::{
    http::{Answer, Request, request},
    support::{Pair, json as payload, name, refused},
};

crate::on_pair!(
    local_sqlite,
    LOCAL_SQLITE,
    the_page_and_its_files_are_served,
    a_file_that_did_not_change_is_not_sent_again,
    the_page_can_be_turned_off,
    a_guest_may_chat_and_watch_prices_and_nothing_else,
    a_guest_is_renewed,
    whoever_does_not_say_a_name_is_no_guest,
    guests_are_for_this_machine,
    guests_can_be_let_in_and_kept_out
);

/// The server has made its secret itself: what `auto` asks for.
const OWN_SECRET: &str = "auth.secret=";

fn here(request: Request) -> Request {
    request.for_host("localhost:8080")
}

fn ask(who: &Value) -> Request {
    here(Request::post("/v1/guests", &who.to_string()))
}

async fn guest(address: SocketAddr, who: &str) -> Value {
    let answer = request(address, ask(&json!({"name": who}))).await;
    assert_eq!((answer.status, answer.header("cache-control")), (201, Some("no-store")), "{}", answer.body);
    answer.json()
}

fn refusal(answer: &Answer) -> (u16, String, String) {
    let problem = answer.json();
    let text = |key: &str| problem[key].as_str().unwrap_or_default().to_owned();
    (answer.status, text("code"), text("detail"))
}

async fn the_page_and_its_files_are_served(pair: Pair) {
    let server = pair.server().await;
    let page = request(server.address(), Request::get("/")).await;
    assert_eq!((page.status, page.header("content-type")), (200, Some("text/html; charset=utf-8")));
    let policy = page.header("content-security-policy").unwrap();
    assert!(
        policy.starts_with("default-src 'none';") && policy.contains("frame-ancestors 'none'") && !policy.contains("unsafe"),
        "{policy}"
    );
    assert_eq!((page.header("referrer-policy"), page.header("x-content-type-options")), (Some("no-referrer"), Some("nosniff")));
    // Everything that it names is there, and is what it is named as.
    let named: Vec<&str> = page.body.split('"').filter(|text| text.starts_with("/assets/")).collect();
    assert!(named.len() >= 5, "{named:?}");
    for path in named.into_iter().chain(["/assets/hubbub/index.js"]) {
        let file = request(server.address(), Request::get(path)).await;
        let kind = match path.rsplit('.').next().unwrap() {
            "js" => "text/javascript; charset=utf-8",
            "css" => "text/css; charset=utf-8",
            "svg" => "image/svg+xml",
            other => panic!("{other}"),
        };
        assert_eq!((file.status, file.header("content-type"), file.header("cache-control")), (200, Some(kind), Some("no-cache")), "{path}");
        assert_eq!(file.header("x-content-type-options"), Some("nosniff"));
    }
    for path in
        ["/assets/page/index.html", "/assets/page/README.md", "/assets/page/../index.html", "/assets/page/%2e%2e/Cargo.toml", "/assets/x"]
    {
        assert_eq!(refusal(&request(server.address(), Request::get(path)).await).1, "not_found", "{path}");
    }
}

async fn a_file_that_did_not_change_is_not_sent_again(pair: Pair) {
    let server = pair.server().await;
    for path in ["/", "/assets/page/js/main.js", "/assets/hubbub/index.js"] {
        let first = request(server.address(), Request::get(path)).await;
        let tag = first.header("etag").unwrap();
        assert!(tag.starts_with('"') && tag.len() > 20, "{tag}");
        let again = request(server.address(), Request::get(path).with("if-none-match", tag)).await;
        assert_eq!((again.status, again.body.as_str(), again.header("etag")), (304, "", Some(tag)));
        let other = request(server.address(), Request::get(path).with("if-none-match", "\"x\"")).await;
        assert_eq!((other.status, other.body == first.body), (200, true));
        let head = request(server.address(), Request::head(path)).await;
        assert_eq!((head.status, head.body.as_str(), head.header("etag")), (200, "", Some(tag)));
        assert_eq!(head.header("content-length"), Some(first.body.len().to_string().as_str()));
    }
}

async fn the_page_can_be_turned_off(pair: Pair) {
    let server = pair.server_with(&["page.enabled=false", "page.guests=on"]).await;
    for asked in
        [Request::get("/"), Request::get("/assets/page/js/main.js"), Request::get("/assets/hubbub/index.js"), ask(&json!({"name": "Ada"}))]
    {
        assert_eq!(refusal(&request(server.address(), asked).await).0, 404);
    }
}

async fn a_guest_may_chat_and_watch_prices_and_nothing_else(pair: Pair) {
    let server = pair.server_with(&[OWN_SECRET]).await;
    let before = server.now();
    let given = guest(server.address(), "  Ada\u{202e}  Lovelace ").await;
    let user = given["user"].as_str().unwrap();
    assert!(user.starts_with("Ada Lovelace~") && user.len() == "Ada Lovelace~".len() + 4, "{user}");
    let expires = given["expires_at"].as_u64().unwrap();
    assert!((before + 3_598_000..=server.now() + 3_600_000).contains(&expires), "{expires}");

    let mut ada = server.open().await;
    let connected = ada.connect(given["token"].as_str().unwrap()).await.unwrap();
    assert_eq!((connected.user.as_str(), connected.expires_at), (user, expires));
    for channel in ["demo:lobby", "live:demo:lobby", "ticker:MSFT"] {
        ada.subscribe(channel).await;
    }
    ada.publish("demo:lobby", "\"hello\"").await;
    assert_eq!(payload(&ada.entry().await), json!("hello"));
    ada.publish("live:demo:lobby", "true").await;
    assert_eq!(payload(&ada.entry().await), json!(true));
    ada.history("ticker:MSFT", None, None, None).await.unwrap();
    let members = |id| ClientFrame::Presence(PresenceRequest { id, channel: name("demo:lobby"), after: None, limit: None });
    ada.request(members).await.unwrap();

    for channel in ["ticker:MSFT", "room:1", "live:other"] {
        refused(ada.publish_with(channel, "1", None, None).await, ErrorCode::Forbidden);
    }
    refused(ada.history("room:1", None, None, None).await, ErrorCode::Forbidden);
    refused(ada.subscribe_with("room:1", None, None).await, ErrorCode::Forbidden);
}

async fn a_guest_is_renewed(pair: Pair) {
    let server = pair.server_with(&[OWN_SECRET]).await;
    let [first, other] = [guest(server.address(), "Ada").await, guest(server.address(), "Ada").await];
    assert_ne!(first["user"], other["user"]);
    let again = request(server.address(), ask(&json!({})).with_token(first["token"].as_str().unwrap())).await;
    assert_eq!((again.status, &again.json()["user"]), (201, &first["user"]));
    let broken = request(server.address(), ask(&json!({})).with_token("x.y.z")).await;
    assert_eq!(refusal(&broken).1, "unauthorized");
    // With the secret that the server shares, somebody else may have made a token: it is not for guests to prolong.
    let shared = pair.server_with(&["page.guests=on"]).await;
    for user in ["alice", "alice~abc", "alice~ABCD", "~abcd"] {
        let token = shared.token_for(user, 60, &[("*", &Action::ALL)]);
        let foreign = request(shared.address(), ask(&json!({})).with_token(&token)).await;
        assert_eq!(refusal(&foreign).1, "forbidden", "{user}");
    }
}

async fn whoever_does_not_say_a_name_is_no_guest(pair: Pair) {
    let server = pair.server_with(&[OWN_SECRET]).await;
    for (body, expected) in
        [("{}", "required"), ("{\"name\": \" \"}", "too_short"), ("{\"name\": \"\\u200b\"}", "too_short"), ("{\"name\": 5}", "type")]
    {
        let answer = request(server.address(), here(Request::post("/v1/guests", body))).await;
        assert_eq!((answer.status, refusal(&answer).1), (422, "invalid".to_owned()), "{body}");
        let fault = &answer.json()["errors"][0];
        assert_eq!((fault["pointer"].as_str(), fault["code"].as_str()), (Some("/name"), Some(expected)), "{body}");
    }
    let more = request(server.address(), here(Request::post("/v1/guests", "{\"name\": \"Ada\", \"x\": 1}"))).await;
    assert_eq!((more.status, more.json()["errors"][0]["pointer"].as_str()), (422, Some("/x")), "{}", more.body);
    for body in ["[", ""] {
        let (status, code, _) = refusal(&request(server.address(), here(Request::post("/v1/guests", body))).await);
        assert_eq!((status, &*code), (400, "bad_frame"), "{body}");
    }
    let picture = here(Request::post("/v1/guests", "{\"name\": \"Ada\"}")).with("accept", "image/png");
    assert_eq!(request(server.address(), picture).await.status, 406);
    assert_eq!(request(server.address(), here(Request::get("/v1/guests"))).await.status, 405);
}

async fn guests_are_for_this_machine(pair: Pair) {
    let server = pair.server_with(&[OWN_SECRET]).await;
    let body = json!({"name": "Ada"});
    let asked = [
        (Request::post("/v1/guests", &body.to_string()).for_host("chat.example.com"), "localhost"),
        (ask(&body).with("x-forwarded-for", "10.0.0.1"), "proxy"),
        (ask(&body).with("forwarded", "for=10.0.0.1"), "proxy"),
        (ask(&body).with("via", "1.1 proxy"), "proxy"),
    ];
    for (asked, why) in asked {
        let (status, code, detail) = refusal(&request(server.address(), asked).await);
        assert!(status == 403 && code == "forbidden" && detail.contains(why), "{why}: {status} {code} {detail}");
    }
    // As soon as tokens come from somewhere, they come from there only.
    let configured = pair.server().await;
    let (status, _, detail) = refusal(&request(configured.address(), ask(&body)).await);
    assert!(status == 403 && detail.contains("[auth]"), "{detail}");
    let public = pair.server_with(&[OWN_SECRET, "http.listen=0.0.0.0:0"]).await;
    let address = SocketAddr::from(([127, 0, 0, 1], public.address().port()));
    let (status, _, detail) = refusal(&request(address, ask(&body)).await);
    assert!(status == 403 && detail.contains("http.listen"), "{detail}");
}

async fn guests_can_be_let_in_and_kept_out(pair: Pair) {
    let open = pair.server_with(&["page.guests=on"]).await;
    let body = json!({"name": "Ada"}).to_string();
    let proxied = Request::post("/v1/guests", &body).for_host("chat.example.com").with("x-forwarded-for", "10.0.0.1");
    assert_eq!(request(open.address(), proxied).await.status, 201);
    let closed = pair.server_with(&[OWN_SECRET, "page.guests=off"]).await;
    let (status, code, detail) = refusal(&request(closed.address(), ask(&json!({"name": "Ada"}))).await);
    assert!(status == 403 && code == "forbidden" && detail.contains("page.guests"), "{detail}");
}
