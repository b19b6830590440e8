//! Where a process keeps blocks: several may be told of one folder, and each takes a place in it that no other has locked.
//!
//! ```text
//! DIR/N/         N = 0, 1, ...: the first that nobody else has locked
//! DIR/N/lock     locked for as long as the process lives
//! ```

use super::super::DatasetError;
use super::sparse::BLOCK_BYTES;
use std::collections::HashMap;
use std::fs::{self, File};
use std::path::{Path, PathBuf};

/// Processes that may share a folder.
const PLACES_MAX: usize = 64;

/// The place that is this process' own for as long as the file is open.
///
/// # Errors
/// The folder cannot be made or written, or all places are taken.
pub fn lock(folder: &Path) -> Result<(PathBuf, File), DatasetError> {
    let mut places = (0..PLACES_MAX).map(|place| locked(&folder.join(place.to_string())));
    places.find_map(Result::transpose).unwrap_or_else(|| Err(DatasetError::Busy(folder.to_owned())))
}

/// Bytes of the blocks that earlier processes have left in a place, by version.
///
/// # Errors
/// It cannot be read.
pub fn left_in(folder: &Path) -> Result<HashMap<String, u64>, DatasetError> {
    let mut left = HashMap::new();
    let entries = |folder: &Path| Ok::<_, DatasetError>(fs::read_dir(folder).map_err(DatasetError::io("read", folder))?.flatten());
    for version in entries(folder)?.filter(|entry| entry.path().is_dir()) {
        let mut blocks = 0;
        for file in entries(&version.path())?.map(|entry| entry.path()).filter(|path| path.extension().is_some_and(|end| end == "have")) {
            let have = fs::read(&file).map_err(DatasetError::io("read", &file))?;
            blocks += have.iter().filter(|&&there| there == 1).count() as u64;
        }
        left.insert(version.file_name().to_string_lossy().into_owned(), blocks * BLOCK_BYTES);
    }
    Ok(left)
}

/// Makes a folder and locks it; `None` where another process has it.
fn locked(folder: &Path) -> Result<Option<(PathBuf, File)>, DatasetError> {
    fs::create_dir_all(folder).map_err(DatasetError::io("create", folder))?;
    let path = folder.join("lock");
    let lock = File::create(&path).map_err(DatasetError::io("create", &path))?;
    match lock.try_lock() {
        Ok(()) => Ok(Some((folder.to_owned(), lock))),
        Err(fs::TryLockError::WouldBlock) => Ok(None),
        Err(fs::TryLockError::Error(error)) => Err(DatasetError::io("lock", &path)(error)),
    }
}
