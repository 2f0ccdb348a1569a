//! The hub under arbitrary interleavings: who gets what, in which order, and how much may wait.

use std::{
    io::Read,
    sync::atomic::AtomicBool,
    task::{Context, Poll, Wake},
};

use bytes::Bytes;
use hubbub_protocol::{
    CloseCode, Cursor, Entry, Format, Key, Kind, Place, ServerFrame, ServerFrames,
    frame::{SkipReason, Slow},
};
use proptest::prelude::*;
use tokio::net::{TcpListener, TcpStream};

use super::*;

const WIRE: Wire = Wire::Socket(Format::Msgpack);
const AMPLE: usize = 1 << 30;

/// An entry whose payload is `size` bytes long and begins with `number`; `seq` 0 is an ephemeral one.
pub(crate) fn delivery(channel: &ChannelName, seq: u64, number: u64, key: Option<u8>, size: usize) -> Arc<Delivery> {
    let mut payload = vec![0xc6];
    payload.extend_from_slice(&(size.max(8) as u32).to_be_bytes());
    payload.extend_from_slice(&number.to_be_bytes());
    payload.resize(5 + size.max(8), 0);
    Delivery::new(Arc::new(Entry {
        channel: channel.clone(),
        place: (seq > 0).then_some(Place { epoch: 1, seq, ordinal: seq }),
        kind: Kind::Message,
        refers: None,
        message_id: None,
        publisher: "alice".into(),
        key: key.map(|key| Key::parse(&format!("k{key}")).unwrap()),
        time: 1,
        payload: payload.into(),
    }))
}

/// The number in an entry's payload.
pub(crate) fn number(entry: &Entry) -> u64 {
    u64::from_be_bytes(entry.payload[5..13].try_into().unwrap())
}

/// The frames of what left an outbox; transport frames (Close) are left out.
pub(crate) fn frames(pieces: &[Bytes]) -> Vec<ServerFrame> {
    pieces
        .iter()
        .filter(|piece| piece[0] == 0x82)
        .flat_map(|piece| ServerFrames::new(Format::Msgpack, body(piece)).map(Result::unwrap))
        .collect()
}

fn body(piece: &Bytes) -> &[u8] {
    match piece[1] {
        126 => &piece[4..],
        127 => &piece[10..],
        _ => &piece[2..],
    }
}

pub(crate) fn channel(number: usize) -> ChannelName {
    ChannelName::parse(&format!("c:{number}")).unwrap()
}

fn live(outbox: &Arc<Outbox>, topic: &Topic, channel: &ChannelName, slow: Slow, position: u64) -> Arc<Subscription> {
    let subscription = Subscription::new(channel.clone(), outbox.clone(), slow);
    subscription.seek(Cursor { epoch: u64::from(position > 0), seq: position });
    topic.join(subscription.clone());
    outbox.activate(&subscription);
    subscription
}

fn deliver(topic: &Topic, group: &[Arc<Delivery>]) {
    let mut touched = Vec::new();
    let slice = topic.deliver(group, 0, AMPLE, &mut touched);
    assert!(slice.next.is_none());
    touched.iter().for_each(|outbox| outbox.flush());
}

/// What a session or a transport may do at any moment.
#[derive(Debug, Clone)]
enum Aside {
    End(usize),
    Take(usize),
    Flush(usize),
}

/// What happens under a topic's lane, in its order.
#[derive(Debug, Clone)]
enum Act {
    Join(usize),
    Activate(usize),
    Leave(usize),
    Deliver { channel: usize, count: usize, budget: usize, between: Vec<Aside> },
    Aside(Aside),
}

const CHANNELS: usize = 3;
const OUTBOXES: usize = 4;
/// Each outbox may listen to each channel; the last channel is ephemeral.
const SUBSCRIPTIONS: usize = CHANNELS * OUTBOXES;

fn aside() -> impl Strategy<Value = Aside> {
    prop_oneof![(0..SUBSCRIPTIONS).prop_map(Aside::End), (0..OUTBOXES).prop_map(Aside::Take), (0..OUTBOXES).prop_map(Aside::Flush)]
}

