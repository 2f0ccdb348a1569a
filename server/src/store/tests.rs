//! The store against a plain model: what is appended, what is answered, what is read back; and its memory of its own past.

mod amendments;
mod plans;
mod postgres;
mod publish;
mod rewind;

use std::collections::{BTreeSet, HashMap};

use bytes::Bytes;
use hubbub_protocol::{ChannelName, Entry, Key, MessageId};
use proptest::{
    prelude::*,
    test_runner::{Config as Cases, TestRunner},
};

use super::{
    Db, Lease, LeaseError, LeaseKind, Mark, channels,
    entries::{self, Appended, NewEntry, Page},
    epoch, on, testing,
    testing::Place,
};
async fn open(dir: &tempfile::TempDir) -> Db {
    let db = Db::open(&testing::sqlite(&dir.path().join("t.db"))).await.unwrap();
    db.migrate().await.unwrap();
    db
}

/// Takes a channel back to what it had at `seq`, as a restore does.
pub(crate) async fn rewind(db: &Db, channel: &ChannelName, seq: u64) {
    let Some(head) = channels::head(db, channel).await.unwrap() else { return };
    let mut tx = db.begin().await.unwrap();
    for text in [
        "DELETE FROM entries WHERE channel_id = $1 AND seq > $2",
        "DELETE FROM publishes WHERE channel_id = $1 AND seq > $2",
        "UPDATE channels SET head_seq = $2, head_ordinal = $2,
         head_epoch = COALESCE((SELECT epoch FROM entries WHERE channel_id = $1 AND seq = $2), 0) WHERE id = $1 AND head_seq > $2",
    ] {
        on!(&mut tx, conn => sqlx::query(text).bind(head.channel_id).bind(seq as i64).execute(conn).await.map(drop)).unwrap();
    }
    tx.commit().await.unwrap();
}

/// A message in small numbers, so that ids and contents meet again.
#[derive(Debug, Clone, Copy)]
struct Small {
    channel: u8,
    publisher: u8,
    id: u8,
    content: u8,
    key: Option<u8>,
}

fn small() -> impl Strategy<Value = Small> {
    let key = prop::option::weighted(0.7, 0..3_u8);
    (0..3_u8, 0..2_u8, 0..12_u8, 0..2_u8, key).prop_map(|(channel, publisher, id, content, key)| Small {
        channel,
        publisher,
        id,
        content,
        key,
    })
}

fn channel(case: u64, number: u8) -> ChannelName {
    ChannelName::parse(&format!("c{case}:{number}")).unwrap()
}

impl Small {
    fn new_entry(self, case: u64) -> NewEntry {
        NewEntry {
            channel: channel(case, self.channel),
            publisher: if self.publisher == 0 { "alice" } else { "bob" }.into(),
            message_id: MessageId::new(1_000, [self.id; 10]),
            amends: None,
            key: self.key.map(|key| Key::parse(&format!("k{key}")).unwrap()),
            payload: Bytes::from(vec![0xc4, 2, self.content, self.id]),
            digest: i64::from(self.content) - 7,
        }
    }
}

/// What the store should be.
#[derive(Default)]
struct Model {
    logs: HashMap<u8, Vec<Entry>>,
    /// By channel, publisher and id: place in the log, and content.
    first: HashMap<(u8, u8, u8), (usize, u8)>,
}

#[derive(Debug, PartialEq)]
enum Expected {
    Stored(u64),
    Duplicate(u64, u64),
    IdReused,
}

impl Model {
    fn append(&mut self, small: Small, case: u64, now: u64) -> Expected {
        let log = self.logs.entry(small.channel).or_default();
        let id = (small.channel, small.publisher, small.id);
        match self.first.get(&id) {
            Some((at, content)) if *content == small.content => Expected::Duplicate(*at as u64 + 1, log[*at].time),
            Some(_) => Expected::IdReused,
            None => {
                self.first.insert(id, (log.len(), small.content));
                let new = small.new_entry(case);
                let seq = log.len() as u64 + 1;
                log.push(Entry {
                    channel: new.channel,
                    place: Some(hubbub_protocol::Place { epoch: 1, seq, ordinal: seq }),
                    kind: hubbub_protocol::Kind::Message,
                    refers: None,
                    message_id: Some(new.message_id),
                    publisher: new.publisher,
                    key: new.key,
                    time: now,
                    payload: new.payload,
                });
                Expected::Stored(seq)
            }
        }
    }

