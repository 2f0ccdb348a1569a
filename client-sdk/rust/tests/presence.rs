//! Who listens: asked for by page, and seen to come and go.

mod support;

use hubbub_client::{
    Client, Error, ErrorBody, ErrorCode, Event, Member, PresenceChange, PresenceOptions, PresencePage, PresenceState, ProtocolError,
    SubscribeOptions, Subscribed, Subscription,
    protocol::{
        ClientFrame, ServerFrame,
        frame::{Channels, Pong},
    },
};
use support::*;

fn member(user: &str, connections: u32) -> Member {
    Member { user: user.into(), connections }
}

fn change(count: u64) -> PresenceChange {
    PresenceChange { channel: channel("room:1"), count, joined: vec![], left: vec![], members: None }
}

fn joined(count: u64, user: &str) -> PresenceChange {
    PresenceChange { joined: vec![member(user, 1)], ..change(count) }
}

fn users(subscription: &Subscription) -> Vec<&str> {
    let members = subscription.presence().and_then(|state| state.members.as_ref()).expect("a list of members");
    members.iter().map(|member| member.user.as_str()).collect()
}

fn with_presence(answer: Subscribed, users: &[&str]) -> Subscribed {
    let members = users.iter().map(|user| member(user, 1)).collect();
    Subscribed { presence: Some(PresenceState { count: users.len() as u64, members: Some(members) }), ..answer }
}

fn ephemeral() -> Subscribed {
    Subscribed { channel: "room:1".into(), ..Default::default() }
}

/// Answers the subscribe of one channel, which has to ask for presence.
async fn accept(peer: &mut Peer, answer: Subscribed) {
    let (id, channels) = peer.subscribe().await;
    assert!(channels.iter().all(|channel| channel.presence), "{channels:?}");
    peer.reply(id, &Channels { channels: vec![answer] }).await;
}

/// A subscription to `room:1` with presence, its first event read.
async fn subscribed(client: &Client, peer: &mut Peer, answer: Subscribed) -> Subscription {
    let options = SubscribeOptions { presence: true, ..Default::default() };
    let (subscription, ()) = tokio::join!(client.subscribe(channel("room:1"), options), accept(peer, answer.clone()));
    let mut subscription = subscription.unwrap();
    assert_eq!(subscription.presence(), None);
    assert_eq!(event(&mut subscription).await, Some(Event::Subscribed(answer)));
    subscription
}

/// Returns when the client has taken everything that was said.
async fn settled(client: &Client, peer: &mut Peer) {
    let (pong, ()) = tokio::join!(client.ping(), async {
        let Ok(ClientFrame::Ping { id }) = peer.frame().await else { panic!("no ping") };
        peer.reply(id, &Pong { time: NOW }).await;
    });
    pong.unwrap();
}

#[tokio::test]
async fn members_come_in_pages() {
    for server in [Server::start().await, Server::start().await.json()] {
        let client = server.client().connect();
        let mut peer = server.welcome().await;
        let options = PresenceOptions { after: Some("alice".into()), limit: Some(2) };
        let page = PresencePage { members: vec![member("bob", 1), member("carol", 3)], count: 5, more: true };
        let (answer, ()) = tokio::join!(client.presence(channel("room:1"), options.clone()), async {
            let Ok(ClientFrame::Presence(asked)) = peer.frame().await else { panic!("no presence") };
            assert_eq!((asked.channel, asked.after, asked.limit), (channel("room:1"), options.after.clone(), Some(2)));
            peer.reply(asked.id, &page).await;
        });
        assert_eq!(answer.unwrap(), page);
    }
}

#[tokio::test]
async fn a_page_is_refused_or_is_none() {
    let server = Server::start().await;
    let client = server.client().connect();
    let mut peer = server.welcome().await;
    let (refused, ()) = tokio::join!(client.presence(channel("room:1"), PresenceOptions::default()), async {
        let Ok(ClientFrame::Presence(asked)) = peer.frame().await else { panic!("no presence") };
        let error = ErrorBody::new(ErrorCode::PresenceDisabled, "there is none here");
        peer.say([ServerFrame::Error { id: Some(asked.id), error }]).await;
    });
    assert!(matches!(refused, Err(Error::Server(body)) if body.known() == Some(ErrorCode::PresenceDisabled)));
    let (answer, ()) = tokio::join!(client.presence(channel("room:1"), PresenceOptions::default()), async {
        let Ok(ClientFrame::Presence(asked)) = peer.frame().await else { panic!("no presence") };
        peer.reply(asked.id, &Pong { time: NOW }).await;
    });
    assert!(matches!(answer, Err(Error::Protocol(ProtocolError::Result))));
}

#[tokio::test]
async fn a_request_that_no_message_holds_is_in_nobody_s_way() {
    let server = Server::start().await;
    let client = server.client().connect();
    let mut peer = server.welcome().await;
    let huge = PresenceOptions { after: Some("x".repeat(2 << 20)), limit: None };
    let (refused, ()) = tokio::join!(client.presence(channel("room:1"), huge), settled(&client, &mut peer));
    assert!(matches!(refused, Err(Error::Server(body)) if body.known() == Some(ErrorCode::BadFrame)));
    settled(&client, &mut peer).await;
}

