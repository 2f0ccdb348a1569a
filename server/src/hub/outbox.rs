//! The bytes that wait to leave on one connection. Every byte of a socket passes here, under one short lock.
//!
//! Write through: whoever delivers appends, and writes the touched sockets directly at the end of its batch ([`Outbox::flush`]);
//! only what the kernel will not take is left for the connection's own task ([`Outbox::poll_drive`]). Nothing here awaits.

use std::{
    collections::VecDeque,
    io::{self, IoSlice},
    sync::{Arc, Mutex, MutexGuard},
    task::{Context, Poll},
};

use bytes::Bytes;
use futures_util::task::AtomicWaker;
use hubbub_protocol::{CloseCode, Cursor, frame::Slow};
use tokio::net::TcpStream;

use super::{Delivery, Standing, Subscription, Wire, latest::Latest};

/// Pieces a write: what a `writev` takes without allocating here.
const PIECES: usize = 64;
/// Slots that an empty queue may keep.
const KEPT: usize = 4;

/// Where the bytes go.
#[derive(Debug)]
pub enum Sink {
    /// A plain socket: written through from any task.
    Socket(TcpStream),
    /// A transport that can be written only by its own task, which takes the bytes ([`Outbox::take`]); it is woken once a batch.
    Task,
}

/// What the connection's own task has to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Drive {
    /// There is room for those that are behind: pull a page for each.
    Room,
    /// Send a heartbeat.
    Beat,
    /// Read nothing more; once the last answer has come, say goodbye with this `reconnect_after` in milliseconds.
    Retire(u64),
    /// It is over: drop the connection.
    Over,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Open,
    /// A Close frame is the last thing in the queue, or was; the code if this side began.
    Closing(Option<CloseCode>),
    Over(Option<CloseCode>),
}

#[derive(Debug)]
struct Inner {
    queue: VecDeque<Bytes>,
    /// Bytes of the first piece that have left.
    written: usize,
    /// Bytes that wait, `latest` included.
    bytes: usize,
    /// The kernel took no more; the connection's task waits for it.
    blocked: bool,
    /// A lane will flush it.
    touched: bool,
    /// Some subscription pulls.
    behind: bool,
    beat: bool,
    retire: Option<u64>,
    phase: Phase,
    latest: Vec<Latest>,
}

/// What a delivery came to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Delivered {
    /// Entries put into the outbox.
    pub entries: usize,
    /// Nobody had promised to flush it: the caller does.
    pub touched: bool,
    /// The bound was reached, and this policy was applied.
    pub overflow: Option<Slow>,
}

/// A step of a catch-up.
#[derive(Debug)]
pub struct Step {
    /// An entry or a skip, sealed for this outbox's wire.
    pub bytes: Bytes,
    /// Where the subscriber is after it.
    pub cursor: Cursor,
}

/// The bounded bytes waiting to leave on one connection.
#[derive(Debug)]
pub struct Outbox {
    inner: Mutex<Inner>,
    waker: AtomicWaker,
    sink: Sink,
    wire: Wire,
    limit: usize,
}

impl Outbox {
    /// An empty outbox that holds at most `limit` bytes.
    pub fn new(sink: Sink, wire: Wire, limit: usize) -> Arc<Self> {
        let inner = Inner {
            queue: VecDeque::new(),
            written: 0,
            bytes: 0,
            blocked: false,
            touched: false,
            behind: false,
            beat: false,
            retire: None,
            phase: Phase::Open,
            latest: Vec::new(),
        };
        Arc::new(Self { inner: Mutex::new(inner), waker: AtomicWaker::new(), sink, wire, limit })
    }

    /// The connection's wire.
    pub fn wire(&self) -> Wire {
        self.wire
    }

    /// Its bound, in bytes.
    pub fn limit(&self) -> usize {
        self.limit
    }

