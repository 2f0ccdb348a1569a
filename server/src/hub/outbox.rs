//! The bytes that wait to leave on one connection. Every byte of a socket passes here, under one short lock.
//!
//! Write through: whoever delivers appends, and writes the touched sockets directly at the end of its batch ([`Outbox::flush`]);
//! only what the kernel will not take is left for the connection's own task ([`Outbox::poll_drive`]). Nothing here awaits.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard},
    task::{Context, Poll},
};

use bytes::Bytes;
use futures_util::task::AtomicWaker;
use hubbub_protocol::{CloseCode, Cursor, frame::Slow};
use tokio::net::TcpStream;

use super::{
    Delivery, Standing, Subscription, Wire,
    queue::{Phase, Queue, RELEASED, Written},
};

/// Where the bytes go.
#[derive(Debug)]
pub enum Sink {
    /// A plain socket: written through from any task.
    Socket(TcpStream),
    /// A transport that can be written only by its own task, which takes the bytes ([`Outbox::poll_take`]); it is woken once a batch.
    Task(AtomicWaker),
}

impl Sink {
    /// A transport that is written by its own task.
    pub fn task() -> Self {
        Sink::Task(AtomicWaker::new())
    }
}

/// What the connection's own task has to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Drive {
    /// There is room for those that are behind: pull a page for each.
    Room,
    /// Send a heartbeat.
    Beat,
    /// Rights may have changed: look whether every subscription is still allowed.
    Review,
    /// Read nothing more; once the last answer has come, say goodbye with this `reconnect_after` in milliseconds.
    Retire(u64),
    /// It is over: drop the connection.
    Over,
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

/// What became of bytes that may be left out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Offered {
    /// They are in the outbox.
    Taken {
        /// Nobody had promised to flush it: the caller does.
        flush: bool,
    },
    /// The peer does not read, or too much waits already.
    NoRoom,
    /// The subscription has ended, or the connection.
    Over,
}

/// A step of a catch-up.
#[derive(Debug)]
pub struct Step {
    /// An entry or a skip, sealed for this outbox's wire.
    pub bytes: Bytes,
    /// Where the subscriber is after it.
    pub cursor: Cursor,
    /// It is a skip.
    pub skips: bool,
}

/// The bounded bytes waiting to leave on one connection.
#[derive(Debug)]
pub struct Outbox {
    inner: Mutex<Queue>,
    pub(super) waker: AtomicWaker,
    pub(super) sink: Sink,
    pub(super) wire: Wire,
    pub(super) limit: usize,
}

