//! Several instances' presence, joined by a network that loses, repeats and delays, under instances that die, lose their lease and come
//! back. Once things have settled every view and every watcher's list is the truth.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use hubbub_protocol::{
    ChannelName, Format, ServerFrame,
    frame::{Member, PresencePage, PresenceState, Slow},
    limits::MAX_MEMBERS,
};
use metrics::Gauge;
use proptest::prelude::*;
use rand::{RngExt, SeedableRng, rngs::StdRng};
use tokio::sync::oneshot;

use super::{
    Alive,
    core::{Core, Output, Target},
    locals::{Locals, Place},
    message::{Ask, Diff, Message, MessageError},
    view::Question,
    watchers::Seen,
};
use crate::hub::{Outbox, Sink, Subscription, Wire, tests::frames};

const STEP: u64 = 50;
const TERM: u64 = 10_000;
/// A lease, a comparison, an answer, a debounce, and then some.
const SETTLE: u64 = TERM + 12_000;

/// A subscription that watches, and what its client makes of it.
struct Watcher {
    channel: ChannelName,
    outbox: Arc<Outbox>,
    subscription: Arc<Subscription>,
    reply: Option<oneshot::Receiver<(PresenceState, Seen)>>,
    list: Option<BTreeSet<String>>,
    count: u64,
}

impl Watcher {
    fn open(node: &mut Node, channel: &ChannelName, now: u64) -> Self {
        let outbox = Outbox::new(Sink::task(), Wire::Socket(Format::Msgpack), 256 << 10);
        let subscription = Subscription::new(channel.clone(), outbox.clone(), Slow::Close);
        let (reply, state) = oneshot::channel();
        node.core.ask(channel, Question::State { user: "nobody".into(), reply }, now);
        Self { channel: channel.clone(), outbox, subscription, reply: Some(state), list: None, count: 0 }
    }

    fn has_replied(&self) -> bool {
        self.reply.is_none()
    }

    /// Takes the reply, if it has come, and watches.
    fn follow(&mut self, core: &mut Core, now: u64) {
        let Some(Ok((state, seen))) = self.reply.as_mut().map(|reply| reply.try_recv()) else { return };
        self.reply = None;
        self.list = state.members.map(names);
        self.count = state.count;
        assert_eq!(self.list.is_some(), state.count <= MAX_MEMBERS as u64);
        core.watch(self.subscription.clone(), seen, now);
    }

    /// Reads what came, as PROTOCOL.md says that a client does.
    fn read(&mut self) -> usize {
        let frames = frames(&self.outbox.take());
        for frame in &frames {
            let ServerFrame::Presence(change) = frame else { panic!("{frame:?}") };
            self.count = change.count;
            if let Some(members) = &change.members {
                self.list = Some(names(members.clone()));
            } else if change.count > MAX_MEMBERS as u64 {
                self.list = None;
            } else if let Some(list) = &mut self.list {
                change.left.iter().for_each(|user| _ = list.remove(user));
                list.extend(names(change.joined.clone()));
            } else {
                panic!("changes of a list that the client does not have: {change:?}");
            }
            if let Some(list) = &self.list {
                assert_eq!(list.len() as u64, self.count, "{change:?}");
            }
        }
        frames.len()
    }
}

fn names(members: Vec<Member>) -> BTreeSet<String> {
    members.into_iter().map(|member| member.user).collect()
}

struct Node {
    id: Arc<str>,
    generation: i64,
    locals: Arc<Locals>,
    core: Core,
    listens: BTreeSet<ChannelName>,
    places: Vec<(ChannelName, Arc<str>, Place)>,
    watchers: Vec<Watcher>,
    /// It cannot reach the database until then.
    cut_until: u64,
}

/// Instances, what is on its way between them, and their rows in the database.
struct World {
    now: u64,
    chance: StdRng,
    /// Of a hundred messages, so many are lost, and as many are repeated.
    trouble: u32,
    nodes: Vec<Node>,
    rows: BTreeMap<Arc<str>, (i64, u64)>,
    mail: Vec<(u64, Arc<str>, Mail)>,
    sent: usize,
    born: usize,
}

enum Mail {
    Message(Vec<u8>),
    Listening(ChannelName),
}

impl World {
    fn new(seed: u64, trouble: u32, nodes: usize) -> Self {
        let chance = StdRng::seed_from_u64(seed);
        let mut world = Self { now: 1, chance, trouble, nodes: Vec::new(), rows: BTreeMap::new(), mail: Vec::new(), sent: 0, born: 0 };
        (0..nodes).for_each(|_| world.start());
        world
    }

