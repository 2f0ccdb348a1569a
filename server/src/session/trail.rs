//! How far a session has come, for a peer that cannot say so itself: a native `EventSource` sends back what it was last told, and that
//! has to be enough to go on from.

use std::sync::{Arc, Mutex, MutexGuard};

use hubbub_protocol::{ChannelName, ErrorCode, frame::ErrorBody, frame::SubscribeChannel};

use super::passport::{Passport, REST, STOP};
use crate::{
    auth::Identity,
    hub::{Standing, Subscription},
};

/// Subscriptions on a trail, at most.
pub const MAX_TRAIL: u32 = 64;
/// Bytes of the passport that a trail comes to, at most: sealed and in Base64 it has to stay below 4 KiB, which every proxy takes as a
/// header.
pub const MAX_PASSPORT: usize = 3_000;

/// Who a session is, and where its subscriptions stand. Shared by the session, which adds and forgets, and its transport, which reads.
#[derive(Debug, Default)]
pub struct Trail(Mutex<Steps>);

#[derive(Debug, Default)]
struct Steps {
    identity: Option<Identity>,
    marks: Vec<Mark>,
    /// Bytes of the passport, reckoned with the longest cursors.
    size: usize,
}

#[derive(Debug)]
struct Mark {
    subscription: Arc<Subscription>,
    durable: bool,
    presence: bool,
}

impl Trail {
    fn steps(&self) -> MutexGuard<'_, Steps> {
        self.0.lock().expect("nothing panics while it holds a trail")
    }

    /// Whether a passport is short enough to travel.
    pub fn fits(passport: &Passport) -> bool {
        passport.channels.len() <= MAX_TRAIL as usize && passport.encode().len() + passport.channels.len() * STOP <= MAX_PASSPORT
    }

    /// The session is this one from now on. `false`, and nothing changes, if its grants would make the passport too long.
    pub(super) fn follow(&self, identity: &Identity) -> bool {
        let mut steps = self.steps();
        let own = Passport { identity: identity.clone(), channels: Vec::new() }.encode().len() + REST;
        let size = own + steps.marks.iter().map(Mark::size).sum::<usize>();
        if size > MAX_PASSPORT {
            return false;
        }
        (steps.identity, steps.size) = (Some(identity.clone()), size);
        true
    }

    /// Adds a subscription, instead of an earlier one of its channel. `false` if it would make the passport too long.
    pub(super) fn add(&self, subscription: &Arc<Subscription>, durable: bool, presence: bool) -> bool {
        self.forget(&subscription.channel);
        let mut steps = self.steps();
        let mark = Mark { subscription: subscription.clone(), durable, presence };
        if steps.marks.len() >= MAX_TRAIL as usize || steps.size + mark.size() > MAX_PASSPORT {
            return false;
        }
        steps.size += mark.size();
        steps.marks.push(mark);
        true
    }

    /// The client has unsubscribed, or may not subscribe any more. What the server has ended because the store went back in time stays: when the peer
    /// resumes it is told.
    pub(super) fn forget(&self, channel: &ChannelName) {
        let mut steps = self.steps();
        if let Some(at) = steps.marks.iter().position(|mark| mark.subscription.channel == *channel) {
            let mark = steps.marks.swap_remove(at);
            steps.size -= mark.size();
        }
    }

    /// What does not fit is refused with this.
    pub(super) fn too_long() -> ErrorBody {
        let text = format!(
            "the subscriptions (at most {MAX_TRAIL}) and the token's grants have to fit into an event's id: use fewer, shorter ones, or a client \
             that is no native EventSource"
        );
        ErrorBody::new(ErrorCode::TooManySubscriptions, text)
    }

    /// Whether the server has ended a subscription that the client has not: whoever cannot subscribe again has to resume.
    pub fn is_broken(&self) -> bool {
        self.steps().marks.iter().any(|mark| mark.subscription.standing() == Standing::Ended)
    }

    /// Where the session stands; `None` before `connect`. Cursors tell what was put into the outbox: to be called while it is locked, in
    /// [`crate::hub::Outbox::poll_take`].
    pub fn passport(&self) -> Option<Passport> {
        let steps = self.steps();
        let identity = steps.identity.clone()?;
        let channels = steps.marks.iter().map(|mark| SubscribeChannel {
            channel: mark.subscription.channel.as_str().to_owned(),
            since: mark.durable.then(|| mark.subscription.cursor()),
            slow: Some(mark.subscription.slow),
            presence: mark.presence,
        });
        Some(Passport { identity, channels: channels.collect() })
    }
}

impl Mark {
    fn size(&self) -> usize {
        self.subscription.channel.as_str().len() + STOP
    }
}
