//! Whether what comes is what comes next: in a durable channel every seq is accounted for (PROTOCOL.md section 4, `skip`).

use hubbub_protocol::Cursor;

/// Entries `from` to `to` in a durable channel, of one entry or skipped; the epoch is that of `to`.
#[derive(Debug, Clone, Copy)]
pub(super) struct Span {
    pub epoch: u64,
    pub from: u64,
    pub to: u64,
}

impl Span {
    /// The cursor of a subscriber that has seen it.
    pub fn end(&self) -> Cursor {
        Cursor { epoch: self.epoch, seq: self.to }
    }
}

/// How something that came relates to the cursor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    /// It follows.
    Next,
    /// It was seen already.
    Duplicate,
    /// Something is missing before it, or the log has changed under the cursor.
    Gap,
}

/// How `span` relates to `cursor`; without a cursor anything follows.
pub(super) fn step(cursor: Option<Cursor>, span: Span) -> Step {
    let Some(cursor) = cursor else { return Step::Next };
    // A cursor before the first entry has no epoch.
    let rewritten = cursor.seq > 0 && span.epoch > cursor.epoch;
    if span.to <= cursor.seq {
        return if rewritten { Step::Gap } else { Step::Duplicate };
    }
    let older = cursor.seq > 0 && span.epoch < cursor.epoch;
    if span.from > cursor.seq + 1 || older { Step::Gap } else { Step::Next }
}

/// Whether `head`, up to which everything was sent, proves that something did not arrive.
pub(super) fn behind(cursor: Option<Cursor>, head: Cursor) -> bool {
    cursor.is_some_and(|cursor| head.seq > cursor.seq || (cursor.seq > 0 && head.epoch > cursor.epoch))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(epoch: u64, seq: u64) -> Option<Cursor> {
        Some(Cursor { epoch, seq })
    }

    fn one(epoch: u64, seq: u64) -> Span {
        Span { epoch, from: seq, to: seq }
    }

    #[test]
    fn the_next_seq_follows_whatever_its_epoch() {
        assert_eq!(step(None, one(1, 77)), Step::Next);
        assert_eq!(step(at(0, 0), one(3, 1)), Step::Next);
        assert_eq!(step(at(1, 5), one(1, 6)), Step::Next);
        assert_eq!(step(at(1, 5), one(2, 6)), Step::Next);
        assert_eq!(step(at(2, 5), one(1, 6)), Step::Gap);
    }

    #[test]
    fn a_hole_is_a_gap_and_what_was_seen_a_duplicate() {
        assert_eq!(step(at(1, 5), one(1, 7)), Step::Gap);
        assert_eq!(step(at(0, 0), one(1, 2)), Step::Gap);
        assert_eq!(step(at(1, 5), one(1, 5)), Step::Duplicate);
        assert_eq!(step(at(1, 5), one(1, 1)), Step::Duplicate);
        assert_eq!(step(at(1, 5), one(2, 5)), Step::Gap);
    }

    #[test]
    fn a_skip_is_a_span() {
        let span = |from, to| Span { epoch: 1, from, to };
        assert_eq!(step(at(1, 5), span(6, 9)), Step::Next);
        assert_eq!(step(at(1, 5), span(4, 9)), Step::Next);
        assert_eq!(step(at(1, 5), span(7, 9)), Step::Gap);
        assert_eq!(step(at(1, 5), span(2, 5)), Step::Duplicate);
        assert_eq!(span(6, 9).end(), Cursor { epoch: 1, seq: 9 });
    }

    #[test]
    fn a_head_beyond_the_cursor_proves_a_loss() {
        let head = Cursor { epoch: 1, seq: 5 };
        assert!(!behind(None, head));
        assert!(!behind(at(1, 5), head));
        assert!(!behind(at(1, 6), head));
        assert!(behind(at(1, 4), head));
        assert!(behind(at(0, 0), head));
        assert!(behind(at(1, 5), Cursor { epoch: 2, seq: 3 }));
    }
}
