//! The next version of a dataset that others are reading: rows appended, or parts compacted.
//!
//! ```text
//! DIR/staged/           the rows that come, first a dataset of their own
//! DIR/parts/NNNNN/      new parts, and old ones whose keys had to be rewritten; not named yet
//! DIR/dictionaries/     new dictionaries, under names of their own
//! DIR/dataset.json.next the new manifest, renamed to dataset.json: that is the moment of change
//! ```
//!
//! No file that a manifest names is ever written to, so that a reader of the former version goes on with it, and a program that is
//! killed leaves the former version or the new one. What no manifest names is removed before the next change, and after this one.

use super::dictionary::Dictionary;
use super::manifest::{FileInfo, MANIFEST_FILE, PartInfo};
use super::merge::{Merged, Rekey, merge};
use super::sync::sync;
use super::write::{PART_FILES, file_info, write_blocks, write_hot};
use super::{Column, ColumnId, Dataset, DatasetError, Manifest, Part, ipc};
use crate::world::LonLatBox;
use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File, TryLockError};
use std::path::{Path, PathBuf};

/// Keeps a dataset from being changed for as long as the file lives; any number of programs may.
///
/// # Errors
/// Somebody is changing it.
pub(super) fn unchanged(folder: &Path) -> Result<File, DatasetError> {
    let held = File::open(folder).map_err(DatasetError::io("open", folder))?;
    held.try_lock_shared().map_err(|error| not_locked(folder, error))?;
    Ok(held)
}

/// Keeps everybody else from changing or uploading a dataset, for as long as the file lives.
///
/// # Errors
/// Somebody is.
pub(super) fn locked(folder: &Path) -> Result<File, DatasetError> {
    let lock = File::open(folder).map_err(DatasetError::io("open", folder))?;
    lock.try_lock().map_err(|error| not_locked(folder, error))?;
    Ok(lock)
}

fn not_locked(folder: &Path, error: TryLockError) -> DatasetError {
    match error {
        TryLockError::WouldBlock => DatasetError::Busy(folder.to_owned()),
        TryLockError::Error(error) => DatasetError::io("lock", folder)(error),
    }
}

/// The right to change a dataset: one program at a time has it.
pub struct Change {
    folder: PathBuf,
    manifest: Manifest,
    part_next: u32,
    /// Locked. The lock goes with the process, however that ends.
    _lock: File,
}

impl Change {
    /// Takes the right to change the dataset in `folder`, and removes what killed changes left.
    ///
    /// # Errors
    /// No dataset there, or another program is changing it.
    pub fn begin(folder: &Path) -> Result<Change, DatasetError> {
        Manifest::read(folder)?;
        let lock = locked(folder)?;
        // Read again: what was read without the lock may be of yesterday.
        let manifest = Manifest::read(folder)?;
        remove_unnamed(folder, &manifest)?;
        let numbers = manifest.parts.iter().filter_map(|part| part.folder.rsplit('/').next()?.parse::<u32>().ok());
        let part_next = numbers.max().map_or(0, |number| number + 1);
        Ok(Change { folder: folder.to_owned(), manifest, part_next, _lock: lock })
    }

    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    /// The dataset as it is.
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// Where the rows that come are to be made a dataset.
    pub fn staging(&self) -> PathBuf {
        self.folder.join("staged")
    }

