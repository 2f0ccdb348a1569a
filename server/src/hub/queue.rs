//! What an outbox holds, and how it leaves. Everything here happens under the outbox's lock.

use std::{
    collections::VecDeque,
    io::{self, IoSlice},
    sync::Arc,
};

use bytes::Bytes;
use hubbub_protocol::{CloseCode, frame::Slow};
use tokio::net::TcpStream;

use super::{Delivery, Outbox, Sink, Standing, Subscription, Wire, latest::Latest};

/// Pieces a write: what a `writev` takes without allocating here.
const PIECES: usize = 64;
/// Slots that an empty queue may keep.
const KEPT: usize = 4;
/// Bytes of a subscription under `latest` that go to an empty queue at once, where newer ones no longer replace them.
pub(super) const RELEASED: usize = 4 << 10;

/// Whether anything more may be put in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    Open,
    /// A Close frame is the last thing in the queue, or was; the code if this side began.
    Closing(Option<CloseCode>),
    Over(Option<CloseCode>),
}

/// The bytes that wait, and what is asked of the connection's task.
#[derive(Debug)]
pub(super) struct Queue {
    pub(super) queue: VecDeque<Bytes>,
    /// Bytes of the first piece that have left.
    pub(super) written: usize,
    /// Bytes that the transport's own task has taken, and of which it is not known that they left.
    pub(super) taken: usize,
    /// Bytes that wait, `latest` and `taken` included.
    pub(super) bytes: usize,
    /// The kernel took no more; the connection's task waits for it.
    pub(super) blocked: bool,
    /// A lane will flush it.
    pub(super) touched: bool,
    /// Some subscription pulls.
    pub(super) behind: bool,
    /// It was full for somebody under the policy `close`, and has not been empty since.
    pub(super) full: bool,
    /// Something has left since the last look.
    pub(super) moved: bool,
    pub(super) beat: bool,
    /// Somebody's rights may have changed.
    pub(super) review: bool,
    pub(super) retire: Option<u64>,
    pub(super) phase: Phase,
    pub(super) latest: Vec<Latest>,
}

/// What a write came to.
#[derive(PartialEq, Eq)]
pub(super) enum Written {
    All,
    Stuck,
}

impl Queue {
    pub(super) fn append(&mut self, bytes: Bytes) {
        self.bytes += bytes.len();
        self.queue.push_back(bytes);
    }

    pub(super) fn code(&self) -> Option<CloseCode> {
        match self.phase {
            Phase::Open => None,
            Phase::Closing(code) | Phase::Over(code) => code,
        }
    }

    /// Whether somebody is behind, and there is room for a page.
    pub(super) fn wants_room(&self, limit: usize) -> bool {
        self.behind && self.bytes <= limit / 4
    }

    /// Whether `more` bytes may wait too. At the bound the kernel takes what it will first: only what a peer does not read counts
    /// against it; then what is held back makes way. What is larger than the bound may wait alone.
    pub(super) fn has_room(&mut self, outbox: &Outbox, slow: Slow, more: usize) -> bool {
        let limit = match slow {
            Slow::Close => outbox.limit,
            // What waits in the queue cannot be superseded: half of the outbox is left to what can.
            Slow::Latest => outbox.limit / 2,
        };
        if self.bytes + more <= limit {
            return true;
        }
        if let Sink::Socket(stream) = &outbox.sink
            && self.write(stream, outbox.wire) == Written::Stuck
        {
            outbox.waker.wake();
        }
        while slow == Slow::Close && self.bytes + more > limit && self.drop_held_back(outbox.wire) {}
        self.phase == Phase::Open && (self.bytes == 0 || self.bytes + more <= limit)
    }

    /// Whether `more` bytes may go beyond the bound: a transport that is written by its own task gets its turn after the batch, so as long as it
    /// takes what there is, twice as much may wait.
    pub(super) fn may_overdraw(&self, outbox: &Outbox, more: usize) -> bool {
        matches!(outbox.sink, Sink::Task(_)) && !self.blocked && self.bytes + more <= 2 * outbox.limit
    }

    /// Gives everything that waits to the transport's own task.
    pub(super) fn take(&mut self) -> Vec<Bytes> {
        let pieces: Vec<Bytes> = self.queue.drain(..).collect();
        if self.queue.capacity() > KEPT {
            self.queue = VecDeque::new();
        }
        self.taken = pieces.iter().map(Bytes::len).sum();
        self.blocked = true;
        pieces
    }

    /// All that was taken has left.
    pub(super) fn arrived(&mut self) {
        self.departed(self.taken);
    }

