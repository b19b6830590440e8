//! `pointillist generate`: synthetic cell towers or ship positions, in the real files' schemas.
//!
//! Arguments only; the data come from [`crate::generate`].

use std::path::PathBuf;

/// Write synthetic data with the skew of reality, the same for the same kind, rows and seed
#[derive(clap::Args, Debug)]
#[command(after_help = "Examples:
  pointillist generate towers --rows 1000000 -o towers.parquet
  pointillist generate ais --rows 500000 --seed 7 -o ships.csv.gz
  pointillist generate towers --rows 1000 -o - | head")]
pub struct GenerateArgs {
    /// What to generate: cell towers over the world (OpenCelliD's columns) or ship positions (MarineCadastre's columns)
    #[arg(value_enum)]
    pub kind: Kind,

    /// Number of rows
    #[arg(long, value_name = "N")]
    pub rows: u64,

    /// Another seed gives other data of the same character
    #[arg(long, value_name = "S", default_value_t = 1)]
    pub seed: u64,

    /// File to write: .csv, .csv.gz or .parquet; `-` writes CSV to standard output
    #[arg(short, long, value_name = "FILE")]
    pub output: PathBuf,

    /// Replace the output if it exists
    #[arg(long)]
    pub force: bool,
}

#[derive(clap::ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Towers,
    Ais,
}

pub fn run(_args: GenerateArgs) -> anyhow::Result<()> {
    anyhow::bail!("generate is being written; take another command")
}
