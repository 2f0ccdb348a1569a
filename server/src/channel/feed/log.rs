//! A feed's memory of its channel: the position, and the recent entries up to it. Pure.

use std::{collections::VecDeque, sync::Arc};

use bytes::Bytes;
use hubbub_protocol::{Cursor, Entry, Kind, MessageId};

use super::{Bounds, Keep, Resume};
use crate::hub::Delivery;

/// What is left of a payload that was deleted, in MessagePack.
const NIL: u8 = 0xc0;

/// The recent end of a channel's log: `floor`, then the entries `floor.seq + 1 ..= position.seq` without holes.
#[derive(Debug)]
pub(super) struct Log {
    floor: Cursor,
    position: Cursor,
    recent: VecDeque<Arc<Delivery>>,
    bytes: usize,
    keep: Keep,
}

/// How an entry fits.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Fit {
    /// It is the next one, and is part of the log now.
    Next,
    /// It is in the log already.
    Old,
    /// Others come before it.
    Early,
    /// It is of a newer epoch: whether what is here is part of its past, only the store can tell.
    NewEpoch,
    /// Another one is in its place: the store has gone back in time.
    Contradiction,
}

impl Log {
    /// A log whose head is `position`; `recent` are the entries up to it.
    pub(super) fn new(position: Cursor, recent: Vec<Arc<Delivery>>, keep: Keep) -> Self {
        let mut log = Self { floor: position, position, recent: VecDeque::new(), bytes: 0, keep };
        // Only what ends exactly at the position, and has no holes.
        let whole =
            recent.last().is_none_or(|last| last.seq() == position.seq) && recent.windows(2).all(|pair| pair[0].seq() + 1 == pair[1].seq());
        if whole && let Some(first) = recent.first() {
            // The epoch before the first is not known: it is not a place from which to resume.
            log.floor = Cursor { epoch: if first.seq() == 1 { 0 } else { u64::MAX }, seq: first.seq() - 1 };
            log.bytes = recent.iter().map(|delivery| delivery.weight()).sum();
            log.recent = recent.into();
            log.heed_all();
        }
        log
    }

    pub(super) fn position(&self) -> Cursor {
        self.position
    }

    /// The id of the entry at the position, if it is here.
    pub(super) fn newest(&self) -> Option<MessageId> {
        self.recent.back()?.entry.message_id
    }

    /// Where memory begins: what comes after it is here.
    pub(super) fn floor(&self) -> Cursor {
        self.floor
    }

    /// Takes entries that come before those in memory, if they end where it begins and have no holes.
    pub(super) fn prepend(&mut self, older: Vec<Arc<Delivery>>) {
        let older = Log::new(self.floor, older, self.keep);
        if !older.recent.is_empty() {
            self.floor = older.floor;
            self.bytes += older.bytes;
            self.recent = older.recent.into_iter().chain(self.recent.drain(..)).collect();
            self.heed_all();
        }
    }

    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Takes `delivery` if it is the next. Up to epoch `compared` the store is known to share the past of this log.
    pub(super) fn accept(&mut self, delivery: &Arc<Delivery>, compared: u64) -> Fit {
        let Some(cursor) = delivery.entry.cursor() else { return Fit::Old };
        if self.position.seq > 0 && cursor.epoch > self.position.epoch.max(compared) {
            return Fit::NewEpoch;
        }
        if cursor.epoch < self.position.epoch {
            // Of a past that is no more: epochs never fall within a log.
            return Fit::Old;
        }
        if cursor.seq <= self.position.seq {
            let here = (cursor.seq > self.floor.seq).then(|| &self.recent[(cursor.seq - self.floor.seq - 1) as usize]);
            let same = here.is_none_or(|here| here.entry.message_id == delivery.entry.message_id);
            return if same { Fit::Old } else { Fit::Contradiction };
        }
        if cursor.seq > self.position.seq + 1 {
            return Fit::Early;
        }
        self.position = cursor;
        self.bytes += delivery.weight();
        self.recent.push_back(delivery.clone());
        self.heed(&delivery.entry);
        Fit::Next
    }