fn act() -> impl Strategy<Value = Act> {
    let deliver = (0..CHANNELS, 1..6_usize, 1..20_usize, prop::collection::vec(aside(), 0..4));
    prop_oneof![
        3 => (0..SUBSCRIPTIONS).prop_map(Act::Join),
        3 => (0..SUBSCRIPTIONS).prop_map(Act::Activate),
        1 => (0..SUBSCRIPTIONS).prop_map(Act::Leave),
        4 => deliver.prop_map(|(channel, count, budget, between)| Act::Deliver { channel, count, budget, between }),
        2 => aside().prop_map(Act::Aside),
    ]
}

/// The hub, and beside it what each subscription has to see.
struct Stage {
    hub: Hub,
    outboxes: Vec<Arc<Outbox>>,
    heads: [u64; CHANNELS],
    joined: Vec<Option<Arc<Subscription>>>,
    /// By subscription: what was owed to its outbox, and what has come, in order.
    owed: Vec<Vec<u64>>,
    came: Vec<Vec<u64>>,
}

impl Stage {
    fn new() -> Self {
        let outboxes = (0..OUTBOXES).map(|_| Outbox::new(Sink::task(), WIRE, AMPLE)).collect();
        let none = || (0..SUBSCRIPTIONS).map(|_| Vec::new()).collect();
        Self { hub: Hub::new(7), outboxes, heads: [0; CHANNELS], joined: vec![None; SUBSCRIPTIONS], owed: none(), came: none() }
    }

    fn act(&mut self, act: Act) {
        match act {
            Act::Join(at) if self.joined[at].is_none() => {
                let name = channel(at % CHANNELS);
                let subscription = Subscription::new(name.clone(), self.outboxes[at / CHANNELS].clone(), Slow::Close);
                let durable = at % CHANNELS + 1 < CHANNELS;
                subscription.seek(Cursor { epoch: 1, seq: if durable { self.heads[at % CHANNELS] } else { 0 } });
                self.hub.topic(&name).join(subscription.clone());
                self.joined[at] = Some(subscription);
            }
            Act::Activate(at) => {
                if let Some(subscription) = &self.joined[at] {
                    subscription.outbox.activate(subscription);
                }
            }
            Act::Leave(at) => {
                if let Some(subscription) = self.joined[at].take() {
                    subscription.outbox.end(&subscription);
                    let topic = self.hub.topic(&subscription.channel);
                    assert!(topic.leave(&subscription));
                    assert!(!topic.leave(&subscription), "it is gone");
                    self.hub.forget(&subscription.channel);
                }
            }
            Act::Deliver { channel: at, count, budget, between } => self.deliver(at, count, budget, between),
            Act::Aside(aside) => self.aside(&aside),
            Act::Join(_) => {}
        }
        for at in 0..CHANNELS {
            self.hub.topic(&channel(at)).check_invariants();
        }
    }

    fn deliver(&mut self, at: usize, count: usize, budget: usize, between: Vec<Aside>) {
        let name = channel(at);
        let group: Vec<_> = (0..count as u64)
            .map(|more| self.heads[at] + 1 + more)
            .map(|seq| delivery(&name, if at + 1 < CHANNELS { seq } else { 0 }, seq, None, 8))
            .collect();
        self.heads[at] += count as u64;
        let topic = self.hub.topic(&name);
        let (mut next, mut between, mut touched) = (Some(0), between.into_iter(), Vec::new());
        while let Some(from) = next {
            // Who is live at this very moment is owed the group.
            let standing: Vec<_> = self.joined.iter().map(|joined| joined.as_ref().map(|subscription| subscription.standing())).collect();
            let before: Vec<_> = self.outboxes.iter().map(|outbox| outbox.bytes()).collect();
            let slice = topic.deliver(&group, from, budget, &mut touched);
            next = slice.next;
            let served = self.served(&topic, from, next);
            assert!(served.len() <= (budget / group.len()).max(1), "a slice keeps its budget");
            for &one in &served {
                if standing[one] == Some(Standing::Live) {
                    self.owed[one].extend(group.iter().map(|delivery| number(&delivery.entry)));
                    assert!(self.outboxes[one / CHANNELS].bytes() > before[one / CHANNELS]);
                }
            }
            if let Some(aside) = between.next() {
                self.aside(&aside);
            }
        }
        touched.iter().for_each(|outbox| outbox.flush());
    }

