//! `hubbub serve`.

use anyhow::Context;
use clap::Args;
use tokio::signal::unix::{SignalKind, signal};

#[cfg(debug_assertions)]
use crate::world::Misfortune;
use crate::{
    app::{App, Notice, TakeOver},
    config::Config,
    telemetry::init_logging,
    world::World,
};

#[derive(Debug, Args)]
pub(super) struct Serve {
    /// If another instance uses the database, wait until it has stopped instead of refusing to start
    #[arg(long)]
    take_over: bool,
    /// Die after so many commits of publishes, before anybody is told of the last
    #[cfg(debug_assertions)]
    #[arg(long, hide = true, value_name = "COMMITS")]
    die_after_commit: Option<u64>,
}

impl Serve {
    #[cfg(debug_assertions)]
    fn world(&self) -> World {
        let misfortune = self.die_after_commit.map_or_else(Misfortune::default, Misfortune::after_commits);
        World { misfortune, ..World::system() }
    }

    #[cfg(not(debug_assertions))]
    fn world(&self) -> World {
        World::system()
    }

    pub(super) async fn run(self, config: Config) -> anyhow::Result<()> {
        init_logging(&config.log)?;
        let mut terminate = signal(SignalKind::terminate()).context("SIGTERM cannot be watched")?;
        let mut interrupt = signal(SignalKind::interrupt()).context("SIGINT cannot be watched")?;
        let take_over = if self.take_over { TakeOver::Wait } else { TakeOver::Refuse };
        let world = self.world();
        let app = tokio::select! {
            app = App::start(config, world, take_over) => app?,
            // Waiting for another instance: nothing to drain yet.
            _ = terminate.recv() => return Ok(()),
            _ = interrupt.recv() => return Ok(()),
        };
        let notice = tokio::select! {
            _ = terminate.recv() => Notice::Given,
            // Ctrl-C.
            _ = interrupt.recv() => Notice::None,
        };
        tokio::select! {
            () = app.shut_down(notice) => Ok(()),
            _ = interrupt.recv() => anyhow::bail!("interrupted twice: stopped without draining"),
        }
    }
}
