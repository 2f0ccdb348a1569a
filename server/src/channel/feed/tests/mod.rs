//! A lane between a real store and subscribers, whatever becomes of the hand-offs: every subscriber accounts for every seq, once and in
//! order.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::atomic::{AtomicU64, Ordering::Relaxed},
};

use bytes::Bytes;
use hubbub_protocol::{
    Entry, Format, Key, MessageId, ServerFrame,
    frame::{SkipReason, Slow, Unrecovered},
};
use proptest::{
    prelude::*,
    test_runner::{Config as Cases, TestRunner},
};

mod past;

use super::*;
use crate::{
    auth::{Action, Grant, Grants, Identity},
    channel::{Channels, Direction},
    hub::{Delivery, Outbox, Sink, Standing, Wire, tests::frames},
    store::{
        channels,
        entries::{self, NewEntry},
    },
    testing::Ground,
    world::World,
};

/// Entries that a feed holds in memory.
const RING: usize = 6;
const HISTORY: u64 = 40;
const REPLAY: u64 = 30;

/// A store, lanes, and nobody yet.
struct House {
    channels: Arc<Channels>,
    identity: Identity,
    metrics: Arc<Metrics>,
    world: World,
    tasks: Tasks,
    _dir: tempfile::TempDir,
}

impl House {
    async fn open(more: &[&str]) -> Self {
        Self::open_with(more, None).await
    }

    /// With `looks`, others may write, too.
    async fn open_with(more: &[&str], looks: Option<Arc<Looks>>) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let ring = format!("channel.feed_entries={RING}");
        let replay = format!("channel.replay={REPLAY}");
        let history = format!("namespaces.s.history_entries={HISTORY}");
        let settings = [&[&*ring, &replay, &history, "namespaces.e.durable=false"], more].concat();
        let ground = Ground::in_dir(&dir, &settings).await;
        let grants = Grants::new(&[Grant { channels: vec!["*".into()], actions: Action::ALL.into() }]).unwrap();
        let identity = Identity::new("alice", grants);
        let channels = ground.channels(2, looks);
        let Ground { metrics, world, tasks, .. } = ground;
        Self { channels, identity, metrics, world, tasks, _dir: dir }
    }

    /// Stores entries behind the back of the feeds.
    async fn store(&self, channel: &ChannelName, keys: &[Option<u8>], size: usize) -> Vec<Arc<Delivery>> {
        let new = |key: &Option<u8>| NewEntry {
            channel: channel.clone(),
            publisher: "alice".into(),
            message_id: MessageId::new(self.world.clock.now(), self.world.chance.bytes()),
            amends: None,
            key: key.map(|key| Key::parse(&format!("k{key}")).unwrap()),
            payload: payload(size),
            digest: 0,
        };
        let batch: Vec<NewEntry> = keys.iter().map(new).collect();
        let appended = entries::append(&self.channels.db, &batch, self.world.clock.now()).await.unwrap();
        appended.iter().map(|appended| Delivery::new(appended.stored().unwrap().clone())).collect()
    }

    async fn head(&self, channel: &ChannelName) -> Cursor {
        channels::head(&self.channels.db, channel).await.unwrap().map_or(Cursor::default(), |head| head.cursor())
    }

    /// The value of a metric as it is shown.
    fn metric(&self, name: &str) -> f64 {
        let text = self.metrics.render();
        let line = text.lines().find(|line| line.starts_with(name)).unwrap_or_else(|| panic!("no {name} in {text}"));
        line.rsplit(' ').next().unwrap().parse().unwrap()
    }

    /// Waits until the channel's lane has done all that it was told.
    async fn settle(&self, channel: &ChannelName) -> Cursor {
        let outbox = Outbox::new(Sink::task(), Wire::Socket(Format::Msgpack), 1 << 20);
        let subscription = Subscription::new(channel.clone(), outbox, Slow::Close);
        let keep = self.channels.namespace(channel).keep();
        let joined = self.channels.feeds.join(subscription.clone(), true, None, keep).await.unwrap();
        self.channels.unsubscribe(subscription).await;
        joined.position
    }
}

fn payload(size: usize) -> Bytes {
    let mut payload = vec![0xc5];
    payload.extend_from_slice(&(size as u16).to_be_bytes());
    payload.resize(3 + size, 7);
    payload.into()
}

/// A client as it should be: it checks what it gets, and comes back with its cursor.
struct Client {
    outbox: Arc<Outbox>,
    subscription: Option<Arc<Subscription>>,
    cursor: Option<Cursor>,
    /// What came since the last break in its knowledge, by seq; `None` was skipped.
    log: BTreeMap<u64, Option<Entry>>,
    skipped: Vec<SkipReason>,
    slow: Slow,
    limit: usize,
}

