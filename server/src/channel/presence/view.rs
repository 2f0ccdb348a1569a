//! What this instance knows of one channel's members, made when somebody wants to see them and dropped when nobody has for a while.

use std::{collections::BTreeMap, sync::Arc};

use hubbub_protocol::{
    ChannelName,
    frame::{PresencePage, PresenceState},
};
use tokio::sync::oneshot;

use super::{
    locals::{Count, Locals},
    peer::{self, Peer},
    roll::{Leave, Roll},
    watchers::{Seen, Watchers},
};
use crate::hub::Outbox;

/// For how long a question waits until every instance has answered, in milliseconds. Then it gets what is known.
pub(super) const PATIENCE: u64 = 1_000;
/// For how long a view without watchers and questions is kept, in milliseconds.
const KEEP: u64 = 30_000;

/// A question that waits for the view to be complete.
#[derive(Debug)]
pub(super) enum Question {
    /// A subscriber's: `user`, who has just subscribed here, is a member.
    State { user: Arc<str>, reply: oneshot::Sender<(PresenceState, Seen)> },
    /// At most `limit` members after `after`, and of about `bytes`.
    Page { after: Option<String>, limit: usize, bytes: usize, reply: oneshot::Sender<PresencePage> },
}

/// What this instance knows of one channel's members.
#[derive(Debug)]
pub(super) struct View {
    /// This instance's own members.
    own: Peer,
    /// The others', by instance.
    pub(super) peers: BTreeMap<Arc<str>, Peer>,
    pub(super) roll: Roll,
    pub(super) watchers: Watchers,
    /// With the time at which they are answered anyway. Each is somebody who waits for the answer and asks nothing else meanwhile.
    questions: Vec<(u64, Question)>,
    /// Diffs of the others arrive.
    pub(super) listening: bool,
    /// It was complete, or could not be in time: what comes later is a change.
    settled: bool,
    used_at: u64,
}

impl View {
    /// A view of this instance's members; the others are `peers`.
    pub(super) fn new(own: &[Count], peers: BTreeMap<Arc<str>, Peer>, now: u64) -> Self {
        let mut view = Self {
            own: Peer::default(),
            peers,
            roll: Roll::default(),
            watchers: Watchers::default(),
            questions: Vec::new(),
            listening: false,
            settled: false,
            used_at: now,
        };
        view.own(own, now);
        view
    }

    /// Members here changed.
    pub(super) fn own(&mut self, counts: &[Count], now: u64) {
        let mut into = peer::Into { roll: &mut self.roll, now };
        for (user, count) in counts {
            self.own.set(&mut into, user, *count);
        }
    }

    /// One of the others, and where its changes go.
    pub(super) fn peer(&mut self, id: &str, now: u64) -> Option<(&mut Peer, peer::Into<'_>)> {
        Some((self.peers.get_mut(id)?, peer::Into { roll: &mut self.roll, now }))
    }

    /// Takes an instance out.
    pub(super) fn remove(&mut self, id: &str, leave: Leave, now: u64) {
        if let Some(mut peer) = self.peers.remove(id) {
            peer.clear(&mut peer::Into { roll: &mut self.roll, now }, leave);
        }
    }

    /// Somebody asks.
    pub(super) fn ask(&mut self, question: Question, now: u64) {
        self.used_at = now;
        self.questions.push((now + PATIENCE, question));
    }

    /// Whether something happens by itself, soon.
    pub(super) fn is_active(&self) -> bool {
        !self.questions.is_empty() || self.roll.is_settling() || self.watchers.is_due(&self.roll)
    }

    /// Lets leave whose time has come, answers who waits, tells who watches. `complete` if every living instance is known.
    pub(super) fn turn(&mut self, channel: &ChannelName, locals: &Locals, complete: bool, now: u64, touched: &mut Vec<Arc<Outbox>>) {
        self.roll.settle(now);
        self.settled |= complete;
        for (until, question) in std::mem::take(&mut self.questions) {
            self.settled |= until <= now;
            if self.settled {
                self.answer(question, channel, locals, now);
            } else {
                self.questions.push((until, question));
            }
        }
        self.watchers.tell(channel, &mut self.roll, now, touched);
    }

    /// Whether every instance in it is known.
    pub(super) fn is_whole(&self) -> bool {
        self.peers.values().all(Peer::is_whole)
    }

    fn answer(&mut self, question: Question, channel: &ChannelName, locals: &Locals, now: u64) {
        // Who no longer waits has gone.
        match question {
            Question::State { user, reply } => {
                let count = locals.count(channel, &user);
                self.own(&[(user, count)], now);
                let _ = reply.send(self.watchers.state(&mut self.roll));
            }
            Question::Page { after, limit, bytes, reply } => {
                let _ = reply.send(self.roll.page(after.as_deref(), limit, bytes));
            }
        }
    }

    /// Forgets who watches no longer. Whether the view is still wanted.
    pub(super) fn sweep(&mut self, now: u64) -> bool {
        self.watchers.sweep();
        if self.watchers.len() > 0 || !self.questions.is_empty() {
            self.used_at = now;
        }
        !self.listening || self.used_at + KEEP > now
    }
}
