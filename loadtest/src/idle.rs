//! `idle`: what a connection costs that only waits, in memory and in the CPU time to open it.

use std::{sync::Arc, time::Duration};

use anyhow::{Result, ensure};
use clap::Args;

use crate::{
    args::{Bench, duration},
    drive::{Durability, Role, Swarm, Transport},
    subject::{Pair, Site, Subject, pin},
};

/// `idle`'s arguments.
#[derive(Debug, Args)]
pub struct IdleArgs {
    /// Connections at the first look; what a server needs at all is not counted for them.
    #[arg(long, default_value_t = 1_000)]
    from: u32,
    /// Connections at the second look.
    #[arg(long, default_value_t = 15_000)]
    to: u32,
    /// Subscribers of one channel; without it all share one.
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..))]
    rooms_of: Option<u32>,
    /// How long to wait before each look, so that the server can give back what it needed for opening.
    #[arg(long, default_value = "3s", value_parser = duration)]
    settle: Duration,
    /// What the connections run over, one after the other: a server each.
    #[arg(long, value_enum, value_delimiter = ',', default_value = "websocket")]
    transport: Vec<Transport>,
    /// What is measured, and where.
    #[command(flatten)]
    bench: Bench,
    /// Measure the floor alone.
    #[arg(long, conflicts_with = "server_bin")]
    floor_only: bool,
}

/// Measures the floor, then the server over each transport, and prints a line for each.
///
/// # Errors
/// A server does not start, refuses a connection, or ends one.
pub fn run(args: &IdleArgs) -> Result<()> {
    ensure!(args.from < args.to, "--from is less than --to");
    let binary = if args.floor_only { None } else { Some(args.bench.server.binary()?) };
    pin(args.bench.generator_core)?;
    println!("server        connections   PSS from KiB     PSS to KiB   KiB/connection   us/connect+subscribe");
    look("floor", &Subject::floor(args.bench.server_core)?, Transport::Websocket, args)?;
    for (transport, binary) in args.transport.iter().zip(binary.iter().cycle()) {
        let site = Site::start(binary, Pair::LocalSqlite, None)?;
        look(transport.name(), &site.instance(Some(args.bench.server_core), Durability::Ephemeral, &[])?, *transport, args)?;
    }
    Ok(())
}

fn look(name: &str, subject: &Subject, transport: Transport, args: &IdleArgs) -> Result<()> {
    let mut swarm = Swarm::new(subject.speech.clone())?;
    let role = |index: u32| Role::Member(Arc::from(subject.speech.channel(args.rooms_of.map_or(0, |size| index / size) as usize)));
    swarm.open(subject.address, transport, (0..args.from).map(role))?;
    swarm.settle(args.settle)?;
    let first = subject.memory()?;

    let before = subject.cpu()?;
    swarm.open(subject.address, transport, (args.from..args.to).map(role))?;
    let cpu = subject.cpu()? - before;
    swarm.settle(args.settle)?;
    let second = subject.memory()?;

    let opened = f64::from(args.to - args.from);
    println!(
        "{name:<11} {:>13} {first:>14} {second:>14} {:>16.2} {:>22.1}",
        args.to,
        (second as f64 - first as f64) / opened,
        cpu.as_secs_f64() * 1e6 / opened
    );
    Ok(())
}