impl Client {
    fn new(slow: Slow, limit: usize) -> Self {
        let outbox = Outbox::new(Sink::task(), Wire::Socket(Format::Msgpack), limit);
        Self { outbox, subscription: None, cursor: None, log: BTreeMap::new(), skipped: Vec::new(), slow, limit }
    }

    /// Subscribes, as a session does it; with `since` instead of what it knows, if that is given.
    async fn subscribe(&mut self, house: &House, channel: &ChannelName, since: Option<Cursor>) {
        if self.subscription.is_some() {
            return;
        }
        if since.is_some() {
            self.cursor = since;
            self.log.clear();
        }
        let since = self.cursor;
        let accepted =
            house.channels.subscribe(&house.identity, self.outbox.clone(), channel.clone(), since, Some(self.slow)).await.unwrap();
        let answer = accepted.answer;
        let head = answer.head.unwrap();
        match (since, answer.reason) {
            (None, _) | (_, Some(Unrecovered::Epoch)) => {
                self.cursor = Some(head);
                self.log.clear();
            }
            (Some(since), reason) => {
                assert_eq!(answer.recovered, Some(reason.is_none()));
                assert!(since.seq <= head.seq);
                if let Some(from) = answer.from {
                    assert_eq!(answer.to, Some(head.seq));
                    assert!(reason.is_some() || from == since.seq + 1);
                }
            }
        }
        if let Some(skip) = accepted.skip {
            self.outbox.push(skip);
        }
        self.outbox.activate(&accepted.subscription);
        self.subscription = Some(accepted.subscription);
    }

    /// Takes what waits, and checks it.
    async fn read(&mut self, house: &House) {
        let (mut over, mut revoked) = (false, false);
        for frame in frames(&self.outbox.take()) {
            assert!(!over, "nothing follows a goodbye");
            assert!(!revoked, "nothing follows the end of the only subscription");
            let cursor = self.cursor.as_mut().unwrap();
            match frame {
                ServerFrame::Entry(entry) => {
                    let place = entry.place.unwrap();
                    assert_eq!(place.seq, cursor.seq + 1);
                    *cursor = entry.cursor().unwrap();
                    self.log.insert(place.seq, Some(entry));
                }
                ServerFrame::Skip(skip) => {
                    let range = skip.range.unwrap();
                    assert_eq!(range.from, cursor.seq + 1);
                    assert_eq!(skip.count, range.to - cursor.seq);
                    self.log.extend((range.from..=range.to).map(|seq| (seq, None)));
                    self.skipped.push(skip.reason);
                    *cursor = Cursor { epoch: range.epoch, seq: range.to };
                }
                ServerFrame::Disconnect(_) => over = true,
                ServerFrame::Unsubscribed { error, .. } => {
                    assert_eq!(error.known(), Some(hubbub_protocol::ErrorCode::Resubscribe));
                    revoked = true;
                }
                other => panic!("{other:?}"),
            }
        }
        assert_eq!(over, self.outbox.is_closing());
        if revoked {
            assert_eq!(self.standing(), Some(Standing::Ended));
            self.leave(house).await;
        }
        if over {
            self.leave(house).await;
            self.outbox = Outbox::new(Sink::task(), Wire::Socket(Format::Msgpack), self.limit);
        }
    }

    async fn leave(&mut self, house: &House) {
        if let Some(subscription) = self.subscription.take() {
            house.channels.unsubscribe(subscription).await;
        }
    }

    async fn pull(&self, house: &House) {
        if let Some(subscription) = &self.subscription
            && self.outbox.bytes() <= self.limit / 4
        {
            house.channels.catch_up(subscription).await;
            let bytes = self.outbox.bytes();
            assert!(bytes <= self.limit, "a page leaves room for replies: {bytes}");
        }
    }

    fn standing(&self) -> Option<Standing> {
        self.subscription.as_ref().map(|subscription| subscription.standing())
    }
}

#[derive(Debug, Clone)]
enum Act {
    /// Entries are stored; their hand-off comes later, if at all.
    Append(Vec<Option<u8>>),
    /// One of the hand-offs that are due comes: the first if in order.
    HandOn(prop::sample::Index),
    HandOnFirst,
    /// The same again.
    Again(prop::sample::Index),
    /// One never comes.
    Lose(prop::sample::Index),
    Verify,
    /// Somebody subscribes; now and then with a cursor out of thin air.
    Subscribe(usize, Option<prop::sample::Index>),
    Pull(usize),
    Read(usize),
    Stuck(usize),
    Leave(usize),
    Yield,
}

