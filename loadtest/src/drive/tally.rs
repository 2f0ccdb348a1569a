//! What was published and what came: counts, per publish, and the latency of a sample.

use std::time::Duration;

use hdrhistogram::Histogram;

use super::payload::Stamp;

/// The counts of one measured window. A publish of an earlier window that still arrives is ignored.
#[derive(Debug)]
pub struct Tally {
    /// The number of this window's first publish.
    first: u64,
    /// Deliveries still awaited, for each publish since `first`.
    awaited: Vec<u32>,
    /// Deliveries that must come in all.
    pub expected: u64,
    /// Deliveries that came, each counted once.
    pub delivered: u64,
    /// Deliveries that came again.
    pub repeated: u64,
    /// Publishes that every subscriber has.
    pub complete: u64,
    /// Publishes that the server confirmed.
    pub acknowledged: u64,
    /// Ids of events that came.
    pub ids: u64,
    /// Requests that the server refused, and subscribers' entries that it dropped.
    pub refused: u64,
    /// Why, the first time.
    pub refusal: Option<String>,
    /// Connections that the server ended.
    pub closed: u64,
    /// Nanoseconds from publish to delivery, of the sampled connections.
    latency: Histogram<u64>,
}

impl Tally {
    /// Counts from the publish with the number `first`.
    pub fn new(first: u64) -> Self {
        Self {
            first,
            awaited: Vec::new(),
            expected: 0,
            delivered: 0,
            repeated: 0,
            complete: 0,
            acknowledged: 0,
            ids: 0,
            refused: 0,
            refusal: None,
            closed: 0,
            latency: Histogram::new_with_max(60_000_000_000, 3).expect("the bounds are valid"),
        }
    }

    /// Notes a publish that `subscribers` connections must receive; returns its number.
    pub fn publish(&mut self, subscribers: u32) -> u64 {
        self.awaited.push(subscribers);
        self.expected += u64::from(subscribers);
        self.first + self.awaited.len() as u64 - 1
    }

    /// The number of the publish after the last one.
    pub fn next(&self) -> u64 {
        self.first + self.awaited.len() as u64
    }

    /// Publishes of this window.
    pub fn published(&self) -> u64 {
        self.awaited.len() as u64
    }

    /// Publishes that some subscriber does not have yet.
    pub fn outstanding(&self) -> u64 {
        self.awaited.len() as u64 - self.complete
    }

    /// Deliveries that have not come.
    pub fn missing(&self) -> u64 {
        self.expected - self.delivered
    }

    /// Notes a delivery.
    pub fn deliver(&mut self, stamp: Stamp) {
        let Some(awaited) = stamp.number.checked_sub(self.first).and_then(|at| self.awaited.get_mut(at as usize)) else { return };
        if *awaited == 0 {
            self.repeated += 1;
            return;
        }
        *awaited -= 1;
        self.delivered += 1;
        if *awaited == 0 {
            self.complete += 1;
        }
    }

    /// Notes how long a delivery took.
    pub fn sample(&mut self, nanos: u64) {
        self.latency.saturating_record(nanos);
    }

    /// Notes a refusal; the first one's reason is kept.
    pub fn refuse(&mut self, reason: String) {
        self.refused += 1;
        self.refusal.get_or_insert(reason);
    }

    /// The latency that a share `quantile` (0 to 1) of the sample did not exceed.
    pub fn latency(&self, quantile: f64) -> Duration {
        Duration::from_nanos(self.latency.value_at_quantile(quantile))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stamp(number: u64) -> Stamp {
        Stamp { number, nanos: 0 }
    }

    #[test]
    fn a_publish_is_complete_when_every_subscriber_has_it() {
        let mut tally = Tally::new(10);
        assert_eq!((tally.publish(2), tally.publish(1), tally.next()), (10, 11, 12));
        tally.deliver(stamp(10));
        assert_eq!((tally.outstanding(), tally.missing()), (2, 2));
        tally.deliver(stamp(11));
        tally.deliver(stamp(10));
        assert_eq!((tally.outstanding(), tally.missing(), tally.delivered), (0, 0, 3));
    }

    #[test]
    fn a_repeated_delivery_does_not_hide_a_missing_one() {
        let mut tally = Tally::new(0);
        tally.publish(1);
        tally.publish(1);
        tally.deliver(stamp(0));
        tally.deliver(stamp(0));
        assert_eq!((tally.repeated, tally.missing(), tally.outstanding()), (1, 1, 1));
    }

    #[test]
    fn another_windows_deliveries_do_not_count() {
        let mut tally = Tally::new(5);
        tally.publish(1);
        tally.deliver(stamp(4));
        tally.deliver(stamp(6));
        assert_eq!((tally.delivered, tally.repeated), (0, 0));
    }
}
