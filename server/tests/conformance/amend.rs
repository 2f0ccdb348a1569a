//! Edits and deletions: entries of the log like any other, and nothing of what was deleted is ever read again.

use std::sync::Arc;

use futures_util::{StreamExt, future::join_all};
use hubbub_protocol::{Cursor, Entry, ErrorCode, Kind, MessageId, frame::Published, limits, msgpack_payload};
use hubbub_server::{
    auth::{Action, Grant, Grants, Identity},
    channel::{Authority, Channels, Direction, Message, MessagePage, MessageRange as Range, Refused},
};

use crate::revocation::rule;
use crate::support::{Pair, Peer, Server, advance, clock, json, message_id, name, refused, seq};

crate::over_every_transport_and_instance!(
    they_reach_subscribers_and_a_resume_in_order,
    what_was_deleted_is_gone_from_memory,
    what_was_deleted_is_gone_from_the_store,
);

mod in_a_cluster {
    use super::what_another_instance_deleted_is_gone_from_memory;

    crate::in_every_cluster!(what_another_instance_deleted_is_gone_from_memory);
}

// What the use cases answer, whatever clients speak.
mod by_socket {
    use super::{
        a_retry_gets_the_first_answer, an_edit_and_a_deletion_at_once_leave_nothing, messages_stand_as_they_are_now,
        what_does_not_fit_is_refused_by_itself,
    };

    crate::on_every_pair!(
        a_retry_gets_the_first_answer,
        what_does_not_fit_is_refused_by_itself,
        an_edit_and_a_deletion_at_once_leave_nothing,
        messages_stand_as_they_are_now,
    );
}

mod by_the_clock {
    use super::messages_are_found_by_time_and_streamed;

    crate::on_local_pairs!(messages_are_found_by_time_and_streamed);
}

const ROOM: &str = "room:1";

fn who(user: &str) -> Identity {
    let all = Grant { channels: vec!["*".to_owned()], actions: Action::ALL.to_vec() };
    Identity::new(user, Grants::new(&[all]).unwrap())
}

fn channels(server: &Server) -> &Arc<Channels> {
    server.app.channels()
}

async fn edit(server: &Server, user: &str, seq: u64, id: Option<MessageId>, payload: &str) -> Result<Published, Refused> {
    let payload = msgpack_payload(payload).unwrap().into();
    channels(server).edit(&who(user), &name(ROOM), seq, id, payload, None).await?.await
}

async fn delete(server: &Server, user: &str, seq: u64, authority: Authority) -> Result<Published, Refused> {
    channels(server).delete(&who(user), &name(ROOM), seq, None, authority, None).await?.await
}

/// What a reader sees of an entry: seq, ordinal, kind, what it refers to, payload.
fn seen(entry: &Entry) -> (u64, u64, Kind, Option<u64>, serde_json::Value) {
    let place = entry.place.unwrap();
    (place.seq, place.ordinal, entry.kind, entry.refers, json(entry))
}

async fn seen_by(peer: &mut Peer, count: usize) -> Vec<(u64, u64, Kind, Option<u64>, serde_json::Value)> {
    let mut all = Vec::with_capacity(count);
    for _ in 0..count {
        all.push(seen(&peer.entry().await));
    }
    all
}

fn start() -> Option<Cursor> {
    Some(Cursor::default())
}

