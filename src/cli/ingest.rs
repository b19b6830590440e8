//! `pointillist ingest`: from files of points to a dataset.
//!
//! Arguments, progress and the summary; the work is [`crate::ingest`]'s.

use super::progress::{Progress, Unit};
use super::stores;
use crate::config::Size;
use crate::dataset::PART_POINTS_MAX;
use crate::dataset::manifest::MANIFEST_FILE;
use crate::dataset::write::Replace;
use crate::filter::Expr;
use crate::ingest::{ColumnWishes, Crs, DialectWishes, IngestOptions, Observer, Step, StepProgress, Summary, cache, ingest, preset};
use crate::shade::Style;
use crate::store::Store;
use indicatif::{HumanBytes, HumanCount};
use std::io::Write;
use std::path::{Path, PathBuf};

/// Make a dataset from files of points
///
/// Reads CSV and TSV (plain, .gz, .zst, .zip), Parquet, Arrow and JSON; several files, folders and patterns become one dataset.
/// Rows without a place on the map are counted by reason and left out.
#[derive(clap::Args, Debug)]
#[command(after_help = "Examples:
  pointillist ingest points.csv -o points
  pointillist ingest 'cells/*.csv.gz' -o towers --preset opencellid
  pointillist ingest trips.parquet -o trips --lon pickup_x --lat pickup_y \\
      --category vendor --rejects rejects.csv
  pointillist ingest s3://raw/2026/cells.parquet -o s3://maps/cells
  pointillist ingest 'years/*.parquet' -o years --engine ballista://127.0.0.1:50050
  pointillist ingest fires.csv -o fires --style how=cbrt \\
      --style cmap=inferno --style spread=auto")]
pub struct IngestArgs {
    /// Files, folders, or patterns such as 'data/*.csv.gz'; also s3://, gs://, az:// and http(s)://, which are downloaded first
    #[arg(required = true, value_name = "INPUT")]
    pub inputs: Vec<PathBuf>,

    /// Folder to make, or a place in a store, such as s3://maps/towers
    #[arg(short, long, value_name = "DIR")]
    pub output: PathBuf,

    #[command(flatten)]
    pub input: InputArgs,

    /// List rejected rows in this CSV file: file, row, reason, raw row
    #[arg(long, value_name = "FILE")]
    pub rejects: Option<PathBuf>,

    /// Name in URLs [default: the output's]
    #[arg(long, value_name = "N", value_parser = dataset_name)]
    pub name: Option<String>,

    /// How the map is drawn unless a request says otherwise, as in a tile's URL. May be given several times
    #[arg(long, value_name = "NAME=VALUE", value_parser = super::style::style_parameter)]
    pub style: Vec<(String, String)>,

    #[command(flatten)]
    pub cluster: super::cluster::WorkArgs,

    /// Replace a dataset that exists
    #[arg(long)]
    pub force: bool,

    /// Print the summary as JSON
    #[arg(long)]
    pub json: bool,
}

/// How raw files are to be read; also an argument of commands that take a raw file for a dataset.
#[derive(clap::Args, Debug, Clone, Default)]
pub struct InputArgs {
    /// Longitude column, in degrees [default: recognised by name]
    #[arg(long, value_name = "C", conflicts_with = "x")]
    pub lon: Option<String>,

    /// Latitude column, in degrees
    #[arg(long, value_name = "C", conflicts_with = "y")]
    pub lat: Option<String>,

    /// Column of the x coordinate, in units of --crs
    #[arg(long, value_name = "C")]
    pub x: Option<String>,

    /// Column of the y coordinate, in units of --crs
    #[arg(long, value_name = "C")]
    pub y: Option<String>,

    /// Reference system of the coordinates: EPSG:4326 (degrees) or EPSG:3857 (Web-Mercator metres)
    #[arg(long, value_name = "CRS", value_parser = crs)]
    pub crs: Option<Crs>,

    /// Main category column, which colours the map
    #[arg(long, value_name = "C")]
    pub category: Option<String>,

    /// Columns to keep besides coordinates and category [default: all]
    #[arg(long, value_name = "A,B,C", value_delimiter = ',')]
    pub columns: Vec<String>,