    /// The socket, if it is one.
    pub fn stream(&self) -> Option<&TcpStream> {
        match &self.sink {
            Sink::Socket(stream) => Some(stream),
            Sink::Task => None,
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().expect("nothing panics while it holds an outbox")
    }

    /// Appends bytes that must not be lost: a reply, a pong. At the bound the connection is closed as slow. Flush afterwards.
    pub fn push(&self, bytes: Bytes) {
        let mut inner = self.lock();
        if inner.phase != Phase::Open {
            return;
        }
        inner.append(bytes);
        if inner.bytes > self.limit {
            inner.close(self.wire, CloseCode::SlowConsumer, None);
            self.waker.wake();
        }
    }

    /// Delivers `group`, the next entries of the subscription's channel. Never blocks, never writes.
    pub fn deliver(&self, subscription: &Arc<Subscription>, group: &[Arc<Delivery>]) -> Delivered {
        let mut delivered = Delivered::default();
        let mut inner = self.lock();
        if inner.phase != Phase::Open {
            return delivered;
        }
        match subscription.standing() {
            Standing::Live => {}
            Standing::Joining => {
                // What comes before the reply is pulled after it, if it can be pulled.
                if group.iter().any(|delivery| delivery.seq() > subscription.cursor().seq) {
                    subscription.stand(Standing::Behind);
                }
                return delivered;
            }
            Standing::Behind | Standing::Ended => return delivered,
        }
        if subscription.slow == Slow::Latest && inner.blocked {
            delivered.overflow = inner.supersede(self, subscription, group);
            return delivered;
        }
        inner.queue.reserve(group.len());
        for delivery in group {
            if let Some(cursor) = delivery.entry.cursor() {
                let seen = subscription.cursor().seq;
                if cursor.seq <= seen {
                    continue;
                }
                if cursor.seq != seen + 1 {
                    // Not live after all: it lacks something, and pulls it.
                    inner.fall_behind(subscription);
                    self.waker.wake();
                    return delivered;
                }
                subscription.seek(cursor);
            }
            inner.append(delivery.sealed(self.wire).clone());
            delivered.entries += 1;
        }
        if inner.bytes > self.limit {
            delivered.overflow = Some(Slow::Close);
            inner.close(self.wire, CloseCode::SlowConsumer, None);
            self.waker.wake();
        }
        delivered.touched = !std::mem::replace(&mut inner.touched, true);
        delivered
    }

    /// Ends the time between joining and the reply: now entries may be pushed. Returns whether the subscription lacks some.
    pub fn activate(&self, subscription: &Subscription) -> bool {
        let mut inner = self.lock();
        match subscription.standing() {
            Standing::Joining => subscription.stand(Standing::Live),
            Standing::Behind => inner.behind = true,
            Standing::Live | Standing::Ended => {}
        }
        inner.behind
    }

    /// Makes a subscription that has not been activated pull from `cursor`.
    pub fn pull_from(&self, subscription: &Subscription, cursor: Cursor) {
        let _inner = self.lock();
        if subscription.standing() != Standing::Ended {
            subscription.seek(cursor);
            subscription.stand(Standing::Behind);
        }
    }

    /// Appends a page of a catch-up; `live` if the subscription's cursor then stands at the feed's position.
    /// Ignored, as a whole, if the subscription does not stand at `from`, or has ended.
    pub fn advance(&self, subscription: &Subscription, from: Cursor, steps: Vec<Step>, live: Live) {
        let mut inner = self.lock();
        if inner.phase != Phase::Open || subscription.standing() != Standing::Behind || subscription.cursor() != from {
            return;
        }
        for step in steps {
            inner.append(step.bytes);
            subscription.seek(step.cursor);
        }
        match live {
            Live::Yes => subscription.stand(Standing::Live),
            Live::NotYet => inner.behind = true,
        }
    }

    /// Nothing of the subscription's channel is put into the outbox after this.
    pub fn end(&self, subscription: &Subscription) {
        let mut inner = self.lock();
        subscription.stand(Standing::Ended);
        if let Some(at) = inner.latest.iter().position(|latest| latest.is_for(subscription)) {
            let latest = inner.latest.swap_remove(at);
            inner.bytes -= latest.bytes();
        }
    }

    /// Writes what waits, if the kernel takes it.
    pub fn flush(&self) {
        let mut inner = self.lock();
        inner.touched = false;
        match &self.sink {
            Sink::Socket(stream) => {
                if inner.write(stream, self.wire) == Written::Stuck {
                    self.waker.wake();
                }
            }
            Sink::Task => {
                if !inner.queue.is_empty() {
                    self.waker.wake();
                }
            }
        }
    }

    /// What a [`Sink::Task`] transport writes next. `stuck` tells whether it can take more soon.
    pub fn take(&self) -> Vec<Bytes> {
        let mut inner = self.lock();
        inner.blocked = false;
        inner.release_latest(self.wire);
        inner.bytes = 0;
        inner.queue.drain(..).collect()
    }

    /// Tells that a [`Sink::Task`] transport cannot write now.
    pub fn stuck(&self) {
        self.lock().blocked = true;
    }

    /// Asks for [`Drive::Room`] once there is room.
    pub fn wait_for_room(&self) {
        self.lock().behind = true;
    }

    /// Asks the connection's task for a heartbeat.
    pub fn beat(&self) {
        self.lock().beat = true;
        self.waker.wake();
    }

    /// Asks the connection's task to end it in peace.
    pub fn retire(&self, reconnect_after: u64) {
        self.lock().retire = Some(reconnect_after);
        self.waker.wake();
    }

    /// Says goodbye after everything that waits, and takes nothing more.
    pub fn close(&self, code: CloseCode, reconnect_after: Option<u64>) {
        let mut inner = self.lock();
        if inner.phase != Phase::Open {
            return;
        }
        inner.finish(self.wire, self.wire.goodbye(code, reconnect_after), Some(code));
        drop(inner);
        self.flush();
        self.waker.wake();
    }

    /// Answers the peer's Close with `close`, a Close frame, after everything that waits, and takes nothing more. Flush afterwards.
    pub fn answer_close(&self, close: Bytes) {
        let mut inner = self.lock();
        if inner.phase == Phase::Open {
            inner.finish(self.wire, [close], None);
        }
    }

    /// The connection is over at once.
    pub fn abort(&self, code: Option<CloseCode>) {
        let mut inner = self.lock();
        if !matches!(inner.phase, Phase::Over(_)) {
            inner.over(code);
        }
        self.waker.wake();
    }

    /// Whether nothing can be put in any more.
    pub fn is_closing(&self) -> bool {
        self.lock().phase != Phase::Open
    }

    /// Why this side closed, if it did.
    pub fn code(&self) -> Option<CloseCode> {
        self.lock().code()
    }

    /// Whether everything has left.
    pub fn is_empty(&self) -> bool {
        self.lock().queue.is_empty()
    }

    /// What waits, in bytes.
    pub fn bytes(&self) -> usize {
        self.lock().bytes
    }

    /// Drives the connection's own part: waits for the kernel where it took no more, and tells what else is to be done.
    pub fn poll_drive(&self, cx: &mut Context<'_>) -> Poll<Drive> {
        self.waker.register(cx.waker());
        let mut inner = self.lock();
        if let Sink::Socket(stream) = &self.sink {
            while inner.blocked && !matches!(inner.phase, Phase::Over(_)) {
                match stream.poll_write_ready(cx) {
                    Poll::Ready(Ok(())) => {
                        inner.blocked = false;
                        inner.write(stream, self.wire);
                    }
                    Poll::Ready(Err(_)) => inner.over(None),
                    Poll::Pending => break,
                }
            }
        }
        if matches!(inner.phase, Phase::Over(_)) {
            return Poll::Ready(Drive::Over);
        }
        if inner.phase == Phase::Open {
            if let Some(reconnect_after) = inner.retire.take() {
                return Poll::Ready(Drive::Retire(reconnect_after));
            }
            if std::mem::take(&mut inner.beat) {
                return Poll::Ready(Drive::Beat);
            }
            if inner.behind && inner.bytes <= self.limit / 4 {
                inner.behind = false;
                return Poll::Ready(Drive::Room);
            }
        }
        Poll::Pending
    }
}

/// Whether a catch-up has reached the feed's position.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Live {
    /// It has: what comes next is pushed.
    Yes,
    /// It goes on pulling.
    NotYet,
}

