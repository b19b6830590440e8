//! The `pointillist` binary: parses the command line, runs the command, and maps the outcome to an exit code.
//!
//! Exit codes: 0 done, 1 failed (one `error: ...` line on stderr), 2 wrong usage, 3 done in part. Everything else lives in the library.

use std::process::ExitCode;

use clap::Parser;
use pointillist::cli::{Cli, exit_code, is_closed_pipe};

/// Count grids are megabytes that live for milliseconds. The system's allocator maps and unmaps each, and the page faults of a
/// batch of 64 tiles with nine categories cost 180 ms; this one keeps the pages.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let cli = Cli::parse();
    match cli.run() {
        Ok(()) => ExitCode::SUCCESS,
        // `pointillist inspect x | head -1`: the reader has seen enough, nothing went wrong.
        Err(error) if is_closed_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::from(exit_code(&error))
        }
    }
}
