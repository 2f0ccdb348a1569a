//! The way up into one session: numbered POSTs, applied in order and once each.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, MutexGuard,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use bytes::Bytes;
use hubbub_protocol::ErrorCode;
use tokio::{
    sync::{Notify, mpsc, oneshot},
    time::timeout,
};

use super::{gone, polls::Polls, rights::Rights};
use crate::{auth::Identity, http::Problem, hub::Outbox, session::Vitals};

/// POSTs that may wait for their elders.
pub(super) const EARLY: u64 = 16;
/// Bytes of these, at most.
const EARLY_BYTES: usize = 256 << 10;
/// POSTs that wait to be sorted, at most.
const UNSORTED: usize = 4;
/// How long one waits for its elders.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long the session may take to read one: it reads no more while many publishes wait for their commit.
const SLOW: Duration = Duration::from_secs(25);

/// A session as requests see it.
#[derive(Debug)]
pub(super) struct Upstream {
    /// Who opened it.
    pub(super) user: Arc<str>,
    /// What the session may: its own token's, which may be another one than the first request's.
    rights: Mutex<Rights>,
    pub(super) outbox: Arc<Outbox>,
    pub(super) vitals: Arc<Vitals>,
    /// What polls take, if it is polled.
    pub(super) polls: Option<Polls>,
    /// A permit once the opening frames were applied.
    opened: Arc<Notify>,
    posts: mpsc::Sender<Post>,
    /// The number of the next POST to be applied.
    next: Arc<AtomicU64>,
}

/// When a POST was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Posted {
    /// By this request.
    Now,
    /// By an earlier one with its number.
    Before,
}

/// A POST on its way to its session.
#[derive(Debug)]
pub(super) struct Post {
    number: u64,
    body: Bytes,
    read: oneshot::Sender<()>,
}

/// The session's end of the way.
#[derive(Debug)]
pub(super) struct Posts {
    next: Arc<AtomicU64>,
    opened: Arc<Notify>,
    early: BTreeMap<u64, (Bytes, Vec<oneshot::Sender<()>>)>,
    pub(super) receiver: mpsc::Receiver<Post>,
}

impl Upstream {
    /// A session of `user` whose POSTs come out at the other end.
    pub(super) fn new(identity: &Identity, outbox: Arc<Outbox>, vitals: Arc<Vitals>, polls: Option<Polls>) -> (Arc<Self>, Posts) {
        let (posts, receiver) = mpsc::channel(UNSORTED);
        let (next, opened) = (Arc::new(AtomicU64::new(1)), Arc::<Notify>::default());
        let (user, rights) = (identity.user.clone(), Mutex::new(Rights::of(identity)));
        let up = Self { user, rights, outbox, vitals, polls, opened: opened.clone(), posts, next: next.clone() };
        (Arc::new(up), Posts { next, opened, early: BTreeMap::new(), receiver })
    }

    /// Waits until the opening frames were applied: one waits, once.
    pub(super) async fn is_open(&self) {
        self.opened.notified().await;
    }

    /// Only who opened a session may speak for it, with a token that allows whatever the session may. `rights` are unknown where an
    /// instance of the release before asks.
    pub(super) fn check(&self, user: &str, rights: Option<&Rights>) -> Result<(), Problem> {
        if *self.user != *user {
            return Err(Problem::new(ErrorCode::IdentityChanged, "the token is of another user than the session; open one of your own"));
        }
        if rights.is_some_and(|rights| !rights.cover(&self.rights())) {
            let text = "the token allows less than the session's own: speak for the session with the token that it goes by";
            return Err(Problem::new(ErrorCode::Forbidden, text));
        }
        Ok(())
    }

    /// The session goes by this token now.
    pub(super) fn follow(&self, identity: &Identity) {
        let mut rights = self.rights();
        if !rights.is_of(identity) {
            *rights = Rights::of(identity);
        }
    }

    fn rights(&self) -> MutexGuard<'_, Rights> {
        self.rights.lock().expect("nothing panics while it holds rights")
    }

    /// Hands the POST with this number to the session. Returns when it has been read, now or before.
    pub(super) async fn post(&self, number: u64, body: Bytes) -> Result<Posted, Problem> {
        let next = self.next.load(Relaxed);
        if number < next {
            return Ok(Posted::Before);
        }
        if number - next > EARLY {
            return Err(self.out_of_order(number));
        }
        let (read, was_read) = oneshot::channel();
        let post = Post { number, body, read };
        let slow =
            || Problem::new(ErrorCode::Overloaded, "the session reads no more until its publishes are stored; send the same POST again");
        timeout(SLOW, self.posts.send(post)).await.map_err(|_| slow())?.map_err(|_| gone())?;
        tokio::pin!(was_read);
        match timeout(PATIENCE, &mut was_read).await {
            Ok(Ok(())) => {}
            // It was one too many of those that came early.
            Ok(Err(_)) if self.next.load(Relaxed) < number => return Err(self.out_of_order(number)),
            Ok(Err(_)) => return Err(gone()),
            Err(_) if self.next.load(Relaxed) < number => return Err(self.out_of_order(number)),
            Err(_) => timeout(SLOW, was_read).await.map_err(|_| slow())?.map_err(|_| gone())?,
        }
        Ok(Posted::Now)
    }

    fn out_of_order(&self, number: u64) -> Problem {
        let text = format!("this is POST {number} of its session, and POST {} has not come; send that one first", self.next.load(Relaxed));
        Problem::new(ErrorCode::OutOfOrder, text)
    }
}

/// A body to be applied now, and who waits for that.
pub(super) type Ready = (Bytes, Vec<oneshot::Sender<()>>);

impl Posts {
    /// The opening frames were applied.
    pub(super) fn opened(&self) {
        self.opened.notify_one();
    }

    /// Sorts a POST that came. What can be applied then comes out of [`Posts::ready`].
    pub(super) fn sort(&mut self, Post { number, body, read }: Post) {
        let next = self.next.load(Relaxed);
        if number < next {
            let _ = read.send(());
        } else if number - next <= EARLY {
            self.forget();
            let bytes: usize = self.early.values().map(|(body, _)| body.len()).sum();
            if number == next || bytes + body.len() <= EARLY_BYTES {
                self.early.entry(number).or_insert_with(|| (body, Vec::new())).1.push(read);
            }
        }
    }

    /// Drops those for whose turn nobody waits any more: they come again.
    pub(super) fn forget(&mut self) {
        self.early.retain(|_, (_, waiting)| {
            waiting.retain(|read| !read.is_closed());
            !waiting.is_empty()
        });
    }

    /// The next POST in order, if it has come. It counts as applied after [`Posts::applied`].
    pub(super) fn ready(&mut self) -> Option<Ready> {
        self.early.remove(&self.next.load(Relaxed))
    }

    /// The last of [`Posts::ready`] was applied.
    pub(super) fn applied(&self, waiting: Vec<oneshot::Sender<()>>) {
        self.next.fetch_add(1, Relaxed);
        for read in waiting {
            // Whoever asked may have left.
            let _ = read.send(());
        }
    }
}
