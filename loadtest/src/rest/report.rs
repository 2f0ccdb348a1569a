//! The table of a measurement of REST.

use std::{fmt, time::Duration};

use super::{crowd::Tally, script::Kind};
use crate::{stats::Quartiles, subject::Pair};

/// The first line of the table.
pub const HEADER: &str =
    "run  kind            server            requests/s    busy  us/request    p50 ms    p99 ms    max ms  bytes  postgres us";

/// What a server did with a load.
#[derive(Debug, Clone, Copy)]
pub struct Run {
    /// Answers a second.
    pub per_second: f64,
    /// The share of its core that the server used.
    pub busy: f64,
    /// Its CPU per request, in microseconds.
    pub micros: f64,
    /// PostgreSQL's.
    pub postgres: f64,
    /// Median, 99 of 100, and the longest time from request to answer, in milliseconds.
    pub latency: [f64; 3],
    /// Bytes of an answer, head included.
    pub bytes: f64,
}

impl Run {
    /// Of what came, and the CPU that it took the server and PostgreSQL.
    pub fn new(tally: &Tally, cpu: Duration, postgres: Duration) -> Self {
        let (answers, time) = (tally.answers as f64, tally.time.as_secs_f64());
        let micros = |time: Duration| time.as_secs_f64() * 1e6 / answers;
        let ms = |nanos: u64| nanos as f64 / 1e6;
        let at = |share| ms(tally.latency.value_at_quantile(share));
        Self {
            per_second: answers / time,
            busy: cpu.as_secs_f64() / time,
            micros: micros(cpu),
            postgres: micros(postgres),
            latency: [at(0.5), at(0.99), ms(tally.latency.max())],
            bytes: tally.bytes as f64 / answers,
        }
    }
}

/// A run of Hubbub and the bare handler's before it.
#[derive(Debug)]
struct Both {
    pair: Pair,
    kind: Kind,
    bare: Run,
    hubbub: Run,
}

/// The runs; a line is printed as each comes.
#[derive(Debug, Default)]
pub struct Report(Vec<Both>);

impl Report {
    /// Adds a run of `kind` by Hubbub on `pair`, and the bare handler's beside it.
    pub fn add(&mut self, number: u32, pair: Pair, kind: Kind, bare: Run, hubbub: Run) {
        println!("{}", line(number, kind, "bare", &bare));
        println!("{}", line(number, kind, &pair.to_string(), &hubbub));
        self.0.push(Both { pair, kind, bare, hubbub });
    }

    /// Each pair and kind that was measured, in that order, and its runs.
    fn groups(&self) -> Vec<Vec<&Both>> {
        let mut groups: Vec<Vec<&Both>> = Vec::new();
        for both in &self.0 {
            match groups.iter_mut().find(|group| (group[0].pair, group[0].kind) == (both.pair, both.kind)) {
                Some(group) => group.push(both),
                None => groups.push(vec![both]),
            }
        }
        groups
    }
}

fn line(number: u32, kind: Kind, server: &str, run: &Run) -> String {
    let Run { per_second, busy, micros, postgres, latency: [p50, p99, max], bytes } = *run;
    format!(
        "{number:>3}  {:<14}  {server:<15} {per_second:>12.0} {:>6.0}% {micros:>11.1} {p50:>9.2} {p99:>9.2} {max:>9.2} {bytes:>6.0} {postgres:>12.1}",
        kind.to_string(),
        busy * 100.0,
    )
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "\nmedian [quartiles]")?;
        for group in self.groups() {
            let name = format!("{} {}", group[0].kind, group[0].pair);
            let mut row = |what: &str, value: fn(&Both) -> f64| match Quartiles::of(group.iter().map(|both| value(both))) {
                Some(quartiles) => writeln!(f, "{:<46} {quartiles}", format!("{name} {what}")),
                None => Ok(()),
            };
            row("requests/s", |both| both.hubbub.per_second)?;
            row("requests/s, bare", |both| both.bare.per_second)?;
            row("requests/s / bare", |both| both.hubbub.per_second / both.bare.per_second)?;
            row("us/request", |both| both.hubbub.micros)?;
            row("us/request / bare", |both| both.hubbub.micros / both.bare.micros)?;
            row("p50 ms", |both| both.hubbub.latency[0])?;
            row("p99 ms", |both| both.hubbub.latency[1])?;
            row("p99 ms, bare", |both| both.bare.latency[1])?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(per_second: f64, micros: f64) -> Run {
        Run { per_second, busy: 1.0, micros, postgres: 0.0, latency: [1.0, 2.0, 3.0], bytes: 100.0 }
    }

    #[test]
    fn the_ratio_is_of_each_run_and_kinds_and_pairs_are_apart() {
        let mut report = Report::default();
        for (number, bare) in [(1, 100.0), (2, 200.0), (3, 400.0)] {
            report.add(number, Pair::LocalSqlite, Kind::Read, run(bare, 10.0), run(bare / 4.0, 30.0));
            report.add(number, Pair::LocalSqlite, Kind::Write, run(bare, 10.0), run(bare / 8.0, 50.0));
            report.add(number, Pair::LocalPostgres, Kind::Read, run(bare, 10.0), run(bare / 2.0, 20.0));
        }
        let text = report.to_string();
        for row in [
            "read local-sqlite requests/s / bare            0.250 [0.250 .. 0.250]",
            "write local-sqlite requests/s / bare           0.125 [0.125 .. 0.125]",
            "read local-postgres requests/s / bare          0.500 [0.500 .. 0.500]",
            "read local-sqlite us/request / bare            3.000 [3.000 .. 3.000]",
        ] {
            assert!(text.contains(row), "{row}\n{text}");
        }
    }

    #[test]
    fn costs_are_of_each_answer() {
        let mut latency = hdrhistogram::Histogram::new_with_max(60_000_000_000, 3).unwrap();
        (1..=100).for_each(|ms| latency.record(ms * 1_000_000).unwrap());
        let tally = Tally { answers: 100, bytes: 5_000, time: Duration::from_secs(2), latency };
        let run = Run::new(&tally, Duration::from_secs(1), Duration::from_millis(10));
        assert_eq!((run.per_second, run.busy, run.micros, run.postgres, run.bytes), (50.0, 0.5, 10_000.0, 100.0, 50.0));
        let rounded = run.latency.map(|ms| ms.round());
        assert_eq!(rounded, [50.0, 99.0, 100.0]);
    }
}
