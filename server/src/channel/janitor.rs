//! The janitor: deletes what the history no longer shows and ids that the dedup window has passed. Small transactions with pauses
//! between them, so that a commit never waits long. Nobody depends on it but the disk: reads apply the bounds themselves.

use std::{sync::Arc, time::Duration};

use hubbub_protocol::ChannelName;

use crate::{
    config::Config,
    store::{Db, StoreError, bans, channels, entries, instances, look, publishes, rulings, tickets, uploads},
    tasks::Duty,
    world::Clock,
};

/// Between two rounds.
const EVERY: Duration = Duration::from_secs(30);
/// Rounds from one that goes through every channel, for the sake of what only grows old, to the next; the others go by what changed.
const WHOLE: u64 = 60;
/// Between two transactions.
const PAUSE: Duration = Duration::from_millis(20);
/// Rows a transaction: a few milliseconds.
const ROWS: u32 = 500;
/// Attachments a transaction, each with statements of its own.
const ATTACHMENTS: u32 = 50;
/// Channels looked at in one read.
const CHANNELS: u32 = 100;
/// For how long a ruling is kept: an instance that has not looked for longer learns everything anew.
const RULINGS_MS: u64 = 86_400_000;
/// An id is kept a little longer than it is accepted.
const SLACK_MS: u64 = 60_000;

pub(super) async fn run(config: Arc<Config>, db: Db, clock: Clock, duty: Arc<Duty>) {
    let mut janitor = Janitor::default();
    loop {
        tokio::time::sleep(EVERY).await;
        if !duty.is_ours() {
            janitor = Janitor::default();
        } else if let Err(error) = janitor.round(&config, &db, clock.now()).await {
            tracing::warn!(%error, "old rows could not be deleted; trying again later");
        }
    }
}

/// How far the rounds have come.
#[derive(Debug, Default)]
struct Janitor {
    rounds: u64,
    since: Option<look::Since>,
}

impl Janitor {
    async fn round(&mut self, config: &Config, db: &Db, now: u64) -> Result<(), StoreError> {
        let window = config.channel.dedup_window.as_millis() as u64;
        let forget = now.saturating_sub(window + SLACK_MS);
        while publishes::trim(db, forget, ROWS).await? == u64::from(ROWS) {
            tokio::time::sleep(PAUSE).await;
        }
        instances::forget(db, now).await?;
        tickets::sweep(db, now).await?;
        while bans::trim(db, now, ROWS).await? == u64::from(ROWS)
            || rulings::trim(db, now.saturating_sub(RULINGS_MS), now, ROWS).await? == u64::from(ROWS)
        {
            tokio::time::sleep(PAUSE).await;
        }
        let whole = self.rounds.is_multiple_of(WHOLE);
        let looked = look::look(db, self.since).await?;
        if whole {
            every_channel(config, db, now).await?;
        } else {
            for (channel, head) in looked.heads {
                trim_channel(config, db, head.channel_id, &channel, head.cursor().seq, now).await?;
            }
        }
        // Only now: what a failed round did not come to is due again.
        (self.since, self.rounds) = (Some(looked.since), self.rounds + 1);
        Ok(())
    }
}

async fn every_channel(config: &Config, db: &Db, now: u64) -> Result<(), StoreError> {
    let mut after = 0;
    loop {
        let page = channels::page(db, after, CHANNELS).await?;
        let Some((last, ..)) = page.last() else { return Ok(()) };
        after = *last;
        for (channel_id, name, head) in page {
            if let Ok(name) = ChannelName::parse(&name) {
                trim_channel(config, db, channel_id, &name, head as u64, now).await?;
            }
        }
    }
}

