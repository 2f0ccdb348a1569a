//! A body, as long as it comes fast enough.

use std::time::Duration;

use bytes::Bytes;
use futures_util::{Stream, StreamExt};
use tokio::time::{Instant, timeout};

use crate::upload::Refused;

/// Bytes that have to come within the idle time: 4 kbit/s, if that is 30 seconds.
const LEAST: usize = 16 << 10;
/// How long an upload may take in all. An object that is older by far and has no row is nobody's (`sweeper`).
pub(in crate::upload) const LONGEST: Duration = Duration::from_secs(12 * 3_600);

/// What is known of a body's speed. Only time counts that is spent waiting for the client, not for the place where the bytes go.
pub(super) struct Pace {
    idle: Duration,
    begun: Instant,
    waited: Duration,
    came: usize,
}

impl Pace {
    pub fn new(idle: Duration) -> Self {
        Self { idle, begun: Instant::now(), waited: Duration::ZERO, came: 0 }
    }

    /// The next piece of `body`; `None` after the last.
    pub async fn next<E>(&mut self, body: &mut (impl Stream<Item = Result<Bytes, E>> + Unpin)) -> Result<Option<Bytes>, Refused> {
        let since = Instant::now();
        let piece = timeout(self.idle.saturating_sub(self.waited), body.next()).await.map_err(|_| Refused::TooSlow)?;
        self.waited += since.elapsed();
        let Some(piece) = piece.transpose().map_err(|_| Refused::Broken)? else { return Ok(None) };
        self.came += piece.len();
        if self.came >= LEAST {
            (self.came, self.waited) = (0, Duration::ZERO);
        }
        if self.waited >= self.idle || self.begun.elapsed() > LONGEST {
            return Err(Refused::TooSlow);
        }
        Ok(Some(piece))
    }
}

#[cfg(test)]
mod tests {
    use futures_util::stream;

    use super::*;

    type Piece = Result<Bytes, std::io::Error>;

    fn every(pause: Duration, bytes: usize, pieces: usize) -> impl Stream<Item = Piece> + Unpin {
        Box::pin(stream::iter(0..pieces).then(move |_| async move {
            tokio::time::sleep(pause).await;
            Ok(Bytes::from(vec![0; bytes]))
        }))
    }

    async fn taken(idle: Duration, mut body: impl Stream<Item = Piece> + Unpin) -> Result<usize, Refused> {
        let mut pace = Pace::new(idle);
        let mut taken = 0;
        while let Some(piece) = pace.next(&mut body).await? {
            taken += piece.len();
        }
        Ok(taken)
    }

    #[tokio::test]
    async fn slow_is_fine_and_a_trickle_is_not() {
        let millis = Duration::from_millis;
        assert_eq!(taken(millis(2_000), every(millis(50), 8 << 10, 50)).await.unwrap(), 400 << 10);
        assert!(matches!(taken(millis(300), every(millis(5), 100, 100)).await, Err(Refused::TooSlow)));
        assert!(matches!(taken(millis(100), every(millis(60_000), 1 << 20, 1)).await, Err(Refused::TooSlow)));
    }

    #[tokio::test]
    async fn a_body_that_breaks_off_is_no_body() {
        let body = stream::iter([Ok(Bytes::from_static(b"a")), Err(std::io::ErrorKind::UnexpectedEof.into())]);
        assert!(matches!(taken(Duration::from_secs(5), body).await, Err(Refused::Broken)));
    }
}
