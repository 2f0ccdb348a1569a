//! The command line: a file a command.

mod client;
mod config;
mod epoch;
mod explain;
mod instances;
mod keys;
mod migrate;
mod serve;
mod token;
mod users;

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

use crate::config::{Config, Sources};

/// Variables of the client commands, which are no configuration of the server.
const CLIENT_VARIABLES: [&str; 3] = ["HUBBUB_TOKEN", "HUBBUB_URL", "HUBBUB_CONFIG"];

/// A real-time, WebSocket-first server.
#[derive(Debug, Parser)]
#[command(name = "hubbub", version, about)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
    #[command(flatten)]
    settings: Settings,
}

/// Where the configuration comes from: documented defaults < file < environment (`HUBBUB_SECTION__KEY`) < `--set`.
#[derive(Debug, Args)]
struct Settings {
    /// A TOML file with what differs from the defaults (config/hubbub.toml)
    #[arg(long, global = true, env = "HUBBUB_CONFIG", value_name = "FILE")]
    config: Option<PathBuf>,
    /// One key, for example --set http.listen=0.0.0.0:8080; may be repeated
    #[arg(long = "set", global = true, value_name = "KEY=VALUE")]
    set: Vec<String>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run an instance until SIGTERM or Ctrl-C
    Serve(serve::Serve),
    /// Print a token for development, signed with the server's own secret
    Token(token::Token),
    /// Publish one message and print its place
    Publish(client::Publish),
    /// Print the entries of channels as they come, one JSON object a line
    Tail(client::Tail),
    /// Bring the database's schema up to date, or back
    Migrate(migrate::Migrate),
    /// List the instances of the database, with what each last said of itself
    Instances(instances::Instances),
    /// Look at the epoch, or raise it after a restore
    #[command(subcommand)]
    Epoch(epoch::Command),
    /// List users, block them and let them in again, give them roles
    #[command(subcommand)]
    Users(users::Command),
    /// Tell why somebody may do something, or may not
    #[command(subcommand)]
    Explain(explain::Command),
    /// Look at the keys that access tokens are signed with, or add one
    #[command(subcommand)]
    Keys(keys::Command),
    /// Look at the configuration
    #[command(subcommand)]
    Config(config::Command),
}

impl Cli {
    /// Does what was asked.
    ///
    /// # Errors
    /// With a message that tells what to do.
    pub fn run(self) -> anyhow::Result<()> {
        let Self { command, settings } = self;
        match command {
            Command::Serve(serve) => runtime()?.block_on(serve.run(settings.load()?)),
            Command::Token(token) => token.run(&settings.load()?),
            Command::Publish(publish) => runtime()?.block_on(publish.run()),
            Command::Tail(tail) => runtime()?.block_on(tail.run()),
            Command::Migrate(migrate) => runtime()?.block_on(migrate.run(&settings.load()?)),
            Command::Instances(instances) => runtime()?.block_on(instances.run(&settings.load()?)),
            Command::Epoch(command) => runtime()?.block_on(command.run(&settings.load()?)),
            Command::Users(command) => runtime()?.block_on(command.run(&settings.load()?)),
            Command::Explain(command) => runtime()?.block_on(command.run(settings.load()?)),
            Command::Keys(command) => runtime()?.block_on(command.run(&settings.load()?)),
            Command::Config(command) => runtime()?.block_on(command.run(&settings)),
        }
    }
}

impl Settings {
    fn load(&self) -> anyhow::Result<Config> {
        let environment = std::env::vars().filter(|(name, _)| !CLIENT_VARIABLES.contains(&name.as_str())).collect();
        let sources = Sources { file: self.config.clone(), environment, arguments: self.set.clone() };
        Ok(Config::load(&sources)?)
    }
}

/// As many workers as there are cores that this process may use.
fn runtime() -> std::io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_multi_thread().enable_all().build()
}
