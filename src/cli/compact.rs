//! `pointillist compact`: many parts of many appends become few.

use super::progress::{Progress, Unit};
use crate::dataset::Change;
use indicatif::HumanCount;
use std::io::Write;
use std::path::PathBuf;

/// Merge the parts that appends have left, so that tiles are counted as fast as after one ingest
#[derive(clap::Args, Debug)]
#[command(after_help = "Example:
  pointillist compact towers
Whoever serves the dataset goes on with the former version until told. Needs disk for the rows a second time.")]
pub struct CompactArgs {
    /// The dataset's folder
    pub dataset: PathBuf,
}

pub fn run(args: CompactArgs) -> anyhow::Result<()> {
    let change = Change::begin(&args.dataset)?;
    let before = change.manifest().parts.len();
    let progress = Progress::start("compact", Unit::Rows, Some(change.manifest().rows));
    let compacted = change.compact(&|rows| progress.advance(rows))?;
    let mut stdout = std::io::stdout().lock();
    match compacted {
        Some(manifest) => {
            progress.finish();
            writeln!(stdout, "{} parts became {}, {} points: {}", before, manifest.parts.len(), HumanCount(manifest.rows), args.dataset.display())?;
        }
        None => {
            drop(progress);
            writeln!(stdout, "nothing to do, its {before} parts do not overlap: {}", args.dataset.display())?;
        }
    }
    Ok(())
}
