//! `hubbub-loadtest`: drives any Hubbub instance, counts gaps and duplicates, measures beside a floor.
//!
//! A subcommand a module. Those that measure ([`fanout`], [`idle`], [`publish`], [`rest`], [`channels`], [`presence`], [`upload`], [`export`]) speak raw bytes
//! ([`drive`]) to servers that they start ([`subject`]); the one that verifies ([`replay`]) goes through the client SDK to any server.

mod args;
mod channels;
mod drive;
mod export;
mod fanout;
mod floor;
mod idle;
mod presence;
mod publish;
mod replay;
mod rest;
mod stats;
mod subject;
mod upload;

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use tracing_subscriber::EnvFilter;

#[derive(Parser)]
#[command(version, about)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Serve the floor: one thread, epoll, one send per subscriber.
    Floor(floor::FloorArgs),
    /// Measure server CPU per delivery, beside the floor.
    Fanout(fanout::FanoutArgs),
    /// Measure memory and CPU per idle connection, beside the floor.
    Idle(idle::IdleArgs),
    /// Measure durable publishes per second, and the CPU of each.
    Publish(publish::PublishArgs),
    /// Measure REST requests per second, and how long they take, beside a bare axum handler.
    Rest(rest::RestArgs),
    /// Serve the bare handler: axum and serde, no other work.
    Bare(rest::BareArgs),
    /// Measure memory and CPU of very many channels on two instances.
    Channels(channels::ChannelsArgs),
    /// Kill one of three instances with members present; verify that they leave in time, and count the traffic.
    Presence(presence::PresenceArgs),
    /// Upload and download a large file; report the server's memory at its highest.
    Upload(upload::UploadArgs),
    /// Export a long list; report the server's memory at its highest.
    Export(export::ExportArgs),
    /// Publish a file's rows and verify that every subscriber gets each exactly once, in order.
    Replay(replay::ReplayArgs),
    /// Run a program on one core, to die with its parent.
    #[command(hide = true)]
    Pinned(subject::PinnedArgs),
}

fn main() -> ExitCode {
    // What the SDK logs, on stderr; RUST_LOG says how much.
    tracing_subscriber::fmt().with_env_filter(EnvFilter::from_default_env()).with_writer(std::io::stderr).init();
    let ended = match Cli::parse().command {
        Command::Floor(args) => floor::run(&args),
        Command::Fanout(args) => fanout::run(&args),
        Command::Idle(args) => idle::run(&args),
        Command::Publish(args) => publish::run(&args),
        Command::Rest(args) => rest::run(&args),
        Command::Bare(args) => rest::run_bare(&args),
        Command::Channels(args) => channels::run(&args),
        Command::Presence(args) => presence::run(&args),
        Command::Upload(args) => upload::run(&args),
        Command::Export(args) => export::run(&args),
        Command::Replay(args) => replay::run(&args),
        Command::Pinned(args) => subject::run_pinned(&args),
    };
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("hubbub-loadtest: {error:#}");
            ExitCode::FAILURE
        }
    }
}
