//! Connecting, connecting again, and when not to.

mod support;

use std::{
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use hubbub_client::{
    Client, Connected, Error, ErrorBody, ErrorCode, Retry, State, SubscribeOptions, TransportError,
    protocol::{
        ClientFrame, ServerFrame,
        frame::{Disconnect, Pong, Refreshed},
    },
};
use support::*;

#[tokio::test]
async fn says_who_it_is() {
    for server in [Server::start().await, Server::start().await.json()] {
        let client = server.client().name("test/1").connect();
        let mut peer = server.accept().await;
        let connect = peer.welcome(&connected()).await;
        assert_eq!((connect.token.as_deref(), connect.client.as_deref()), (Some("t0"), Some("test/1")));
        assert_eq!(soon(client.ready()).await.unwrap(), connected());

        let ping = tokio::spawn({
            let client = client.clone();
            async move { client.ping().await }
        });
        let Ok(ClientFrame::Ping { id }) = peer.frame().await else { panic!("no ping") };
        peer.reply(id, &Pong { time: NOW }).await;
        assert!(soon(ping).await.unwrap().unwrap() < Duration::from_secs(5));
    }
}

#[tokio::test]
async fn close_says_goodbye_and_tells_everybody() {
    let server = Server::start().await;
    let client = server.client().connect();
    let mut peer = server.welcome().await;
    let publish = tokio::spawn({
        let client = client.clone();
        async move { client.publish(message(1)).await }
    });
    peer.publish().await;
    let closed = tokio::spawn({
        let client = client.clone();
        async move { client.close().await }
    });
    assert_eq!(peer.frame().await, Err(1000));
    drop(peer);
    soon(closed).await.unwrap();
    assert!(matches!(soon(publish).await.unwrap(), Err(Error::Closed)));
    assert!(matches!(client.publish(message(1)).await, Err(Error::Closed)));
    assert!(matches!(client.ready().await, Err(Error::Closed)));
}

#[tokio::test]
async fn the_last_handle_closes_the_connection() {
    let server = Server::start().await;
    let client = server.client().connect();
    let mut peer = server.welcome().await;
    soon(client.ready()).await.unwrap();
    drop(client);
    assert_eq!(peer.frame().await, Err(1000));
}

#[tokio::test]
async fn some_close_codes_are_final() {
    for (code, retry) in [(4400, Retry::Never), (4402, Retry::Never), (4401, Retry::Refresh), (1009, Retry::Never)] {
        assert_eq!(Retry::after_close(code), retry);
        let server = Server::start().await;
        let client = server.client().connect();
        server.welcome().await.close(code).await;
        let mut state = client.state();
        soon(state.wait_for(|state| matches!(state, State::Closed(_)))).await.unwrap();
        assert!(matches!(client.ready().await, Err(Error::Disconnected { code: told, .. }) if told == code));
        assert!(matches!(client.ping().await, Err(Error::Disconnected { .. })));
    }
}

#[tokio::test]
async fn a_refused_token_is_final_without_a_provider() {
    let server = Server::start().await;
    let client = server.client().connect();
    let mut peer = server.accept().await;
    let Ok(ClientFrame::Connect(connect)) = peer.frame().await else { panic!("no connect") };
    peer.say([ServerFrame::Error { id: Some(connect.id), error: ErrorBody::new(ErrorCode::Unauthorized, "no") }]).await;
    peer.close(4401).await;
    assert!(matches!(soon(client.ready()).await, Err(Error::Server(body)) if body.known() == Some(ErrorCode::Unauthorized)));
}

#[tokio::test]
async fn a_provider_is_asked_again_when_a_token_is_refused_or_it_fails() {
    let server = Server::start().await;
    let asked = Arc::new(AtomicU32::new(0));
    let client = server
        .client()
        .token_provider({
            let asked = asked.clone();
            move || {
                let n = asked.fetch_add(1, Relaxed);
                async move { if n == 0 { Err("not yet".into()) } else { Ok(format!("t{n}")) } }
            }
        })
        .connect();
    let mut peer = server.accept().await;
    let Ok(ClientFrame::Connect(connect)) = peer.frame().await else { panic!("no connect") };
    assert_eq!(connect.token.as_deref(), Some("t1"));
    peer.say([ServerFrame::Error { id: Some(connect.id), error: ErrorBody::new(ErrorCode::TokenExpired, "old") }]).await;
    peer.close(4401).await;
    let mut peer = server.accept().await;
    assert_eq!(peer.welcome(&connected()).await.token.as_deref(), Some("t2"));
    soon(client.ready()).await.unwrap();
}

#[tokio::test]
async fn refreshes_before_the_token_ends() {
    let server = Server::start().await;
    let asked = AtomicU32::new(0);
    let client = server
        .client()
        .token_provider(move || {
            let n = asked.fetch_add(1, Relaxed);
            async move { Ok(format!("t{n}")) }
        })
        .connect();
    let mut peer = server.accept().await;
    let start = Instant::now();
    peer.welcome(&Connected { expires_at: NOW + 80, ..connected() }).await;
    for token in ["t1", "t2"] {
        let Ok(ClientFrame::Refresh { id, token: fresh }) = peer.frame().await else { panic!("no refresh") };
        assert_eq!(fresh, token);
        peer.reply(id, &Refreshed { expires_at: NOW + 160 }).await;
    }
    assert!(start.elapsed() >= Duration::from_millis(60), "too early");
    assert_eq!(client.stats().reconnects, 0);
}

#[tokio::test]
async fn comes_back_no_earlier_than_it_was_told() {
    let server = Server::start().await;
    let client = server.client().connect();
    let mut peer = server.welcome().await;
    let start = Instant::now();
    let disconnect = Disconnect { code: 4503, reason: "draining".into(), retry: Retry::Later, reconnect_after: Some(100) };
    peer.say([ServerFrame::Disconnect(disconnect)]).await;
    peer.close(4503).await;
    let _peer = server.welcome().await;
    assert!(start.elapsed() >= Duration::from_millis(100));
    let mut state = client.state();
    soon(state.wait_for(|state| matches!(state, State::Connected(_)))).await.unwrap();
    assert_eq!(client.stats().reconnects, 1);
}

#[tokio::test]
async fn a_slow_consumer_comes_back_at_once() {
    let server = Server::start().await;
    let hour = Duration::from_secs(3_600);
    let _client = server.client().backoff(hour, hour).connect();
    server.welcome().await.close(4505).await;
    server.welcome().await;
}

#[tokio::test]
async fn silence_is_death() {
    let server = Server::start().await;
    let client = server.client().connect();
    let mut peer = server.accept().await;
    peer.welcome(&Connected { heartbeat: 30, grace: 20, ..connected() }).await;
    let mut state = client.state();
    let waiting = soon(state.wait_for(|state| matches!(state, State::Waiting { .. }))).await.unwrap().clone();
    assert!(matches!(waiting, State::Waiting { reason, .. } if matches!(*reason, Error::Transport(TransportError::Silent))));
    server.welcome().await;
}

#[tokio::test]
async fn what_is_asked_before_the_connection_waits_for_it() {
    let server = Server::start().await;
    let client = server.client().connect();
    let subscription = tokio::spawn({
        let client = client.clone();
        async move { client.subscribe(channel("room:1"), SubscribeOptions::default()).await }
    });
    drop(server.accept().await);
    let mut peer = server.welcome().await;
    assert_eq!(peer.accept_one(durable(0)).await, None);
    assert_eq!(soon(subscription).await.unwrap().unwrap().channel().as_str(), "room:1");
}

#[tokio::test]
async fn an_address_that_cannot_be_used_is_final() {
    let client = Client::builder("wss://hub.example").connect();
    assert!(matches!(soon(client.ready()).await, Err(Error::InvalidUrl(_))));
}

#[tokio::test]
async fn each_attempt_goes_to_the_next_server() {
    let (one, two) = (Server::start().await, Server::start().await);
    let nobody = Server::start().await.url();
    let client = one.client().also_at(nobody).also_at(two.url()).connect();
    let mut peer = one.welcome().await;
    let (entries, since) = tokio::join!(client.subscribe(channel("room:1"), SubscribeOptions::default()), peer.accept_one(durable(4)));
    let _entries = entries.unwrap();
    assert_eq!(since, None);
    drop(peer);

    let mut peer = two.welcome().await;
    assert_eq!(peer.accept_one(resumed(4)).await, Some(cursor(4)));
    peer.close(4505).await;
    one.welcome().await.close(4503).await;
    let _peer = two.welcome().await;
    soon(client.ready()).await.unwrap();
    assert_eq!(client.stats().reconnects, 3);
}

#[tokio::test]
async fn one_server_that_forbids_to_come_back_is_enough() {
    let (one, two) = (Server::start().await, Server::start().await);
    let client = one.client().also_at(two.url()).connect();
    one.welcome().await.close(4400).await;
    let mut state = client.state();
    soon(state.wait_for(|state| matches!(state, State::Closed(_)))).await.unwrap();
}