    /// A deletion takes the payloads of the message that it refers to and of its edits: whoever resumes from here gets what the store has.
    fn heed(&mut self, entry: &Entry) {
        let (Kind::Delete, Some(refers)) = (entry.kind, entry.refers) else { return };
        // Edits come after their message, and before its deletion.
        let from = refers.saturating_sub(self.floor.seq + 1).min(self.recent.len() as u64) as usize;
        for held in self.recent.range_mut(from..) {
            let is_message = held.seq() == refers;
            let is_edit = held.entry.kind == Kind::Edit && held.entry.refers == Some(refers);
            if is_message || is_edit {
                self.bytes -= held.weight();
                *held = Delivery::new(Arc::new(Entry { payload: Bytes::from_static(&[NIL]), ..(*held.entry).clone() }));
                self.bytes += held.weight();
            }
        }
    }

    /// The same for every deletion that is here: what was read from the store in several reads may be older than they are.
    fn heed_all(&mut self) {
        let deletions: Vec<_> = self.recent.iter().filter(|held| held.entry.kind == Kind::Delete).map(|held| held.entry.clone()).collect();
        deletions.iter().for_each(|deletion| self.heed(deletion));
    }

    /// Begins anew with `delivery`, whose elders are nowhere to be had.
    pub(super) fn jump(&mut self, delivery: &Arc<Delivery>) {
        if let Some(cursor) = delivery.entry.cursor() {
            let before = Cursor { epoch: u64::MAX, seq: cursor.seq - 1 };
            *self = Self { floor: before, position: before, recent: VecDeque::new(), bytes: 0, keep: self.keep };
            self.position.epoch = cursor.epoch;
            self.accept(delivery, cursor.epoch);
        }
    }

    /// Forgets the oldest beyond the bounds; `spare` is how much of the common memory is left, in bytes, and may be negative.
    pub(super) fn trim(&mut self, bounds: &Bounds, spare: isize) {
        let mut over = -spare;
        let entries = bounds.entries.min(self.keep.entries);
        while let Some(oldest) = self.recent.front()
            && (self.recent.len() > entries || self.bytes > bounds.bytes || over > 0)
        {
            let weight = oldest.weight();
            self.floor = oldest.entry.cursor().unwrap_or(self.floor);
            self.bytes -= weight;
            over -= weight as isize;
            self.recent.pop_front();
        }
    }

    /// Whether a subscriber at `since` can be served from here. `oldest` is the time of the oldest entry that the history still shows.
    pub(super) fn judge(&self, since: Option<Cursor>, oldest: u64) -> Resume {
        let Some(since) = since else { return Resume::Fresh };
        if since.seq > self.position.seq || since.seq < self.floor.seq {
            return Resume::AskStore;
        }
        let at = (since.seq - self.floor.seq) as usize;
        let epoch = if since.seq == self.position.seq {
            self.position.epoch
        } else if at == 0 {
            self.floor.epoch
        } else {
            self.recent[at - 1].entry.place.map_or(0, |place| place.epoch)
        };
        let expired = self.recent.get(at).is_some_and(|next| next.entry.time < oldest);
        match epoch {
            _ if expired || epoch == u64::MAX => Resume::AskStore,
            _ if since.seq == 0 || epoch == since.epoch => Resume::Whole,
            _ => Resume::OtherEpoch,
        }
    }

