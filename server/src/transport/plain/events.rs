//! The body of an event stream: it takes what waits in the outbox whenever the connection can write.

use std::{
    collections::VecDeque,
    convert::Infallible,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use axum::body::HttpBody;
use bytes::{Bytes, BytesMut};
use http_body::Frame;

use super::Plain;
use crate::{
    hub::{Outbox, retry_after},
    session::{Passport, Trail, Vitals},
};

/// Bytes that are written in one piece, about: small events go together, and large ones as they are.
const PIECE: usize = 16 << 10;
/// How long a peer waits that has to come back because a subscription failed, in milliseconds.
const BROKEN_MS: u64 = 3_000;
/// From here on an event is not copied.
const LARGE: usize = 4 << 10;

/// The bytes of one session's stream. The session ends when this is dropped.
pub(super) struct Events {
    plain: Arc<Plain>,
    outbox: Arc<Outbox>,
    vitals: Arc<Vitals>,
    taken: VecDeque<Bytes>,
    /// Bytes of the piece that the connection has got last.
    given: usize,
    native: Option<Box<Native>>,
}

/// What a native `EventSource` is told beside the frames.
struct Native {
    trail: Arc<Trail>,
    /// What the last id says.
    told: Vec<u8>,
    /// It has to come back, and nothing more is taken.
    over: bool,
}

impl Events {
    /// The stream of the session behind `outbox`; with `trail` it gets ids.
    pub(super) fn new(plain: Arc<Plain>, outbox: Arc<Outbox>, vitals: Arc<Vitals>, trail: Option<Arc<Trail>>) -> Self {
        let native = trail.map(|trail| Box::new(Native { trail, told: Vec::new(), over: false }));
        Self { plain, outbox, vitals, taken: VecDeque::new(), given: 0, native }
    }

    /// Takes what waits, and the id that goes with it.
    fn poll_take(&mut self, cx: &mut Context<'_>) -> Poll<Option<()>> {
        if self.native.as_ref().is_some_and(|native| native.over) {
            return Poll::Ready(None);
        }
        let trail = self.native.as_ref().map(|native| native.trail.clone());
        let also = |pieces| (pieces, trail.and_then(|trail| trail.passport()));
        let Some((pieces, passport)) = ready!(self.outbox.poll_take(cx, also)) else { return Poll::Ready(None) };
        self.taken.extend(pieces);
        if let (Some(native), Some(passport)) = (&mut self.native, passport) {
            self.taken.extend(native.id(&self.plain, &passport));
            native.over = native.trail.is_broken();
            if native.over {
                self.taken.push_back(retry_after(BROKEN_MS));
            }
        }
        Poll::Ready(Some(()))
    }

    /// The next bytes to be written.
    fn piece(&mut self) -> Option<Bytes> {
        let first = self.taken.pop_front()?;
        if first.len() >= LARGE || self.taken.is_empty() {
            return Some(first);
        }
        let mut piece = BytesMut::with_capacity(PIECE.min(first.len() + self.taken.iter().map(Bytes::len).sum::<usize>()));
        piece.extend_from_slice(&first);
        while let Some(next) = self.taken.front()
            && next.len() < LARGE
            && piece.len() + next.len() <= PIECE
        {
            piece.extend_from_slice(next);
            self.taken.pop_front();
        }
        Some(piece.freeze())
    }
}

impl Native {
    /// The block with the id, if it says anything new.
    fn id(&mut self, plain: &Plain, passport: &Passport) -> Option<Bytes> {
        let says = passport.encode();
        if says == self.told {
            return None;
        }
        let id = plain.sealer.seal(&says, &plain.endpoint.backend.world.chance)?;
        self.told = says;
        Some(Bytes::from(format!("id: {id}\n\n")))
    }
}

impl HttpBody for Events {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        // It comes back for more: the last piece is on its way.
        let given = std::mem::take(&mut self.given);
        if given > 0 {
            self.outbox.departed(given);
            self.vitals.hear(self.plain.endpoint.backend.world.clock.elapsed());
        }
        loop {
            if let Some(piece) = self.piece() {
                self.given = piece.len();
                return Poll::Ready(Some(Ok(Frame::data(piece))));
            }
            if self.taken.capacity() > 0 {
                self.taken = VecDeque::new();
            }
            if ready!(self.poll_take(cx)).is_none() {
                return Poll::Ready(None);
            }
        }
    }
}

impl Drop for Events {
    fn drop(&mut self) {
        self.outbox.abort(None);
    }
}