    /// The entries in `after..=upto`.
    fn range(&self, channel: u8, page: Page) -> Vec<&Entry> {
        let log = self.logs.get(&channel).map_or(&[][..], Vec::as_slice);
        log.iter().filter(|entry| (page.after + 1..=page.upto).contains(&entry.place.unwrap().seq)).collect()
    }
}

/// The first of `entries` that a page holds.
fn paged<'e>(entries: impl Iterator<Item = &'e Entry>, page: Page) -> Vec<Entry> {
    let mut bytes = 0;
    let fits = |entry: &&Entry| {
        bytes += entry.payload.len();
        bytes <= page.bytes || bytes == entry.payload.len()
    };
    entries.take(page.entries as usize).take_while(fits).cloned().collect()
}

fn expected(appended: &Appended) -> Expected {
    match appended {
        Appended::Stored(entry) => Expected::Stored(entry.place.unwrap().seq),
        Appended::Duplicate { seq, time, .. } => Expected::Duplicate(*seq, *time),
        Appended::IdReused => Expected::IdReused,
        Appended::Unfit(unfit) => panic!("a message amends nothing: {unfit:?}"),
    }
}

async fn play(db: &Db, case: u64, batches: Vec<Vec<Small>>, pages: Vec<(u8, Page)>, since: u64) {
    let mut model = Model::default();
    let mut now = 1_000_000;
    for batch in batches {
        // Time may stand still, and go back.
        now = if now % 3 == 0 { now - 1 } else { now + 1 + batch.len() as u64 };
        let news: Vec<NewEntry> = batch.iter().map(|small| small.new_entry(case)).collect();
        let appended = entries::append(db, &news, now).await.unwrap();
        let wanted: Vec<Expected> = batch.iter().map(|small| model.append(*small, case, now)).collect();
        assert_eq!(appended.iter().map(expected).collect::<Vec<_>>(), wanted);
    }
    for (number, page) in pages {
        let name = channel(case, number);
        let Some(head) = channels::head(db, &name).await.unwrap() else {
            assert!(!model.logs.contains_key(&number));
            continue;
        };
        let log = &model.logs[&number];
        assert_eq!((head.cursor().seq, head.ordinal()), (log.len() as u64, log.len() as u64));
        let range = model.range(number, page);
        assert_eq!(entries::page(db, &name, head.channel_id, page).await.unwrap(), paged(range.iter().copied(), page));
        let mut backwards = paged(range.iter().rev().copied(), page);
        backwards.reverse();
        assert_eq!(entries::page_backwards(db, &name, head.channel_id, page).await.unwrap(), backwards);
        let mut keys = BTreeSet::new();
        let mut latest: Vec<&Entry> =
            range.iter().rev().filter(|entry| keys.insert(entry.key.as_ref().map(Key::as_str))).copied().collect();
        latest.reverse();
        assert_eq!(entries::latest(db, &name, head.channel_id, page).await.unwrap(), paged(latest.into_iter(), page));
        let first = log
            .iter()
            .find(|entry| entry.place.unwrap().seq > page.after && entry.time >= since)
            .map(|entry| (entry.place.unwrap().seq, 1));
        assert_eq!(entries::first(db, head.channel_id, page.after, since).await.unwrap(), first);
        let at = log.get((page.after as usize).wrapping_sub(1)).map(|_| 1);
        assert_eq!(entries::epoch_at(db, head.channel_id, page.after).await.unwrap(), at);
    }
}

#[test]
fn sqlite_appends_and_reads_as_the_model_does() {
    compare(|| async { Place::sqlite() });
}

#[test]
fn postgres_appends_and_reads_as_the_model_does() {
    compare(|| async { Place::Postgres(testing::Database::create().await) });
}

