//! Long polling: what waits goes out in numbered batches, and each is kept until the next poll acknowledges it.

use std::{
    sync::{Mutex, MutexGuard},
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use hubbub_protocol::ErrorCode;
use tokio::sync::Notify;

use super::{gone, upstream::Upstream};
use crate::{http::Problem, hub::event_frame, world::Clock};

/// Bytes of a batch, about: a batch goes between instances in one message.
const BATCH: usize = 256 << 10;

/// The batches of one session.
#[derive(Debug, Default)]
pub(super) struct Polls {
    batch: Mutex<Batch>,
    turned: Notify,
}

#[derive(Debug, Default)]
struct Batch {
    number: u64,
    /// Counts polls: the older of two gives way.
    turn: u64,
    /// As it was sent.
    body: Bytes,
    /// Frames that were taken too, and did not fit.
    rest: Vec<Bytes>,
}

impl Polls {
    fn batch(&self) -> MutexGuard<'_, Batch> {
        self.batch.lock().expect("nothing panics while it holds a batch")
    }

    /// Acknowledges batch `acknowledged`, and waits for what comes after it, for `wait` at most.
    pub(super) async fn next(&self, session: &Upstream, acknowledged: u64, wait: Duration, clock: &Clock) -> Result<Bytes, Problem> {
        let turn = {
            let mut batch = self.batch();
            if acknowledged.checked_add(1) == Some(batch.number) && !batch.body.is_empty() {
                session.vitals.hear(clock.elapsed());
                return Ok(batch.body.clone());
            }
            if acknowledged != batch.number {
                let text = format!("the last batch is {}: acknowledge it, or the one before to get it again", batch.number);
                return Err(Problem::new(ErrorCode::OutOfOrder, text));
            }
            batch.body = Bytes::new();
            batch.turn += 1;
            batch.turn
        };
        session.vitals.hear(clock.elapsed());
        self.turned.notify_waiters();
        let news = std::future::poll_fn(|cx| self.poll_next(cx, session, turn));
        let elder = async {
            let turned = self.turned.notified();
            if self.batch().turn == turn {
                turned.await;
            }
        };
        let batch = tokio::select! {
            biased;
            () = elder => Ok(empty(acknowledged)),
            news = news => news.ok_or_else(gone),
            () = tokio::time::sleep(wait) => Ok(empty(acknowledged)),
        };
        session.vitals.hear(clock.elapsed());
        batch
    }

    /// Takes the next batch, and keeps it, in one step: whoever polls may leave at any moment. Only the newest poll takes, and is woken.
    fn poll_next(&self, cx: &mut Context<'_>, session: &Upstream, turn: u64) -> Poll<Option<Bytes>> {
        let mut batch = self.batch();
        if batch.turn != turn {
            // It is told by `turned`.
            return Poll::Pending;
        }
        loop {
            let mut frames = std::mem::take(&mut batch.rest);
            if frames.is_empty() {
                frames = match session.outbox.poll_take(cx, |pieces| pieces) {
                    Poll::Ready(Some(pieces)) => pieces.iter().filter_map(event_frame).collect(),
                    Poll::Ready(None) => {
                        session.outbox.abort(None);
                        return Poll::Ready(None);
                    }
                    Poll::Pending => return Poll::Pending,
                };
            }
            if !frames.is_empty() {
                batch.number += 1;
                batch.rest = frames.split_off(fitting(&frames));
                batch.body = encode(batch.number, &frames);
                return Poll::Ready(Some(batch.body.clone()));
            }
            // Comments only: they have arrived with this.
            session.outbox.departed(usize::MAX);
        }
    }
}

/// How many of `frames` one batch takes: at least one.
fn fitting(frames: &[Bytes]) -> usize {
    let sizes = frames.iter().scan(0, |sum, frame| {
        *sum += frame.len() + 1;
        Some(*sum)
    });
    sizes.take_while(|sum| *sum <= BATCH).count().max(1)
}

fn empty(number: u64) -> Bytes {
    encode(number, &[])
}

fn encode(number: u64, frames: &[Bytes]) -> Bytes {
    let mut body = Vec::with_capacity(40 + frames.iter().map(|frame| frame.len() + 1).sum::<usize>());
    body.extend_from_slice(format!("{{\"batch\":{number},\"frames\":[").as_bytes());
    for (at, frame) in frames.iter().enumerate() {
        if at > 0 {
            body.push(b',');
        }
        body.extend_from_slice(frame);
    }
    body.extend_from_slice(b"]}");
    body.into()
}
