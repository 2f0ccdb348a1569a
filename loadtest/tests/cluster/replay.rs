//! `hubbub-loadtest replay` over every instance of a cluster, and what it recorded.

use std::{
    collections::HashMap,
    path::Path,
    process::{Child, Command, Stdio},
    time::{SystemTime, UNIX_EPOCH},
};

use tempfile::TempDir;

use crate::{
    common::{acknowledged, check_record, data, lines, succeeded, wait_until},
    instance::Cluster,
};

/// A run under way.
pub struct Replay {
    child: Child,
    record: TempDir,
}

/// What a run recorded, and that it is right.
pub struct Record {
    dir: TempDir,
}

/// An entry's way to one subscriber.
#[derive(Debug, Clone, Copy)]
pub struct Delivery {
    /// When its publisher had the answer, in Unix milliseconds.
    pub acked: u64,
    /// How much later the subscriber had the entry, in milliseconds: it may come first.
    pub delay: i64,
}

impl Cluster {
    /// Publishes rows of `file`, a channel for each value of `column`.
    pub fn replay(&self, file: &str, column: &str, arguments: &[&str]) -> Replay {
        let record = TempDir::new().unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_hubbub-loadtest"));
        command.arg("replay").arg(data(file)).args(["--channel-column", column, "--token", &self.token("replay")]);
        for instance in &self.instances {
            command.args(["--url", &instance.url()]);
        }
        command.arg("--record").arg(record.path()).args(arguments);
        Replay { child: command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap(), record }
    }
}

impl Replay {
    /// Waits until so many rows were acknowledged.
    pub fn wait_for(&self, rows: usize) {
        wait_until("enough rows were acknowledged", || acknowledged(self.record.path()) >= rows);
    }

    /// Waits for the end, and checks that `rows` rows arrived once and in order at every subscriber.
    pub fn verify(self, rows: usize, subscribers: usize) -> Record {
        let output = self.child.wait_with_output().unwrap();
        succeeded(&output);
        println!("{}", String::from_utf8_lossy(&output.stdout));
        check_record(self.record.path(), rows, subscribers);
        Record { dir: self.record }
    }
}

impl Record {
    /// The deliveries to one subscriber.
    pub fn deliveries(&self, subscriber: usize) -> Vec<Delivery> {
        let file = |name: &str| lines(&Path::new(self.dir.path()).join(name));
        let acked: HashMap<u64, u64> =
            file("published.ndjson").iter().map(|line| (line["row"].as_u64().unwrap(), line["acked"].as_u64().unwrap())).collect();
        let received = file(&format!("subscriber-{subscriber}.ndjson"));
        let entries = received.iter().filter(|line| line["event"] == "entry");
        entries
            .map(|line| {
                let acked = acked[&line["row"].as_u64().unwrap()];
                Delivery { acked, delay: line["received"].as_u64().unwrap() as i64 - acked as i64 }
            })
            .collect()
    }
}

/// The median and the 99th percentile of the delays of what was acknowledged in a span of time.
pub fn delays(deliveries: &[Delivery], span: std::ops::Range<u64>) -> (i64, i64) {
    let mut delays: Vec<i64> = deliveries.iter().filter(|one| span.contains(&one.acked)).map(|one| one.delay).collect();
    delays.sort_unstable();
    assert!(delays.len() >= 100, "only {} entries were acknowledged in that time", delays.len());
    (delays[delays.len() / 2], delays[delays.len() * 99 / 100])
}

/// Now, in Unix milliseconds.
pub fn unix_ms() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis() as u64
}
