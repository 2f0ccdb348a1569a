//! `publish`: how many durable publishes a second the server takes on one core, and what each costs.

use std::{
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Result, bail, ensure};
use clap::Args;

use crate::{
    args::{Bench, duration},
    drive::{Durability, MIN_PAYLOAD, Role, Swarm, Transport},
    stats::Quartiles,
    subject::{Pair, Site, pin},
};

/// How long nothing may be acknowledged before the rest is given up.
const QUIET: Duration = Duration::from_secs(5);

/// `publish`'s arguments.
#[derive(Debug, Args)]
pub struct PublishArgs {
    /// What the server runs on; several, separated by commas, are measured in turn. NATS and PostgreSQL are started, on the generator's core.
    #[arg(long, value_enum, value_delimiter = ',', default_value = "local-sqlite")]
    pair: Vec<Pair>,
    /// Channels, published to in turn.
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u64).range(1..))]
    channels: u64,
    /// Publishes that are on their way, in all.
    #[arg(long, default_value_t = 256, value_parser = clap::value_parser!(u64).range(1..))]
    in_flight: u64,
    /// Connections that publish, in turn.
    #[arg(long, default_value_t = 256, value_parser = clap::value_parser!(u64).range(1..=19_000))]
    connections: u64,
    /// Bytes of a payload.
    #[arg(long, visible_alias = "payload", default_value_t = 128)]
    size: usize,
    /// How long each run publishes while it is measured.
    #[arg(long, default_value = "10s", value_parser = duration)]
    duration: Duration,
    /// How long each run publishes before it is measured.
    #[arg(long, default_value = "2s", value_parser = duration)]
    warmup: Duration,
    /// How many times each pair is run.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..))]
    runs: u32,
    /// What is measured, and where.
    #[command(flatten)]
    bench: Bench,
}

/// What a run found. CPU in microseconds per publish.
struct Run {
    per_second: f64,
    server: f64,
    nats: f64,
    postgres: f64,
    /// The share of its core that the server used.
    busy: f64,
}

/// Runs the pairs in turn and prints each run, then medians and quartiles.
///
/// # Errors
/// A server does not start, refuses a publish or does not acknowledge it.
pub fn run(args: &PublishArgs) -> Result<()> {
    ensure!(args.size >= MIN_PAYLOAD, "a payload has at least {MIN_PAYLOAD} bytes: a marker, a number and a time");
    ensure!(args.bench.server_core != args.bench.generator_core, "the server and the generator need a core each");
    let binary = args.bench.server.binary()?;
    pin(args.bench.generator_core)?;
    println!("run  pair             publishes/s  server busy  server us/publish  nats us/publish  postgres us/publish");
    let mut runs: Vec<Vec<Run>> = args.pair.iter().map(|_| Vec::new()).collect();
    for number in 1..=args.runs {
        for (pair, runs) in args.pair.iter().zip(&mut runs) {
            let run = measure(args, &binary, *pair)?;
            println!(
                "{number:>3}  {:<15} {:>12.0} {:>11.0}% {:>18.1} {:>16.1} {:>20.1}",
                pair.to_string(),
                run.per_second,
                run.busy * 100.0,
                run.server,
                run.nats,
                run.postgres
            );
            runs.push(run);
        }
    }
    println!("\nmedian [quartiles]");
    for (pair, runs) in args.pair.iter().zip(&runs) {
        let row = |name: &str, value: fn(&Run) -> f64| {
            if let Some(quartiles) = Quartiles::of(runs.iter().map(value)).filter(|quartiles| quartiles.high > 0.0) {
                println!("{:<16} {name:<20} {quartiles}", pair.to_string());
            }
        };
        row("publishes/s", |run| run.per_second);
        row("server us/publish", |run| run.server);
        row("nats us/publish", |run| run.nats);
        row("postgres us/publish", |run| run.postgres);
    }
    Ok(())
}

fn measure(args: &PublishArgs, binary: &Path, pair: Pair) -> Result<Run> {
    let site = Site::start(binary, pair, Some(args.bench.generator_core))?;
    let subject = site.instance(Some(args.bench.server_core), Durability::Durable, &[])?;
    let mut swarm = Swarm::new(subject.speech.clone())?;
    let channels: Vec<Arc<str>> = (0..args.channels as usize).map(|index| subject.speech.channel(index).into()).collect();
    swarm.open(subject.address, Transport::Websocket, (0..args.connections).map(|_| Role::Publisher))?;
    publish(&mut swarm, args, &channels, args.warmup)?;

    swarm.measure();
    let (start, before, beside) = (Instant::now(), subject.cpu()?, site.cpu()?);
    publish(&mut swarm, args, &channels, args.duration)?;
    let (time, cpu, beside) = (start.elapsed().as_secs_f64(), subject.cpu()? - before, site.cpu()?.since(beside));

    let publishes = swarm.tally.acknowledged as f64;
    let micros = |time: Duration| time.as_secs_f64() * 1e6 / publishes;
    Ok(Run {
        per_second: publishes / time,
        server: micros(cpu),
        nats: micros(beside.nats),
        postgres: micros(beside.postgres),
        busy: cpu.as_secs_f64() / time,
    })
}

/// Keeps so many on their way for `duration`, then awaits the rest.
fn publish(swarm: &mut Swarm, args: &PublishArgs, channels: &[Arc<str>], duration: Duration) -> Result<()> {
    let start = Instant::now();
    let mut last = (0, start);
    while start.elapsed() < duration || on_their_way(swarm) > 0 {
        while start.elapsed() < duration && on_their_way(swarm) < args.in_flight {
            let turn = swarm.tally.published();
            swarm.publish((turn % args.connections) as usize, &channels[(turn % args.channels) as usize], args.size, 0)?;
        }
        swarm.poll(Duration::from_millis(10))?;
        if let Some(refusal) = &swarm.tally.refusal {
            bail!("the server refused a publish: {refusal}");
        }
        ensure!(swarm.tally.closed == 0, "the server closed {} connections", swarm.tally.closed);
        if swarm.tally.acknowledged != last.0 {
            last = (swarm.tally.acknowledged, Instant::now());
        }
        ensure!(last.1.elapsed() < QUIET, "{} publishes were never acknowledged", on_their_way(swarm));
    }
    Ok(())
}

fn on_their_way(swarm: &Swarm) -> u64 {
    swarm.tally.published() - swarm.tally.acknowledged
}
