//! `pointillist upload`: a dataset to a store, from which any number of servers serve it.

use super::{WrongUsage, stores};
use crate::dataset::verify::bytes_of;
use crate::dataset::write::Replace;
use crate::store::Store;
use indicatif::HumanBytes;
use std::io::Write;
use std::path::PathBuf;

/// Copy a dataset to a store of objects, to be served from there
#[derive(clap::Args, Debug)]
#[command(after_help = "Examples:
  pointillist upload towers s3://maps/towers
  AWS_ENDPOINT=http://127.0.0.1:9000 AWS_ALLOW_HTTP=true \\
      pointillist upload towers s3://maps/towers --force
The manifest goes last: an upload that is killed leaves what was served before. Of former versions the last one stays, for servers that
have not been told yet; then `pointillist serve s3://maps/towers`.")]
pub struct UploadArgs {
    /// The dataset's folder
    pub folder: PathBuf,

    /// s3://BUCKET/NAME, gs://BUCKET/NAME, az://CONTAINER/NAME or http(s)://HOST/NAME
    pub url: PathBuf,

    /// Replace a dataset that is there
    #[arg(long)]
    pub force: bool,
}

pub fn run(args: UploadArgs) -> anyhow::Result<()> {
    if !Store::is_url(&args.url) {
        return Err(WrongUsage(format!("{} is no URL: give one such as s3://maps/towers", args.url.display())).into());
    }
    let replace = if args.force { Replace::Dataset } else { Replace::Never };
    stored_is_free(&args.url, replace)?;
    let manifest = stores::upload(&args.folder, &args.url, replace)?;
    let (version, bytes) = (&manifest.data_version, HumanBytes(bytes_of(&manifest)));
    writeln!(std::io::stdout().lock(), "{bytes} at {}, data version {version}", args.url.display())?;
    Ok(())
}

/// Known before work that takes long.
pub(super) fn stored_is_free(url: &std::path::Path, replace: Replace) -> anyhow::Result<()> {
    Ok(crate::dataset::stored::find_free(url, replace)?)
}
