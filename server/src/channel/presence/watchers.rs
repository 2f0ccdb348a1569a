//! Who wants to see members of one channel come and go, and what they have been told.
//!
//! A `presence` frame is encoded once per wire for all of them. Nobody's connection is closed for presence: who has no room, or does not
//! read, misses a frame and gets the whole list later.

use std::sync::Arc;

use bytes::Bytes;
use hubbub_protocol::{
    ChannelName, ServerFrame,
    frame::{PresenceChange, PresenceState},
    limits::MAX_MEMBERS,
};

use super::roll::{News, Roll};
use crate::hub::{Offered, Outbox, Standing, Subscription, Wire};

/// Between two frames of a channel with a list, in milliseconds.
const LISTED: u64 = 250;
/// Between two frames of a channel too large for one, and between two tries to reach those who missed one.
const COUNTED: u64 = 1_000;

/// What a subscriber has been told with its reply.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Seen {
    /// Frames of the channel so far.
    frames: u64,
    /// The reply had a list.
    listed: bool,
}

impl Seen {
    /// The reply did not carry the list after all: a frame brings it.
    pub(crate) fn without_list(self) -> Self {
        Self { listed: false, ..self }
    }
}

#[derive(Debug)]
struct Watcher {
    subscription: Arc<Subscription>,
    /// What it holds is not what the others hold.
    stale: bool,
}

/// The subscriptions that watch one channel. As many as there are subscriptions.
#[derive(Debug, Default)]
pub(super) struct Watchers {
    watchers: Vec<Watcher>,
    frames: u64,
    /// Whether the last frame was of a channel too large for a list.
    counted: bool,
    /// How many members it told.
    told: usize,
    /// Somebody got a reply since the last frame.
    newcomers: bool,
    next_at: u64,
}

impl Watchers {
    /// What a subscriber's reply says.
    pub(super) fn state(&mut self, roll: &mut Roll) -> (PresenceState, Seen) {
        if self.watchers.is_empty() && !self.newcomers {
            // The first: what it is told with its reply is news to nobody.
            roll.take_news(false);
            (self.counted, self.told) = (roll.len() > MAX_MEMBERS, roll.len());
        }
        self.newcomers = true;
        let members = roll.list();
        let seen = Seen { frames: self.frames, listed: members.is_some() };
        (PresenceState { count: roll.len() as u64, members }, seen)
    }

    /// A subscription whose reply has been sent: it gets what follows.
    pub(super) fn add(&mut self, subscription: Arc<Subscription>, seen: Seen) {
        let stale = seen != Seen { frames: self.frames, listed: !self.counted };
        self.watchers.push(Watcher { subscription, stale });
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.watchers.len()
    }

    /// Forgets those whose subscription has ended.
    pub(super) fn sweep(&mut self) {
        self.watchers.retain(|watcher| watcher.subscription.standing() != Standing::Ended && !watcher.subscription.outbox.is_closing());
    }

    /// Whether there is something to tell, now or when it is time.
    pub(super) fn is_due(&self, roll: &Roll) -> bool {
        !self.watchers.is_empty() && (self.is_news(roll) || self.has_stale())
    }

    fn is_news(&self, roll: &Roll) -> bool {
        let counted = roll.len() > MAX_MEMBERS;
        counted != self.counted || if counted { roll.len() != self.told } else { roll.is_touched() }
    }

    fn has_stale(&self) -> bool {
        self.watchers.iter().any(|watcher| watcher.stale)
    }

    /// Tells what is news, if it is time. Outboxes to flush are added to `touched`.
    pub(super) fn tell(&mut self, channel: &ChannelName, roll: &mut Roll, now: u64, touched: &mut Vec<Arc<Outbox>>) {
        let members = roll.len();
        let listed = members <= MAX_MEMBERS;
        let news = self.is_news(roll);
        if now < self.next_at || !self.is_due(roll) {
            return;
        }
        self.next_at = now + if listed && news { LISTED } else { COUNTED };
        if news {
            self.frames += 1;
        }
        let changes = roll.take_news(std::mem::take(&mut self.newcomers));
        let count = members as u64;
        let change = |joined, left, members| Sealed::new(PresenceChange { channel: channel.clone(), count, joined, left, members });
        let mut whole = change(Vec::new(), Vec::new(), None);
        let mut part = None;
        if listed {
            match changes {
                News::Changes { joined, left } if !self.counted => {
                    part = (!joined.is_empty() || !left.is_empty()).then(|| change(joined, left, None));
                }
                // Everybody gets the list.
                _ => self.watchers.iter_mut().for_each(|watcher| watcher.stale = true),
            }
            if self.has_stale() {
                whole = change(Vec::new(), Vec::new(), roll.list());
            }
        } else if news {
            self.watchers.iter_mut().for_each(|watcher| watcher.stale = true);
        }
        (self.counted, self.told) = (!listed, members);
        self.watchers.retain_mut(|watcher| {
            let frame = if watcher.stale { Some(&mut whole) } else { part.as_mut() };
            frame.is_none_or(|frame| watcher.offer(frame, touched))
        });
    }
}

