//! Folders beside a dataset's: the one that is being written, and the one that makes room for it.
//!
//! ```text
//! .NAME.PID.ingest        being written; locked by the process that does, so that others tell it from what a killed one left
//! .NAME.PID-N.ingest      the same, where a process of that number (in another container) was first
//! .NAME.PID[-N].old.ingest the former dataset, for the moment between two renames, where a disk cannot exchange
//! ```

use super::DatasetError;
use std::fs::{self, File};
use std::path::{Path, PathBuf};

/// Processes of one number over one target, at most: containers that all count from 1.
const NAMESAKES_MAX: u32 = 1000;

/// A folder that is being written.
pub(super) struct Beside {
    folder: PathBuf,
    /// The lock goes with the process, however that ends.
    _lock: File,
}

impl Beside {
    /// An empty folder in `parent`, which nobody else has.
    pub fn create(parent: &Path, name: &str) -> Result<Beside, DatasetError> {
        let pid = std::process::id();
        let tokens = std::iter::once(pid.to_string()).chain((1..NAMESAKES_MAX).map(|n| format!("{pid}-{n}")));
        for token in tokens {
            let folder = parent.join(format!(".{name}.{token}.ingest"));
            match fs::create_dir(&folder) {
                Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => continue,
                made => made.map_err(DatasetError::io("create", &folder))?,
            }
            // Whoever tidies up may have been quicker than the lock.
            let lock = File::open(&folder).ok().filter(|lock| lock.try_lock().is_ok() && folder.exists());
            if let Some(lock) = lock {
                return Ok(Beside { folder, _lock: lock });
            }
        }
        Err(DatasetError::Busy(parent.join(name)))
    }

    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Where the former dataset goes while this folder takes its name.
    pub fn for_the_old(&self) -> PathBuf {
        let name = self.folder.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        self.folder.with_file_name(name.replace(".ingest", ".old.ingest"))
    }
}

/// Removes the folders of processes that are gone. One that was killed between two renames has left the former dataset there: that is
/// put back.
pub(super) fn remove_leftovers(parent: &Path, name: &str) -> Result<(), DatasetError> {
    let prefix = format!(".{name}.");
    for entry in fs::read_dir(parent).map_err(DatasetError::io("read", parent))?.flatten() {
        let file_name = entry.file_name().to_string_lossy().into_owned();
        let Some(rest) = file_name.strip_prefix(&prefix).and_then(|rest| rest.strip_suffix(".ingest")) else { continue };
        if !rest.trim_end_matches(".old").split('-').all(|part| part.parse::<u32>().is_ok()) {
            continue;
        }
        // A folder that cannot be locked is somebody's.
        let Some(_lock) = File::open(entry.path()).ok().filter(|lock| lock.try_lock().is_ok()) else { continue };
        let target = parent.join(name);
        if rest.ends_with(".old") && !target.exists() {
            fs::rename(entry.path(), &target).map_err(DatasetError::io("rename to", &target))?;
            continue;
        }
        tracing::info!("removing {}, left by a run that was stopped", entry.path().display());
        remove_if_there(&entry.path())?;
    }
    Ok(())
}

pub(super) fn remove_if_there(folder: &Path) -> Result<(), DatasetError> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(DatasetError::io("remove", folder)(error)),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_being_written_stays_and_what_was_left_goes() {
        let parent = tempfile::tempdir().unwrap();
        let beside = Beside::create(parent.path(), "towers").unwrap();
        // As a process of the same number in another container would.
        let second = Beside::create(parent.path(), "towers").unwrap();
        assert_ne!(beside.folder(), second.folder());
        let left = second.folder().to_owned();
        drop(second);
        let other = parent.path().join(".towers.2020.ingest.old");
        fs::create_dir(&other).unwrap();
        remove_leftovers(parent.path(), "towers").unwrap();
        assert!(beside.folder().exists() && other.exists());
        assert!(!left.exists());
    }
}