fn compare<F: Future<Output = Place>>(make: impl Fn() -> F) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let place = runtime.block_on(make());
    let db = runtime.block_on(place.open());
    let batches = prop::collection::vec(prop::collection::vec(small(), 1..24), 1..6);
    let page = (0..3_u8, 0..30_u64, 0..40_u64, 1..12_u32, 0..40_usize)
        .prop_map(|(channel, after, more, entries, bytes)| (channel, Page { after, upto: after + more, entries, bytes }));
    let strategy = (batches, prop::collection::vec(page, 1..6), 999_990..1_000_080_u64);
    let case = std::cell::Cell::new(0);
    let mut runner = TestRunner::new(Cases { cases: 150, failure_persistence: None, ..Cases::default() });
    let result = runner.run(&strategy, |(batches, pages, since)| {
        case.set(case.get() + 1);
        runtime.block_on(play(&db, case.get(), batches, pages, since));
        Ok(())
    });
    runtime.block_on(db.close());
    result.unwrap_or_else(|error| panic!("{error}"));
}

#[tokio::test]
async fn numbers_beyond_a_column_are_beyond_every_row() {
    for place in Place::all().await {
        numbers_beyond(&place.open().await).await;
    }
}

async fn numbers_beyond(db: &Db) {
    let small = Small { channel: 0, publisher: 0, id: 1, content: 0, key: None };
    entries::append(db, &[small.new_entry(0)], 5).await.unwrap();
    let name = channel(0, 0);
    let id = channels::head(db, &name).await.unwrap().unwrap().channel_id;
    let page = |after, upto| Page { after, upto, entries: 10, bytes: 1_000 };
    assert_eq!(entries::page(db, &name, id, page(u64::MAX, u64::MAX)).await.unwrap().len(), 0);
    assert_eq!(entries::page_backwards(db, &name, id, page(1 << 63, u64::MAX)).await.unwrap().len(), 0);
    assert_eq!(entries::page(db, &name, id, page(0, u64::MAX)).await.unwrap().len(), 1);
    assert_eq!(entries::first(db, id, u64::MAX, 0).await.unwrap(), None);
    assert_eq!(entries::first(db, id, 0, u64::MAX).await.unwrap(), None);
    assert_eq!(entries::epoch_at(db, id, u64::MAX).await.unwrap(), None);
}

#[tokio::test]
async fn a_link_to_the_database_is_the_same_database() {
    let dir = tempfile::tempdir().unwrap();
    let db = open(&dir).await;
    let _lease = Lease::take(&db, "the first".into(), LeaseKind::Exclusive).await.unwrap();
    std::os::unix::fs::symlink(dir.path().join("t.db"), dir.path().join("link.db")).unwrap();
    let linked = Db::open(&testing::sqlite(&dir.path().join("link.db"))).await.unwrap();
    assert!(matches!(Lease::take(&linked, "the second".into(), LeaseKind::Exclusive).await, Err(LeaseError::Held(_))));
}

/// The files of a database that nobody has open.
fn copy(dir: &tempfile::TempDir, names: [&str; 2]) {
    std::fs::copy(dir.path().join(names[0]), dir.path().join(names[1])).unwrap();
}

async fn alter(db: &Db, sql: &'static str) {
    let mut tx = db.begin().await.unwrap();
    on!(&mut tx, conn => sqlx::query(sql).execute(conn).await.map(drop)).unwrap();
    tx.commit().await.unwrap();
}

/// One run of an instance: opens the store with `mark`, appends `count` entries, and stops in good order. Returns the epoch.
async fn run(dir: &tempfile::TempDir, mark: &str, count: u8) -> u64 {
    let db = open(dir).await;
    let opened = Mark::open(&db, mark.to_owned()).await.unwrap();
    let batch: Vec<NewEntry> = (0..count)
        .map(|id| NewEntry {
            message_id: MessageId::new(1, [id; 10]),
            publisher: mark.into(),
            ..Small { channel: 0, publisher: 0, id, content: 0, key: None }.new_entry(0)
        })
        .collect();
    entries::append(&db, &batch, 1).await.unwrap();
    opened.note(&db).await.unwrap();
    db.close().await;
    opened.epoch
}

#[tokio::test]
async fn a_copy_that_is_restored_twice_gets_a_new_epoch_twice() {
    let dir = tempfile::tempdir().unwrap();
    assert_eq!(run(&dir, "a", 3).await, 1);
    copy(&dir, ["t.db", "backup"]);
    assert_eq!(run(&dir, "b", 3).await, 1, "a restart is not another past");
    copy(&dir, ["backup", "t.db"]);
    assert_eq!(run(&dir, "c", 3).await, 2);
    copy(&dir, ["backup", "t.db"]);
    assert_eq!(run(&dir, "d", 3).await, 3, "what the first restore wrote under 2 is gone: cursors of it must not be taken for good");
    assert_eq!(run(&dir, "e", 1).await, 3);
}

