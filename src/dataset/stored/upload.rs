//! A local dataset to a store. The manifest goes last: an upload that is killed leaves the former version served, or none.

use super::super::change::unchanged;
use super::super::manifest::MANIFEST_FILE;
use super::super::write::Replace;
use super::super::{Dataset, DatasetError, Manifest};
use super::overview::OVERVIEW_FILE;
use super::{RANKS_FILE, manifest_of, version_of};
use crate::store::Store;
use std::fs::File;
use std::path::{Path, PathBuf};

/// Whether a dataset may be uploaded to a URL.
///
/// # Errors
/// There is one already, which is not to be replaced; or the store does not answer.
pub fn find_free(url: &Path, replace: Replace) -> Result<(), DatasetError> {
    match manifest_of(&Store::open(url)?) {
        Err(DatasetError::NotADataset(_)) => Ok(()),
        Ok(_) if replace == Replace::Never => Err(DatasetError::Exists(url.to_owned())),
        other => other.map(drop),
    }
}

/// A local dataset on its way to a store. While it lives nobody changes the dataset, so that all of it is of one version.
pub struct Upload<'a> {
    dataset: &'a Dataset,
    overview: &'a Path,
    _unchanged: File,
}

impl<'a> Upload<'a> {
    /// `overview` is the folder that has the dataset's overview.
    ///
    /// # Errors
    /// Somebody is changing the dataset, or has since it was opened.
    pub fn begin(dataset: &'a Dataset, overview: &'a Path) -> Result<Upload<'a>, DatasetError> {
        let folder = dataset.folder();
        let held = unchanged(folder)?;
        if Manifest::read(folder)?.data_version != dataset.manifest.data_version {
            return Err(DatasetError::Busy(folder.to_owned()));
        }
        Ok(Upload { dataset, overview, _unchanged: held })
    }

    /// Bytes that will be sent.
    ///
    /// # Errors
    /// A file cannot be read.
    pub fn bytes(&self) -> Result<u64, DatasetError> {
        let bytes = |(_, path): &(String, PathBuf)| path.metadata().map(|metadata| metadata.len()).map_err(DatasetError::io("read", path));
        self.files().iter().map(bytes).sum()
    }

    /// Sends everything; `progress` is told of bytes as they go. Of the versions in the store, the new one and the one before it stay.
    ///
    /// # Errors
    /// A file cannot be read, or the store does not take it.
    pub fn send(&self, root: &Store, progress: &dyn Fn(u64)) -> Result<(), DatasetError> {
        let former = manifest_of(root).ok();
        let manifest = &self.dataset.manifest;
        let version = version_of(root, manifest);
        for (name, path) in self.files() {
            version.upload(&name, &path, progress)?;
        }
        root.put(MANIFEST_FILE, manifest.text().into())?;
        let kept = [Some(manifest), former.as_ref()].map(|manifest| manifest.map(|manifest| format!("versions/{}/", manifest.data_version)));
        let is_kept = |name: &str| kept.iter().flatten().any(|kept| name.starts_with(kept));
        for object in root.under("versions").list()? {
            let name = format!("versions/{}", object.name);
            if !is_kept(&name) {
                root.remove(&name)?;
            }
        }
        Ok(())
    }

    /// Names in the store, and where the files lie.
    fn files(&self) -> Vec<(String, PathBuf)> {
        let (folder, manifest) = (self.dataset.folder(), &self.dataset.manifest);
        let named = |path: PathBuf| (path.to_string_lossy().into_owned(), folder.join(path));
        let ranks = manifest.parts.iter().map(|part| format!("{}/{RANKS_FILE}", part.folder));
        let beside = ranks.chain([OVERVIEW_FILE.to_owned()]).map(|name| (name.clone(), self.overview.join(name)));
        // A part of few points has no ranks.
        manifest.paths().map(named).chain(beside.filter(|(_, path)| path.exists())).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dataset::change::Change;
    use crate::dataset::testing::dataset;
    use crate::world::WorldPoint;

    #[test]
    fn a_dataset_stays_as_it_is_while_it_goes_up() {
        let (_folder, sample) = dataset(&[WorldPoint { x: 1, y: 2 }], &[], 10);
        let nowhere = Path::new("");
        let upload = Upload::begin(&sample, nowhere).unwrap();
        assert!(matches!(Change::begin(sample.folder()), Err(DatasetError::Busy(_))));
        // Readers of one dataset do not exclude each other.
        assert!(Upload::begin(&sample, nowhere).is_ok());
        drop(upload);
        let change = Change::begin(sample.folder()).unwrap();
        assert!(matches!(Upload::begin(&sample, nowhere), Err(DatasetError::Busy(_))));
        drop(change);
        // Changed between its opening and now: what was opened is not what would go up.
        let mut manifest = sample.manifest.clone();
        manifest.data_version = "another".into();
        manifest.write(&sample.folder().join(MANIFEST_FILE)).unwrap();
        assert!(matches!(Upload::begin(&sample, nowhere), Err(DatasetError::Busy(_))));
    }
}
