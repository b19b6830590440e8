//! Datasets of raw files, made once and found again: what `serve FILE.csv` opens.
//!
//! An entry's folder is named by a hash over the files' paths, sizes and times of change, and over everything in the options
//! that changes the dataset; a changed file is therefore ingested anew, beside the old entry. Entries are never removed here:
//! a running server may have them open.

use super::error::IngestError;
use super::{IngestOptions, Observer, Summary, ingest, inputs, name_from_path};
use crate::dataset::manifest::FORMAT_VERSION;
use crate::dataset::write::Replace;
use crate::dataset::{DatasetError, Manifest};
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;
use xxhash_rust::xxh3::xxh3_64;

/// A dataset in the cache.
#[derive(Debug)]
pub struct Cached {
    pub folder: PathBuf,
    /// What the ingest did, if the dataset was not there yet.
    pub made: Option<Summary>,
}

/// `$XDG_CACHE_HOME/pointillist`, or `~/.cache/pointillist`.
///
/// # Errors
/// Neither variable is set.
pub fn default_root() -> Result<PathBuf, IngestError> {
    let variable = |name| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let root = variable("XDG_CACHE_HOME").or_else(|| variable("HOME").map(|home| home.join(".cache")));
    root.map(|root| root.join("pointillist")).ok_or_else(|| {
        IngestError::Usage("there is no folder for caches: set XDG_CACHE_HOME, or ingest to a folder of your choice".into())
    })
}

/// The dataset of `options.inputs` under `root`, ingested if it is not there yet. `options.output` is not looked at.
///
/// # Errors
/// Whatever keeps the inputs from being ingested.
pub fn find_or_ingest(options: &IngestOptions, root: &Path, observer: &dyn Observer) -> Result<Cached, IngestError> {
    let folder = root.join(entry_name(options)?);
    if Manifest::read(&folder).is_ok() {
        return Ok(Cached { folder, made: None });
    }
    let name = options.name.clone().or_else(|| options.inputs.first().map(|input| stem(input)));
    // An entry that cannot be read (of a killed program, or damaged) is no dataset to anybody: it is replaced.
    let options = IngestOptions { output: folder.clone(), name, replace: Replace::Dataset, ..options.clone() };
    match ingest(&options, observer) {
        Ok(summary) => Ok(Cached { folder, made: Some(summary) }),
        // Another process made the same entry meanwhile.
        Err(IngestError::Dataset(DatasetError::Exists(_))) if Manifest::read(&folder).is_ok() => {
            Ok(Cached { folder, made: None })
        }
        Err(error) => Err(error),
    }
}

/// `NAME-HASH`.
fn entry_name(options: &IngestOptions) -> Result<String, IngestError> {
    use std::fmt::Write;
    let mut identity = format!(
        "{FORMAT_VERSION} {:?} {:?} {:?} {:?} {:?}\n",
        options.preset.map(|preset| preset.name), options.columns, options.dialect, options.wanted, options.name
    );
    for input in inputs::resolve(&options.inputs)? {
        let path = input.path.canonicalize().map_err(IngestError::io("find", &input.path))?;
        let metadata = path.metadata().map_err(IngestError::io("read", &path))?;
        let changed = metadata.modified().ok().and_then(|time| time.duration_since(UNIX_EPOCH).ok());
        // Writing to a string cannot fail.
        let _ = writeln!(identity, "{} {} {changed:?}", path.display(), metadata.len());
    }
    let name = options.inputs.first().map_or_else(|| "dataset".to_owned(), |input| stem(input));
    Ok(format!("{name}-{:016x}", xxh3_64(identity.as_bytes())))
}

/// The name of a file without the endings that say how it is written: `ais-2020.csv.gz` is `ais-2020`.
fn stem(path: &Path) -> String {
    let mut path = PathBuf::from(name_from_path(path));
    while inputs::is_format_ending(&path) {
        path = path.with_extension("");
    }
    name_from_path(&path)
}

#[cfg(test)]
mod tests {
    use super::super::{ColumnWishes, DialectWishes, Unobserved};
    use super::*;

    #[test]
    fn an_entry_is_found_again_until_the_file_or_the_options_change() {
        let folder = tempfile::tempdir().unwrap();
        let input = folder.path().join("my points.csv.txt");
        std::fs::write(&input, "lon,lat,a\n1,2,x\n").unwrap();
        let root = folder.path().join("cache");
        let mut options = IngestOptions {
            inputs: vec![input.clone()], output: PathBuf::new(), preset: None, columns: ColumnWishes::default(),
            dialect: DialectWishes::default(), wanted: None, rejects: None, name: None, style: Default::default(), replace: Replace::Never,
            memory_limit_bytes: 1 << 30, part_points_max: 1000,
        };
        let first = find_or_ingest(&options, &root, &Unobserved).unwrap();
        assert_eq!(first.made.as_ref().unwrap().manifest.name, "my-points");
        let again = find_or_ingest(&options, &root, &Unobserved).unwrap();
        assert!(again.made.is_none() && again.folder == first.folder);
        options.columns.category = Some("a".into());
        let coloured = find_or_ingest(&options, &root, &Unobserved).unwrap();
        assert!(coloured.made.is_some() && coloured.folder != first.folder);
        std::fs::write(&input, "lon,lat,a\n1,2,x\n3,4,y\n").unwrap();
        let changed = find_or_ingest(&options, &root, &Unobserved).unwrap();
        assert_eq!(changed.made.unwrap().manifest.rows, 2);
    }
}
