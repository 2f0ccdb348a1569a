//! Facts from both databases: what is ruled counts, wherever it was read before, and reaches whom it concerns.

use hubbub_protocol::{CloseCode, Cursor, Format};

use super::*;
use crate::{
    auth::{Grant, Grants, policy::MemberState},
    hub::{Drive, Sink, Wire},
    store::{
        StoreError, Tx,
        audit::Trace,
        bans, on,
        rulings::{self, Ruling},
        standing::{self as rows, Change},
        testing::Place,
    },
    testing::{Ground, access_parts},
};

struct House {
    access: Arc<Access>,
    db: Db,
    tasks: Tasks,
    _place: Place,
}

impl House {
    async fn all() -> Vec<House> {
        let mut houses = Vec::new();
        for place in Place::all().await {
            let db = place.open().await;
            let Ground { access, tasks, .. } = Ground::new(db.clone(), World::system(), &[SECRET]).await;
            houses.push(House { access, db, tasks, _place: place });
        }
        houses
    }

    /// Changes rows, rules, and waits until it counts.
    async fn rule(&self, rows: &[(&'static str, &[&str])], ruling: Ruling) {
        let mut tx = self.db.begin().await.unwrap();
        for (text, values) in rows {
            run(&mut tx, text, values).await.unwrap();
        }
        let number = rulings::append(&mut tx, &ruling, self.access.world.clock.now()).await.unwrap();
        tx.commit().await.unwrap();
        self.access.settle(number).await;
        assert!(*self.access.position.borrow() >= number, "it settles");
    }

    async fn join(&self, user: &str, role: &str, state: &str) {
        let text = "INSERT INTO members (channel, user_id, role, state, version, created_at, updated_at)
            VALUES ('chat:1', $1, $2, $3, 1, 1, 1)
            ON CONFLICT (channel, user_id) DO UPDATE SET role = excluded.role, state = excluded.state";
        self.rule(&[(text, &[user, role, state])], Ruling::Member { channel: chat(), user: user.to_owned() }).await;
    }

    async fn may(&self, user: &str, act: Act) -> Result<(), Denied> {
        self.access.may(&own(user), act, &chat()).await
    }

    async fn end(self) {
        self.tasks.stop().await;
        self.db.close().await;
    }
}

const ROOM: &str = "INSERT INTO rooms (channel, kind, visibility, title, topic, data, created_by, members, version, created_at, updated_at)
    VALUES ('chat:1', 'group', 'private', '', '', '{}', 'alice', 0, 1, 1, 1)";
const USER: &str = "INSERT INTO users (id, name, role, data, tokens_from, version, created_at, updated_at)
    VALUES ($1, $1, 'member', '{}', 0, 1, 1, 1) ON CONFLICT (id) DO NOTHING";

const SECRET: &str = "auth.secret=0123456789abcdef0123456789abcdef";

fn parts(db: &Db) -> Parts {
    access_parts(db.clone(), World::system(), &[SECRET])
}

async fn run(tx: &mut Tx, text: &'static str, values: &[&str]) -> Result<(), StoreError> {
    on!(tx, conn => {
        let mut query = sqlx::query(text);
        for value in values {
            query = query.bind((*value).to_owned());
        }
        query.execute(conn).await.map(drop)
    })?;
    Ok(())
}

fn chat() -> ChannelName {
    ChannelName::parse("chat:1").unwrap()
}

fn own(user: &str) -> Identity {
    Identity {
        session: Some("s1".into()),
        token: Some("t1".into()),
        issued_at: 1_000,
        is_narrowed: false,
        ..Identity::new(user, Grants::default())
    }
}

fn outbox() -> Arc<Outbox> {
    Outbox::new(Sink::task(), Wire::Socket(Format::Json), 16 << 10)
}

fn is_asked(outbox: &Outbox) -> bool {
    let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
    matches!(outbox.poll_drive(&mut cx), std::task::Poll::Ready(Drive::Review))
}

#[tokio::test]
async fn memberships_count_as_they_change() {
    for house in House::all().await {
        assert_eq!(house.may("alice", Act::See).await, Err(Denied::NotFound), "nobody has made it");
        house.rule(&[(ROOM, &[])], Ruling::Channel(chat())).await;
        assert_eq!(house.may("alice", Act::See).await, Err(Denied::NotFound), "no member");
        house.join("alice", "member", "invited").await;
        assert_eq!(house.may("alice", Act::See).await, Ok(()));
        assert_eq!(house.may("alice", Act::Publish).await, Err(Denied::Forbidden));
        house.join("alice", "member", "joined").await;
        assert_eq!(house.may("alice", Act::Publish).await, Ok(()));
        assert_eq!(house.may("alice", Act::Manage).await, Err(Denied::Forbidden));
        house.join("alice", "owner", "joined").await;
        assert_eq!(house.may("alice", Act::Delete).await, Ok(()));
        house.rule(&[("UPDATE rooms SET deleted_at = 5", &[])], Ruling::Channel(chat())).await;
        assert_eq!(house.may("alice", Act::See).await, Err(Denied::NotFound));
        house.rule(&[("UPDATE rooms SET deleted_at = NULL", &[])], Ruling::Channel(chat())).await;
        house.rule(&[("DELETE FROM members", &[])], Ruling::Member { channel: chat(), user: "alice".to_owned() }).await;
        assert_eq!(house.may("alice", Act::See).await, Err(Denied::NotFound));
        house.rule(&[(USER, &["alice"]), ("UPDATE users SET role = 'admin'", &[])], Ruling::User("alice".to_owned())).await;
        assert_eq!((house.access.role("alice"), house.may("alice", Act::Manage).await), (Role::Admin, Ok(())));
        house.end().await;
    }
}

#[tokio::test]
async fn whatever_is_revoked_is_refused_and_closed() {
    let blocked = "UPDATE users SET blocked_at = 5";
    let free = "UPDATE users SET blocked_at = NULL, tokens_from = 0, deleted_at = NULL";
    for house in House::all().await {
        let session = || Ruling::Session { user: "alice".to_owned(), session: "s1".to_owned() };
        let token = || Ruling::Token { user: "alice".to_owned(), token: "t1".to_owned(), until: u64::MAX >> 2 };
        let user = || Ruling::User("alice".to_owned());
        for (rows, ruling) in [
            (blocked, user()),
            ("UPDATE users SET tokens_from = 1001", user()),
            ("UPDATE users SET deleted_at = 5", user()),
            ("UPDATE users SET name = name", token()),
            ("UPDATE users SET name = name", session()),
        ] {
            let alice = own("alice");
            let (hers, other) = (outbox(), outbox());
            let (_hers, _other) = (house.access.list(&alice, &hers), house.access.list(&own("bob").into_other(), &other));
            assert_eq!(house.access.admits(&alice), Ok(()), "{ruling:?}");
            house.rule(&[(USER, &["alice"]), (rows, &[])], ruling.clone()).await;
            assert_eq!(house.access.admits(&alice), Err(Denied::Revoked), "{ruling:?}");
            assert_eq!((hers.code(), other.code()), (Some(CloseCode::Revoked), None), "{ruling:?}");
            // Somebody who starts now knows it as well.
            if !matches!(ruling, Ruling::Session { .. }) {
                assert_eq!(Access::load(parts(&house.db)).await.unwrap().admits(&alice), Err(Denied::Revoked), "{ruling:?}");
            }
            house.rule(&[(free, &[])], user()).await;
            let other = Identity { token: None, session: None, ..alice };
            assert_eq!(house.access.admits(&other), Ok(()), "{ruling:?}");
            house.access.memory.load().forget(u64::MAX);
        }
        house.end().await;
    }
}

#[tokio::test]
async fn what_rulings_did_is_counted() {
    for house in House::all().await {
        let [hers, twice, other] = [outbox(), outbox(), outbox()];
        let _listed = [(&hers, "alice"), (&twice, "alice"), (&other, "bob")].map(|(outbox, user)| house.access.list(&own(user), outbox));
        let alice = || "alice".to_owned();
        house.rule(&[(USER, &["alice"])], Ruling::Member { channel: chat(), user: alice() }).await;
        house.rule(&[("UPDATE users SET blocked_at = 5", &[])], Ruling::User(alice())).await;
        // They are closed already.
        house.rule(&[], Ruling::Disconnect(alice())).await;
        let text = house.access.metrics.render();
        let value = |name: &str| text.lines().find_map(|line| line.strip_prefix(name)?.trim().parse::<f64>().ok());
        for (kind, count) in [("member", 1.0), ("user", 1.0), ("disconnect", 1.0), ("ban", 0.0)] {
            assert_eq!(value(&format!("hubbub_rulings_total{{kind=\"{kind}\"}}")), Some(count), "{kind}");
        }
        assert_eq!(value("hubbub_rulings_sessions_ended_total"), Some(2.0), "{text}");
        // Bob's is open, and what is behind is told in seconds.
        assert_eq!((other.code(), value("hubbub_rulings_lag_seconds").map(|lag| lag > 0.0 && lag < 3.0)), (None, Some(true)), "{text}");
        house.end().await;
    }
}

impl Identity {
    /// The same with other credentials.
    fn into_other(self) -> Self {
        Self { session: Some("s2".into()), token: Some("t2".into()), ..self }
    }
}

#[tokio::test]
async fn an_operators_change_is_ruled_and_leaves_a_trace() {
    for house in House::all().await {
        let (world, trace) = (World::system(), Trace::operator());
        let alice = own("alice");
        for (change, admitted, role) in [
            (Change::Role(Role::Owner), Ok(()), Role::Owner),
            (Change::Block, Err(Denied::Revoked), Role::Owner),
            (Change::Block, Err(Denied::Revoked), Role::Owner),
            (Change::Unblock, Ok(()), Role::Owner),
            (Change::Role(Role::Member), Ok(()), Role::Member),
        ] {
            let number = standing::change(&house.db, &world, &trace, "alice", change).await.unwrap();
            house.access.settle(number).await;
            assert_eq!((house.access.admits(&alice), house.access.role("alice")), (admitted, role), "{change:?}");
        }
        let listed = rows::list(&house.db, "", 10).await.unwrap();
        assert_eq!((listed.len(), &*listed[0].id, &*listed[0].role, listed[0].blocked_at), (1, "alice", "member", None));
        let text = "SELECT COUNT(*) FROM audit WHERE actor = 'operator' AND target_id = 'alice'";
        let mut tx = house.db.begin().await.unwrap();
        let traces: i64 = on!(&mut tx, conn => sqlx::query_scalar(text).fetch_one(conn).await).unwrap();
        drop(tx);
        assert_eq!(traces, 5);
        house.end().await;
    }
}

#[tokio::test]
async fn a_ban_counts_until_it_is_over_or_lifted() {
    for house in House::all().await {
        let (channel, now) = (ChannelName::parse("room:1").unwrap(), house.access.world.clock.now());
        let everything = Grants::new(&[Grant { channels: vec!["*".into()], actions: Action::ALL.to_vec() }]).unwrap();
        let alice = Identity::new("alice", everything);
        let hers = outbox();
        let _listed = house.access.list(&alice, &hers);
        let ban = |expires_at| bans::NewBan { channel: &channel, user: "alice", reason: "spam", banned_by: "bob", expires_at };
        let change = async |expires_at: Option<Option<u64>>| {
            let mut tx = house.db.begin().await.unwrap();
            match expires_at {
                Some(expires_at) => drop(bans::put(&mut tx, ban(expires_at), now).await.unwrap()),
                None => assert!(bans::lift(&mut tx, &channel, "alice", now).await.unwrap()),
            }
            tx.commit().await.unwrap();
            house.access.settle(rulings::newest(&house.db).await.unwrap()).await;
            house.access.may(&alice, Act::Subscribe, &channel).await
        };
        assert_eq!(change(Some(None)).await, Err(Denied::Banned));
        assert!(is_asked(&hers) && hers.code().is_none(), "the session looks at its subscriptions");
        assert_eq!(house.access.admits(&alice), Ok(()), "it is from one channel only");
        assert_eq!(Access::load(parts(&house.db)).await.unwrap().may(&alice, Act::Publish, &channel).await, Err(Denied::Banned));
        assert!(bans::find(&house.db, &channel, "alice").await.unwrap().is_some());
        assert_eq!(change(None).await, Ok(()));
        assert_eq!(change(Some(Some(now - 1))).await, Ok(()), "it is over");
        assert_eq!((bans::trim(&house.db, now, 10).await.unwrap(), bans::trim(&house.db, now, 10).await.unwrap()), (1, 0));
        house.end().await;
    }
}

#[tokio::test]
async fn whoever_lacks_rulings_learns_everything_anew() {
    for house in House::all().await {
        let (hers, alice) = (outbox(), own("alice"));
        let _listed = house.access.list(&alice, &hers);
        let mut tx = house.db.begin().await.unwrap();
        run(&mut tx, USER, &["alice"]).await.unwrap();
        run(&mut tx, "UPDATE users SET blocked_at = 5", &[]).await.unwrap();
        let number = rulings::append(&mut tx, &Ruling::User("alice".to_owned()), 5).await.unwrap();
        // The janitor was quicker, or a release after this one has a kind of its own.
        run(&mut tx, "DELETE FROM rulings", &[]).await.unwrap();
        tx.commit().await.unwrap();
        house.access.settle(number).await;
        assert_eq!((house.access.admits(&alice), hers.code()), (Err(Denied::Revoked), Some(CloseCode::Revoked)));
        // The database is one of before: the counter, too.
        let mut tx = house.db.begin().await.unwrap();
        run(&mut tx, "UPDATE users SET blocked_at = NULL", &[]).await.unwrap();
        run(&mut tx, "UPDATE counters SET value = 0", &[]).await.unwrap();
        tx.commit().await.unwrap();
        house.access.look_now();
        let mut position = house.access.position.subscribe();
        position.wait_for(|position| *position == 0).await.unwrap();
        assert_eq!(house.access.admits(&alice), Ok(()));
        house.end().await;
    }
}

#[tokio::test]
async fn what_was_read_before_a_ruling_is_not_kept_after_it() {
    for house in House::all().await {
        house.rule(&[(ROOM, &[])], Ruling::Channel(chat())).await;
        house.join("alice", "member", "joined").await;
        let user: Arc<str> = "alice".into();
        // A read that is under way while the ruling comes: whichever way they cross, the next one asked is told the new row.
        for round in 0..40 {
            house.join("alice", "member", "joined").await;
            let reader = {
                let (access, user, db) = (house.access.clone(), user.clone(), house.db.clone());
                tokio::spawn(async move {
                    for _ in 0..round % 8 {
                        tokio::task::yield_now().await;
                    }
                    access.keep.membership(&db, &chat(), &user).await
                })
            };
            house.join("alice", "member", "invited").await;
            let now = house.access.keep.membership(&house.db, &chat(), &user).await.unwrap();
            assert_eq!(now.map(|membership| membership.state), Some(MemberState::Invited), "round {round}");
            reader.await.unwrap().unwrap();
            let then = house.access.keep.membership(&house.db, &chat(), &user).await.unwrap();
            assert_eq!(then.map(|membership| membership.state), Some(MemberState::Invited), "round {round}");
        }
        house.end().await;
    }
}

#[tokio::test]
async fn rulings_are_numbered_in_the_order_of_commits_and_kept_for_a_while() {
    for house in House::all().await {
        let db = &house.db;
        let append = async |ruling: Ruling, now: u64| {
            let mut tx = db.begin().await.unwrap();
            rulings::append(&mut tx, &ruling, now).await.unwrap();
            tx.commit().await.unwrap();
        };
        let (user, channel) = ("zoe".to_owned(), chat());
        let all = [
            Ruling::User(user.clone()),
            Ruling::Session { user: user.clone(), session: "s".to_owned() },
            Ruling::Token { user: user.clone(), token: "t".to_owned(), until: 900 },
            Ruling::Channel(channel.clone()),
            Ruling::Member { channel: channel.clone(), user: user.clone() },
            Ruling::Ban { channel, user },
            Ruling::Key("k".to_owned()),
            Ruling::ApiKey("a".to_owned()),
        ];
        for (ruling, now) in all.iter().zip(1..) {
            append(ruling.clone(), now).await;
        }
        let read = rulings::after(db, 0, 100).await.unwrap();
        assert!(read.iter().map(|one| one.number).eq(1..=8));
        assert!(read.into_iter().map(|one| one.ruling.unwrap()).eq(all));
        // One that was not committed has no number.
        let mut tx = db.begin().await.unwrap();
        rulings::append(&mut tx, &Ruling::Key("x".to_owned()), 9).await.unwrap();
        drop(tx);
        assert_eq!(rulings::newest(db).await.unwrap(), 8);
        assert_eq!(rulings::tokens(db, 899).await.unwrap(), [("t".to_owned(), 900)]);
        assert_eq!(rulings::trim(db, 5, 899, 100).await.unwrap(), 3, "the token is not over");
        assert_eq!(rulings::after(db, 0, 100).await.unwrap()[0].number, 3);
        assert_eq!(rulings::trim(db, 100, 900, 2).await.unwrap(), 2);
        house.end().await;
    }
}

#[tokio::test]
async fn memberships_are_read_at_once_and_asked_for_no_more() {
    for house in House::all().await {
        let rooms = "INSERT INTO rooms (channel, kind, visibility, title, topic, data, created_by, members, version, created_at, updated_at)
            VALUES ('chat:1', 'group', 'private', '', '', '{}', 'ada', 0, 1, 1, 1), ('chat:2', 'group', 'private', '', '', '{}', 'ada', 0, 1, 1, 1),
            ('chat:3', 'group', 'private', '', '', '{}', 'ada', 0, 1, 1, 1), ('dm:x', 'direct', 'private', '', '', '{}', 'ada', 0, 1, 1, 1)";
        let members = "INSERT INTO members (channel, user_id, role, state, version, created_at, updated_at)
            VALUES ('chat:1', $1, 'member', 'joined', 1, 7, 7), ('chat:2', $1, 'guest', 'joined', 1, 9, 9),
            ('chat:3', $1, 'member', 'invited', 1, 8, 8), ('dm:x', $1, 'member', 'joined', 1, 9, 9)";
        house.rule(&[(rooms, &[]), (members, &["bob"])], Ruling::Channel(chat())).await;
        let bob: Arc<str> = "bob".into();
        let listed = house.access.memberships(&bob, 10).await.unwrap();
        let names: Vec<_> = listed.iter().map(ChannelName::as_str).collect();
        assert_eq!(names, ["dm:x", "chat:2", "chat:1"], "newest first; who is only asked in is not in");
        assert_eq!(house.access.memberships(&bob, 2).await.unwrap().len(), 2);
        // From here on nothing can be read.
        let mut tx = house.db.begin().await.unwrap();
        for text in ["ALTER TABLE members RENAME TO away", "ALTER TABLE rooms RENAME TO gone"] {
            run(&mut tx, text, &[]).await.unwrap();
        }
        tx.commit().await.unwrap();
        for channel in &listed {
            assert_eq!(house.access.may(&own("bob"), Act::Subscribe, channel).await, Ok(()), "{channel:?}");
            assert!(house.access.joined(&bob, channel).await.unwrap().is_some());
        }
        assert_eq!(house.access.memberships(&bob, 10).await, Err(Denied::Unavailable));
        house.end().await;
    }
}

#[tokio::test]
async fn a_membership_that_was_read_before_a_ruling_is_not_kept_after_it() {
    for house in House::all().await {
        house.rule(&[(ROOM, &[])], Ruling::Channel(chat())).await;
        house.join("bob", "member", "joined").await;
        let bob: Arc<str> = "bob".into();
        let before = house.access.keep.stamps();
        let read = members::joined(&house.db, "bob", None, 10).await.unwrap();
        let gone = "DELETE FROM members WHERE user_id = $1";
        house.rule(&[(gone, &["bob"])], Ruling::Member { channel: chat(), user: "bob".to_owned() }).await;
        house.access.keep.take(&bob, &read[0], &before).await;
        assert_eq!(house.may("bob", Act::Subscribe).await, Err(Denied::NotFound));
        house.end().await;
    }
}

#[tokio::test]
async fn what_is_to_begin_is_told_in_order_and_within_bounds() {
    for house in House::all().await {
        let outbox = Outbox::new(Sink::task(), Wire::Socket(Format::Msgpack), 1 << 16);
        let enlisted = house.access.enlist(&own("bob"), &outbox);
        let due = enlisted.take();
        assert!(due.memberships && due.starts.is_empty(), "first everything");
        let one = |channel: &str| ChannelName::parse(channel).unwrap();
        let begin = |channel| Ruling::Subscribe { channel, user: "bob".to_owned(), since: Some(Cursor { epoch: 2, seq: 7 }) };
        house.rule(&[], begin(one("room:1"))).await;
        house.rule(&[], begin(one("room:2"))).await;
        house.rule(&[], Ruling::Unsubscribe { channel: one("room:1"), user: "bob".to_owned() }).await;
        house.rule(&[], Ruling::Member { channel: chat(), user: "bob".to_owned() }).await;
        house.rule(&[], Ruling::Joined { channel: chat(), user: "bob".to_owned(), since: Cursor { epoch: 1, seq: 3 } }).await;
        house.rule(&[], Ruling::Member { channel: one("room:9"), user: "bob".to_owned() }).await;
        house.rule(&[], Ruling::Member { channel: chat(), user: "eve".to_owned() }).await;
        let due = enlisted.take();
        let backend = Start { channel: one("room:2"), cause: Cause::Backend(Some(Cursor { epoch: 2, seq: 7 })) };
        let changed = |since| Start { channel: chat(), cause: Cause::Membership(since) };
        let expected = [backend, changed(None), changed(Some(Cursor { epoch: 1, seq: 3 }))];
        assert_eq!(due.starts, expected, "nothing of a namespace that does not want it");
        assert!(!due.memberships && enlisted.take().starts.is_empty());
        // A ruling that is missing is not known: everything is due again.
        let hole = "UPDATE counters SET value = value + 5 WHERE name = 'rulings'";
        house.rule(&[(hole, &[])], begin(one("room:3"))).await;
        assert!(enlisted.take().memberships);
        for n in 0..2_000 {
            house.access.starts.start("bob", &Start { channel: one(&format!("chat:{n}")), cause: Cause::Membership(None) });
        }
        let due = enlisted.take();
        assert!(due.memberships && due.starts.len() < 2_000 && !outbox.is_closing());
        for n in 0..2_000 {
            house.access.starts.start("bob", &Start { channel: one(&format!("room:{n}")), cause: Cause::Backend(None) });
        }
        assert_eq!(outbox.code(), Some(CloseCode::SlowConsumer), "nobody else would say it again");
        drop(enlisted);
        house.access.starts.start("bob", &Start { channel: chat(), cause: Cause::Membership(None) });
        house.end().await;
    }
}
