//! Presence as a state machine: what happened goes in, and what is to be done comes out. It knows no NATS, no task and no clock.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::Arc,
};

use hubbub_protocol::ChannelName;

use super::{
    Alive,
    locals::{Change, Count, Locals, MAX_USERS},
    message::{Ask, Diff, Message, MessageError, State},
    peer::Peer,
    roll::Leave,
    view::{Question, View},
    watchers::Seen,
};
use crate::hub::{Outbox, Subscription};

/// Between two diffs of a channel, in milliseconds.
const FLUSH: u64 = 200;
/// Between two rounds over all views, in milliseconds.
const ROUND: u64 = 1_000;
/// While the list of instances is older than this, in milliseconds, nobody is declared dead: the database may be what is gone.
const STALE: u64 = 2_500;
/// How long an instance may take to renew its lease when the database is back, in milliseconds: a period, and what a connection takes.
const RENEWAL: u64 = 8_000;
/// Views on one instance, at most.
pub(super) const MAX_VIEWS: usize = 65_536;
/// Questions of other instances that wait, at most; who is dropped asks again.
const MAX_ASKED: usize = 65_536;
/// About how many bytes of answers are written at a time.
const ANSWERED: usize = 2 << 20;
/// About how many bytes of answers, or of questions, go into a message. One part of a snapshot more still fits NATS's 1 MiB, and stays
/// below 512 KiB.
const PACKED: usize = 200 << 10;
/// Questions in a message: of 160 bytes each at most, below 512 KiB.
const ASKS: usize = 2_000;

/// Whom a message is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Target {
    /// Instances that listen to the channel.
    Channel(ChannelName),
    /// One instance.
    Instance(Arc<str>),
    /// Every instance.
    Everybody,
}

/// What is to be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Output {
    /// Send a message. It may be lost.
    Send(Target, Vec<u8>),
    /// Listen to a channel, and tell by [`Core::listening`] when it is so.
    Listen(ChannelName),
    /// Listen no longer.
    Unlisten(ChannelName),
}

/// Another instance, according to its lease.
#[derive(Debug)]
struct Life {
    generation: i64,
    until: u64,
}

/// Presence on one instance.
#[derive(Debug)]
pub(super) struct Core {
    me: Arc<str>,
    /// Nothing is sent before it is known.
    generation: Option<i64>,
    clustered: bool,
    /// It has said goodbye, and says nothing more.
    left: bool,
    locals: Arc<Locals>,
    views: BTreeMap<ChannelName, View>,
    /// Views in which something happens by itself.
    active: BTreeSet<ChannelName>,
    alive: BTreeMap<Arc<str>, Life>,
    /// Instances that said goodbye, until they are no longer listed, and their generation.
    gone: BTreeMap<Arc<str>, i64>,
    /// When instances were last listed.
    listed_at: Option<u64>,
    /// Until then nobody is dead who was alive before the database was away.
    spare_until: u64,
    flush_at: u64,
    round_at: u64,
    /// Questions for the others, not sent yet.
    asks: BTreeMap<Arc<str>, Vec<Ask>>,
    /// Questions of the others.
    asked: VecDeque<(Arc<str>, Ask)>,
    outputs: Vec<Output>,
    touched: Vec<Arc<Outbox>>,
}

impl Core {
    /// Presence on the instance `me`, alone unless it is `clustered`.
    pub(super) fn new(me: Arc<str>, clustered: bool, locals: Arc<Locals>) -> Self {
        Self {
            me,
            generation: None,
            clustered,
            left: false,
            locals,
            views: BTreeMap::new(),
            active: BTreeSet::new(),
            alive: BTreeMap::new(),
            gone: BTreeMap::new(),
            listed_at: None,
            spare_until: 0,
            flush_at: 0,
            round_at: 0,
            asks: BTreeMap::new(),
            asked: VecDeque::new(),
            outputs: Vec::new(),
            touched: Vec::new(),
        }
    }