async fn they_reach_subscribers_and_a_resume_in_order(pair: Pair) {
    let server = pair.server().await;
    let mut alice = server.peer("alice").await;
    alice.subscribe(ROOM).await;
    alice.publish(ROOM, "\"one\"").await;
    alice.publish(ROOM, "\"two\"").await;
    let edited = edit(&server, "alice", 1, None, "\"first\"").await.unwrap();
    assert_eq!((edited.seq, edited.duplicate), (Some(3), false));
    alice.publish(ROOM, "\"three\"").await;
    delete(&server, "moderator", 2, Authority::Moderate).await.unwrap();
    let live = [
        (1, 1, Kind::Message, None, "one".into()),
        (2, 2, Kind::Message, None, "two".into()),
        (3, 2, Kind::Edit, Some(1), "first".into()),
        (4, 3, Kind::Message, None, "three".into()),
        (5, 3, Kind::Delete, Some(2), serde_json::Value::Null),
    ];
    assert_eq!(seen_by(&mut alice, 5).await, live);
    let mut bob = server.peer("bob").await;
    let subscribed = bob.subscribe_with(ROOM, Some(Cursor { epoch: 1, seq: 2 }), None).await.unwrap();
    assert_eq!((subscribed.recovered, subscribed.from, subscribed.to), (Some(true), Some(3), Some(5)));
    assert_eq!(seen_by(&mut bob, 3).await, live[2..]);
    let page = bob.history(ROOM, Some(0), None, None).await.unwrap();
    let mut held = live.clone();
    held[1].4 = serde_json::Value::Null;
    assert_eq!(page.entries.iter().map(seen).collect::<Vec<_>>(), held);
    assert_eq!(&*page.entries[4].publisher, "moderator");
}

/// A message, an edit of it, another message; then the first is deleted.
async fn publish_and_delete(server: &Server, alice: &mut Peer) {
    alice.publish(ROOM, "\"secret\"").await;
    edit(server, "alice", 1, None, "\"more secret\"").await.unwrap();
    alice.publish(ROOM, "\"harmless\"").await;
    delete(server, "alice", 1, Authority::Own).await.unwrap();
}

fn is_all_that_is_left(entries: &[(u64, u64, Kind, Option<u64>, serde_json::Value)]) {
    let null = serde_json::Value::Null;
    assert_eq!(
        entries,
        [
            (1, 1, Kind::Message, None, null.clone()),
            (2, 1, Kind::Edit, Some(1), null.clone()),
            (3, 2, Kind::Message, None, "harmless".into()),
            (4, 2, Kind::Delete, Some(1), null),
        ]
    );
}

async fn what_was_deleted_is_gone_from_memory(pair: Pair) {
    let server = pair.server().await;
    let mut alice = server.peer("alice").await;
    alice.subscribe(ROOM).await;
    publish_and_delete(&server, &mut alice).await;
    server.verified().await;
    let reads = || server.metric("hubbub_store_reads_total{kind=\"replay\"}");
    let before = reads();
    let mut bob = server.peer("bob").await;
    bob.subscribe_with(ROOM, start(), None).await.unwrap();
    is_all_that_is_left(&seen_by(&mut bob, 4).await);
    assert_eq!(reads(), before, "it came from memory");
}

async fn what_was_deleted_is_gone_from_the_store(pair: Pair) {
    let server = pair.server_with(&["channel.feed_entries=1"]).await;
    let mut alice = server.peer("alice").await;
    publish_and_delete(&server, &mut alice).await;
    alice.leave().await;
    let server = server.restart().await;
    let mut bob = server.peer("bob").await;
    bob.subscribe_with(ROOM, start(), None).await.unwrap();
    is_all_that_is_left(&seen_by(&mut bob, 4).await);
    let page = bob.history(ROOM, Some(0), None, None).await.unwrap();
    is_all_that_is_left(&page.entries.iter().map(seen).collect::<Vec<_>>());
}

async fn what_another_instance_deleted_is_gone_from_memory(pair: Pair) {
    let [here, there] = pair.fleet().await;
    let mut alice = here.peer("alice").await;
    let mut reader = there.peer("reader").await;
    reader.subscribe(ROOM).await;
    publish_and_delete(&here, &mut alice).await;
    let live = seen_by(&mut reader, 4).await;
    assert_eq!(live[3].2, Kind::Delete);
    let mut late = there.peer("late").await;
    late.subscribe_with(ROOM, start(), None).await.unwrap();
    is_all_that_is_left(&seen_by(&mut late, 4).await);
}