impl Outbox {
    /// An empty outbox that holds at most `limit` bytes.
    pub fn new(sink: Sink, wire: Wire, limit: usize) -> Arc<Self> {
        let inner = Queue {
            queue: VecDeque::new(),
            written: 0,
            taken: 0,
            bytes: 0,
            blocked: false,
            touched: false,
            behind: false,
            full: false,
            moved: false,
            beat: false,
            review: false,
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
            Sink::Task(_) => None,
        }
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, Queue> {
        self.inner.lock().expect("nothing panics while it holds an outbox")
    }

    /// Appends bytes that must not be lost: a reply, a pong. At the bound the connection is closed as slow. Flush afterwards.
    pub fn push(&self, bytes: Bytes) {
        self.push_all([bytes], || {});
    }

    /// Appends several of these, and calls `also` under the same lock: whoever takes bytes finds all of it, or nothing.
    pub fn push_all(&self, pieces: impl IntoIterator<Item = Bytes>, also: impl FnOnce()) {
        let mut inner = self.lock();
        for bytes in pieces {
            if inner.phase != Phase::Open {
                return;
            }
            if inner.has_room(self, Slow::Close, bytes.len()) {
                inner.append(bytes);
            } else {
                inner.close(self.wire, CloseCode::SlowConsumer, None);
                self.wake();
            }
        }
        also();
    }

    /// Delivers `group`, the next entries of the subscription's channel. Never blocks, and writes only where the bound is reached.
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
        if subscription.slow == Slow::Latest && (inner.blocked || inner.holds_back(subscription)) {
            inner.supersede(self, subscription, group);
            delivered.overflow = Some(Slow::Latest);
            return delivered;
        }
        inner.queue.reserve(group.len());
        for (at, delivery) in group.iter().enumerate() {
            let seen = subscription.cursor().seq;
            let cursor = delivery.entry.cursor();
            match cursor {
                Some(cursor) if cursor.seq <= seen => continue,
                Some(cursor) if cursor.seq != seen + 1 => {
                    // Not live after all: it lacks something, and pulls it.
                    inner.fall_behind(subscription);
                    self.waker.wake();
                    break;
                }
                _ => {}
            }
            let bytes = delivery.sealed(self.wire).clone();
            if !inner.has_room(self, subscription.slow, bytes.len()) {
                match subscription.slow {
                    // What can be pulled is pulled when there is room: a burst closes nobody who reads.
                    Slow::Close if cursor.is_some() => {
                        inner.fall_behind(subscription);
                        inner.full = true;
                    }
                    Slow::Close if inner.may_overdraw(self, bytes.len()) => {
                        inner.append(bytes);
                        delivered.entries += 1;
                        continue;
                    }
                    Slow::Close => {
                        inner.close(self.wire, CloseCode::SlowConsumer, None);
                        self.wake();
                    }
                    Slow::Latest => inner.supersede(self, subscription, &group[at..]),
                }
                delivered.overflow = Some(subscription.slow);
                break;
            }
            if let Some(cursor) = cursor {
                subscription.seek(cursor);
            }
            inner.append(bytes);
            delivered.entries += 1;
        }
        delivered.touched = !std::mem::replace(&mut inner.touched, true);
        delivered
    }

    /// Appends bytes of the subscription's channel that are not an entry and may be left out: never more than half of the outbox, and
    /// nothing while the peer does not read. Writes only where the bound is reached.
    pub fn offer(&self, subscription: &Subscription, bytes: Bytes) -> Offered {
        let mut inner = self.lock();
        if inner.phase != Phase::Open || subscription.standing() == Standing::Ended {
            return Offered::Over;
        }
        // What its own transport has taken may still be read: between two polls nobody is slow.
        let unread = inner.blocked && inner.taken == 0;
        if unread || !inner.has_room(self, Slow::Latest, bytes.len()) {
            return Offered::NoRoom;
        }
        inner.append(bytes);
        Offered::Taken { flush: !std::mem::replace(&mut inner.touched, true) }
    }

    /// Ends the time between joining and the reply: now entries may be pushed, or pulled if it lacks some.
    pub fn activate(&self, subscription: &Subscription) {
        let mut inner = self.lock();
        match subscription.standing() {
            Standing::Joining => subscription.stand(Standing::Live),
            Standing::Behind => inner.behind = true,
            Standing::Live | Standing::Ended => {}
        }
    }

    /// Makes a subscription that has not been activated begin after `cursor`. What lies between it and where the subscription joined
    /// is pulled; what the client has seen before the feed did is not sent again.
    pub fn begin_after(&self, subscription: &Subscription, cursor: Cursor) {
        let _inner = self.lock();
        if subscription.standing() != Standing::Ended {
            if cursor.seq < subscription.cursor().seq {
                subscription.stand(Standing::Behind);
            }
            subscription.seek(cursor);
        }
    }

    /// The subscription's cursor if it is live and moved since the last call: for `heads`.
    pub fn moved(&self, subscription: &Subscription) -> Option<Cursor> {
        let _inner = self.lock();
        (subscription.standing() == Standing::Live).then(|| subscription.moved()).flatten()
    }

