//! What one subscriber has seen.

use hubbub_protocol::{
    Cursor, MessageId,
    frame::{Skip, SkipRange},
};

use super::{ChannelIndex, Ledger, RowNumber, Violation, bits::Bits};

/// Whether entries may be skipped, as long as they are accounted for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SkipPolicy {
    /// Every entry has to come.
    Forbidden,
    /// A skip, or a resume that says it is not whole, excuses what is missing.
    Allowed,
}

/// How a subscription began or went on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Joined {
    /// From now on: after this head.
    Fresh(Cursor),
    /// From its cursor, whole.
    Whole,
    /// Not whole: what comes next may come from anywhere.
    Broken,
}

/// An entry that came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Seen {
    /// Its channel.
    pub channel: ChannelIndex,
    /// Its epoch and seq.
    pub place: Cursor,
    /// Its message id.
    pub message_id: Option<MessageId>,
    /// The row that it carries and a hash of the payload; `None` if it was not published by this run.
    pub row: Option<(RowNumber, u64)>,
}

/// How far a subscriber is in one channel.
#[derive(Debug, Clone, Copy)]
enum Position {
    /// Not subscribed yet.
    Unknown,
    /// The next seq is the one after this.
    At(Cursor),
    /// A resume was not whole; this was the last place before it.
    BrokenAfter(Cursor),
}

/// The record of one subscriber.
#[derive(Debug)]
pub struct Witness {
    skips: SkipPolicy,
    positions: Vec<Position>,
    /// The highest row seen plus one, for each channel and publisher.
    next_rows: Vec<RowNumber>,
    seen: Bits,
    /// Excused seqs, first and last, by channel.
    excused: Vec<(ChannelIndex, u64, u64)>,
}

impl Witness {
    /// Has seen nothing of what `ledger` will hold.
    pub fn new(ledger: &Ledger, skips: SkipPolicy) -> Self {
        Self {
            skips,
            positions: vec![Position::Unknown; ledger.channels()],
            next_rows: vec![0; ledger.channels() * ledger.publishers()],
            seen: Bits::default(),
            excused: Vec::new(),
        }
    }

    /// Where to resume `channel`; `None` if it was never subscribed.
    pub fn cursor(&self, channel: ChannelIndex) -> Option<Cursor> {
        match self.positions[channel as usize] {
            Position::Unknown => None,
            Position::At(cursor) | Position::BrokenAfter(cursor) => Some(cursor),
        }
    }

    /// A subscription began or went on.
    pub fn joined(&mut self, channel: ChannelIndex, how: Joined) -> Option<Violation> {
        let position = &mut self.positions[channel as usize];
        match (how, *position) {
            (Joined::Fresh(head), Position::Unknown) => *position = Position::At(head),
            (Joined::Whole, Position::At(_) | Position::BrokenAfter(_)) => {}
            // A fresh beginning of what had begun already loses what came between.
            (Joined::Broken | Joined::Fresh(_), Position::At(last) | Position::BrokenAfter(last)) => {
                *position = Position::BrokenAfter(last);
                return (self.skips == SkipPolicy::Forbidden).then_some(Violation::Unrecovered(channel));
            }
            (Joined::Whole | Joined::Broken, Position::Unknown) => return Some(Violation::Unrecovered(channel)),
        }
        None
    }

    /// An entry came.
    pub fn entry(&mut self, ledger: &mut Ledger, seen: Seen) -> Vec<Violation> {
        let mut found = Vec::new();
        let repeated = seen.row.is_some_and(|(row, _)| self.seen.contains(row));
        match self.step(seen.channel, seen.place, seen.place.seq) {
            // Said better by what follows.
            Some(Violation::Backwards { .. }) if repeated => {}
            violation => found.extend(violation),
        }
        let Some((row, digest)) = seen.row else { return found };
        found.extend(ledger.compare(row, seen.channel, seen.message_id, digest, seen.place));
        if found.contains(&Violation::Unpublished(row)) {
            return found;
        }
        if !self.seen.insert(row) {
            found.push(Violation::Duplicate(row));
            return found;
        }
        let next = &mut self.next_rows[seen.channel as usize * ledger.publishers() + ledger.publisher(row) as usize];
        if row < *next {
            found.push(Violation::Reordered { row, after: *next - 1 });
        } else {
            *next = row + 1;
        }
        found
    }

    /// Moves on to `to`; the first seq that this accounts for is `from`.
    fn step(&mut self, channel: ChannelIndex, to: Cursor, from: u64) -> Option<Violation> {
        let position = &mut self.positions[channel as usize];
        let violation = match *position {
            Position::Unknown => Some(Violation::Gap { channel, expected: 0, found: from }),
            Position::At(last) if to.epoch < last.epoch => Some(Violation::EpochBack { channel, last: last.epoch, found: to.epoch }),
            Position::At(last) if from <= last.seq => {
                return Some(Violation::Backwards { channel, last: last.seq, found: from });
            }
            Position::At(last) if from > last.seq + 1 => Some(Violation::Gap { channel, expected: last.seq + 1, found: from }),
            Position::At(_) => None,
            Position::BrokenAfter(last) => {
                if from > last.seq + 1 {
                    self.excused.push((channel, last.seq + 1, from - 1));
                }
                None
            }
        };
        *position = Position::At(to);
        violation
    }

    /// Entries that are not sent.
    pub fn skip(&mut self, channel: ChannelIndex, skip: &Skip) -> Vec<Violation> {
        let Some(SkipRange { epoch, from, to }) = skip.range else {
            // Only an ephemeral channel's skip has no range.
            return vec![Violation::BadSkip { channel, expected: self.expected(channel), from: 0, to: 0 }];
        };
        if to < from || skip.count != to - from + 1 {
            return vec![Violation::BadSkip { channel, expected: self.expected(channel), from, to }];
        }
        let expected = self.expected(channel);
        let mut found = Vec::new();
        if self.step(channel, Cursor { epoch, seq: to }, from).is_some() {
            found.push(Violation::BadSkip { channel, expected, from, to });
        }
        match self.skips {
            SkipPolicy::Forbidden => found.push(Violation::Skipped { channel, from, to }),
            SkipPolicy::Allowed => self.excused.push((channel, from, to)),
        }
        found
    }

    fn expected(&self, channel: ChannelIndex) -> u64 {
        self.cursor(channel).map_or(0, |cursor| cursor.seq + 1)
    }

    /// The acknowledged rows that have not come and that nothing excuses.
    pub fn missing<'a>(&'a self, ledger: &'a Ledger) -> impl Iterator<Item = RowNumber> + 'a {
        let excused = |channel: ChannelIndex, place: Cursor| {
            self.excused.iter().any(|(skipped, from, to)| *skipped == channel && (*from..=*to).contains(&place.seq))
        };
        ledger
            .acknowledged_rows()
            .filter(move |(row, channel, place)| !self.seen.contains(*row) && !excused(*channel, *place))
            .map(|(row, ..)| row)
    }
}