async fn a_retry_gets_the_first_answer(pair: Pair) {
    let server = pair.server().await;
    let mut alice = server.peer("alice").await;
    alice.publish(ROOM, "1").await;
    let id = message_id(server.now(), 7);
    let first = edit(&server, "alice", 1, Some(id), "2").await.unwrap();
    let again = edit(&server, "alice", 1, Some(id), "2").await.unwrap();
    assert!(again.duplicate && !first.duplicate);
    assert_eq!((again.seq, again.epoch, again.time, again.message_id), (first.seq, first.epoch, first.time, id));
    assert_eq!(edit(&server, "alice", 1, Some(id), "3").await.unwrap_err(), Refused::IdReused);
    refused(alice.publish_with(ROOM, "2", Some(id), None).await, ErrorCode::IdReused);
    let twice = message_id(server.now(), 8);
    let remove =
        || async { channels(&server).delete(&who("alice"), &name(ROOM), 1, Some(twice), Authority::Own, None).await.unwrap().await };
    let (first, again) = tokio::join!(remove(), remove());
    let (first, again) = (first.unwrap(), again.unwrap());
    assert_eq!((first.seq, again.seq, first.duplicate ^ again.duplicate), (Some(3), Some(3), true));
    assert!(edit(&server, "alice", 1, Some(id), "2").await.unwrap().duplicate, "also after the deletion");
    assert_eq!(alice.history(ROOM, None, None, None).await.unwrap().head.seq, 3);
}

async fn what_does_not_fit_is_refused_by_itself(pair: Pair) {
    let server = pair.server().await;
    let mut alice = server.peer("alice").await;
    alice.publish(ROOM, "1").await;
    assert_eq!(edit(&server, "bob", 1, None, "2").await.unwrap_err(), Refused::NotAuthor);
    assert_eq!(delete(&server, "bob", 1, Authority::Own).await.unwrap_err(), Refused::NotAuthor);
    assert_eq!(edit(&server, "alice", 9, None, "2").await.unwrap_err(), Refused::NoMessage);
    edit(&server, "alice", 1, None, "2").await.unwrap();
    assert_eq!(edit(&server, "alice", 2, None, "3").await.unwrap_err(), Refused::NoMessage, "an edit is not a message");
    let old = message_id(1, 1);
    assert_eq!(edit(&server, "alice", 1, Some(old), "2").await.unwrap_err(), Refused::TooOld);
    let new = message_id(server.now() + 2 * limits::MAX_ID_AHEAD_MS, 1);
    assert_eq!(edit(&server, "alice", 1, Some(new), "2").await.unwrap_err(), Refused::TooNew);
    let long = format!("\"{}\"", "x".repeat(limits::MAX_PAYLOAD));
    assert_eq!(edit(&server, "alice", 1, None, &long).await.unwrap_err(), Refused::PayloadTooLarge);
    let nobody = Identity::new("alice", Grants::new(&[]).unwrap());
    let silent = channels(&server).delete(&nobody, &name(ROOM), 1, None, Authority::Own, None).await;
    assert_eq!(silent.unwrap_err(), Refused::Forbidden);
    let passing = channels(&server).delete(&who("alice"), &name("live:1"), 1, None, Authority::Own, None).await;
    assert_eq!(passing.unwrap_err(), Refused::NotDurable);
    let never = name("room:never");
    let nothing = channels(&server).delete(&who("alice"), &never, 1, None, Authority::Own, None).await;
    assert_eq!(nothing.unwrap_err(), Refused::NoMessage);
    assert_eq!(channels(&server).info(&who("alice"), &never).await.unwrap_err(), Refused::NotFound, "nor was the channel made");
    delete(&server, "bob", 1, Authority::Moderate).await.unwrap();
    assert_eq!(edit(&server, "alice", 1, None, "4").await.unwrap_err(), Refused::Deleted);
    assert_eq!(delete(&server, "alice", 1, Authority::Own).await.unwrap_err(), Refused::Deleted);
    // In one batch with what is refused, a message is stored.
    let (refusal, stored) = tokio::join!(edit(&server, "alice", 1, None, "5"), alice.publish(ROOM, "6"));
    assert_eq!((refusal.unwrap_err(), stored.seq), (Refused::Deleted, Some(4)));
}