    /// What is to be done now.
    pub(super) fn outputs(&mut self) -> Vec<Output> {
        std::mem::take(&mut self.outputs)
    }

    /// Outboxes to flush.
    pub(super) fn touched(&mut self) -> Vec<Arc<Outbox>> {
        std::mem::take(&mut self.touched)
    }

    /// How many channels are viewed.
    pub(super) fn views(&self) -> usize {
        self.views.len()
    }

    /// Whether nothing happens by itself for about a second.
    pub(super) fn is_quiet(&self) -> bool {
        self.active.is_empty() && self.asked.is_empty() && !self.locals.is_dirty()
    }

    /// Somebody asks who is in a channel. Without an answer, the question dropped, if there are [`MAX_VIEWS`] views.
    pub(super) fn ask(&mut self, channel: &ChannelName, question: Question, now: u64) {
        if !self.views.contains_key(channel) {
            if self.views.len() >= MAX_VIEWS {
                return;
            }
            let peers = self.alive.iter().map(|(id, life)| (id.clone(), Peer::new(life.generation))).collect();
            let (_, own) = self.locals.members(channel);
            let mut view = View::new(&own, peers, now);
            if self.clustered {
                self.outputs.push(Output::Listen(channel.clone()));
            } else {
                view.listening = true;
            }
            self.views.insert(channel.clone(), view);
        }
        if let Some(view) = self.views.get_mut(channel) {
            view.ask(question, now);
        }
        self.turn(channel, now);
    }

    /// A subscription's reply has been sent: it watches from now on.
    pub(super) fn watch(&mut self, subscription: Arc<Subscription>, seen: Seen, now: u64) {
        let channel = subscription.channel.clone();
        if let Some(view) = self.views.get_mut(&channel) {
            view.watchers.add(subscription, seen);
            self.turn(&channel, now);
        }
    }

    /// What others send to the channel arrives from now on.
    pub(super) fn listening(&mut self, channel: &ChannelName, now: u64) {
        if let Some(view) = self.views.get_mut(channel) {
            view.listening = true;
            self.question(channel, now);
            self.turn(channel, now);
        }
    }

    /// Something from another instance.
    ///
    /// # Errors
    /// [`MessageError`]: nothing was done.
    pub(super) fn arrived(&mut self, bytes: &[u8], now: u64) -> Result<(), MessageError> {
        let message = Message::decode(bytes)?;
        let id: Arc<str> = message.from.into();
        let room = MAX_ASKED - self.asked.len();
        self.asked.extend(message.asks.into_iter().take(room).map(|ask| (id.clone(), ask)));
        if !self.alive.contains_key(&id) {
            // Not listed (yet, or any more): it is answered but not believed. When it is listed it will be asked.
            return Ok(());
        }
        if message.bye {
            self.gone.insert(id.clone(), message.generation);
            self.bury(&id, Leave::Later, now);
            return Ok(());
        }
        for diff in &message.diffs {
            self.tell(&diff.channel, &id, now, |peer, into| peer.diff(into, message.generation, diff));
        }
        for state in &message.states {
            self.tell(&state.channel, &id, now, |peer, into| peer.state(into, message.generation, state));
        }
        Ok(())
    }

    fn tell(&mut self, channel: &ChannelName, id: &str, now: u64, tell: impl FnOnce(&mut Peer, &mut super::peer::Into)) {
        let Some(view) = self.views.get_mut(channel) else { return };
        let Some((peer, mut into)) = view.peer(id, now) else { return };
        tell(peer, &mut into);
        self.question(channel, now);
        self.turn(channel, now);
    }

    /// Something may have been lost: everybody is asked again.
    pub(super) fn doubt(&mut self, now: u64) {
        self.views.values_mut().flat_map(|view| view.peers.values_mut()).for_each(Peer::doubt);
        self.question_all(now);
    }

