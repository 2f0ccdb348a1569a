//! What one subscription has received and its consumer has not read yet: bounded, and it says when there is room again.
//!
//! The task pushes and never waits; the consumer takes. Both hold a short lock and wake nobody under it.

use std::{
    collections::VecDeque,
    sync::{Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Waker},
};

use hubbub_protocol::Cursor;

use crate::Event;

/// The events between the task and one consumer.
#[derive(Debug)]
pub(crate) struct Buffer {
    capacity: usize,
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    items: VecDeque<(Event, Option<Cursor>)>,
    waker: Option<Waker>,
    /// Was full: takes nothing until half of it is read, so that a pause is worth its while.
    full: bool,
    /// Nothing more will come.
    ended: bool,
    /// Nobody will read it.
    gone: bool,
}

/// The buffer is full. It tells by [`Taken::drained`] when it takes again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Full;

/// What a consumer reads.
#[derive(Debug)]
pub(crate) struct Taken {
    pub event: Event,
    /// The cursor of a consumer that has seen the event.
    pub cursor: Option<Cursor>,
    /// The buffer had been full and takes again.
    pub drained: bool,
}

impl Buffer {
    /// A buffer of `capacity` events, at least one.
    pub fn new(capacity: usize) -> Self {
        Self { capacity: capacity.max(1), inner: Mutex::default() }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Appends an event; `cursor` is where the consumer is after it.
    pub fn push(&self, event: Event, cursor: Option<Cursor>) -> Result<(), Full> {
        let waker = {
            let mut inner = self.lock();
            if inner.gone {
                return Ok(());
            }
            if inner.full || inner.items.len() >= self.capacity {
                inner.full = true;
                return Err(Full);
            }
            inner.items.push_back((event, cursor));
            inner.waker.take()
        };
        if let Some(waker) = waker {
            waker.wake();
        }
        Ok(())
    }

    /// Ends the stream after what it holds and `last`, which always fits.
    pub fn end(&self, last: Option<Event>) {
        let waker = {
            let mut inner = self.lock();
            if let Some(event) = last.filter(|_| !inner.gone) {
                let cursor = inner.items.back().and_then(|(_, cursor)| *cursor);
                inner.items.push_back((event, cursor));
            }
            inner.ended = true;
            inner.waker.take()
        };
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// The next event; `None` after the end.
    pub fn poll_take(&self, cx: &mut Context<'_>) -> Poll<Option<Taken>> {
        let mut inner = self.lock();
        let Some((event, cursor)) = inner.items.pop_front() else {
            if inner.ended {
                return Poll::Ready(None);
            }
            inner.waker = Some(cx.waker().clone());
            return Poll::Pending;
        };
        let drained = inner.full && inner.items.len() <= self.capacity / 2;
        if drained {
            inner.full = false;
        }
        Poll::Ready(Some(Taken { event, cursor, drained }))
    }

    /// The consumer is gone: what it holds is dropped, what comes is ignored.
    pub fn abandon(&self) {
        let items = {
            let mut inner = self.lock();
            inner.gone = true;
            std::mem::take(&mut inner.items)
        };
        drop(items);
    }
}

#[cfg(test)]
mod tests {
    use hubbub_protocol::frame::Subscribed;

    use super::*;

    fn event() -> Event {
        Event::Subscribed(Subscribed::default())
    }

    fn take(buffer: &Buffer) -> Poll<Option<bool>> {
        buffer.poll_take(&mut Context::from_waker(Waker::noop())).map(|taken| taken.map(|taken| taken.drained))
    }

    #[test]
    fn takes_again_when_it_is_half_empty() {
        let buffer = Buffer::new(4);
        for _ in 0..4 {
            assert_eq!(buffer.push(event(), None), Ok(()));
        }
        assert_eq!(buffer.push(event(), None), Err(Full));
        assert_eq!(take(&buffer), Poll::Ready(Some(false)));
        assert_eq!(buffer.push(event(), None), Err(Full));
        assert_eq!(take(&buffer), Poll::Ready(Some(true)));
        assert_eq!(buffer.push(event(), None), Ok(()));
        for _ in 0..3 {
            assert_eq!(take(&buffer), Poll::Ready(Some(false)));
        }
        assert_eq!(take(&buffer), Poll::Pending);
    }

    #[test]
    fn the_last_event_always_fits() {
        let buffer = Buffer::new(1);
        assert_eq!(buffer.push(event(), None), Ok(()));
        buffer.end(Some(event()));
        assert_eq!(take(&buffer), Poll::Ready(Some(false)));
        assert_eq!(take(&buffer), Poll::Ready(Some(false)));
        assert_eq!(take(&buffer), Poll::Ready(None));
    }

    #[test]
    fn nothing_is_kept_for_nobody() {
        let buffer = Buffer::new(1);
        buffer.abandon();
        assert_eq!(buffer.push(event(), None), Ok(()));
        assert_eq!(buffer.push(event(), None), Ok(()));
        assert_eq!(take(&buffer), Poll::Pending);
    }
}
