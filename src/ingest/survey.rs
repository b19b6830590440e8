//! What Parquet inputs hold, and where their rows lie in the order of a dataset: for those who partition and sort rows elsewhere.

use super::batch;
use super::discover;
use super::error::IngestError;
use super::inputs::{self, Content};
use super::plan::{Crs, Plan};
use super::read::Format;
use super::IngestOptions;
use std::path::PathBuf;

/// Parquet inputs that hold the same columns.
#[derive(Clone, Debug)]
pub struct Survey {
    /// Absolute paths, in the order of the input.
    pub files: Vec<PathBuf>,
    /// The columns that an ingest reads; coordinates are among them.
    pub columns: Vec<String>,
    pub x: String,
    pub y: String,
    pub crs: Crs,
    /// Bytes of all files.
    pub bytes: u64,
}

/// Looks at the inputs of an ingest, and checks what is asked of their columns.
///
/// # Errors
/// Inputs that are no Parquet or differ in their columns, or whatever an ingest refuses before it reads.
pub fn survey_parquet(options: &IngestOptions) -> Result<Survey, IngestError> {
    let inputs = inputs::resolve(&options.inputs)?;
    let bytes = inputs.iter().map(|input| input.bytes).sum();
    let discovered = discover::discover(inputs, options.dialect, options.preset)?;
    let mut plan = Plan::new(&discovered.columns, discovered.preset, &options.columns, &mut Vec::new())?;
    plan.keep_only(options.wanted.as_ref())?;
    let mut first = None;
    let mut files = Vec::new();
    for source in &discovered.sources {
        let label = source.input.label();
        if source.format != Format::Columnar(Content::Parquet) {
            return Err(IngestError::Usage(format!("{label} is no Parquet file, and the cluster engine takes no other: ingest it without --engine")));
        }
        let types = super::arrow_files::types(&source.input)?;
        if *first.get_or_insert_with(|| types.clone()) != types {
            let first = discovered.sources[0].input.label();
            return Err(IngestError::Usage(format!(
                "the columns of {label} are not those of {first}, and the cluster engine takes files of one schema: ingest them without --engine"
            )));
        }
        let path = source.input.path.canonicalize().map_err(IngestError::io("find", &source.input.path))?;
        if path.to_str().is_none() {
            return Err(IngestError::Usage(format!("the path of {label} is no UTF-8, which the cluster engine needs: rename it")));
        }
        files.push(path);
    }
    let columns = discovered.sources[0].names.clone();
    if let Some(name) = columns.iter().find(|name| !first.iter().flatten().any(|(known, _)| known == *name)) {
        return Err(IngestError::Usage(format!("two columns are called as '{name}' is, which the cluster engine does not take: rename one")));
    }
    let name_of = |place: usize| plan.columns[place].name.clone();
    Ok(Survey { files, columns, x: name_of(plan.x), y: name_of(plan.y), crs: plan.crs, bytes })
}

/// The key of a point; `None` if its row would be rejected.
pub fn key(crs: Crs, x: f64, y: f64) -> Option<u64> {
    batch::key(crs, x, y).ok()
}