    fn start(&mut self) {
        self.born += 1;
        let id: Arc<str> = format!("i{}", self.born).into();
        let locals = Locals::new(1, Gauge::noop());
        let core = Core::new(id.clone(), true, locals.clone());
        self.rows.insert(id.clone(), (1, self.now + TERM));
        self.nodes.push(Node {
            id,
            generation: 1,
            locals,
            core,
            listens: BTreeSet::new(),
            places: Vec::new(),
            watchers: Vec::new(),
            cut_until: 0,
        });
    }

    fn post(&mut self, to: Arc<str>, body: Vec<u8>) {
        let copies = match self.chance.random_range(0..100) {
            fate if fate < self.trouble => 0,
            fate if fate < 2 * self.trouble => 2,
            _ => 1,
        };
        for _ in 0..copies {
            let delay = self.chance.random_range(0..=if self.trouble > 0 { 700 } else { 20 });
            self.mail.push((self.now + delay, to.clone(), Mail::Message(body.clone())));
        }
    }

    fn carry_out(&mut self, from: usize) {
        let sender = self.nodes[from].id.clone();
        for output in self.nodes[from].core.outputs() {
            match output {
                Output::Send(target, body) => {
                    self.sent += 1;
                    assert!(body.len() < 512 << 10);
                    let hears = |node: &&Node| match &target {
                        Target::Channel(channel) => node.listens.contains(channel),
                        Target::Instance(id) => node.id == *id,
                        Target::Everybody => true,
                    };
                    let to: Vec<_> = self.nodes.iter().filter(|node| node.id != sender).filter(hears).map(|node| node.id.clone()).collect();
                    to.into_iter().for_each(|id| self.post(id, body.clone()));
                }
                Output::Listen(channel) => {
                    self.nodes[from].listens.insert(channel.clone());
                    let at = self.now + self.chance.random_range(0..300);
                    self.mail.push((at, sender.clone(), Mail::Listening(channel)));
                }
                Output::Unlisten(channel) => {
                    self.nodes[from].listens.remove(&channel);
                }
            }
        }
        self.nodes[from].core.touched().into_iter().for_each(|outbox| outbox.flush());
    }

    fn step(&mut self) {
        self.now += STEP;
        let now = self.now;
        let (due, later) = std::mem::take(&mut self.mail).into_iter().partition(|(at, ..)| *at <= now);
        self.mail = later;
        for (_, to, mail) in due {
            let Some(node) = self.nodes.iter_mut().find(|node| node.id == to) else { continue };
            match mail {
                Mail::Message(body) => node.core.arrived(&body, now).unwrap(),
                Mail::Listening(channel) => node.core.listening(&channel, now),
            }
            node.core.speak();
        }
        for at in 0..self.nodes.len() {
            if now / 1_000 != (now - STEP) / 1_000 && self.nodes[at].cut_until <= now {
                self.look(at);
            }
            self.nodes[at].core.tick(now);
            let node = &mut self.nodes[at];
            for watcher in &mut node.watchers {
                watcher.follow(&mut node.core, now);
            }
            self.carry_out(at);
        }
    }

    /// An instance renews its lease, and reads the others'.
    fn look(&mut self, at: usize) {
        let (now, node) = (self.now, &mut self.nodes[at]);
        let row = self.rows.entry(node.id.clone()).or_insert((node.generation, 0));
        if row.1 <= now {
            row.0 += 1;
        }
        row.1 = now + TERM;
        node.generation = row.0;
        let alive = |(id, (generation, until)): (&Arc<str>, &(i64, u64))| Alive {
            id: id.to_string(),
            generation: *generation,
            left_ms: *until as i64 - now as i64,
        };
        let list: Vec<Alive> = self.rows.iter().map(alive).collect();
        node.core.instances(&list, now);
    }

    fn pass(&mut self, ms: u64) {
        for _ in 0..ms.div_ceil(STEP) {
            self.step();
        }
    }

    fn read(&mut self) {
        self.nodes.iter_mut().flat_map(|node| &mut node.watchers).for_each(|watcher| _ = watcher.read());
    }