    /// The entries after `seq`, oldest first; `None` if some of them are not here.
    pub(super) fn after(&self, seq: u64) -> Option<impl DoubleEndedIterator<Item = &Arc<Delivery>>> {
        (self.floor.seq..=self.position.seq).contains(&seq).then(|| self.recent.range((seq - self.floor.seq) as usize..))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use hubbub_protocol::{ChannelName, Place};

    use super::*;

    const KEEP: Keep = Keep { entries: 1_000, age: Duration::from_secs(60) };

    fn delivery(epoch: u64, seq: u64) -> Arc<Delivery> {
        Delivery::new(Arc::new(Entry {
            channel: ChannelName::parse("room:1").unwrap(),
            place: Some(Place { epoch, seq, ordinal: seq }),
            kind: Kind::Message,
            refers: None,
            message_id: None,
            publisher: "alice".into(),
            key: None,
            time: 100,
            payload: Bytes::from_static(&[0xc0]),
        }))
    }

    fn at(epoch: u64, seq: u64) -> Cursor {
        Cursor { epoch, seq }
    }

    #[test]
    fn takes_entries_in_order_only() {
        let mut log = Log::new(at(1, 5), vec![], KEEP);
        assert_eq!(log.accept(&delivery(1, 5), 2), Fit::Old);
        assert_eq!(log.accept(&delivery(1, 7), 2), Fit::Early);
        assert_eq!(log.accept(&delivery(1, 6), 2), Fit::Next);
        assert_eq!(log.accept(&delivery(2, 7), 2), Fit::Next);
        assert_eq!(log.position(), at(2, 7));
        assert_eq!(log.after(5).unwrap().count(), 2);
        assert!(log.after(4).is_none());
        assert!(log.after(8).is_none());
    }

    #[test]
    fn asks_the_store_before_it_follows_a_newer_epoch() {
        let mut log = Log::new(at(1, 5), vec![], KEEP);
        assert_eq!(log.accept(&delivery(2, 6), 0), Fit::NewEpoch);
        assert_eq!(log.accept(&delivery(2, 4), 0), Fit::NewEpoch, "the store may have gone back");
        assert_eq!(log.accept(&delivery(2, 6), 2), Fit::Next);
        assert_eq!(log.accept(&delivery(1, 7), 2), Fit::Old, "epochs never fall within a log");
        let mut empty = Log::new(at(0, 0), vec![], KEEP);
        assert_eq!(empty.accept(&delivery(7, 1), 0), Fit::Next);
    }

    #[test]
    fn knows_another_entry_in_the_place_of_one_that_it_holds() {
        let mut log = Log::new(at(1, 5), vec![], KEEP);
        log.accept(&delivery(1, 6), 1);
        assert_eq!(log.accept(&delivery(1, 6), 1), Fit::Old);
        let mut other = (*delivery(1, 6).entry).clone();
        other.message_id = Some(hubbub_protocol::MessageId::new(1, [7; 10]));
        assert_eq!(log.accept(&Delivery::new(Arc::new(other)), 1), Fit::Contradiction);
    }

    #[test]
    fn judges_cursors_by_the_epoch_of_their_entry() {
        let mut log = Log::new(at(1, 5), vec![], KEEP);
        log.accept(&delivery(1, 6), 2);
        log.accept(&delivery(2, 7), 2);
        assert_eq!(log.judge(None, 0), Resume::Fresh);
        assert_eq!(log.judge(Some(at(1, 5)), 0), Resume::Whole);
        assert_eq!(log.judge(Some(at(1, 6)), 0), Resume::Whole);
        assert_eq!(log.judge(Some(at(2, 7)), 0), Resume::Whole);
        assert_eq!(log.judge(Some(at(1, 7)), 0), Resume::OtherEpoch);
        assert_eq!(log.judge(Some(at(2, 6)), 0), Resume::OtherEpoch);
        assert_eq!(log.judge(Some(at(1, 4)), 0), Resume::AskStore);
        assert_eq!(log.judge(Some(at(2, 8)), 0), Resume::AskStore);
        assert_eq!(log.judge(Some(at(1, 5)), 101), Resume::AskStore, "the next entry is too old to be shown");
    }

    fn amendment(seq: u64, kind: Kind, refers: u64, text: &'static [u8]) -> Arc<Delivery> {
        let entry = Entry { kind, refers: Some(refers), payload: Bytes::from_static(text), ..(*delivery(1, seq).entry).clone() };
        Delivery::new(Arc::new(entry))
    }

    fn text(seq: u64) -> Arc<Delivery> {
        Delivery::new(Arc::new(Entry { payload: Bytes::from_static(&[0xa1, b'x']), ..(*delivery(1, seq).entry).clone() }))
    }

    fn payloads(log: &Log) -> Vec<&[u8]> {
        log.recent.iter().map(|held| &*held.entry.payload).collect()
    }

    #[test]
    fn forgets_what_was_deleted() {
        let mut log = Log::new(at(1, 0), vec![], KEEP);
        for delivery in [text(1), text(2), amendment(3, Kind::Edit, 1, &[7]), amendment(4, Kind::Edit, 2, &[8])] {
            log.accept(&delivery, 1);
        }
        assert_eq!(log.accept(&amendment(5, Kind::Delete, 1, &[0xc0]), 1), Fit::Next);
        assert_eq!(payloads(&log), [&[0xc0][..], &[0xa1, b'x'], &[0xc0], &[8], &[0xc0]]);
        assert_eq!(log.bytes(), log.recent.iter().map(|held| held.weight()).sum::<usize>());
        log.trim(&Bounds { entries: 3, bytes: usize::MAX, total_bytes: usize::MAX }, 1);
        log.accept(&amendment(6, Kind::Delete, 2, &[0xc0]), 1);
        assert_eq!(payloads(&log), [&[0xc0][..], &[0xc0], &[0xc0], &[0xc0]], "its message is not here, its edit is");
    }

    #[test]
    fn forgets_what_was_deleted_while_it_was_read() {
        let loaded = vec![text(2), amendment(3, Kind::Edit, 2, &[7]), amendment(4, Kind::Delete, 2, &[0xc0])];
        assert_eq!(payloads(&Log::new(at(1, 4), loaded, KEEP)), [[0xc0]; 3]);
        let mut log = Log::new(at(1, 2), vec![], KEEP);
        log.accept(&amendment(3, Kind::Delete, 1, &[0xc0]), 1);
        log.prepend(vec![text(1), text(2)]);
        assert_eq!(payloads(&log), [&[0xc0][..], &[0xa1, b'x'], &[0xc0]]);
    }

    #[test]
    fn keeps_its_bounds() {
        let mut log = Log::new(at(1, 0), vec![], KEEP);
        let bounds = Bounds { entries: 4, bytes: usize::MAX, total_bytes: usize::MAX };
        for seq in 1..=10 {
            log.accept(&delivery(1, seq), 2);
            log.trim(&bounds, 1);
        }
        assert_eq!(log.after(6).unwrap().count(), 4);
        assert!(log.after(5).is_none());
        assert_eq!(log.judge(Some(at(1, 6)), 0), Resume::Whole);
        log.trim(&bounds, -1);
        assert!(log.after(6).is_none());
        log.trim(&Bounds { bytes: 0, ..bounds }, 1);
        assert_eq!((log.bytes(), log.after(10).unwrap().count()), (0, 0));
    }

    #[test]
    fn loads_only_what_has_no_holes() {
        let log = Log::new(at(1, 3), vec![delivery(1, 2), delivery(1, 3)], KEEP);
        assert_eq!(log.judge(Some(at(1, 2)), 0), Resume::Whole);
        assert_eq!(log.judge(Some(at(1, 1)), 0), Resume::AskStore);
        let log = Log::new(at(1, 2), vec![delivery(1, 1), delivery(1, 2)], KEEP);
        assert_eq!(log.judge(Some(at(0, 0)), 0), Resume::Whole);
        assert!(Log::new(at(1, 4), vec![delivery(1, 2), delivery(1, 4)], KEEP).after(2).is_none());
    }
}
