//! `hubbub epoch`.

use clap::Subcommand;

use crate::{
    config::Config,
    store::{Db, epoch},
};

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Print the epoch that entries get now
    Show,
    /// Raise it: after a restore that nothing else can notice, such as rows loaded back into the same tables, or a database file put back
    /// together with its .mark. Cursors of entries that are still there go on working; others are told `epoch`
    Bump,
}

impl Command {
    pub(super) async fn run(self, config: &Config) -> anyhow::Result<()> {
        let db = Db::open_existing(&config.store).await?;
        let current = epoch::current(&db).await?;
        match self {
            Command::Show => println!("{current}"),
            Command::Bump => println!("the epoch was {current} and is {} now", epoch::raise(&db, current).await?),
        }
        db.close().await;
        Ok(())
    }
}