    /// The subscriptions in the places `from..next` of the channel's list.
    fn served(&self, topic: &Topic, from: usize, next: Option<usize>) -> Vec<usize> {
        let end = next.unwrap_or(topic.count.load(Relaxed));
        let slot = |joined: &Option<Arc<Subscription>>| joined.as_ref().map(|subscription| subscription.slot.load(Relaxed) as usize);
        let on_topic = |at: &usize| {
            let subscription = self.joined[*at].as_ref();
            subscription.is_some_and(|subscription| topic.members().iter().any(|member| Arc::ptr_eq(member, subscription)))
        };
        (0..SUBSCRIPTIONS).filter(on_topic).filter(|at| slot(&self.joined[*at]).is_some_and(|slot| (from..end).contains(&slot))).collect()
    }

    fn aside(&mut self, aside: &Aside) {
        match *aside {
            Aside::End(at) => {
                if let Some(subscription) = &self.joined[at] {
                    subscription.outbox.end(subscription);
                }
            }
            Aside::Take(outbox) => {
                for frame in frames(&self.outboxes[outbox].take()) {
                    let ServerFrame::Entry(entry) = frame else { panic!("{frame:?}") };
                    let at = (0..CHANNELS).find(|at| channel(*at) == entry.channel).unwrap();
                    self.came[outbox * CHANNELS + at].push(number(&entry));
                }
            }
            Aside::Flush(outbox) => self.outboxes[outbox].flush(),
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn every_live_subscription_sees_exactly_its_entries_in_order(acts in prop::collection::vec(act(), 1..60)) {
        let mut stage = Stage::new();
        for act in acts {
            stage.act(act);
        }
        for outbox in 0..OUTBOXES {
            stage.aside(&Aside::Take(outbox));
        }
        prop_assert_eq!(&stage.owed, &stage.came);
        // Nothing of a hole is ever pushed: each run of a durable channel's seqs while it is live is whole.
        for at in 0..SUBSCRIPTIONS {
            prop_assert!(stage.came[at].windows(2).all(|pair| pair[0] < pair[1]));
        }
        for at in 0..SUBSCRIPTIONS {
            stage.act(Act::Leave(at));
        }
        for at in 0..CHANNELS {
            stage.hub.forget(&channel(at));
        }
        prop_assert_eq!(stage.hub.channels(), 0);
    }
}

/// What happens to a slow subscriber of an ephemeral channel.
#[derive(Debug, Clone)]
enum Load {
    Deliver(Vec<(Option<u8>, usize)>),
    Push(usize),
    Stuck,
    Take,
}

fn load() -> impl Strategy<Value = Load> {
    let entry = (prop::option::weighted(0.8, 0..4_u8), 8..300_usize);
    prop_oneof![
        6 => prop::collection::vec(entry, 1..6).prop_map(Load::Deliver),
        1 => (10..400_usize).prop_map(Load::Push),
        3 => Just(Load::Stuck),
        2 => Just(Load::Take),
    ]
}

/// The newest of each key in `given`, in order of arrival, and how many they replace.
fn newest(given: &[(Option<u8>, u64)]) -> (Vec<u64>, u64) {
    let last = |at: usize| given[at + 1..].iter().all(|(key, _)| *key != given[at].0);
    let kept: Vec<u64> = (0..given.len()).filter(|at| last(*at)).map(|at| given[at].1).collect();
    let replaced = (given.len() - kept.len()) as u64;
    (kept, replaced)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn latest_keeps_the_newest_of_each_key_within_the_bound(
        loads in prop::collection::vec(load(), 1..60), limit in prop_oneof![300..3_000_usize, Just(AMPLE)],
    ) {
        let (topic, name) = (Topic::default(), channel(0));
        let outbox = Outbox::new(Sink::task(), WIRE, limit);
        live(&outbox, &topic, &name, Slow::Latest, 0);
        // Given since the last take: what went straight in, and what was held back.
        let (mut held, mut stuck) = (Vec::new(), false);
        let (mut given, mut seen, mut skipped) = (0_u64, 0, 0);
        let mut last = 0;
        for load in loads.into_iter().chain([Load::Take]) {
            match load {
                Load::Deliver(entries) => {
                    let group: Vec<_> = entries
                        .iter()
                        .map(|(key, size)| {
                            given += 1;
                            if stuck {
                                held.push((*key, given));
                            }
                            delivery(&name, 0, given, *key, *size)
                        })
                        .collect();
                    deliver(&topic, &group);
                }
                Load::Push(size) => outbox.push(Bytes::from(vec![0x89; size])),
                Load::Stuck => {
                    outbox.stuck();
                    stuck = true;
                }
                Load::Take => {
                    let frames = frames(&outbox.take());
                    let (kept, replaced) = newest(&held);
                    let came: Vec<u64> = frames
                        .iter()
                        .filter_map(|frame| match frame {
                            ServerFrame::Entry(entry) => Some(number(entry)),
                            _ => None,
                        })
                        .collect();
                    let skips = |reason| {
                        frames.iter().map(move |frame| match frame {
                            ServerFrame::Skip(skip) if skip.reason == reason => skip.count,
                            _ => 0,
                        }).sum::<u64>()
                    };
                    if limit == AMPLE {
                        prop_assert!(came.ends_with(&kept));
                        prop_assert_eq!((skips(SkipReason::Superseded), skips(SkipReason::Dropped)), (replaced, 0));
                    }
                    for number in came {
                        prop_assert!(number > last, "in order of arrival");
                        last = number;
                        seen += 1;
                    }
                    skipped += skips(SkipReason::Superseded) + skips(SkipReason::Dropped);
                    held.clear();
                    stuck = false;
                }
            }
            if outbox.is_closing() {
                // Replies do not fit any more: that is another matter.
                prop_assert_eq!(outbox.code(), Some(CloseCode::SlowConsumer));
                return Ok(());
            }
            // One that is larger than the bound may wait alone.
            prop_assert!(outbox.bytes() <= limit.max(700));
        }
        prop_assert_eq!(seen + skipped, given, "each entry is sent or accounted for");
    }

    #[test]
    fn close_closes_once_at_the_bound(
        loads in prop::collection::vec(load(), 1..60), limit in 300..3_000_usize,
    ) {
        let (topic, name) = (Topic::default(), channel(0));
        let outbox = Outbox::new(Sink::task(), WIRE, limit);
        live(&outbox, &topic, &name, Slow::Close, 0);
        let goodbye: usize = WIRE.goodbye(CloseCode::SlowConsumer, None).iter().map(Bytes::len).sum();
        let (mut given, mut closed, mut left) = (0, 0, Vec::new());
        for load in loads.into_iter().chain([Load::Take]) {
            match load {
                Load::Deliver(entries) => {
                    let group: Vec<_> = entries.iter().map(|(key, size)| { given += 1; delivery(&name, 0, given, *key, *size) }).collect();
                    closed += topic.deliver(&group, 0, AMPLE, &mut Vec::new()).full;
                }
                Load::Push(size) => {
                    let was_open = !outbox.is_closing();
                    outbox.push(Bytes::from(vec![0x89; size]));
                    closed += usize::from(was_open && outbox.is_closing());
                }
                Load::Stuck => outbox.stuck(),
                Load::Take => left.extend(outbox.take()),
            }
            // Its own task gets its turn after a batch: until then, as long as it takes what there is, twice as much may wait.
            prop_assert!(outbox.bytes() <= (2 * limit).max(700) + goodbye);
            prop_assert_eq!(outbox.is_closing(), closed == 1);
        }
        let farewells = frames(&left).iter().filter(|frame| matches!(frame, ServerFrame::Disconnect(_))).count();
        prop_assert_eq!((closed <= 1, farewells), (true, closed));
        let entries: Vec<u64> = frames(&left).iter().filter_map(|frame| match frame { ServerFrame::Entry(entry) => Some(number(entry)), _ => None }).collect();
        prop_assert!(entries.windows(2).all(|pair| pair[0] < pair[1]));
        if closed == 1 {
            prop_assert_eq!(left.last(), Some(&close(CloseCode::SlowConsumer)), "nothing follows a Close frame");
        } else {
            prop_assert_eq!(entries.len() as u64, given);
        }
    }
}

#[derive(Default)]
struct Flag(AtomicBool);

impl Wake for Flag {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Relaxed);
    }
}

