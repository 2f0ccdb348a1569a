//! Each kind of violation is found, and a whole delivery has none.

use hubbub_protocol::{
    ChannelName, Cursor, MessageId,
    frame::{Skip, SkipRange, SkipReason},
};

use super::*;

const DIGEST: u64 = 77;

fn id(row: u64) -> MessageId {
    MessageId::new(1_700_000_000_000 + row, [row as u8; 10])
}

fn at(seq: u64) -> Cursor {
    Cursor { epoch: 1, seq }
}

/// The entry that carries `row` in a [`Run`], as it should be.
fn right(row: u64) -> Seen {
    Seen { channel: (row % 2) as u32, place: at(101 + row / 2), message_id: Some(id(row)), row: Some((row, DIGEST)) }
}

/// Two channels with head 100, `rows` rows alternating between them (seqs 101, 101, 102, 102 …), all acknowledged, and a
/// subscriber of both.
struct Run {
    ledger: Ledger,
    witness: Witness,
}

impl Run {
    fn new(rows: u64, skips: SkipPolicy) -> Self {
        let mut ledger = Ledger::new(2, 1);
        for row in 0..rows {
            let ticket = ledger.submit((row % 2) as u32, id(row), DIGEST);
            assert_eq!(ledger.acknowledge(&ticket, id(row), Some(at(101 + row / 2))), []);
        }
        let mut witness = Witness::new(&ledger, skips);
        for channel in 0..2 {
            assert_eq!(witness.joined(channel, Joined::Fresh(at(100))), None);
        }
        Self { ledger, witness }
    }

    fn see(&mut self, seen: Seen) -> Vec<Violation> {
        self.witness.entry(&mut self.ledger, seen)
    }

    fn see_rows(&mut self, rows: impl IntoIterator<Item = u64>) -> Vec<Violation> {
        rows.into_iter().flat_map(|row| self.see(right(row))).collect()
    }

    fn skip(&mut self, from: u64, to: u64, count: u64) -> Vec<Violation> {
        let channel = ChannelName::parse("room:0").unwrap();
        let range = Some(SkipRange { epoch: 1, from, to });
        self.witness.skip(0, &Skip { channel, range, count, reason: SkipReason::Superseded })
    }

    fn missing(&self) -> Vec<u64> {
        self.witness.missing(&self.ledger).collect()
    }
}

#[test]
fn a_whole_delivery_has_no_violation() {
    let mut run = Run::new(100, SkipPolicy::Forbidden);
    assert_eq!(run.see_rows(0..100), []);
    assert!(run.missing().is_empty());
}

#[test]
fn channels_may_overtake_each_other() {
    let mut run = Run::new(6, SkipPolicy::Forbidden);
    assert_eq!(run.see_rows([1, 3, 5, 0, 2, 4]), []);
}

#[test]
fn entries_of_others_count_for_the_seq_only() {
    let mut run = Run::new(2, SkipPolicy::Forbidden);
    run.see_rows([0]);
    let other = Seen { channel: 0, place: at(102), message_id: None, row: None };
    assert_eq!(run.see(other), []);
    assert_eq!(run.see(other), [Violation::Backwards { channel: 0, last: 102, found: 102 }]);
}

#[test]
fn a_gap_is_found_and_so_is_the_missing_row() {
    let mut run = Run::new(6, SkipPolicy::Forbidden);
    assert_eq!(run.see_rows([0, 1, 3, 4, 5]), [Violation::Gap { channel: 0, expected: 102, found: 103 }]);
    assert_eq!(run.missing(), [2]);
}

#[test]
fn a_gap_at_the_beginning_is_found() {
    assert_eq!(Run::new(4, SkipPolicy::Forbidden).see_rows([2]), [Violation::Gap { channel: 0, expected: 101, found: 102 }]);
}

#[test]
fn a_missing_last_row_is_found_without_a_gap() {
    let mut run = Run::new(4, SkipPolicy::Forbidden);
    assert_eq!(run.see_rows([0, 1, 2]), []);
    assert_eq!(run.missing(), [3]);
}

#[test]
fn a_row_that_was_not_acknowledged_may_be_missing_or_come() {
    let mut run = Run::new(2, SkipPolicy::Forbidden);
    run.ledger.submit(0, id(2), DIGEST);
    assert_eq!(run.see_rows([0, 1]), []);
    assert!(run.missing().is_empty());
    assert_eq!(run.see_rows([2]), []);
}