    /// Who is there, with how many connections, if nothing were between the instances.
    fn truth(&self, channel: &ChannelName) -> Vec<Member> {
        let mut counts = BTreeMap::<&str, u32>::new();
        for (_, user, _) in self.nodes.iter().flat_map(|node| &node.places).filter(|(of, ..)| of == channel) {
            *counts.entry(user).or_default() += 1;
        }
        counts.into_iter().map(|(user, connections)| Member { user: user.to_owned(), connections }).collect()
    }

    fn page(&mut self, at: usize, channel: &ChannelName) -> PresencePage {
        let (reply, mut page) = oneshot::channel();
        let question = Question::Page { after: None, limit: 1_000, bytes: usize::MAX, reply };
        self.nodes[at].core.ask(channel, question, self.now);
        loop {
            if let Ok(page) = page.try_recv() {
                return page;
            }
            self.step();
        }
    }

    fn enter(&mut self, at: usize, channel: &ChannelName, user: &str) {
        let user: Arc<str> = user.into();
        let place = self.nodes[at].locals.enter(channel, &user);
        self.nodes[at].places.push((channel.clone(), user, place));
    }

    fn watch(&mut self, at: usize, channel: &ChannelName) {
        let now = self.now;
        let watcher = Watcher::open(&mut self.nodes[at], channel, now);
        self.nodes[at].watchers.push(watcher);
    }

    /// Everything is well again, for as long as it takes.
    fn settle(&mut self) {
        self.trouble = 0;
        self.nodes.iter_mut().for_each(|node| node.cut_until = 0);
        self.pass(SETTLE);
        self.read();
        // Whoever did not read is told now.
        self.pass(2_000);
        self.read();
    }

    fn check(&mut self) {
        for channel in [channel(0), channel(1)] {
            let truth = self.truth(&channel);
            for at in 0..self.nodes.len() {
                assert_eq!(self.page(at, &channel).members, truth, "{channel} on {}", self.nodes[at].id);
                for watcher in self.nodes[at].watchers.iter().filter(|watcher| watcher.channel == channel) {
                    assert!(watcher.has_replied());
                    assert_eq!(watcher.list, Some(names(truth.clone())), "{channel} on {}", self.nodes[at].id);
                }
            }
        }
    }
}

fn channel(number: usize) -> ChannelName {
    ChannelName::parse(&format!("room:{number}")).unwrap()
}

#[derive(Debug, Clone)]
enum Act {
    Enter {
        node: usize,
        channel: usize,
        user: usize,
    },
    Leave {
        node: usize,
        place: usize,
    },
    Watch {
        node: usize,
        channel: usize,
    },
    Unwatch {
        node: usize,
        watcher: usize,
    },
    /// A client that does not read for a while.
    Stuck {
        node: usize,
        watcher: usize,
    },
    Read,
    Pass(u64),
    Kill(usize),
    Bye(usize),
    Start,
    /// The database is out of reach for an instance.
    Cut(usize, u64),
    Doubt(usize),
}

fn act() -> impl Strategy<Value = Act> {
    prop_oneof![
        8 => (0..4_usize, 0..2_usize, 0..6_usize).prop_map(|(node, channel, user)| Act::Enter { node, channel, user }),
        7 => (0..4_usize, 0..20_usize).prop_map(|(node, place)| Act::Leave { node, place }),
        3 => (0..4_usize, 0..2_usize).prop_map(|(node, channel)| Act::Watch { node, channel }),
        1 => (0..4_usize, 0..4_usize).prop_map(|(node, watcher)| Act::Unwatch { node, watcher }),
        1 => (0..4_usize, 0..4_usize).prop_map(|(node, watcher)| Act::Stuck { node, watcher }),
        3 => Just(Act::Read),
        6 => (50..1_500_u64).prop_map(Act::Pass),
        1 => (1_500..40_000_u64).prop_map(Act::Pass),
        1 => (0..4_usize).prop_map(Act::Kill),
        1 => (0..4_usize).prop_map(Act::Bye),
        1 => Just(Act::Start),
        1 => (0..4_usize, 1_000..25_000_u64).prop_map(|(node, ms)| Act::Cut(node, ms)),
        1 => (0..4_usize).prop_map(Act::Doubt),
    ]
}

