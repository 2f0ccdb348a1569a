//! The table of a fan-out measurement.

use std::{fmt, time::Duration};

use super::{run::Run, scene::Cost};
use crate::{drive::Transport, stats::Quartiles};

/// The first line of the table.
pub const HEADER: &str = "pair  server       us/delivery  deliveries/s      p50 ms      p99 ms    expected    received  beside, us/publish";

/// The runs of a measurement; a line is printed as each comes.
#[derive(Debug, Default)]
pub struct Report {
    floor: Vec<Run>,
    served: Vec<Served>,
}

/// A run of the server under test.
#[derive(Debug)]
struct Served {
    pair: u32,
    transport: Transport,
    run: Run,
    /// What it cost, for each microsecond of the floor's before it.
    ratio: Option<f64>,
}

impl Report {
    /// Adds a run of the floor.
    pub fn add_floor(&mut self, pair: u32, run: Run) {
        println!("{}", line(pair, "floor", &run));
        self.floor.push(run);
    }

    /// Adds a run of the server under test. The floor's before it is the other half of its pair.
    pub fn add(&mut self, pair: u32, transport: Transport, run: Run) {
        println!("{}", line(pair, transport.name(), &run));
        let ratio = self.floor.last().map(|floor| run.micros / floor.micros);
        self.served.push(Served { pair, transport, run, ratio });
    }

    /// What was wrong with the server under test, if anything was.
    pub fn fault(&self) -> Option<String> {
        self.served.iter().find_map(|served| Some(format!("pair {}, {}: {}", served.pair, served.transport, served.run.fault()?)))
    }

    /// Each transport that was measured, in that order, and its runs.
    fn transports(&self) -> Vec<(Transport, Vec<&Served>)> {
        let mut transports: Vec<(Transport, Vec<&Served>)> = Vec::new();
        for served in &self.served {
            match transports.iter_mut().find(|(transport, _)| *transport == served.transport) {
                Some((_, runs)) => runs.push(served),
                None => transports.push((served.transport, vec![served])),
            }
        }
        transports
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "\nmedian [quartiles]")?;
        row(f, "floor", "us/delivery", self.floor.iter().map(|run| run.micros))?;
        for (transport, served) in self.transports() {
            let name = transport.name();
            row(f, name, "us/delivery", served.iter().map(|served| served.run.micros))?;
            row(f, name, "/ floor", served.iter().filter_map(|served| served.ratio))?;
            if served.iter().any(|served| served.run.ids > 0.0) {
                row(f, name, "ids/delivery", served.iter().map(|served| served.run.ids))?;
            }
            for (part, beside) in PARTS.iter().enumerate() {
                let costs: Vec<_> = served.iter().map(|served| costs(&served.run.beside)[part]).collect();
                if costs.iter().any(|cost| *cost > 0.0) {
                    row(f, name, &format!("{beside} us/publish"), costs)?;
                }
            }
        }
        for (at, fault) in self.floor.iter().enumerate().filter_map(|(at, run)| Some((at, run.fault()?))) {
            writeln!(f, "note: floor, run {}: {fault}", at + 1)?;
        }
        Ok(())
    }
}

fn row(f: &mut fmt::Formatter<'_>, server: &str, what: &str, values: impl IntoIterator<Item = f64>) -> fmt::Result {
    match Quartiles::of(values) {
        Some(quartiles) => writeln!(f, "{:<32} {quartiles}", format!("{server} {what}")),
        None => Ok(()),
    }
}

/// What may run beside the server.
const PARTS: [&str; 3] = ["publisher", "nats", "postgres"];

/// The costs of [`PARTS`].
fn costs(cost: &Cost<f64>) -> [f64; 3] {
    [cost.publisher, cost.nats, cost.postgres]
}

fn told(cost: &Cost<f64>) -> String {
    let parts = PARTS.iter().zip(costs(cost)).filter(|(_, micros)| *micros > 0.0);
    parts.map(|(name, micros)| format!("{name} {micros:.1}")).collect::<Vec<_>>().join(", ")
}

fn line(pair: u32, server: &str, run: &Run) -> String {
    let ms = |time: Duration| time.as_secs_f64() * 1_000.0;
    format!(
        "{pair:>4}  {server:<11} {:>12.3} {:>13.0} {:>11.3} {:>11.3} {:>11} {:>11}  {}",
        run.micros,
        run.per_second,
        ms(run.p50),
        ms(run.p99),
        run.expected,
        run.received,
        told(&run.beside)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(expected: u64, received: u64, repeated: u64) -> Run {
        let (p50, p99) = (Duration::ZERO, Duration::ZERO);
        Run { micros: 1.0, beside: Cost::default(), per_second: 1.0, p50, p99, expected, received, repeated, ids: 0.0, refused: None }
    }

    fn micros(micros: f64) -> Run {
        Run { micros, ..run(1, 1, 0) }
    }

    #[test]
    fn the_ratio_is_of_each_pair() {
        let mut report = Report::default();
        for (pair, floor) in [(1, 2.0), (2, 4.0), (3, 8.0)] {
            report.add_floor(pair, micros(floor));
            report.add(pair, Transport::Websocket, micros(1.5 * floor));
            report.add_floor(pair, micros(2.0 * floor));
            report.add(pair, Transport::Sse, micros(4.0 * floor));
        }
        let text = report.to_string();
        let position = |row: &str| text.find(row).unwrap_or_else(|| panic!("{row}: {text}"));
        let websocket = position("websocket / floor                1.500 [1.500 .. 1.500]");
        assert!(websocket < position("sse / floor                      2.000 [2.000 .. 2.000]"));
    }

    #[test]
    fn only_what_ran_beside_it_is_told() {
        let mut report = Report::default();
        report.add(1, Transport::Eventsource, Run { beside: Cost { nats: 2.0, ..Cost::default() }, ids: 1.0, ..run(1, 1, 0) });
        report.add(1, Transport::Sse, run(1, 1, 0));
        let text = report.to_string();
        assert!(text.contains("eventsource nats us/publish") && !text.contains("postgres"), "{text}");
        assert!(text.contains("eventsource ids/delivery") && !text.contains("sse ids"), "{text}");
    }

    #[test]
    fn a_missing_or_repeated_delivery_is_a_fault_of_the_server_only() {
        let mut report = Report::default();
        report.add_floor(1, run(2, 1, 0));
        report.add(1, Transport::Polling, run(2, 2, 0));
        assert_eq!(report.fault(), None);
        for bad in [run(2, 1, 0), run(2, 2, 1), Run { refused: Some("x".to_owned()), ..run(2, 2, 0) }] {
            let mut report = Report::default();
            report.add(1, Transport::Sse, run(2, 2, 0));
            report.add(2, Transport::Polling, bad);
            assert!(report.fault().is_some_and(|fault| fault.starts_with("pair 2, polling: ")));
        }
    }
}
