//! What is on the disk before it has its name: without this a power failure may leave a name whose file is empty or half.

use super::DatasetError;
use std::fs::{self, File};
use std::path::Path;

/// Waits until a file's bytes, or a folder's names, are on the disk.
pub(super) fn sync(path: &Path) -> Result<(), DatasetError> {
    File::open(path).and_then(|file| file.sync_all()).map_err(DatasetError::io("write", path))
}

/// Waits until all of a folder is on the disk, what it holds before its own names.
pub(super) fn sync_all(folder: &Path) -> Result<(), DatasetError> {
    for entry in fs::read_dir(folder).map_err(DatasetError::io("read", folder))? {
        let path = entry.map_err(DatasetError::io("read", folder))?.path();
        if path.is_dir() { sync_all(&path)? } else { sync(&path)? }
    }
    sync(folder)
}
