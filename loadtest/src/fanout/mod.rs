//! `fanout`: what one delivery costs the server, beside the floor, in alternating pairs.

mod report;
mod run;
mod scene;
mod shape;

use std::{path::Path, time::Duration};

use anyhow::{Result, bail, ensure};
use clap::Args;

use crate::{
    args::{Bench, duration},
    drive::{Durability, MIN_PAYLOAD, Transport},
    subject::{Pair, Site, Subject, pin},
};
use report::Report;
use run::{Pace, Plan, measure};
use scene::Scene;
use shape::Shape;

/// `fanout`'s arguments.
#[derive(Debug, Args)]
pub struct FanoutArgs {
    /// Connections that receive.
    #[arg(long, default_value_t = 1_000, value_parser = clap::value_parser!(u32).range(1..=19_000))]
    subscribers: u32,
    /// Publishes per second, in all.
    #[arg(long, default_value_t = 20.0)]
    rate: f64,
    /// Instead of a rate: publish whenever fewer than this many publishes are on their way.
    #[arg(long, conflicts_with = "rate", value_parser = clap::value_parser!(u64).range(1..))]
    flood: Option<u64>,
    /// The chat shape: rooms of so many members, who publish in turn. Without it all listen to one channel.
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..))]
    rooms_of: Option<u32>,
    /// Bytes of a payload.
    #[arg(long, default_value_t = 128)]
    size: usize,
    /// How long each run publishes while it is measured.
    #[arg(long, default_value = "10s", value_parser = duration)]
    duration: Duration,
    /// How long each run publishes before it is measured.
    #[arg(long, default_value = "1s", value_parser = duration)]
    warmup: Duration,
    /// How many times the floor and the server are run, over each transport.
    #[arg(long, default_value_t = 7, value_parser = clap::value_parser!(u32).range(1..))]
    pairs: u32,
    /// Publish into durable channels: every publish is stored and acknowledged.
    #[arg(long)]
    durable: bool,
    /// What subscribers connect over, each in turn with the floor. Publishers are on WebSockets, and so are members of rooms.
    #[arg(long, value_enum, value_delimiter = ',', default_value = "websocket")]
    transport: Vec<Transport>,
    /// What the server runs on. NATS and PostgreSQL are started, on the generator's core.
    #[arg(long, value_enum, default_value_t = Pair::LocalSqlite)]
    pair: Pair,
    /// Two instances: the publisher is at one, which shares the generator's core; all subscribers are at the other, which is measured.
    #[arg(long, conflicts_with = "rooms_of")]
    across: bool,
    /// What is measured, and where.
    #[command(flatten)]
    bench: Bench,
    /// Measure the floor alone.
    #[arg(long, conflicts_with_all = ["server_bin", "durable", "pair", "across", "transport"])]
    floor_only: bool,
}

/// Runs the pairs and prints each, then medians and quartiles.
///
/// # Errors
/// A server does not start or refuses something; a delivery of the server under test is missing or came twice.
pub fn run(args: &FanoutArgs) -> Result<()> {
    ensure!(args.size >= MIN_PAYLOAD, "a payload has at least {MIN_PAYLOAD} bytes: a marker, a number and a time");
    ensure!(args.bench.server_core != args.bench.generator_core, "the server and the generator need a core each");
    let binary = if args.floor_only { None } else { Some(args.bench.server.binary()?) };
    ensure!(!args.across || args.pair.has_nats(), "--across needs a pair with NATS: one instance alone has nobody to publish from");
    let sockets = args.transport.iter().all(|transport| *transport == Transport::Websocket);
    ensure!(sockets || args.rooms_of.is_none(), "the members of rooms publish, and that takes WebSockets: --transport websocket");
    let durability = if args.durable { Durability::Durable } else { Durability::Ephemeral };
    let plan = Plan {
        shape: Shape::new(args.subscribers, args.rooms_of),
        pace: args.flood.map_or(Pace::Rate(args.rate), Pace::Flood),
        size: args.size,
        warmup: args.warmup,
        duration: args.duration,
    };
    pin(args.bench.generator_core)?;
    let mut report = Report::default();
    println!("{}", report::HEADER);
    for pair in 1..=args.pairs {
        for transport in &args.transport {
            report.add_floor(pair, measure(&Scene::alone(Subject::floor(args.bench.server_core)?), Transport::Websocket, &plan)?);
            if let Some(binary) = &binary {
                report.add(pair, *transport, measure(&scene(args, binary, durability)?, *transport, &plan)?);
            }
        }
    }
    print!("{report}");
    match report.fault() {
        Some(fault) => bail!("{fault}"),
        None => Ok(()),
    }
}

fn scene(args: &FanoutArgs, binary: &Path, durability: Durability) -> Result<Scene> {
    let site = Site::start(binary, args.pair, Some(args.bench.generator_core))?;
    let subject = site.instance(Some(args.bench.server_core), durability, &[])?;
    let publisher = args.across.then(|| site.instance(Some(args.bench.generator_core), durability, &[])).transpose()?;
    Ok(Scene { subject, publisher, site: Some(site) })
}
