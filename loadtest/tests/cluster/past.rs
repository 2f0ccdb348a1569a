//! A database that goes back in time under a running cluster, and one that does not although it is another server now.

use std::{
    sync::{Arc, Mutex},
    thread::sleep,
    time::Duration,
};

use hubbub_client::{Client, Event, Message, StreamExt as _, SubscribeOptions};
use hubbub_protocol::{ChannelName, Cursor, frame::Unrecovered};

use crate::{common::wait_until, instance::Cluster, postgres::Stop};

/// Somebody who listens to one channel, and notes everything.
struct Listener {
    channel: &'static str,
    events: Arc<Mutex<Vec<Event>>>,
    _client: Client,
}

impl Listener {
    async fn start(cluster: &Cluster, instance: usize, channel: &'static str) -> Self {
        let client = cluster.client(instance, "listener");
        let events = Arc::new(Mutex::new(Vec::new()));
        let mut subscription = client.subscribe(name(channel), SubscribeOptions::default()).await.unwrap();
        let noted = events.clone();
        tokio::spawn(async move {
            while let Some(event) = subscription.next().await {
                noted.lock().unwrap().push(event);
            }
        });
        Self { channel, events, _client: client }
    }

    /// The places of all entries, in the order in which they came.
    fn cursors(&self) -> Vec<Cursor> {
        let events = self.events.lock().unwrap();
        let cursor = |event: &Event| match event {
            Event::Entry(entry) => entry.cursor(),
            _ => None,
        };
        events.iter().filter_map(cursor).collect()
    }

    /// Why resumes were not whole.
    fn resets(&self) -> Vec<Option<Unrecovered>> {
        let events = self.events.lock().unwrap();
        let reset = |event: &Event| match event {
            Event::Subscribed(subscribed) if subscribed.recovered == Some(false) => Some(subscribed.reason),
            _ => None,
        };
        events.iter().filter_map(reset).collect()
    }
}

fn name(channel: &str) -> ChannelName {
    ChannelName::parse(channel).unwrap()
}

async fn publish(client: &Client, channel: &str, count: usize) {
    for n in 0..count {
        client.publish(Message::encode(name(channel), &n).unwrap()).await.unwrap();
    }
}

/// The backup lacks the last entries of `room:lost` and has all of `room:kept`.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restored_backup_is_told_to_whom_it_took_entries() {
    let cluster = Cluster::start(2);
    let mut listeners = Vec::new();
    for (instance, channel) in [(0, "room:lost"), (0, "room:kept"), (1, "room:lost"), (1, "room:kept")] {
        listeners.push(Listener::start(&cluster, instance, channel).await);
    }
    let of = |channel: &str| listeners.iter().filter(|listener| listener.channel == channel).collect::<Vec<_>>();
    let (lost, kept) = (of("room:lost"), of("room:kept"));
    let alice = cluster.client(0, "alice");
    publish(&alice, "room:lost", 10).await;
    publish(&alice, "room:kept", 10).await;
    let backup = cluster.postgres.back_up();
    publish(&alice, "room:lost", 10).await;
    wait_until("everything has arrived", || {
        lost.iter().all(|listener| listener.cursors().len() == 20) && kept.iter().all(|listener| listener.cursors().len() == 10)
    });

    cluster.postgres.stop(Stop::Immediate);
    cluster.postgres.restore(&backup);
    cluster.postgres.start_again();
    wait_until("all who lost entries are told", || lost.iter().all(|listener| listener.resets() == [Some(Unrecovered::Epoch)]));

    for channel in ["room:lost", "room:kept"] {
        publish(&alice, channel, 15).await;
    }
    wait_until("what was published since has arrived", || {
        lost.iter().all(|listener| listener.cursors().len() >= 35) && kept.iter().all(|listener| listener.cursors().len() >= 25)
    });
    sleep(Duration::from_millis(1_500));
    for listener in lost {
        let cursors = listener.cursors();
        let (before, after) = cursors.split_at(20);
        assert!(before.iter().map(|cursor| cursor.seq).eq(1..=20));
        assert!(after.iter().map(|cursor| cursor.seq).eq(11..=25), "the new past goes on behind the backup: {after:?}");
        assert!(after.iter().all(|cursor| cursor.epoch > before[19].epoch), "nothing comes twice under one seq and epoch: {cursors:?}");
        assert_eq!(listener.resets().len(), 1);
    }
    for listener in kept {
        assert!(listener.cursors().iter().map(|cursor| cursor.seq).eq(1..=25), "{:?}", listener.cursors());
        assert_eq!(listener.resets(), [], "whoever lost nothing goes on");
    }
}

/// `replay` accepts no resume that is not whole: a failover that loses nothing is none of its subscribers' business.
#[test]
fn a_lossless_failover_resets_nobody() {
    let cluster = Cluster::start(3);
    let standby = cluster.postgres.synchronous_standby();
    let arguments = ["--limit", "6000", "--rate", "500", "--publishers", "3", "--subscribers", "6", "--dropping", "2"];
    let replay = cluster.replay("zipcodes.csv", "state", &arguments);
    replay.wait_for(2_000);
    cluster.postgres.stop(Stop::Immediate);
    standby.promote();
    cluster.to_postgres.lead_to(standby.address);
    replay.verify(6_000, 6);
    let promoted: u32 = standby.sql("SELECT ('x' || left(pg_walfile_name(pg_current_wal_lsn()), 8))::bit(32)::int").parse().unwrap();
    assert_eq!((promoted, standby.sql("SELECT pg_is_in_recovery()").as_str()), (2, "f"), "it is the standby that served the end");
}
