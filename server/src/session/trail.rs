//! How far a session has come, for a peer that cannot say so itself: a native `EventSource` sends back what it was last told, and that
//! has to be enough to go on from.

use std::sync::{Arc, Mutex, MutexGuard};

use hubbub_protocol::{
    ErrorCode, Retry,
    frame::{ErrorBody, SubscribeChannel},
};

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

/// Who a session is, and where its subscriptions stand. Shared by the session, which writes it, and its transport, which reads.
///
/// What it says has to fit what was sent at every moment: a channel is on it as it was asked for until its answer is in the outbox, and is
/// exchanged for where it stands under the outbox's lock.
#[derive(Debug)]
pub struct Trail(Mutex<Steps>);

#[derive(Debug)]
struct Steps {
    identity: Option<Identity>,
    /// Bytes of the passport without channels.
    own: usize,
    stops: Vec<Stop>,
    /// A channel was refused for now, and nobody behind this session can ask again.
    broken: bool,
}

#[derive(Debug)]
enum Stop {
    /// It was asked for, and not answered.
    Asked(SubscribeChannel),
    /// It was answered.
    Taken { subscription: Arc<Subscription>, durable: bool, presence: bool },
}

/// A subscription that was answered.
#[derive(Debug)]
pub(super) struct Taken {
    pub(super) subscription: Arc<Subscription>,
    pub(super) durable: bool,
    pub(super) presence: bool,
}

impl Trail {
    /// The trail of a session that is to subscribe to these.
    pub fn new(channels: &[SubscribeChannel]) -> Arc<Self> {
        let stops = channels.iter().cloned().map(Stop::Asked).collect();
        Arc::new(Self(Mutex::new(Steps { identity: None, own: 0, stops, broken: false })))
    }

    fn steps(&self) -> MutexGuard<'_, Steps> {
        self.0.lock().expect("nothing panics while it holds a trail")
    }

    /// Whether a passport is short enough to travel, however far its cursors come.
    pub fn fits(passport: &Passport) -> bool {
        let channels: usize = passport.channels.iter().map(|asked| asked.channel.len() + STOP).sum();
        passport.channels.len() <= MAX_TRAIL as usize && own(&passport.identity) + channels <= MAX_PASSPORT
    }

    /// The session is this one from now on. `false`, and nothing changes, if its grants would make the passport too long.
    pub(super) fn follow(&self, identity: &Identity) -> bool {
        let mut steps = self.steps();
        let own = own(identity);
        if own + steps.channels() > MAX_PASSPORT {
            return false;
        }
        (steps.identity, steps.own) = (Some(identity.clone()), own);
        true
    }

    /// A channel is asked for, instead of an earlier stop there. `false` if it would make the passport too long.
    pub(super) fn ask(&self, asked: &SubscribeChannel) -> bool {
        let mut steps = self.steps();
        steps.stops.retain(|stop| stop.channel() != asked.channel);
        let stop = Stop::Asked(asked.clone());
        if steps.stops.len() >= MAX_TRAIL as usize || steps.own + steps.channels() + stop.size() > MAX_PASSPORT {
            return false;
        }
        steps.stops.push(stop);
        true
    }

    /// What was asked for is refused. If that may change the stop stays, for the peer to come back to: the transport ends the session.
    pub(super) fn refused(&self, channel: &str, retry: Retry) {
        match retry {
            Retry::Never => self.forget(channel),
            Retry::Now | Retry::Later | Retry::Refresh => {
                let mut steps = self.steps();
                steps.broken |= steps.stops.iter().any(|stop| stop.channel() == channel);
            }
        }
    }

    /// The answers are in the outbox: from now on these stops are where their subscriptions stand. To be called under the outbox's lock.
    pub(super) fn answered(&self, taken: Vec<Taken>) {
        let mut steps = self.steps();
        for Taken { subscription, durable, presence } in taken {
            if let Some(stop) = steps.stops.iter_mut().find(|stop| stop.channel() == subscription.channel.as_str()) {
                *stop = Stop::Taken { subscription, durable, presence };
            }
        }
    }

    /// The client has unsubscribed, or may not subscribe any more. What the server has ended because the store went back in time stays: when
    /// the peer resumes it is told.
    pub(super) fn forget(&self, channel: &str) {
        self.steps().stops.retain(|stop| stop.channel() != channel);
    }

    /// What does not fit is refused with this.
    pub(super) fn too_long() -> ErrorBody {
        let text = format!(
            "the subscriptions (at most {MAX_TRAIL}) and the token's grants have to fit into an event's id: use fewer, shorter ones, or a client \
             that is no native EventSource"
        );
        ErrorBody::new(ErrorCode::TooManySubscriptions, text)
    }

    /// Whether a subscription is missing that the peer wants: whoever cannot subscribe again has to resume.
    pub fn is_broken(&self) -> bool {
        let steps = self.steps();
        let ended = |stop: &Stop| matches!(stop, Stop::Taken { subscription, .. } if subscription.standing() == Standing::Ended);
        steps.broken || steps.stops.iter().any(ended)
    }

    /// Where the session stands; `None` before `connect`. Cursors tell what was put into the outbox: to be called while it is locked, in
    /// [`crate::hub::Outbox::poll_take`].
    pub fn passport(&self) -> Option<Passport> {
        let steps = self.steps();
        let identity = steps.identity.clone()?;
        let channels = steps.stops.iter().map(|stop| match stop {
            Stop::Asked(asked) => asked.clone(),
            Stop::Taken { subscription, durable, presence } => SubscribeChannel {
                channel: subscription.channel.as_str().to_owned(),
                since: durable.then(|| subscription.cursor()),
                slow: Some(subscription.slow),
                presence: *presence,
            },
        });
        Some(Passport { identity, channels: channels.collect() })
    }
}

