//! What leaves last, and what never does.

use hubbub_protocol::{ChannelName, Entry, Format, Kind};

use super::*;
use crate::hub::close;

const WIRE: Wire = Wire::Socket(Format::Json);

impl Outbox {
    /// Takes everything that waits as what has left.
    pub(crate) fn take(&self) -> Vec<Bytes> {
        let mut inner = self.lock();
        inner.release_latest(self.wire, usize::MAX);
        let pieces = inner.take();
        inner.arrived();
        (inner.blocked, inner.full) = (false, false);
        pieces
    }

    /// The peer reads nothing.
    pub(crate) fn stuck(&self) {
        self.lock().blocked = true;
    }
}

fn outbox() -> Arc<Outbox> {
    Outbox::new(Sink::task(), WIRE, 1 << 10)
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
        refers: None,
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

/// Bytes that are on their way count until the transport comes back for more, and until then the peer does not read.
#[test]
fn what_is_taken_counts_until_it_has_left() {
    let outbox = outbox();
    let subscription = subscribe(&outbox);
    let (held, newer) = (tick(1), tick(2));
    outbox.deliver(&subscription, std::slice::from_ref(&held));
    let mut cx = Context::from_waker(std::task::Waker::noop());
    assert_eq!(outbox.poll_take(&mut cx, |pieces| pieces), Poll::Ready(Some(vec![held.sealed(WIRE).clone()])));
    assert_eq!(outbox.bytes(), held.sealed(WIRE).len());
    // What comes meanwhile can be superseded.
    outbox.deliver(&subscription, &[held]);
    outbox.deliver(&subscription, std::slice::from_ref(&newer));
    let Poll::Ready(Some(pieces)) = outbox.poll_take(&mut cx, |pieces| pieces) else { panic!("nothing waits") };
    assert_eq!(pieces.last(), Some(newer.sealed(WIRE)));
    assert_eq!(outbox.poll_take(&mut cx, |pieces| pieces), Poll::Pending);
    assert_eq!(outbox.bytes(), 0);
    outbox.close(CloseCode::Draining, None);
    assert!(matches!(outbox.poll_take(&mut cx, |pieces| pieces.len()), Poll::Ready(Some(2))));
    assert_eq!(outbox.poll_take(&mut cx, |pieces| pieces), Poll::Ready(None));
}

/// A burst that comes before the transport had its turn closes nobody; a second one, which it did not take, does.
#[test]
fn twice_as_much_may_wait_for_a_transport_that_takes_what_there_is() {
    let close = || Subscription::new(ChannelName::parse("ticks").unwrap(), outbox(), Slow::Close);
    let (subscription, large) = (close(), tick(1));
    let outbox = subscription.outbox.clone();
    outbox.activate(&subscription);
    let fits = outbox.limit() / large.sealed(WIRE).len();
    let burst = vec![large; fits * 3 / 2];
    assert_eq!(outbox.deliver(&subscription, &burst).entries, burst.len());
    let mut cx = Context::from_waker(std::task::Waker::noop());
    assert!(outbox.poll_take(&mut cx, |pieces| pieces).is_ready());
    assert_eq!(outbox.deliver(&subscription, &burst).overflow, Some(Slow::Close));
    assert!(outbox.is_closing());
}

/// Between two polls what was taken is on its way: what may be left out is not, as long as there is room.
#[test]
fn what_may_be_left_out_is_not_while_a_batch_is_on_its_way() {
    let outbox = outbox();
    let subscription = subscribe(&outbox);
    outbox.push(Bytes::from_static(b"first"));
    let mut cx = Context::from_waker(std::task::Waker::noop());
    assert!(outbox.poll_take(&mut cx, |pieces| pieces).is_ready());
    assert!(matches!(outbox.offer(&subscription, Bytes::from_static(b"news")), Offered::Taken { .. }));
    outbox.stuck();
    outbox.departed(usize::MAX);
    outbox.stuck();
    assert_eq!(outbox.offer(&subscription, Bytes::from_static(b"news")), Offered::NoRoom);
}
