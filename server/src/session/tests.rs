//! Sessions without a socket: whose turn it is, and what the clock does to them.

use bytes::Bytes;
use hubbub_protocol::{
    ClientFrame, Format, ServerFrame,
    frame::{Connect, SubscribeChannel},
};
use tokio::sync::Semaphore;

use super::*;
use crate::{
    auth::{Action, Grant, Grants, Rules},
    hub::{Sink, Wire, tests::frames},
    store::{
        Db,
        entries::{self, NewEntry},
    },
    tasks::Tasks,
    testing::Ground,
};

async fn backend(dir: &tempfile::TempDir) -> (Arc<Backend>, Db, Tasks) {
    let ground = Ground::in_dir(dir, &["channel.feed_entries=4"]).await;
    let channels = ground.channels(1, None);
    let Ground { config, db, access, metrics, world, tasks, .. } = ground;
    let verifier = Arc::new(Verifier::new(Some(&[7; 32]), None, Rules { audience: None, issuer: None, leeway_ms: 0 }).unwrap());
    let sightings = Sightings::start(db.clone(), world.clone(), &tasks);
    let rooms = Arc::new(Rooms { db: db.clone(), access: access.clone(), config: config.clone(), world: world.clone() });
    let instance = "test".into();
    let backend = Backend { instance, channels, access, rooms, config, verifier, accounts: None, sightings, metrics, world };
    (Arc::new(backend), db, tasks)
}

async fn say(client: &mut Client, frame: ClientFrame) {
    let mut message = Vec::new();
    frame.encode(Format::Msgpack, &mut message);
    client.message(&message).await;
}

#[tokio::test]
async fn a_channel_that_is_behind_all_the_time_does_not_keep_others_waiting() {
    let dir = tempfile::tempdir().unwrap();
    let (backend, db, tasks) = backend(&dir).await;
    let names = ["s:1", "s:2", "s:3"].map(|name| hubbub_protocol::ChannelName::parse(name).unwrap());
    for channel in &names {
        let new = || NewEntry {
            channel: channel.clone(),
            publisher: "alice".into(),
            message_id: backend.world.id(),
            amends: None,
            key: None,
            payload: Bytes::from([&[0xc5, 0x03, 0xe8][..], &[7; 1_000]].concat()),
            digest: 0,
        };
        let batch: Vec<NewEntry> = (0..100).map(|_| new()).collect();
        entries::append(&db, &batch, backend.world.clock.now()).await.unwrap();
    }
    let grants = Grants::new(&[Grant { channels: vec!["*".into()], actions: vec![Action::Subscribe] }]).unwrap();
    let identity = Identity::new("alice", grants);
    let outbox = Outbox::new(Sink::task(), Wire::Socket(Format::Msgpack), 16 << 10);
    let admission = Arc::new(Semaphore::new(1)).try_acquire_owned().unwrap();
    let mut client = Client::new(backend.clone(), outbox.clone(), Arc::new(Vitals::new(0)), Some(identity), admission);
    say(&mut client, ClientFrame::Connect(Connect { id: 1, ..Connect::default() })).await;
    let asked = |name: &hubbub_protocol::ChannelName| SubscribeChannel {
        channel: name.as_str().to_owned(),
        since: Some(hubbub_protocol::Cursor::default()),
        ..SubscribeChannel::default()
    };
    say(&mut client, ClientFrame::Subscribe { id: 2, channels: names.iter().map(asked).collect() }).await;
    outbox.take();
    let mut heard = std::collections::HashSet::new();
    for _ in 0..names.len() {
        client.catch_up().await;
        for frame in frames(&outbox.take()) {
            let ServerFrame::Entry(entry) = frame else { panic!("{frame:?}") };
            heard.insert(entry.channel);
        }
    }
    assert_eq!(heard.len(), names.len(), "each in its turn");
    client.leave().await;
    tasks.stop().await;
}

#[test]
fn heartbeats_go_on_when_the_clock_is_set_back() {
    let vitals = Vitals::new(1_000_000);
    assert!(!vitals.beat(1_020_000, 25_000));
    assert!(vitals.beat(1_025_000, 25_000));
    assert!(vitals.beat(500_000, 25_000), "otherwise the peer hears nothing until the old time comes again");
    assert!(!vitals.beat(510_000, 25_000));
    assert!(vitals.beat(525_000, 25_000));
}