#[tokio::test]
async fn a_database_that_was_deleted_begins_with_another_epoch() {
    let dir = tempfile::tempdir().unwrap();
    assert_eq!(run(&dir, "a", 3).await, 1);
    for name in ["t.db", "t.db-wal", "t.db-shm"] {
        let _ = std::fs::remove_file(dir.path().join(name));
    }
    assert_eq!(run(&dir, "b", 3).await, 2);
}

#[tokio::test]
async fn a_crash_while_the_epoch_rises_does_not_undo_it() {
    let dir = tempfile::tempdir().unwrap();
    run(&dir, "a", 3).await;
    copy(&dir, ["t.db", "backup"]);
    run(&dir, "b", 3).await;
    copy(&dir, ["backup", "t.db"]);
    // What stands beside the file is written before the raise is committed; here the commit never comes.
    let db = open(&dir).await;
    alter(&db, "CREATE TRIGGER crash BEFORE UPDATE ON cluster BEGIN SELECT RAISE(ABORT, 'crash'); END").await;
    assert!(Mark::open(&db, "c".into()).await.is_err());
    alter(&db, "DROP TRIGGER crash").await;
    db.close().await;
    assert_eq!(run(&dir, "d", 1).await, 2, "the raise was lost with the crash");
}

#[tokio::test]
async fn a_crash_while_the_mark_changes_is_not_another_past() {
    let dir = tempfile::tempdir().unwrap();
    run(&dir, "a", 3).await;
    let mark = dir.path().join("t.db.mark");
    let before = std::fs::read(&mark).unwrap();
    copy(&dir, ["t.db", "backup"]);
    run(&dir, "b", 0).await;
    // As the first note of that start left it: both marks, for a file that has either.
    let beside = String::from_utf8(before).unwrap().replace("[\"a\"]", "[\"a\",\"b\"]");
    std::fs::write(&mark, &beside).unwrap();
    assert_eq!(run(&dir, "c", 0).await, 1, "after the commit");
    copy(&dir, ["backup", "t.db"]);
    std::fs::write(&mark, &beside).unwrap();
    assert_eq!(run(&dir, "d", 0).await, 1, "before the commit");
}

#[tokio::test]
async fn two_processes_of_one_file_write_the_mark_of_whoever_started_last() {
    let dir = tempfile::tempdir().unwrap();
    let (one, two) = (open(&dir).await, open(&dir).await);
    let first = Mark::open(&one, "a".into()).await.unwrap();
    let second = Mark::open(&two, "b".into()).await.unwrap();
    let small = |id| Small { channel: 0, publisher: 0, id, content: 0, key: None }.new_entry(0);
    entries::append(&one, &[small(1)], 1).await.unwrap();
    second.note(&two).await.unwrap();
    entries::append(&two, &[small(2)], 1).await.unwrap();
    // The one that started first, and knows the mark of its own start, is the last to write.
    first.note(&one).await.unwrap();
    one.close().await;
    two.close().await;
    assert_eq!(run(&dir, "c", 3).await, 1, "nobody restored anything");
    copy(&dir, ["t.db", "backup"]);
    run(&dir, "d", 3).await;
    copy(&dir, ["backup", "t.db"]);
    assert_eq!(run(&dir, "e", 0).await, 2);
}

#[tokio::test]
async fn an_epoch_that_was_raised_at_work_is_noted_beside_the_file() {
    let dir = tempfile::tempdir().unwrap();
    let db = open(&dir).await;
    let mark = Mark::open(&db, "a".into()).await.unwrap();
    mark.note(&db).await.unwrap();
    db.close().await;
    copy(&dir, ["t.db", "backup"]);
    let db = open(&dir).await;
    let mark = Mark::open(&db, "b".into()).await.unwrap();
    assert_eq!(epoch::raise(&db, 4).await.unwrap(), 5);
    mark.note(&db).await.unwrap();
    db.close().await;
    copy(&dir, ["backup", "t.db"]);
    assert_eq!(run(&dir, "c", 0).await, 6, "above all that were given to entries");
}
