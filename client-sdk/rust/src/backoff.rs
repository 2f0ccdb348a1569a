//! When to try again: full jitter (PROTOCOL.md section 7; "Exponential Backoff And Jitter", AWS, 2015).

use std::time::Duration;

use hubbub_protocol::Retry;

/// No pause is longer, whatever the server or the builder says.
const MAX_PAUSE: Duration = Duration::from_secs(24 * 3_600);

/// A random pause between 0 and `min(cap, base × 2ⁿ)`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Backoff {
    pub base: Duration,
    pub cap: Duration,
}

impl Backoff {
    /// The longest pause after the `n`th failure in a row, from 0.
    pub fn bound(&self, n: u32) -> Duration {
        self.base.saturating_mul(2u32.saturating_pow(n)).min(self.cap)
    }

    /// A pause after the `n`th failure in a row.
    pub fn delay(&self, n: u32) -> Duration {
        self.bound(n).mul_f64(rand::random::<f64>())
    }

    /// The pause that `retry` asks for after the `n`th refusal in a row, never shorter than `floor`; `None`: not again.
    /// `Refresh` is none of its business: who can get another token turns it into another `retry` first.
    pub fn after(&self, retry: Retry, floor: Option<Duration>, n: u32) -> Option<Duration> {
        let pause = match (retry, n) {
            (Retry::Never | Retry::Refresh, _) => return None,
            (Retry::Now, 0) => Duration::ZERO,
            (Retry::Now, n) => self.delay(n - 1),
            (Retry::Later, n) => self.delay(n),
        };
        Some(floor.unwrap_or_default().saturating_add(pause).min(MAX_PAUSE))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BACKOFF: Backoff = Backoff { base: Duration::from_millis(250), cap: Duration::from_secs(20) };

    #[test]
    fn doubles_up_to_the_cap() {
        let bounds: Vec<u128> = (0..9).map(|n| BACKOFF.bound(n).as_millis()).collect();
        assert_eq!(bounds, [250, 500, 1_000, 2_000, 4_000, 8_000, 16_000, 20_000, 20_000]);
        assert_eq!(BACKOFF.bound(u32::MAX), BACKOFF.cap);
    }

    #[test]
    fn jitter_is_full() {
        let delays: Vec<Duration> = (0..1_000).map(|_| BACKOFF.delay(2)).collect();
        assert!(delays.iter().all(|delay| *delay <= Duration::from_secs(1)));
        assert!(delays.iter().any(|delay| *delay < Duration::from_millis(200)));
        assert!(delays.iter().any(|delay| *delay > Duration::from_millis(800)));
    }

    #[test]
    fn retry_decides() {
        let floor = Some(Duration::from_secs(7));
        assert_eq!(BACKOFF.after(Retry::Never, floor, 0), None);
        assert_eq!(BACKOFF.after(Retry::Refresh, floor, 0), None);
        assert_eq!(BACKOFF.after(Retry::Now, None, 0), Some(Duration::ZERO));
        for n in 0..20 {
            assert!(BACKOFF.after(Retry::Later, floor, n).unwrap() >= Duration::from_secs(7));
            assert!(BACKOFF.after(Retry::Now, floor, n).unwrap() >= Duration::from_secs(7));
        }
    }
}
