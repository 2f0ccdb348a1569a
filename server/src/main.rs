//! Command line → configuration → run.

use std::process::ExitCode;

use clap::Parser;
use hubbub_server::cli::Cli;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    use_small_pages();
    match Cli::parse().run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("hubbub: {}", told(&error));
            ExitCode::FAILURE
        }
    }
}

/// Of the buffers that an idle connection keeps, most was never touched and takes no memory, unless it lies in a huge page.
fn use_small_pages() {
    // A kernel that has no huge pages has nothing to turn off.
    let _ = rustix::thread::disable_transparent_huge_pages(true);
}

/// The error and its causes, but for those that are quoted already by what they caused.
fn told(error: &anyhow::Error) -> String {
    let mut whole = String::new();
    for cause in error.chain().map(ToString::to_string) {
        if !whole.contains(&cause) {
            whole.push_str(if whole.is_empty() { "" } else { ": " });
            whole.push_str(&cause);
        }
    }
    whole
}
