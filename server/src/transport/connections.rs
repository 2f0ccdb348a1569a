//! Every open connection of this instance, and the sweep that notices what no byte tells: a client that does not say who it is, a token
//! whose time is over, a peer that is gone. One sweep for all: no connection holds a timer.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use dashmap::DashMap;
use foldhash::quality::FixedState;
use hubbub_protocol::CloseCode;

use crate::{
    config::Config,
    hub::Outbox,
    session::Vitals,
    telemetry::{Ended, Metrics, Transport},
    world::World,
};

/// Between two sweeps, at most and at least: a quarter of the shorter of heartbeat and grace, so that a peer has its grace.
const SWEEP: [Duration; 2] = [Duration::from_millis(500), Duration::from_millis(5)];
/// How long a goodbye may take to leave and to be answered.
const GOODBYE_MS: u64 = 5_000;

/// One open connection.
#[derive(Debug)]
pub struct Connection {
    /// What waits to leave.
    pub outbox: Arc<Outbox>,
    /// Whether it lives.
    pub vitals: Arc<Vitals>,
    /// How it reaches its peer.
    pub transport: Transport,
}

/// All of them.
#[derive(Debug)]
pub struct Connections {
    open: DashMap<u64, Connection, FixedState>,
    next: AtomicU64,
    config: Arc<Config>,
    metrics: Arc<Metrics>,
    world: World,
}

impl Connections {
    /// None.
    pub fn new(config: Arc<Config>, metrics: Arc<Metrics>, world: World) -> Arc<Self> {
        let open = DashMap::with_hasher(FixedState::with_seed(world.chance.seed()));
        Arc::new(Self { open, next: AtomicU64::new(0), config, metrics, world })
    }

    /// Adds a connection; its number takes it off again.
    pub fn add(&self, connection: Connection) -> u64 {
        let number = self.next.fetch_add(1, Relaxed);
        self.metrics.connections.increment(1.0);
        self.metrics.connections_opened.of(connection.transport).increment(1);
        self.open.insert(number, connection);
        number
    }

    /// The connection is over.
    pub fn remove(&self, number: u64, ended: Ended) {
        if self.open.remove(&number).is_some() {
            self.metrics.connections.decrement(1.0);
            self.metrics.connections_closed.of(ended).increment(1);
        }
    }

    /// How many are open.
    pub fn len(&self) -> usize {
        self.open.len()
    }

    /// Whether none is open.
    pub fn is_empty(&self) -> bool {
        self.open.is_empty()
    }

    /// Ends whatever is still open.
    pub fn abort(&self) {
        for entry in &self.open {
            entry.outbox.abort(Some(CloseCode::Draining));
        }
    }

    /// Sweeps until it is dropped.
    pub async fn sweep(self: Arc<Self>) {
        let session = &self.config.session;
        let mut ticks = tokio::time::interval((session.heartbeat.min(session.grace) / 4).clamp(SWEEP[1], SWEEP[0]));
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            let now = self.world.clock.elapsed();
            let mut unauthenticated = 0;
            for entry in &self.open {
                unauthenticated += usize::from(entry.vitals.expires_at().is_none());
                self.look(&entry, now);
            }
            self.metrics.sessions_unauthenticated.set(unauthenticated as f64);
        }
    }

    fn look(&self, Connection { outbox, vitals, .. }: &Connection, now: u64) {
        let session = &self.config.session;
        let heartbeat = session.heartbeat.as_millis() as u64;
        if outbox.is_closing() {
            if vitals.closing_for(now) >= GOODBYE_MS {
                outbox.abort(None);
            }
            return;
        }
        let grace = session.grace.as_millis() as u64;
        if vitals.stalled_for(now, outbox.is_stalled()) >= grace {
            return outbox.give_up();
        }
        match vitals.expires_at() {
            None if vitals.opened() + session.connect_timeout.as_millis() as u64 <= now => outbox.close(CloseCode::ConnectTimeout, None),
            None => {}
            Some(expiry) if expiry <= self.world.clock.now() => outbox.close(CloseCode::TokenExpired, None),
            Some(_) if vitals.heard() + heartbeat + grace <= now => {
                outbox.close(CloseCode::PeerGone, None);
                // Whoever does not hear will not answer.
                outbox.abort(Some(CloseCode::PeerGone));
            }
            Some(_) if vitals.beat(now, heartbeat) => outbox.beat(),
            Some(_) => {}
        }
    }

    /// Says goodbye to everybody over `notice`, so that they do not come back all at once; a few are told at once.
    pub async fn drain(&self, notice: Duration) {
        let numbers: Vec<u64> = self.open.iter().map(|entry| *entry.key()).collect();
        // A thousand connections take the whole notice.
        let span = notice.mul_f64((numbers.len() as f64 / 1_000.0).min(1.0));
        let steps = (span.as_millis() / 50).max(1) as usize;
        for step in numbers.chunks(numbers.len().div_ceil(steps).max(1)) {
            for number in step {
                if let Some(connection) = self.open.get(number) {
                    let pause = self.world.chance.below(span.as_millis() as u64 + 100);
                    connection.outbox.retire(pause);
                }
            }
            if steps > 1 {
                tokio::time::sleep(span / steps as u32).await;
            }
        }
    }
}