#[test]
fn a_duplicate_is_found_at_its_old_seq_and_at_a_new_one() {
    let mut run = Run::new(2, SkipPolicy::Forbidden);
    run.see_rows([0]);
    assert_eq!(run.see_rows([0]), [Violation::Duplicate(0)]);
    let again = Seen { place: at(102), ..right(0) };
    assert_eq!(run.see(again), [Violation::WrongPlace { row: 0, told: at(101), found: at(102) }, Violation::Duplicate(0)]);
}

#[test]
fn seqs_out_of_order_are_found() {
    let mut run = Run::new(6, SkipPolicy::Forbidden);
    let found = run.see_rows([0, 4, 2]);
    assert!(found.contains(&Violation::Gap { channel: 0, expected: 102, found: 103 }), "{found:?}");
    assert!(found.contains(&Violation::Backwards { channel: 0, last: 103, found: 102 }), "{found:?}");
}

#[test]
fn rows_stored_in_another_order_are_found() {
    let mut ledger = Ledger::new(1, 1);
    let mut witness = Witness::new(&ledger, SkipPolicy::Forbidden);
    witness.joined(0, Joined::Fresh(at(0)));
    for row in 0..2 {
        ledger.submit(0, id(row), DIGEST);
    }
    let mut see = |row, seq| witness.entry(&mut ledger, Seen { channel: 0, place: at(seq), ..right(row) });
    assert_eq!(see(1, 1), []);
    assert_eq!(see(0, 2), [Violation::Reordered { row: 0, after: 1 }]);
}

#[test]
fn publishers_may_overtake_each_other() {
    let mut ledger = Ledger::new(1, 2);
    let mut witness = Witness::new(&ledger, SkipPolicy::Forbidden);
    witness.joined(0, Joined::Fresh(at(0)));
    for row in 0..4 {
        ledger.submit(0, id(row), DIGEST);
    }
    let mut see = |row, seq| witness.entry(&mut ledger, Seen { channel: 0, place: at(seq), ..right(row) });
    assert_eq!([see(1, 1), see(3, 2), see(0, 3)].concat(), []);
    assert_eq!(see(2, 4), []);
}

#[test]
fn a_place_other_than_the_publisher_was_told_is_found() {
    let mut run = Run::new(4, SkipPolicy::Forbidden);
    run.see_rows([0]);
    let moved = Seen { place: Cursor { epoch: 2, seq: 102 }, ..right(2) };
    assert_eq!(run.see(moved), [Violation::WrongPlace { row: 2, told: at(102), found: moved.place }]);
}

#[test]
fn an_answer_other_than_a_subscriber_saw_is_found() {
    let mut run = Run::new(0, SkipPolicy::Forbidden);
    let ticket = run.ledger.submit(0, id(0), DIGEST);
    run.see_rows([0]);
    let found = run.ledger.acknowledge(&ticket, id(9), Some(at(105)));
    assert_eq!(found, [Violation::WrongMessageId(0), Violation::WrongPlace { row: 0, told: at(101), found: at(105) }]);
}

#[test]
fn an_answer_without_a_place_is_found() {
    let mut run = Run::new(0, SkipPolicy::Forbidden);
    let ticket = run.ledger.submit(0, id(0), DIGEST);
    assert_eq!(run.ledger.acknowledge(&ticket, id(0), None), [Violation::NoPlace(0)]);
}

#[test]
fn a_row_stored_before_what_was_acknowledged_when_it_left_is_found() {
    let mut run = Run::new(4, SkipPolicy::Forbidden);
    let ticket = run.ledger.submit(0, id(4), DIGEST);
    let found = run.ledger.acknowledge(&ticket, id(4), Some(at(102)));
    assert_eq!(found, [Violation::AcknowledgedOutOfOrder { row: 4, seq: 102, after: 102 }]);
}

#[test]
fn wrong_content_id_and_channel_are_found() {
    let mut run = Run::new(4, SkipPolicy::Forbidden);
    assert_eq!(run.see(Seen { row: Some((0, DIGEST + 1)), ..right(0) }), [Violation::WrongContent(0)]);
    assert_eq!(run.see(Seen { message_id: Some(id(8)), ..right(2) }), [Violation::WrongMessageId(2)]);
    assert_eq!(run.see(Seen { channel: 0, place: at(103), ..right(1) })[0], Violation::WrongChannel(1));
}

#[test]
fn a_missing_message_id_is_a_wrong_one() {
    let mut run = Run::new(1, SkipPolicy::Forbidden);
    assert_eq!(run.see(Seen { message_id: None, ..right(0) }), [Violation::WrongMessageId(0)]);
}

