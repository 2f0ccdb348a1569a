//! The stream: its head, its first words and its last.

use std::time::Duration;

use hubbub_protocol::{ServerFrame, frame::SkipReason};
use hubbub_server::app::Notice;
use serde_json::json;

use super::{ask, code, frame, opening, parsed, refusal, rest, stream};
use crate::support::{Pair, Transport, advance, client::Request, clock, events::Block, events::Events};

crate::on_pair!(
    local_sqlite,
    LOCAL_SQLITE over Sse,
    nothing_on_the_way_may_keep_or_change_it,
    it_begins_with_a_pause_and_beats,
    whoever_can_only_get_is_subscribed_by_the_query,
    whoever_says_nothing_is_closed,
    a_drain_is_said_with_a_pause
);

async fn nothing_on_the_way_may_keep_or_change_it(pair: Pair) {
    let server = pair.server().await;
    let token = server.token("alice");
    for request in [Request::post("/v1/sse", opening(&[])), Request::get("/v1/sse")] {
        // Whatever it offers to understand.
        let request = request.with_token(&token).with("accept-encoding", "gzip, br, zstd").with("accept", "text/event-stream");
        let response = ask(&server, request).await;
        assert_eq!(response.status(), 200);
        assert_eq!(response.header("content-type"), Some("text/event-stream"));
        assert_eq!(response.header("x-accel-buffering"), Some("no"));
        assert_eq!(response.header("content-encoding"), None);
        let cache = response.header("cache-control").unwrap();
        assert!(["no-cache", "no-store", "no-transform"].iter().all(|word| cache.contains(word)), "{cache}");
        assert!(response.header("x-request-id").is_some());
    }
}

async fn it_begins_with_a_pause_and_beats(pair: Pair) {
    let server = pair.server_with(&["session.heartbeat=300ms"]).await;
    let mut pauses = Vec::new();
    for _ in 0..5 {
        let mut events = stream(&server, Request::post("/v1/sse", opening(&[])).with_token(&server.token("alice"))).await;
        let first = events.next().await.unwrap();
        pauses.push(first.retry.expect("`retry:` comes first"));
        assert_eq!(first, Block { retry: first.retry, ..Block::default() });
        assert_eq!(frame(&mut events).await["result"]["user"], "alice");
        let (mut comments, mut heads) = (0, 0);
        while comments < 3 || heads < 3 {
            let block = events.next().await.unwrap();
            comments += block.comments;
            heads += usize::from(matches!(parsed(&block), Some(ServerFrame::Heads { .. })));
            assert_eq!(block.id, None, "only a native EventSource gets ids");
        }
    }
    assert!(pauses.iter().all(|pause| (100..=5_000).contains(pause)), "{pauses:?}");
    pauses.dedup();
    assert!(pauses.len() > 1, "they come back apart");
}

async fn whoever_can_only_get_is_subscribed_by_the_query(pair: Pair) {
    let server = pair.server_with(&["namespaces.short.history_entries=1"]).await;
    let mut bob = server.peer_over(Transport::MSGPACK, "bob").await;
    bob.publish_many("room:1", 5).await;
    bob.publish_many("short:a=b", 5).await;
    let token = server.token("alice");
    let get = |query: &str| Request::get(&format!("/v1/sse?{query}")).with_token(&token);
    let mut events = stream(&server, get("channel=room%3A1;1:3&channel=short:a%3Db%3B1%3A1&channel=live:1&channel=room:2")).await;
    let connected = frame(&mut events).await;
    assert_eq!((&connected["type"], &connected["id"], &connected["result"]["user"]), (&json!("reply"), &json!(1), &json!("alice")));
    let subscribed = frame(&mut events).await;
    assert_eq!((&subscribed["type"], &subscribed["id"]), (&json!("reply"), &json!(2)));
    let channels = subscribed["result"]["channels"].as_array().unwrap();
    let recovered: Vec<_> = channels.iter().map(|channel| channel["recovered"].as_bool()).collect();
    assert_eq!(recovered, [Some(true), Some(false), None, None]);
    let (mut seqs, mut skipped) = (Vec::new(), 0);
    while seqs.len() < 3 {
        match parsed(&events.next().await.unwrap()) {
            Some(ServerFrame::Entry(entry)) => seqs.push((entry.channel.as_str().to_owned(), crate::support::seq(&entry))),
            Some(ServerFrame::Skip(skip)) => {
                assert_eq!(skip.reason, SkipReason::Expired);
                skipped += skip.count;
            }
            _ => {}
        }
    }
    seqs.sort();
    assert_eq!((seqs, skipped), (vec![("room:1".to_owned(), 4), ("room:1".to_owned(), 5), ("short:a=b".to_owned(), 5)], 3));
    bob.publish("room:2", "\"live\"").await;
    assert_eq!(frame(&mut events).await["payload"], "live");
    // Without channels it is connected all the same.
    assert_eq!(frame(&mut stream(&server, get("")).await).await["id"], 1);
    for wrong in ["channel=a;", "channel=a;1", "channel=a;x:1", "channel=a;1:9007199254740992"] {
        assert_eq!(code(ask(&server, get(wrong)).await).await, refusal(400, "bad_frame"), "{wrong}");
    }
    assert_eq!(code(ask(&server, Request::get("/v1/sse?channel=room:1")).await).await, refusal(401, "unauthorized"));
    assert_eq!(code(ask(&server, Request::get("/v1/sse?channel=room:1").with_token("nonsense")).await).await, refusal(401, "unauthorized"));
    // A name that is none is told where every channel is told of.
    let mut events = stream(&server, get("channel=a%20b")).await;
    frame(&mut events).await;
    assert_eq!(frame(&mut events).await["result"]["channels"][0]["error"]["code"], "channel_invalid");
}

