//! Requests that two readers could understand differently: a proxy one way, the server another. Whatever comes of the first, what hides
//! behind it is never done, and nobody gets an answer to it.

mod framing;
mod http2;

use std::net::SocketAddr;

use serde_json::json;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use crate::{
    accounts::{CHEAP, PASSWORD, text},
    http::{Request, request},
    support::{PATIENCE, Pair, Server, client},
};
use framing::{Case, Meant, cases};

crate::on_pair!(
    local_sqlite,
    LOCAL_SQLITE,
    a_request_ends_where_it_says_or_nowhere,
    what_http2_forbids_is_no_request,
    a_request_is_for_one_host,
    only_a_trusted_proxy_says_where_a_request_comes_from
);
crate::behind!(nginx, Nginx over MSGPACK, nothing_hides_from_the_proxy);
crate::behind!(haproxy, Haproxy over MSGPACK, nothing_hides_from_the_proxy);

/// Where the hidden request would publish.
const HIDDEN: &str = "/v1/channels/room:hidden/entries";

/// What must not be done.
fn hidden(token: &str) -> String {
    let body = r#"{"payload":"hidden"}"#;
    format!(
        "POST {HIDDEN} HTTP/1.1\r\nHost: test\r\nAuthorization: Bearer {token}\r\nContent-Type: application/json\r\n\
         Content-Length: {}\r\n\r\n{body}",
        body.len()
    )
}

/// How often what was hidden has been done.
async fn done(server: &Server, token: &str) -> usize {
    let page = request(server.address(), Request::get(HIDDEN).with_token(token)).await;
    assert_eq!(page.status, 200, "{}", page.body);
    page.json()["entries"].as_array().unwrap().len()
}

/// Sends `bytes`, and once something was answered one request more, the last. The statuses of all answers, up to the connection's end.
async fn statuses(address: SocketAddr, bytes: &[u8]) -> Vec<u16> {
    let mut socket = TcpStream::connect(address).await.unwrap();
    // It may be refused before it was sent as a whole.
    let _ = socket.write_all(bytes).await;
    let mut answers = Vec::new();
    let mut piece = [0; 4096];
    let talk = async {
        let read = socket.read(&mut piece).await.unwrap_or(0);
        answers.extend_from_slice(&piece[..read]);
        // It may have been closed, which is as good an answer as any.
        let _ = socket.write_all(b"GET /healthz HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n").await;
        let _ = socket.read_to_end(&mut answers).await;
    };
    tokio::time::timeout(PATIENCE, talk).await.expect("the connection ends");
    let text = String::from_utf8_lossy(&answers);
    text.match_indices("HTTP/1.").map(|(at, _)| text[at + 9..at + 12].parse().unwrap()).collect()
}

async fn a_request_ends_where_it_says_or_nowhere(pair: Pair) {
    let server = pair.server().await;
    let token = server.token("alice");
    // What hides is a request that would be done.
    let meant = statuses(server.address(), hidden(&token).replace("room:hidden", "room:meant").as_bytes()).await;
    assert_eq!(meant, [201, 200]);
    for Case { name, bytes, meant } in cases(&hidden(&token)) {
        let statuses = statuses(server.address(), &bytes).await;
        match meant {
            Meant::Nothing => {
                assert!(statuses.len() <= 1 && statuses.iter().all(|status| [400, 431].contains(status)), "{name}: {statuses:?}");
            }
            // The next request on the connection is the test's own, if the connection lives.
            Meant::One => assert!(matches!(statuses[..], [400..=499] | [200] | [400..=499, 200] | [200, 200]), "{name}: {statuses:?}"),
            Meant::Last => assert!(matches!(statuses[..], [400..=499] | [200]), "{name}: {statuses:?}"),
        }
        assert_eq!(done(&server, &token).await, 0, "{name}: what was hidden was done");
    }
}

