//! One measured run against one fresh server.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Result, bail};

use super::scene::{Cost, Scene};
use super::shape::Shape;
use crate::drive::{Role, Swarm, Transport};

/// How long nothing may come before what is missing is given up.
const QUIET: Duration = Duration::from_secs(3);

/// When the next publish is due.
#[derive(Debug, Clone, Copy)]
pub enum Pace {
    /// So many per second.
    Rate(f64),
    /// Whenever fewer than this many are on their way. A publish is on its way until every subscriber has it.
    Flood(u64),
}

/// What every run does.
#[derive(Debug, Clone)]
pub struct Plan {
    /// Who listens and who publishes.
    pub shape: Shape,
    /// How often.
    pub pace: Pace,
    /// Bytes of a payload.
    pub size: usize,
    /// How long before the measurement.
    pub warmup: Duration,
    /// How long while measured.
    pub duration: Duration,
}

/// What a run found.
#[derive(Debug, Clone)]
pub struct Run {
    /// Server CPU per delivery, in microseconds.
    pub micros: f64,
    /// CPU of what runs beside it, per publish.
    pub beside: Cost<f64>,
    /// Deliveries per second, until the last one came.
    pub per_second: f64,
    /// Median time from publish to delivery.
    pub p50: Duration,
    /// 99 of 100 deliveries took at most this.
    pub p99: Duration,
    /// Deliveries that had to come.
    pub expected: u64,
    /// Of them, those that came.
    pub received: u64,
    /// Deliveries that came again.
    pub repeated: u64,
    /// Ids of events that came, for each delivery.
    pub ids: f64,
    /// Refusals and closed connections, with the first reason.
    pub refused: Option<String>,
}

impl Run {
    /// What is wrong with it, if anything is.
    pub fn fault(&self) -> Option<String> {
        if self.received < self.expected {
            return Some(format!("{} of {} deliveries are missing", self.expected - self.received, self.expected));
        }
        if self.repeated > 0 {
            return Some(format!("{} deliveries came twice", self.repeated));
        }
        self.refused.clone()
    }
}

/// Opens the connections of `scene`, subscribers over `transport`, warms up, then publishes for the plan's duration and waits for what is on its way.
pub fn measure(scene: &Scene, transport: Transport, plan: &Plan) -> Result<Run> {
    let speech = &scene.subject.speech;
    let mut swarm = Swarm::new(speech.clone())?;
    let channels = plan.shape.channels(speech);
    // A publisher that does nothing else is the last one.
    let (publishers, members): (Vec<_>, Vec<_>) = plan.shape.roles(&channels).into_iter().partition(|role| matches!(role, Role::Publisher));
    swarm.open(scene.subject.address, transport, members)?;
    swarm.open(scene.publishers_at(), Transport::Websocket, publishers)?;
    publish(&mut swarm, plan, &channels, plan.warmup)?;
    swarm.drain(QUIET)?;

    swarm.measure();
    let (start, before, beside) = (Instant::now(), scene.subject.cpu()?, scene.beside()?);
    publish(&mut swarm, plan, &channels, plan.duration)?;
    let last = swarm.drain(QUIET)?;
    let (cpu, beside) = (scene.subject.cpu()? - before, scene.beside()?.since(beside));

    let tally = &swarm.tally;
    if tally.delivered == 0 {
        bail!("nothing was delivered: publish for longer, or faster{}", reason(tally.refusal.as_deref()));
    }
    Ok(Run {
        micros: cpu.as_nanos() as f64 / 1_000.0 / tally.delivered as f64,
        beside: beside.per(tally.published()),
        per_second: tally.delivered as f64 / (last - start).as_secs_f64(),
        p50: tally.latency(0.5),
        p99: tally.latency(0.99),
        expected: tally.expected,
        received: tally.delivered,
        repeated: tally.repeated,
        ids: tally.ids as f64 / tally.delivered as f64,
        refused: (tally.refused + tally.closed > 0)
            .then(|| format!("{} refusals, {} connections closed{}", tally.refused, tally.closed, reason(tally.refusal.as_deref()))),
    })
}

fn reason(refusal: Option<&str>) -> String {
    refusal.map(|refusal| format!(" ({refusal})")).unwrap_or_default()
}

fn publish(swarm: &mut Swarm, plan: &Plan, channels: &[Arc<str>], duration: Duration) -> Result<()> {
    let start = Instant::now();
    for turn in 0.. {
        let Some(()) = await_turn(swarm, plan.pace, turn, start, duration)? else { return Ok(()) };
        let due = plan.shape.turn(turn);
        swarm.publish(due.link, &channels[due.room], plan.size, due.subscribers)?;
    }
    Ok(())
}

/// Polls until publish number `turn` is due; `None` if the time is over.
fn await_turn(swarm: &mut Swarm, pace: Pace, turn: u64, start: Instant, duration: Duration) -> Result<Option<()>> {
    loop {
        let elapsed = start.elapsed();
        if elapsed >= duration {
            return Ok(None);
        }
        let wait = match pace {
            Pace::Rate(rate) => Duration::from_secs_f64(turn as f64 / rate).saturating_sub(elapsed),
            Pace::Flood(limit) if swarm.tally.outstanding() < limit => Duration::ZERO,
            Pace::Flood(_) => duration - elapsed,
        };
        if wait.is_zero() {
            return Ok(Some(()));
        }
        swarm.poll(wait.min(duration - elapsed))?;
    }
}
