//! `pointillist cache`: what a server keeps on disk.

use crate::service::{Purge, ZOOM_MAX_SERVED, disk};
use crate::world::LonLatBox;
use anyhow::ensure;
use indicatif::{HumanBytes, HumanCount};
use std::io::Write;
use std::path::PathBuf;

/// Show or empty the folder that `serve --cache-dir` keeps finished tiles in
#[derive(clap::Args, Debug)]
#[command(after_help = "Examples:
  pointillist cache stats /var/cache/pointillist
  pointillist cache purge /var/cache/pointillist --dataset towers \\
      --bbox -10,35,5,60 --min-zoom 8")]
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
    /// Forget tiles on disk; a running server still has some in memory, and `DELETE /cache/{dataset}` makes it forget both
    Purge {
        /// The cache's folder
        folder: PathBuf,
        /// Only those of this dataset
        #[arg(long, value_name = "NAME")]
        dataset: Option<String>,
        /// Only those that touch this box, in degrees: west,south,east,north
        #[arg(long, value_name = "W,S,E,N", allow_hyphen_values = true)]
        bbox: Option<LonLatBox>,
        /// Only those of this zoom or deeper
        #[arg(long, value_name = "Z")]
        min_zoom: Option<u8>,
        /// Only those of this zoom or less deep
        #[arg(long, value_name = "Z")]
        max_zoom: Option<u8>,
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
            let mut line = |name: &str, tiles: u64, bytes: u64| {
                writeln!(stdout, "{name:<24} {:>12} tiles {:>12}", HumanCount(tiles).to_string(), HumanBytes(bytes).to_string())
            };
            for (dataset, tiles, bytes) in &stats.datasets {
                line(dataset, *tiles, *bytes)?;
            }
            line("all", stats.tiles, stats.bytes)?;
            writeln!(stdout, "{} of the disk", HumanBytes(stats.file_bytes))?;
        }
        CacheCommand::Purge { folder, dataset, bbox, min_zoom, max_zoom } => {
            let mut purge = Purge::all();
            if min_zoom.is_some() || max_zoom.is_some() {
                purge = purge.zooms(min_zoom.unwrap_or(0)..=max_zoom.unwrap_or(ZOOM_MAX_SERVED));
            }
            if let Some(bbox) = bbox {
                purge = purge.touching(bbox);
            }
            let tiles = disk::purge(folder, dataset.as_deref(), &purge)?;
            if let Some(dataset) = dataset.as_ref().filter(|_| tiles == 0) {
                let names: Vec<_> = disk::stats(folder)?.datasets.into_iter().map(|(name, ..)| name).collect();
                if !names.contains(dataset) {
                    tracing::warn!("the cache has no tiles of '{dataset}': it has those of {}", names.join(", "));
                }
            }
            writeln!(stdout, "{} tiles forgotten", HumanCount(tiles))?;
        }
    }
    Ok(())
}
