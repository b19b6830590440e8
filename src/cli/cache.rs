//! `pointillist cache`: what a server keeps on disk.

use crate::service::disk;
use anyhow::ensure;
use indicatif::{HumanBytes, HumanCount};
use std::io::Write;
use std::path::PathBuf;

/// Show or empty the folder that `serve --cache-dir` keeps finished tiles in
#[derive(clap::Args, Debug)]
#[command(after_help = "Examples:
  pointillist cache stats /var/cache/pointillist
  pointillist cache purge /var/cache/pointillist --dataset towers")]
pub struct CacheArgs {
    #[command(subcommand)]
    pub command: CacheCommand,
}

#[derive(clap::Subcommand, Debug)]
pub enum CacheCommand {
    /// Tiles and bytes, by dataset
    Stats {
        /// The cache's folder
        folder: PathBuf,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Forget tiles; a running server makes them again
    Purge {
        /// The cache's folder
        folder: PathBuf,
        /// Only those of this dataset
        #[arg(long, value_name = "NAME")]
        dataset: Option<String>,
    },
}

pub fn run(args: CacheArgs) -> anyhow::Result<()> {
    let mut stdout = std::io::stdout().lock();
    let (CacheCommand::Stats { folder, .. } | CacheCommand::Purge { folder, .. }) = &args.command;
    ensure!(folder.is_dir(), "{} is no folder: give the one of `serve --cache-dir`", folder.display());
    match &args.command {
        CacheCommand::Stats { folder, json } => {
            let stats = disk::stats(folder)?;
            if *json {
                writeln!(stdout, "{}", serde_json::to_string_pretty(&stats)?)?;
                return Ok(());
            }
            for (dataset, tiles, bytes) in &stats.datasets {
                writeln!(stdout, "{dataset:<24} {:>12} tiles {:>12}", HumanCount(*tiles).to_string(), HumanBytes(*bytes).to_string())?;
            }
            writeln!(stdout, "{:<24} {:>12} tiles {:>12}", "all", HumanCount(stats.tiles).to_string(), HumanBytes(stats.bytes).to_string())?;
        }
        CacheCommand::Purge { folder, dataset } => {
            let tiles = disk::purge(folder, dataset.as_deref())?;
            writeln!(stdout, "{} tiles forgotten", HumanCount(tiles))?;
        }
    }
    Ok(())
}
