//! What waits for one feed's turn, in order.

use std::{collections::VecDeque, sync::Arc};

use hubbub_protocol::Cursor;
use tokio::sync::oneshot;

use super::{Joined, Pulled, Unloaded};
use crate::hub::{Delivery, Subscription};

/// Joins, leaves, pulls and entries of one channel, in order.
pub(super) enum Work {
    Join {
        subscription: Arc<Subscription>,
        since: Option<Cursor>,
        reply: oneshot::Sender<Result<Joined, Unloaded>>,
    },
    Leave(Arc<Subscription>),
    Pull {
        subscription: Arc<Subscription>,
        reply: oneshot::Sender<Pulled>,
    },
    /// Entries as they were published, by this instance or another.
    Entries(Vec<Arc<Delivery>>),
    /// Entries as the store has them.
    Stored(Vec<Arc<Delivery>>),
    /// Look whether the store has more.
    Verify,
    /// Look number `look` saw the channel's head there.
    Head {
        head: Cursor,
        look: u64,
    },
    /// The store may have gone back in time: see whether its past is this feed's.
    Compare,
}

impl Work {
    fn entries(&self) -> usize {
        match self {
            Work::Entries(entries) | Work::Stored(entries) => entries.len(),
            Work::Join { .. } | Work::Leave(_) | Work::Pull { .. } | Work::Verify | Work::Head { .. } | Work::Compare => 0,
        }
    }
}

/// A queue that knows how many entries are in it.
#[derive(Default)]
pub(super) struct Inbox {
    works: VecDeque<Work>,
    entries: usize,
}

impl Inbox {
    pub(super) fn push_back(&mut self, work: Work) {
        self.entries += work.entries();
        self.works.push_back(work);
    }

    pub(super) fn push_front(&mut self, work: Work) {
        self.entries += work.entries();
        self.works.push_front(work);
    }

    pub(super) fn pop_front(&mut self) -> Option<Work> {
        let work = self.works.pop_front()?;
        self.entries -= work.entries();
        Some(work)
    }

    /// The next work, if it is entries.
    pub(super) fn pop_entries(&mut self) -> Option<Vec<Arc<Delivery>>> {
        if !matches!(self.works.front(), Some(Work::Entries(_))) {
            return None;
        }
        match self.pop_front() {
            Some(Work::Entries(entries)) => Some(entries),
            _ => None,
        }
    }

    /// Refuses the joins that wait; the rest stays.
    pub(super) fn refuse_joins(&mut self) {
        for work in std::mem::take(&mut self.works) {
            match work {
                Work::Join { reply, .. } => {
                    // The session may be gone.
                    let _ = reply.send(Err(Unloaded));
                }
                work => self.works.push_back(work),
            }
        }
    }

    /// Whether the last work asks the store what `work` would ask it again.
    pub(super) fn ends_with(&self, work: &Work) -> bool {
        matches!((self.works.back(), work), (Some(Work::Verify), Work::Verify) | (Some(Work::Compare), Work::Compare))
    }

    /// Drops of the published entries at the front those that `keep` does not want.
    pub(super) fn retain_published(&mut self, keep: impl Fn(&Delivery) -> bool) {
        if let Some(mut entries) = self.pop_entries() {
            entries.retain(|delivery| keep(delivery));
            if !entries.is_empty() {
                self.push_front(Work::Entries(entries));
            }
        }
    }

    /// How many entries wait.
    pub(super) fn entries(&self) -> usize {
        self.entries
    }

    pub(super) fn is_empty(&self) -> bool {
        self.works.is_empty()
    }
}
