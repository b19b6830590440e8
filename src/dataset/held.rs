//! Files that an open dataset reads from: whether they are still what was opened.
//!
//! Nothing of a dataset is ever written to in place; but a copy over it, a full or faulty disk or a slip of the hand may do it. What
//! is removed or replaced under its name is no matter: who has it open keeps it.

use super::DatasetError;
use super::mmap::Place;
use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Cloning is cheap.
#[derive(Clone, Debug)]
pub(super) struct HeldFile {
    path: PathBuf,
    identity: Identity,
    /// Where it is mapped.
    place: Option<Arc<Place>>,
}

/// Which file, and which contents as far as the system tells. A name that goes changes neither.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Identity {
    device: u64,
    inode: u64,
    bytes: u64,
    /// Seconds and nanoseconds since the epoch.
    modified: (i64, i64),
}

impl Identity {
    fn of(metadata: &Metadata) -> Identity {
        let modified = (metadata.mtime(), metadata.mtime_nsec());
        Identity { device: metadata.dev(), inode: metadata.ino(), bytes: metadata.len(), modified }
    }
}

impl HeldFile {
    pub fn new(path: &Path, metadata: &Metadata) -> HeldFile {
        HeldFile { path: path.to_owned(), identity: Identity::of(metadata), place: None }
    }

    /// A file that has been opened just now.
    ///
    /// # Errors
    /// It is not there.
    pub fn opened(path: &Path) -> Result<HeldFile, DatasetError> {
        let metadata = std::fs::metadata(path).map_err(DatasetError::io("read", path))?;
        Ok(HeldFile::new(path, &metadata))
    }

    pub fn mapped(self, place: Arc<Place>) -> HeldFile {
        HeldFile { place: Some(place), ..self }
    }

    /// Whether somebody has read where there was nothing any more. Looks at no file.
    pub fn is_cut(&self) -> bool {
        self.place.as_ref().is_some_and(|place| place.is_cut())
    }

    /// # Errors
    /// It has been cut or written to since it was opened.
    pub fn check(&self) -> Result<(), DatasetError> {
        let found = std::fs::metadata(&self.path).ok().map(|metadata| Identity::of(&metadata));
        let is_same_file = |found: &Identity| (found.device, found.inode) == (self.identity.device, self.identity.inode);
        let is_changed = found.filter(is_same_file).is_some_and(|found| found != self.identity);
        if is_changed || self.is_cut() {
            return Err(DatasetError::damaged(&self.path, "it has been cut or written to while it was open"));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Seek, Write};

    /// A file that is overwritten with as many bytes is told by its time, of which two writes may have the same.
    fn aged(path: &Path) {
        let file = std::fs::File::options().write(true).open(path).unwrap();
        file.set_modified(std::time::UNIX_EPOCH).unwrap();
    }

    #[test]
    fn what_is_done_to_a_file_is_found_and_what_is_done_to_its_name_does_not_matter() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a");
        let written = || {
            std::fs::write(&path, [1; 9000]).unwrap();
            aged(&path);
            HeldFile::opened(&path).unwrap()
        };
        let file = written();
        assert!(file.check().is_ok());
        std::fs::File::options().write(true).open(&path).unwrap().set_len(8999).unwrap();
        assert!(file.check().unwrap_err().to_string().contains("cut or written to"));

        let file = written();
        let mut byte = std::fs::File::options().write(true).open(&path).unwrap();
        byte.seek(std::io::SeekFrom::Start(5000)).unwrap();
        byte.write_all(&[2]).unwrap();
        assert!(file.check().is_err());

        let file = written();
        std::fs::write(folder.path().join("b"), [2; 100]).unwrap();
        std::fs::rename(folder.path().join("b"), &path).unwrap();
        assert!(file.check().is_ok(), "another file has the name, and the one that is open is as it was");
        std::fs::remove_file(&path).unwrap();
        assert!(file.check().is_ok());
    }
}
