//! `hubbub config`.

use clap::{Args, Subcommand};

use super::Settings;
use crate::{
    broker,
    config::{BrokerKind, Config, DEFAULTS},
    store::Db,
};

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Read every layer and name every mistake
    Check(Check),
    /// Print the documented defaults
    Defaults,
}

#[derive(Debug, Args)]
pub(super) struct Check {
    /// Also connect to the database and to NATS, as the configuration says, and look whether they will do. Changes nothing
    #[arg(long)]
    connect: bool,
}

impl Command {
    pub(super) async fn run(self, settings: &Settings) -> anyhow::Result<()> {
        match self {
            Command::Check(check) => {
                let config = settings.load()?;
                println!("the configuration is valid; it listens on {}", config.http.listen);
                if check.connect {
                    connect(&config).await?;
                }
            }
            Command::Defaults => print!("{DEFAULTS}"),
        }
        Ok(())
    }
}

async fn connect(config: &Config) -> anyhow::Result<()> {
    let db = Db::open_existing(&config.store).await?;
    println!("the database ({}) answers", db.kind());
    db.close().await;
    if config.broker.kind == BrokerKind::Nats {
        let facts = broker::check(&config.broker).await?;
        let cluster = facts.cluster.map_or_else(String::new, |name| format!(" of the cluster {name}"));
        println!("NATS {}{cluster} answers, and takes messages of {} bytes", facts.version, facts.max_payload);
    }
    Ok(())
}