    /// Appends a page of a catch-up; `live` if the subscription's cursor then stands at the feed's position.
    /// Ignored, as a whole, if the subscription does not stand at `from` (then it pulls again), or is not behind.
    pub fn advance(&self, subscription: &Subscription, from: Cursor, steps: Vec<Step>, live: Live) {
        let mut inner = self.lock();
        if inner.phase != Phase::Open || subscription.standing() != Standing::Behind {
            return;
        }
        if subscription.cursor() != from {
            inner.behind = true;
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

    /// Writes what waits, if the kernel takes it.
    pub fn flush(&self) {
        let mut inner = self.lock();
        inner.touched = false;
        match &self.sink {
            Sink::Socket(stream) => {
                // Whoever wrote, it is the connection's task that hands out the room.
                if inner.write(stream, self.wire) == Written::Stuck || inner.wants_room(self.limit) {
                    self.waker.wake();
                }
            }
            Sink::Task(writer) => {
                if !inner.queue.is_empty() || inner.phase != Phase::Open {
                    writer.wake();
                }
            }
        }
    }

    /// Wakes the connection's task, and whoever writes for it.
    fn wake(&self) {
        self.waker.wake();
        if let Sink::Task(writer) = &self.sink {
            writer.wake();
        }
    }

    /// What a [`Sink::Task`] transport writes next: everything that waits. Until the next call it counts as on its way, and the peer as one that
    /// does not read, as far as [`Outbox::departed`] does not tell otherwise. `also` is called with it, under the same lock: what it sees of subscriptions is what the bytes tell. `None`: it is
    /// over, and nothing follows.
    pub fn poll_take<T>(&self, cx: &mut Context<'_>, also: impl FnOnce(Vec<Bytes>) -> T) -> Poll<Option<T>> {
        let Sink::Task(writer) = &self.sink else { return Poll::Ready(None) };
        writer.register(cx.waker());
        let mut inner = self.lock();
        inner.arrived();
        if inner.queue.is_empty() {
            inner.release_latest(self.wire, RELEASED);
        }
        if inner.wants_room(self.limit) {
            self.waker.wake();
        }
        if inner.queue.is_empty() {
            return if inner.phase == Phase::Open { Poll::Pending } else { Poll::Ready(None) };
        }
        Poll::Ready(Some(also(inner.take())))
    }

    /// `bytes` of what was taken last have left.
    pub fn departed(&self, bytes: usize) {
        let mut inner = self.lock();
        inner.departed(bytes);
        if inner.wants_room(self.limit) {
            self.waker.wake();
        }
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

    /// Asks the connection's task to look at its rights again.
    pub fn review(&self) {
        self.lock().review = true;
        self.waker.wake();
    }

    /// Asks the connection's task to end it in peace.
    pub fn retire(&self, reconnect_after: u64) {
        self.lock().retire = Some(reconnect_after);
        self.waker.wake();
    }

    /// Says goodbye after everything that waits, and takes nothing more.
    pub fn close(&self, code: CloseCode, reconnect_after: Option<u64>) {
        self.close_if_open(code, reconnect_after);
    }

    /// The same; whether it was open until now.
    pub fn close_if_open(&self, code: CloseCode, reconnect_after: Option<u64>) -> bool {
        let mut inner = self.lock();
        if inner.phase != Phase::Open {
            return false;
        }
        inner.finish(self.wire, self.wire.goodbye(code, reconnect_after), Some(code));
        drop(inner);
        self.flush();
        self.waker.wake();
        true
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
        self.wake();
    }

    /// Whether nothing can be put in any more.
    pub fn is_closing(&self) -> bool {
        self.lock().phase != Phase::Open
    }

    /// Why this side closed, if it did.
    pub fn code(&self) -> Option<CloseCode> {
        self.lock().code()
    }

    /// Whether a subscriber under the policy `close` waits for room, and nothing has left since the last call.
    pub fn is_stalled(&self) -> bool {
        let mut inner = self.lock();
        let moved = std::mem::take(&mut inner.moved);
        inner.full && inner.blocked && !moved
    }

    /// The peer has stalled for too long: what waits is dropped, and it is told goodbye if it ever reads.
    pub fn give_up(&self) {
        self.lock().close(self.wire, CloseCode::SlowConsumer, None);
        self.flush();
        self.waker.wake();
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
            if std::mem::take(&mut inner.review) {
                return Poll::Ready(Drive::Review);
            }
            if std::mem::take(&mut inner.beat) {
                return Poll::Ready(Drive::Beat);
            }
            if inner.wants_room(self.limit) {
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

#[cfg(test)]
mod tests;
