//! `hubbub migrate`.

use clap::Args;

use crate::{
    config::Config,
    store::{Db, Lease, LeaseKind},
};

#[derive(Debug, Args)]
pub(super) struct Migrate {
    /// Undo every migration above this version; what their tables held is lost
    #[arg(long, value_name = "VERSION")]
    down_to: Option<i64>,
}

impl Migrate {
    pub(super) async fn run(self, config: &Config) -> anyhow::Result<()> {
        let db = Db::open(&config.store).await?;
        // Up beside a running cluster: releases expand first. Not beside an instance that is alone, and down beside nobody.
        let kind = if self.down_to.is_some() { LeaseKind::Exclusive } else { LeaseKind::Shared };
        let _lease = Lease::take(&db, "hubbub migrate".to_owned(), kind).await?;
        match self.down_to {
            Some(version) => db.migrate_down(version).await?,
            None => db.migrate().await?,
        }
        let version = self.down_to.or(db.migrations().last().map(|migration| migration.version)).unwrap_or(0);
        println!("the schema is at version {version}");
        db.close().await;
        Ok(())
    }
}