impl Flag {
    fn lower(&self) -> bool {
        self.0.swap(false, Relaxed)
    }
}

async fn socket() -> (TcpStream, std::net::TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let peer = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let (stream, _) = listener.accept().await.unwrap();
    stream.writable().await.unwrap();
    (stream, peer)
}

#[tokio::test]
async fn a_flush_by_a_lane_hands_out_the_room_it_makes() {
    let (stream, _peer) = socket().await;
    let (topic, name) = (Topic::default(), channel(0));
    let outbox = Outbox::new(Sink::Socket(stream), WIRE, 16 << 10);
    let subscription = live(&outbox, &topic, &name, Slow::Close, 1);
    let flag = Arc::new(Flag::default());
    let waker = flag.clone().into();
    let mut cx = Context::from_waker(&waker);
    outbox.push(Bytes::from(vec![0x89; 8 << 10]));
    topic.deliver(&[delivery(&name, 3, 3, None, 8)], 0, AMPLE, &mut Vec::new());
    assert_eq!(subscription.standing(), Standing::Behind);
    assert_eq!(outbox.poll_drive(&mut cx), Poll::Pending, "there is no room yet");
    flag.lower();
    outbox.flush();
    assert!(flag.lower(), "the connection's task has to hear of the room");
    assert_eq!(outbox.poll_drive(&mut cx), Poll::Ready(Drive::Room));
    assert_eq!(outbox.poll_drive(&mut cx), Poll::Pending);
}

