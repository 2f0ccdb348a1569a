//! The task that owns presence on this instance: it hands [`Core`] what happens, and does what comes out.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::Duration,
};

use bytes::Bytes;
use hubbub_protocol::ChannelName;
use tokio::{
    sync::{mpsc, oneshot},
    time::{Instant, sleep_until},
};

use super::{
    Alive,
    core::{Core, Output, Target},
    locals::Locals,
    view::Question,
    watchers::Seen,
};
use crate::{
    broker::{Broker, Plane, To},
    hub::{Outbox, Subscription},
    tasks::Tasks,
    telemetry::Metrics,
    world::Clock,
};

/// Commands that may wait. What comes from other instances is dropped beyond, and asked for.
pub(super) const COMMANDS: usize = 4_096;
/// Commands taken before anything else has its turn.
const TAKEN: usize = 256;
/// Between two looks at what is due, while something is.
const TICK: Duration = Duration::from_millis(50);
/// Between two looks otherwise.
const QUIET: Duration = Duration::from_secs(1);
/// Sockets written before others of this core have their turn.
const WRITES: usize = 256;

/// What the owner is told.
#[derive(Debug)]
pub(super) enum Command {
    Ask { channel: ChannelName, question: Question },
    Watch { subscription: Arc<Subscription>, seen: Seen },
    Listening(ChannelName),
    Arrived(Bytes),
    Instances(Vec<Alive>),
    Bye(oneshot::Sender<()>),
}

/// The owner.
pub(super) struct Owner {
    pub(super) core: Core,
    pub(super) locals: Arc<Locals>,
    pub(super) broker: Broker,
    pub(super) tasks: Tasks,
    pub(super) metrics: Arc<Metrics>,
    pub(super) clock: Clock,
    /// Something that another instance sent may have been lost.
    pub(super) doubt: Arc<AtomicBool>,
    pub(super) commands: mpsc::WeakSender<Command>,
}

impl Owner {
    /// Runs until nobody can tell it anything.
    pub(super) async fn run(mut self, mut commands: mpsc::Receiver<Command>) {
        let mut taken = Vec::with_capacity(TAKEN);
        let mut next = Instant::now();
        loop {
            tokio::select! {
                biased;
                () = sleep_until(next) => {
                    self.tick();
                    next = Instant::now() + if self.core.is_quiet() { QUIET } else { TICK };
                }
                count = commands.recv_many(&mut taken, TAKEN) => {
                    if count == 0 {
                        return;
                    }
                    taken.drain(..).for_each(|command| self.take(command));
                    self.core.speak();
                    next = next.min(Instant::now() + TICK);
                }
                () = self.locals.stirred() => next = next.min(Instant::now() + TICK),
            }
            self.carry_out();
            self.flush().await;
        }
    }

    fn tick(&mut self) {
        let now = self.clock.elapsed();
        if self.doubt.swap(false, Relaxed) {
            self.core.doubt(now);
        }
        self.core.tick(now);
        self.metrics.presence_views.set(self.core.views() as f64);
    }

    fn take(&mut self, command: Command) {
        let now = self.clock.elapsed();
        match command {
            Command::Ask { channel, question } => self.core.ask(&channel, question, now),
            Command::Watch { subscription, seen } => self.core.watch(subscription, seen, now),
            Command::Listening(channel) => self.core.listening(&channel, now),
            Command::Arrived(bytes) => {
                self.metrics.presence_received.increment(1);
                if let Err(error) = self.core.arrived(&bytes, now) {
                    self.metrics.presence_refused.increment(1);
                    tracing::debug!(%error, "a message of another instance was dropped");
                }
            }
            Command::Instances(list) => self.core.instances(&list, now),
            Command::Bye(done) => {
                self.core.bye();
                self.carry_out();
                let _ = done.send(());
            }
        }
    }

    fn carry_out(&mut self) {
        for output in self.core.outputs() {
            match output {
                Output::Send(target, body) => {
                    self.metrics.presence_sent.increment(1);
                    self.metrics.presence_sent_bytes.increment(body.len() as u64);
                    let to = match &target {
                        Target::Channel(channel) => To::Presence(channel),
                        Target::Instance(id) => To::Instance(id),
                        Target::Everybody => To::Everybody,
                    };
                    self.broker.send(to, body);
                }
                Output::Listen(channel) => {
                    let (broker, commands) = (self.broker.clone(), self.commands.clone());
                    self.tasks.spawn_until_stop(async move {
                        broker.listen(Plane::Presence, &channel).await;
                        if let Some(commands) = commands.upgrade() {
                            let _ = commands.send(Command::Listening(channel)).await;
                        }
                    });
                }
                Output::Unlisten(channel) => self.broker.unlisten(Plane::Presence, &channel),
            }
        }
    }

    /// Writes the sockets that frames were put into.
    async fn flush(&mut self) {
        let touched: Vec<Arc<Outbox>> = self.core.touched();
        for some in touched.chunks(WRITES) {
            some.iter().for_each(|outbox| outbox.flush());
            tokio::task::yield_now().await;
        }
    }
}
