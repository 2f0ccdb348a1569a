//! When each row is due.

use std::time::Duration;

/// How rows follow each other.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Pace {
    /// As fast as acknowledgements come.
    Free,
    /// So many rows per second.
    Rate(f64),
    /// As the rows' own times follow each other, so many times faster.
    Recorded {
        /// How many times.
        speed: f64,
    },
}

/// Tells when rows are due.
#[derive(Debug)]
pub struct Schedule {
    pace: Pace,
    count: u64,
    first_ms: Option<i64>,
    last: Duration,
}

impl Schedule {
    /// The first row is due at once.
    pub fn new(pace: Pace) -> Self {
        Self { pace, count: 0, first_ms: None, last: Duration::ZERO }
    }

    /// When the next row is due, from the first one on. `time_ms` is the row's own time; a row that is earlier than its
    /// predecessor is due with it.
    pub fn next(&mut self, time_ms: Option<i64>) -> Duration {
        let due = match (self.pace, time_ms) {
            (Pace::Free, _) | (Pace::Recorded { .. }, None) => Duration::ZERO,
            (Pace::Rate(rate), _) => Duration::from_secs_f64(self.count as f64 / rate),
            (Pace::Recorded { speed }, Some(time)) => {
                let since = time.saturating_sub(*self.first_ms.get_or_insert(time)).max(0);
                Duration::from_secs_f64(since as f64 / 1_000.0 / speed)
            }
        };
        self.count += 1;
        self.last = self.last.max(due);
        self.last
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_is_even() {
        let mut schedule = Schedule::new(Pace::Rate(4.0));
        let due: Vec<u128> = (0..4).map(|_| schedule.next(None).as_millis()).collect();
        assert_eq!(due, [0, 250, 500, 750]);
    }

    #[test]
    fn recorded_times_are_compressed_and_never_go_back() {
        let mut schedule = Schedule::new(Pace::Recorded { speed: 10.0 });
        let due: Vec<u128> = [5_000, 6_000, 4_000, 15_000].map(|time| schedule.next(Some(time)).as_millis()).to_vec();
        assert_eq!(due, [0, 100, 100, 1_000]);
    }
}
