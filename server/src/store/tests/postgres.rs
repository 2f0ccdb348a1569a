//! What only a server can show: writers that meet, transactions that overlap, sessions that end.

use std::{collections::HashSet, sync::Arc, time::Duration};

use hubbub_protocol::{ChannelName, MessageId};
use sqlx::Executor;

use super::*;
use crate::{
    store::{
        StoreError, epoch, events, listen,
        look::{self, Looked},
        testing::Database,
    },
    world::World,
};

/// A message of `publisher` with the number `id`.
fn message(channel: &str, publisher: &str, id: u32) -> NewEntry {
    let mut random = [0; 10];
    random[6..].copy_from_slice(&id.to_be_bytes());
    NewEntry {
        channel: ChannelName::parse(channel).unwrap(),
        publisher: publisher.into(),
        message_id: MessageId::new(1_000, random),
        amends: None,
        key: None,
        payload: Bytes::from_static(&[1]),
        digest: 0,
    }
}

async fn open(database: &Database) -> Db {
    let db = Db::open(&testing::config(&database.url)).await.unwrap();
    db.migrate().await.unwrap();
    Mark::open(&db, String::new()).await.unwrap();
    db
}

/// The heads of the next look. Open transactions of other tests on this server may make it name some again.
async fn heads(db: &Db, since: &mut look::Since) -> Vec<(String, u64)> {
    let looked = look::look(db, Some(*since)).await.unwrap();
    assert!(!looked.went_back);
    *since = looked.since;
    let mut heads: Vec<_> = looked.heads.iter().map(|(name, head)| (name.to_string(), head.cursor().seq)).collect();
    heads.sort();
    heads
}

