//! What a real database does with rooms, without a server before it.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering::Relaxed},
};

use serde_json::json;

use super::{
    By, NewBan, RoomError, Rooms, Said,
    janitor::{GRACE, RETENTION},
};
use crate::{
    auth::{Act, Denied, Grants, Identity, Role, policy::Visibility},
    store::{audit::Trace, bans, members, on, rooms, testing::Place},
    testing::Ground,
    world::{Clock, World},
};

#[tokio::test]
async fn a_deleted_room_goes_for_good_when_its_time_is_over() {
    for place in Place::all().await {
        let db = place.open().await;
        let start = World::system().clock.now();
        let now = Arc::new(AtomicU64::new(start));
        let world = World { clock: Clock::Manual(now.clone()), ..World::system() };
        let Ground { config, access, tasks, .. } = Ground::new(db.clone(), world.clone(), &[]).await;
        let rooms_of = Rooms { db: db.clone(), access, config, world };
        let identity = Identity { is_narrowed: false, ..Identity::new("ada", Grants::default()) };
        let by = By { identity: &identity, trace: &Trace::operator() };
        let channel = hubbub_protocol::ChannelName::parse("chat:x").unwrap();
        let said = Said { visibility: Visibility::Private, title: "X".into(), topic: String::new(), data: json!({}) };
        rooms_of.make(by, &channel, &said).await.unwrap();
        rooms_of.delete(by, &channel, &|_| true).await.unwrap();
        assert_eq!(rooms_of.purge().await.unwrap(), 0);
        rooms_of.restore(by, &channel).await.unwrap();
        rooms_of.delete(by, &channel, &|_| true).await.unwrap();
        now.fetch_add(RETENTION.as_millis() as u64 + 1, Relaxed);
        assert!(matches!(rooms_of.restore(by, &channel).await, Err(RoomError::Denied(Denied::NotFound))), "its time is over");
        assert_eq!(rooms_of.purge().await.unwrap(), 0, "clocks differ");
        now.fetch_add(GRACE.as_millis() as u64, Relaxed);
        assert_eq!(rooms_of.purge().await.unwrap(), 1);
        assert!(rooms::find(&db, &channel).await.unwrap().is_none());
        assert!(members::find(&db, &channel, "ada").await.unwrap().is_none());
        assert!(bans::find(&db, &channel, "ada").await.unwrap().is_none());
        rooms_of.make(by, &channel, &said).await.unwrap();
        tasks.stop().await;
        db.close().await;
    }
}

#[tokio::test]
async fn whoever_takes_the_name_of_a_purged_room_finds_nothing_of_it() {
    for place in Place::all().await {
        let db = place.open().await;
        let now = Arc::new(AtomicU64::new(World::system().clock.now()));
        let world = World { clock: Clock::Manual(now.clone()), ..World::system() };
        let Ground { config, access, tasks, .. } = Ground::new(db.clone(), world.clone(), &[]).await;
        let rooms_of = Rooms { db: db.clone(), access: access.clone(), config, world };
        let [ada, eve, mia, bob] =
            ["ada", "eve", "mia", "bob"].map(|user| Identity { is_narrowed: false, ..Identity::new(user, Grants::default()) });
        let trace = Trace::operator();
        let by = |identity| By { identity, trace: &trace };
        let channel = hubbub_protocol::ChannelName::parse("chat:x").unwrap();
        let said = |visibility| Said { visibility, title: "X".into(), topic: String::new(), data: json!({}) };
        rooms_of.make(by(&ada), &channel, &said(Visibility::Public)).await.unwrap();
        rooms_of.join(by(&eve), &channel).await.unwrap();
        rooms_of.ban(by(&ada), &channel, "mia", &NewBan { reason: String::new(), expires_at: None }).await.unwrap();
        for sql in [
            "INSERT INTO uploads (id, owner, channel, name, media_type, size, sha256, version, created_at, loose_since)
             VALUES ('u1', 'ada', 'chat:x', 'a', 'text/plain', 1, 'x', 1, 1, NULL), ('u2', 'ada', NULL, 'a', 'text/plain', 1, 'x', 1, 1, NULL)",
            "INSERT INTO attachments (channel, seq, place, upload_id) VALUES ('chat:x', 1, 0, 'u1'), ('chat:x', 1, 1, 'u2'), ('chat:y', 1, 0, 'u2')",
        ] {
            let mut tx = db.begin().await.unwrap();
            on!(&mut tx, conn => sqlx::query(sql).execute(conn).await.map(drop)).unwrap();
            tx.commit().await.unwrap();
        }
        rooms_of.delete(by(&ada), &channel, &|_| true).await.unwrap();
        // Asked for while it is deleted, and so remembered.
        for identity in [&ada, &eve, &mia] {
            assert!(access.may(identity, Act::See, &channel).await.is_err());
        }
        now.fetch_add((RETENTION + GRACE).as_millis() as u64 + 1, Relaxed);
        assert_eq!(rooms_of.purge().await.unwrap(), 1);
        rooms_of.make(by(&bob), &channel, &said(Visibility::Private)).await.unwrap();
        for identity in [&ada, &eve, &mia] {
            for act in [Act::History, Act::Delete] {
                assert_eq!(access.may(identity, act, &channel).await, Err(Denied::NotFound), "{} {act:?}", identity.user);
            }
        }
        let mut tx = db.begin().await.unwrap();
        let text = "SELECT id, channel, loose_since IS NOT NULL FROM uploads ORDER BY id";
        let loose: Vec<(String, Option<String>, bool)> = on!(&mut tx, conn => sqlx::query_as(text).fetch_all(conn).await).unwrap();
        drop(tx);
        assert_eq!(loose, [("u1".to_owned(), None, true), ("u2".to_owned(), None, false)], "one is attached elsewhere");
        tasks.stop().await;
        db.close().await;
    }
}