#[tokio::test]
async fn a_burst_does_not_close_a_socket_that_takes_it() {
    let (stream, mut peer) = socket().await;
    let (topic, name) = (Topic::default(), channel(0));
    let outbox = Outbox::new(Sink::Socket(stream), WIRE, 16 << 10);
    live(&outbox, &topic, &name, Slow::Close, 0);
    let group: Vec<_> = (1..=5).map(|number| delivery(&name, 0, number, None, 8 << 10)).collect();
    deliver(&topic, &group);
    assert!(!outbox.is_closing(), "only what the peer does not read counts");
    for _ in 0..5 {
        outbox.push(Bytes::from(vec![0x89; 8 << 10]));
    }
    outbox.flush();
    assert!(!outbox.is_closing());
    let mut read = vec![0; 80 << 10];
    peer.read_exact(&mut read).unwrap();
}

/// Cuts what a socket brought into messages.
fn messages(mut bytes: &[u8]) -> Vec<Bytes> {
    let mut messages = Vec::new();
    while !bytes.is_empty() {
        let (header, length) = match bytes[1] {
            126 => (4, usize::from(u16::from_be_bytes([bytes[2], bytes[3]]))),
            short => (2, usize::from(short)),
        };
        let (message, rest) = bytes.split_at(header + length);
        messages.push(Bytes::copy_from_slice(message));
        bytes = rest;
    }
    messages
}

