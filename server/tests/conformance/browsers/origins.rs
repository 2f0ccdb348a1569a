//! Whose pages may ask.

use super::{ask, code, opening, refusal};
use crate::support::{Pair, Server, client::Request};

crate::on_pair!(
    local_sqlite,
    LOCAL_SQLITE over Sse,
    only_pages_of_allowed_origins_are_served,
    whoever_is_no_page_is_served,
    a_page_may_read_what_it_needs,
    every_door_asks
);

const HOST: &str = "chat.example.org:8080";

/// Whose page it is that asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Whose {
    Own,
    Allowed,
    Foreign,
}
use Whose::{Allowed, Foreign, Own};

/// What a page does, by name.
fn requests(server: &Server) -> [(&'static str, Request, u16); 5] {
    let token = server.token("alice");
    let upgrade = Request::get("/v1/ws")
        .with("connection", "upgrade")
        .with("upgrade", "websocket")
        .with("sec-websocket-version", "13")
        .with("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ==")
        .with("sec-websocket-protocol", "hubbub.v1.json");
    let preflight = Request::new("OPTIONS", "/v1/sse", "")
        .with("access-control-request-method", "POST")
        .with("access-control-request-headers", "authorization,content-type");
    [
        ("socket", upgrade, 101),
        ("stream", Request::post("/v1/sse", opening(&[])).with_token(&token), 200),
        ("stream by GET", Request::get("/v1/sse").with_token(&token), 200),
        ("publish", Request::post("/v1/channels/room:1/entries", "{\"payload\":1}").with_token(&token), 201),
        ("preflight", preflight, 204),
    ]
}

async fn only_pages_of_allowed_origins_are_served(pair: Pair) {
    const LIST: &str = "https://app.example.org,https://*.example.net,http://localhost:5173";
    for (origins, cases) in [
        (
            "",
            &[
                ("http://chat.example.org:8080", Own),
                ("https://chat.example.org:8080", Own),
                ("HTTP://Chat.Example.ORG:8080", Own),
                ("http://chat.example.org", Foreign),
                ("http://chat.example.org:8081", Foreign),
                ("http://example.org:8080", Foreign),
                ("http://chat.example.org:8080.evil.example", Foreign),
                ("https://app.example.org", Foreign),
                ("null", Foreign),
                ("", Foreign),
                ("*", Foreign),
            ][..],
        ),
        (
            LIST,
            &[
                ("http://chat.example.org:8080", Own),
                ("https://app.example.org", Allowed),
                ("https://app.example.org:443", Allowed),
                ("http://app.example.org", Foreign),
                ("https://app.example.org.evil.example", Foreign),
                ("https://a.example.net", Allowed),
                ("https://a.b.example.net", Allowed),
                ("https://example.net", Foreign),
                ("https://evil.example/.example.net", Foreign),
                ("http://localhost:5173", Allowed),
                ("http://localhost:5174", Foreign),
                ("null", Foreign),
            ][..],
        ),
        ("null", &[("null", Allowed), ("https://app.example.org", Foreign)][..]),
        ("*", &[("https://anything.example", Allowed), ("null", Allowed), ("http://chat.example.org:8080", Own)][..]),
    ] {
        let server = pair.server_with(&[&format!("http.origins={origins}")]).await;
        for (origin, whose) in cases {
            for (what, request, good) in requests(&server) {
                let response = ask(&server, request.with("host", HOST).with("origin", origin)).await;
                let allowed = response.header("access-control-allow-origin").map(str::to_owned);
                let varies = response.headers("vary").any(|vary| vary.to_ascii_lowercase().contains("origin"));
                let case = format!("{what} of {origin} with {origins:?}");
                match whose {
                    // Nobody asks before a request to its own origin.
                    Own if what == "preflight" => assert_eq!(allowed, None, "{case}"),
                    Own => assert_eq!((response.status(), allowed), (good, None), "{case}"),
                    Allowed => assert_eq!((response.status(), allowed.as_deref(), varies), (good, Some(*origin), true), "{case}"),
                    Foreign => {
                        assert_eq!((allowed, varies), (None, true), "{case}");
                        let refused = response.refusal().await;
                        assert_eq!(refused.code, "origin_refused", "{case}");
                        assert!(
                            refused.message.contains("http.origins") && refused.message.contains(origin),
                            "{case}: {}",
                            refused.message
                        );
                    }
                }
            }
        }
    }
}

async fn whoever_is_no_page_is_served(pair: Pair) {
    let server = pair.server().await;
    for (what, request, good) in requests(&server) {
        if what != "preflight" {
            assert_eq!(ask(&server, request.with("host", HOST)).await.status(), good, "{what}");
        }
    }
}

async fn a_page_may_read_what_it_needs(pair: Pair) {
    let server = pair.server_with(&["http.origins=https://app.example.org"]).await;
    let from = |request: Request| request.with("origin", "https://app.example.org");
    let [.., (_, preflight, _)] = requests(&server);
    let answer = ask(&server, from(preflight)).await;
    let list = |name: &str| answer.header(name).unwrap_or_default().to_ascii_lowercase();
    for method in ["get", "post", "delete"] {
        assert!(list("access-control-allow-methods").contains(method), "{method}");
    }
    for header in ["authorization", "content-type", "last-event-id"] {
        assert!(list("access-control-allow-headers").contains(header), "{header}");
    }
    assert!(list("access-control-max-age").parse::<u32>().is_ok_and(|seconds| seconds >= 600));
    // Tokens travel in headers: no cookie is needed, and none allowed.
    assert_eq!(answer.header("access-control-allow-credentials"), None);
    // A refusal is an answer like any other: the page can read why.
    let refused = ask(&server, from(Request::post("/v1/sse", opening(&[])))).await;
    assert_eq!(refused.header("access-control-allow-origin"), Some("https://app.example.org"));
    assert_eq!(code(refused).await, refusal(401, "unauthorized"));
}

/// Not only where sessions begin.
async fn every_door_asks(pair: Pair) {
    let server = pair.server().await;
    let token = server.token("alice");
    let alice = server.peer("alice").await;
    let session = alice.session().unwrap();
    for request in [
        Request::post("/v1/poll", opening(&[])),
        Request::post("/v1/tickets", "{}"),
        Request::post(&format!("/v1/sse/{session}?n=1"), ""),
        Request::get(&format!("/v1/poll/{session}?ack=1")),
        Request::delete(&format!("/v1/sse/{session}")),
        Request::get("/v1/channels/room:1"),
    ] {
        let response = ask(&server, request.with_token(&token).with("origin", "https://evil.example")).await;
        assert_eq!(code(response).await, refusal(403, "origin_refused"));
    }
}
