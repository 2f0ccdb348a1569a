//! Subscriptions that the server begins: of a client that said `auto` in `connect`. Everything of which the user is a member at first, then
//! what he becomes a member of, and what a backend wants for him.
//!
//! They begin in the session's own task, some at a time and only while there is room, like a catch-up: a thousand of them can't overflow the
//! outbox.

use std::collections::{HashMap, HashSet, VecDeque};

use hubbub_protocol::{
    ChannelName, CloseCode, Cursor, ErrorCode, Retry,
    frame::{self, ErrorBody, Since, Slow, SubscribeChannel, Subscribed},
};

use super::live::Session;
use crate::{
    access::{Cause, Denied, Due, Enlisted, Start},
    auth::Act,
    config::Durability,
    room::Beginning,
};

/// Begun at once, at most, and one for so many bytes of the outbox.
const AT_ONCE: usize = 64;
const BYTES_EACH: usize = 1_024;
/// Channels that a client has left and to which it is not subscribed again; beyond that the server may.
const DECLINED: usize = 1_024;

/// What the server begins, and how.
#[derive(Debug)]
pub(super) struct Auto {
    enlisted: Enlisted,
    slow: Option<Slow>,
    presence: bool,
    /// How far the client had come, until that was looked at.
    since: HashMap<String, Cursor>,
    /// What is to begin, in order.
    queue: VecDeque<Next>,
    /// What ended by the client's own will.
    declined: HashSet<ChannelName>,
}

/// A subscription that is to begin.
#[derive(Debug)]
struct Next {
    channel: String,
    since: Option<Cursor>,
    why: Why,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Why {
    /// The store said that the user is a member.
    Listed,
    /// Its membership has changed.
    Changed,
    /// A backend wants it.
    Backend,
    /// The client said how far it had come.
    Resumed,
}

impl Auto {
    pub(super) fn new(enlisted: Enlisted, wanted: frame::Auto) -> Self {
        let frame::Auto { since, slow, presence } = wanted;
        let since = since.into_iter().map(|Since { channel, cursor }| (channel, cursor)).collect();
        Self { enlisted, slow, presence, since, queue: VecDeque::new(), declined: HashSet::new() }
    }

    /// The client does not want this one.
    pub(super) fn decline(&mut self, channel: &ChannelName) {
        if self.declined.len() < DECLINED {
            self.declined.insert(channel.clone());
        }
    }
}

impl Session {
    /// Begins what is due, as far as there is room.
    pub(super) async fn begin(&mut self) {
        while self.auto.is_some() {
            if let Err(denied) = self.fill().await {
                debug_assert_eq!(denied, Denied::Unavailable);
                // Not to be known is no reason to go on; it may come back, and resume.
                return self.outbox.close(CloseCode::Unverified, None);
            }
            let Some(auto) = self.auto.as_mut().filter(|auto| !auto.queue.is_empty()) else { return };
            if self.outbox.bytes() > self.outbox.limit() / 4 {
                return self.outbox.wait_for_room();
            }
            let at_once = (self.outbox.limit() / BYTES_EACH).min(AT_ONCE).min(auto.queue.len());
            let batch: Vec<Next> = auto.queue.drain(..at_once).collect();
            if let Err(denied) = self.start(batch).await {
                debug_assert_eq!(denied, Denied::Unavailable);
                return self.outbox.close(CloseCode::Unverified, None);
            }
            self.outbox.flush();
        }
    }

