//! What is taken from somebody is gone within a second, wherever they are connected, and from nobody else.

mod in_numbers;
mod outages;

use std::time::{Duration, Instant};

use futures_util::future::join_all;
use hubbub_protocol::{ErrorCode, ServerFrame};
use hubbub_server::{
    access::{bans, standing},
    auth::{Action, Claims, Grant, Role, mint},
    store::{Db, audit::Trace, bans::NewBan, standing::Change},
    world::World,
};

use crate::{
    http::{Request, request},
    support::{PATIENCE, Pair, Peer, SECRET, Server, name, refused},
};

crate::over_every_transport_and_instance!(
    a_block_ends_sessions_and_nobody_elses,
    a_connect_that_races_a_block_never_survives,
    a_ban_ends_a_subscription_until_it_is_lifted,
    a_membership_that_goes_takes_the_subscription_along,
    roles_and_rooms_change_while_people_listen,
);

mod on_clusters {
    use super::a_block_counts_on_every_instance;

    crate::in_every_cluster!(a_block_counts_on_every_instance);
}

mod by_socket {
    use super::who_cannot_be_looked_up_is_not_admitted;

    crate::on_every_pair!(who_cannot_be_looked_up_is_not_admitted);
}

mod by_http {
    use super::a_narrower_token_does_not_speak_for_a_session;

    crate::over_http!(a_narrower_token_does_not_speak_for_a_session);
    crate::on_pair!(nats_postgres_sse, NATS_POSTGRES over Sse, a_narrower_token_does_not_speak_for_a_session);
    crate::on_pair!(nats_postgres_polling, NATS_POSTGRES over Polling, a_narrower_token_does_not_speak_for_a_session);
}

/// An operator at the command line: in no instance, so that nobody is told and everybody has to look.
struct Operator {
    db: Db,
    world: World,
}

impl Operator {
    async fn of(server: &Server) -> Self {
        Self { db: Db::open(&server.config().store).await.unwrap(), world: World::system() }
    }

    async fn change(&self, user: &str, change: Change) -> Instant {
        standing::change(&self.db, &self.world, &Trace::operator(), user, change).await.unwrap();
        Instant::now()
    }

    async fn ban(&self, channel: &str, user: &str) {
        let channel = name(channel);
        let new = NewBan { channel: &channel, user, reason: "spam", banned_by: "operator", expires_at: None };
        bans::put(&self.db, &self.world, &Trace::operator(), new).await.unwrap();
    }

    async fn lift(&self, channel: &str, user: &str) {
        assert!(bans::lift(&self.db, &self.world, &Trace::operator(), &name(channel), user).await.unwrap());
    }
}

/// A ruling by hand, after `sql`.
pub async fn rule(server: &Server, sql: &str, kind: &str, user: Option<&str>, channel: &str) {
    let user = user.map_or("NULL".to_owned(), |user| format!("'{user}'"));
    server
        .ground()
        .execute(&[
            sql,
            "UPDATE counters SET value = value + 1 WHERE name = 'rulings'",
            &format!(
                "INSERT INTO rulings (number, kind, user_id, channel, created_at)
                 SELECT value, '{kind}', {user}, '{channel}', {} FROM counters WHERE name = 'rulings'",
                server.now()
            ),
        ])
        .await;
}

const ROOM: &str = "INSERT INTO rooms (channel, kind, visibility, title, topic, data, created_by, members, version, created_at, updated_at)
    VALUES ('chat:1', 'group', 'private', '', '', '{}', 'alice', 2, 1, 1, 1)";
const MEMBERS: &str = "INSERT INTO members (channel, user_id, role, state, version, created_at, updated_at)
    VALUES ('chat:1', 'alice', 'owner', 'joined', 1, 1, 1), ('chat:1', 'bob', 'member', 'joined', 1, 1, 1)";

/// A private group of alice, its owner, and bob.
async fn group(server: &Server) {
    rule(server, ROOM, "channel", None, "chat:1").await;
    rule(server, MEMBERS, "member", Some("bob"), "chat:1").await;
}

/// Tries until it comes to `expected`: a change may take half a second to be seen.
async fn comes_to(server: &Server, peer: &mut Peer, channel: &str, expected: Result<(), ErrorCode>) {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let result = peer.subscribe_with(channel, None, None).await.map(drop).map_err(|error| error.code);
        if result == expected.map_err(|code| code.as_str().to_owned()) {
            return;
        }
        if result.is_ok() {
            peer.unsubscribe(channel).await;
        }
        assert!(Instant::now() < deadline, "{channel} at {}: {result:?}", server.address());
    }
}

