//! `rest`: how many requests a second the server answers on one core beside a bare handler, and how long they take.

mod bare;
mod crowd;
mod report;
mod script;

use std::{path::Path, time::Duration};

use anyhow::{Result, ensure};
use clap::Args;

use crate::{
    args::{Bench, duration},
    drive::Durability,
    subject::{Pair, Site, Subject, pin},
};
pub use bare::{BareArgs, run as run_bare};
use crowd::{Crowd, Pace, Until};
use report::{HEADER, Report, Run};
use script::{Kind, Script};

/// `rest`'s arguments.
#[derive(Debug, Args)]
pub struct RestArgs {
    /// What is asked; several, separated by commas, are measured in turn.
    #[arg(long, value_enum, value_delimiter = ',', default_value = "read,read-unchanged,write,mixed")]
    kind: Vec<Kind>,
    /// What the server runs on; several, separated by commas, are measured in turn. NATS and PostgreSQL are started, on the generator's core.
    #[arg(long, value_enum, value_delimiter = ',', default_value = "local-sqlite")]
    pair: Vec<Pair>,
    /// Connections, HTTP/1.1, kept; each has one request on its way.
    #[arg(long, default_value_t = 32, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    connections: u32,
    /// Requests a second, in all; latencies count from when a request was due. Without it: as many as are answered.
    #[arg(long, value_parser = rate)]
    rate: Option<f64>,
    /// Channels, in turn.
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u64).range(1..=100_000))]
    channels: u64,
    /// Messages in each channel before anything is measured.
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u64).range(1..=100_000))]
    messages: u64,
    /// Users, in no order.
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    users: u32,
    /// Messages of a page.
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u64).range(1..=1_000))]
    limit: u64,
    /// Bytes of a message's text.
    #[arg(long, default_value_t = 128, value_parser = size)]
    size: usize,
    /// How long each run asks while it is measured.
    #[arg(long, default_value = "5s", value_parser = duration)]
    duration: Duration,
    /// How long each run asks before it is measured.
    #[arg(long, default_value = "1s", value_parser = duration)]
    warmup: Duration,
    /// How many times the bare handler and the server are run, for each pair and kind.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..))]
    runs: u32,
    /// What is measured, and where.
    #[command(flatten)]
    bench: Bench,
}

fn rate(text: &str) -> Result<f64> {
    let rate = text.parse().ok().filter(|rate: &f64| rate.is_finite() && *rate >= 1.0);
    rate.ok_or_else(|| anyhow::anyhow!("{text:?} is not a number of requests a second, 1 or more"))
}

fn size(text: &str) -> Result<usize> {
    let size = text.parse().ok().filter(|size| (1..=32_768).contains(size));
    size.ok_or_else(|| anyhow::anyhow!("{text:?} is not a number of bytes from 1 to 32768"))
}

/// Runs the bare handler and the server in turn and prints each run, then medians and quartiles.
///
/// # Errors
/// A server does not start, or answers otherwise than it should.
pub fn run(args: &RestArgs) -> Result<()> {
    ensure!(args.bench.server_core != args.bench.generator_core, "the server and the generator need a core each");
    ensure!(args.limit <= args.messages, "a page of --limit {} needs --messages {} or more in each channel", args.limit, args.limit);
    ensure!(!args.duration.is_zero(), "--duration has to be longer than nothing");
    let binary = args.bench.server.binary()?;
    pin(args.bench.generator_core)?;
    let mut report = Report::default();
    println!("{HEADER}");
    for number in 1..=args.runs {
        for pair in &args.pair {
            measure(args, &binary, number, *pair, &mut report)?;
        }
    }
    print!("{report}");
    Ok(())
}

/// One run of each kind, on fresh processes and a fresh database.
fn measure(args: &RestArgs, binary: &Path, number: u32, pair: Pair, report: &mut Report) -> Result<()> {
    let bare = Subject::bare(args.bench.server_core, args.limit, args.size)?;
    let site = Site::start(binary, pair, Some(args.bench.generator_core))?;
    // The bounds are there, as far away as they can be: connections of one subject wait while the other is measured.
    let bounds = [("HTTP__RATE", "10000000"), ("HTTP__HEADER_TIMEOUT", "5m")];
    let hubbub = site.instance(Some(args.bench.server_core), Durability::Durable, &bounds)?;
    let tokens = (0..args.users).map(|user| site.token(&format!("loadtest-{user}"))).collect::<Result<_>>()?;
    let script = Script::new(tokens, args.channels, args.messages, args.limit, args.size)?;
    let mut at_bare = Crowd::open(bare.address, args.connections)?;
    let mut at_hubbub = Crowd::open(hubbub.address, args.connections)?;
    at_hubbub.ask(&script, Kind::Write, Pace::Full, Until::Count(args.channels * args.messages))?;
    for kind in &args.kind {
        let beside = load(args, &mut at_bare, &bare, None, &script, *kind)?;
        report.add(number, pair, *kind, beside, load(args, &mut at_hubbub, &hubbub, Some(&site), &script, *kind)?);
    }
    Ok(())
}

fn load(args: &RestArgs, crowd: &mut Crowd, subject: &Subject, site: Option<&Site>, script: &Script, kind: Kind) -> Result<Run> {
    let pace = args.rate.map_or(Pace::Full, Pace::Rate);
    crowd.ask(script, kind, pace, Until::Time(args.warmup))?;
    let services = || site.map(Site::cpu).transpose().map(Option::unwrap_or_default);
    let (before, beside) = (subject.cpu()?, services()?);
    let tally = crowd.ask(script, kind, pace, Until::Time(args.duration))?;
    Ok(Run::new(&tally, subject.cpu()? - before, services()?.since(beside).postgres))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_makes_no_sense_is_refused() {
        assert!(rate("0.5").is_err() && rate("x").is_err() && rate("inf").is_err());
        assert_eq!(rate("1000").unwrap(), 1_000.0);
        assert!(size("0").is_err() && size("40000").is_err() && size("1KiB").is_err());
        assert_eq!(size("128").unwrap(), 128);
    }
}
