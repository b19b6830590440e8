//! Rows for a dataset that is there: ingested as a dataset of their own with the same columns, and then appended as its parts.
//!
//! Columns are found by their names. One that the input lacks is null; one that the dataset lacks is left out, with a note; values that
//! are not of the dataset's kind are an error, because the rows that are there would have to be read again.

use super::error::IngestError;
use super::names;
use super::plan::{Crs, Plan, PlannedColumn, SeenColumn, planned};
use super::preset::Preset;
use super::{IngestOptions, Observer, Summary, ingest_as};
use crate::dataset::write::Replace;
use crate::dataset::{Change, ColumnKind, Dataset, RowFiles};
use std::path::Path;

/// Appends `options.inputs` to the dataset in `folder`, and gives its manifest as it then is. `options.output`, `name` and `columns`
/// are not looked at.
///
/// # Errors
/// Anything that keeps the rows from being read or written; the dataset is then as it was.
pub fn append(folder: &Path, options: &IngestOptions, observer: &dyn Observer) -> Result<Summary, IngestError> {
    if let Some(rejects) = &options.rejects {
        super::rejects::refuse_place(rejects, std::iter::empty(), folder)?;
    }
    let change = Change::begin(folder)?;
    let model = Model::of(&Dataset::open(folder)?)?;
    let options = IngestOptions { output: change.staging(), replace: Replace::Never, ..options.clone() };
    let summary = ingest_as(Some(&model), &options, observer)?;
    Ok(Summary { manifest: change.append()?, ..summary })
}

/// The columns that rows must have to be appended to a dataset.
pub struct Model {
    /// In the order of the rows' files.
    columns: Vec<(String, ColumnKind)>,
    x: usize,
    y: usize,
    crs: Crs,
    category: Option<String>,
}

impl Model {
    fn of(dataset: &Dataset) -> Result<Model, IngestError> {
        let coordinates = &dataset.manifest.coordinates;
        let kind = |name: &str| dataset.column_id(name).map_or(ColumnKind::Float, |id| dataset.column(id).kind);
        let schema = RowFiles::of(dataset).schema()?;
        // The last column is the geometry, which is made from the coordinates.
        let originals = &schema.fields()[..schema.fields().len() - 1];
        let columns: Vec<(String, ColumnKind)> = originals.iter().map(|field| (field.name().clone(), kind(field.name()))).collect();
        let place = |wanted: &str| {
            let at = columns.iter().position(|(name, _)| name == wanted);
            at.ok_or_else(|| IngestError::Usage(format!("the rows of {} have no column '{wanted}'", dataset.folder().display())))
        };
        let (x, y) = (place(&coordinates.x)?, place(&coordinates.y)?);
        let crs = if coordinates.crs == Crs::WebMercator.name() { Crs::WebMercator } else { Crs::LonLat };
        Ok(Model { x, y, crs, category: dataset.manifest.category.clone(), columns })
    }

    /// How inputs with the columns `seen` are read.
    ///
    /// # Errors
    /// They have no coordinates.
    pub fn plan(&self, seen: &[SeenColumn], preset: Option<&'static Preset>, notes: &mut Vec<String>) -> Result<Plan, IngestError> {
        let all: Vec<String> = seen.iter().map(|column| column.name.clone()).collect();
        for place in [self.x, self.y] {
            let name = &self.columns[place].0;
            if !all.contains(name) {
                return Err(IngestError::UnknownColumn { name: name.clone(), columns: names::listed(&all) });
            }
        }
        let unknown: Vec<String> = all.iter().filter(|name| !self.columns.iter().any(|(known, _)| known == *name)).cloned().collect();
        if !unknown.is_empty() {
            notes.push(format!("left out {}: the dataset has no such columns", names::listed(&unknown)));
        }
        let groups = preset.and_then(|preset| preset.groups);
        let from = groups.and_then(|groups| self.columns.iter().position(|(name, _)| name.eq_ignore_ascii_case(groups.from)));
        let mut missing = Vec::new();
        let columns = self.columns.iter().map(|(name, kind)| {
            let mut column = match seen.iter().find(|column| column.name == *name) {
                Some(column) => planned(column, preset),
                None => PlannedColumn {
                    name: name.clone(), read_as: *kind, unix_seconds: false, null_if: None, undecided: false,
                    groups: groups.zip(from).filter(|(groups, _)| groups.name == name).map(|(groups, from)| (from, groups)),
                },
            };
            if column.groups.is_none() && !all.contains(name) {
                missing.push(name.clone());
            }
            // Unix seconds are read as the numbers that they are, and become times.
            column.unix_seconds &= *kind == ColumnKind::Timestamp;
            if !column.unix_seconds {
                column.read_as = *kind;
            }
            column.undecided = false;
            column
        });
        let columns = columns.collect();
        if !missing.is_empty() {
            notes.push(format!("null in all appended rows, which do not have them: {}", names::listed(&missing)));
        }
        Ok(Plan { columns, x: self.x, y: self.y, crs: self.crs, category: self.category.clone(), filter: None, takes_new_columns: false })
    }
}

/// The error of values that are not of their column's kind.
pub fn other_kind(before: &Plan, after: &Plan) -> IngestError {
    let changed = before.columns.iter().zip(&after.columns).find(|(before, after)| before.kind() != after.kind());
    let (column, _) = changed.expect("a plan that was widened has another kind");
    let kind = match column.kind() {
        ColumnKind::Integer => "integers",
        ColumnKind::Float => "numbers",
        ColumnKind::Boolean => "true and false",
        ColumnKind::Text => "texts",
        ColumnKind::Timestamp => "times",
    };
    IngestError::OtherKind { column: column.name.clone(), kind: kind.to_owned() }
}
