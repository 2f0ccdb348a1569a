//! Who may do what.

use hubbub_protocol::{
    ClientFrame, ErrorCode, ServerFrame,
    frame::{Connect, Connected},
};
use hubbub_server::auth::Action;
use tokio_tungstenite::tungstenite::Error;

use crate::support::{Pair, Server, advance, clock, refused};

crate::over_every_transport!(
    a_token_that_does_not_verify_ends_the_connection,
    each_action_wants_its_grant,
    an_expired_token_ends_the_connection,
    a_refresh_goes_on,
    a_refresh_is_of_the_same_user,
    fewer_grants_end_subscriptions,
);

crate::behind_each_proxy!(
    a_token_that_does_not_verify_ends_the_connection,
    an_expired_token_ends_the_connection,
    a_refresh_goes_on,
    fewer_grants_end_subscriptions,
);

// Over HTTP there is no other way.
mod by_socket {
    use super::a_token_may_come_with_the_upgrade;

    crate::on_every_pair!(a_token_may_come_with_the_upgrade);
}

/// Over a socket it is told and then closed; over HTTP nothing begins.
async fn fails(server: &Server, token: &str, code: ErrorCode) {
    let mut peer = server.open().await;
    refused(peer.connect(token).await, code);
    if server.transport().is_http() {
        assert_eq!(peer.session(), None);
    } else {
        assert_eq!(peer.closed().await.1, Some(4401));
    }
}

async fn a_token_that_does_not_verify_ends_the_connection(pair: Pair) {
    let server = pair.server().await;
    fails(&server, "", ErrorCode::Unauthorized).await;
    fails(&server, "nonsense", ErrorCode::Unauthorized).await;
    fails(&server, &server.token_for("alice", -10, &[]), ErrorCode::TokenExpired).await;
    let mut forged = server.token("alice").into_bytes();
    let last = forged.len() - 5;
    forged[last] = if forged[last] == b'A' { b'B' } else { b'A' };
    fails(&server, &String::from_utf8(forged).unwrap(), ErrorCode::Unauthorized).await;
}

async fn a_token_may_come_with_the_upgrade(pair: Pair) {
    let server = pair.server().await;
    let mut peer = server.upgrade(Some(&server.token("alice"))).await.unwrap();
    let connected: Connected = peer.request(|id| ClientFrame::Connect(Connect { id, ..Connect::default() })).await.unwrap().read().unwrap();
    assert_eq!(connected.user, "alice");
    let Err(Error::Http(response)) = server.upgrade(Some("nonsense")).await else { panic!("it was let in") };
    assert_eq!(response.status(), 401);
}

async fn each_action_wants_its_grant(pair: Pair) {
    let server = pair.server().await;
    let actions = [Action::Subscribe, Action::Publish, Action::History];
    for allowed in actions {
        let mut peer = server.open().await;
        peer.connect(&server.token_for("alice", 60, &[("room:a*", &[allowed])])).await.unwrap();
        for (action, channel) in actions.into_iter().flat_map(|action| [(action, "room:abc"), (action, "room:xyz")]) {
            let result = match action {
                Action::Subscribe => peer.subscribe_with(channel, None, None).await.map(drop),
                Action::Publish => peer.publish_with(channel, "1", None, None).await.map(drop),
                _ => peer.history(channel, None, None, None).await.map(drop),
            };
            if action == allowed && channel == "room:abc" {
                result.unwrap();
            } else {
                refused(result, ErrorCode::Forbidden);
            }
        }
    }
}

async fn an_expired_token_ends_the_connection(pair: Pair) {
    let clock = clock();
    let server = pair.server_at(&clock, &[]).await;
    let mut peer = server.open().await;
    peer.connect(&server.token_for("alice", 10, &[])).await.unwrap();
    advance(&clock, 11_000);
    // A newer one in a poll's header renews nothing. (An old one would not get as far.)
    peer.present(&server.token("alice"));
    let (disconnect, code) = peer.closed().await;
    assert_eq!((disconnect.unwrap().code, code), (4501, Some(4501)));
}

async fn a_refresh_goes_on(pair: Pair) {
    let clock = clock();
    let server = pair.server_at(&clock, &[]).await;
    let mut peer = server.open().await;
    peer.connect(&server.token_for("alice", 10, &[("*", &Action::ALL)])).await.unwrap();
    peer.subscribe("room:1").await;
    let refreshed = peer.refresh(&server.token_for("alice", 20, &[("*", &Action::ALL)])).await.unwrap();
    assert!(refreshed.expires_at > server.now() + 15_000);
    advance(&clock, 11_000);
    // Longer than a sweep: it would have been closed.
    tokio::time::sleep(std::time::Duration::from_millis(600)).await;
    peer.publish("room:1", "1").await;
    peer.entry().await;
    refused(peer.refresh("nonsense").await, ErrorCode::Unauthorized);
    peer.publish("room:1", "2").await;
}

async fn a_refresh_is_of_the_same_user(pair: Pair) {
    let server = pair.server().await;
    let mut peer = server.peer("alice").await;
    refused(peer.refresh(&server.token("bob")).await, ErrorCode::IdentityChanged);
    peer.publish("room:1", "1").await;
}

async fn fewer_grants_end_subscriptions(pair: Pair) {
    let server = pair.server().await;
    let mut peer = server.peer("alice").await;
    peer.subscribe("room:1").await;
    peer.subscribe("room:2").await;
    peer.refresh(&server.token_for("alice", 60, &[("room:2", &Action::ALL)])).await.unwrap();
    match peer.next().await {
        ServerFrame::Unsubscribed { channel, error } => assert_eq!((channel.as_str(), error.code.as_str()), ("room:1", "forbidden")),
        other => panic!("{other:?}"),
    }
    server.peer("bob").await.publish("room:1", "1").await;
    peer.publish("room:2", "2").await;
    assert_eq!(peer.entry().await.channel.as_str(), "room:2");
}