    #[command(flatten)]
    pub rows: RowArgs,
}

/// How rows are to be read, whatever becomes of their columns.
#[derive(clap::Args, Debug, Clone, Default)]
pub struct RowArgs {
    /// What is known of well-known files: opencellid, ais, geonames, geonames-postal, openflights [default: recognised]
    #[arg(long, value_name = "NAME", value_parser = preset_named)]
    pub preset: Option<&'static preset::Preset>,

    /// Keep only rows for which this CQL2 filter holds, such as "radio = 'LTE' AND range > 1000"
    #[arg(long = "where", value_name = "CQL2", value_parser = wanted)]
    pub wanted: Option<Wanted>,

    /// Character between fields of text files: one character, or `tab` [default: recognised]
    #[arg(long, value_name = "CHAR", value_parser = delimiter)]
    pub delimiter: Option<u8>,

    /// Whether double quotes enclose fields: `double` or `none` [default: recognised]
    #[arg(long, value_name = "HOW", value_parser = quote)]
    pub quote: Option<Quote>,

    /// The first line of text files is data: columns are column_1, column_2 ...
    #[arg(long)]
    pub no_header: bool,

    /// Memory for rows; beyond it they are sorted on disk [default: half of the machine's, at most 4GB]
    #[arg(long, value_name = "SIZE", value_parser = memory_limit)]
    pub memory_limit: Option<Size>,
}

/// A filter; `None` inside if its text is empty.
pub type Wanted = std::sync::Arc<Option<Expr>>;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Quote {
    Double,
    None,
}

impl InputArgs {
    /// The options that these arguments ask for.
    pub fn options(&self, inputs: Vec<PathBuf>, output: PathBuf) -> IngestOptions {
        let columns = ColumnWishes {
            lon: self.lon.clone().or_else(|| self.x.clone()),
            lat: self.lat.clone().or_else(|| self.y.clone()),
            crs: self.crs,
            category: self.category.clone(),
            columns: self.columns.clone(),
        };
        IngestOptions { columns, ..self.rows.options(inputs, output) }
    }
}

impl RowArgs {
    /// The options that these arguments ask for, with all columns.
    pub fn options(&self, inputs: Vec<PathBuf>, output: PathBuf) -> IngestOptions {
        IngestOptions {
            inputs,
            output,
            preset: self.preset,
            columns: ColumnWishes::default(),
            dialect: DialectWishes {
                delimiter: self.delimiter,
                quoting: self.quote.map(|quote| quote == Quote::Double),
                header: self.no_header.then_some(false),
            },
            wanted: self.wanted.as_deref().cloned().flatten(),
            rejects: None,
            name: None,
            style: Default::default(),
            replace: Replace::Never,
            memory_limit_bytes: self.memory_limit.map_or_else(memory_limit_default, |size| size.0),
            part_points_max: PART_POINTS_MAX,
        }
    }
}

pub fn run(args: IngestArgs) -> anyhow::Result<()> {
    let replace = if args.force { Replace::Dataset } else { Replace::Never };
    // A dataset for a store is made here first, and its name is what the URL ends with.
    let staged = if Store::is_url(&args.output) { Some(tempfile::tempdir()?) } else { None };
    let output = match &staged {
        None => args.output.clone(),
        Some(folder) => {
            super::upload::stored_is_free(&args.output, replace)?;
            folder.path().join(stores::name_at(&args.output)?)
        }
    };
    let fetched = stores::fetched(args.inputs)?;
    let mut options = args.input.options(fetched.inputs.clone(), output);
    options.rejects = args.rejects;
    options.name = args.name;
    let style = match Style::parse(args.style.iter().map(|(name, value)| (name.as_str(), value.as_str()))) {
        Ok(style) => style,
        Err(error) => misused(error),
    };
    options.style = args.style.into_iter().collect();
    options.replace = replace;
    let summary = match &args.cluster.engine {
        Some(engine) => super::cluster::ingest(&options, engine, &args.cluster, &Terminal)?,
        None => match ingest(&options, &Terminal) {
            Err(error) if error.is_usage() => misused(error),
            other => other?,
        },
    };
    if staged.is_some() {
        stores::upload(&options.output, &args.output, replace)?;
        options.output = args.output;
    }
    let columns = &summary.manifest.columns;
    if let Some(by) = style.by.filter(|by| by != "none" && !columns.iter().any(|column| column.name == *by)) {
        let names: Vec<&str> = columns.iter().map(|column| column.name.as_str()).collect();
        Terminal.note(&format!("--style by={by} names no column, and maps without by= will be refused: there are {}", names.join(", ")));
    }
    let mut stdout = std::io::stdout().lock();
    if args.json {
        writeln!(stdout, "{}", serde_json::to_string_pretty(&summary_json(&summary, &options))?)?;
    } else {
        write!(stdout, "{}", summary_text(&summary, &options.output))?;
    }
    Ok(())
}

