//! `channels`: what very many channels cost two instances, and the NATS between them.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Result, bail, ensure};
use clap::{Args, ValueEnum};

use crate::{
    args::{Bench, duration},
    drive::{Durability, MIN_PAYLOAD, Role, Swarm, Transport},
    subject::{Beside, Pair, Site, Subject, pin},
};

/// How long nothing may come before what is missing is given up.
const QUIET: Duration = Duration::from_secs(5);

/// What an instance listens to at NATS: `broker.interest`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Interest {
    /// A subject for each channel that has subscribers there.
    Names,
    /// 256 subjects in all.
    Shards,
}

/// `channels`'s arguments.
#[derive(Debug, Args)]
pub struct ChannelsArgs {
    /// Channels, each with a subscriber on either instance.
    #[arg(long, default_value_t = 100_000, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    channels: u32,
    /// Channels at the first look at memory; what an instance needs at all is not counted for the others.
    #[arg(long, default_value_t = 1_000)]
    from: u32,
    /// What the instances listen to.
    #[arg(long, value_enum, default_value_t = Interest::Names)]
    interest: Interest,
    /// What the instances run on: one with NATS.
    #[arg(long, value_enum, default_value_t = Pair::NatsPostgres)]
    pair: Pair,
    /// Durable channels: every publish is stored.
    #[arg(long)]
    durable: bool,
    /// Subscriptions of one connection.
    #[arg(long, default_value_t = 512, value_parser = clap::value_parser!(u32).range(1..=512))]
    per_connection: u32,
    /// Publishes per second, each to the next channel.
    #[arg(long, default_value_t = 2_000.0)]
    rate: f64,
    /// Bytes of a payload.
    #[arg(long, default_value_t = 128)]
    size: usize,
    /// How long each phase is measured.
    #[arg(long, default_value = "10s", value_parser = duration)]
    duration: Duration,
    /// How long to wait before each look at memory.
    #[arg(long, default_value = "5s", value_parser = duration)]
    settle: Duration,
    /// What is measured, and where. Both instances share the server's core.
    #[command(flatten)]
    bench: Bench,
}

/// Two instances, and a connection to the first that publishes.
struct Stand {
    swarm: Swarm,
    instances: [Subject; 2],
    site: Site,
}

/// A look at everything: memory in KiB, CPU since the start.
struct Look {
    memory: [u64; 3],
    cpu: [Duration; 2],
    beside: Beside,
    at: Instant,
}

/// Measures memory and subscribing, then publishes.
///
/// # Errors
/// An instance does not start or refuses something; a delivery is missing or came twice.
pub fn run(args: &ChannelsArgs) -> Result<()> {
    ensure!(args.pair.has_nats(), "two instances need a pair with NATS");
    ensure!(args.from < args.channels, "--from is less than --channels");
    ensure!(args.size >= MIN_PAYLOAD, "a payload has at least {MIN_PAYLOAD} bytes: a marker, a number and a time");
    let binary = args.bench.server.binary()?;
    pin(args.bench.generator_core)?;
    let durability = if args.durable { Durability::Durable } else { Durability::Ephemeral };
    let interest = if args.interest == Interest::Names { "names" } else { "shards" };
    let site = Site::start(&binary, args.pair, Some(args.bench.generator_core))?;
    let instance = || site.instance(Some(args.bench.server_core), durability, &[("BROKER__INTEREST", interest)]);
    let instances = [instance()?, instance()?];
    let mut swarm = Swarm::new(instances[0].speech.clone())?;
    swarm.open(instances[0].address, Transport::Websocket, [Role::Publisher])?;
    let mut stand = Stand { swarm, instances, site };
    println!(
        "{} channels, a subscriber on each of two instances; {}, {}, interest {interest}\n",
        args.channels,
        args.pair,
        durability.namespace()
    );
    stand.subscribe(args)?;
    println!("\nCPU                    publishes   publisher us   receiver us      nats us   postgres us");
    stand.publish("nothing (us/s)", args, None)?;
    stand.publish("heard (us/publish)", args, Some(Audience::Both))?;
    stand.publish("unheard (us/publish)", args, Some(Audience::Nobody))
}

/// Who listens to what is published.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Audience {
    /// A subscriber on either instance.
    Both,
    /// No subscriber anywhere.
    Nobody,
}

