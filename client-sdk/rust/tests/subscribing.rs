//! Subscriptions across everything that can happen to a connection.

mod support;

use std::time::{Duration, Instant};

use hubbub_client::{
    Client, Cursor, Entry, Error, ErrorBody, ErrorCode, Event, Kind, Place, SkipReason, SubscribeOptions, Subscribed, Subscription,
    Unrecovered,
    protocol::{ServerFrame, frame::Channels},
};
use support::*;

/// A subscription to `room:1`, answered with `answer`, its first event read.
async fn subscribed(client: &Client, peer: &mut Peer, options: SubscribeOptions, answer: Subscribed) -> Subscription {
    let (subscription, since) = tokio::join!(client.subscribe(channel("room:1"), options), peer.accept_one(answer.clone()));
    assert_eq!(since, options.since);
    let mut subscription = subscription.unwrap();
    assert_eq!(event(&mut subscription).await, Some(Event::Subscribed(answer)));
    subscription
}

#[tokio::test]
async fn resumes_where_it_was() {
    let server = Server::start().await;
    let client = server.client().connect();
    let mut peer = server.welcome().await;
    let mut entries = subscribed(&client, &mut peer, SubscribeOptions::default(), durable(4)).await;
    assert_eq!(entries.cursor(), Some(cursor(4)));
    peer.entries([5, 6]).await;
    assert_eq!(seqs(&mut entries, 2).await, [5, 6]);
    assert_eq!(entries.cursor(), Some(cursor(6)));
    drop(peer);

    let mut peer = server.welcome().await;
    assert_eq!(peer.accept_one(resumed(8)).await, Some(cursor(6)));
    peer.entries([7, 8, 9]).await;
    assert_eq!(event(&mut entries).await, Some(Event::Subscribed(resumed(8))));
    assert_eq!(seqs(&mut entries, 3).await, [7, 8, 9]);
    let stats = client.stats();
    assert_eq!((stats.reconnects, stats.resumes, stats.gaps, stats.duplicates), (1, 1, 0, 0));
}

#[tokio::test]
async fn speaks_json_too() {
    let server = Server::start().await.json();
    let client = server.client().connect();
    let mut peer = server.welcome().await;
    let everything = SubscribeOptions { since: Some(Cursor::default()), ..Default::default() };
    let mut entries = subscribed(&client, &mut peer, everything, resumed(2)).await;
    peer.entries([1, 2]).await;
    assert_eq!(event(&mut entries).await, Some(Event::Entry(entry(1))));
    assert_eq!(event(&mut entries).await, Some(Event::Entry(entry(2))));
}

#[tokio::test]
async fn an_edit_and_a_deletion_say_what_they_refer_to() {
    let server = Server::start().await.json();
    let client = server.client().connect();
    let mut peer = server.welcome().await;
    let mut entries = subscribed(&client, &mut peer, SubscribeOptions::default(), durable(1)).await;
    let edit = Entry { kind: Kind::Edit, refers: Some(1), ..entry(2) };
    let deletion = Entry { kind: Kind::Delete, refers: Some(1), payload: vec![0xc0].into(), ..entry(3) };
    peer.say([ServerFrame::Entry(edit.clone()), ServerFrame::Entry(deletion.clone())]).await;
    assert_eq!(event(&mut entries).await, Some(Event::Entry(edit)));
    assert_eq!(event(&mut entries).await, Some(Event::Entry(deletion)));
    assert_eq!(entries.cursor(), Some(cursor(3)));
}

#[tokio::test]
async fn finds_and_repairs_a_gap() {
    let server = Server::start().await;
    let client = server.client().connect();
    let mut peer = server.welcome().await;
    let mut entries = subscribed(&client, &mut peer, SubscribeOptions::default(), durable(0)).await;
    peer.entries([1, 3]).await;
    assert_eq!(peer.unsubscribe().await.1, ["room:1"]);
    assert_eq!(peer.accept_one(resumed(3)).await, Some(cursor(1)));
    peer.entries([2, 3, 4]).await;
    assert_eq!(seqs(&mut entries, 4).await, [1, 2, 3, 4]);
    assert_eq!(client.stats().gaps, 1);
}

