//! The wire: what is ignored, what is answered with an error, and what ends the connection.

use futures_util::SinkExt;
use hubbub_protocol::{
    ClientFrame, ErrorCode, ServerFrame,
    frame::{Connected, Pong, Published, SubscribeChannel},
};
use tokio_tungstenite::tungstenite::Message;

use crate::support::{Pair, json, publish, refused};

crate::over_every_transport!(
    many_frames_in_one_message,
    unknown_fields_are_ignored,
    an_unknown_frame_is_answered_and_nothing_else_happens,
    a_frame_with_a_wrong_field_is_answered,
);

crate::behind_each_proxy!(many_frames_in_one_message, a_frame_with_a_wrong_field_is_answered,);

// What a socket's messages are; what bodies are is in `browsers`.
mod by_socket {
    use super::{connect_comes_first_and_once, the_other_kind_of_message_ends_the_connection, what_is_no_frame_ends_the_connection};

    crate::on_every_pair!(
        connect_comes_first_and_once,
        what_is_no_frame_ends_the_connection,
        the_other_kind_of_message_ends_the_connection
    );
}

async fn many_frames_in_one_message(pair: Pair) {
    let server = pair.server().await;
    let mut peer = server.open().await;
    let one = SubscribeChannel { channel: "room:1".to_owned(), ..SubscribeChannel::default() };
    let connect = peer.connecting(&server.token("alice"));
    peer.send(&[
        connect,
        ClientFrame::Subscribe { id: 2, channels: vec![one] },
        publish(Some(3), "room:1", "\"hi\"", None, None),
        ClientFrame::Ping { id: 4 },
    ])
    .await;
    let connected: Connected = peer.answer(1).await.unwrap().read().unwrap();
    assert_eq!((connected.user.as_str(), connected.limits.payload, connected.heartbeat), ("alice", 64 << 10, 25_000));
    assert!(connected.time.abs_diff(server.now()) < 10_000);
    peer.answer(2).await.unwrap();
    let published: Published = peer.answer(3).await.unwrap().read().unwrap();
    assert_eq!(published.seq, Some(1));
    let pong: Pong = peer.answer(4).await.unwrap().read().unwrap();
    assert_eq!(json(&peer.entry().await), "hi");
    assert!(pong.time >= connected.time);
}

async fn unknown_fields_are_ignored(pair: Pair) {
    let server = pair.server().await;
    let mut alice = server.peer_in_json("alice").await;
    alice.send_bytes(br#"{"type":"ping","id":7,"later":{"deep":[[[]]]},"id2":null}"#.to_vec()).await;
    alice.answer(7).await.unwrap();
}

async fn an_unknown_frame_is_answered_and_nothing_else_happens(pair: Pair) {
    let server = pair.server().await;
    let mut alice = server.peer_in_json("alice").await;
    alice.send_bytes(br#"{"type":"dance","id":7}{"type":"dance"}{"type":"ping","id":8}"#.to_vec()).await;
    refused(alice.answer(7).await, ErrorCode::UnknownFrame);
    assert!(matches!(alice.next().await, ServerFrame::Error { id: None, error } if error.code == "unknown_frame"));
    alice.answer(8).await.unwrap();
}

async fn a_frame_with_a_wrong_field_is_answered(pair: Pair) {
    let server = pair.server().await;
    let mut alice = server.peer_in_json("alice").await;
    for (frame, code) in [
        (r#"{"type":"publish","id":1,"channel":"room:1"}"#, ErrorCode::BadFrame),
        (r#"{"type":"publish","id":1,"channel":7,"payload":1}"#, ErrorCode::BadFrame),
        (r#"{"type":"publish","id":1,"channel":"a b","payload":1}"#, ErrorCode::ChannelInvalid),
        (r#"{"type":"publish","id":1,"channel":"room:1","key":"","payload":1}"#, ErrorCode::KeyInvalid),
        (r#"{"type":"publish","id":1,"channel":"room:1","message_id":"7","payload":1}"#, ErrorCode::MessageIdInvalid),
        (r#"{"type":"subscribe","id":1}"#, ErrorCode::BadFrame),
        (r#"{"type":"subscribe","id":1,"channels":["room:1"]}"#, ErrorCode::BadFrame),
        (r#"{"type":"subscribe","id":1,"channels":[{"channel":"room:1","slow":"maybe"}]}"#, ErrorCode::BadFrame),
        (r#"{"type":"history","id":1,"channel":"room:1","limit":-1}"#, ErrorCode::BadFrame),
        (r#"{"id":1}"#, ErrorCode::BadFrame),
    ] {
        alice.send_bytes(frame.as_bytes().to_vec()).await;
        refused(alice.answer(1).await, code);
    }
    alice.request(|id| ClientFrame::Ping { id }).await.unwrap();
}

async fn connect_comes_first_and_once(pair: Pair) {
    let server = pair.server().await;
    let mut peer = server.open().await;
    refused(peer.request(|id| ClientFrame::Ping { id }).await, ErrorCode::NotConnected);
    peer.connect(&server.token("alice")).await.unwrap();
    refused(peer.connect(&server.token("alice")).await, ErrorCode::AlreadyConnected);
    peer.request(|id| ClientFrame::Ping { id }).await.unwrap();
}

async fn what_is_no_frame_ends_the_connection(pair: Pair) {
    let server = pair.server().await;
    let nested = |depth: usize| [b"\x81\xa1x".to_vec(), vec![0x91; depth - 1], vec![0xc0]].concat();
    for (bytes, code) in [
        (vec![0xc1], 4400),
        (vec![0x81, 0xa4, b't'], 4400),
        (vec![0xdd, 0xff, 0xff, 0xff, 0xff], 4400),
        (nested(33), 4400),
        (vec![0x80; 257], 4402),
    ] {
        let mut alice = server.peer("alice").await;
        alice.send_bytes(bytes.clone()).await;
        let (disconnect, closed) = alice.closed().await;
        assert_eq!(
            (closed, disconnect.map(|disconnect| disconnect.code)),
            (Some(code), Some(code)),
            "{:02x?}",
            &bytes[..4.min(bytes.len())]
        );
    }
    let mut alice = server.peer("alice").await;
    alice.send_bytes(nested(32)).await;
    assert!(matches!(alice.next().await, ServerFrame::Error { id: None, .. }), "32 is not too deep");
    for text in ["{", "[", "nonsense", &"[".repeat(33)] {
        let mut alice = server.peer_in_json("alice").await;
        alice.send_bytes(text.as_bytes().to_vec()).await;
        assert_eq!(alice.closed().await.1, Some(4400), "{text}");
    }
    let mut alice = server.peer("alice").await;
    alice.send_bytes(vec![0xc0; (1 << 20) + 1]).await;
    assert_eq!(alice.closed().await.1, Some(1009));
}

async fn the_other_kind_of_message_ends_the_connection(pair: Pair) {
    let server = pair.server().await;
    let mut alice = server.peer("alice").await;
    alice.socket().send(Message::Text("{}".into())).await.unwrap();
    assert_eq!(alice.closed().await.1, Some(1003));
    let mut alice = server.peer_in_json("alice").await;
    alice.socket().send(Message::Binary(vec![0x80].into())).await.unwrap();
    assert_eq!(alice.closed().await.1, Some(1003));
}
