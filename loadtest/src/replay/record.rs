//! `--record`: what happened, line by line, for other tools to check.

use std::{
    fs::{self, File},
    io::{BufWriter, Write as _},
    path::Path,
};

use anyhow::{Context as _, Result};
use hubbub_protocol::{Cursor, Entry, MessageId, frame::Skip, frame::Subscribed};
use serde::Serialize;

use super::{publish::unix_ms, verify::RowNumber};

/// A line of `published.ndjson`: an acknowledged row.
#[derive(Debug, Serialize)]
pub struct PublishedLine<'a> {
    /// The row, from 0.
    pub row: RowNumber,
    /// Its channel.
    pub channel: &'a str,
    /// Its id.
    pub message_id: MessageId,
    /// Its seq.
    pub seq: Option<u64>,
    /// Its epoch.
    pub epoch: Option<u64>,
    /// The server had stored it before this attempt.
    pub duplicate: bool,
    /// When the answer came, in Unix milliseconds.
    pub acked: u64,
}

/// A line of `subscriber-N.ndjson`.
#[derive(Debug, Serialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum ReceivedLine<'a> {
    /// The subscription began, or went on.
    Subscribed {
        /// The channel.
        channel: &'a str,
        /// Its head then.
        head: Option<Cursor>,
        /// Whether everything after the cursor follows.
        recovered: Option<bool>,
    },
    /// An entry.
    Entry {
        /// The channel.
        channel: &'a str,
        /// Its seq.
        seq: Option<u64>,
        /// Its epoch.
        epoch: Option<u64>,
        /// Its id.
        message_id: Option<MessageId>,
        /// The row that it carries; `null` if another run published it.
        row: Option<RowNumber>,
        /// When it came, in Unix milliseconds.
        received: u64,
    },
    /// Entries that are not sent.
    Skip {
        /// The channel.
        channel: &'a str,
        /// First seq.
        from: Option<u64>,
        /// Last seq.
        to: Option<u64>,
        /// Why.
        reason: &'static str,
    },
    /// The server ended the subscription.
    Ended {
        /// The channel.
        channel: &'a str,
        /// The error's code.
        code: &'a str,
    },
}

impl<'a> ReceivedLine<'a> {
    /// The line for what the server said to a subscribe.
    pub fn subscribed(channel: &'a str, subscribed: &Subscribed) -> Self {
        ReceivedLine::Subscribed { channel, head: subscribed.head, recovered: subscribed.recovered }
    }

    /// The line for an entry that carries `row`.
    pub fn entry(entry: &'a Entry, row: Option<RowNumber>) -> Self {
        let cursor = entry.cursor();
        ReceivedLine::Entry {
            channel: entry.channel.as_str(),
            seq: cursor.map(|cursor| cursor.seq),
            epoch: cursor.map(|cursor| cursor.epoch),
            message_id: entry.message_id,
            row,
            received: unix_ms(),
        }
    }

    /// The line for a skip.
    pub fn skip(skip: &'a Skip) -> Self {
        let (from, to) = skip.range.map(|range| (range.from, range.to)).unzip();
        ReceivedLine::Skip { channel: skip.channel.as_str(), from, to, reason: skip.reason.as_str() }
    }
}

/// One file of lines; or none, if nothing is recorded.
#[derive(Debug)]
pub struct Recorder {
    file: Option<BufWriter<File>>,
}

impl Recorder {
    /// Writes to `name` in `directory`, which is made if it is not there.
    pub fn new(directory: Option<&Path>, name: &str) -> Result<Self> {
        let Some(directory) = directory else { return Ok(Self { file: None }) };
        fs::create_dir_all(directory)?;
        let path = directory.join(name);
        let file = File::create(&path).with_context(|| format!("cannot write {}", path.display()))?;
        Ok(Self { file: Some(BufWriter::new(file)) })
    }

    /// Appends a line.
    pub fn line<T: Serialize>(&mut self, line: &T) -> Result<()> {
        let Some(file) = &mut self.file else { return Ok(()) };
        serde_json::to_writer(&mut *file, line)?;
        file.write_all(b"\n")?;
        Ok(())
    }

    /// Everything is in the file.
    pub fn finish(&mut self) -> Result<()> {
        self.file.as_mut().map_or(Ok(()), |file| file.flush()).context("cannot write the record")
    }
}