fn play(world: &mut World, act: Act) {
    let nodes = world.nodes.len();
    match act {
        Act::Enter { node, channel: number, user } => world.enter(node % nodes, &channel(number), &format!("u{user}")),
        Act::Leave { node, place } => {
            let places = &mut world.nodes[node % nodes].places;
            if !places.is_empty() {
                places.swap_remove(place % places.len());
            }
        }
        Act::Watch { node, channel: number } => world.watch(node % nodes, &channel(number)),
        Act::Unwatch { node, watcher } => {
            let watchers = &mut world.nodes[node % nodes].watchers;
            if !watchers.is_empty() {
                let mut gone = watchers.swap_remove(watcher % watchers.len());
                gone.outbox.end(&gone.subscription);
                gone.outbox.take();
                world.pass(1_000);
                assert_eq!(gone.read(), 0, "nothing follows the end of a subscription");
            }
        }
        Act::Stuck { node, watcher } => {
            let watchers = &mut world.nodes[node % nodes].watchers;
            if !watchers.is_empty() {
                let at = watcher % watchers.len();
                watchers[at].read();
                watchers[at].outbox.stuck();
            }
        }
        Act::Read => world.read(),
        Act::Pass(ms) => world.pass(ms),
        Act::Kill(node) | Act::Bye(node) if nodes > 1 => {
            if matches!(act, Act::Bye(_)) {
                world.nodes[node % nodes].core.bye();
                world.carry_out(node % nodes);
            }
            world.nodes.swap_remove(node % nodes);
        }
        Act::Start if nodes < 4 => world.start(),
        Act::Cut(node, ms) => world.nodes[node % nodes].cut_until = world.now + ms,
        Act::Doubt(node) => {
            let now = world.now;
            world.nodes[node % nodes].core.doubt(now);
        }
        Act::Kill(_) | Act::Bye(_) | Act::Start => {}
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, ..ProptestConfig::default() })]
    #[test]
    fn whatever_happens_everybody_ends_with_the_truth(
        seed in any::<u64>(), trouble in 0..30_u32, acts in prop::collection::vec(act(), 1..80),
    ) {
        let mut world = World::new(seed, trouble, 3);
        world.pass(2_000);
        [(0, 0), (1, 0), (2, 1)].into_iter().for_each(|(node, number)| world.watch(node, &channel(number)));
        for act in acts {
            play(&mut world, act);
        }
        world.settle();
        world.check();
    }
}

#[test]
fn members_of_a_dead_instance_leave_with_its_lease_and_not_before() {
    let mut world = World::new(1, 0, 2);
    world.pass(2_000);
    world.enter(1, &channel(0), "ghost");
    world.watch(0, &channel(0));
    world.pass(2_000);
    assert_eq!(world.page(0, &channel(0)).count, 1);
    let died = world.now;
    world.nodes.pop();
    let until = world.rows["i2"].1;
    while world.page(0, &channel(0)).count == 1 {
        world.step();
    }
    assert!((until..until + 2 * STEP).contains(&world.now) && world.now <= died + TERM + STEP, "{died} {until} {}", world.now);
    world.pass(500);
    world.read();
    assert_eq!(world.nodes[0].watchers[0].list, Some(BTreeSet::new()));
}

#[test]
fn nobody_is_dead_while_the_database_cannot_be_read() {
    let mut world = World::new(1, 0, 2);
    world.pass(2_000);
    world.enter(1, &channel(0), "alice");
    assert_eq!(world.page(0, &channel(0)).count, 1);
    // For one of them: the other one has lost its lease by now, and knows that it has.
    world.nodes[0].cut_until = u64::MAX;
    world.pass(60_000);
    assert_eq!(world.page(0, &channel(0)).count, 1);
    world.nodes[1].cut_until = u64::MAX;
    world.pass(60_000);
    assert_eq!(world.page(0, &channel(0)).count, 1);
    world.enter(1, &channel(0), "bob");
    world.pass(1_000);
    assert_eq!(world.page(0, &channel(0)).count, 2, "and what it tells is heard");
}

