//! Subscriptions that the server has begun.

use std::sync::Arc;

use hubbub_protocol::{
    ChannelName, Cursor, ErrorCode,
    frame::{Auto, ErrorBody, Subscribed},
};
use tokio::time::Instant;

use super::{
    Subscriptions,
    tracked::{Outcome, Phase, Tracked},
};
use crate::{
    begun::{Start, Starts},
    buffer::Buffer,
};

/// Generations of these: apart from those that handles count.
const FIRST: u64 = 1 << 63;

impl Subscriptions {
    /// What `connect` asks for, if the server is to begin subscriptions.
    pub fn auto(&self) -> Option<Auto> {
        let Starts { options, .. } = self.starts.as_ref()?;
        Some(Auto { since: Vec::new(), slow: options.slow, presence: options.presence })
    }

    /// The server has begun one, or could not.
    pub fn begun(&mut self, answer: Subscribed, now: Instant) {
        let Some(Starts { options, buffer, sender }) = &self.starts else { return };
        let channel = match (ChannelName::parse(&answer.channel), answer.error) {
            (_, Some(error)) => {
                // A program that does not take them subscribes by itself, or not at all.
                let _ = sender.try_send(Start::Refused { channel: answer.channel, error });
                return;
            }
            (Ok(channel), None) => channel,
            (Err(_), None) => return,
        };
        if self.tracked.contains_key(&channel) {
            return self.begin_as_wanted(channel, now);
        }
        let buffer = Arc::new(Buffer::new(*buffer));
        let generation = FIRST + self.begun;
        let Ok(place) = sender.try_reserve() else {
            tracing::warn!(%channel, "the program does not take the subscriptions that the server begins: this one is left");
            return self.unwanted.push_back((channel, None));
        };
        let mut tracked = Tracked::begun(generation, options.slow, answer.presence.is_some(), buffer.clone());
        tracked.cursor = match (answer.recovered, answer.from) {
            (Some(true), Some(from)) => answer.head.map(|head| Cursor { epoch: head.epoch, seq: from.saturating_sub(1) }),
            _ => None,
        };
        place.send(Start::Begun { channel: channel.clone(), generation, buffer });
        self.begun += 1;
        let outcome = tracked.subscribed(Subscribed { error: None, ..answer }, now);
        debug_assert_eq!(outcome, Outcome::Kept, "an empty buffer takes an answer");
        self.tracked.insert(channel, tracked);
    }

    /// The program has a subscription of its own, which the server was not asked for in time: it is asked for it as the program wants it.
    fn begin_as_wanted(&mut self, channel: ChannelName, now: Instant) {
        let Some(tracked) = self.tracked.get(&channel).filter(|tracked| tracked.phase != Phase::Live) else { return };
        let is_paused = tracked.phase == Phase::Paused;
        self.unwanted.push_back((channel.clone(), None));
        if !is_paused {
            self.refused(channel, ErrorBody::new(ErrorCode::Resubscribe, "the server was quicker"), now);
        }
    }
}
