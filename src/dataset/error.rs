//! What can be wrong with a dataset, by what the caller can do about it.

use crate::store::StoreError;
use std::path::{Path, PathBuf};
use thiserror::Error;

#[derive(Debug, Error)]
pub enum DatasetError {
    #[error("{} is not a dataset: it has no dataset.json; make one with `pointillist ingest INPUT -o {}`", .0.display(), .0.display())]
    NotADataset(PathBuf),
    #[error("{} has format version {found}, and this program reads version {expected}: ingest the input again", folder.display())]
    Version { folder: PathBuf, found: u32, expected: u32 },
    #[error("{} is damaged: {what}; ingest the input again", file.display())]
    Damaged { file: PathBuf, what: String },
    // The cause is part of the sentence, and therefore no `source`: chains of errors are printed whole.
    #[error("cannot {action} {}: {cause}", path.display())]
    Io { action: &'static str, path: PathBuf, cause: std::io::Error },
    #[error("{} exists already: choose another output, or replace it with --force", .0.display())]
    Exists(PathBuf),
    #[error("{} exists already and is no dataset, so it will not be replaced: choose another output", .0.display())]
    Occupied(PathBuf),
    #[error("another program is changing or uploading {}: wait until it is done", .0.display())]
    Busy(PathBuf),
    #[error("{0}")]
    Rows(String),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("{} has no {missing}: upload it from a folder with `pointillist upload DIR {}`", url.display(), url.display())]
    NoOverview { url: PathBuf, missing: String },
}

impl DatasetError {
    /// Whether it may be otherwise in a moment: a store does not answer.
    pub fn is_away(&self) -> bool {
        matches!(self, DatasetError::Store(error) if error.is_away())
    }

    pub(crate) fn io(action: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> DatasetError {
        let path = path.to_owned();
        move |cause| DatasetError::Io { action, path, cause }
    }

    pub(crate) fn damaged(file: &Path, what: impl std::fmt::Display) -> DatasetError {
        DatasetError::Damaged { file: file.to_owned(), what: what.to_string() }
    }
}
