//! Every task of an instance: spawned through one tracker, ended by one token. And whose task it is what one instance does for all.

use std::{
    future::Future,
    sync::atomic::{AtomicBool, Ordering::Relaxed},
};

use tokio_util::{sync::CancellationToken, task::TaskTracker};

/// Spawns tasks and waits for them. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Tasks {
    tracker: TaskTracker,
    token: CancellationToken,
}

impl Tasks {
    /// Runs `task` until it ends by itself; it watches [`Tasks::stopping`] if it would not.
    pub fn spawn<F>(&self, task: F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        self.tracker.spawn(task);
    }

    /// Runs `task` until it ends or the instance stops, whichever comes first.
    pub fn spawn_until_stop<F>(&self, task: F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let token = self.token.clone();
        self.tracker.spawn(async move {
            token.run_until_cancelled(task).await;
        });
    }

    /// A token that is cancelled when the instance stops.
    pub fn stopping(&self) -> &CancellationToken {
        &self.token
    }

    /// Ends the tasks, and waits for them.
    pub async fn stop(&self) {
        self.token.cancel();
        self.tracker.close();
        self.tracker.wait().await;
    }
}

/// Which instance of a cluster deletes what is old.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Chores {
    /// This one.
    Ours,
    /// Another one.
    Theirs,
}

/// Whose chores they are, as this instance knows: its own, until it is told otherwise.
#[derive(Debug)]
pub struct Duty(AtomicBool);

impl Default for Duty {
    fn default() -> Self {
        Self(AtomicBool::new(true))
    }
}

impl Duty {
    /// Tells whose they are.
    pub fn set(&self, chores: Chores) {
        self.0.store(chores == Chores::Ours, Relaxed);
    }

    /// Whether they are this instance's.
    pub fn is_ours(&self) -> bool {
        self.0.load(Relaxed)
    }
}