#[tokio::test]
async fn latest_over_a_socket_that_was_not_read_accounts_for_everything() {
    let (stream, peer) = socket().await;
    peer.set_nonblocking(true).unwrap();
    let mut peer = TcpStream::from_std(peer).unwrap();
    let (topic, name) = (Topic::default(), channel(0));
    let outbox = Outbox::new(Sink::Socket(stream), WIRE, 64 << 10);
    live(&outbox, &topic, &name, Slow::Latest, 0);
    let mut given = 0;
    let mut give = |outbox: &Outbox| {
        given += 1;
        deliver(&topic, &[delivery(&name, 0, given, Some((given % 40) as u8), 1 << 10)]);
        assert!(outbox.bytes() <= 64 << 10);
    };
    while outbox.bytes() == 0 {
        give(&outbox);
    }
    (0..1_000).for_each(|_| give(&outbox));
    // The peer reads at last.
    let left = async {
        // Looked at after it was driven: once all is written nobody wakes this again.
        let written = std::future::poll_fn(|cx| {
            let driven = outbox.poll_drive(cx).map(drop);
            if outbox.bytes() == 0 { Poll::Ready(()) } else { driven }
        });
        written.await;
        assert!(!outbox.is_closing());
        socket2::SockRef::from(outbox.stream().unwrap()).shutdown(std::net::Shutdown::Write).unwrap();
    };
    let mut read = Vec::new();
    let (_, end) = tokio::join!(left, tokio::io::AsyncReadExt::read_to_end(&mut peer, &mut read));
    end.unwrap();
    let (mut entries, mut skipped) = (Vec::new(), 0);
    for frame in frames(&messages(&read)) {
        match frame {
            ServerFrame::Entry(entry) => entries.push(number(&entry)),
            ServerFrame::Skip(skip) => skipped += skip.count,
            other => panic!("{other:?}"),
        }
    }
    assert!(entries.windows(2).all(|pair| pair[0] < pair[1]));
    assert_eq!((entries.last(), entries.len() as u64 + skipped), (Some(&given), given));
    assert!(skipped > 900, "{skipped}");
}

#[test]
fn what_precedes_a_hole_is_flushed() {
    let (topic, name) = (Topic::default(), channel(0));
    let outbox = Outbox::new(Sink::task(), WIRE, AMPLE);
    let subscription = live(&outbox, &topic, &name, Slow::Close, 0);
    let mut touched = Vec::new();
    let slice = topic.deliver(&[delivery(&name, 1, 1, None, 8), delivery(&name, 3, 3, None, 8)], 0, AMPLE, &mut touched);
    assert_eq!((slice.entries, touched.len()), (1, 1));
    assert_eq!((subscription.standing(), subscription.cursor().seq), (Standing::Behind, 1));
}

#[test]
fn a_page_for_another_cursor_is_pulled_again() {
    let (topic, name) = (Topic::default(), channel(0));
    let outbox = Outbox::new(Sink::task(), WIRE, AMPLE);
    let subscription = live(&outbox, &topic, &name, Slow::Close, 1);
    deliver(&topic, &[delivery(&name, 3, 3, None, 8)]);
    let flag = Arc::new(Flag::default());
    let waker = flag.into();
    let mut cx = Context::from_waker(&waker);
    assert_eq!(outbox.poll_drive(&mut cx), Poll::Ready(Drive::Room));
    outbox.advance(&subscription, Cursor { epoch: 1, seq: 2 }, Vec::new(), Live::Yes);
    assert_eq!(subscription.standing(), Standing::Behind);
    assert_eq!(outbox.poll_drive(&mut cx), Poll::Ready(Drive::Room), "nobody stays behind for good");
}

