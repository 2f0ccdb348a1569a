//! Publishes that wait for their commit.

use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll},
};

use futures_util::stream::{FuturesUnordered, Stream};
use hubbub_protocol::frame::{Published, RequestId};

use crate::channel::{Refused, Ticket};

/// A publish whose answer comes later; without a request id nobody is told.
struct Waiting {
    id: Option<RequestId>,
    ticket: Ticket,
}

/// An answer, and to which request.
pub(super) type Answer = (Option<RequestId>, Result<Published, Refused>);

impl Future for Waiting {
    type Output = Answer;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Answer> {
        let id = self.id;
        Pin::new(&mut self.ticket).poll(cx).map(|answer| (id, answer))
    }
}

/// The publishes of one session that wait. Holds no memory while there are none.
#[derive(Default)]
pub(super) struct Replies(Option<Box<FuturesUnordered<Waiting>>>);

impl std::fmt::Debug for Replies {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Replies({})", self.len())
    }
}

impl Replies {
    pub(super) fn push(&mut self, id: Option<RequestId>, ticket: Ticket) {
        self.0.get_or_insert_default().push(Waiting { id, ticket });
    }

    pub(super) fn len(&self) -> usize {
        self.0.as_ref().map_or(0, |waiting| waiting.len())
    }

    /// The next answer that has come.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Answer> {
        let Some(waiting) = &mut self.0 else { return Poll::Pending };
        match Pin::new(&mut **waiting).poll_next(cx) {
            Poll::Ready(Some(answer)) => Poll::Ready(answer),
            Poll::Ready(None) => {
                self.0 = None;
                Poll::Pending
            }
            Poll::Pending => Poll::Pending,
        }
    }
}