async fn whoever_says_nothing_is_closed(pair: Pair) {
    let clock = clock();
    let server = pair.server_at(&clock, &[]).await;
    let open = |body: &'static str| Request::post("/v1/sse", body).with_token(&server.token("alice"));
    let mut silent = stream(&server, open("")).await;
    let mut hasty = stream(&server, open(r#"{"type":"ping","id":3}"#)).await;
    assert_eq!(frame(&mut hasty).await["code"], "not_connected");
    advance(&clock, 5_001);
    for events in [&mut silent, &mut hasty] {
        let last = rest(events).await;
        assert!(last.iter().any(|block| said_goodbye(block, 4502)), "{last:?}");
    }
    // What is no frame is told, too.
    let mut broken = stream(&server, open("{")).await;
    assert!(rest(&mut broken).await.iter().any(|block| said_goodbye(block, 4400)));
}

fn said_goodbye(block: &Block, code: u16) -> bool {
    matches!(parsed(block), Some(ServerFrame::Disconnect(disconnect)) if disconnect.code == code)
}

/// Who is there is told when to come back, in words for both kinds of clients; who comes now is refused so that either comes back.
async fn a_drain_is_said_with_a_pause(pair: Pair) {
    let server = pair.server_with(&["drain.notice=1500ms"]).await;
    let (token, address) = (server.token("alice"), server.address());
    let ticket = super::native::ticket(&server, "alice", json!({})).await;
    let mut events = stream(&server, Request::post("/v1/sse", opening(&[("room:1", None)])).with_token(&token)).await;
    frame(&mut events).await;
    let stopping = tokio::spawn(server.app.shut_down(Notice::Given));
    tokio::time::sleep(Duration::from_millis(100)).await;
    let ask = async |request: Request| crate::support::client::Client::new(&[address]).ask(&request).await.unwrap();
    for kind in ["/v1/sse", "/v1/poll"] {
        let refused = ask(Request::post(kind, opening(&[])).with_token(&token)).await;
        assert_eq!(refused.header("retry-after"), Some("1"));
        assert_eq!(code(refused).await, refusal(503, "draining"));
    }
    assert_eq!(code(ask(Request::get("/v1/sse").with_token(&token)).await).await, refusal(503, "draining"));
    let native = ask(Request::get(&format!("/v1/sse?ticket={ticket}"))).await;
    assert_eq!((native.status(), native.header("content-type")), (200, Some("text/event-stream")));
    let said = rest(&mut Events::of(native)).await;
    assert!(said.iter().any(|block| block.retry.is_some()) && said.iter().any(|block| said_goodbye(block, 4503)), "{said:?}");
    let last = rest(&mut events).await;
    let goodbye = last.iter().find_map(|block| match parsed(block) {
        Some(ServerFrame::Disconnect(disconnect)) => Some(disconnect),
        _ => None,
    });
    let goodbye = goodbye.expect("it says disconnect");
    assert_eq!(goodbye.code, 4503);
    let pause = goodbye.reconnect_after.expect("it says when");
    assert!(last.iter().any(|block| block.retry == Some(pause)), "in words for an EventSource, too: {last:?}");
    tokio::time::timeout(Duration::from_secs(10), stopping).await.unwrap().unwrap();
}