#[test]
fn latest_at_the_bound_holds_back_and_does_not_close() {
    let (topic, name) = (Topic::default(), channel(0));
    let outbox = Outbox::new(Sink::task(), WIRE, 1_000);
    live(&outbox, &topic, &name, Slow::Latest, 0);
    let group: Vec<_> = (1..=20).map(|number| delivery(&name, 0, number, None, 100)).collect();
    deliver(&topic, &group);
    assert!(!outbox.is_closing());
    let left = frames(&outbox.take());
    let Some(ServerFrame::Entry(last)) = left.last() else { panic!("{left:?}") };
    assert_eq!(number(last), 20);
    let durable = channel(1);
    let subscription = live(&outbox, &topic, &durable, Slow::Latest, 0);
    let group: Vec<_> = (1..=20).map(|seq| delivery(&durable, seq, seq, None, 100)).collect();
    deliver(&topic, &group[..]);
    assert_eq!((outbox.is_closing(), subscription.standing()), (false, Standing::Behind));
}

#[test]
fn nothing_overtakes_what_is_held_back() {
    let (topic, name) = (Topic::default(), channel(0));
    let outbox = Outbox::new(Sink::task(), WIRE, 2_000);
    live(&outbox, &topic, &name, Slow::Latest, 0);
    // The third finds no room; its successor is so small that a fourth would.
    for (number, key, size) in [(1, 1, 300), (2, 2, 300), (3, 3, 600), (4, 3, 8), (5, 4, 8)] {
        deliver(&topic, &[delivery(&name, 0, number, Some(key), size)]);
    }
    let came: Vec<u64> = frames(&outbox.take())
        .iter()
        .filter_map(|frame| match frame {
            ServerFrame::Entry(entry) => Some(number(entry)),
            _ => None,
        })
        .collect();
    assert_eq!(came, [1, 2, 4, 5]);
}

#[test]
fn what_is_held_back_makes_way_for_a_reply() {
    let (topic, name) = (Topic::default(), channel(0));
    let outbox = Outbox::new(Sink::task(), WIRE, 1_000);
    live(&outbox, &topic, &name, Slow::Latest, 0);
    outbox.stuck();
    let group: Vec<_> = (1..=20).map(|number| delivery(&name, 0, number, Some(number as u8), 100)).collect();
    deliver(&topic, &group);
    assert!(outbox.bytes() > 800, "full: {}", outbox.bytes());
    outbox.push(Bytes::from(vec![0x89; 300]));
    assert!(!outbox.is_closing() && outbox.bytes() <= 1_000);
    let left = frames(&outbox.take());
    let Some(ServerFrame::Entry(last)) = left.last() else { panic!("{left:?}") };
    assert_eq!(number(last), 20);
}

#[test]
fn heads_tell_of_live_subscriptions_that_moved() {
    let (topic, name) = (Topic::default(), channel(0));
    let outbox = Outbox::new(Sink::task(), WIRE, AMPLE);
    let subscription = live(&outbox, &topic, &name, Slow::Close, 4);
    assert_eq!(outbox.moved(&subscription), Some(Cursor { epoch: 1, seq: 4 }));
    assert_eq!(outbox.moved(&subscription), None);
    deliver(&topic, &[delivery(&name, 5, 5, None, 8)]);
    assert_eq!(outbox.moved(&subscription), Some(Cursor { epoch: 1, seq: 5 }));
    deliver(&topic, &[delivery(&name, 7, 7, None, 8)]);
    assert_eq!(outbox.moved(&subscription), None, "it is behind");
}

#[test]
fn a_client_ahead_of_the_feed_sees_nothing_twice() {
    let (topic, name) = (Topic::default(), channel(0));
    let outbox = Outbox::new(Sink::task(), WIRE, AMPLE);
    let subscription = Subscription::new(name.clone(), outbox.clone(), Slow::Close);
    subscription.seek(Cursor { epoch: 1, seq: 9 });
    topic.join(subscription.clone());
    outbox.begin_after(&subscription, Cursor { epoch: 1, seq: 10 });
    outbox.activate(&subscription);
    deliver(&topic, &[delivery(&name, 10, 10, None, 8), delivery(&name, 11, 11, None, 8)]);
    assert_eq!(subscription.standing(), Standing::Live);
    let left = frames(&outbox.take());
    assert!(matches!(&left[..], [ServerFrame::Entry(entry)] if number(entry) == 11));
}
