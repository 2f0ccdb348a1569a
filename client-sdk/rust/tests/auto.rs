//! Subscriptions that the server begins.

mod support;

use hubbub_client::{
    AutoOptions, Began, Begun, Cursor, ErrorBody, ErrorCode, Event, Slow, StreamExt, SubscribeOptions, Subscribed, Subscription,
    protocol::{
        ServerFrame, encode,
        frame::{Auto, Channels},
    },
};
use support::*;

async fn begins(peer: &mut Peer, answer: Subscribed) {
    peer.say([ServerFrame::Subscribed(Box::new(answer))]).await;
}

/// The next thing that the server has begun, its first event read.
async fn began(begun: &mut Begun, answer: Subscribed) -> Subscription {
    match soon(begun.next()).await {
        Some(Began::Subscription(mut subscription)) => {
            assert_eq!(event(&mut subscription).await, Some(Event::Subscribed(answer)));
            subscription
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn what_begins_in_the_message_of_the_reply_is_not_lost() {
    for server in [Server::start().await, Server::start().await.json()] {
        let options = AutoOptions { slow: Some(Slow::Latest), presence: true };
        let (_client, mut begun) = server.client().connect_auto(options);
        let mut peer = server.accept().await;
        let Ok(hubbub_client::protocol::ClientFrame::Connect(connect)) = peer.frame().await else { panic!("not connect") };
        assert_eq!(connect.auto, Some(Auto { since: Vec::new(), slow: Some(Slow::Latest), presence: true }));
        let mut message = Vec::new();
        encode::reply(server.format, connect.id, &connected(), &mut message);
        ServerFrame::Subscribed(Box::new(durable(4))).encode(server.format, &mut message);
        ServerFrame::Entry(entry(5)).encode(server.format, &mut message);
        peer.message(message).await;
        let mut room = began(&mut begun, durable(4)).await;
        assert_eq!(room.channel().as_str(), "room:1");
        assert_eq!(seqs(&mut room, 1).await, [5]);
        assert_eq!(room.cursor(), Some(cursor(5)));
    }
}

#[tokio::test]
async fn it_resumes_with_connect_and_is_no_other() {
    let server = Server::start().await;
    let (client, mut begun) = server.client().connect_auto(AutoOptions::default());
    let mut peer = server.welcome().await;
    begins(&mut peer, durable(4)).await;
    peer.entries([5, 6]).await;
    let mut room = began(&mut begun, durable(4)).await;
    assert_eq!(seqs(&mut room, 2).await, [5, 6]);
    drop(peer);
    // An attempt to which nobody answers.
    drop(server.accept().await);
    let mut peer = server.accept().await;
    let Ok(hubbub_client::protocol::ClientFrame::Connect(connect)) = peer.frame().await else { panic!("not connect") };
    assert!(connect.auto.is_some());
    let (id, channels) = peer.subscribe().await;
    assert_eq!((channels.len(), channels[0].since), (1, Some(cursor(6))), "before the server has answered");
    peer.reply(connect.id, &connected()).await;
    peer.reply(id, &Channels { channels: vec![resumed(7)] }).await;
    peer.entries([7, 8]).await;
    assert_eq!(event(&mut room).await, Some(Event::Subscribed(resumed(7))));
    assert_eq!(seqs(&mut room, 2).await, [7, 8]);
    assert_eq!((client.stats().resumes, client.stats().gaps), (1, 0));
}

#[tokio::test]
async fn what_begins_from_the_first_entry_is_replayed() {
    let server = Server::start().await;
    let (_client, mut begun) = server.client().connect_auto(AutoOptions::default());
    let mut peer = server.welcome().await;
    let whole = Subscribed { recovered: Some(true), from: Some(1), to: Some(2), ..durable(2) };
    begins(&mut peer, whole.clone()).await;
    let mut room = began(&mut begun, whole).await;
    drop(peer);
    let mut peer = server.welcome().await;
    assert_eq!(peer.accept_one(resumed(2)).await, Some(Cursor { epoch: 1, seq: 0 }), "none of them had come");
    peer.entries([1, 2, 3]).await;
    assert_eq!(event(&mut room).await, Some(Event::Subscribed(resumed(2))));
    assert_eq!(seqs(&mut room, 3).await, [1, 2, 3]);
}

#[tokio::test]
async fn a_membership_that_ends_and_begins_is_another_subscription() {
    let server = Server::start().await;
    let (_client, mut begun) = server.client().connect_auto(AutoOptions::default());
    let mut peer = server.welcome().await;
    begins(&mut peer, durable(4)).await;
    let mut first = began(&mut begun, durable(4)).await;
    let gone = ErrorBody::new(ErrorCode::NotFound, "you are no member");
    peer.say([ServerFrame::Unsubscribed { channel: channel("room:1"), error: gone.clone() }]).await;
    assert_eq!(event(&mut first).await, Some(Event::Ended(gone)));
    begins(&mut peer, durable(9)).await;
    let mut second = began(&mut begun, durable(9)).await;
    peer.entries([10]).await;
    assert_eq!(seqs(&mut second, 1).await, [10]);
    // What the program drops is left.
    drop(second);
    assert_eq!(peer.unsubscribe().await.1, ["room:1"]);
    let error = ErrorBody::new(ErrorCode::TooManySubscriptions, "");
    begins(&mut peer, Subscribed { channel: "room:9".to_owned(), error: Some(error.clone()), ..Subscribed::default() }).await;
    match soon(begun.next()).await {
        Some(Began::Refused { channel, error: why }) => assert_eq!((&*channel, why), ("room:9", error)),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn of_what_the_program_wants_itself_the_server_is_told_how() {
    let server = Server::start().await;
    let (client, _begun) = server.client().connect_auto(AutoOptions::default());
    let mut peer = server.welcome().await;
    let options = SubscribeOptions { since: Some(cursor(3)), slow: Some(Slow::Latest), presence: false };
    let subscribing = client.subscribe(channel("room:1"), options);
    let answering = async {
        let (id, _) = peer.subscribe().await;
        // The server was quicker.
        begins(&mut peer, durable(5)).await;
        let refused = ErrorBody::new(ErrorCode::AlreadySubscribed, "");
        let answer = Subscribed { channel: "room:1".to_owned(), error: Some(refused), ..Subscribed::default() };
        peer.reply(id, &Channels { channels: vec![answer] }).await;
        peer.entries([6]).await;
        assert_eq!(peer.unsubscribe().await.1, ["room:1"]);
        let (id, channels) = peer.subscribe().await;
        assert_eq!((channels[0].since, channels[0].slow), (Some(cursor(3)), Some(Slow::Latest)));
        peer.reply(id, &Channels { channels: vec![resumed(6)] }).await;
        peer.entries([4, 5, 6]).await;
    };
    let (room, ()) = tokio::join!(subscribing, answering);
    let mut room = room.unwrap();
    assert_eq!(event(&mut room).await, Some(Event::Subscribed(resumed(6))));
    assert_eq!(seqs(&mut room, 3).await, [4, 5, 6]);
}

#[tokio::test]
async fn who_does_not_ask_is_told_nothing() {
    let server = Server::start().await;
    let client = server.client().connect();
    let mut peer = server.accept().await;
    assert_eq!(peer.welcome(&connected()).await.auto, None);
    begins(&mut peer, durable(5)).await;
    let (subscription, since) = tokio::join!(client.subscribe(channel("room:1"), SubscribeOptions::default()), peer.accept_one(durable(6)));
    assert_eq!(since, None);
    let mut subscription = subscription.unwrap();
    assert_eq!(event(&mut subscription).await, Some(Event::Subscribed(durable(6))));
}