#[tokio::test]
async fn a_reader_that_does_not_read_stalls_nobody_and_loses_nothing() {
    let server = Server::start().await;
    let client = server.client().buffer(4).connect();
    let mut peer = server.welcome().await;
    let mut slow = subscribed(&client, &mut peer, SubscribeOptions::default(), durable(0)).await;
    peer.entries(1..=200).await;
    assert_eq!(peer.unsubscribe().await.1, ["room:1"]);

    // The rest of the client goes on.
    let (published, ()) = tokio::join!(client.publish(message(1)), async {
        let publish = peer.publish().await;
        peer.published(&publish).await;
    });
    published.unwrap();

    assert_eq!(seqs(&mut slow, 3).await, [1, 2, 3]);
    assert_eq!(peer.accept_one(resumed(200)).await, Some(cursor(4)));
    peer.entries([5, 6]).await;
    assert_eq!(seqs(&mut slow, 3).await, [4, 5, 6]);
    let stats = client.stats();
    assert_eq!((stats.pauses, stats.gaps, stats.duplicates), (1, 0, 0));
}

#[tokio::test]
async fn an_ephemeral_channel_says_how_much_was_dropped() {
    let server = Server::start().await;
    let client = server.client().buffer(2).connect();
    let mut peer = server.welcome().await;
    let answer = Subscribed { channel: "room:1".into(), ..Default::default() };
    let mut slow = subscribed(&client, &mut peer, SubscribeOptions::default(), answer).await;
    let tick = ServerFrame::Entry(Entry { place: None, ..entry(0) });
    peer.say(vec![tick; 10]).await;
    // Answered after all of them were taken.
    let (_, ()) = tokio::join!(client.publish(message(1)), async {
        let publish = peer.publish().await;
        peer.published(&publish).await;
    });
    assert!(matches!(event(&mut slow).await, Some(Event::Entry(_))));
    assert!(matches!(event(&mut slow).await, Some(Event::Entry(_))));
    let Some(Event::Skip(skip)) = event(&mut slow).await else { panic!("no skip") };
    assert_eq!((skip.range, skip.count, skip.reason), (None, 8, SkipReason::Dropped));
    assert_eq!(slow.cursor(), None);
}

#[tokio::test]
async fn a_store_that_went_back_is_announced() {
    let server = Server::start().await;
    let client = server.client().connect();
    let mut peer = server.welcome().await;
    let mut entries = subscribed(&client, &mut peer, SubscribeOptions::default(), durable(9)).await;
    peer.say([ServerFrame::Unsubscribed { channel: channel("room:1"), error: ErrorBody::new(ErrorCode::Resubscribe, "") }]).await;
    let head = Some(Cursor { epoch: 2, seq: 5 });
    let answer = Subscribed { recovered: Some(false), reason: Some(Unrecovered::Epoch), head, ..durable(0) };
    assert_eq!(peer.accept_one(answer.clone()).await, Some(cursor(9)));
    assert_eq!(event(&mut entries).await, Some(Event::Subscribed(answer)));
    assert_eq!(entries.cursor(), head);
    // A seq that the subscriber had before, and of another past now.
    let six = Entry { place: Some(Place { epoch: 2, seq: 6, ordinal: 6 }), ..entry(6) };
    peer.say([ServerFrame::Entry(six.clone())]).await;
    assert_eq!(event(&mut entries).await, Some(Event::Entry(six)));
    assert_eq!(client.stats().gaps, 0);
}

#[tokio::test]
async fn a_resubscribe_comes_after_the_pause_that_the_server_wants() {
    let server = Server::start().await;
    let client = server.client().connect();
    let mut peer = server.welcome().await;
    let mut entries = subscribed(&client, &mut peer, SubscribeOptions::default(), durable(9)).await;
    let start = Instant::now();
    let later = ErrorBody { retry_after: Some(50), ..ErrorBody::new(ErrorCode::Resubscribe, "") };
    peer.say([ServerFrame::Unsubscribed { channel: channel("room:1"), error: later }]).await;
    // What still comes is of the subscription that has ended.
    peer.entries([10]).await;
    assert_eq!(peer.accept_one(resumed(10)).await, Some(cursor(9)));
    assert!(start.elapsed() >= Duration::from_millis(50), "too early");
    peer.entries([10]).await;
    assert_eq!(event(&mut entries).await, Some(Event::Subscribed(resumed(10))));
    assert_eq!(seqs(&mut entries, 1).await, [10]);
    assert_eq!(client.stats().duplicates, 0);
}

