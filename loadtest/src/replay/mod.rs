//! `replay`: publishes the rows of a file through the SDK and verifies that every subscriber got every acknowledged row
//! exactly once and in order.

mod audience;
mod column;
mod court;
mod pace;
mod payload;
mod progress;
mod publish;
mod record;
mod route;
mod source;
mod subscriber;
mod summary;
mod verify;

use std::{path::PathBuf, sync::Arc, time::Duration};

use anyhow::{Context as _, Result, bail, ensure};
use clap::Args;
use hubbub_client::{Builder, Client};
use hubbub_protocol::frame::Connected;

use crate::args::duration;
use audience::Audience;
use court::{Channels, Court};
use pace::{Pace, Schedule};
use progress::Progress;
use publish::{Publisher, unix_ms};
use record::Recorder;
use route::Route;
use source::Source;
use summary::Summary;

/// How long a first connection, and all subscriptions together, may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(30);
/// `replay`'s arguments.
#[derive(Debug, Args)]
pub struct ReplayArgs {
    /// The rows: .csv, .ndjson, .jsonl, .json (an array) or .geojson (`features`).
    file: PathBuf,
    /// The server. Repeated, the instances of one cluster: clients are spread over them, and go to the next one when theirs fails.
    #[arg(long, default_value = "ws://127.0.0.1:8080/v1/ws")]
    url: Vec<String>,
    /// A token that may subscribe and publish.
    #[arg(long, env = "HUBBUB_TOKEN", hide_env_values = true)]
    token: String,
    /// The column that names a row's channel; a.b is field b of field a. Without it there is one channel.
    #[arg(long)]
    channel_column: Option<String>,
    /// The beginning of every channel. Its namespace must be durable.
    #[arg(long, default_value = "room:")]
    prefix: String,
    /// The column that holds a row's key.
    #[arg(long)]
    key_column: Option<String>,
    /// Rows per second; 0: as fast as acknowledgements come.
    #[arg(long, default_value_t = 0.0, conflicts_with = "time_column")]
    rate: f64,
    /// The column with a row's time: rows follow each other as they did then.
    #[arg(long)]
    time_column: Option<String>,
    /// How many times faster than then.
    #[arg(long, default_value_t = 1.0, requires = "time_column")]
    speed: f64,
    /// At most so many rows.
    #[arg(long)]
    limit: Option<usize>,
    /// Publishes that wait for their acknowledgement at once, in all.
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u16).range(1..=4096))]
    in_flight: u16,
    /// Connections that publish, in turn.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    publishers: u32,
    /// How long the SDK retries one publish.
    #[arg(long, default_value = "60s", value_parser = duration)]
    publish_timeout: Duration,
    /// Subscribers, each of every channel.
    #[arg(long, default_value_t = 3)]
    subscribers: usize,
    /// How many of them drop their connections at random moments and come back with their cursors.
    #[arg(long, default_value_t = 1)]
    dropping: usize,
    /// The mean time between two drops of one subscriber.
    #[arg(long, default_value = "1s", value_parser = duration)]
    drop_every: Duration,
    /// Accept rows that are skipped, as long as a skip or an unrecovered resume accounts for them.
    #[arg(long)]
    allow_skips: bool,
    /// How long after the last acknowledgement every row must have arrived.
    #[arg(long, default_value = "30s", value_parser = duration)]
    settle: Duration,
    /// Write published.ndjson and subscriber-N.ndjson into this directory.
    #[arg(long)]
    record: Option<PathBuf>,
}

/// The servers of a run, and who may speak to them.
pub struct Target {
    urls: Vec<String>,
    token: String,
    publish_timeout: Duration,
}

impl Target {
    /// A new client that names itself `name`. It goes to server `home` first, counted round and round, and to the next one when that fails.
    pub fn client(&self, name: &str, home: usize) -> Client {
        let (before, after) = self.urls.split_at(home % self.urls.len());
        let builder = after[1..].iter().chain(before).fold(Client::builder(&after[0]), Builder::also_at);
        builder.token(self.token.clone()).name(format!("hubbub-loadtest {name}")).publish_timeout(self.publish_timeout).connect()
    }

