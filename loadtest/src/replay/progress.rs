//! How far a run is: a bar on a terminal, plain lines elsewhere. On stderr; results go to stdout.

use std::{
    io::IsTerminal as _,
    time::{Duration, Instant},
};

use indicatif::{ProgressBar, ProgressStyle};

/// How often a plain line is written.
const PLAIN_EVERY: Duration = Duration::from_secs(5);

/// Shows how many rows are acknowledged.
#[derive(Debug)]
pub struct Progress {
    /// `None`: stderr is no terminal.
    bar: Option<ProgressBar>,
    total: u64,
    spoken: Instant,
}

impl Progress {
    /// Of `total` rows.
    pub fn new(total: u64) -> Self {
        let style = ProgressStyle::with_template("{bar:30} {human_pos}/{human_len} acked, {per_sec}, {msg}, eta {eta}")
            .unwrap_or_else(|_| ProgressStyle::default_bar());
        let bar = std::io::stderr().is_terminal().then(|| ProgressBar::new(total).with_style(style));
        Self { bar, total, spoken: Instant::now() }
    }

    /// So many rows are acknowledged, so many deliveries came.
    pub fn show(&mut self, acked: u64, delivered: u64) {
        match &self.bar {
            Some(bar) => {
                bar.set_message(format!("{delivered} deliveries"));
                bar.set_position(acked);
            }
            None if self.spoken.elapsed() >= PLAIN_EVERY => {
                self.spoken = Instant::now();
                eprintln!("{acked}/{} acked, {delivered} deliveries", self.total);
            }
            None => {}
        }
    }

    /// Says what happens now.
    pub fn say(&self, text: &str) {
        match &self.bar {
            Some(bar) => bar.println(text),
            None => eprintln!("{text}"),
        }
    }

    /// The bar goes.
    pub fn finish(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}
