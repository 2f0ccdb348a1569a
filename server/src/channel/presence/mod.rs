//! Who is there: the members of channels in namespaces with presence, over all instances.
//!
//! A member is a user with subscriptions, counted. Each instance knows its own (`locals.rs`) and tells the others what changed, several
//! times a second and only where somebody watches; an instance on which somebody wants to see a channel keeps a view of it: what each
//! living instance told, merged. Nothing here is stored: that an instance lives is for the app to tell, from its lease.
//! Sessions and REST come through [`Channels`](super::Channels) (`query.rs`).

mod core;
mod locals;
mod message;
mod owner;
mod peer;
mod query;
mod roll;
#[cfg(test)]
mod tests;
mod view;
mod watchers;

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering::Relaxed},
};

use bytes::Bytes;
use hubbub_protocol::{ChannelName, frame::PresenceState};
use tokio::sync::{mpsc, oneshot};

use crate::{broker::Broker, hub::Subscription, tasks::Tasks, telemetry::Metrics, world::World};
use core::Core;
use locals::Locals;
use owner::{COMMANDS, Command, Owner};
use view::Question;
use watchers::Seen;

pub use locals::Place;
pub use query::{Attendance, Wish};

/// An instance, according to its lease.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Alive {
    /// Its id.
    pub id: String,
    /// Rises whenever it has lost its lease.
    pub generation: i64,
    /// For how many milliseconds the lease is still good: dead if negative.
    pub left_ms: i64,
}

/// A handle on this instance's presence. One an instance.
#[derive(Debug)]
pub struct Presence {
    locals: Arc<Locals>,
    commands: mpsc::Sender<Command>,
    doubt: Arc<AtomicBool>,
    metrics: Arc<Metrics>,
}

impl Presence {
    /// Starts the owner. `instance` is this instance's id, the one that it has in the lists of [`Presence::instances`].
    pub fn start(instance: &str, broker: Broker, metrics: Arc<Metrics>, world: &World, tasks: &Tasks) -> Self {
        let locals = Locals::new(world.chance.seed(), metrics.presence_members.clone());
        let (commands, queue) = mpsc::channel(COMMANDS);
        let doubt = Arc::new(AtomicBool::new(false));
        let owner = Owner {
            core: Core::new(instance.into(), broker.is_clustered(), locals.clone()),
            locals: locals.clone(),
            broker,
            tasks: tasks.clone(),
            metrics: metrics.clone(),
            clock: world.clock.clone(),
            doubt: doubt.clone(),
            commands: commands.downgrade(),
        };
        tasks.spawn_until_stop(owner.run(queue));
        Self { locals, commands, doubt, metrics }
    }

    /// What another instance sent. Dropped, counted and asked for again if too much waits.
    pub fn arrived(&self, bytes: Bytes) {
        if self.commands.try_send(Command::Arrived(bytes)).is_err() {
            self.metrics.presence_refused.increment(1);
            self.doubt();
        }
    }

    /// Something that others sent may have been lost: they are asked again, within about a second.
    pub fn doubt(&self) {
        self.doubt.store(true, Relaxed);
    }

    /// Which instances there are, this one among them: to be called about every second, and not at all while nobody can tell. Members of
    /// an instance that is not in the list, or whose lease has run out, leave.
    pub fn instances(&self, list: Vec<Alive>) {
        if self.commands.try_send(Command::Instances(list)).is_err() {
            tracing::debug!("presence is busy; the next list of instances will do");
        }
    }

    /// This instance stops: the others take its members out, and nothing more is told them. Returns when the message is on its way.
    pub async fn bye(&self) {
        let (done, wait) = oneshot::channel();
        if self.commands.send(Command::Bye(done)).await.is_ok() {
            // Without an answer the tasks have been stopped.
            let _ = wait.await;
        }
    }

    /// One more subscription of `user`, until the place is dropped.
    fn enter(&self, channel: &ChannelName, user: &Arc<str>) -> Place {
        self.locals.enter(channel, user)
    }

    /// The members for a subscriber's reply, `user` among them; `None` if there is no room for another view.
    async fn state(&self, channel: &ChannelName, user: Arc<str>) -> Option<(PresenceState, Seen)> {
        let (reply, state) = oneshot::channel();
        self.ask(channel, Question::State { user, reply }).await;
        state.await.ok()
    }

    async fn ask(&self, channel: &ChannelName, question: Question) {
        let _ = self.commands.send(Command::Ask { channel: channel.clone(), question }).await;
    }

    /// The subscription's reply has been sent, and said what was `seen`: now it is told what changes.
    async fn watch(&self, subscription: Arc<Subscription>, seen: Seen) {
        let _ = self.commands.send(Command::Watch { subscription, seen }).await;
    }
}
