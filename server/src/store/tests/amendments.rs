//! Edits and deletions against a plain model, and messages as they stand now.

use std::collections::HashMap;

use hubbub_protocol::{Kind, Place as At};

use super::*;
use crate::store::{
    amendments::{Amendment, Authority, Unfit},
    messages::{self, End},
};

/// An entry in small numbers, so that it often concerns what another one concerns.
#[derive(Debug, Clone, Copy)]
struct Act {
    publisher: u8,
    id: u8,
    content: u8,
    /// Edits or deletes the entry at this seq.
    amends: Option<(bool, u8, bool)>,
    /// The versions that are good, a bit each from 1 on.
    expects: Option<u8>,
}

fn act() -> impl Strategy<Value = Act> {
    let amends = prop::option::weighted(0.7, (prop::bool::weighted(0.4), 1..10_u8, prop::bool::weighted(0.3)));
    let expects = prop::option::weighted(0.4, 0..8_u8);
    (0..2_u8, 0..40_u8, 0..2_u8, amends, expects).prop_map(|(publisher, id, content, amends, expects)| Act {
        publisher,
        id,
        content,
        amends,
        expects,
    })
}

impl Act {
    fn new_entry(self, case: u64) -> NewEntry {
        let amends = self.amends.map(|(deletes, refers, moderates)| Amendment {
            kind: if deletes { Kind::Delete } else { Kind::Edit },
            refers: refers.into(),
            authority: if moderates && deletes { Authority::Moderate } else { Authority::Own },
            expected: self.expects.map(|bits| (0..8).filter(|bit| bits >> bit & 1 == 1).map(|bit| bit + 1).collect()),
        });
        let deletes = amends.as_ref().is_some_and(|amendment| amendment.kind == Kind::Delete);
        let payload = if deletes { vec![0xc0] } else { vec![0xc4, 2, self.content, self.id] };
        let sort = amends.as_ref().map_or(0, |amendment| amendment.refers as i64 * 2 + i64::from(deletes));
        NewEntry {
            channel: channel(case, 0),
            publisher: if self.publisher == 0 { "alice" } else { "bob" }.into(),
            message_id: MessageId::new(1_000, [self.id; 10]),
            amends,
            key: None,
            digest: if deletes { sort } else { sort + 1_000 * i64::from(self.content) },
            payload: payload.into(),
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Outcome {
    Stored(u64),
    Duplicate(u64),
    IdReused,
    Unfit(Unfit),
}

/// The log, one entry after the other, and what its ids were answered.
#[derive(Default)]
struct Log {
    entries: Vec<Entry>,
    answers: HashMap<(u8, u8), (u64, i64)>,
}

impl Log {
    fn append(&mut self, batch: &[Act], case: u64, now: u64) -> Vec<Outcome> {
        let before = self.entries.len() as u64;
        let mut refused: HashMap<(u8, u8), (Unfit, i64)> = HashMap::new();
        let mut answer = |act: &Act| {
            let (new, id) = (act.new_entry(case), (act.publisher, act.id));
            match (self.answers.get(&id), refused.get(&id)) {
                (Some((seq, digest)), _) if *digest == new.digest => return Outcome::Duplicate(*seq),
                (_, Some((unfit, digest))) if *digest == new.digest => return Outcome::Unfit(*unfit),
                (None, None) => {}
                _ => return Outcome::IdReused,
            }
            if let Err(unfit) = self.judge(&new, before) {
                refused.insert(id, (unfit, new.digest));
                return Outcome::Unfit(unfit);
            }
            let seq = self.store(&new, now);
            self.answers.insert(id, (seq, new.digest));
            Outcome::Stored(seq)
        };
        batch.iter().map(&mut answer).collect()
    }

    fn judge(&self, new: &NewEntry, before: u64) -> Result<(), Unfit> {
        let Some(amendment) = &new.amends else { return Ok(()) };
        let target = self.entries[..before as usize].get(amendment.refers as usize - 1).filter(|entry| entry.kind == Kind::Message);
        let target = target.ok_or(Unfit::NoMessage)?;
        if amendment.authority == Authority::Own && target.publisher != new.publisher {
            return Err(Unfit::NotAuthor);
        }
        let version = 1 + self.entries.iter().filter(|entry| entry.refers == Some(amendment.refers)).count() as u64;
        if amendment.expected.as_ref().is_some_and(|versions| !versions.contains(&version)) {
            return Err(Unfit::Changed);
        }
        if self.deletion(amendment.refers).is_some() { Err(Unfit::Deleted) } else { Ok(()) }
    }

    fn deletion(&self, seq: u64) -> Option<&Entry> {
        self.entries.iter().find(|entry| entry.kind == Kind::Delete && entry.refers == Some(seq))
    }

    fn store(&mut self, new: &NewEntry, now: u64) -> u64 {
        let seq = self.entries.len() as u64 + 1;
        let messages = self.entries.iter().filter(|entry| entry.kind == Kind::Message).count() as u64;
        let ordinal = messages + u64::from(new.amends.is_none());
        self.entries.push(entries::entry(new, At { epoch: 1, seq, ordinal }, now));
        if let (Kind::Delete, Some(refers)) = (new.kind(), new.refers()) {
            let gone =
                |entry: &&mut Entry| entry.place.unwrap().seq == refers || (entry.kind == Kind::Edit && entry.refers == Some(refers));
            self.entries.iter_mut().filter(gone).for_each(|entry| entry.payload = Bytes::from_static(&[0xc0]));
        }
        seq
    }

    fn messages(&self) -> Vec<messages::Message> {
        let now = |entry: &Entry| {
            let seq = entry.place.unwrap().seq;
            let edits: Vec<_> = self.entries.iter().filter(|edit| edit.kind == Kind::Edit && edit.refers == Some(seq)).collect();
            let deletion = self.deletion(seq);
            let payload = edits.last().map_or(&entry.payload, |edit| &edit.payload).clone();
            messages::Message {
                entry: Entry { payload, ..entry.clone() },
                edited_at: edits.last().map(|edit| edit.time),
                edits: edits.len() as u32,
                deleted_at: deletion.map(|deletion| deletion.time),
                deleted_by: deletion.map(|deletion| deletion.publisher.clone()),
                has_attachments: false,
            }
        };
        self.entries.iter().filter(|entry| entry.kind == Kind::Message).map(now).collect()
    }
}

fn outcome(appended: &Appended) -> Outcome {
    match appended {
        Appended::Stored(entry) => Outcome::Stored(entry.place.unwrap().seq),
        Appended::Duplicate { seq, .. } => Outcome::Duplicate(*seq),
        Appended::IdReused => Outcome::IdReused,
        Appended::Unfit(unfit) => Outcome::Unfit(*unfit),
    }
}

const ALL: Page = Page { after: 0, upto: u64::MAX >> 1, entries: 1_000, bytes: usize::MAX };

async fn play_out(db: &Db, case: u64, batches: Vec<Vec<Act>>, window: (u64, u64, u32)) {
    let mut log = Log::default();
    for (batch, now) in batches.iter().zip(1_000_000..) {
        let news: Vec<NewEntry> = batch.iter().map(|act| act.new_entry(case)).collect();
        let appended = entries::append(db, &news, now).await.unwrap();
        let wanted = log.append(batch, case, now);
        assert_eq!(appended.iter().map(outcome).collect::<Vec<_>>(), wanted);
    }
    let name = channel(case, 0);
    let head = channels::head(db, &name).await.unwrap().unwrap();
    let messages = log.messages();
    assert_eq!((head.cursor().seq, head.ordinal()), (log.entries.len() as u64, messages.len() as u64));
    assert_eq!(entries::page(db, &name, head.channel_id, ALL).await.unwrap(), log.entries);
    assert_eq!(messages::page(db, &name, head.channel_id, ALL, End::Oldest).await.unwrap(), (messages.clone(), true));
    let (after, more, count) = window;
    let page = Page { after, upto: after + more, entries: count, ..ALL };
    let inside: Vec<_> = messages.iter().filter(|message| (after + 1..=after + more).contains(&message.entry.place.unwrap().seq)).collect();
    let some: Vec<_> = inside.iter().take(count as usize).map(|message| (*message).clone()).collect();
    assert_eq!(messages::page(db, &name, head.channel_id, page, End::Oldest).await.unwrap().0, some);
    let newest: Vec<_> = inside[inside.len().saturating_sub(count as usize)..].iter().map(|message| (*message).clone()).collect();
    assert_eq!(messages::page(db, &name, head.channel_id, page, End::Newest).await.unwrap().0, newest);
    let one = messages::one(db, &name, head.channel_id, after).await.unwrap();
    assert_eq!(one.as_ref(), messages.iter().find(|message| message.entry.place.unwrap().seq == after));
    let since = 1_000_000 + after % 6;
    let first = log.entries.iter().find(|entry| entry.time >= since).map_or(log.entries.len() as u64 + 1, |entry| entry.place.unwrap().seq);
    assert_eq!(messages::seq_at(db, head.channel_id, (1, head.cursor().seq), since).await.unwrap(), first);
}

#[test]
fn sqlite_amends_as_the_model_does() {
    amend(|| async { Place::sqlite() });
}

#[test]
fn postgres_amends_as_the_model_does() {
    amend(|| async { Place::Postgres(testing::Database::create().await) });
}

fn amend<F: Future<Output = Place>>(make: impl Fn() -> F) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let place = runtime.block_on(make());
    let db = runtime.block_on(place.open());
    let batches = prop::collection::vec(prop::collection::vec(act(), 1..16), 1..6);
    let strategy = (batches, (0..20_u64, 0..30_u64, 1..12_u32));
    let case = std::cell::Cell::new(0);
    let mut runner = TestRunner::new(Cases { cases: 150, failure_persistence: None, ..Cases::default() });
    let result = runner.run(&strategy, |(batches, window)| {
        case.set(case.get() + 1);
        runtime.block_on(play_out(&db, case.get(), batches, window));
        Ok(())
    });
    runtime.block_on(db.close());
    result.unwrap_or_else(|error| panic!("{error}"));
}

fn message(id: u8, size: usize) -> NewEntry {
    let payload = [vec![0xc5, (size >> 8) as u8, size as u8], vec![id; size]].concat().into();
    NewEntry { payload, ..Act { publisher: 0, id, content: 0, amends: None, expects: None }.new_entry(0) }
}

#[tokio::test]
async fn a_page_of_messages_keeps_its_bytes_whatever_they_were_edited_to() {
    for place in Place::all().await {
        let db = place.open().await;
        entries::append(&db, &[message(1, 9), message(2, 9), message(3, 9)], 1).await.unwrap();
        let grown = |id: u8, refers: u64| NewEntry {
            amends: Some(Amendment { kind: Kind::Edit, refers, authority: Authority::Own, expected: None }),
            ..message(id, 900)
        };
        entries::append(&db, &[grown(11, 1), grown(12, 2), grown(13, 3)], 2).await.unwrap();
        let name = channel(0, 0);
        let id = channels::head(&db, &name).await.unwrap().unwrap().channel_id;
        let seqs = |(messages, whole): (Vec<messages::Message>, bool)| {
            (messages.iter().map(|message| message.entry.place.unwrap().seq).collect::<Vec<_>>(), whole)
        };
        for (bytes, oldest, newest) in [(0, vec![1], vec![3]), (1_000, vec![1], vec![3]), (2_000, vec![1, 2], vec![2, 3])] {
            let page = Page { bytes, ..ALL };
            assert_eq!(seqs(messages::page(&db, &name, id, page, End::Oldest).await.unwrap()), (oldest, false));
            assert_eq!(seqs(messages::page(&db, &name, id, page, End::Newest).await.unwrap()), (newest, false));
        }
    }
}

#[tokio::test]
async fn of_many_deletions_at_once_one_is_stored() {
    for place in Place::all().await {
        let db = place.open().await;
        entries::append(&db, &[message(1, 1)], 1).await.unwrap();
        let amend = |id: u8, kind: Kind| NewEntry {
            amends: Some(Amendment { kind, refers: 1, authority: Authority::Own, expected: None }),
            ..message(id, 1)
        };
        let batches: Vec<Vec<NewEntry>> = (0..8).map(|n| vec![amend(10 + 2 * n, Kind::Edit), amend(11 + 2 * n, Kind::Delete)]).collect();
        let answers = futures_util::future::join_all(batches.iter().map(|batch| entries::append(&db, batch, 2))).await;
        let outcomes: Vec<Outcome> = answers.iter().flat_map(|answer| answer.as_ref().unwrap()).map(outcome).collect();
        let stored = outcomes.iter().filter(|outcome| matches!(outcome, Outcome::Stored(_))).count();
        let deleted = outcomes.iter().filter(|outcome| **outcome == Outcome::Unfit(Unfit::Deleted)).count();
        assert_eq!((stored, deleted), (2, 14), "the first batch whole, and nothing of the others: {outcomes:?}");
        let name = channel(0, 0);
        let id = channels::head(&db, &name).await.unwrap().unwrap().channel_id;
        let log = entries::page(&db, &name, id, ALL).await.unwrap();
        assert!(log[..2].iter().all(|entry| *entry.payload == [0xc0]), "the message's payload and its edit's");
    }
}

#[tokio::test]
async fn latest_keeps_an_edit_beside_the_newest_of_its_messages_key() {
    for place in Place::all().await {
        let db = place.open().await;
        entries::append(&db, &[message(1, 1), message(2, 1)], 1).await.unwrap();
        let edit = |id: u8, refers: u64| NewEntry {
            amends: Some(Amendment { kind: Kind::Edit, refers, authority: Authority::Own, expected: None }),
            ..message(id, 1)
        };
        entries::append(&db, &[edit(11, 1), edit(12, 2), edit(13, 1)], 2).await.unwrap();
        let name = channel(0, 0);
        let id = channels::head(&db, &name).await.unwrap().unwrap().channel_id;
        let latest = entries::latest(&db, &name, id, ALL).await.unwrap();
        assert_eq!(latest.iter().map(|entry| entry.place.unwrap().seq).collect::<Vec<_>>(), [2, 4, 5]);
    }
}