async fn an_edit_and_a_deletion_at_once_leave_nothing(pair: Pair) {
    let server = pair.server().await;
    let mut alice = server.peer("alice").await;
    alice.subscribe(ROOM).await;
    alice.publish(ROOM, "\"secret\"").await;
    let texts: Vec<String> = (0..40).map(|n| format!("\"secret {n}\"")).collect();
    let edits = join_all(texts.iter().map(|text| edit(&server, "alice", 1, None, text)));
    let deletions = join_all((0..3).map(|_| delete(&server, "alice", 1, Authority::Own)));
    let (edits, deletions) = tokio::join!(edits, deletions);
    assert_eq!(deletions.iter().filter(|deletion| deletion.is_ok()).count(), 1, "one of them came first");
    let deleted = deletions.into_iter().find_map(Result::ok).unwrap().seq.unwrap();
    for edit in edits {
        match edit {
            Ok(edit) => assert!(edit.seq.unwrap() < deleted),
            Err(refusal) => assert_eq!(refusal, Refused::Deleted),
        }
    }
    let mut bob = server.peer("bob").await;
    bob.subscribe_with(ROOM, start(), None).await.unwrap();
    for expected in 1..=deleted {
        let entry = bob.entry().await;
        assert_eq!((seq(&entry), json(&entry)), (expected, serde_json::Value::Null));
    }
    let page = bob.history(ROOM, Some(0), None, None).await.unwrap();
    assert_eq!(page.head.seq, deleted, "nothing after it");
    assert!(page.entries.iter().all(|entry| json(entry).is_null()));
}

fn value(message: &Message) -> serde_json::Value {
    serde_json::from_slice(&hubbub_protocol::json_payload(&message.payload).unwrap()).unwrap()
}

async fn messages_stand_as_they_are_now(pair: Pair) {
    let server = pair.server().await;
    let mut alice = server.peer("alice").await;
    for text in ["\"a\"", "\"b\"", "\"c\""] {
        alice.publish_with(ROOM, text, None, Some("k")).await.unwrap();
    }
    edit(&server, "alice", 1, None, "\"A\"").await.unwrap();
    let last = edit(&server, "alice", 1, None, "\"AA\"").await.unwrap();
    let gone = delete(&server, "bob", 2, Authority::Moderate).await.unwrap();
    alice.publish(ROOM, "\"d\"").await;
    let page = |direction, limit| {
        let range = Range { direction, since: None, until: None };
        let server = &server;
        async move { channels(server).messages(&name(ROOM), range, limit).await.unwrap() }
    };
    let page = &page;
    let all = page(Direction::After(0), None).await;
    assert_eq!((all.head.seq, all.first, all.more), (7, 1, false));
    let now: Vec<_> = all.messages.iter().map(|it| (it.seq, it.ordinal, value(it), it.edits)).collect();
    assert_eq!(now, [(1, 1, "AA".into(), 2), (2, 2, serde_json::Value::Null, 0), (3, 3, "c".into(), 0), (7, 4, "d".into(), 0)]);
    assert_eq!((all.messages[0].edited_at, all.messages[0].deleted_at), (Some(last.time), None));
    assert_eq!((all.messages[1].deleted_at, all.messages[1].deleted_by.as_deref()), (Some(gone.time), Some("bob")));
    assert_eq!(all.messages[0].key.as_ref().unwrap().as_str(), "k", "an edit leaves the key");
    let seqs = |page: MessagePage| (page.messages.iter().map(|message| message.seq).collect::<Vec<_>>(), page.more);
    assert_eq!(seqs(page(Direction::Newest, Some(2)).await), (vec![3, 7], true));
    assert_eq!(seqs(page(Direction::Before(3), Some(2)).await), (vec![1, 2], false));
    assert_eq!(seqs(page(Direction::After(1), Some(2)).await), (vec![2, 3], true));
    assert_eq!(seqs(page(Direction::After(3), Some(1)).await), (vec![7], false), "the edits between do not count");
    assert_eq!(seqs(page(Direction::After(7), None).await), (vec![], false));
    let room = name(ROOM);
    let one = |seq| channels(&server).message(&room, seq);
    assert_eq!(one(1).await.unwrap(), all.messages[0]);
    for nothing in [0, 4, 8, u64::MAX] {
        assert_eq!(one(nothing).await.unwrap_err(), Refused::NoMessage);
    }
    let range = Range { direction: Direction::Newest, since: None, until: None };
    assert_eq!(channels(&server).messages(&name(ROOM), range, Some(0)).await.unwrap_err(), Refused::OutOfRange);
    assert_eq!(channels(&server).messages(&name("live:1"), range, None).await.unwrap_err(), Refused::NotDurable);
    assert_eq!(channels(&server).messages(&name("room:never"), range, None).await.unwrap().messages, []);
}

