//! The command line: one variant, one file and one `run` for each command.
//!
//! A command's file holds its clap arguments and the few lines that hand them to the library; no work is done here.
//! Commands print their answer with `writeln!(stdout.lock(), ..)?`, never with `println!`, which panics when the reader of a pipe
//! has gone; `main` takes such an error for success.

pub mod append;
pub mod bench;
pub mod cache;
pub mod cluster;
pub mod compact;
pub mod config;
pub mod demo;
pub mod engine;
pub mod generate;
pub mod ingest;
pub mod inspect;
pub mod logging;
pub mod prewarm;
pub mod progress;
pub mod publish;
pub mod serve;
pub mod stop;
pub mod stores;
pub mod style;
pub mod telemetry;
pub mod upload;
pub mod verify;

use crate::config::LogFormat;
use std::io;

/// Maps of point data that is too big to draw.
#[derive(clap::Parser, Debug)]
#[command(version, arg_required_else_help = true, max_term_width = 110)]
#[command(after_help = "Exit codes: 0 done, 1 failed, 2 wrong usage, 3 done in part. RUST_LOG=debug shows more on stderr.")]
pub struct Cli {
    #[command(subcommand)]
    pub command: Command,
}

#[derive(clap::Subcommand, Debug)]
pub enum Command {
    Append(append::AppendArgs),
    Bench(bench::BenchArgs),
    Cache(cache::CacheArgs),
    Cluster(cluster::ClusterArgs),
    Compact(compact::CompactArgs),
    Config(config::ConfigArgs),
    Demo(demo::DemoArgs),
    Ingest(Box<ingest::IngestArgs>),
    Inspect(inspect::InspectArgs),
    Prewarm(prewarm::PrewarmArgs),
    Publish(publish::PublishArgs),
    Unpublish(publish::UnpublishArgs),
    Generate(generate::GenerateArgs),
    Serve(serve::ServeArgs),
    Upload(upload::UploadArgs),
    Verify(verify::VerifyArgs),
}

impl Cli {
    /// Runs the command to its end.
    ///
    /// # Errors
    /// Whatever the command failed with; the chain of causes reads as one sentence when joined by ": ".
    pub fn run(self) -> anyhow::Result<()> {
        // A server logs as its configuration says, once that is read.
        if !matches!(self.command, Command::Serve(_) | Command::Demo(_)) {
            logging::start(LogFormat::Text);
        }
        match self.command {
            Command::Append(args) => append::run(args),
            Command::Bench(args) => bench::run(args),
            Command::Cache(args) => cache::run(args),
            Command::Cluster(args) => cluster::run(args),
            Command::Compact(args) => compact::run(args),
            Command::Config(args) => config::run(args),
            Command::Demo(args) => demo::run(args),
            Command::Ingest(args) => ingest::run(*args),
            Command::Inspect(args) => inspect::run(args),
            Command::Prewarm(args) => prewarm::run(args),
            Command::Publish(args) => publish::publish(args),
            Command::Unpublish(args) => publish::unpublish(args),
            Command::Generate(args) => generate::run(args),
            Command::Serve(args) => serve::run(args),
            Command::Upload(args) => upload::run(args),
            Command::Verify(args) => verify::run(args),
        }
    }
}

/// A command did some of what it was asked to, and what it did is kept: exit code 3.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Partial(pub String);

impl Partial {
    pub const EXIT_CODE: u8 = 3;
}

/// What the command line asks for can never be done, whatever the files hold: exit code 2, as for a flag that there is not.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct WrongUsage(pub String);

/// What a program is to answer to whoever called it.
pub fn exit_code(error: &anyhow::Error) -> u8 {
    if error.is::<Partial>() {
        Partial::EXIT_CODE
    } else if error.is::<WrongUsage>() {
        2
    } else {
        1
    }
}

/// Whether the command failed only because the reader of its output closed the pipe.
pub fn is_closed_pipe(error: &anyhow::Error) -> bool {
    error
        .chain()
        .filter_map(|cause| cause.downcast_ref::<io::Error>())
        .any(|cause| cause.kind() == io::ErrorKind::BrokenPipe)
}

#[cfg(test)]
mod tests {
    use super::*;
    use anyhow::Context;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_command_shows_an_example() {
        for command in Cli::command().get_subcommands() {
            let help = command.get_after_help().map(|text| text.to_string()).unwrap_or_default();
            assert!(help.contains("pointillist "), "{} has no example in its after_help", command.get_name());
        }
    }

    #[test]
    fn only_a_closed_pipe_is_taken_for_success() {
        let closed = Err::<(), _>(io::Error::from(io::ErrorKind::BrokenPipe)).context("write the answer").unwrap_err();
        let missing = Err::<(), _>(io::Error::from(io::ErrorKind::NotFound)).context("open the input").unwrap_err();
        assert!(is_closed_pipe(&closed));
        assert!(!is_closed_pipe(&missing));
    }
}
