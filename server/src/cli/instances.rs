//! `hubbub instances`.

use clap::Args;

use crate::{
    config::Config,
    instance::{self, Listed},
    store::Db,
    world::World,
};

#[derive(Debug, Args)]
pub(super) struct Instances {
    /// One JSON object a line instead of a table
    #[arg(long)]
    json: bool,
}

impl Instances {
    /// Reads the database: it works when no instance answers, too.
    pub(super) async fn run(self, config: &Config) -> anyhow::Result<()> {
        let db = Db::open_existing(&config.store).await?;
        let listed = instance::list(&db, &World::system()).await?;
        if !self.json {
            println!("{}", row(["ADDRESS", "STATE", "VERSION", "UPTIME", "CONNECTIONS", "CHANNELS", "LAG", "LEASE", "HOST"]));
        }
        for one in &listed {
            println!("{}", if self.json { json(one).to_string() } else { row(columns(one).each_ref().map(String::as_str)) });
        }
        db.close().await;
        Ok(())
    }
}

fn row(columns: [&str; 9]) -> String {
    const WIDTHS: [usize; 9] = [22, 9, 9, 10, 12, 9, 8, 8, 0];
    let line: String = columns.iter().zip(WIDTHS).map(|(text, width)| format!("{text:<width$} ")).collect();
    line.trim_end().to_owned()
}

fn state(one: &Listed) -> &'static str {
    match (one.left_ms > 0, one.about.draining) {
        (false, _) => "gone",
        (true, true) => "draining",
        (true, false) => "alive",
    }
}

fn columns(one: &Listed) -> [String; 9] {
    let seconds = one.renewed_at.saturating_sub(one.started_at) / 1_000;
    [
        one.about.address.clone(),
        state(one).to_owned(),
        one.about.version.clone(),
        format!("{}h{:02}m{:02}s", seconds / 3_600, seconds / 60 % 60, seconds % 60),
        one.about.connections.to_string(),
        one.about.channels.to_string(),
        format!("{} ms", one.about.lag_ms),
        format!("{:.1} s", one.left_ms as f64 / 1_000.0),
        format!("{} ({})", one.about.host, one.about.process),
    ]
}

fn json(one: &Listed) -> serde_json::Value {
    serde_json::json!({
        "id": one.id,
        "state": state(one),
        "generation": one.generation,
        "started_at": one.started_at,
        "renewed_at": one.renewed_at,
        "lease_left_ms": one.left_ms,
        "about": one.about,
    })
}