impl Steps {
    fn channels(&self) -> usize {
        self.stops.iter().map(Stop::size).sum()
    }
}

impl Stop {
    fn channel(&self) -> &str {
        match self {
            Stop::Asked(asked) => &asked.channel,
            Stop::Taken { subscription, .. } => subscription.channel.as_str(),
        }
    }

    fn size(&self) -> usize {
        self.channel().len() + STOP
    }
}

/// Bytes of a passport of `identity` without channels, at most.
fn own(identity: &Identity) -> usize {
    Passport { identity: identity.clone(), channels: Vec::new() }.encode().len() + REST
}

#[cfg(test)]
mod tests {
    use hubbub_protocol::{ChannelName, Cursor, frame::Slow};

    use super::*;
    use crate::{
        auth::Grants,
        hub::{Outbox, Sink, Wire},
    };

    fn asked(channel: &str, seq: u64) -> SubscribeChannel {
        SubscribeChannel { channel: channel.to_owned(), since: Some(Cursor { epoch: 1, seq }), ..SubscribeChannel::default() }
    }

    fn identity() -> Identity {
        Identity { expires_at: 1, ..Identity::new("alice", Grants::default()) }
    }

    fn taken(channel: &str) -> (Arc<Subscription>, Taken) {
        let outbox = Outbox::new(Sink::task(), Wire::Events, 1_000);
        let subscription = Subscription::new(ChannelName::parse(channel).unwrap(), outbox, Slow::Close);
        (subscription.clone(), Taken { subscription, durable: true, presence: false })
    }

    fn cursors(trail: &Trail) -> Vec<(String, u64)> {
        let passport = trail.passport().unwrap();
        passport.channels.into_iter().map(|stop| (stop.channel, stop.since.map_or(0, |since| since.seq))).collect()
    }

    #[test]
    fn what_is_not_answered_stays_as_it_was_asked_for() {
        let trail = Trail::new(&[asked("a", 7), asked("b", 8)]);
        assert!(trail.passport().is_none() && trail.follow(&identity()));
        assert_eq!(cursors(&trail), [("a".to_owned(), 7), ("b".to_owned(), 8)]);
        let (subscription, a) = taken("a");
        subscription.seek(Cursor { epoch: 1, seq: 9 });
        trail.answered(vec![a]);
        assert_eq!(cursors(&trail), [("a".to_owned(), 9), ("b".to_owned(), 8)]);
    }

    #[test]
    fn what_is_refused_for_now_is_for_the_next_session_to_ask() {
        let trail = Trail::new(&[asked("a", 7), asked("b", 8)]);
        assert!(trail.follow(&identity()));
        trail.refused("a", Retry::Never);
        assert!(!trail.is_broken());
        trail.refused("b", Retry::Later);
        assert!(trail.is_broken());
        assert_eq!(cursors(&trail), [("b".to_owned(), 8)]);
    }

    #[test]
    fn a_subscription_that_the_server_ended_breaks_it() {
        let trail = Trail::new(&[asked("a", 7)]);
        let (subscription, a) = taken("a");
        trail.answered(vec![a]);
        assert!(!trail.is_broken());
        subscription.outbox.end(&subscription);
        assert!(trail.is_broken());
        trail.forget("a");
        assert!(!trail.is_broken());
    }

    #[test]
    fn it_stays_short_enough_for_a_header() {
        let trail = Trail::new(&[]);
        assert!(trail.follow(&identity()));
        let mut fitting = 0;
        while trail.ask(&asked(&format!("{fitting:>040}"), u64::MAX)) {
            fitting += 1;
        }
        assert!((40..MAX_TRAIL).contains(&fitting), "{fitting}");
        let passport = trail.passport().unwrap();
        assert!(Trail::fits(&passport) && passport.encode().len() <= MAX_PASSPORT);
        assert!(!Trail::fits(&Passport { channels: vec![asked("a", 1); MAX_TRAIL as usize + 1], ..passport }));
    }
}
