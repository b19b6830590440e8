//! `pointillist verify`: whether a dataset is whole.

use super::progress::{Progress, Unit};
use crate::dataset::Manifest;
use crate::dataset::verify::{bytes_of, verify};
use indicatif::{HumanBytes, HumanCount};
use std::io::Write;
use std::path::PathBuf;

/// Check every byte of a dataset: checksums, order, index, statistics and rows
#[derive(clap::Args, Debug)]
#[command(after_help = "Example:
  pointillist verify towers
Exit code 1 and the first fault if anything is wrong.")]
pub struct VerifyArgs {
    /// The dataset's folder
    pub path: PathBuf,
}

pub fn run(args: VerifyArgs) -> anyhow::Result<()> {
    let manifest = Manifest::read(&args.path)?;
    let progress = Progress::start("verify", Unit::Bytes, Some(bytes_of(&manifest)));
    let verified = verify(&args.path, &|bytes| progress.advance(bytes))?;
    drop(progress);
    writeln!(
        std::io::stdout().lock(),
        "{} is whole: {} points, {} files, {}, data version {}",
        args.path.display(),
        HumanCount(verified.points),
        verified.files,
        HumanBytes(verified.bytes),
        manifest.data_version
    )?;
    Ok(())
}
