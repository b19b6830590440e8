//! A local dataset to a store. The manifest goes last: an upload that is killed leaves the former version served, or none.

use super::super::manifest::MANIFEST_FILE;
use super::super::write::Replace;
use super::super::{DatasetError, Manifest};
use super::overview::OVERVIEW_FILE;
use super::{RANKS_FILE, manifest_of, version_of};
use crate::store::Store;
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

/// Bytes that [`upload`] sends.
///
/// # Errors
/// A file cannot be read.
pub fn bytes_to_upload(folder: &Path, overview: &Path) -> Result<u64, DatasetError> {
    let files = files(folder, overview, &Manifest::read(folder)?);
    let bytes = |(_, path): &(String, PathBuf)| path.metadata().map(|metadata| metadata.len()).map_err(DatasetError::io("read", path));
    files.iter().map(bytes).sum()
}

/// Uploads the dataset in `folder` to a URL, with the overview that lies in another folder; `progress` is told of bytes as they go. Of the
/// versions there, the new one and the one before it stay.
///
/// # Errors
/// A dataset is there and is not to be replaced, a file cannot be read, or the store does not take it.
pub fn upload(folder: &Path, overview: &Path, url: &Path, replace: Replace, progress: &dyn Fn(u64)) -> Result<Manifest, DatasetError> {
    find_free(url, replace)?;
    upload_to(&Store::open(url)?, folder, overview, progress)
}

pub(crate) fn upload_to(root: &Store, folder: &Path, overview: &Path, progress: &dyn Fn(u64)) -> Result<Manifest, DatasetError> {
    let former = manifest_of(root).ok();
    let manifest = Manifest::read(folder)?;
    let version = version_of(root, &manifest);
    for (name, path) in files(folder, overview, &manifest) {
        version.upload(&name, &path, progress)?;
    }
    root.upload(MANIFEST_FILE, &folder.join(MANIFEST_FILE), &|_| ())?;
    let kept = [Some(&manifest), former.as_ref()].map(|manifest| manifest.map(|manifest| format!("versions/{}/", manifest.data_version)));
    let is_kept = |name: &str| kept.iter().flatten().any(|kept| name.starts_with(kept));
    for object in root.under("versions").list()? {
        let name = format!("versions/{}", object.name);
        if !is_kept(&name) {
            root.remove(&name)?;
        }
    }
    Ok(manifest)
}

/// Names in the store, and where the files lie.
fn files(folder: &Path, overview: &Path, manifest: &Manifest) -> Vec<(String, PathBuf)> {
    let named = |path: PathBuf| (path.to_string_lossy().into_owned(), folder.join(path));
    let ranks = manifest.parts.iter().map(|part| format!("{}/{RANKS_FILE}", part.folder));
    let beside = ranks.chain([OVERVIEW_FILE.to_owned()]).map(|name| (name.clone(), overview.join(name)));
    // A part of few points has no ranks.
    manifest.paths().map(named).chain(beside.filter(|(_, path)| path.exists())).collect()
}