#[derive(PartialEq, Eq)]
enum Written {
    All,
    Stuck,
}

impl Inner {
    fn append(&mut self, bytes: Bytes) {
        self.bytes += bytes.len();
        self.queue.push_back(bytes);
    }

    fn code(&self) -> Option<CloseCode> {
        match self.phase {
            Phase::Open => None,
            Phase::Closing(code) | Phase::Over(code) => code,
        }
    }

    fn fall_behind(&mut self, subscription: &Subscription) {
        subscription.stand(Standing::Behind);
        self.behind = true;
    }

    /// `latest` while the kernel takes no more: a durable channel is pulled later, of an ephemeral one the newest are kept here.
    fn supersede(&mut self, outbox: &Outbox, subscription: &Arc<Subscription>, group: &[Arc<Delivery>]) -> Option<Slow> {
        if group.iter().any(|delivery| delivery.entry.place.is_some()) {
            self.fall_behind(subscription);
            return Some(Slow::Latest);
        }
        let at = self.latest.iter().position(|latest| latest.is_for(subscription)).unwrap_or_else(|| {
            self.latest.push(Latest::new(subscription.clone()));
            self.latest.len() - 1
        });
        for delivery in group {
            let change = self.latest[at].put(outbox.wire, delivery.clone());
            self.bytes = self.bytes.saturating_add_signed(change);
        }
        while self.bytes > outbox.limit {
            match self.latest[at].drop_oldest(outbox.wire) {
                0 => break,
                bytes => self.bytes -= bytes,
            }
        }
        Some(Slow::Latest)
    }