    /// Which instances live, this one among them, according to the database.
    pub(super) fn instances(&mut self, list: &[Alive], now: u64) {
        if self.listed_at.is_some_and(|at| at + STALE <= now) {
            // Nobody could renew while the database was away: they get the time to.
            self.spare_until = now + RENEWAL;
        }
        self.listed_at = Some(now);
        let spared = now < self.spare_until;
        if let Some(own) = list.iter().find(|alive| *alive.id == *self.me) {
            self.generation = Some(own.generation).filter(|_| !self.left);
        }
        self.gone.retain(|id, _| list.iter().any(|alive| *alive.id == **id));
        let others =
            list.iter().filter(|alive| *alive.id != *self.me && (alive.left_ms > 0 || spared && self.alive.contains_key(&*alive.id)));
        let living: Vec<&Alive> =
            others.filter(|alive| self.gone.get(&*alive.id).is_none_or(|generation| alive.generation > *generation)).collect();
        let dead: Vec<Arc<str>> = self.alive.keys().filter(|id| !living.iter().any(|alive| *alive.id == ***id)).cloned().collect();
        for id in dead {
            self.bury(&id, Leave::Now, now);
        }
        for alive in living {
            let life = Life {
                generation: alive.generation,
                until: if spared { self.spare_until.max(now + alive.left_ms.max(0) as u64) } else { now + alive.left_ms as u64 },
            };
            let id: Arc<str> = alive.id.as_str().into();
            let known = self.alive.insert(id.clone(), life);
            if known.is_some_and(|known| known.generation == alive.generation) {
                continue;
            }
            for view in self.views.values_mut() {
                view.peers.entry(id.clone()).or_insert_with(|| Peer::new(alive.generation)).renew(alive.generation);
            }
        }
        self.question_all(now);
        self.turn_all(now);
    }

    /// This instance stops: the others take its members out, and hear no more of it.
    pub(super) fn bye(&mut self) {
        self.left = true;
        if let Some(generation) = self.generation.take() {
            let body = Message { bye: true, ..Message::new(&self.me, generation) }.encode();
            self.outputs.push(Output::Send(Target::Everybody, body));
        }
    }

    /// An instance is no more.
    fn bury(&mut self, id: &Arc<str>, leave: Leave, now: u64) {
        self.alive.remove(id);
        self.asks.remove(id);
        self.views.values_mut().for_each(|view| view.remove(id, leave, now));
        self.turn_all(now);
    }

    /// Time has passed.
    pub(super) fn tick(&mut self, now: u64) {
        if self.flush_at <= now {
            self.flush_at = now + FLUSH;
            self.flush(now);
        }
        if self.listed_at.is_some_and(|at| at + STALE > now) {
            let dead: Vec<Arc<str>> = self.alive.iter().filter(|(_, life)| life.until <= now).map(|(id, _)| id.clone()).collect();
            dead.iter().for_each(|id| self.bury(id, Leave::Now, now));
        }
        if self.round_at <= now {
            self.round_at = now + ROUND;
            self.sweep(now);
            self.question_all(now);
        }
        self.turn_active(now);
        self.speak();
    }

    /// Sends what waits: questions, and answers.
    pub(super) fn speak(&mut self) {
        self.answer();
        self.pose();
    }

    fn flush(&mut self, now: u64) {
        for Change { channel, n, after, counts } in self.locals.flush() {
            if let (true, Some(generation)) = (self.clustered, self.generation) {
                let diffs = vec![Diff { channel: channel.clone(), n, after, counts: counts.clone() }];
                let body = Message { diffs, ..Message::new(&self.me, generation) }.encode();
                self.outputs.push(Output::Send(Target::Channel(channel.clone()), body));
            }
            if let Some(view) = self.views.get_mut(&channel) {
                view.own(&counts, now);
                self.turn(&channel, now);
            }
        }
    }