    /// Appends the points of the staged dataset, whose columns have the names and kinds of this one's, in the same order.
    ///
    /// # Errors
    /// A file cannot be read or written; the dataset is then as it was.
    ///
    /// # Panics
    /// If the columns differ: the caller's bug.
    pub fn append(mut self) -> Result<Manifest, DatasetError> {
        let (old, new) = (Dataset::open(&self.folder)?, Dataset::open(&self.staging())?);
        let named = |dataset: &Dataset| dataset.columns().iter().map(|c| (c.name.clone(), c.kind)).collect::<Vec<_>>();
        assert_eq!(named(&old), named(&new), "appended rows have the dataset's columns");
        let merged: Vec<Merged> = (0..old.columns().len()).map(|i| merge(&old, &new, ColumnId(i))).collect();
        let columns: Vec<Column> = merged.iter().map(|merged| merged.column.clone()).collect();
        let revision = self.manifest.revision + 1;
        let mut parts = Vec::new();
        for (side, dataset) in [&old, &new].into_iter().enumerate() {
            let rekeys: Vec<&Rekey> = merged.iter().map(|merged| &merged.rekeys[side]).collect();
            let is_same = rekeys.iter().all(|rekey| **rekey == Rekey::Same)
                && dataset.columns().iter().zip(&columns).all(|(before, after)| before.width == after.width);
            for (part, info) in dataset.parts.iter().zip(&dataset.manifest.parts) {
                let revision = if side == 0 { info.revision } else { revision };
                let (folder, files) = match (side, is_same) {
                    (0, true) => (info.folder.clone(), info.files.clone()),
                    (_, true) => (self.moved(part)?, info.files.clone()),
                    (_, false) => self.rekeyed(part, info, &columns, &rekeys)?,
                };
                parts.push(PartInfo { folder, files, revision, ..info.clone() });
            }
        }
        let dictionaries = merged
            .iter()
            .enumerate()
            .filter_map(|(i, merged)| merged.dictionary.as_ref().map(|dictionary| (i, dictionary)))
            .map(|(i, (values, counts))| {
                let name = Dictionary::file_name(ColumnId(i), revision);
                ipc::write_batch(&self.folder.join(&name), &Dictionary::batch(values, counts.clone()))?;
                file_info(&self.folder, &name)
            })
            .collect::<Result<Vec<FileInfo>, _>>()?;
        let next = Manifest {
            revision,
            rows: old.rows() + new.rows(),
            rejected: added(&old.manifest.rejected, &new.manifest.rejected),
            bounds: around(old.manifest.bounds, new.manifest.bounds),
            columns,
            dictionaries,
            parts,
            ..self.manifest.clone()
        };
        self.publish(next)
    }

    /// Replaces all parts by those of the staged dataset, which has the same points and columns.
    pub(super) fn replace_parts(mut self) -> Result<Manifest, DatasetError> {
        let staged = Dataset::open(&self.staging())?;
        assert_eq!(staged.rows(), self.manifest.rows, "a compaction neither makes nor loses points");
        // No point is new: tiles are of the revision that they were of, or of the last one where their points cannot be told apart now.
        let (revision, last) = (self.manifest.revision + 1, self.manifest.parts.iter().map(|part| part.revision).max());
        let mut parts = Vec::new();
        for (part, info) in staged.parts.iter().zip(&staged.manifest.parts) {
            parts.push(PartInfo { folder: self.moved(part)?, revision: last.unwrap_or(0), ..info.clone() });
        }
        self.publish(Manifest { revision, parts, ..self.manifest.clone() })
    }

    /// Puts a version into place: one rename.
    fn publish(&self, mut next: Manifest) -> Result<Manifest, DatasetError> {
        next.former_versions = self.manifest.versions_for_next();
        next.origin = Some(self.manifest.origin().to_owned());
        next.created_by = concat!("pointillist ", env!("CARGO_PKG_VERSION")).to_owned();
        next.data_version = next.version_computed();
        let known: BTreeSet<PathBuf> = self.manifest.paths().collect();
        let mut folders = BTreeSet::from([self.folder.clone()]);
        for path in next.paths().filter(|path| !known.contains(path)).map(|path| self.folder.join(path)) {
            sync(&path)?;
            folders.extend(path.parent().map(Path::to_owned));
        }
        let (beside, manifest) = (self.folder.join(NEXT_FILE), self.folder.join(MANIFEST_FILE));
        next.write(&beside)?;
        sync(&beside)?;
        // Names before contents would be a mix after a power failure: folders are written down before the rename, and after it.
        folders.iter().try_for_each(|folder| sync(folder))?;
        fs::rename(&beside, &manifest).map_err(DatasetError::io("rename to", &manifest))?;
        sync(&self.folder)?;
        Ok(next)
    }

    /// Moves a part of the staged dataset here.
    fn moved(&mut self, part: &Part) -> Result<String, DatasetError> {
        let name = self.part_folder();
        let path = self.folder.join(&name);
        fs::rename(part.folder(), &path).map_err(DatasetError::io("rename to", &path))?;
        Ok(name)
    }