    fn release_latest(&mut self, wire: Wire) {
        for latest in std::mem::take(&mut self.latest) {
            self.bytes -= latest.bytes();
            for bytes in latest.release(wire) {
                self.append(bytes);
            }
        }
    }

    /// Drops what waits, but for a piece that has partly left, and says goodbye.
    fn close(&mut self, wire: Wire, code: CloseCode, reconnect_after: Option<u64>) {
        self.queue.truncate(usize::from(self.written > 0));
        self.latest = Vec::new();
        self.bytes = self.queue.front().map_or(0, |piece| piece.len() - self.written);
        self.finish(wire, wire.goodbye(code, reconnect_after), Some(code));
    }

    /// Appends the last that is said. What `latest` holds back precedes it: nothing follows a Close frame (RFC 6455 section 5.5.1).
    fn finish(&mut self, wire: Wire, last: impl IntoIterator<Item = Bytes>, code: Option<CloseCode>) {
        self.release_latest(wire);
        for bytes in last {
            self.append(bytes);
        }
        self.phase = Phase::Closing(code);
    }

    fn over(&mut self, code: Option<CloseCode>) {
        self.phase = Phase::Over(code.or(self.code()));
        self.queue = VecDeque::new();
        self.latest = Vec::new();
        self.bytes = 0;
    }

    fn write(&mut self, stream: &TcpStream, wire: Wire) -> Written {
        if self.blocked {
            return Written::All;
        }
        loop {
            if self.queue.is_empty() {
                if self.latest.is_empty() {
                    break;
                }
                self.release_latest(wire);
            }
            match self.write_once(stream) {
                Ok(bytes) => self.left(bytes),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.blocked = true;
                    return Written::Stuck;
                }
                Err(_) => {
                    self.over(None);
                    return Written::Stuck;
                }
            }
        }
        if self.queue.capacity() > KEPT {
            self.queue = VecDeque::new();
        }
        Written::All
    }

    fn write_once(&self, stream: &TcpStream) -> io::Result<usize> {
        if self.queue.len() == 1 {
            return stream.try_write(&self.queue[0][self.written..]);
        }
        let mut pieces = [IoSlice::new(&[]); PIECES];
        let mut count = 0;
        for (piece, bytes) in pieces.iter_mut().zip(&self.queue) {
            *piece = IoSlice::new(if count == 0 { &bytes[self.written..] } else { bytes });
            count += 1;
        }
        stream.try_write_vectored(&pieces[..count])
    }

    /// `bytes` have left.
    fn left(&mut self, mut bytes: usize) {
        self.bytes -= bytes;
        while bytes > 0 {
            let rest = self.queue[0].len() - self.written;
            if bytes < rest {
                self.written += bytes;
                return;
            }
            bytes -= rest;
            self.written = 0;
            self.queue.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
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
}