fn act() -> impl Strategy<Value = Act> {
    let index = any::<prop::sample::Index>;
    let keys = prop::collection::vec(prop::option::weighted(0.7, 0..3_u8), 1..8);
    prop_oneof![
        6 => keys.prop_map(Act::Append),
        8 => Just(Act::HandOnFirst),
        2 => index().prop_map(Act::HandOn),
        1 => index().prop_map(Act::Again),
        1 => index().prop_map(Act::Lose),
        1 => Just(Act::Verify),
        4 => (0..CLIENTS, prop::option::weighted(0.5, index())).prop_map(|(who, since)| Act::Subscribe(who, since)),
        4 => (0..CLIENTS).prop_map(Act::Pull),
        4 => (0..CLIENTS).prop_map(Act::Read),
        1 => (0..CLIENTS).prop_map(Act::Stuck),
        1 => (0..CLIENTS).prop_map(Act::Leave),
        2 => Just(Act::Yield),
    ]
}

const CLIENTS: usize = 4;

async fn play(house: &House, acts: Vec<Act>) {
    static NAMES: AtomicU64 = AtomicU64::new(0);
    let channel = ChannelName::parse(&format!("s:{}", NAMES.fetch_add(1, Relaxed))).unwrap();
    let mut clients: Vec<Client> = [(Slow::Close, 1 << 20), (Slow::Close, 1_500), (Slow::Latest, 1 << 20), (Slow::Latest, 1_500)]
        .map(|(slow, limit)| Client::new(slow, limit))
        .into();
    let mut stored: Vec<Arc<Delivery>> = Vec::new();
    let (mut due, mut came) = (VecDeque::new(), Vec::new());
    for act in acts {
        match act {
            Act::Append(keys) => {
                let batch = house.store(&channel, &keys, 60).await;
                stored.extend_from_slice(&batch);
                due.push_back(batch);
            }
            Act::HandOnFirst => {
                if let Some(batch) = due.pop_front() {
                    house.channels.feeds.deliver(&channel, batch.clone()).await;
                    came.push(batch);
                }
            }
            Act::HandOn(which) if !due.is_empty() => {
                let batch: Vec<_> = due.remove(which.index(due.len())).unwrap();
                house.channels.feeds.deliver(&channel, batch.clone()).await;
                came.push(batch);
            }
            Act::Again(which) if !came.is_empty() => house.channels.feeds.deliver(&channel, came[which.index(came.len())].clone()).await,
            Act::Lose(which) if !due.is_empty() => drop(due.remove(which.index(due.len()))),
            Act::Verify => house.channels.feeds.verify(&channel).await,
            Act::Subscribe(who, since) => {
                let since = since.map(|since| Cursor { epoch: 1, seq: since.index(stored.len() + 3) as u64 });
                clients[who].subscribe(house, &channel, since).await;
            }
            Act::Pull(who) => clients[who].pull(house).await,
            Act::Read(who) => clients[who].read(house).await,
            Act::Stuck(who) => clients[who].outbox.stuck(),
            Act::Leave(who) => {
                clients[who].read(house).await;
                clients[who].leave(house).await;
                // What was pushed before it left has come, too.
                clients[who].read(house).await;
            }
            Act::Yield => tokio::task::yield_now().await,
            Act::HandOn(_) | Act::Again(_) | Act::Lose(_) => {}
        }
    }
    house.channels.feeds.verify(&channel).await;
    assert_eq!(house.settle(&channel).await, house.head(&channel).await);
    for client in &mut clients {
        finish(house, &channel, client).await;
        check(client, &stored);
        client.leave(house).await;
    }
    for _ in 0..1_000 {
        tokio::task::yield_now().await;
    }
    assert_eq!(house.channels.hub.subscribers(&channel), 0);
    assert_eq!(house.channels.hub.channels(), 0, "a channel without listeners is forgotten");
}

/// Reads and pulls until the client has everything.
async fn finish(house: &House, channel: &ChannelName, client: &mut Client) {
    for _ in 0..1_000 {
        client.subscribe(house, channel, None).await;
        client.read(house).await;
        match client.standing() {
            Some(Standing::Live) => return,
            Some(Standing::Behind) => client.pull(house).await,
            // It hears of it with the next read.
            Some(Standing::Ended) | None => {}
            Some(Standing::Joining) => panic!("it was activated"),
        }
    }
    panic!("it never comes up with its channel");
}