impl Stand {
    fn look(&self) -> Result<Look> {
        let [first, second] = &self.instances;
        Ok(Look {
            memory: [first.memory()?, second.memory()?, self.site.nats_memory()?],
            cpu: [first.cpu()?, second.cpu()?],
            beside: self.site.cpu()?,
            at: Instant::now(),
        })
    }

    fn subscribe(&mut self, args: &ChannelsArgs) -> Result<()> {
        self.open(0..args.from, args)?;
        self.swarm.settle(args.settle)?;
        let (first, start) = (self.look()?, Instant::now());
        self.open(args.from..args.channels, args)?;
        let (time, opened) = (start.elapsed(), f64::from(args.channels - args.from));
        self.swarm.settle(args.settle)?;
        let second = self.look()?;
        println!("memory      PSS from KiB     PSS to KiB    KiB/channel");
        for (at, name) in ["publisher", "receiver", "nats"].into_iter().enumerate() {
            let (from, to) = (first.memory[at], second.memory[at]);
            println!("{name:<10} {from:>13} {to:>14} {:>14.3}", (to as f64 - from as f64) / opened);
        }
        // Waiting costs so little that it may be counted too.
        let micros = |time: Duration| time.as_secs_f64() * 1e6 / opened;
        println!(
            "\nsubscribed {opened} channels on both in {:.2} s; CPU a channel: publisher {:.1} us, receiver {:.1} us, nats {:.1} us for both",
            time.as_secs_f64(),
            micros(second.cpu[0] - first.cpu[0]),
            micros(second.cpu[1] - first.cpu[1]),
            micros(second.beside.since(first.beside).nats)
        );
        println!("subjects at NATS, each: {}", self.instances[1].metrics()?.get("hubbub_broker_subjects").copied().unwrap_or_default());
        Ok(())
    }

    fn open(&mut self, channels: std::ops::Range<u32>, args: &ChannelsArgs) -> Result<()> {
        let speech = &self.instances[0].speech;
        let names: Vec<Arc<str>> = channels.map(|index| speech.channel(index as usize).into()).collect();
        let roles: Vec<_> = names.chunks(args.per_connection as usize).map(|some| Role::Listener(some.into())).collect();
        for instance in &self.instances {
            self.swarm.open(instance.address, Transport::Websocket, roles.iter().cloned())?;
        }
        Ok(())
    }

    /// Publishes for a while to an audience, or only waits, and prints a line.
    fn publish(&mut self, name: &str, args: &ChannelsArgs, audience: Option<Audience>) -> Result<()> {
        let speech = self.instances[0].speech.clone();
        self.swarm.measure();
        let before = self.look()?;
        while let Some(left) = args.duration.checked_sub(before.at.elapsed()) {
            let turn = self.swarm.tally.published();
            let due = Duration::from_secs_f64(turn as f64 / args.rate).saturating_sub(before.at.elapsed());
            match audience {
                Some(audience) if due.is_zero() => {
                    let (room, subscribers) = match audience {
                        Audience::Both => (turn % u64::from(args.channels), 2),
                        Audience::Nobody => (u64::from(args.channels) + turn, 0),
                    };
                    self.swarm.publish(0, &speech.channel(room as usize), args.size, subscribers)?;
                }
                Some(_) => self.swarm.poll(due.min(left))?,
                None => self.swarm.poll(left)?,
            }
        }
        self.swarm.drain(QUIET)?;
        let after = self.look()?;
        let published = self.swarm.tally.published();
        let each = if audience.is_some() { published as f64 } else { (after.at - before.at).as_secs_f64() };
        let micros = |time: Duration| time.as_secs_f64() * 1e6 / each;
        let beside = after.beside.since(before.beside);
        println!(
            "{name:<20} {published:>11} {:>14.1} {:>13.1} {:>12.1} {:>13.1}",
            micros(after.cpu[0] - before.cpu[0]),
            micros(after.cpu[1] - before.cpu[1]),
            micros(beside.nats),
            micros(beside.postgres)
        );
        let tally = &self.swarm.tally;
        ensure!(tally.missing() == 0, "{} of {} deliveries are missing", tally.missing(), tally.expected);
        ensure!(tally.repeated == 0, "{} deliveries came twice", tally.repeated);
        match &tally.refusal {
            Some(refusal) => bail!("{} refusals, the first one: {refusal}", tally.refused),
            None => Ok(()),
        }
    }
}
