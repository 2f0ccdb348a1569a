//! What is to be said about subscriptions on the wire, and when.

use std::mem;

use hubbub_protocol::{
    ChannelName, ClientFrame,
    frame::{RequestId, SubscribeChannel},
    limits::MAX_CHANNELS,
};
use tokio::time::Instant;

use super::{Subscriptions, tracked::Phase};
use crate::{
    Error, Event,
    batch::{Batch, Ids, Refused},
};

impl Subscriptions {
    /// Puts into `batch` what is to be said: first what is unwanted, then what is wanted.
    pub fn send(&mut self, ids: &mut Ids, batch: &mut Batch) {
        while !self.unwanted.is_empty() {
            let some = self.unwanted.drain(..self.unwanted.len().min(MAX_CHANNELS)).collect::<Vec<_>>();
            let id = ids.next();
            let channels = some.iter().map(|(channel, _)| channel.as_str().to_owned()).collect();
            if batch.push(&ClientFrame::Unsubscribe { id, channels }).is_err() {
                some.into_iter().rev().for_each(|leaving| self.unwanted.push_front(leaving));
                return;
            }
            self.leaving.insert(id, some);
        }
        let mut most = MAX_CHANNELS;
        loop {
            let id = ids.next();
            let (channels, items) = self.ask(id, most);
            if channels.is_empty() {
                return;
            }
            let Err(refused) = batch.push(&ClientFrame::Subscribe { id, channels: items }) else {
                self.asked.insert(id, channels);
                continue;
            };
            self.unask(channels);
            match refused {
                Refused::TooLarge if most > 1 => most /= 2,
                Refused::TooLarge | Refused::Full => return,
            }
        }
    }

    /// Takes up to `most` of the wanted channels for request `id`.
    fn ask(&mut self, id: RequestId, most: usize) -> (Vec<ChannelName>, Vec<SubscribeChannel>) {
        let mut channels = Vec::new();
        let mut items = Vec::new();
        while channels.len() < most {
            let Some(channel) = self.wanted.pop_front() else { break };
            let Some(tracked) = self.tracked.get_mut(&channel).filter(|tracked| tracked.phase == Phase::Wanted) else { continue };
            tracked.phase = Phase::Asked(id);
            items.push(SubscribeChannel {
                channel: channel.as_str().to_owned(),
                since: tracked.cursor,
                slow: tracked.slow,
                presence: tracked.wants_presence,
            });
            channels.push(channel);
        }
        (channels, items)
    }

    /// Puts back what did not fit.
    fn unask(&mut self, channels: Vec<ChannelName>) {
        for channel in channels.into_iter().rev() {
            if let Some(tracked) = self.tracked.get_mut(&channel) {
                tracked.phase = Phase::Wanted;
            }
            self.wanted.push_front(channel);
        }
    }

    /// The connection is gone: everything that is not paused is wanted again, in the order of its beginning.
    pub fn disconnected(&mut self) {
        self.asked.clear();
        self.leaving.clear();
        self.unwanted.clear();
        self.later.clear();
        let mut live: Vec<_> = self.tracked.iter_mut().filter(|(_, tracked)| tracked.phase != Phase::Paused).collect();
        live.sort_unstable_by_key(|(_, tracked)| tracked.generation);
        self.wanted.clear();
        for (channel, tracked) in live {
            tracked.phase = Phase::Wanted;
            self.wanted.push_back(channel.clone());
        }
    }

    /// When [`Self::tick`] has something to do.
    pub fn next_deadline(&self) -> Option<Instant> {
        self.later.first().map(|(at, _)| *at)
    }

    /// Wants again what has waited long enough.
    pub fn tick(&mut self, now: Instant) {
        while let Some((at, channel)) = self.later.pop_first() {
            if at > now {
                self.later.insert((at, channel));
                return;
            }
            if let Some(tracked) = self.tracked.get_mut(&channel).filter(|tracked| tracked.phase == Phase::Later(at)) {
                tracked.phase = Phase::Wanted;
                self.wanted.push_back(channel);
            }
        }
    }

    /// The client has ended.
    pub fn close(&mut self, error: &Error) {
        for (_, tracked) in mem::take(&mut self.tracked) {
            match (tracked.answer, error) {
                (Some(caller), _) => drop(caller.send(Err(error.clone()))),
                (None, Error::Server(body)) => tracked.buffer.end(Some(Event::Ended(body.clone()))),
                (None, _) => tracked.buffer.end(None),
            }
        }
    }
}