/// Everything since the client's beginning is there, and is what was stored.
fn check(client: &Client, stored: &[Arc<Delivery>]) {
    assert_eq!(client.cursor.unwrap().seq, stored.len() as u64);
    let seqs: Vec<u64> = client.log.keys().copied().collect();
    assert!(seqs.windows(2).all(|pair| pair[0] + 1 == pair[1]), "{seqs:?}");
    assert!(seqs.last().is_none_or(|last| *last == stored.len() as u64));
    for (seq, entry) in &client.log {
        let original = &stored[*seq as usize - 1].entry;
        match entry {
            Some(entry) => assert_eq!(entry, &**original),
            None if client.slow == Slow::Latest
                && !client.skipped.contains(&SkipReason::TooFar)
                && !client.skipped.contains(&SkipReason::Expired) =>
            {
                let newer = client.log.range(seq + 1..).any(|(_, newer)| newer.as_ref().is_some_and(|newer| newer.key == original.key));
                assert!(newer, "{seq} was superseded by nothing");
            }
            None => {}
        }
    }
    if client.slow == Slow::Close {
        assert!(!client.skipped.contains(&SkipReason::Superseded));
    }
}

#[test]
fn every_subscriber_accounts_for_every_seq_once_and_in_order() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let house = runtime.block_on(House::open(&[]));
    let strategy = prop::collection::vec(act(), 1..80);
    let mut runner = TestRunner::new(Cases { cases: 200, failure_persistence: None, ..Cases::default() });
    let result = runner.run(&strategy, |acts| {
        runtime.block_on(play(&house, acts));
        Ok(())
    });
    runtime.block_on(house.tasks.stop());
    result.unwrap_or_else(|error| panic!("{error}"));
}

fn name(text: &str) -> ChannelName {
    ChannelName::parse(text).unwrap()
}

async fn live(house: &House, channel: &ChannelName) -> Client {
    let mut client = Client::new(Slow::Close, 1 << 20);
    client.subscribe(house, channel, None).await;
    client
}

#[tokio::test]
async fn a_look_into_the_store_brings_everything_however_much() {
    let (house, channel) = (House::open(&[]).await, name("s:1"));
    let mut client = live(&house, &channel).await;
    let mut stored = Vec::new();
    for _ in 0..10 {
        stored.extend(house.store(&channel, &[None; 250], 600).await);
    }
    house.channels.feeds.verify(&channel).await;
    assert_eq!(house.settle(&channel).await.seq, 2_500);
    finish(&house, &channel, &mut client).await;
    check(&client, &stored);
    assert_eq!(client.log.len(), 2_500);
}

#[tokio::test]
async fn a_hole_is_filled_from_the_store_at_once() {
    let (house, channel) = (House::open(&[]).await, name("s:1"));
    let mut client = live(&house, &channel).await;
    let stored = house.store(&channel, &[None; 9], 8).await;
    // The first three never come, the last three before the middle.
    house.channels.feeds.deliver(&channel, stored[6..].to_vec()).await;
    house.channels.feeds.deliver(&channel, stored[3..6].to_vec()).await;
    assert_eq!(house.settle(&channel).await.seq, 9);
    assert_eq!(client.standing(), Some(Standing::Live), "nobody who was live had to pull");
    assert_eq!(house.metric("hubbub_store_reads_total{kind=\"repair\"}"), 1.0);
    client.read(&house).await;
    check(&client, &stored);
}

#[tokio::test]
async fn a_durable_inbox_is_bounded_and_loses_nothing() {
    let (house, channel) = (House::open(&[]).await, name("s:1"));
    let mut client = live(&house, &channel).await;
    let mut stored = Vec::new();
    for _ in 0..5 {
        stored.extend(house.store(&channel, &[None; 250], 8).await);
    }
    // All at once, so that the lane finds both.
    house.channels.feeds.deliver(&channel, stored[..1_100].to_vec()).await;
    house.channels.feeds.deliver(&channel, stored[1_100..].to_vec()).await;
    assert_eq!(house.settle(&channel).await.seq, 1_250);
    assert_eq!(house.metric("hubbub_store_reads_total{kind=\"repair\"}"), 1.0, "what did not fit was read again");
    finish(&house, &channel, &mut client).await;
    check(&client, &stored);
}