/// Ends the program as clap does for a wrong argument.
pub(super) fn misused(error: impl std::fmt::Display) -> ! {
    use clap::CommandFactory;
    super::Cli::command().error(clap::error::ErrorKind::ValueValidation, error).exit()
}

/// The dataset that `path` means: the folder itself if it holds one, or else the raw files there, ingested into the cache
/// folder the first time.
pub fn dataset_folder(path: &Path, input: &InputArgs) -> anyhow::Result<PathBuf> {
    if Store::is_url(path) && !stores::is_raw_file(path) {
        return Ok(path.to_owned());
    }
    let downloaded = if Store::is_url(path) { Some(stores::downloaded_once(path)?) } else { None };
    let path = downloaded.as_deref().unwrap_or(path);
    if path.join(MANIFEST_FILE).is_file() {
        return Ok(path.to_owned());
    }
    let options = input.options(vec![path.to_owned()], PathBuf::new());
    let cached = cache::find_or_ingest(&options, &cache::default_root()?, &Terminal)?;
    match &cached.made {
        Some(summary) => eprint!("{}", summary_text(summary, &cached.folder)),
        None => eprintln!("note: {} was ingested before, into {}", path.display(), cached.folder.display()),
    }
    Ok(cached.folder)
}

/// Progress on stderr.
pub struct Terminal;

impl Observer for Terminal {
    fn start(&self, step: Step, total: Option<u64>) -> Box<dyn StepProgress> {
        Box::new(match step {
            Step::Partition => Progress::start("partition", Unit::Rows, total),
            Step::Sort => Progress::start("sort", Unit::Rows, total),
            Step::Read => Progress::start("read", Unit::Bytes, total),
            Step::Write => Progress::start("write", Unit::Rows, total),
        })
    }

    fn note(&self, note: &str) {
        eprintln!("note: {note}");
    }
}

impl StepProgress for Progress {
    fn advance(&self, amount: u64, beside: u64) {
        Progress::advance(self, amount);
        self.count_beside(beside);
    }

    fn finish(self: Box<Self>) {
        Progress::finish(*self);
    }
}

pub(super) fn summary_text(summary: &Summary, output: &Path) -> String {
    use std::fmt::Write;
    let manifest = &summary.manifest;
    let mut text = String::new();
    // Writing to a string cannot fail.
    let _ = writeln!(text, "{} rows in = {} points + {} rejected", HumanCount(summary.rows_in), HumanCount(manifest.rows), HumanCount(summary.rejected.values().sum()));
    if !summary.skipped.is_empty() {
        let _ = writeln!(text, "{} of {} files skipped: {}", summary.skipped.len(), summary.files, summary.skipped.join(", "));
    }
    for (reason, count) in &summary.rejected {
        let _ = writeln!(text, "  {:>12} {reason}", HumanCount(*count).to_string());
    }
    for column in &manifest.columns {
        let distinct = column.distinct.map_or_else(|| "many".to_owned(), |distinct| HumanCount(distinct).to_string());
        let main = if manifest.category.as_ref() == Some(&column.name) { ", main category" } else { "" };
        let _ = writeln!(
            text,
            "  {:<20} {:<10} {} bytes a point, {distinct} distinct, {} null{main}",
            column.name, format!("{:?}", column.kind).to_lowercase(), column.width.bytes(), HumanCount(column.nulls)
        );
    }
    let peak = memory_peak_bytes().map_or_else(String::new, |bytes| format!(", {} of memory at most", HumanBytes(bytes)));
    let _ = writeln!(
        text,
        "{} in, {} out, {:.1} s{peak}: {}",
        HumanBytes(summary.input_bytes), HumanBytes(summary.output_bytes), summary.seconds, output.display()
    );
    text
}