    /// `bytes` of what was taken have left.
    pub(super) fn departed(&mut self, bytes: usize) {
        let bytes = bytes.min(self.taken);
        if bytes > 0 {
            self.taken -= bytes;
            self.bytes -= bytes;
            self.moved = true;
            self.blocked = self.taken > 0;
            self.full &= self.bytes > 0;
        }
    }

    /// Whether some of the subscription's entries wait under `latest`.
    pub(super) fn holds_back(&self, subscription: &Subscription) -> bool {
        self.latest.iter().any(|latest| latest.is_for(subscription))
    }

    /// Drops what `latest` holds back for a subscription that has ended.
    pub(super) fn forget(&mut self, subscription: &Subscription) {
        if let Some(at) = self.latest.iter().position(|latest| latest.is_for(subscription)) {
            let latest = self.latest.swap_remove(at);
            self.bytes -= latest.bytes();
        }
    }

    pub(super) fn fall_behind(&mut self, subscription: &Subscription) {
        subscription.stand(Standing::Behind);
        self.behind = true;
    }

    /// `latest` while the kernel takes no more: a durable channel is pulled later, of an ephemeral one the newest are kept here.
    pub(super) fn supersede(&mut self, outbox: &Outbox, subscription: &Arc<Subscription>, group: &[Arc<Delivery>]) {
        if self.phase != Phase::Open {
            return;
        }
        if group.iter().any(|delivery| delivery.entry.place.is_some()) {
            return self.fall_behind(subscription);
        }
        let at = self.latest.iter().position(|latest| latest.is_for(subscription)).unwrap_or_else(|| {
            self.latest.push(Latest::new(subscription.clone()));
            self.latest.len() - 1
        });
        for delivery in group {
            let change = self.latest[at].put(outbox.wire, delivery.clone());
            self.bytes = self.bytes.saturating_add_signed(change);
        }
        while self.bytes > outbox.limit && self.drop_held_back(outbox.wire) {}
    }

    /// Drops the oldest that `latest` holds back for whom it holds back most: nobody's newest goes for another's oldest.
    pub(super) fn drop_held_back(&mut self, wire: Wire) -> bool {
        let dropped = self.latest.iter_mut().max_by_key(|latest| latest.bytes()).map_or(0, |latest| latest.drop_oldest(wire));
        self.bytes -= dropped;
        dropped > 0
    }

    /// Puts what `latest` holds back into the queue: about `room` bytes for each subscription.
    pub(super) fn release_latest(&mut self, wire: Wire, room: usize) {
        let mut held = std::mem::take(&mut self.latest);
        for latest in &mut held {
            let before = latest.bytes();
            let released = latest.release(wire, room);
            self.bytes -= before - latest.bytes();
            released.into_iter().for_each(|bytes| self.append(bytes));
        }
        held.retain(|latest| !latest.is_empty());
        self.latest = held;
    }

    /// Drops what waits, but for a piece that has partly left, and says goodbye.
    pub(super) fn close(&mut self, wire: Wire, code: CloseCode, reconnect_after: Option<u64>) {
        if self.phase != Phase::Open {
            return;
        }
        self.queue.truncate(usize::from(self.written > 0));
        self.latest = Vec::new();
        self.bytes = self.taken + self.queue.front().map_or(0, |piece| piece.len() - self.written);
        self.finish(wire, wire.goodbye(code, reconnect_after), Some(code));
    }

    /// Appends the last that is said. What `latest` holds back precedes it: nothing follows a Close frame (RFC 6455 section 5.5.1).
    pub(super) fn finish(&mut self, wire: Wire, last: impl IntoIterator<Item = Bytes>, code: Option<CloseCode>) {
        self.release_latest(wire, usize::MAX);
        for bytes in last {
            self.append(bytes);
        }
        self.phase = Phase::Closing(code);
    }

    pub(super) fn over(&mut self, code: Option<CloseCode>) {
        self.phase = Phase::Over(code.or(self.code()));
        self.queue = VecDeque::new();
        self.latest = Vec::new();
        (self.bytes, self.taken) = (0, 0);
    }

    pub(super) fn write(&mut self, stream: &TcpStream, wire: Wire) -> Written {
        if self.blocked {
            return Written::All;
        }
        loop {
            if self.queue.is_empty() {
                if self.latest.is_empty() {
                    break;
                }
                self.release_latest(wire, RELEASED);
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

    pub(super) fn write_once(&self, stream: &TcpStream) -> io::Result<usize> {
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
    pub(super) fn left(&mut self, mut bytes: usize) {
        self.bytes -= bytes;
        self.moved = true;
        self.full &= self.bytes > 0;
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
