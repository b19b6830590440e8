//! Why an ingest stops, by what its caller can do about it. Rows without a place on the map are no errors: see `rejects`.

use super::plan::COLUMNS_MAX;
use crate::dataset::DatasetError;
use crate::filter::FilterError;
use std::path::{Path, PathBuf};
use thiserror::Error;

#[derive(Debug, Error)]
pub enum IngestError {
    #[error("no such file or folder: {}; check the path", .0.display())]
    NotFound(PathBuf),
    #[error("{0} is empty: there is nothing to ingest")]
    Empty(String),
    #[error("{} holds no data files (CSV, TSV, Parquet, Arrow, JSON, or those compressed): name a file, or another folder", .0.display())]
    NoFiles(PathBuf),
    #[error("no file matches '{0}'; check the pattern")]
    NoMatch(String),
    #[error("{label} {what}")]
    Unreadable { label: String, what: String },
    #[error("there is no column '{name}'; the columns are {columns}")]
    UnknownColumn { name: String, columns: String },
    #[error("no longitude and latitude columns found; name them with --lon and --lat; the columns are {columns}")]
    NoCoordinates { columns: String },
    #[error("column '{column}' is no coordinate: {what}; name another with --lon and --lat")]
    NotACoordinate { column: String, what: String },
    #[error("column '{column}' of the dataset holds {kind}, and the rows to append have other values: ingest all files together instead")]
    OtherKind { column: String, kind: String },
    #[error("there are {columns} columns or more, and a dataset has at most {COLUMNS_MAX}: name those to keep with --columns")]
    TooManyColumns { columns: usize },
    #[error("{0}")]
    Usage(String),
    #[error("--where holds for none of the {rows} rows, so that nothing is left: check its values")]
    NoneWanted { rows: u64 },
    #[error("no row has a place on the map: of {rows} rows, {reasons}")]
    NothingLeft { rows: u64, reasons: String },
    #[error("column '{column}' has over {texts} distinct texts, which do not fit into --memory-limit {limit}: raise the limit, or leave the column out with --columns")]
    TooManyTexts { column: String, texts: usize, limit: String },
    // The cause is part of the sentence, and therefore no `source`: chains of errors are printed whole.
    #[error("cannot {action} {}: {cause}", path.display())]
    Io { action: &'static str, path: PathBuf, cause: std::io::Error },
    #[error("cannot {action} {}: {cause}; free some space, or choose another place", path.display())]
    Full { action: &'static str, path: PathBuf, cause: std::io::Error },
    #[error("{0} has no rows under its header: there is nothing to ingest")]
    NoRows(String),
    #[error(transparent)]
    Where(#[from] FilterError),
    #[error(transparent)]
    Dataset(DatasetError),
}

impl IngestError {
    pub(super) fn io(action: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> IngestError {
        let path = path.to_owned();
        move |cause| {
            use std::io::ErrorKind::{FileTooLarge, QuotaExceeded, StorageFull};
            match cause.kind() {
                StorageFull | QuotaExceeded | FileTooLarge => IngestError::Full { action, path, cause },
                _ => IngestError::Io { action, path, cause },
            }
        }
    }

    pub(super) fn unreadable(label: &str, what: impl std::fmt::Display) -> IngestError {
        IngestError::Unreadable { label: label.to_owned(), what: what.to_string() }
    }

    /// Wrong usage (exit 2), as against input that cannot be ingested (exit 1).
    pub fn is_usage(&self) -> bool {
        matches!(self, IngestError::Usage(_))
    }
}

impl From<DatasetError> for IngestError {
    fn from(error: DatasetError) -> IngestError {
        match error {
            DatasetError::Io { action, path, cause } => IngestError::io(action, &path)(cause),
            other => IngestError::Dataset(other),
        }
    }
}
