//! `hubbub keys`.

use std::sync::Arc;

use anyhow::{Context, bail};
use clap::Subcommand;

use crate::{
    account::keys::{Keys, NOTICE},
    app::accounts_secret,
    auth::KeyRing,
    config::Config,
    store::{Db, audit::Trace},
    world::World,
};

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Print the keys that access tokens are signed with, the oldest first
    List,
    /// Add a key, which signs after a minute, when every instance knows it. The old one verifies until its last token is over: nobody is
    /// logged out. Works while servers run
    Rotate,
}

impl Command {
    pub(super) async fn run(self, config: &Config) -> anyhow::Result<()> {
        let world = World::system();
        let Some(secret) = accounts_secret(config, &world)? else {
            bail!(
                "there are no accounts: accounts.enabled is false, or there is no secret for them (accounts.secret, accounts.secret_file)"
            )
        };
        let db = Db::open_existing(&config.store).await?;
        let ring = Arc::new(KeyRing::new(config.accounts.issuer.clone(), config.auth.audience.clone()));
        let now = world.clock.now();
        let keys = Keys::new(&config.accounts, db.clone(), ring, &secret, world)?;
        match self {
            Command::List => {
                let keys = keys.list().await?;
                let signing = keys.iter().rev().find(|key| key.signs_from as u64 <= now).map(|key| key.kid.clone());
                for key in keys {
                    let state = match key.retires_at {
                        Some(at) if at as u64 <= now => "retired",
                        _ if signing.as_ref() == Some(&key.kid) => "signs",
                        _ if key.signs_from as u64 > now => "announced",
                        _ => "verifies",
                    };
                    let [created_at, signs_from] = [key.created_at, key.signs_from].map(time);
                    let retires_at = key.retires_at.map_or_else(|| "-".to_owned(), time);
                    println!("{}  {state}  created {created_at}  signs from {signs_from}  retires {retires_at}", key.kid);
                }
            }
            Command::Rotate => {
                let kid = keys
                    .rotate(&Trace::operator())
                    .await?
                    .context("somebody else has just rotated the keys: look with `hubbub keys list`")?;
                println!("{kid} signs in {} seconds; the key before it verifies until its last token is over", NOTICE / 1_000);
            }
        }
        db.close().await;
        Ok(())
    }
}

fn time(at: i64) -> String {
    jiff::Timestamp::from_millisecond(at).map_or_else(|_| at.to_string(), |time| time.to_string())
}
