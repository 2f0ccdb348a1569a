//! What a run found, for people.

use std::{fmt, sync::atomic::Ordering::Relaxed};

use anyhow::{Result, bail};

use super::{court::Court, publish::Outcome};

/// The end of a run.
pub struct Summary<'a> {
    /// The run.
    pub court: &'a Court,
    /// What the publishers know.
    pub outcome: &'a Outcome,
    /// Reordered rows that a retry explains.
    pub forgiven: u64,
}

impl Summary<'_> {
    /// # Errors
    /// A violation, or a row that was not acknowledged.
    pub fn verdict(&self) -> Result<()> {
        let violations = self.court.violations().total();
        if violations > 0 {
            bail!("{violations} violations");
        }
        if self.outcome.failed > 0 {
            bail!("{} rows were not acknowledged, first {}", self.outcome.failed, self.outcome.failure.as_deref().unwrap_or_default());
        }
        Ok(())
    }
}

impl fmt::Display for Summary<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (outcome, stats) = (self.outcome, self.court.stats());
        let seconds = outcome.elapsed.as_secs_f64();
        let ms = |quantile: f64| outcome.latency.value_at_quantile(quantile) as f64 / 1_000.0;
        writeln!(f, "run                  {}", self.court.run)?;
        writeln!(f, "channels             {}", self.court.channels.names().len())?;
        writeln!(f, "rows                 {}", outcome.rows)?;
        writeln!(f, "acked                {}", outcome.acked)?;
        writeln!(f, "  duplicate:true     {}", outcome.duplicates)?;
        writeln!(f, "not acknowledged     {}", outcome.failed)?;
        writeln!(f, "retries              {}", stats.publishes_retried)?;
        writeln!(f, "rate                 {:.0} rows/s over {seconds:.2} s", outcome.acked as f64 / seconds)?;
        writeln!(f, "ack latency          p50 {:.2} ms, p99 {:.2} ms", ms(0.5), ms(0.99))?;
        writeln!(f, "deliveries           {}", self.court.delivered())?;
        writeln!(f, "drops                {}", self.court.drops.load(Relaxed))?;
        writeln!(f, "reconnects           {}", stats.reconnects)?;
        writeln!(f, "resumes              {}", self.court.resumes.load(Relaxed))?;
        if self.forgiven > 0 {
            writeln!(f, "reordered by retries {} (allowed)", self.forgiven)?;
        }
        let violations = self.court.violations();
        writeln!(f, "violations           {}", violations.total())?;
        write!(f, "{violations}")
    }
}
