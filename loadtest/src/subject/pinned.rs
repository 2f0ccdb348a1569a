//! Runs another program, on one core or on all, so that it dies with its parent.
//!
//! A hidden subcommand of the load tester puts both properties on itself and becomes the program: no code runs between
//! fork and exec.

use std::{os::unix::process::CommandExt as _, path::Path, process::Command};

use anyhow::{Context as _, Result};
use clap::Args;
use rustix::{
    process::{Signal, set_parent_process_death_signal},
    thread::{CpuSet, sched_setaffinity},
};

/// `pinned`'s arguments.
#[derive(Debug, Args)]
pub struct PinnedArgs {
    /// The core to run on; without it any.
    #[arg(long)]
    core: Option<usize>,
    /// The program and its arguments.
    #[arg(last = true, required = true)]
    command: Vec<std::ffi::OsString>,
}

/// Becomes the program. Returns only if that fails.
pub fn run(args: &PinnedArgs) -> Result<()> {
    if let Some(core) = args.core {
        pin(core)?;
    }
    set_parent_process_death_signal(Some(Signal::TERM)).context("prctl(PR_SET_PDEATHSIG)")?;
    let error = Command::new(&args.command[0]).args(&args.command[1..]).exec();
    Err(error).with_context(|| format!("cannot run {:?}", args.command[0]))
}

/// Keeps the calling thread, and the threads that it starts, on `core`.
pub fn pin(core: usize) -> Result<()> {
    let mut cores = CpuSet::new();
    cores.set(core);
    sched_setaffinity(None, &cores).with_context(|| format!("cannot run on core {core}; is there one?"))
}

/// The command that runs `program` on `core`, if any; its arguments can be added.
pub fn command(core: Option<usize>, program: &Path) -> Result<Command> {
    let this = std::env::current_exe().context("cannot find this program's own file")?;
    let mut command = Command::new(this);
    command.arg("pinned").args(core.map(|core| format!("--core={core}"))).arg("--").arg(program);
    Ok(command)
}