impl Watcher {
    /// Whether it goes on watching.
    fn offer(&mut self, frame: &mut Sealed, touched: &mut Vec<Arc<Outbox>>) -> bool {
        let outbox = &self.subscription.outbox;
        match outbox.offer(&self.subscription, frame.bytes(outbox.wire())) {
            Offered::Taken { flush } => {
                self.stale = false;
                if flush {
                    touched.push(outbox.clone());
                }
                true
            }
            Offered::NoRoom => {
                self.stale = true;
                true
            }
            Offered::Over => false,
        }
    }
}

/// A frame, encoded at most once a wire.
struct Sealed {
    frame: ServerFrame,
    sealed: Vec<(Wire, Bytes)>,
}

impl Sealed {
    fn new(change: PresenceChange) -> Self {
        Self { frame: ServerFrame::Presence(change), sealed: Vec::new() }
    }

    fn bytes(&mut self, wire: Wire) -> Bytes {
        if let Some((_, bytes)) = self.sealed.iter().find(|(of, _)| *of == wire) {
            return bytes.clone();
        }
        let bytes = wire.frame(&self.frame);
        self.sealed.push((wire, bytes.clone()));
        bytes
    }
}

#[cfg(test)]
mod tests {
    use hubbub_protocol::{Format, frame::Slow};

    use super::{super::roll::Leave, *};
    use crate::hub::{Sink, tests::frames};

    fn watcher(channel: &ChannelName) -> Arc<Subscription> {
        Subscription::new(channel.clone(), Outbox::new(Sink::task(), Wire::Socket(Format::Msgpack), 1 << 16), Slow::Close)
    }

    fn frame(subscription: &Subscription) -> Option<PresenceChange> {
        let mut frames = frames(&subscription.outbox.take());
        assert!(frames.len() < 2);
        frames.pop().map(|frame| match frame {
            ServerFrame::Presence(change) => change,
            other => panic!("{other:?}"),
        })
    }

    #[test]
    fn a_newcomer_is_told_what_the_others_need_not_know() {
        let channel = ChannelName::parse("room:1").unwrap();
        let (mut watchers, mut roll, alice) = (Watchers::default(), Roll::default(), Arc::from("alice"));
        let (old, new) = (watcher(&channel), watcher(&channel));
        let (_, seen) = watchers.state(&mut roll);
        watchers.add(old.clone(), seen);
        roll.count(&alice, 0, 1, Leave::Now, 0);
        watchers.tell(&channel, &mut roll, 0, &mut Vec::new());
        assert_eq!(frame(&old).unwrap().joined.len(), 1);
        roll.count(&alice, 1, 0, Leave::Now, 100);
        let (state, seen) = watchers.state(&mut roll);
        assert_eq!(state.members, Some(Vec::new()));
        watchers.add(new.clone(), seen);
        roll.count(&alice, 0, 1, Leave::Now, 150);
        watchers.tell(&channel, &mut roll, 200, &mut Vec::new());
        assert_eq!(frame(&new), None, "too soon");
        watchers.tell(&channel, &mut roll, LISTED, &mut Vec::new());
        assert_eq!(frame(&new).unwrap().joined.len(), 1);
    }

    #[test]
    fn who_missed_a_frame_gets_the_list_and_nothing_is_owed_to_the_ended() {
        let channel = ChannelName::parse("room:1").unwrap();
        let (mut watchers, mut roll) = (Watchers::default(), Roll::default());
        let (slow, quick, gone) = (watcher(&channel), watcher(&channel), watcher(&channel));
        for subscription in [&slow, &quick, &gone] {
            let (_, seen) = watchers.state(&mut roll);
            watchers.add(subscription.clone(), seen);
        }
        slow.outbox.stuck();
        gone.outbox.end(&gone);
        roll.count(&Arc::from("alice"), 0, 1, Leave::Now, 0);
        watchers.tell(&channel, &mut roll, 0, &mut Vec::new());
        assert_eq!((frame(&quick).unwrap().joined.len(), frame(&slow), frame(&gone)), (1, None, None));
        assert_eq!(watchers.len(), 2);
        assert!(watchers.is_due(&roll));
        watchers.tell(&channel, &mut roll, COUNTED, &mut Vec::new());
        assert_eq!((frame(&quick), frame(&slow).unwrap().members.unwrap().len()), (None, 1));
        assert!(!watchers.is_due(&roll));
    }

    #[test]
    fn a_list_that_the_reply_had_no_room_for_comes_in_a_frame() {
        let channel = ChannelName::parse("room:1").unwrap();
        let (mut watchers, mut roll, one) = (Watchers::default(), Roll::default(), watcher(&channel));
        roll.count(&Arc::from("alice"), 0, 1, Leave::Now, 0);
        watchers.tell(&channel, &mut roll, 0, &mut Vec::new());
        let (_, seen) = watchers.state(&mut roll);
        watchers.add(one.clone(), seen.without_list());
        watchers.tell(&channel, &mut roll, COUNTED, &mut Vec::new());
        assert_eq!(frame(&one).unwrap().members.unwrap().len(), 1);
    }
}