/// Looks until nothing is named again.
async fn until_quiet(db: &Db, since: &mut look::Since) {
    while !heads(db, since).await.is_empty() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// All events, once `count` are told: an open transaction of another test holds back what came after it began.
async fn logged(db: &Db, count: usize) -> Vec<events::Logged> {
    loop {
        let logged = events::after(db, 0, 1_000).await.unwrap();
        if logged.len() >= count {
            return logged;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

async fn first_look(db: &Db) -> look::Since {
    let Looked { heads, since, went_back, .. } = look::look(db, None).await.unwrap();
    assert!(heads.is_empty() && !went_back);
    since
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn batches_that_cross_make_one_order_and_no_deadlock() {
    const WRITERS: u32 = 4;
    const BATCHES: u32 = 25;
    const ROWS: u32 = 40;
    let database = Database::create().await;
    let handles = [open(&database).await, open(&database).await];
    let write = |db: Db, writer: u32| async move {
        let mut stored = Vec::new();
        for batch in 0..BATCHES {
            // Some channels that all know and some that all make at the same time, each writer in another order.
            let name = |row: u32| {
                let row = (row * 7 + writer * 11) % ROWS;
                if row < 20 { format!("shared:{row}") } else { format!("new:{batch}:{row}") }
            };
            let mut news: Vec<_> = (0..ROWS).map(|row| message(&name(row), "w", (writer * BATCHES + batch) * ROWS + row)).collect();
            if writer.is_multiple_of(2) {
                news.reverse();
            }
            for appended in entries::append(&db, &news, 1).await.unwrap() {
                let entry = appended.stored().unwrap();
                stored.push((entry.channel.clone(), entry.place.unwrap().seq, entry.message_id));
            }
        }
        stored
    };
    let writers: Vec<_> = (0..WRITERS).map(|writer| tokio::spawn(write(handles[writer as usize % 2].clone(), writer))).collect();
    let mut answered: HashMap<ChannelName, Vec<(u64, Option<MessageId>)>> = HashMap::new();
    for writer in writers {
        for (channel, seq, id) in writer.await.unwrap() {
            answered.entry(channel).or_default().push((seq, id));
        }
    }
    assert_eq!(answered.len() as u32, 20 + 20 * BATCHES);
    for (name, mut answers) in answered {
        answers.sort();
        assert_eq!(answers.iter().map(|(seq, _)| *seq).collect::<Vec<_>>(), (1..=answers.len() as u64).collect::<Vec<_>>());
        let head = channels::head(&handles[0], &name).await.unwrap().unwrap();
        assert_eq!((head.cursor().seq, head.ordinal()), (answers.len() as u64, answers.len() as u64));
        let page = Page { after: 0, upto: u64::MAX, entries: 1_000, bytes: usize::MAX };
        let log = entries::page(&handles[0], &name, head.channel_id, page).await.unwrap();
        let log: Vec<_> = log.iter().map(|entry| (entry.place.unwrap().seq, entry.message_id)).collect();
        assert_eq!(log, answers);
    }
    let logged = logged(&handles[0], 20 + 20 * BATCHES as usize).await;
    let subjects: HashSet<_> = logged.iter().map(|logged| &logged.subject).collect();
    assert_eq!(subjects.len(), logged.len(), "each channel is made once");
    assert!(logged.windows(2).all(|pair| pair[0].id < pair[1].id));
    for db in handles {
        db.close().await;
    }
    // A session tells the statistics what it has counted when it ends, which may be a little after its client left.
    let mut conn = database.connect().await;
    let deadlocks: i64 = loop {
        let others: i64 = sqlx::query_scalar(
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid() AND backend_type = 'client backend'",
        )
        .fetch_one(&mut conn)
        .await
        .unwrap();
        if others == 0 {
            let sql = "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()";
            break sqlx::query_scalar(sql).fetch_one(&mut conn).await.unwrap();
        }
        tokio::task::yield_now().await;
    };
    assert_eq!(deadlocks, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn an_id_that_two_instances_append_at_once_is_stored_once() {
    let database = Database::create().await;
    let handles = [open(&database).await, open(&database).await];
    for round in 0..20 {
        let batch: Arc<Vec<NewEntry>> = Arc::new((0..30).map(|id| message(&format!("room:{}", id % 3), "w", round * 30 + id)).collect());
        let append = |db: &Db| {
            let (db, batch) = (db.clone(), batch.clone());
            tokio::spawn(async move { entries::append(&db, &batch, 1).await.unwrap() })
        };
        let [one, two] = [append(&handles[0]), append(&handles[1])];
        for (one, two) in one.await.unwrap().iter().zip(two.await.unwrap()) {
            let (entry, seq, epoch) = match (one, &two) {
                (Appended::Stored(entry), Appended::Duplicate { seq, epoch, .. })
                | (Appended::Duplicate { seq, epoch, .. }, Appended::Stored(entry)) => (entry, seq, epoch),
                _ => panic!("{one:?} and {two:?}"),
            };
            let place = entry.place.unwrap();
            assert_eq!((place.seq, place.epoch), (*seq, *epoch));
        }
    }
}

#[tokio::test]
async fn a_look_finds_every_commit_whatever_overlaps() {
    let database = Database::create().await;
    let db = open(&database).await;
    let mut since = first_look(&db).await;
    entries::append(&db, &[message("a:1", "w", 1)], 1).await.unwrap();
    assert_eq!(heads(&db, &mut since).await, [("a:1".to_owned(), 1)]);
    until_quiet(&db, &mut since).await;
    // Two that begin now: one commits after the look and after a later one, the other never.
    let (mut late, mut never) = (database.connect().await, database.connect().await);
    late.execute("BEGIN; SELECT hubbub_publish('late:1', hubbub_message_id(), '1')").await.unwrap();
    never.execute("BEGIN; SELECT hubbub_publish('never:1', hubbub_message_id(), '1')").await.unwrap();
    entries::append(&db, &[message("a:2", "w", 2)], 1).await.unwrap();
    assert!(heads(&db, &mut since).await.contains(&("a:2".to_owned(), 1)));
    entries::append(&db, &[message("a:1", "w", 3)], 1).await.unwrap();
    assert_eq!(heads(&db, &mut since).await, [("a:1".to_owned(), 2), ("a:2".to_owned(), 1)], "rather twice than not at all");
    assert_eq!(events::after(&db, 0, 10).await.unwrap().len(), 1, "what stands after an open transaction has to wait");
    late.execute("COMMIT").await.unwrap();
    assert!(heads(&db, &mut since).await.contains(&("late:1".to_owned(), 1)));
    never.execute("ROLLBACK").await.unwrap();
    until_quiet(&db, &mut since).await;
    let subjects: Vec<_> = logged(&db, 3).await.into_iter().map(|logged| logged.subject).collect();
    assert_eq!(subjects, ["a:1", "late:1", "a:2"]);
}

#[tokio::test]
async fn a_transaction_that_comes_late_to_a_head_does_not_hide_it() {
    let database = Database::create().await;
    let db = open(&database).await;
    entries::append(&db, &[message("a", "w", 1)], 1).await.unwrap();
    let mut since = first_look(&db).await;
    until_quiet(&db, &mut since).await;
    let mut early = database.connect().await;
    early.execute("BEGIN; SELECT pg_current_xact_id()").await.unwrap();
    entries::append(&db, &[message("a", "w", 2)], 1).await.unwrap();
    early.execute("SELECT hubbub_publish('a', hubbub_message_id(), '1'); COMMIT").await.unwrap();
    assert_eq!(heads(&db, &mut since).await, [("a".to_owned(), 3)]);
    until_quiet(&db, &mut since).await;
}

#[tokio::test]
async fn an_append_whose_session_is_ended_can_be_made_again() {
    let database = Database::create().await;
    let db = open(&database).await;
    let batch = [message("a", "w", 1), message("b", "w", 2)];
    entries::append(&db, &batch[1..], 1).await.unwrap();
    let mut holder = database.connect().await;
    holder.execute("BEGIN; SELECT FROM channels WHERE name = 'b' FOR UPDATE").await.unwrap();
    let append = tokio::spawn({
        let (db, batch) = (db.clone(), batch.clone());
        async move { entries::append(&db, &batch, 1).await }
    });
    end(&database, "wait_event_type = 'Lock'").await;
    let error = append.await.unwrap().unwrap_err();
    assert!(matches!(error, StoreError::CommitUnknown(_)) && error.is_transient(), "{error:?}");
    holder.execute("COMMIT").await.unwrap();
    let again = entries::append(&db, &batch, 1).await.unwrap();
    assert!(matches!(again[..], [Appended::Stored(_), Appended::Duplicate { seq: 1, .. }]), "{again:?}");
}

/// Ends the first session for which `which` comes to hold.
async fn end(database: &Database, which: &'static str) {
    let mut conn = database.connect().await;
    let sql = format!("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND {which}");
    while sqlx::query(sqlx::AssertSqlSafe(sql.clone())).fetch_optional(&mut conn).await.unwrap().is_none() {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_deadlock_with_somebody_else_is_tried_again() {
    let database = Database::create().await;
    let db = open(&database).await;
    entries::append(&db, &[message("a", "w", 1), message("b", "w", 2)], 1).await.unwrap();
    let mut other = database.connect().await;
    other.execute("BEGIN; SELECT FROM channels WHERE name = 'b' FOR UPDATE").await.unwrap();
    let append = tokio::spawn({
        let db = db.clone();
        async move { entries::append(&db, &[message("a", "w", 3), message("b", "w", 4)], 1).await }
    });
    let mut watch = database.connect().await;
    let waits = "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'";
    while sqlx::query(waits).fetch_optional(&mut watch).await.unwrap().is_none() {
        tokio::task::yield_now().await;
    }
    // The server ends the one that notices it first: the append, which waited first.
    other.execute("SELECT FROM channels WHERE name = 'a' FOR UPDATE").await.unwrap();
    other.execute("COMMIT").await.unwrap();
    let appended = append.await.unwrap().unwrap();
    assert!(appended.iter().all(|appended| appended.stored().is_some_and(|entry| entry.place.unwrap().seq == 2)), "{appended:?}");
}

#[tokio::test]
async fn what_somebody_else_raised_is_told_by_the_next_look() {
    for place in Place::all().await {
        let db = place.open().await;
        Mark::open(&db, "m".into()).await.unwrap();
        entries::append(&db, &[message("a", "w", 1)], 1).await.unwrap();
        let since = first_look(&db).await;
        assert_eq!(epoch::raise(&db, 1).await.unwrap(), 2);
        assert_eq!(epoch::raise(&db, 1).await.unwrap(), 2, "known already");
        let looked = look::look(&db, Some(since)).await.unwrap();
        assert!(looked.went_back && looked.epoch == 2 && looked.heads.len() == 1);
        assert!(!look::look(&db, Some(looked.since)).await.unwrap().went_back);
        let appended = entries::append(&db, &[message("a", "w", 2)], 1).await.unwrap();
        assert_eq!(appended[0].stored().unwrap().place.unwrap().epoch, 2);
    }
}

#[tokio::test]
async fn a_restored_dump_is_another_past() {
    let database = Database::create().await;
    let db = open(&database).await;
    entries::append(&db, &[message("a", "w", 1), message("a", "w", 2)], 1).await.unwrap();
    let since = first_look(&db).await;
    // As pg_restore does: the table is made anew, with what the dump has.
    database
        .run(
            "BEGIN; CREATE TABLE dump AS TABLE channels; DROP TABLE channels;
             CREATE TABLE channels (id BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY, name TEXT UNIQUE, head_epoch BIGINT, head_seq BIGINT,
                 head_ordinal BIGINT, created_at BIGINT, updated_at BIGINT, changed BIGINT);
             INSERT INTO channels OVERRIDING SYSTEM VALUE SELECT * FROM dump; UPDATE channels SET head_seq = 1, head_ordinal = 1;
             DELETE FROM entries WHERE seq = 2; DELETE FROM publishes WHERE seq = 2; COMMIT",
        )
        .await;
    let appended = entries::append(&db, &[message("a", "w", 3)], 1).await.unwrap();
    let place = appended[0].stored().unwrap().place.unwrap();
    assert_eq!((place.epoch, place.seq), (2, 2), "seq 2 of epoch 1 was something else");
    let looked = look::look(&db, Some(since)).await.unwrap();
    assert!(looked.went_back && looked.epoch == 2);
}

#[tokio::test]
async fn heads_that_are_set_back_are_noticed_by_the_look() {
    let database = Database::create().await;
    let db = open(&database).await;
    entries::append(&db, &[message("a", "w", 1)], 1).await.unwrap();
    database.run("CREATE TABLE dump AS TABLE channels").await;
    entries::append(&db, &[message("a", "w", 2)], 1).await.unwrap();
    let since = first_look(&db).await;
    database.run("BEGIN; DELETE FROM channels; INSERT INTO channels OVERRIDING SYSTEM VALUE SELECT * FROM dump; COMMIT").await;
    let looked = look::look(&db, Some(since)).await.unwrap();
    assert!(looked.went_back && looked.epoch == 2 && looked.heads[0].1.cursor().seq == 1);
}

/// As a restore may, with a log that is further on than anybody has seen, and no look between.
#[tokio::test]
async fn an_append_notices_that_its_channel_went_back() {
    let database = Database::create().await;
    let (one, other) = (open(&database).await, open(&database).await);
    let append = |db: &Db, id: u32| {
        let db = db.clone();
        async move { entries::append(&db, &[message("room:1", "alice", id)], 1).await.unwrap().remove(0) }
    };
    for id in 1..=5 {
        append(&one, id).await;
    }
    super::rewind(&one, &ChannelName::parse("room:1").unwrap(), 3).await;
    let stored = append(&one, 6).await;
    let place = stored.stored().unwrap().place.unwrap();
    assert_eq!((place.epoch, place.seq), (2, 4), "the seq that was given before is given again under another epoch");
    let next = append(&other, 7).await;
    let place = next.stored().unwrap().place.unwrap();
    assert_eq!((place.epoch, place.seq), (2, 5));
    let last = append(&one, 8).await;
    assert_eq!(last.stored().unwrap().place.unwrap().epoch, 2, "it is raised once");
}

#[tokio::test]
async fn notices_come_with_the_commit_and_after_a_lost_connection() {
    let database = Database::create().await;
    let db = open(&database).await;
    let mut notices = listen(&db).unwrap();
    notices.next().await; // Connected: look once.
    let mut conn = database.connect().await;
    conn.execute("BEGIN; SELECT hubbub_publish('a', hubbub_message_id(), '1', notify => true)").await.unwrap();
    assert!(tokio::time::timeout(Duration::from_millis(100), notices.next()).await.is_err(), "nothing is committed");
    conn.execute("COMMIT").await.unwrap();
    notices.next().await;
    end(&database, "query LIKE 'LISTEN%'").await;
    notices.next().await;
    conn.execute("SELECT hubbub_publish('a', hubbub_message_id(), '1', notify => true)").await.unwrap();
    notices.next().await;
    assert!(listen(&Place::sqlite().open().await).is_none());
}

#[tokio::test]
async fn a_lease_is_exclusive_or_shared() {
    let clock = World::system().clock;
    for place in Place::all().await {
        let db = place.open().await;
        let take = |holder: &'static str, kind| Lease::take(&db, holder.into(), kind);
        let alone = take("the first", LeaseKind::Exclusive).await.unwrap();
        alone.renew(&db, &clock).await.unwrap();
        for kind in [LeaseKind::Exclusive, LeaseKind::Shared] {
            let refused = take("another", kind).await.unwrap_err();
            assert!(matches!(&refused, LeaseError::Held(holder) if holder == "the first"), "{refused}");
        }
        drop(alone);
        let shared = [free(&db, LeaseKind::Shared).await, free(&db, LeaseKind::Shared).await];
        shared[0].renew(&db, &clock).await.unwrap();
        let refused = take("another", LeaseKind::Exclusive).await.unwrap_err();
        assert!(matches!(&refused, LeaseError::Held(holder) if holder.contains("nats")), "{refused}");
        drop(shared);
        free(&db, LeaseKind::Exclusive).await;
    }
}

/// Takes it as soon as the server has noticed that the one before is gone.
async fn free(db: &Db, kind: LeaseKind) -> Lease {
    loop {
        match Lease::take(db, "the next".into(), kind).await {
            Ok(lease) => return lease,
            Err(LeaseError::Held(_)) => tokio::task::yield_now().await,
            Err(error) => panic!("{error}"),
        }
    }
}

#[tokio::test]
async fn a_lease_that_is_lost_with_its_session_is_taken_again_or_reported() {
    let clock = World::system().clock;
    let database = Database::create().await;
    let db = open(&database).await;
    let lease = Lease::take(&db, "the first".into(), LeaseKind::Exclusive).await.unwrap();
    let holder = "pid IN (SELECT pid FROM pg_locks WHERE locktype = 'advisory')";
    end(&database, holder).await;
    lease.renew(&db, &clock).await.unwrap();
    end(&database, holder).await;
    let thief = free(&db, LeaseKind::Exclusive).await;
    thief.renew(&db, &clock).await.unwrap();
    let lost = lease.renew(&db, &clock).await.unwrap_err();
    assert!(matches!(&lost, StoreError::LeaseLost(holder) if holder == "the next"), "{lost}");
    drop(thief);
    while lease.renew(&db, &clock).await.is_err() {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn instances_are_told_from_their_former_lives() {
    use crate::store::instances::{self, TERM_MS};
    for place in Place::all().await {
        let db = place.open().await;
        let now = World::system().clock.now();
        let first = instances::renew(&db, "i", "{}", now).await.unwrap();
        assert_eq!(instances::renew(&db, "i", "{\"a\":1}", now + 1).await.unwrap(), first);
        let listed = instances::list(&db, now + 1).await.unwrap();
        assert!(listed.len() == 1 && listed[0].about == "{\"a\":1}" && (1..=TERM_MS).contains(&listed[0].left), "{listed:?}");
        let mut tx = db.begin().await.unwrap();
        on!(&mut tx, conn => sqlx::query("UPDATE instances SET expires_at = renewed_at - 1").execute(conn).await.map(drop)).unwrap();
        tx.commit().await.unwrap();
        assert!(instances::renew(&db, "i", "{}", now + 2).await.unwrap() > first, "it had been given up");
        instances::leave(&db, "i", now + 2).await.unwrap();
        assert_eq!(instances::list(&db, now + 2).await.unwrap(), []);
    }
}

#[tokio::test]
async fn a_server_that_cannot_be_used_says_why_and_tells_no_password() {
    let database = Database::create().await;
    let stranger = database.url_of("somebody:geheim");
    let (server, _) = stranger.rsplit_once('/').unwrap();
    let nowhere = format!("{}:1/x", server.rsplit_once(':').unwrap().0);
    let missing = format!("{}/t_missing", database.url.rsplit_once('/').unwrap().0);
    for (url, wanted) in
        [(nowhere, "cannot be reached"), (stranger.clone(), "does not let somebody in"), (missing, "has no database t_missing")]
    {
        let error = Db::open(&testing::config(&url)).await.unwrap_err().to_string();
        assert!(error.contains(wanted) && !error.contains("geheim"), "{error}");
    }
}

/// It may run beside this one, on the same database.
#[tokio::test]
async fn the_release_before_amends_as_it_did() {
    let database = Database::create().await;
    let db = open(&database).await;
    entries::append(&db, &[message("c", "alice", 1)], 1).await.unwrap();
    let mut conn = database.connect().await;
    let mut amend = async |id: u8, kind: &'static str| -> Vec<i16> {
        let sql = "SELECT kinds FROM hubbub_amend(
                 ARRAY['c'], ARRAY['alice'], ARRAY[$1], ARRAY[$2], ARRAY[1::BIGINT], ARRAY[TRUE], ARRAY[NULL::TEXT], ARRAY['\\x01'::BYTEA],
                 ARRAY[0::BIGINT], 2, '', 0, 0, ARRAY[0::BIGINT]
             )";
        sqlx::query_scalar(sql).bind(vec![id; 16]).bind(kind).fetch_one(&mut conn).await.unwrap()
    };
    assert_eq!(amend(2, "edit").await, [0]);
    assert_eq!(amend(2, "edit").await, [1]);
    assert_eq!(amend(3, "delete").await, [0]);
    assert_eq!(amend(4, "edit").await, [5]);
    db.close().await;
}

#[test]
fn both_databases_have_the_same_migrations() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let [sqlite, postgres] = runtime.block_on(async {
        let places = Place::all().await;
        let mut migrations = Vec::new();
        for place in &places {
            let db = place.open().await;
            // Down to nothing, and up again.
            db.migrate_down(0).await.unwrap();
            db.migrate().await.unwrap();
            db.migrate().await.unwrap();
            migrations.push(db.migrations());
            db.close().await;
        }
        <[_; 2]>::try_from(migrations).unwrap()
    });
    assert_eq!(sqlite, postgres);
    let distinct: HashSet<_> = sqlite.iter().map(|migration| migration.version).collect();
    assert_eq!(distinct.len(), sqlite.len());
}
