//! Publishes: one id whatever happens, one order, and an honest end.

mod support;

use std::time::Duration;

use hubbub_client::{
    Error, ErrorBody, ErrorCode, HistoryOptions, PayloadError,
    protocol::{
        ClientFrame, ServerFrame,
        encode::{self, HistoryRest},
    },
};
use support::*;

#[tokio::test]
async fn a_cut_connection_costs_neither_message_nor_order() {
    let server = Server::start().await;
    let client = server.client().connect();
    let mut peer = server.welcome().await;
    let publishes = tokio::spawn({
        let client = client.clone();
        async move { futures_util::future::join_all((0..5).map(|n| client.publish(message(n)))).await }
    });
    let mut first = Vec::new();
    for _ in 0..5 {
        first.push(peer.publish().await);
    }
    let payloads: Vec<u8> = first.iter().map(|publish| publish.payload[0]).collect();
    assert_eq!(payloads, [0, 1, 2, 3, 4]);
    assert!(first.iter().all(|publish| publish.message_id.unwrap().unix_ms().abs_diff(NOW) < 5_000));
    peer.published(&first[1]).await;
    // The answer has arrived when another one has.
    let (pong, ()) = tokio::join!(client.ping(), async {
        let Ok(ClientFrame::Ping { id }) = peer.frame().await else { panic!("no ping") };
        peer.reply(id, &hubbub_client::protocol::frame::Pong { time: NOW }).await;
    });
    pong.unwrap();
    drop(peer);

    let mut peer = server.welcome().await;
    for n in [0, 2, 3, 4] {
        let again = peer.publish().await;
        assert_eq!((again.message_id, &again.payload), (first[n].message_id, &first[n].payload));
        peer.published(&again).await;
    }
    for (n, published) in soon(publishes).await.unwrap().into_iter().enumerate() {
        assert_eq!(Some(published.unwrap().message_id), first[n].message_id);
    }
    assert_eq!(client.stats().publishes_retried, 4);
}

#[tokio::test]
async fn a_doubtful_answer_is_asked_again_with_the_same_id() {
    let server = Server::start().await;
    let client = server.client().connect();
    let mut peer = server.welcome().await;
    let publish = tokio::spawn({
        let client = client.clone();
        async move { client.publish(message(1)).await }
    });
    let mut ids = Vec::new();
    for code in [ErrorCode::Unknown, ErrorCode::Unknown, ErrorCode::Overloaded] {
        let publish = peer.publish().await;
        ids.push(publish.message_id);
        peer.say([ServerFrame::Error { id: publish.id, error: ErrorBody::new(code, "") }]).await;
    }
    let last = peer.publish().await;
    peer.published(&last).await;
    assert!(ids.iter().all(|id| *id == last.message_id));
    soon(publish).await.unwrap().unwrap();
}

#[tokio::test]
async fn an_unknown_outcome_is_said_to_be_one() {
    let server = Server::start().await;
    let client = server.client().publish_timeout(Duration::from_millis(100)).connect();
    let mut peer = server.welcome().await;
    let (outcome, sent) = tokio::join!(client.publish(message(1)), peer.publish());
    assert!(matches!(outcome, Err(Error::Timeout { message_id }) if Some(message_id) == sent.message_id));
    let again = message(1).message_id(sent.message_id.unwrap());
    let (outcome, ()) = tokio::join!(client.publish(again), async {
        let publish = peer.publish().await;
        assert_eq!(publish.message_id, sent.message_id);
        peer.published(&publish).await;
    });
    outcome.unwrap();
}

#[tokio::test]
async fn without_a_connection_nothing_was_sent() {
    let server = Server::start().await;
    let client = server.client().publish_timeout(Duration::from_millis(20)).connect();
    assert!(matches!(soon(client.publish(message(1))).await, Err(Error::Unsent)));
}

#[tokio::test]
async fn what_would_break_the_frame_is_not_sent() {
    let server = Server::start().await;
    let client = server.client().connect();
    let broken = hubbub_client::Message::new(channel("room:1"), vec![0x92, 0x01].into());
    assert!(matches!(client.publish(broken).await, Err(Error::Payload(PayloadError::Malformed))));
}

#[tokio::test]
async fn more_than_may_be_outstanding_wait_their_turn() {
    const MORE: usize = 5_000;
    let server = Server::start().await;
    let client = server.client().connect();
    let mut peer = server.welcome().await;
    let publishes = tokio::spawn({
        let client = client.clone();
        let numbered = move |n: usize| {
            let client = client.clone();
            let payload = [&[0xcd][..], &(n as u16).to_be_bytes()].concat();
            async move { client.publish(hubbub_client::Message::new(channel("room:1"), payload.into())).await }
        };
        futures_util::future::join_all((0..MORE).map(numbered))
    });
    for n in 0..MORE {
        let publish = peer.publish().await;
        assert_eq!(publish.payload[1..], (n as u16).to_be_bytes());
        peer.published(&publish).await;
    }
    assert!(soon(publishes).await.unwrap().into_iter().all(|published| published.is_ok()));
}

#[tokio::test]
async fn history_is_a_page() {
    let server = Server::start().await;
    let client = server.client().connect();
    let mut peer = server.welcome().await;
    let options = HistoryOptions { after: Some(3), limit: Some(2), ..Default::default() };
    let (page, ()) = tokio::join!(client.history(channel("room:1"), options), async {
        let Ok(ClientFrame::History(history)) = peer.frame().await else { panic!("no history") };
        assert_eq!((history.after, history.before, history.limit), (Some(3), None, Some(2)));
        let rest = HistoryRest { head: cursor(9), first: 1, more: true };
        let mut bytes = Vec::new();
        encode::history_reply(hubbub_client::Format::Msgpack, history.id, rest, [entry(4), entry(5)].iter(), &mut bytes);
        peer.message(bytes).await;
    });
    let page = page.unwrap();
    assert_eq!((page.entries, page.head, page.more), (vec![entry(4), entry(5)], cursor(9), true));

    let (cut, ()) = tokio::join!(client.history(channel("room:1"), options), async {
        peer.frame().await.unwrap();
        drop(peer);
    });
    assert!(matches!(cut, Err(Error::Transport(_))));
}