async fn trim_channel(config: &Config, db: &Db, channel_id: i64, name: &ChannelName, head: u64, now: u64) -> Result<(), StoreError> {
    let (floor, oldest) = config.namespace(name).window(head, now);
    let first = entries::first(db, channel_id, floor, oldest).await?.map_or(head + 1, |(seq, _)| seq);
    // Most channels have nothing to delete: look before taking the one writing connection.
    let has_older = entries::first(db, channel_id, 0, 0).await?.is_some_and(|(seq, _)| seq < first);
    if has_older {
        // First: what is attached to a message that is gone nobody would look for.
        while uploads::detach(db, name.as_str(), 0..first, now, ATTACHMENTS).await? == u64::from(ATTACHMENTS) {
            tokio::time::sleep(PAUSE).await;
        }
        while entries::trim(db, channel_id, first, ROWS).await? == u64::from(ROWS) {
            tokio::time::sleep(PAUSE).await;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        config::Sources,
        store::{
            entries::{NewEntry, Page},
            testing::Place,
            uploads::{Attached, Attaching, Upload},
        },
        world::World,
    };

    #[tokio::test]
    async fn keeps_the_history_and_the_window_and_nothing_else() {
        let dir = tempfile::tempdir().unwrap();
        let url = format!("store.url=sqlite:{}", dir.path().join("t.db").display());
        let sources = Sources { arguments: vec!["namespaces.room.history_entries=10".into(), url], ..Sources::default() };
        let config = Config::load(&sources).unwrap();
        let db = Db::open(&config.store).await.unwrap();
        db.migrate().await.unwrap();
        let world = World::system();
        let now = world.clock.now();
        let channel = ChannelName::parse("room:1").unwrap();
        let old = |age_ms: u64| NewEntry {
            channel: channel.clone(),
            publisher: "alice".into(),
            message_id: hubbub_protocol::MessageId::new(now - age_ms, world.chance.bytes()),
            amends: None,
            key: None,
            payload: bytes::Bytes::from_static(&[0xc0]),
            digest: 0,
        };
        let batch: Vec<NewEntry> = (0..700).map(|_| old(25 * 3_600_000)).chain((0..20).map(|_| old(0))).collect();
        entries::append(&db, &batch, now).await.unwrap();
        let mut janitor = Janitor::default();
        janitor.round(&config, &db, now).await.unwrap();
        let head = channels::head(&db, &channel).await.unwrap().unwrap();
        let page = Page { after: 0, upto: u64::MAX >> 1, entries: 1_000, bytes: usize::MAX };
        let left = entries::page(&db, &channel, head.channel_id, page).await.unwrap();
        assert_eq!(left.iter().map(|entry| entry.place.unwrap().seq).collect::<Vec<_>>(), (711..=720).collect::<Vec<_>>());
        // An id within the window still answers, one before it would be refused by its age.
        let again = entries::append(&db, &batch[719..], now).await.unwrap();
        assert!(matches!(again[0], entries::Appended::Duplicate { seq: 720, .. }));
        let forgotten = entries::append(&db, &batch[..1], now).await.unwrap();
        assert!(matches!(forgotten[0], entries::Appended::Stored(_)));
        // The next rounds go by what changed.
        janitor.round(&config, &db, now).await.unwrap();
        let page = Page { after: 0, upto: u64::MAX >> 1, entries: 1_000, bytes: usize::MAX };
        let left = entries::page(&db, &channel, head.channel_id, page).await.unwrap();
        assert_eq!(left.iter().map(|entry| entry.place.unwrap().seq).collect::<Vec<_>>(), (712..=721).collect::<Vec<_>>());
    }

    fn upload(id: &str, now: u64) -> Upload {
        Upload {
            id: id.to_owned(),
            owner: "alice".to_owned(),
            channel: None,
            name: "a.bin".to_owned(),
            media_type: "application/octet-stream".to_owned(),
            size: 10,
            sha256: id.to_owned(),
            version: 1,
            created_at: now,
            deleted_at: None,
        }
    }

    #[tokio::test]
    async fn what_was_attached_to_deleted_messages_is_loose() {
        let sources = Sources { arguments: vec!["namespaces.room.history_entries=10".into()], ..Sources::default() };
        let config = Config::load(&sources).unwrap();
        for place in Place::all().await {
            let db = place.open().await;
            let world = World::system();
            let now = world.clock.now();
            let channels = ["room:1", "room:2"].map(|name| ChannelName::parse(name).unwrap());
            let write = async |channel: &ChannelName, count: usize| {
                let entry = || NewEntry {
                    channel: channel.clone(),
                    publisher: "alice".into(),
                    message_id: hubbub_protocol::MessageId::new(now, world.chance.bytes()),
                    amends: None,
                    key: None,
                    payload: bytes::Bytes::from_static(&[0xc0]),
                    digest: 0,
                };
                entries::append(&db, &(0..count).map(|_| entry()).collect::<Vec<_>>(), now).await.unwrap();
            };
            let attach = async |channel: &ChannelName, seq: u64, ids: &[&str]| {
                let to = Attaching { channel: channel.as_str(), seq, user: "alice" };
                assert_eq!(uploads::attach(&db, to, ids).await.unwrap(), Attached::Done);
            };
            for channel in &channels {
                write(channel, 5).await;
            }
            for id in ["gone", "twice", "elsewhere", "kept"] {
                uploads::put(&db, &upload(id, now), id, None).await.unwrap();
            }
            attach(&channels[0], 2, &["gone", "twice", "elsewhere"]).await;
            attach(&channels[0], 3, &["gone"]).await;
            attach(&channels[1], 2, &["elsewhere"]).await;
            write(&channels[0], 15).await;
            attach(&channels[0], 15, &["twice", "kept"]).await;
            let mut janitor = Janitor::default();
            janitor.round(&config, &db, now + 1_000).await.unwrap();
            // Its time begins now, and not when it came.
            assert_eq!(uploads::sweep_loose(&db, now + 1_000, 100).await.unwrap().uploads, 0);
            assert_eq!(uploads::used(&db, "alice").await.unwrap(), 40);
            assert_eq!(uploads::channels(&db, "gone", 10).await.unwrap(), Vec::<String>::new(), "no reader of the channel has it");
            assert_eq!(uploads::channels(&db, "elsewhere", 10).await.unwrap(), ["room:2"]);
            let swept = uploads::sweep_loose(&db, now + 1_001, 100).await.unwrap();
            assert_eq!((swept.uploads, &*swept.objects), (1, &["gone".to_owned()][..]), "{}", db.kind());
            assert_eq!(uploads::used(&db, "alice").await.unwrap(), 30);
            let left: Vec<_> = uploads::of_messages(&db, "room:1", 0, 100).await.unwrap();
            assert_eq!(left.iter().map(|(seq, upload)| (*seq, &*upload.id)).collect::<Vec<_>>(), [(15, "twice"), (15, "kept")]);
            db.close().await;
        }
    }
}
