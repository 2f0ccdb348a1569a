//! What is missing, what the store says of it, and what becomes of a feed whose past is no more.

use std::{collections::BTreeMap, sync::Arc};

use hubbub_protocol::{ChannelName, Cursor, ErrorCode, ServerFrame, frame::ErrorBody};

use super::{Feed, Reading};
use crate::{
    channel::feed::{inbox::Work, log::Log},
    hub::{Delivery, Outbox},
};

impl Feed {
    /// Whether entries are known to exist that are not here, and nobody waits for them yet.
    pub(in crate::channel::feed) fn wants_patience(&self) -> bool {
        self.gap.is_none() && self.reading == Reading::Nothing && self.lacks()
    }

    fn lacks(&self) -> bool {
        self.log.is_some() && (!self.early.is_empty() || self.awaited > self.position().seq)
    }

    /// The time to wait for elders is over. Whether the store has to be read: the feed lacks what it lacked when it began.
    pub(in crate::channel::feed) fn patience_over(&mut self) -> bool {
        let Some(gap) = self.gap.take() else { return false };
        let busy = self.queued || self.group.is_some() || !self.inbox.is_empty();
        if self.reading != Reading::Nothing || busy || !self.lacks() || gap != self.position().seq {
            return false;
        }
        self.reading = Reading::Hole;
        true
    }

    /// The store was read up to `head`: what it has comes next, and what it has not is nowhere. A head below the position is a store that has
    /// gone back: the past is compared.
    pub(in crate::channel::feed) fn repaired(&mut self, entries: Vec<Arc<Delivery>>, head: Cursor) {
        let position = self.position();
        if head.seq < position.seq {
            self.reading = Reading::Past;
            return;
        }
        let more = entries.last().is_some_and(|last| last.seq() < head.seq);
        // What is missing below what the store has just returned is nowhere.
        self.head_read = Some(if more { entries.last().map_or(head.seq, |last| last.seq()) } else { head.seq });
        if more {
            self.inbox.push_front(Work::Verify);
        } else {
            (self.assured, self.awaited) = (true, 0);
            // Whatever was published before the read is in the store; what is not is of another past.
            self.early.split_off(&(head.seq + 1));
        }
        if !entries.is_empty() {
            self.inbox.push_front(Work::Stored(entries));
        } else if head.seq > position.seq && head.epoch <= position.epoch.max(self.fence.epoch) {
            // The history let go of all of them: whoever stands before pulls, and is told.
            if let Some(log) = &mut self.log {
                *log = Log::new(head, Vec::new(), self.keep);
            }
            self.topic.nudge(head);
        } else if head.seq > position.seq {
            self.reading = Reading::Past;
        }
    }

    /// The store shares this feed's past; its head is `head`, and entries get `epoch` now.
    pub(in crate::channel::feed) fn shares(&mut self, head: Cursor, epoch: u64) {
        // Whoever published under an epoch that the store does not know yet, or never will: a look finds what is true of it.
        self.inbox.retain_published(|delivery| delivery.entry.place.is_none_or(|place| place.epoch <= epoch));
        if epoch > self.fence.epoch {
            self.fence = Cursor { epoch, seq: head.seq };
            // Some of them may be of a past that is no more.
            self.early.clear();
            if head.seq > self.position().seq {
                self.inbox.push_front(Work::Verify);
            }
        }
    }

    /// The store went back to `head`, and this feed goes there: every subscriber is told to subscribe again. Returns how many there were.
    pub(in crate::channel::feed) fn reset(
        &mut self,
        channel: &ChannelName,
        head: Cursor,
        epoch: u64,
        touched: &mut Vec<Arc<Outbox>>,
    ) -> usize {
        self.log = Some(Log::new(head, Vec::new(), self.keep));
        (self.group, self.early, self.gap) = (None, BTreeMap::new(), None);
        (self.awaited, self.marked, self.head_read) = (head.seq, (0, 0), None);
        self.recent = false;
        self.fence = Cursor { epoch, seq: head.seq };
        self.topic.revoke(&gone_back(channel), touched)
    }

    /// A look saw the channel's head.
    pub(super) fn see_head(&mut self, head: Cursor, look: u64) {
        let Some(log) = &self.log else { return };
        let position = log.position();
        let (marked_look, marked_seq) = self.marked;
        if head.epoch > position.epoch.max(self.fence.epoch) && position.seq > 0 {
            self.reading = Reading::Past;
        } else if head.seq < marked_seq && marked_look < look {
            // The store had come further before this look began.
            self.reading = Reading::Past;
        } else {
            self.awaited = self.awaited.max(head.seq);
        }
        self.marked = (look, position.seq.max(head.seq));
    }
}

/// What a subscriber is told whose position is no longer part of the store's past.
pub(in crate::channel) fn gone_back(channel: &ChannelName) -> ServerFrame {
    let error = ErrorBody::new(ErrorCode::Resubscribe, "the store has gone back in time: subscribe again with your cursor");
    ServerFrame::Unsubscribed { channel: channel.clone(), error }
}