#[test]
fn a_goodbye_takes_members_out_and_a_move_is_not_seen() {
    let mut world = World::new(1, 0, 3);
    world.pass(2_000);
    world.enter(1, &channel(0), "moves");
    world.enter(1, &channel(0), "leaves");
    world.watch(0, &channel(0));
    world.pass(1_000);
    world.nodes[1].core.bye();
    world.carry_out(1);
    world.nodes.remove(1);
    world.enter(1, &channel(0), "moves");
    // Its row may be listed for some time.
    world.pass(2_000);
    assert_eq!(names(world.page(0, &channel(0)).members), BTreeSet::from(["moves".to_owned()]));
    let frames = frames(&world.nodes[0].watchers[0].outbox.take());
    let told: Vec<_> = frames
        .iter()
        .map(|frame| match frame {
            ServerFrame::Presence(change) => (change.joined.len(), change.left.clone(), change.count),
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(told, [(0, vec!["leaves".to_owned()], 1)]);
}

#[test]
fn above_the_bound_there_are_counts_and_below_it_the_list_again() {
    let mut world = World::new(1, 0, 2);
    world.pass(2_000);
    let bound = MAX_MEMBERS;
    (0..bound).for_each(|n| world.enter(n % 2, &channel(0), &format!("u{n:04}")));
    world.watch(0, &channel(0));
    world.pass(1_000);
    world.read();
    let watcher = |world: &World| (world.nodes[0].watchers[0].list.as_ref().map(BTreeSet::len), world.nodes[0].watchers[0].count);
    assert_eq!(watcher(&world), (Some(bound), bound as u64));
    (0..5_000).for_each(|n| world.enter(1, &channel(0), &format!("v{n:04}")));
    world.pass(1_500);
    world.read();
    assert_eq!(watcher(&world), (None, bound as u64 + 5_000));
    world.watch(1, &channel(0));
    for n in 0..40 {
        world.enter(0, &channel(0), &format!("w{n:04}"));
        world.pass(100);
    }
    let frames = world.nodes[0].watchers[0].read();
    assert!((3..=5).contains(&frames), "{frames} counts in four seconds");
    let pages = (0..).scan(None, |after: &mut Option<String>, _| {
        let (reply, mut page) = oneshot::channel();
        let question = Question::Page { after: after.clone(), limit: 999, bytes: usize::MAX, reply };
        world.nodes[1].core.ask(&channel(0), question, world.now);
        let page = page.try_recv().unwrap();
        *after = page.members.last().map(|member| member.user.clone());
        (!page.members.is_empty()).then_some(page.members)
    });
    let everybody: Vec<Member> = pages.flatten().collect();
    assert_eq!(everybody, world.truth(&channel(0)));
    world.nodes.iter_mut().for_each(|node| node.places.retain(|(_, user, _)| user.starts_with('u')));
    world.pass(4_000);
    world.read();
    assert_eq!(watcher(&world), (Some(bound), bound as u64));
    world.check();
}

#[test]
fn a_busy_channel_costs_few_messages() {
    let mut world = World::new(1, 0, 3);
    world.pass(2_000);
    world.watch(0, &channel(0));
    world.pass(2_000);
    let before = world.sent;
    for n in 0..1_000 {
        world.enter(1, &channel(0), &format!("u{n}"));
        if n % 10 == 0 {
            world.step();
        }
    }
    // Five seconds: five diffs a second, and a comparison with two others.
    let sent = world.sent - before;
    assert!((20..=35).contains(&sent), "{sent}");
}

#[test]
fn a_view_that_nobody_needs_is_dropped() {
    let mut world = World::new(1, 0, 2);
    world.pass(2_000);
    world.watch(0, &channel(0));
    world.page(0, &channel(1));
    world.pass(60_000);
    assert_eq!(world.nodes[0].core.views(), 1, "the one that is watched");
    let watcher = world.nodes[0].watchers.pop().unwrap();
    watcher.outbox.end(&watcher.subscription);
    world.pass(60_000);
    assert_eq!((world.nodes[0].core.views(), world.nodes[0].listens.len()), (0, 0));
}

#[test]
fn a_stranger_is_answered_but_not_believed_and_another_release_is_not_understood() {
    let mut world = World::new(1, 0, 1);
    world.pass(2_000);
    assert_eq!(world.page(0, &channel(0)).count, 0);
    let diffs = vec![Diff { channel: channel(0), n: 1, after: 0, counts: vec![("ghost".into(), 1)] }];
    let message = Message { diffs, asks: vec![Ask { channel: channel(0), has: None }], ..Message::new("stranger", 1) };
    let (core, now) = (&mut world.nodes[0].core, world.now);
    core.arrived(&message.encode(), now).unwrap();
    core.tick(now);
    let [Output::Send(Target::Instance(to), answer)] = &core.outputs()[..] else { panic!("one answer") };
    assert_eq!((&**to, Message::decode(answer).unwrap().states.len()), ("stranger", 1));
    let mut other = message.encode();
    other[0] = 9;
    assert_eq!(core.arrived(&other, now), Err(MessageError::Version(9)));
    assert_eq!(world.page(0, &channel(0)).count, 0);
}
