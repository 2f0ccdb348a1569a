//! The publishing side of a run: rows in order, so many on their way at once.

use std::{
    pin::pin,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use anyhow::{Context as _, Result};
use futures_util::{StreamExt as _, stream::FuturesUnordered};
use hdrhistogram::Histogram;
use hubbub_client::{Client, Error, Message};
use hubbub_protocol::{ChannelName, Cursor, MessageId, frame::Published};
use serde_json::Value;

use super::{
    column,
    court::Court,
    pace::Schedule,
    payload,
    progress::Progress,
    record::{PublishedLine, Recorder},
    route::Route,
    source::Rows,
    verify::Ticket,
};

/// What publishes.
pub struct Publisher<'a> {
    /// The run.
    pub court: &'a Court,
    /// They take rows in turn.
    pub clients: Vec<Client>,
    /// The server's clock minus this machine's, in milliseconds.
    pub clock_offset: i64,
    /// Where rows go.
    pub route: &'a Route,
    /// When rows are due.
    pub schedule: Schedule,
    /// The column with a row's own time.
    pub time_column: Option<&'a str>,
    /// How many publishes wait for their answer at once, in all.
    pub in_flight: usize,
    /// `published.ndjson`.
    pub recorder: Recorder,
}

/// What came of it.
#[derive(Debug)]
pub struct Outcome {
    /// Rows that were sent.
    pub rows: u64,
    /// Rows that the server acknowledged.
    pub acked: u64,
    /// Of them, those whose retry was answered by the first answer.
    pub duplicates: u64,
    /// Rows that the SDK gave up.
    pub failed: u64,
    /// Why, the first time.
    pub failure: Option<String>,
    /// Microseconds from publish to acknowledgement.
    pub latency: Histogram<u64>,
    /// From the first publish to the last answer.
    pub elapsed: Duration,
}

/// A publish that has its answer.
struct Answered {
    ticket: Ticket,
    channel: ChannelName,
    result: Result<Published, Error>,
    took: Duration,
}

impl Publisher<'_> {
    /// Publishes every row and waits for every answer.
    ///
    /// # Errors
    /// A row can't be read, has no channel or no time. What the server refuses is counted instead.
    pub async fn run(mut self, rows: Rows, progress: &mut Progress) -> Result<Outcome> {
        let start = Instant::now();
        let mut outcome = Outcome::new()?;
        let mut answers = FuturesUnordered::new();
        for row in rows {
            let row = row?;
            let due = start + self.schedule.next(self.time(&row, outcome.rows)?);
            let mut sleep = pin!(tokio::time::sleep_until(due.into()));
            while answers.len() >= self.in_flight || Instant::now() < due {
                tokio::select! {
                    Some(answered) = answers.next() => self.answered(answered, &mut outcome, progress)?,
                    () = &mut sleep, if Instant::now() < due => {}
                }
            }
            answers.push(self.submit(&row, outcome.rows)?);
            outcome.rows += 1;
        }
        while let Some(answered) = answers.next().await {
            self.answered(answered, &mut outcome, progress)?;
        }
        outcome.elapsed = start.elapsed();
        self.recorder.finish()?;
        for client in &self.clients {
            client.close().await;
            self.court.add_stats("publisher", client.stats());
        }
        Ok(outcome)
    }

    fn time(&self, row: &Value, number: u64) -> Result<Option<i64>> {
        let Some(name) = self.time_column else { return Ok(None) };
        let time = column::value(row, name).and_then(column::unix_ms);
        time.map(Some).with_context(|| format!("row {number}: no time in column {name:?}"))
    }

    fn submit(&self, row: &Value, number: u64) -> Result<impl Future<Output = Answered> + use<>> {
        let channel = self.route.channel(row)?;
        let index = self.court.channels.index(&channel).context("the file has changed while it was read")?;
        let payload = payload::encode(&self.court.run, number, row)?;
        let id = MessageId::new(unix_ms().saturating_add_signed(self.clock_offset), rand::random());
        let ticket = self.court.ledger().submit(index, id, payload::digest(&payload));
        let mut message = Message::new(channel.clone(), payload).message_id(id);
        message.key = self.route.key(row);
        let client = self.clients[(number % self.clients.len() as u64) as usize].clone();
        Ok(async move {
            let start = Instant::now();
            let result = client.publish(message).await;
            Answered { ticket, channel, result, took: start.elapsed() }
        })
    }

    fn answered(&mut self, answered: Answered, outcome: &mut Outcome, progress: &mut Progress) -> Result<()> {
        let Answered { ticket, channel, result, took } = answered;
        match result {
            Ok(published) => {
                let place = published.epoch.zip(published.seq).map(|(epoch, seq)| Cursor { epoch, seq });
                let found = self.court.ledger().acknowledge(&ticket, published.message_id, place);
                self.court.note("publisher", found);
                outcome.acked += 1;
                outcome.duplicates += u64::from(published.duplicate);
                outcome.latency.saturating_record(took.as_micros() as u64);
                self.recorder.line(&PublishedLine {
                    row: ticket.row,
                    channel: channel.as_str(),
                    message_id: published.message_id,
                    seq: published.seq,
                    epoch: published.epoch,
                    duplicate: published.duplicate,
                    acked: unix_ms(),
                })?;
            }
            Err(error) => {
                outcome.failed += 1;
                outcome.failure.get_or_insert_with(|| format!("row {}: {error}", ticket.row));
            }
        }
        progress.show(outcome.acked, self.court.delivered());
        Ok(())
    }
}

impl Outcome {
    fn new() -> Result<Self> {
        let latency = Histogram::new_with_max(Duration::from_secs(3_600).as_micros() as u64, 3)?;
        Ok(Self { rows: 0, acked: 0, duplicates: 0, failed: 0, failure: None, latency, elapsed: Duration::ZERO })
    }
}

/// This machine's clock, in Unix milliseconds.
pub fn unix_ms() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64)
}
