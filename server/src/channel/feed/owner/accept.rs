//! Which entries come next.

use std::sync::Arc;

use super::{EARLY, Feed, GROUP, Group, Reading, Served};
use crate::{
    channel::feed::{inbox::Work, log::Fit},
    hub::Delivery,
};

/// Where entries come from.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Origin {
    /// They were published: by this instance, or by another that says so.
    Published,
    /// They were read.
    Store,
}

impl Feed {
    /// About a group of entries: `entries`, and those of the works behind them.
    pub(super) fn gather(&mut self, mut entries: Vec<Arc<Delivery>>) -> Vec<Arc<Delivery>> {
        while entries.len() < GROUP
            && let Some(more) = self.inbox.pop_entries()
        {
            entries.extend(more);
        }
        if entries.len() > GROUP {
            self.inbox.push_front(Work::Entries(entries.split_off(GROUP)));
        }
        entries
    }

    pub(super) fn begin(&mut self, entries: Vec<Arc<Delivery>>, origin: Origin, served: &Served) {
        let entries = self.accept(entries, origin, served);
        if !entries.is_empty() {
            self.group = Some(Group { entries, next: 0 });
        }
    }

    /// Those of `entries` that come next. What is early waits for its elders.
    fn accept(&mut self, entries: Vec<Arc<Delivery>>, origin: Origin, served: &Served) -> Vec<Arc<Delivery>> {
        if !self.durable {
            // Given back to those who wait to publish.
            drop(self.room.as_mut().and_then(|room| room.split(entries.len())));
            return entries;
        }
        let Some(log) = &mut self.log else { return Vec::new() };
        let mut next = Vec::with_capacity(entries.len());
        let mut entries = entries.into_iter();
        let mut elder = None;
        while let Some(delivery) = elder.take().or_else(|| entries.next()) {
            if origin == Origin::Published
                && let Some(cursor) = delivery.entry.cursor()
                && cursor.seq > log.position().seq
                && (cursor.seq <= self.fence.seq || cursor.epoch < self.fence.epoch)
            {
                self.awaited = self.awaited.max(self.fence.seq);
                continue;
            }
            match log.accept(&delivery, self.fence.epoch) {
                Fit::Next => {
                    next.push(delivery);
                    // A group may grow beyond its size by those who waited for this one.
                    elder = self.early.remove(&(log.position().seq + 1));
                }
                Fit::Old => {}
                Fit::Early if self.head_read.is_some_and(|head| delivery.seq() <= head + 1) => {
                    // The history let go of its elders: whoever lacks them pulls, and is told.
                    log.jump(&delivery);
                    next.push(delivery);
                    elder = self.early.remove(&(log.position().seq + 1));
                }
                Fit::Early => {
                    self.early.insert(delivery.seq(), delivery);
                }
                Fit::NewEpoch => {
                    let rest = [delivery].into_iter().chain(entries).collect();
                    self.inbox.push_front(if origin == Origin::Store { Work::Stored(rest) } else { Work::Entries(rest) });
                    self.reading = Reading::Past;
                    break;
                }
                Fit::Contradiction => {
                    // What lies behind it would hide it: the store has it all the same.
                    self.awaited = entries.last().map_or(self.awaited, |last| self.awaited.max(last.seq()));
                    self.reading = Reading::Past;
                    break;
                }
            }
        }
        self.head_read = None;
        log.trim(served.bounds, served.spare);
        // Those that the store brought meanwhile.
        let position = log.position().seq;
        self.early = self.early.split_off(&(position + 1));
        let hopeless = !served.horizon.others || self.early.len() > EARLY;
        if self.reading == Reading::Nothing && origin == Origin::Published && !self.early.is_empty() && hopeless {
            self.reading = Reading::Hole;
        }
        if self.early.len() > EARLY {
            self.awaited = self.awaited.max(self.early.pop_last().map_or(0, |(seq, _)| seq));
            self.early.clear();
        }
        next
    }
}
