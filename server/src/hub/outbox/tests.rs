//! What leaves last, and what never does.

use hubbub_protocol::{ChannelName, Entry, Format, Kind};

use super::*;
use crate::hub::close;

const WIRE: Wire = Wire::Socket(Format::Json);

fn outbox() -> Arc<Outbox> {
    Outbox::new(Sink::Task, WIRE, 1 << 10)
}

fn subscribe(outbox: &Arc<Outbox>) -> Arc<Subscription> {
    let subscription = Subscription::new(ChannelName::parse("ticks").unwrap(), outbox.clone(), Slow::Latest);
    outbox.activate(&subscription);
    subscription
}

fn tick(time: u64) -> Arc<Delivery> {
    Delivery::new(Arc::new(Entry {
        channel: ChannelName::parse("ticks").unwrap(),
        place: None,
        kind: Kind::Message,
        message_id: None,
        publisher: "clock".into(),
        key: None,
        time,
        payload: Bytes::from_static(&[0xc0]),
    }))
}

#[test]
fn nothing_follows_a_close_frame() {
    let answered = outbox();
    answered.answer_close(close(CloseCode::Normal));
    answered.push(WIRE.ping());
    answered.close(CloseCode::Draining, None);
    answered.deliver(&subscribe(&answered), &[tick(1)]);
    assert_eq!(answered.take(), [close(CloseCode::Normal)]);
    assert_eq!(answered.code(), None, "the peer began");

    let closed = outbox();
    closed.close(CloseCode::TooLarge, None);
    closed.answer_close(close(CloseCode::Normal));
    assert_eq!(closed.take(), [close(CloseCode::TooLarge)]);
    assert_eq!(closed.code(), Some(CloseCode::TooLarge));
}

#[test]
fn what_latest_holds_back_precedes_the_goodbye() {
    let outbox = outbox();
    let subscription = subscribe(&outbox);
    outbox.stuck();
    let held = tick(1);
    outbox.deliver(&subscription, std::slice::from_ref(&held));
    outbox.close(CloseCode::TooLarge, None);
    assert_eq!(outbox.take(), [held.sealed(WIRE).clone(), close(CloseCode::TooLarge)]);
}

#[tokio::test]
async fn a_broken_socket_holds_nothing_back() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut peer = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    let (stream, _) = listener.accept().await.unwrap();
    let outbox = Outbox::new(Sink::Socket(stream), WIRE, 64 << 20);
    let subscription = subscribe(&outbox);
    while !outbox.lock().blocked {
        outbox.push(Bytes::from_static(&[0; 1 << 16]));
        outbox.flush();
    }
    outbox.deliver(&subscription, &[tick(1)]);
    socket2::SockRef::from(&peer).set_linger(Some(std::time::Duration::ZERO)).unwrap();
    tokio::io::AsyncWriteExt::write_all(&mut peer, b"reset").await.unwrap();
    drop(peer);
    assert_eq!(std::future::poll_fn(|cx| outbox.poll_drive(cx)).await, Drive::Over);
    assert_eq!(outbox.bytes(), 0);
    outbox.end(&subscription);
    assert_eq!(Arc::strong_count(&subscription), 1);
}