#[tokio::test]
async fn publishers_of_an_ephemeral_channel_wait_for_a_busy_lane() {
    let (house, channel) = (House::open(&[]).await, name("e:1"));
    let outbox = Outbox::new(Sink::task(), Wire::Socket(Format::Msgpack), 1 << 20);
    let accepted = house.channels.subscribe(&house.identity, outbox.clone(), channel.clone(), None, None).await.unwrap();
    outbox.activate(&accepted.subscription);
    let entry = |number| crate::hub::tests::delivery(&channel, 0, number, None, 8);
    let feeds = &house.channels.feeds;
    for number in 1..=ROOM as u64 {
        tokio::task::unconstrained(feeds.pass(&channel, entry(number))).await;
    }
    let mut one_more = std::pin::pin!(tokio::task::unconstrained(feeds.pass(&channel, entry(ROOM as u64 + 1))));
    let waits = std::future::poll_fn(|cx| std::task::Poll::Ready(one_more.as_mut().poll(cx).is_pending())).await;
    assert!(waits, "what may wait is bounded");
    one_more.await;
    let mut came = Vec::new();
    while came.len() <= ROOM {
        tokio::task::yield_now().await;
        came.extend(frames(&outbox.take()));
    }
    let numbers: Vec<u64> = came
        .iter()
        .map(|frame| match frame {
            ServerFrame::Entry(entry) => crate::hub::tests::number(entry),
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(numbers, (1..=ROOM as u64 + 1).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_client_that_read_the_store_is_ahead_of_the_feed_and_not_of_the_past() {
    let (house, channel) = (House::open(&[]).await, name("s:1"));
    let _first = live(&house, &channel).await;
    let early = house.store(&channel, &[None; 3], 8).await;
    let history = house.channels.history(&house.identity, &channel, Direction::Newest, None).await.unwrap();
    let mut client = Client::new(Slow::Close, 1 << 20);
    client.subscribe(&house, &channel, Some(history.rest.head)).await;
    assert_eq!(client.cursor, Some(Cursor { epoch: 1, seq: 3 }), "it was not told to forget");
    house.channels.feeds.deliver(&channel, early).await;
    let late = house.store(&channel, &[None], 8).await;
    house.channels.feeds.deliver(&channel, late).await;
    house.settle(&channel).await;
    finish(&house, &channel, &mut client).await;
    assert_eq!(client.log.keys().copied().collect::<Vec<_>>(), [4]);
}

#[tokio::test]
async fn a_cursor_of_another_past_is_told_even_when_its_entry_is_gone() {
    let (house, channel) = (House::open(&[]).await, name("s:1"));
    house.store(&channel, &[None; 10], 8).await;
    let head = channels::head(&house.channels.db, &channel).await.unwrap().unwrap();
    entries::trim(&house.channels.db, head.channel_id, 6, 100).await.unwrap();
    for (epoch, reason) in [(1, Unrecovered::Expired), (2, Unrecovered::Epoch), (0, Unrecovered::Epoch)] {
        let outbox = Outbox::new(Sink::task(), Wire::Socket(Format::Msgpack), 1 << 20);
        let since = Some(Cursor { epoch, seq: 3 });
        let accepted = house.channels.subscribe(&house.identity, outbox, channel.clone(), since, None).await.unwrap();
        assert_eq!(accepted.answer.reason, Some(reason), "epoch {epoch}");
        house.channels.unsubscribe(accepted.subscription).await;
    }
}

#[tokio::test]
async fn what_all_feeds_hold_is_bounded_when_they_are_loaded_too() {
    let house = House::open(&["channel.feed_bytes=2KiB", "channel.feed_total_bytes=4KiB"]).await;
    let mut clients = Vec::new();
    for number in 0..12 {
        let channel = name(&format!("s:{number}"));
        house.store(&channel, &[None; 4], 8).await;
        let mut client = Client::new(Slow::Close, 1 << 20);
        client.subscribe(&house, &channel, Some(Cursor { epoch: 0, seq: 0 })).await;
        finish(&house, &channel, &mut client).await;
        assert_eq!(client.log.len(), 4);
        clients.push(client);
    }
    let held = house.metric("hubbub_feed_bytes");
    assert!(held <= 4_096.0, "{held}");
}

#[tokio::test]
async fn history_after_the_end_of_numbers_is_empty() {
    let (house, channel) = (House::open(&[]).await, name("s:1"));
    house.store(&channel, &[None; 3], 8).await;
    for (direction, count) in [(Direction::After(u64::MAX), 0), (Direction::Before(u64::MAX), 3), (Direction::Before(0), 0)] {
        let page = house.channels.history(&house.identity, &channel, direction, None).await.unwrap();
        assert_eq!((page.entries.len(), page.rest.more), (count, false), "{direction:?}");
    }
}