    fn sweep(&mut self, now: u64) {
        let (clustered, outputs, active) = (self.clustered, &mut self.outputs, &mut self.active);
        self.views.retain(|channel, view| {
            let wanted = view.sweep(now);
            if !wanted {
                active.remove(channel);
                if clustered {
                    outputs.push(Output::Unlisten(channel.clone()));
                }
            }
            wanted
        });
    }

    fn turn(&mut self, channel: &ChannelName, now: u64) {
        let Some(view) = self.views.get_mut(channel) else { return };
        let complete = !self.clustered || (self.listed_at.is_some() && view.listening && view.is_whole());
        view.turn(channel, &self.locals, complete, now, &mut self.touched);
        if view.is_active() {
            self.active.insert(channel.clone());
        } else {
            self.active.remove(channel);
        }
    }

    fn turn_active(&mut self, now: u64) {
        for channel in self.active.iter().cloned().collect::<Vec<_>>() {
            self.turn(&channel, now);
        }
    }

    fn turn_all(&mut self, now: u64) {
        self.active = self.views.keys().cloned().collect();
        self.turn_active(now);
    }

    /// Notes whom to ask of a channel: each instance once until it has answered, or time is over.
    fn question(&mut self, channel: &ChannelName, now: u64) {
        let Some(view) = self.views.get_mut(channel) else { return };
        if !view.listening {
            return;
        }
        for (id, peer) in &mut view.peers {
            if let Some(has) = peer.ask(now) {
                self.asks.entry(id.clone()).or_default().push(Ask { channel: channel.clone(), has });
            }
        }
    }

    fn question_all(&mut self, now: u64) {
        for channel in self.views.keys().cloned().collect::<Vec<_>>() {
            self.question(&channel, now);
        }
    }

    fn pose(&mut self) {
        // Without a generation of its own nobody would know this instance.
        let Some(generation) = self.generation else { return self.asks.clear() };
        for (id, asks) in std::mem::take(&mut self.asks) {
            for asks in asks.chunks(ASKS) {
                self.say(&id, Message { asks: asks.to_vec(), ..Message::new(&self.me, generation) });
            }
        }
    }

    fn answer(&mut self) {
        let Some(generation) = self.generation else { return self.asked.clear() };
        let mut written = 0;
        let mut packed: BTreeMap<Arc<str>, (usize, Vec<State>)> = BTreeMap::new();
        while written < ANSWERED
            && let Some((id, ask)) = self.asked.pop_front()
        {
            for state in self.states(ask) {
                let (bytes, states) = packed.entry(id.clone()).or_default();
                *bytes += state.weight();
                written += state.weight();
                states.push(state);
                if *bytes >= PACKED
                    && let Some((_, states)) = packed.remove(&id)
                {
                    self.say(&id, Message { states, ..Message::new(&self.me, generation) });
                }
            }
        }
        for (id, (_, states)) in packed {
            self.say(&id, Message { states, ..Message::new(&self.me, generation) });
        }
    }

    fn say(&mut self, id: &Arc<str>, message: Message) {
        self.outputs.push(Output::Send(Target::Instance(id.clone()), message.encode()));
    }

    /// The answer to a question, in parts.
    fn states(&self, ask: Ask) -> Vec<State> {
        let Ask { channel, has } = ask;
        if let Some(n) = has.filter(|n| self.locals.is_at(&channel, *n)) {
            return vec![State { channel, n, part: 0, parts: 0, counts: Vec::new() }];
        }
        let (n, counts) = self.locals.members(&channel);
        let parts = counts.len().div_ceil(MAX_USERS) as u32;
        if parts == 0 {
            return vec![State { channel, n, part: 0, parts: 1, counts }];
        }
        let part =
            |(part, counts): (usize, &[Count])| State { channel: channel.clone(), n, part: part as u32, parts, counts: counts.to_vec() };
        counts.chunks(MAX_USERS).enumerate().map(part).collect()
    }
}