#[tokio::test]
async fn members_are_seen_to_come_and_go() {
    let server = Server::start().await.json();
    let client = server.client().connect();
    let mut peer = server.welcome().await;
    let mut room = subscribed(&client, &mut peer, with_presence(durable(4), &["alice"])).await;
    assert_eq!(users(&room), ["alice"]);

    let came = PresenceChange { joined: vec![member("carol", 1), member("bob", 2)], ..change(3) };
    let went = PresenceChange { left: vec!["alice".into()], ..joined(3, "dave") };
    peer.say([came.clone(), went.clone()].map(ServerFrame::Presence)).await;
    peer.entries([5]).await;
    assert_eq!(event(&mut room).await, Some(Event::Presence(came)));
    assert_eq!(users(&room), ["alice", "bob", "carol"]);
    assert_eq!(room.cursor(), Some(cursor(4)));
    assert_eq!(event(&mut room).await, Some(Event::Presence(went)));
    assert_eq!(users(&room), ["bob", "carol", "dave"]);
    assert_eq!(seqs(&mut room, 1).await, [5]);

    peer.say([ServerFrame::Presence(change(1_001))]).await;
    assert_eq!(event(&mut room).await, Some(Event::Presence(change(1_001))));
    assert_eq!(room.presence(), Some(&PresenceState { count: 1_001, members: None }));
}

#[tokio::test]
async fn a_reconnect_begins_with_who_is_there_now() {
    let server = Server::start().await;
    let client = server.client().connect();
    let mut peer = server.welcome().await;
    let mut room = subscribed(&client, &mut peer, with_presence(durable(4), &["alice", "bob"])).await;
    drop(peer);
    let mut peer = server.welcome().await;
    let answer = with_presence(resumed(4), &["alice", "carol"]);
    // Of no subscription on this connection.
    peer.say([ServerFrame::Presence(joined(1, "nobody"))]).await;
    accept(&mut peer, answer.clone()).await;
    assert_eq!(users(&room), ["alice", "bob"], "what was last known");
    assert_eq!(event(&mut room).await, Some(Event::Subscribed(answer)));
    assert_eq!(users(&room), ["alice", "carol"]);
}

#[tokio::test]
async fn a_reader_that_does_not_read_is_told_who_is_there_in_the_end() {
    let server = Server::start().await;
    let client = server.client().buffer(2).connect();
    let mut peer = server.welcome().await;
    let mut room = subscribed(&client, &mut peer, with_presence(ephemeral(), &["alice"])).await;
    let names = ["bob", "carol", "dave", "erin"];
    peer.say(names.iter().zip(2..).map(|(user, count)| ServerFrame::Presence(joined(count, user)))).await;
    peer.say([ServerFrame::Presence(PresenceChange { left: vec!["bob".into()], ..change(4) })]).await;
    settled(&client, &mut peer).await;
    for user in ["bob", "carol"] {
        assert!(matches!(event(&mut room).await, Some(Event::Presence(change)) if change.joined[0].user == user));
    }
    let Some(Event::Presence(whole)) = event(&mut room).await else { panic!("no list") };
    assert_eq!((whole.count, whole.members.map(|members| members.len())), (4, Some(4)));
    assert_eq!(users(&room), ["alice", "carol", "dave", "erin"]);

    // Told once.
    peer.say([ServerFrame::Presence(joined(5, "frank"))]).await;
    assert_eq!(event(&mut room).await, Some(Event::Presence(joined(5, "frank"))));
    assert_eq!(users(&room), ["alice", "carol", "dave", "erin", "frank"]);
}

#[tokio::test]
async fn a_durable_channel_that_is_paused_begins_anew() {
    let server = Server::start().await;
    let client = server.client().buffer(2).connect();
    let mut peer = server.welcome().await;
    let mut room = subscribed(&client, &mut peer, with_presence(durable(0), &["alice"])).await;
    peer.entries([1, 2]).await;
    peer.say([ServerFrame::Presence(joined(2, "bob"))]).await;
    assert_eq!(peer.unsubscribe().await.1, ["room:1"]);
    assert_eq!(seqs(&mut room, 1).await, [1]);
    assert_eq!(users(&room), ["alice"]);
    let answer = with_presence(resumed(2), &["alice", "bob"]);
    accept(&mut peer, answer.clone()).await;
    assert_eq!(seqs(&mut room, 1).await, [2]);
    assert_eq!(event(&mut room).await, Some(Event::Subscribed(answer)));
    assert_eq!(users(&room), ["alice", "bob"]);
    let stats = client.stats();
    assert_eq!((stats.pauses, stats.gaps, stats.duplicates), (1, 0, 0));
}

#[tokio::test]
async fn who_did_not_ask_is_not_told() {
    let server = Server::start().await;
    let client = server.client().connect();
    let mut peer = server.welcome().await;
    let (room, since) = tokio::join!(client.subscribe(channel("room:1"), SubscribeOptions::default()), peer.accept_one(durable(0)));
    let mut room = room.unwrap();
    assert_eq!(since, None);
    peer.say([ServerFrame::Presence(joined(1, "alice"))]).await;
    peer.entries([1]).await;
    assert_eq!(seqs(&mut room, 1).await, [1]);
    assert_eq!(room.presence(), None);
}

#[tokio::test]
async fn a_namespace_without_presence_refuses_who_asks_for_it() {
    let server = Server::start().await;
    let client = server.client().connect();
    let mut peer = server.welcome().await;
    let options = SubscribeOptions { presence: true, ..Default::default() };
    let error = Some(ErrorBody::new(ErrorCode::PresenceDisabled, "there is none here"));
    let (refused, ()) = tokio::join!(client.subscribe(channel("room:1"), options), accept(&mut peer, Subscribed { error, ..ephemeral() }));
    assert!(matches!(refused, Err(Error::Server(body)) if body.known() == Some(ErrorCode::PresenceDisabled)));
}