async fn unsubscribed(peer: &mut Peer, channel: &str, code: ErrorCode) {
    match tokio::time::timeout(PATIENCE, peer.next()).await.expect("it is told") {
        ServerFrame::Unsubscribed { channel: from, error } => assert_eq!((from.as_str(), &*error.code), (channel, code.as_str())),
        other => panic!("{other:?}"),
    }
}

/// The code that a connect is refused with; `None` if it is not.
async fn connects(server: &Server, user: &str) -> Option<String> {
    let mut peer = server.open().await;
    let refused = peer.connect(&server.token(user)).await.err().map(|error| error.code);
    if refused.is_none() {
        peer.leave().await;
    }
    refused
}

async fn eventually_connects(server: &Server, user: &str, expected: Option<ErrorCode>) {
    let deadline = Instant::now() + PATIENCE;
    while connects(server, user).await.as_deref() != expected.map(ErrorCode::as_str) {
        assert!(Instant::now() < deadline, "{user}: not {expected:?}");
    }
}

async fn a_block_ends_sessions_and_nobody_elses(pair: Pair) {
    let server = pair.server().await;
    let operator = Operator::of(&server).await;
    let mut hers = join_all((0..3).map(|_| server.peer("alice"))).await;
    let mut bob = server.peer("bob").await;
    operator.change("alice", Change::Block).await;
    for peer in &mut hers {
        assert_eq!(peer.closed().await.1, Some(4403));
    }
    bob.publish("room:1", "1").await;
    assert_eq!(connects(&server, "alice").await.as_deref(), Some("revoked"));
    let response = request(server.address(), Request::get("/v1/channels/room:1").with_token(&server.token("alice"))).await;
    assert_eq!((response.status, response.json()["code"].as_str()), (401, Some("revoked")));
    operator.change("alice", Change::Unblock).await;
    eventually_connects(&server, "alice", None).await;
}

async fn a_block_counts_on_every_instance(pair: Pair) {
    let [a, b] = pair.fleet().await;
    let operator = Operator::of(&a).await;
    let mut peers = vec![a.peer("alice").await, b.peer("alice").await];
    let mut others = vec![a.peer("bob").await, b.peer("bob").await];
    operator.change("alice", Change::Block).await;
    for peer in &mut peers {
        assert_eq!(peer.closed().await.1, Some(4403));
    }
    for peer in &mut others {
        peer.ping().await;
    }
    for server in [&a, &b] {
        eventually_connects(server, "alice", Some(ErrorCode::Revoked)).await;
    }
}

async fn a_connect_that_races_a_block_never_survives(pair: Pair) {
    let server = pair.server().await;
    let operator = Operator::of(&server).await;
    for round in 0..24_u64 {
        let user = format!("user-{round}");
        let mut peer = server.open().await;
        let token = server.token(&user);
        let connect = async {
            tokio::time::sleep(Duration::from_micros(rand::random_range(0..30_000))).await;
            let result = peer.connect(&token).await;
            (result, peer)
        };
        let block = async {
            tokio::time::sleep(Duration::from_micros(rand::random_range(0..30_000))).await;
            operator.change(&user, Change::Block).await;
        };
        let ((result, mut peer), ()) = tokio::join!(connect, block);
        match result {
            Ok(_) => assert_eq!(peer.closed().await.1, Some(4403), "{user} came in, and went"),
            Err(error) => assert_eq!(error.code, "revoked"),
        }
    }
}

async fn a_ban_ends_a_subscription_until_it_is_lifted(pair: Pair) {
    let server = pair.server().await;
    let operator = Operator::of(&server).await;
    let mut alice = server.peer("alice").await;
    let mut bob = server.peer("bob").await;
    alice.subscribe("room:1").await;
    alice.subscribe("room:2").await;
    operator.ban("room:1", "alice").await;
    unsubscribed(&mut alice, "room:1", ErrorCode::Banned).await;
    assert_eq!(
        (server.metric("hubbub_rulings_total{kind=\"ban\"}"), server.metric("hubbub_rulings_subscriptions_ended_total")),
        (1.0, 1.0)
    );
    refused(alice.subscribe_with("room:1", None, None).await, ErrorCode::Banned);
    refused(alice.publish_with("room:1", "1", None, None).await, ErrorCode::Banned);
    refused(alice.history("room:1", None, None, None).await, ErrorCode::Banned);
    bob.publish("room:1", "1").await;
    bob.publish("room:2", "2").await;
    assert_eq!(alice.entry().await.channel.as_str(), "room:2", "the other one goes on, and nothing more comes of this one");
    operator.lift("room:1", "alice").await;
    comes_to(&server, &mut alice, "room:1", Ok(())).await;
    bob.publish("room:1", "3").await;
    assert_eq!(alice.entry().await.channel.as_str(), "room:1");
}