    /// Waits until `client` is connected.
    ///
    /// # Errors
    /// It has ended, or is not connected after a while.
    pub async fn ready(&self, client: &Client) -> Result<Connected> {
        match tokio::time::timeout(CONNECT_TIMEOUT, client.ready()).await {
            Ok(ready) => ready.with_context(|| format!("cannot connect to {:?}", self.urls)),
            Err(_) => bail!("cannot connect to {:?}: {:?}", self.urls, client.state().borrow()),
        }
    }
}

/// Publishes, verifies, prints a summary.
///
/// # Errors
/// The file can't be read; the server can't be reached; a promise was broken, or a row was not acknowledged.
pub fn run(args: &ReplayArgs) -> Result<()> {
    ensure!(args.dropping <= args.subscribers, "--dropping is at most --subscribers");
    ensure!(args.rate >= 0.0 && args.speed > 0.0, "--rate is not negative, --speed is above 0");
    tokio::runtime::Builder::new_multi_thread().enable_all().build()?.block_on(replay(args))
}

async fn replay(args: &ReplayArgs) -> Result<()> {
    let source = Source::new(&args.file, args.limit)?;
    let route = Route { prefix: args.prefix.clone(), channel: args.channel_column.clone(), key: args.key_column.clone() };
    // A first pass: subscribers have to know every channel before the first publish.
    let (channels, rows) = survey(&source, &route)?;
    ensure!(rows > 0, "{} has no rows", args.file.display());
    let run: String = rand::random::<[u8; 8]>().iter().map(|byte| format!("{byte:02x}")).collect();
    let court = Arc::new(Court::new(run, channels, args.publishers));
    let target = Arc::new(Target { urls: args.url.clone(), token: args.token.clone(), publish_timeout: args.publish_timeout });
    let mut progress = Progress::new(rows);

    let mut audience = Audience::gather(args, &court, &target).await?;
    progress.say(&format!("{} subscribers of {} channels, {rows} rows", args.subscribers, court.channels.names().len()));
    let publisher = publisher(args, &court, &target, &route).await?;
    let outcome = tokio::select! {
        outcome = publisher.run(source.rows()?, &mut progress) => outcome?,
        error = audience.failure() => return Err(error),
    };
    audience.settle(&court, args.settle).await?;
    progress.finish();

    let forgiven = if court.stats().publishes_retried > 0 { court.violations().forgive_reordered() } else { 0 };
    let summary = Summary { court: &court, outcome: &outcome, forgiven };
    print!("{summary}");
    summary.verdict()
}

fn survey(source: &Source, route: &Route) -> Result<(Channels, u64)> {
    let (mut channels, mut rows) = (Channels::default(), 0);
    for row in source.rows()? {
        channels.add(route.channel(&row?).with_context(|| format!("row {rows}"))?);
        rows += 1;
    }
    Ok((channels, rows))
}

async fn publisher<'a>(args: &'a ReplayArgs, court: &'a Court, target: &Target, route: &'a Route) -> Result<Publisher<'a>> {
    let clients: Vec<Client> = (0..args.publishers).map(|number| target.client(&format!("publisher {number}"), number as usize)).collect();
    let mut clock_offset = 0;
    for client in &clients {
        clock_offset = target.ready(client).await?.time as i64 - unix_ms() as i64;
    }
    let pace = match (&args.time_column, args.rate) {
        (Some(_), _) => Pace::Recorded { speed: args.speed },
        (None, 0.0) => Pace::Free,
        (None, rate) => Pace::Rate(rate),
    };
    Ok(Publisher {
        court,
        clients,
        clock_offset,
        route,
        schedule: Schedule::new(pace),
        time_column: args.time_column.as_deref(),
        in_flight: args.in_flight.into(),
        recorder: Recorder::new(args.record.as_deref(), "published.ndjson")?,
    })
}
