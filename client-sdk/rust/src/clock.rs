//! The server's clock, as far as a client knows it: message ids are made with it.

use hubbub_protocol::MessageId;
use tokio::time::Instant;

/// What the server's clock said, and when on ours.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ServerClock {
    unix_ms: u64,
    at: Instant,
}

impl ServerClock {
    /// The server's clock says `unix_ms`, in Unix milliseconds, at `at`.
    pub fn new(unix_ms: u64, at: Instant) -> Self {
        Self { unix_ms, at }
    }

    /// What it says at `now`, in Unix milliseconds.
    pub fn unix_ms(&self, now: Instant) -> u64 {
        let elapsed = now.saturating_duration_since(self.at).as_millis();
        self.unix_ms.saturating_add(u64::try_from(elapsed).unwrap_or(u64::MAX))
    }

    /// A message id of `now`.
    pub fn message_id(&self, now: Instant) -> MessageId {
        MessageId::new(self.unix_ms(now), rand::random())
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn ids_carry_the_servers_time() {
        let start = Instant::now();
        let clock = ServerClock::new(1_732_233_600_000, start);
        let id = clock.message_id(start + Duration::from_millis(1_500));
        assert_eq!(id.unix_ms(), 1_732_233_601_500);
        assert_ne!(id, clock.message_id(start + Duration::from_millis(1_500)));
    }
}