/// What was decided by what an instance remembered is decided again by the rows, once they are held.
#[tokio::test]
async fn who_joins_or_invites_does_so_by_the_rows() {
    for place in Place::all().await {
        let db = place.open().await;
        let Ground { config, access, world, tasks, .. } = Ground::new(db.clone(), World::system(), &[]).await;
        let rooms_of = Rooms { db: db.clone(), access: access.clone(), config, world: world.clone() };
        let [ada, eve] = ["ada", "eve"].map(|user| Identity { is_narrowed: false, ..Identity::new(user, Grants::default()) });
        let trace = Trace::operator();
        let by = |identity| By { identity, trace: &trace };
        let name = |name| hubbub_protocol::ChannelName::parse(name).unwrap();
        let said = |visibility| Said { visibility, title: "X".into(), topic: String::new(), data: json!({}) };
        let run = async |sql: &'static str| {
            let mut tx = db.begin().await.unwrap();
            on!(&mut tx, conn => sqlx::query(sql).execute(conn).await.map(drop)).unwrap();
            tx.commit().await.unwrap();
        };
        crate::store::users::see(&db, vec!["ada".to_owned(), "eve".to_owned()], world.clock.now()).await.unwrap();
        for (room, visibility) in [("chat:a", Visibility::Private), ("chat:b", Visibility::Public), ("chat:c", Visibility::Public)] {
            rooms_of.make(by(&ada), &name(room), &said(visibility)).await.unwrap();
        }
        rooms_of.invite(by(&ada), &name("chat:a"), "eve", Role::Guest).await.unwrap();
        rooms_of.join(by(&eve), &name("chat:c")).await.unwrap();
        for room in ["chat:a", "chat:b"] {
            assert_eq!(access.may(&eve, Act::Join, &name(room)).await, Ok(()));
        }
        assert_eq!(access.may(&eve, Act::Invite, &name("chat:c")).await, Ok(()));
        // On another instance, of which this one has not heard yet.
        run("DELETE FROM members WHERE user_id = 'eve'").await;
        run("UPDATE rooms SET visibility = 'private'").await;
        for room in ["chat:a", "chat:b"] {
            let refused = rooms_of.join(by(&eve), &name(room)).await;
            assert!(matches!(refused, Err(RoomError::Denied(Denied::NotFound))), "{room}: {refused:?}");
        }
        let refused = rooms_of.invite(by(&eve), &name("chat:c"), "ada", Role::Member).await;
        assert!(matches!(refused, Err(RoomError::Denied(Denied::Forbidden))), "{refused:?}");
        run("UPDATE rooms SET visibility = 'public'").await;
        run("INSERT INTO bans (channel, user_id, reason, banned_by, version, created_at) VALUES ('chat:b', 'eve', '', 'ada', 1, 1)").await;
        let refused = rooms_of.join(by(&eve), &name("chat:b")).await;
        assert!(matches!(refused, Err(RoomError::Denied(Denied::Banned))), "{refused:?}");
        tasks.stop().await;
        db.close().await;
    }
}
