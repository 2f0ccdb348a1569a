//! What a real database does with rooms, without a server before it.

use std::sync::Arc;

use serde_json::json;

use super::{By, Rooms, Said, janitor::RETENTION};
use crate::{
    auth::{Grants, Identity, policy::Visibility},
    store::{audit::Trace, bans, members, rooms, testing::Place},
    testing::Ground,
    world::{Clock, World},
};

#[tokio::test]
async fn a_deleted_room_goes_for_good_when_its_time_is_over() {
    for place in Place::all().await {
        let db = place.open().await;
        let start = World::system().clock.now();
        let now = Arc::new(std::sync::atomic::AtomicU64::new(start));
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
        now.fetch_add(RETENTION.as_millis() as u64 + 1, std::sync::atomic::Ordering::Relaxed);
        assert_eq!(rooms_of.purge().await.unwrap(), 1);
        assert!(rooms::find(&db, &channel).await.unwrap().is_none());
        assert!(members::find(&db, &channel, "ada").await.unwrap().is_none());
        assert!(bans::find(&db, &channel, "ada").await.unwrap().is_none());
        rooms_of.make(by, &channel, &said).await.unwrap();
        tasks.stop().await;
        db.close().await;
    }
}
