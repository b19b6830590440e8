//! Datasets in a store: opened by their manifest and overview, their arrays fetched block by block when work needs them.
//!
//! ```text
//! URL/dataset.json                         the manifest of the version that is served; written last
//! URL/versions/VERSION/overview.json       [overview]
//! URL/versions/VERSION/dictionaries/...    as in a folder
//! URL/versions/VERSION/parts/NNNNN/...     as in a folder, and ranks.arrow: ranks of the main categories at coarse levels
//! ```
//!
//! No object of a version is ever written again, so that whoever serves a former version goes on. Engines see arrays as ever; before they
//! read, they say what ([`Dataset::hold`]), and until they are done it stays ([`Held`]). A local dataset is always there.

mod away;
mod blocks;
mod overview;
mod part;
mod place;
mod sparse;
mod upload;

pub use blocks::{BlockCache, BlockStats, Held, StoredFile, Wants};
pub use overview::{Counted, Overview, Ranked};
use overview::RANKS_FILE;
pub use part::StoredPart;
pub use upload::{Upload, find_free};

use super::dictionary::Dictionary;
use super::manifest::{MANIFEST_FILE, Manifest};
use super::{ColumnId, Dataset, DatasetError, Encoding, Part, ipc};
use crate::store::{Store, StoreError};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// What a dataset in a store has beside its parts.
pub struct StoredDataset {
    store: Store,
    cache: Arc<BlockCache>,
    overview: Overview,
}

/// The manifest of the dataset at a URL.
///
/// # Errors
/// There is none, or the store does not answer.
pub fn manifest_at(url: &Path) -> Result<Manifest, DatasetError> {
    manifest_of(&Store::open(url)?)
}

fn manifest_of(store: &Store) -> Result<Manifest, DatasetError> {
    let bytes = match store.get(MANIFEST_FILE) {
        Err(StoreError::NotFound(_)) => return Err(DatasetError::NotADataset(PathBuf::from(store.url()))),
        other => other?,
    };
    let path = PathBuf::from(format!("{}/{MANIFEST_FILE}", store.url()));
    let text = std::str::from_utf8(&bytes).map_err(|error| DatasetError::damaged(&path, error))?;
    Manifest::parse(text, Path::new(store.url()))
}

fn version_of(store: &Store, manifest: &Manifest) -> Store {
    store.under(&format!("versions/{}", manifest.data_version))
}

impl Dataset {
    /// Opens the dataset at a URL: of a dataset of any size, some requests and megabytes.
    ///
    /// # Errors
    /// There is none, it has no overview, or the store does not answer.
    pub fn open_stored(url: &Path, cache: &Arc<BlockCache>) -> Result<Dataset, DatasetError> {
        Dataset::open_in(&Store::open(url)?, cache)
    }

    pub(super) fn open_in(root: &Store, cache: &Arc<BlockCache>) -> Result<Dataset, DatasetError> {
        let url = Path::new(root.url());
        let manifest = manifest_of(root)?;
        let store = version_of(root, &manifest);
        let (overview, dictionaries) = std::thread::scope(|scope| {
            let overview = scope.spawn(|| Overview::read(&store));
            let dictionaries = dictionaries(&store, &manifest);
            (overview.join().expect("reading an overview does not panic"), dictionaries)
        });
        let overview = match overview {
            Err(DatasetError::Store(StoreError::NotFound(missing))) => return Err(DatasetError::NoOverview { url: url.to_owned(), missing }),
            other => other?,
        };
        if overview.data_version != manifest.data_version || overview.parts.len() != manifest.parts.len() {
            return Err(DatasetError::damaged(Path::new(store.url()), "its overview is of another version"));
        }
        let parts = manifest.parts.iter().zip(&overview.parts);
        let parts = parts.map(|(info, found)| Part::stored(cache, &store, &manifest, info, found, overview.ranked.as_ref()));
        let parts = parts.collect::<Result<Vec<_>, _>>()?;
        let stored = StoredDataset { store, cache: cache.clone(), overview };
        Ok(Dataset { manifest, parts, dictionaries: dictionaries?, folder: url.to_owned(), stored: Some(stored), files: Vec::new() })
    }

    /// Says what is about to be read, and has it there for as long as what it gives lives. Costs nothing for a local dataset.
    ///
    /// # Errors
    /// A dataset in a store, of which something is not there and cannot be had now.
    pub fn hold(&self, wants: &Wants) -> Result<Held, DatasetError> {
        match &self.stored {
            Some(stored) if !wants.is_empty() => stored.cache.hold(&stored.store, wants),
            _ => Ok(Held::default()),
        }
    }

    /// Holds whole columns, blocks' extremes too.
    ///
    /// # Errors
    /// As [`Dataset::hold`].
    pub fn hold_columns(&self, columns: &[ColumnId]) -> Result<Held, DatasetError> {
        let mut wants = Wants::default();
        for part in &self.parts {
            for &column in columns {
                part.want_column(column, 0..part.rows(), &mut wants);
                part.want_extremes(column, &mut wants);
            }
        }
        self.hold(&wants)
    }

    /// What the process' cache of blocks has done; of a dataset in a store only.
    pub fn block_stats(&self) -> Option<BlockStats> {
        self.stored.as_ref().map(|stored| stored.cache.stats())
    }

    pub fn is_stored(&self) -> bool {
        self.stored.is_some()
    }

    /// What is known without reading any of it; of a dataset in a store only.
    pub fn overview(&self) -> Option<&Overview> {
        self.stored.as_ref().map(|stored| &stored.overview)
    }
}

/// All dictionaries, whole and checked.
fn dictionaries(store: &Store, manifest: &Manifest) -> Result<Vec<Option<Arc<Dictionary>>>, DatasetError> {
    let wanted: Vec<(&str, Range<u64>)> = manifest.dictionaries.iter().map(|file| (file.name.as_str(), 0..file.bytes)).collect();
    let bodies = store.ranges(&wanted)?;
    let one = |(place, column): (usize, &super::Column)| {
        if column.encoding != Encoding::Dictionary {
            return Ok(None);
        }
        let path = PathBuf::from(format!("{}/{MANIFEST_FILE}", store.url()));
        let missing = || DatasetError::damaged(&path, format!("it names no dictionary of '{}'", column.name));
        let file = manifest.dictionary_file(ColumnId(place)).ok_or_else(missing)?;
        let body = manifest.dictionaries.iter().position(|known| known.name == file.name).map(|at| bodies[at].clone());
        let (body, path) = (body.ok_or_else(missing)?, PathBuf::from(format!("{}/{}", store.url(), file.name)));
        if format!("{:016x}", xxhash_rust::xxh3::xxh3_64(&body)) != file.xxh3 {
            return Err(DatasetError::damaged(&path, "it has another checksum than dataset.json says"));
        }
        // Arrow's arrays are aligned, which what comes over a network need not be.
        let aligned = arrow::buffer::MutableBuffer::from_iter(body.iter().copied());
        let batch = ipc::batch_of(bytes::Bytes::from_owner(Aligned(aligned.into())), &path)?;
        Dictionary::of(batch, &path, column).map(Arc::new).map(Some)
    };
    manifest.columns.iter().enumerate().map(one).collect()
}

struct Aligned(arrow::buffer::Buffer);

impl AsRef<[u8]> for Aligned {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}