pub(super) fn summary_json(summary: &Summary, options: &IngestOptions) -> serde_json::Value {
    serde_json::json!({
        "output": options.output,
        "name": summary.manifest.name,
        "rows_in": summary.rows_in,
        "points": summary.manifest.rows,
        "rejected": summary.rejected,
        "category": summary.manifest.category,
        "columns": summary.manifest.columns,
        "files": summary.files,
        "skipped": summary.skipped,
        "notes": summary.notes,
        "runs": summary.runs,
        "input_bytes": summary.input_bytes,
        "output_bytes": summary.output_bytes,
        "memory_peak_bytes": memory_peak_bytes(),
        "seconds": summary.seconds,
    })
}

/// The most memory this process has held, where the system says so (Linux).
fn memory_peak_bytes() -> Option<u64> {
    kibibytes("/proc/self/status", "VmHWM:")
}

/// Half of the machine's memory, at most 4 GB: enough for 40 million rows of a few columns without a spill.
fn memory_limit_default() -> u64 {
    const LIMIT_MAX: u64 = 4_000_000_000;
    kibibytes("/proc/meminfo", "MemTotal:").map_or(LIMIT_MAX / 2, |total| (total / 2).min(LIMIT_MAX))
}

fn kibibytes(file: &str, field: &str) -> Option<u64> {
    let text = std::fs::read_to_string(file).ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix(field))?;
    line.trim().strip_suffix(" kB")?.parse::<u64>().ok().map(|kibibytes| kibibytes * 1024)
}

fn preset_named(name: &str) -> Result<&'static preset::Preset, String> {
    preset::named(name).ok_or_else(|| format!("the presets are {}", preset::names()))
}

fn wanted(text: &str) -> Result<Wanted, String> {
    crate::filter::parse(text).map(std::sync::Arc::new).map_err(|error| error.to_string())
}

fn crs(text: &str) -> Result<Crs, String> {
    match text.to_ascii_uppercase().trim_start_matches("EPSG:") {
        "4326" => Ok(Crs::LonLat),
        "3857" => Ok(Crs::WebMercator),
        _ => Err("it must be EPSG:4326 (degrees) or EPSG:3857 (Web-Mercator metres)".to_owned()),
    }
}

fn delimiter(text: &str) -> Result<u8, String> {
    match text.as_bytes() {
        b"tab" | b"\\t" => Ok(b'\t'),
        [byte] if byte.is_ascii() && !byte.is_ascii_alphanumeric() && *byte != b'"' => Ok(*byte),
        _ => Err("it must be one character such as ';', or `tab`".to_owned()),
    }
}

fn quote(text: &str) -> Result<Quote, String> {
    match text {
        "double" => Ok(Quote::Double),
        "none" => Ok(Quote::None),
        _ => Err("it must be `double` or `none`".to_owned()),
    }
}

fn dataset_name(text: &str) -> Result<String, String> {
    let valid = !text.is_empty() && !text.starts_with('.') && text.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c));
    if valid { Ok(text.to_owned()) } else { Err("a name has letters, digits, '-', '_' and '.' only, and does not begin with '.'".to_owned()) }
}

/// # Errors
/// Less than sorting works with.
fn memory_limit(text: &str) -> Result<Size, String> {
    const LIMIT_MIN: Size = Size(1_000_000);
    let size: Size = text.parse()?;
    if size >= LIMIT_MIN { Ok(size) } else { Err(format!("a memory limit is at least {LIMIT_MIN}")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_memory_limit_is_no_mistake() {
        assert_eq!(memory_limit("64MB"), Ok(Size(64_000_000)));
        assert!(memory_limit("12").is_err() && memory_limit("4 parsecs").is_err());
    }
}