async fn a_membership_that_goes_takes_the_subscription_along(pair: Pair) {
    let server = pair.server().await;
    let mut bob = server.peer("bob").await;
    refused(bob.subscribe_with("chat:1", None, None).await, ErrorCode::NotFound);
    group(&server).await;
    comes_to(&server, &mut bob, "chat:1", Ok(())).await;
    let mut alice = server.peer("alice").await;
    alice.publish("chat:1", "1").await;
    assert_eq!(bob.entry().await.channel.as_str(), "chat:1");
    rule(&server, "DELETE FROM members WHERE user_id = 'bob'", "member", Some("bob"), "chat:1").await;
    unsubscribed(&mut bob, "chat:1", ErrorCode::NotFound).await;
    refused(bob.publish_with("chat:1", "1", None, None).await, ErrorCode::NotFound);
    refused(bob.history("chat:1", None, None, None).await, ErrorCode::NotFound);
    // Of a ban one is told even there.
    let operator = Operator::of(&server).await;
    alice.subscribe("chat:1").await;
    operator.ban("chat:1", "alice").await;
    unsubscribed(&mut alice, "chat:1", ErrorCode::Banned).await;
}

async fn roles_and_rooms_change_while_people_listen(pair: Pair) {
    let server = pair.server().await;
    group(&server).await;
    let mut bob = server.peer("bob").await;
    comes_to(&server, &mut bob, "chat:1", Ok(())).await;
    bob.publish("chat:1", "1").await;
    bob.entry().await;
    // A guest listens and does not speak.
    rule(&server, "UPDATE members SET role = 'guest' WHERE user_id = 'bob'", "member", Some("bob"), "chat:1").await;
    let deadline = Instant::now() + PATIENCE;
    while bob.publish_with("chat:1", "2", None, None).await.is_ok() {
        bob.entry().await;
        assert!(Instant::now() < deadline, "a guest speaks");
    }
    rule(&server, "UPDATE rooms SET deleted_at = 5", "channel", None, "chat:1").await;
    unsubscribed(&mut bob, "chat:1", ErrorCode::NotFound).await;
    rule(&server, "UPDATE rooms SET deleted_at = NULL", "channel", None, "chat:1").await;
    comes_to(&server, &mut bob, "chat:1", Ok(())).await;
    // Somebody who counts as an admin everywhere, and no longer.
    let operator = Operator::of(&server).await;
    operator.change("carol", Change::Role(Role::Moderator)).await;
    let mut carol = server.peer("carol").await;
    comes_to(&server, &mut carol, "chat:1", Ok(())).await;
    operator.change("carol", Change::Role(Role::Member)).await;
    unsubscribed(&mut carol, "chat:1", ErrorCode::NotFound).await;
    bob.ping().await;
}

async fn a_narrower_token_does_not_speak_for_a_session(pair: Pair) {
    let server = pair.server().await;
    let mut peer = server.open().await;
    peer.connect(&server.token_for("alice", 60, &[("room:*", &[Action::Subscribe, Action::Publish])])).await.unwrap();
    peer.publish("room:1", "1").await;
    peer.present(&server.token_for("alice", 60, &[("room:*", &[Action::Subscribe])]));
    refused(peer.publish_with("room:1", "2", None, None).await, ErrorCode::Forbidden);
    let mut other = server.open().await;
    other.connect(&server.token_for("alice", 60, &[("room:*", &[Action::Subscribe, Action::Publish])])).await.unwrap();
    other.present(&server.token("alice"));
    other.publish("room:1", "3").await;
}

async fn who_cannot_be_looked_up_is_not_admitted(pair: Pair) {
    let server = pair.server().await;
    let mut young = server.peer("alice").await;
    let mut old = server.open().await;
    old.connect(&older_token(&server, "bob")).await.unwrap();
    // Rulings cannot be read, whatever else can.
    server.ground().execute(&["ALTER TABLE counters RENAME TO counters_away"]).await;
    assert_eq!(old.closed().await.1, Some(4506));
    assert_eq!(connects(&server, "carol").await.as_deref(), Some("unavailable"));
    assert!(server.metric("hubbub_rulings_lag_seconds") >= 10.0);
    young.publish("room:1", "1").await;
    server.ground().execute(&["ALTER TABLE counters_away RENAME TO counters"]).await;
    eventually_connects(&server, "carol", None).await;
    assert!(server.metric("hubbub_rulings_lag_seconds") < 3.0);
    young.ping().await;
}

/// One that was issued two minutes ago.
fn older_token(server: &Server, user: &str) -> String {
    let now = server.now() / 1_000;
    let grants = vec![Grant { channels: vec!["*".to_owned()], actions: Action::ALL.to_vec() }];
    let claims = Claims { sub: user.to_owned(), iat: now - 120, exp: now + 600, aud: Some("hubbub".to_owned()), iss: None, grants };
    mint(SECRET.as_bytes(), &claims).unwrap()
}