#[test]
fn a_row_that_nobody_published_is_found() {
    let mut run = Run::new(1, SkipPolicy::Forbidden);
    assert_eq!(run.see(Seen { row: Some((9, DIGEST)), ..right(0) }), [Violation::Unpublished(9)]);
}

#[test]
fn an_epoch_that_falls_is_found() {
    let mut run = Run::new(4, SkipPolicy::Forbidden);
    run.see_rows([0]);
    let other = Seen { channel: 0, place: Cursor { epoch: 0, seq: 102 }, message_id: None, row: None };
    assert_eq!(run.see(other), [Violation::EpochBack { channel: 0, last: 1, found: 0 }]);
}

#[test]
fn a_skip_is_a_violation_unless_allowed() {
    let mut run = Run::new(6, SkipPolicy::Forbidden);
    run.see_rows([0, 1, 3, 5]);
    assert_eq!(run.skip(102, 102, 1), [Violation::Skipped { channel: 0, from: 102, to: 102 }]);
    assert_eq!(run.see_rows([4]), []);
    assert_eq!(run.missing(), [2]);

    let mut run = Run::new(6, SkipPolicy::Allowed);
    run.see_rows([0, 1, 3, 5]);
    assert_eq!(run.skip(102, 102, 1), []);
    assert_eq!(run.see_rows([4]), []);
    assert!(run.missing().is_empty());
}

#[test]
fn a_skip_has_to_begin_at_the_cursor_and_count_right() {
    let bad = |from, to| Violation::BadSkip { channel: 0, expected: 101, from, to };
    let mut run = Run::new(6, SkipPolicy::Allowed);
    assert_eq!(run.skip(101, 102, 3), [bad(101, 102)]);
    assert_eq!(run.skip(102, 101, 0), [bad(102, 101)]);
    assert_eq!(run.skip(100, 102, 3), [bad(100, 102)]);
    assert_eq!(run.skip(103, 103, 1), [bad(103, 103)]);
}

#[test]
fn a_skip_excuses_its_own_channel_only() {
    let mut run = Run::new(4, SkipPolicy::Allowed);
    assert_eq!(run.skip(101, 102, 2), []);
    assert_eq!(run.missing(), [1, 3]);
}

#[test]
fn a_whole_resume_changes_nothing() {
    let mut run = Run::new(6, SkipPolicy::Forbidden);
    run.see_rows([0]);
    assert_eq!(run.witness.cursor(0), Some(at(101)));
    assert_eq!(run.witness.joined(0, Joined::Whole), None);
    assert_eq!(run.see_rows([4]), [Violation::Gap { channel: 0, expected: 102, found: 103 }]);
}

#[test]
fn a_broken_resume_is_a_violation_unless_allowed() {
    let mut run = Run::new(6, SkipPolicy::Forbidden);
    run.see_rows([0, 1, 3, 5]);
    assert_eq!(run.witness.joined(0, Joined::Broken), Some(Violation::Unrecovered(0)));

    let mut run = Run::new(6, SkipPolicy::Allowed);
    run.see_rows([0, 1, 3, 5]);
    assert_eq!(run.witness.joined(0, Joined::Broken), None);
    assert_eq!(run.missing(), [2, 4], "not excused before it is known what comes");
    assert_eq!(run.see_rows([4]), []);
    assert!(run.missing().is_empty());
}

#[test]
fn beginning_again_without_a_cursor_is_a_broken_resume() {
    let mut run = Run::new(6, SkipPolicy::Forbidden);
    assert_eq!(run.witness.joined(0, Joined::Fresh(at(103))), Some(Violation::Unrecovered(0)));
}

#[test]
fn an_entry_before_the_subscription_is_found() {
    let mut ledger = Ledger::new(1, 1);
    let mut witness = Witness::new(&ledger, SkipPolicy::Forbidden);
    let seen = Seen { channel: 0, place: at(5), message_id: None, row: None };
    assert_eq!(witness.entry(&mut ledger, seen), [Violation::Gap { channel: 0, expected: 0, found: 5 }]);
}

#[test]
fn violations_are_counted_by_kind_and_reordering_can_be_forgiven() {
    let mut violations = Violations::default();
    let reordered = Violation::Reordered { row: 1, after: 2 };
    violations.note("subscriber 0", [reordered.clone(), reordered, Violation::Missing(3)]);
    assert_eq!((violations.total(), violations.forgive_reordered(), violations.total()), (3, 2, 1));
    let text = violations.to_string();
    assert!(text.contains("missing") && !text.contains("eordered"), "{text}");
}