    /// Puts what has become due into the queue, once that is empty.
    async fn fill(&mut self) -> Result<(), Denied> {
        let Some(auto) = self.auto.as_mut().filter(|auto| auto.queue.is_empty()) else { return Ok(()) };
        let Due { memberships, starts } = auto.enlisted.take();
        let mut since = std::mem::take(&mut auto.since);
        let mut queue = VecDeque::new();
        if memberships {
            // What does not fit is in it, as many as fit again at most.
            let most = 2 * self.backend.config.session.subscriptions as usize;
            for channel in self.backend.rooms.of(&self.identity, most).await? {
                let since = since.remove(channel.as_str());
                let why = if since.is_some() { Why::Resumed } else { Why::Listed };
                queue.push_back(Next { channel: channel.as_str().to_owned(), since, why });
            }
        }
        // In an order of their own: a client that has more than fit is told which.
        let mut rest: Vec<_> = since.into_iter().collect();
        rest.sort_unstable_by(|(one, _), (other, _)| one.cmp(other));
        queue.extend(rest.into_iter().map(|(channel, since)| Next { channel, since: Some(since), why: Why::Resumed }));
        queue.extend(starts.into_iter().map(|Start { channel, cause }| {
            let (since, why) = match cause {
                Cause::Membership(since) => (since, Why::Changed),
                Cause::Backend(since) => (since, Why::Backend),
            };
            Next { channel: channel.as_str().to_owned(), since, why }
        }));
        if let Some(auto) = &mut self.auto {
            auto.queue = queue;
        }
        Ok(())
    }

    /// Begins these, and tells of each.
    async fn start(&mut self, batch: Vec<Next>) -> Result<(), Denied> {
        let mut asked = Vec::with_capacity(batch.len());
        let mut why = Vec::with_capacity(batch.len());
        for next in batch {
            let (because, wanted) = (next.why, self.wants(next).await?);
            if let Some(wanted) = wanted {
                asked.push(wanted);
                why.push(because);
            }
        }
        if asked.is_empty() {
            return Ok(());
        }
        let mut joined = self.join(asked, self.outbox.limit() / 4).await;
        let answers = std::mem::take(&mut joined.answers);
        let told = answers.into_iter().zip(why).filter(|(answer, why)| is_told(answer, *why));
        let wire = self.outbox.wire();
        let told: Vec<_> = told.map(|(answer, _)| wire.seal(|format, out| answer.encode(format, out))).collect();
        self.activate(told, joined).await;
        Ok(())
    }

    /// How `next` is to be subscribed to; `None` if it is, or is not to be.
    async fn wants(&mut self, next: Next) -> Result<Option<SubscribeChannel>, Denied> {
        let Some(auto) = &mut self.auto else { return Ok(None) };
        let Next { channel, mut since, why } = next;
        let (slow, mut presence) = (auto.slow, auto.presence);
        let Ok(name) = ChannelName::parse(&channel) else {
            // Refused by whoever refuses it to others.
            return Ok(Some(SubscribeChannel { channel, since, slow, presence: false }));
        };
        let seat = self.subscriptions.get(&name);
        if seat.is_some_and(|seat| !seat.is_revoked()) {
            return Ok(None);
        }
        match why {
            Why::Listed if seat.is_some() || auto.declined.contains(&name) => return Ok(None),
            Why::Listed => {}
            Why::Changed => {
                auto.declined.remove(&name);
                match self.backend.rooms.beginning(&self.identity.user, &name).await? {
                    Some(Beginning::First) => since = since.or(Some(Cursor::default())),
                    Some(Beginning::Now) => {}
                    None => return Ok(None),
                }
            }
            Why::Backend | Why::Resumed => _ = auto.declined.remove(&name),
        }
        let namespace = self.backend.config.namespace(&name);
        if let Some(seat) = seat.filter(|_| since.is_none() && namespace.durability == Durability::Durable) {
            since = Some(seat.subscription.cursor());
        }
        presence = presence && namespace.presence && self.backend.access.may(&self.identity, Act::Presence, &name).await.is_ok();
        Ok(Some(SubscribeChannel { channel, since, slow, presence }))
    }
}

/// What is not allowed is not told, unless the client asked for it by name: most tokens do not cover everything of which their user is a
/// member.
fn is_told(answer: &Subscribed, why: Why) -> bool {
    let Some(ErrorBody { code, retry, .. }) = &answer.error else { return true };
    if code == ErrorCode::AlreadySubscribed.as_str() {
        return false;
    }
    why == Why::Resumed || *retry != Retry::Never || code == ErrorCode::TooManySubscriptions.as_str()
}
