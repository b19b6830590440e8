//! `pointillist append`: more rows for a dataset, also while it is served.

use super::ingest::{RowArgs, Terminal, misused, summary_json, summary_text};
use super::stores;
use crate::ingest::append;
use std::io::Write;
use std::path::PathBuf;

/// Add rows to a dataset, as new parts; whoever serves it goes on with the former version until told
#[derive(clap::Args, Debug)]
#[command(after_help = "Examples:
  pointillist append towers new-towers.csv.gz
  pointillist append ships 'day-2/*.parquet' --rejects rejects.csv
Columns are found by name. One that the files lack is null in their rows; one that the dataset lacks is left out.
Many small appends make many parts: `pointillist compact` merges them.")]
pub struct AppendArgs {
    /// The dataset's folder
    pub dataset: PathBuf,

    /// Files, folders, or patterns such as 'data/*.csv.gz'
    #[arg(required = true, value_name = "INPUT")]
    pub inputs: Vec<PathBuf>,

    #[command(flatten)]
    pub rows: RowArgs,

    /// List rejected rows in this CSV file: file, row, reason, raw row
    #[arg(long, value_name = "FILE")]
    pub rejects: Option<PathBuf>,

    /// Print the summary as JSON
    #[arg(long)]
    pub json: bool,
}

pub fn run(args: AppendArgs) -> anyhow::Result<()> {
    let fetched = stores::fetched(args.inputs)?;
    let mut options = args.rows.options(fetched.inputs.clone(), args.dataset.clone());
    options.rejects = args.rejects;
    let summary = match append(&args.dataset, &options, &Terminal) {
        Err(error) if error.is_usage() => misused(error),
        other => other?,
    };
    let mut stdout = std::io::stdout().lock();
    if args.json {
        writeln!(stdout, "{}", serde_json::to_string_pretty(&summary_json(&summary, &options))?)?;
    } else {
        write!(stdout, "{}", summary_text(&summary, &args.dataset))?;
    }
    Ok(())
}
