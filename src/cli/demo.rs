//! `pointillist demo`: a sample, made and served, to see what this is; or the same over real files.

use super::generate::written_to;
use super::logging;
use super::serve::{ServeOptions, serve_logged};
use crate::generate::{Generation, Kind};
use crate::ingest::cache;
use anyhow::Context;
use std::fs;
use std::path::PathBuf;

/// Generate a sample of cell towers or ships, and serve it
#[derive(clap::Args, Debug)]
#[command(after_help = "Examples:
  pointillist demo
  pointillist demo ais --rows 5000000
  pointillist demo ais AIS_2020_01_01.zip
A sample and its dataset are kept in ~/.cache/pointillist and found again; so is the dataset of a real file.")]
pub struct DemoArgs {
    /// What to show
    #[arg(value_enum, default_value = "towers")]
    pub kind: Kind,

    /// Real files, or datasets, to show instead of a generated sample
    #[arg(value_name = "PATH", conflicts_with = "rows")]
    pub paths: Vec<PathBuf>,

    /// Number of rows of the sample
    #[arg(long, value_name = "N", default_value_t = 2_000_000, value_parser = clap::value_parser!(u64).range(1..))]
    pub rows: u64,

    #[command(flatten)]
    pub options: ServeOptions,
}

pub fn run(args: DemoArgs) -> anyhow::Result<()> {
    logging::start(args.options.configured(&args.paths)?.log.format);
    if !args.paths.is_empty() {
        return serve_logged(&args.paths, args.options);
    }
    let kind = match args.kind {
        Kind::Towers => "towers",
        Kind::Ais => "ais",
    };
    // A folder for each sample, so that the dataset is named by its kind alone.
    let folder = cache::default_root()?.join(format!("demo-{}", args.rows));
    fs::create_dir_all(&folder).with_context(|| format!("cannot create {}", folder.display()))?;
    let sample = folder.join(format!("{kind}.parquet"));
    if !sample.exists() {
        written_to(&sample, Generation { kind: args.kind, rows: args.rows, seed: 1 })?;
    }
    serve_logged(&[sample], args.options)
}
