//! From files of points to a dataset: read, project, encode, sort by key within a memory limit, write.
//!
//! ```text
//! inputs     which files, how their bytes are opened           discover   formats, names, kinds, the preset that fits
//! plan       which columns, of which kinds, where the points are
//! read       one thread reads and cuts, the others convert     delimited, json, arrow_files -> batch
//! store      typed columns, sorted in memory or in runs        values, texts, stats, run
//! encode     hot keys and Arrow arrays                         write      parts of a dataset
//! append     rows for a dataset that is there                   cache      datasets of raw files, found again
//! survey     what Parquet inputs hold, for those who prepare an ingest elsewhere
//! ```
//!
//! A pass over the inputs that meets a value which contradicts a column's kind goes on only to learn the kinds, and the
//! inputs are then read once more. This module knows nothing of engines or HTTP.

mod append;
mod arrow_files;
mod batch;
pub mod cache;
mod delimited;
mod dialect;
mod discover;
mod encode;
mod error;
mod inputs;
mod json;
mod names;
mod plan;
pub mod preset;
mod read;
mod rejects;
mod run;
mod stats;
mod store;
mod survey;
mod texts;
mod value;
mod values;
mod write;

pub use append::append;
pub use dialect::DialectWishes;
pub use error::IngestError;
pub use inputs::is_data_file;
pub use plan::{ColumnWishes, Crs};
pub use survey::{Survey, key, survey_parquet};

use crate::dataset::Manifest;
use crate::dataset::write::{DatasetWriter, Replace};
use crate::filter::Expr;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Instant;

/// What is to be ingested, and how.
#[derive(Clone, Debug)]
pub struct IngestOptions {
    /// Files, folders and patterns.
    pub inputs: Vec<PathBuf>,
    pub output: PathBuf,
    pub preset: Option<&'static preset::Preset>,
    pub columns: ColumnWishes,
    pub dialect: DialectWishes,
    /// Rows for which this does not hold are left out.
    pub wanted: Option<Expr>,
    /// Where rejected rows are listed.
    pub rejects: Option<PathBuf>,
    /// The name in URLs; by default the output's.
    pub name: Option<String>,
    /// The dataset's style, by query parameter; whether it is one is the caller's to check.
    pub style: BTreeMap<String, String>,
    pub replace: Replace,
    /// What rows in memory may take; beyond it they are sorted in runs on disk.
    pub memory_limit_bytes: u64,
    /// The most points in a part.
    pub part_points_max: usize,
}

/// The steps of an ingest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// On a cluster. Measured in rows.
    Partition,
    /// On a cluster. Measured in rows.
    Sort,
    /// Measured in bytes on disk.
    Read,
    /// Measured in rows.
    Write,
}

/// Who wants to know how far an ingest is.
pub trait Observer: Sync {
    /// `total` is in the unit of the step; `None` where it is not known.
    fn start(&self, step: Step, total: Option<u64>) -> Box<dyn StepProgress>;
    /// Something that was guessed or skipped, in a sentence.
    fn note(&self, note: &str);
}

/// The progress of one step.
pub trait StepProgress {
    /// `amount` more of the step's unit; `beside` more of the other came along: rows of a step in bytes, bytes of one in rows.
    fn advance(&self, amount: u64, beside: u64);
    fn finish(self: Box<Self>);
}

/// An observer that does not look.
pub struct Unobserved;

impl Observer for Unobserved {
    fn start(&self, _: Step, _: Option<u64>) -> Box<dyn StepProgress> {
        Box::new(Unobserved)
    }

    fn note(&self, _: &str) {}
}

impl StepProgress for Unobserved {
    fn advance(&self, _: u64, _: u64) {}

    fn finish(self: Box<Self>) {}
}

/// What an ingest did.
#[derive(Debug)]
pub struct Summary {
    pub manifest: Manifest,
    /// Rows in = `manifest.rows` + rejected.
    pub rows_in: u64,
    pub rejected: BTreeMap<String, u64>,
    pub notes: Vec<String>,
    /// Files of the inputs, and members of zips.
    pub files: usize,
    /// Those of them that were not read, each with the reason in brackets.
    pub skipped: Vec<String>,
    /// Sorted runs that went through the disk because of the memory limit.
    pub runs: usize,
    pub input_bytes: u64,
    pub output_bytes: u64,
    pub seconds: f64,
}

/// Makes a dataset.
///
/// # Errors
/// Anything that keeps the dataset from being made; nothing is left behind then.
pub fn ingest(options: &IngestOptions, observer: &dyn Observer) -> Result<Summary, IngestError> {
    ingest_as(None, options, observer)
}

/// As [`ingest`]; the dataset has the columns of `model`, where there is one.
fn ingest_as(model: Option<&append::Model>, options: &IngestOptions, observer: &dyn Observer) -> Result<Summary, IngestError> {
    let inputs = inputs::resolve(&options.inputs)?;
    if let Some(rejects) = &options.rejects {
        rejects::refuse_place(rejects, inputs.iter().map(|input| input.path.as_path()), &options.output)?;
    }
    // First of all, so that an output that cannot be written is known before anything is read.
    let writer = DatasetWriter::create(&options.output, options.replace)?;
    write_into(writer, inputs, model, options, observer)
}

/// As [`ingest`], with a writer of the output that has been made already: inputs may lie under `spill/` in its folder.
///
/// # Errors
/// As [`ingest`].
pub fn ingest_into(writer: DatasetWriter, options: &IngestOptions, observer: &dyn Observer) -> Result<Summary, IngestError> {
    write_into(writer, inputs::resolve(&options.inputs)?, None, options, observer)
}