async fn messages_are_found_by_time_and_streamed(pair: Pair) {
    let clock = clock();
    let server = pair.server_at(&clock, &["channel.history_page=10"]).await;
    let begun = server.now();
    let mut alice = server.peer("alice").await;
    for n in 0..35 {
        alice.publish(ROOM, &n.to_string()).await;
        advance(&clock, 10);
    }
    edit(&server, "alice", 35, None, "\"last\"").await.unwrap();
    let server = &server;
    let seqs = |range: Range, limit| async move {
        let page = channels(server).messages(&name(ROOM), range, limit).await.unwrap();
        (page.messages.iter().map(|message| message.seq).collect::<Vec<_>>(), page.more)
    };
    let seqs = &seqs;
    let within = |direction, since: Option<u64>, until: Option<u64>| Range {
        direction,
        since: since.map(|ms| begun + ms),
        until: until.map(|ms| begun + ms),
    };
    assert_eq!(seqs(within(Direction::After(0), Some(100), Some(130)), None).await, (vec![11, 12, 13], false));
    assert_eq!(seqs(within(Direction::After(0), Some(101), None), Some(2)).await, (vec![12, 13], true));
    assert_eq!(seqs(within(Direction::Newest, None, Some(50)), Some(2)).await, (vec![4, 5], true));
    assert_eq!(seqs(within(Direction::Before(13), Some(100), None), None).await, (vec![11, 12], false));
    assert_eq!(seqs(within(Direction::Newest, Some(9_999), None), None).await, (vec![], false));
    assert_eq!(seqs(within(Direction::Newest, None, Some(0)), None).await, (vec![], false));
    let stream = |range| async move {
        let pages: Vec<Vec<Message>> = channels(server).every_page(&who("alice"), &name(ROOM), range).map(Result::unwrap).collect().await;
        pages.concat()
    };
    let all = stream(within(Direction::Newest, None, None)).await;
    assert!(all.iter().map(|message| message.seq).eq(1..=35), "more than a page");
    assert_eq!(value(&all[34]), "last");
    let some = stream(within(Direction::After(20), None, Some(330))).await;
    assert!(some.iter().map(|message| message.seq).eq(21..=33));
    // Who is banned while he reads gets what was read for him by then.
    let mut read = Box::pin(channels(server).every_page(&who("eve"), &name(ROOM), within(Direction::Newest, None, None)));
    assert_eq!(read.next().await.unwrap().unwrap()[0].seq, 1);
    let ban =
        format!("INSERT INTO bans (channel, user_id, reason, banned_by, version, created_at) VALUES ('{ROOM}', 'eve', '', 'ada', 1, 1)");
    rule(server, &ban, "ban", Some("eve"), ROOM).await;
    while channels(server).history(&who("eve"), &name(ROOM), Direction::Newest, None).await.is_ok() {
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    assert_eq!(read.collect::<Vec<_>>().await, [Err(Refused::Banned)]);
    assert!(stream(within(Direction::After(40), None, None)).await.is_empty());
}