#[tokio::test]
async fn the_end_is_told() {
    let server = Server::start().await;
    let client = server.client().connect();
    let mut peer = server.welcome().await;
    let mut entries = subscribed(&client, &mut peer, SubscribeOptions::default(), durable(0)).await;
    let forbidden = ErrorBody::new(ErrorCode::Forbidden, "not any more");
    peer.say([ServerFrame::Unsubscribed { channel: channel("room:1"), error: forbidden.clone() }]).await;
    assert_eq!(event(&mut entries).await, Some(Event::Ended(forbidden)));
    assert_eq!(event(&mut entries).await, None);

    let (refused, _) = tokio::join!(client.subscribe(channel("room:1"), SubscribeOptions::default()), async {
        let error = Some(ErrorBody::new(ErrorCode::NotFound, "gone"));
        peer.accept_one(Subscribed { channel: "room:1".into(), error, ..Default::default() }).await
    });
    assert!(matches!(refused, Err(Error::Server(body)) if body.known() == Some(ErrorCode::NotFound)));
}

#[tokio::test]
async fn dropping_unsubscribes_and_one_may_come_back() {
    let server = Server::start().await;
    let client = server.client().connect();
    let mut peer = server.welcome().await;
    let first = subscribed(&client, &mut peer, SubscribeOptions::default(), durable(0)).await;
    let twice = client.subscribe(channel("room:1"), SubscribeOptions::default()).await;
    assert!(matches!(twice, Err(Error::AlreadySubscribed(name)) if name.as_str() == "room:1"));
    drop(first);
    let second = tokio::spawn({
        let client = client.clone();
        async move { client.subscribe(channel("room:1"), SubscribeOptions::default()).await }
    });
    assert_eq!(peer.unsubscribe().await.1, ["room:1"]);
    peer.accept_one(durable(0)).await;
    let second = soon(second).await.unwrap().unwrap();

    let left = tokio::spawn(second.unsubscribe());
    let (id, channels) = peer.unsubscribe().await;
    assert_eq!(channels, ["room:1"]);
    assert!(!left.is_finished());
    peer.reply(id, &Channels::<Subscribed> { channels: vec![] }).await;
    soon(left).await.unwrap();
}

#[tokio::test]
async fn many_subscriptions_come_back_in_one_frame() {
    let server = Server::start().await;
    let client = server.client().connect();
    let mut peer = server.welcome().await;
    let names: Vec<_> = (0..20).map(|n| channel(&format!("room:{n}"))).collect();
    let asked = futures_util::future::join_all(names.iter().map(|name| client.subscribe(name.clone(), SubscribeOptions::default())));
    let (subscriptions, ()) = tokio::join!(asked, async {
        let mut left = names.len();
        while left > 0 {
            let (id, channels) = peer.subscribe().await;
            left -= channels.len();
            peer.reply(id, &Channels { channels: channels.iter().map(|_| durable(3)).collect() }).await;
        }
    });
    assert!(subscriptions.iter().all(Result::is_ok));
    drop(peer);
    let (_, channels) = server.welcome().await.subscribe().await;
    let resumed: Vec<_> = channels.into_iter().map(|item| (item.channel, item.since)).collect();
    let expected: Vec<_> = names.iter().map(|name| (name.as_str().to_owned(), Some(cursor(3)))).collect();
    assert_eq!(resumed, expected);
}

#[tokio::test]
async fn a_subscription_outlives_its_client_handle() {
    let server = Server::start().await;
    let client = server.client().connect();
    let mut peer = server.welcome().await;
    let mut entries = subscribed(&client, &mut peer, SubscribeOptions::default(), durable(0)).await;
    drop(client);
    peer.entries([1]).await;
    assert_eq!(seqs(&mut entries, 1).await, [1]);
    drop(entries);
    loop {
        match peer.frame().await {
            Ok(frame) => assert!(matches!(frame, hubbub_client::protocol::ClientFrame::Unsubscribe { .. })),
            Err(code) => break assert_eq!(code, 1000),
        }
    }
}
