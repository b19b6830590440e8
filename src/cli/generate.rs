//! `pointillist generate`: synthetic cell towers or ship positions, in the real files' schemas.
//!
//! Arguments only; the data come from [`crate::generate`].

use std::io;
use std::path::{Path, PathBuf};

use super::progress::{Progress, Unit};
use crate::generate::{Existing, Format, Generation, Kind, format_of};

/// Write synthetic data with the skew of reality, the same for the same kind, rows and seed
#[derive(clap::Args, Debug)]
#[command(after_help = "Examples:
  pointillist generate towers --rows 1000000 -o towers.parquet
  pointillist generate ais --rows 500000 --seed 7 -o ships.csv.gz
  pointillist generate towers --rows 1000 -o - | head")]
pub struct GenerateArgs {
    #[arg(value_enum)]
    pub kind: Kind,

    /// Number of rows
    #[arg(long, value_name = "N")]
    pub rows: u64,

    /// Another seed gives other data of the same character
    #[arg(long, value_name = "S", default_value_t = 1)]
    pub seed: u64,

    /// File to write: .csv, .csv.gz or .parquet; `-` writes CSV to standard output
    #[arg(short, long, value_name = "FILE", value_parser = output)]
    pub output: Output,

    /// Replace the output if it exists
    #[arg(long)]
    pub force: bool,
}

#[derive(Clone, Debug)]
pub enum Output {
    Stdout,
    File { path: PathBuf, format: Format },
}

fn output(name: &str) -> Result<Output, String> {
    if name == "-" {
        return Ok(Output::Stdout);
    }
    let format = format_of(Path::new(name)).ok_or("the name must end in .csv, .csv.gz or .parquet, or be - for CSV on standard output")?;
    Ok(Output::File { path: name.into(), format })
}

pub fn run(args: GenerateArgs) -> anyhow::Result<()> {
    let generation = Generation { kind: args.kind, rows: args.rows, seed: args.seed };
    let progress = Progress::start("generate", Unit::Rows, Some(args.rows));
    let written = |rows, bytes| {
        progress.advance(rows);
        progress.count_beside(bytes);
    };
    match args.output {
        Output::Stdout => generation.write_to(Format::Csv, &mut io::stdout(), &written)?,
        Output::File { path, format } => {
            let existing = if args.force { Existing::Replace } else { Existing::Keep };
            generation.write_file(&path, format, existing, &written)?;
        }
    }
    progress.finish();
    Ok(())
}

/// Writes a generated file, which must not exist, with progress.
///
/// # Errors
/// The name has no known format, or the file cannot be written.
pub fn written_to(path: &Path, generation: Generation) -> anyhow::Result<()> {
    let format = format_of(path).ok_or_else(|| anyhow::anyhow!("{} must end in .csv, .csv.gz or .parquet", path.display()))?;
    let progress = Progress::start("generate", Unit::Rows, Some(generation.rows));
    let written = |rows, bytes| {
        progress.advance(rows);
        progress.count_beside(bytes);
    };
    generation.write_file(path, format, Existing::Keep, &written)?;
    progress.finish();
    Ok(())
}