fn write_into(
    writer: DatasetWriter,
    inputs: Vec<inputs::Input>,
    model: Option<&append::Model>,
    options: &IngestOptions,
    observer: &dyn Observer,
) -> Result<Summary, IngestError> {
    let started = Instant::now();
    let files = inputs.len();
    let input_bytes = inputs.iter().map(|input| input.bytes).sum();
    let discovered = discover::discover(inputs, options.dialect, options.preset)?;
    let mut notes = discovered.notes;
    let mut plan = match model {
        None => plan::Plan::new(&discovered.columns, discovered.preset, &options.columns, &mut notes)?,
        Some(model) => model.plan(&discovered.columns, discovered.preset, &mut notes)?,
    };
    notes.iter().for_each(|note| observer.note(note));

    let (pass, rejects) = loop {
        plan.keep_only(options.wanted.as_ref())?;
        let mut rejects = rejects::Rejects::new(options.rejects.as_deref())?;
        let store = store::Store::new(&plan, &writer.folder().join("spill"), options.memory_limit_bytes);
        match read::pass(&discovered.sources, &plan, store, &mut rejects, observer)? {
            Ok(pass) => break (pass, rejects),
            Err(surprises) => {
                let before = plan.clone();
                if !plan.widen(&surprises.kinds) && surprises.columns.is_empty() {
                    unreachable!("a value that does not parse as its column's kind widens it");
                }
                plan.add(&surprises.columns);
                if model.is_some() {
                    return Err(append::other_kind(&before, &plan));
                }
                let note = widened(&before, &plan);
                observer.note(&note);
                notes.push(note);
            }
        }
    };
    let rejected = finish_rejects(rejects, &plan, pass.rows, pass.store.rows(), &discovered.sources)?;
    let mut late = Vec::new();
    for (source, _) in discovered.sources.iter().zip(&pass.sources).filter(|(_, rows)| rows.all > 0 && rows.rejected == rows.all) {
        late.push(format!("no row of {} has a place on the map: are its columns those of the other files?", source.input.label()));
    }
    if pass.latin1_fields > 0 {
        late.push(format!("{} fields were not UTF-8 and were read as Latin-1", pass.latin1_fields));
    }
    late.iter().for_each(|note| observer.note(note));
    notes.append(&mut late);
    let job = write::Job { options, plan: &plan, preset: discovered.preset, rejected: rejected.clone() };
    let (rows_in, runs) = (pass.rows, pass.store.runs_written());
    let manifest = write::write(writer, pass.store, job, observer)?;
    let output_bytes = manifest.dictionaries.iter().map(|file| file.bytes).sum::<u64>()
        + manifest.parts.iter().flat_map(|part| &part.files).map(|file| file.bytes).sum::<u64>();
    let seconds = started.elapsed().as_secs_f64();
    Ok(Summary { manifest, rows_in, rejected, notes, files, skipped: discovered.skipped, runs, input_bytes, output_bytes, seconds })
}

fn widened(before: &plan::Plan, after: &plan::Plan) -> String {
    let mut changed: Vec<String> = before
        .columns
        .iter()
        .zip(&after.columns)
        .filter(|(before, after)| before.read_as != after.read_as)
        .map(|(before, after)| format!("'{}' is {} and not {}", after.name, words(after.read_as), words(before.read_as)))
        .collect();
    changed.extend(after.columns[before.columns.len()..].iter().map(|column| format!("'{}' appears late", column.name)));
    format!("reading again: {}", changed.join(", "))
}

/// A kind in lower case.
fn words(kind: crate::dataset::ColumnKind) -> String {
    format!("{kind:?}").to_lowercase()
}

/// # Errors
/// Nothing was left of the input.
fn finish_rejects(
    mut rejects: rejects::Rejects,
    plan: &plan::Plan,
    rows_in: u64,
    points: u64,
    sources: &[read::Source],
) -> Result<BTreeMap<String, u64>, IngestError> {
    rejects.finish()?;
    if rows_in == 0 {
        return Err(IngestError::NoRows(sources.first().map_or_else(String::new, |source| source.input.label())));
    }
    if points == 0 && rejects.unwanted() == rows_in {
        return Err(IngestError::NoneWanted { rows: rows_in });
    }
    if points == 0 {
        let hint = match plan.crs {
            plan::Crs::LonLat if rejects.mostly_out_of_range() => "; if these are Web-Mercator metres, say --crs EPSG:3857",
            _ => "; name other columns with --lon and --lat",
        };
        let reasons = format!(
            "{} (coordinates from '{}' and '{}'; the first row is '{}'){hint}",
            rejects.describe(), plan.columns[plan.x].name, plan.columns[plan.y].name, rejects.first_row()
        );
        return Err(IngestError::NothingLeft { rows: rows_in, reasons });
    }
    Ok(rejects.counts())
}

/// A dataset name for URLs (letters, digits, `-`, `_`, `.`) made from a path.
pub fn name_from_path(path: &Path) -> String {
    let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let name: String =
        name.chars().map(|c| if c.is_ascii_alphanumeric() || "-_.".contains(c) { c } else { '-' }).collect();
    let name = name.trim_matches(['.', '-']);
    if name.is_empty() { "dataset".to_owned() } else { name.to_owned() }
}
