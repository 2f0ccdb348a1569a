//! What can be wrong with a delivery, each kind with what was expected and what came.

use std::{collections::BTreeMap, fmt};

use hubbub_protocol::Cursor;

use super::{ChannelIndex, RowNumber};

/// How many violations are kept in full; the others are counted.
const EXAMPLES: usize = 20;

/// One broken promise.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Violation {
    /// Seqs are missing before this entry, and no skip accounts for them.
    Gap {
        /// Where.
        channel: ChannelIndex,
        /// The seq that had to come.
        expected: u64,
        /// The seq that came.
        found: u64,
    },
    /// A seq that is not above the last one.
    Backwards {
        /// Where.
        channel: ChannelIndex,
        /// The last seq.
        last: u64,
        /// The seq that came.
        found: u64,
    },
    /// An epoch below the last one.
    EpochBack {
        /// Where.
        channel: ChannelIndex,
        /// The last epoch.
        last: u64,
        /// The epoch that came.
        found: u64,
    },
    /// A row came a second time.
    Duplicate(RowNumber),
    /// A row came after a later one of the same publisher and channel.
    Reordered {
        /// The row.
        row: RowNumber,
        /// The later row that came first.
        after: RowNumber,
    },
    /// An acknowledged row never came.
    Missing(RowNumber),
    /// A row that nobody has published.
    Unpublished(RowNumber),
    /// A row came in another channel than it was published in.
    WrongChannel(RowNumber),
    /// The place of a row differs between the publisher's answer and a subscriber, or between two subscribers.
    WrongPlace {
        /// The row.
        row: RowNumber,
        /// What was told first.
        told: Cursor,
        /// What was told later.
        found: Cursor,
    },
    /// A row came, or was acknowledged, with another message id than it was published with.
    WrongMessageId(RowNumber),
    /// A row came with another payload.
    WrongContent(RowNumber),
    /// An acknowledgement without a place: the channel is not durable.
    NoPlace(RowNumber),
    /// A row that was published after another's acknowledgement was stored before it.
    AcknowledgedOutOfOrder {
        /// The later row.
        row: RowNumber,
        /// Its seq.
        seq: u64,
        /// The seq that was acknowledged before.
        after: u64,
    },
    /// Entries were skipped, which this run does not allow.
    Skipped {
        /// Where.
        channel: ChannelIndex,
        /// First seq.
        from: u64,
        /// Last seq.
        to: u64,
    },
    /// A skip that does not begin after the last seq, ends before it begins, or miscounts.
    BadSkip {
        /// Where.
        channel: ChannelIndex,
        /// Where it had to begin.
        expected: u64,
        /// Where it began.
        from: u64,
        /// Where it ended.
        to: u64,
    },
    /// A resume was not whole, which this run does not allow.
    Unrecovered(ChannelIndex),
    /// The server ended a subscription.
    Ended(ChannelIndex),
    /// The SDK found seqs missing, and repaired it by a resume.
    RepairedGap,
    /// The SDK dropped an entry that came again.
    DroppedDuplicate,
}

impl Violation {
    /// The name of its kind.
    pub fn kind(&self) -> &'static str {
        match self {
            Violation::Gap { .. } => "gap",
            Violation::Backwards { .. } => "backwards",
            Violation::EpochBack { .. } => "epoch_back",
            Violation::Duplicate(_) => "duplicate",
            Violation::Reordered { .. } => "reordered",
            Violation::Missing(_) => "missing",
            Violation::Unpublished(_) => "unpublished",
            Violation::WrongChannel(_) => "wrong_channel",
            Violation::WrongPlace { .. } => "wrong_place",
            Violation::WrongMessageId(_) => "wrong_message_id",
            Violation::WrongContent(_) => "wrong_content",
            Violation::NoPlace(_) => "no_place",
            Violation::AcknowledgedOutOfOrder { .. } => "acknowledged_out_of_order",
            Violation::Skipped { .. } => "skipped",
            Violation::BadSkip { .. } => "bad_skip",
            Violation::Unrecovered(_) => "unrecovered",
            Violation::Ended(_) => "ended",
            Violation::RepairedGap => "repaired_gap",
            Violation::DroppedDuplicate => "dropped_duplicate",
        }
    }
}

/// The violations of a run: all counted, the first ones kept.
#[derive(Debug, Default)]
pub struct Violations {
    counts: BTreeMap<&'static str, u64>,
    examples: Vec<(String, Violation)>,
}

impl Violations {
    /// Notes what `witness` (a name for people) has found.
    pub fn note(&mut self, witness: &str, violations: impl IntoIterator<Item = Violation>) {
        for violation in violations {
            *self.counts.entry(violation.kind()).or_default() += 1;
            if self.examples.len() < EXAMPLES {
                self.examples.push((witness.to_owned(), violation));
            }
        }
    }

    /// Takes the reordered rows out and returns how many they were: publishes that were retried may change places with
    /// others that were on their way at the same time.
    pub fn forgive_reordered(&mut self) -> u64 {
        self.examples.retain(|(_, violation)| !matches!(violation, Violation::Reordered { .. }));
        self.counts.remove("reordered").unwrap_or(0)
    }

    /// How many there are.
    pub fn total(&self) -> u64 {
        self.counts.values().sum()
    }
}

impl fmt::Display for Violations {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (kind, count) in &self.counts {
            writeln!(f, "  {kind:<26} {count}")?;
        }
        for (witness, violation) in &self.examples {
            writeln!(f, "    {witness}: {violation:?}")?;
        }
        Ok(())
    }
}
