//! The table of a fan-out measurement.

use std::{fmt, time::Duration};

use super::{run::Run, scene::Cost};
use crate::stats::Quartiles;

/// The first line of the table.
pub const HEADER: &str = "pair  server   us/delivery  deliveries/s      p50 ms      p99 ms    expected    received  beside, us/publish";

/// The runs of a measurement; a line is printed as each comes.
#[derive(Debug, Default)]
pub struct Report {
    floor: Vec<Run>,
    hubbub: Vec<Run>,
}

impl Report {
    /// Adds a run of the floor.
    pub fn add_floor(&mut self, pair: u32, run: Run) {
        println!("{}", line(pair, "floor", &run));
        self.floor.push(run);
    }

    /// Adds a run of the server under test.
    pub fn add_hubbub(&mut self, pair: u32, run: Run) {
        println!("{}", line(pair, "hubbub", &run));
        self.hubbub.push(run);
    }

    /// What was wrong with the server under test, if anything was.
    pub fn fault(&self) -> Option<String> {
        self.hubbub.iter().enumerate().find_map(|(at, run)| Some(format!("pair {}: {}", at + 1, run.fault()?)))
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let row = |f: &mut fmt::Formatter<'_>, name: &str, values: Vec<f64>| match Quartiles::of(values) {
            Some(quartiles) => writeln!(f, "{name:<28} {quartiles}"),
            None => Ok(()),
        };
        writeln!(f, "\nmedian [quartiles]")?;
        row(f, "floor us/delivery", self.floor.iter().map(|run| run.micros).collect())?;
        row(f, "hubbub us/delivery", self.hubbub.iter().map(|run| run.micros).collect())?;
        row(f, "hubbub / floor", self.hubbub.iter().zip(&self.floor).map(|(hubbub, floor)| hubbub.micros / floor.micros).collect())?;
        for (part, name) in PARTS.iter().enumerate() {
            let costs: Vec<_> = self.hubbub.iter().map(|run| beside(&run.beside)[part]).collect();
            if costs.iter().any(|cost| *cost > 0.0) {
                row(f, &format!("{name} us/publish"), costs)?;
            }
        }
        for (at, fault) in self.floor.iter().enumerate().filter_map(|(at, run)| Some((at, run.fault()?))) {
            writeln!(f, "note: floor, pair {}: {fault}", at + 1)?;
        }
        Ok(())
    }
}

/// What may run beside the server.
const PARTS: [&str; 3] = ["publisher", "nats", "postgres"];

/// The costs of [`PARTS`].
fn beside(cost: &Cost<f64>) -> [f64; 3] {
    [cost.publisher, cost.nats, cost.postgres]
}

fn told(cost: &Cost<f64>) -> String {
    let parts = PARTS.iter().zip(beside(cost)).filter(|(_, micros)| *micros > 0.0);
    parts.map(|(name, micros)| format!("{name} {micros:.1}")).collect::<Vec<_>>().join(", ")
}

fn line(pair: u32, server: &str, run: &Run) -> String {
    let ms = |time: Duration| time.as_secs_f64() * 1_000.0;
    format!(
        "{pair:>4}  {server:<7} {:>12.3} {:>13.0} {:>11.3} {:>11.3} {:>11} {:>11}  {}",
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
        Run { micros: 1.0, beside: Cost::default(), per_second: 1.0, p50, p99, expected, received, repeated, refused: None }
    }

    #[test]
    fn the_ratio_is_of_each_pair() {
        let floor = [2.0, 4.0, 8.0].map(|micros| Run { micros, ..run(1, 1, 0) }).to_vec();
        let hubbub = [3.0, 6.0, 12.0].map(|micros| Run { micros, ..run(1, 1, 0) }).to_vec();
        let text = Report { floor, hubbub }.to_string();
        assert!(text.contains("hubbub / floor               1.500 [1.500 .. 1.500]"), "{text}");
    }

    #[test]
    fn only_what_ran_beside_it_is_told() {
        let beside = Cost { nats: 2.0, ..Cost::default() };
        let text = Report { floor: Vec::new(), hubbub: vec![Run { beside, ..run(1, 1, 0) }] }.to_string();
        assert!(text.contains("nats us/publish") && !text.contains("postgres"), "{text}");
    }

    #[test]
    fn a_missing_or_repeated_delivery_is_a_fault_of_the_server_only() {
        assert_eq!(Report { floor: vec![run(2, 1, 0)], hubbub: vec![run(2, 2, 0)] }.fault(), None);
        for bad in [run(2, 1, 0), run(2, 2, 1), Run { refused: Some("x".to_owned()), ..run(2, 2, 0) }] {
            assert!(Report { floor: Vec::new(), hubbub: vec![run(2, 2, 0), bad] }.fault().is_some_and(|fault| fault.starts_with("pair 2")));
        }
    }
}
