//! The token's life: a new one is asked for when three quarters of it are over (PROTOCOL.md section 2, step 5).

use std::{future::poll_fn, task::Poll, time::Duration};

use hubbub_protocol::frame::RequestId;
use tokio::time::Instant;

use crate::token::{BoxError, TokenFuture, Tokens};

/// A refresh that failed is not tried again sooner.
const SHORTEST: Duration = Duration::from_secs(1);
/// A token that lives longer is refreshed all the same.
const LONGEST: Duration = Duration::from_secs(30 * 24 * 3_600);

/// One connection's renewals.
pub(super) struct Renewal {
    expires: Instant,
    /// When the next one begins; `None` while one is on its way, and without a provider.
    pub due: Option<Instant>,
    asking: Option<TokenFuture>,
    /// The `refresh` that waits for its answer.
    pub request: Option<RequestId>,
}

impl Renewal {
    /// The token lives for another `life`.
    pub fn new(tokens: &Tokens, now: Instant, life: Duration) -> Self {
        let life = life.min(LONGEST);
        let due = tokens.renewable().then(|| now + life / 4 * 3);
        Self { expires: now + life, due, asking: None, request: None }
    }

    /// Asks for a token if it is time.
    pub fn begin(&mut self, tokens: &Tokens, now: Instant) {
        if self.due.is_some_and(|due| due <= now) {
            self.due = None;
            self.asking = tokens.renew();
        }
    }

    /// The token asked for; never ready if none was.
    pub async fn token(&mut self) -> Result<String, BoxError> {
        let token = poll_fn(|cx| self.asking.as_mut().map_or(Poll::Pending, |asking| asking.as_mut().poll(cx))).await;
        self.asking = None;
        token
    }

    /// No new token, or it was refused: the old one still holds for a while.
    pub fn failed(&mut self, now: Instant) {
        self.request = None;
        let left = self.expires.saturating_duration_since(now);
        self.due = Some(now + (left / 4 * 3).max(SHORTEST));
    }
}
