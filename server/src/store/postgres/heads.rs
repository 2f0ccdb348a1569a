//! The heads that this handle has seen: one that is lower later is a log that went back, which nothing else may tell.

use std::collections::HashMap;

/// Channels that are remembered; with one more all are forgotten, and learnt again as they move.
const CHANNELS: usize = 65_536;

/// By channel the highest seq that was seen, as long as the store's past is the same.
#[derive(Debug, Default)]
pub(super) struct Heads(HashMap<Box<str>, i64>);

impl Heads {
    /// The highest seq that was seen in `channel`; 0 if none was.
    pub(super) fn of(&self, channel: &str) -> i64 {
        self.0.get(channel).copied().unwrap_or(0)
    }

    /// `channel` has come to `seq`.
    pub(super) fn see(&mut self, channel: &str, seq: i64) {
        if let Some(head) = self.0.get_mut(channel) {
            *head = seq.max(*head);
            return;
        }
        if self.0.len() >= CHANNELS {
            self.forget();
        }
        self.0.insert(channel.into(), seq);
    }

    /// The store is of another past: what was seen says nothing any more.
    pub(super) fn forget(&mut self) {
        self.0 = HashMap::new();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn remembers_the_highest_of_a_bounded_number() {
        let mut heads = Heads::default();
        heads.see("room:1", 5);
        heads.see("room:1", 4);
        assert_eq!((heads.of("room:1"), heads.of("room:2")), (5, 0));
        for number in 0..2 * CHANNELS {
            heads.see(&format!("room:{number}"), 1);
            assert!(heads.0.len() <= CHANNELS);
        }
        heads.forget();
        assert_eq!(heads.of("room:1"), 0);
    }
}