    /// A part with other keys: what does not change is the same file under a second name.
    fn rekeyed(
        &mut self,
        part: &Part,
        info: &PartInfo,
        columns: &[Column],
        rekeys: &[&Rekey],
    ) -> Result<(String, Vec<FileInfo>), DatasetError> {
        let name = self.part_folder();
        let folder = self.folder.join(&name);
        fs::create_dir_all(&folder).map_err(DatasetError::io("create", &folder))?;
        let hot: Vec<_> = rekeys
            .iter()
            .enumerate()
            .map(|(i, rekey)| rekey.apply(part.column(ColumnId(i)), columns[i].width))
            .collect();
        write_blocks(&folder.join("blocks.arrow"), part.rows() as usize, columns, &hot)?;
        write_hot(&folder.join("hot.arrow"), part.lo().to_vec(), columns, hot)?;
        let mut files = Vec::new();
        for file in PART_FILES {
            if ["hot.arrow", "blocks.arrow"].contains(&file) {
                files.push(file_info(&folder, file)?);
                continue;
            }
            let (from, to) = (part.folder().join(file), folder.join(file));
            // Some file systems have no second names.
            fs::hard_link(&from, &to).or_else(|_| fs::copy(&from, &to).map(drop)).map_err(DatasetError::io("write", &to))?;
            files.extend(info.files.iter().find(|info| info.name == file).cloned());
        }
        Ok((name, files))
    }

    fn part_folder(&mut self) -> String {
        let name = format!("parts/{:05}", self.part_next);
        self.part_next += 1;
        name
    }
}

impl Drop for Change {
    /// Removes what the version in place does not name: the former one's files after a change, what was written after a failure.
    fn drop(&mut self) {
        if let Err(error) = Manifest::read(&self.folder).and_then(|manifest| remove_unnamed(&self.folder, &manifest)) {
            tracing::warn!("files that {} no longer needs are left until its next change: {error}", self.folder.display());
        }
    }
}

const NEXT_FILE: &str = "dataset.json.next";

/// Removes what the manifest does not name.
fn remove_unnamed(folder: &Path, manifest: &Manifest) -> Result<(), DatasetError> {
    let named: BTreeSet<PathBuf> = manifest.paths().collect();
    let part_folders: BTreeSet<PathBuf> = manifest.parts.iter().map(|part| PathBuf::from(&part.folder)).collect();
    let entries = |sub: &str| -> Result<Vec<PathBuf>, DatasetError> {
        let path = folder.join(sub);
        let read = fs::read_dir(&path).map_err(DatasetError::io("read", &path))?;
        Ok(read.flatten().map(|entry| Path::new(sub).join(entry.file_name())).collect())
    };
    let remove = |path: &Path| {
        let path = folder.join(path);
        let removed = if path.is_dir() { fs::remove_dir_all(&path) } else { fs::remove_file(&path) };
        removed.map_err(DatasetError::io("remove", &path))
    };
    for path in entries("parts")?.iter().filter(|path| !part_folders.contains(*path)) {
        remove(path)?;
    }
    for path in entries("dictionaries")?.iter().filter(|path| !named.contains(*path)) {
        remove(path)?;
    }
    let is_ours = |name: &str| name == "staged" || name == NEXT_FILE || (name.starts_with(".staged.") && name.ends_with(".ingest"));
    for path in entries("")?.iter().filter(|path| path.file_name().is_some_and(|name| is_ours(&name.to_string_lossy()))) {
        remove(path)?;
    }
    Ok(())
}

fn added(a: &BTreeMap<String, u64>, b: &BTreeMap<String, u64>) -> BTreeMap<String, u64> {
    let mut sum = a.clone();
    b.iter().for_each(|(reason, rows)| *sum.entry(reason.clone()).or_insert(0) += rows);
    sum
}

fn around(a: LonLatBox, b: LonLatBox) -> LonLatBox {
    LonLatBox { west: a.west.min(b.west), south: a.south.min(b.south), east: a.east.max(b.east), north: a.north.max(b.north) }
}