/// The same to who stands before it. Which requests it reads out of that is its own matter; but what is done is answered, to who asked for
/// it, and the next one gets an answer of his own.
async fn nothing_hides_from_the_proxy(pair: Pair) {
    let server = pair.server().await;
    let token = server.token("alice");
    let door = server.doors().down;
    assert_eq!(statuses(door, hidden(&token).replace("room:hidden", "room:meant").as_bytes()).await, [201, 200]);
    let mut answered = 0;
    for Case { name, bytes, .. } in cases(&hidden(&token)) {
        let statuses = statuses(door, &bytes).await;
        answered += statuses.iter().filter(|status| **status == 201).count();
        for _ in 0..4 {
            let mut next = client::Client::new(&[door]);
            let info = next.ask(&client::Request::get("/v1/channels/room:meant").with_token(&token)).await.unwrap();
            assert_eq!(info.json().await["name"], "room:meant", "after {name}");
        }
        assert_eq!(done(&server, &token).await, answered, "{name}: {statuses:?}");
    }
}

async fn what_http2_forbids_is_no_request(pair: Pair) {
    let server = pair.server().await;
    let token = server.token("alice");
    for http2::Case { name, fields, body, is_good } in http2::cases(HIDDEN, &token) {
        let status = http2::status(server.address(), &fields, body.as_bytes()).await;
        if is_good {
            assert_eq!(status, Some(201), "{name}");
        } else {
            assert!(status.is_none_or(|status| status == 400), "{name}: {status:?}");
            assert_eq!(done(&server, &token).await, 0, "{name}: it was done");
        }
    }
}

/// RFC 9112 section 3.2: a request without a host, or with two, is answered with 400. Where the request's target names one, that is it.
async fn a_request_is_for_one_host(pair: Pair) {
    let server = pair.server().await;
    for (target, hosts, expected) in [
        ("/healthz", "Host: test\r\n", [200, 200].as_slice()),
        ("/healthz", "", &[400, 200]),
        ("/healthz", "Host: test\r\nHost: test\r\n", &[400, 200]),
        ("/healthz", "Host: test\r\nX-A: b\r\nhost: other\r\n", &[400, 200]),
        ("/healthz", "Host: a, b\r\n", &[400, 200]),
        ("/healthz", "Host: user@test\r\n", &[400, 200]),
        ("http://test/healthz", "Host: other\r\n", &[200, 200]),
    ] {
        let bytes = format!("GET {target} HTTP/1.1\r\n{hosts}\r\n");
        assert_eq!(statuses(server.address(), bytes.as_bytes()).await, expected, "{target} {hosts}");
    }
    // The page of `other` is not one of `test`'s, whatever `Host` says beside the target.
    for (target, host, status) in [("http://test/healthz", "other", 403), ("http://other/healthz", "test", 200), ("/healthz", "other", 200)]
    {
        let bytes = format!("GET {target} HTTP/1.1\r\nHost: {host}\r\nOrigin: http://other\r\n\r\n");
        assert_eq!(statuses(server.address(), bytes.as_bytes()).await[0], status, "{target} {host}");
    }
}

async fn only_a_trusted_proxy_says_where_a_request_comes_from(pair: Pair) {
    for (trusted, seen) in [("", "127.0.0.1"), ("192.0.2.0/24", "127.0.0.1"), ("127.0.0.1", "192.0.2.9")] {
        let server = pair.server_with(&[CHEAP, &[&format!("http.trusted_proxies={trusted}")]].concat()).await;
        let body = json!({"login": "ada", "password": PASSWORD}).to_string();
        let says = [("x-forwarded-for", "203.0.113.7"), ("x-forwarded-for", "192.0.2.9"), ("x-real-ip", "203.0.113.8")];
        let register = says.iter().fold(Request::post("/v1/accounts", &body), |asked, (name, value)| asked.with(name, value));
        let ada = request(server.address(), register).await.json();
        let sessions = request(server.address(), Request::get("/v1/sessions").with_token(text(&ada["access_token"]))).await.json();
        assert_eq!(text(&sessions["items"][0]["address"]), seen, "{trusted:?} are trusted");
    }
}
