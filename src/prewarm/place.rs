//! Where an output goes: a local path, or a place in a store of objects.
//!
//! In a store an archive appears when its upload has ended. A folder of tiles cannot appear at once: while it is incomplete an object
//! says so, and for what, so that nobody goes on with the tiles of another run.

use super::output::{Described, Format, is_replaceable, is_tile, shows_nothing, size, write};
use super::work::WorkFile;
use super::{Begin, PrewarmError, Replace, identity};
use crate::store::{Store, StoreError};
use bytes::Bytes;
use std::collections::HashMap;
use std::fmt;
use std::path::{Path, PathBuf};
use xxhash_rust::xxh3::xxh3_128;

/// The object that a folder of tiles has until it is complete.
const INCOMPLETE: &str = ".prewarm";

/// Tiles that go to a store together: at 20 KB some 5 MB.
const PUT_TILES: usize = 256;

#[derive(Clone, Debug)]
pub enum Place {
    Local(PathBuf),
    /// `folder` is local, and has the work until it is done.
    Store { store: Store, folder: PathBuf },
}

impl Place {
    /// The place that a path or a URL names. What is made for a store lies in `folder` until it is there.
    ///
    /// # Errors
    /// The URL is none.
    pub fn of(path: &Path, folder: &Path) -> Result<Place, StoreError> {
        if !Store::is_url(path) {
            return Ok(Place::Local(path.to_owned()));
        }
        Ok(Place::Store { store: Store::open(path)?, folder: folder.to_owned() })
    }

    /// The work file: beside a local output, so that both are on one disk.
    pub(super) fn work_path(&self) -> PathBuf {
        match self {
            Place::Local(path) => {
                let name = path.file_name().map_or_else(|| "tiles".into(), |name| name.to_string_lossy().into_owned());
                path.with_file_name(format!(".{name}.prewarm"))
            }
            Place::Store { store, folder } => folder.join(format!("{:032x}.prewarm", xxh3_128(store.url().as_bytes()))),
        }
    }

    /// Whether there is something that a run must not touch.
    ///
    /// # Errors
    /// The store does not say, or its tiles are of another job.
    pub(super) fn check(&self, format: Format, begin: Begin, replace: Replace, identity: &str) -> Result<(), PrewarmError> {
        let exists = match (self, replace) {
            (Place::Local(path), _) if path.file_name().is_none() => return Err(PrewarmError::Nameless(path.clone())),
            (Place::Local(path), Replace::Always) if !is_replaceable(path, format)? => return Err(PrewarmError::Occupied(path.clone())),
            (_, Replace::Always) => false,
            (Place::Local(path), _) => path.exists(),
            (Place::Store { store, .. }, _) => match (format, begin) {
                (Format::Folder, Begin::Resume) => match store.get(INCOMPLETE) {
                    Ok(begun) if begun == identity => false,
                    Ok(_) => return Err(PrewarmError::OtherWork(store.url().into())),
                    Err(StoreError::NotFound(_)) => !store.list()?.is_empty(),
                    Err(error) => return Err(error.into()),
                },
                (Format::Folder, Begin::Afresh) => !store.list()?.is_empty(),
                _ => match store.size("") {
                    Ok(_) => true,
                    Err(StoreError::NotFound(_)) => false,
                    Err(error) => return Err(error.into()),
                },
            },
        };
        if exists { Err(PrewarmError::Exists(self.to_string().into())) } else { Ok(()) }
    }

    /// Writes all tiles of the work file that show anything; gives the bytes of the output.
    pub(super) fn write(&self, described: &Described<'_>, format: Format, work: &WorkFile) -> Result<u64, PrewarmError> {
        match (self, format) {
            (Place::Local(path), _) => {
                write(described, path, format, work)?;
                size(path)
            }
            (Place::Store { store, .. }, Format::Folder) => put_tiles(store, &identity(described.job), work),
            (Place::Store { store, .. }, _) => {
                let made = self.work_path().with_extension("made");
                write(described, &made, format, work)?;
                store.upload("", &made, &|_| ())?;
                let bytes = size(&made)?;
                std::fs::remove_file(&made).map_err(|source| PrewarmError::Io { path: made, source })?;
                Ok(bytes)
            }
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Place::Local(path) => write!(f, "{}", path.display()),
            Place::Store { store, .. } => f.write_str(store.url()),
        }
    }
}

/// Puts tiles, each an object, but for those that a run for the same job has put already; and takes those away that an earlier output
/// had and this one has not. Gives the bytes of all tiles.
fn put_tiles(store: &Store, identity: &str, work: &WorkFile) -> Result<u64, PrewarmError> {
    let listed = store.list()?;
    let is_begun = match store.get(INCOMPLETE) {
        Ok(begun) => begun == identity,
        Err(StoreError::NotFound(_)) => false,
        Err(error) => return Err(error.into()),
    };
    store.put(INCOMPLETE, Bytes::copy_from_slice(identity.as_bytes()))?;
    let mut there: HashMap<String, u64> = listed.into_iter().filter(|object| is_tile(&object.name)).map(|object| (object.name, object.bytes)).collect();
    let mut bytes = 0;
    for tiles in work.tiles()?.chunks(PUT_TILES) {
        let mut missing = Vec::new();
        for &tile in tiles {
            let image = work.image(tile)?;
            if shows_nothing(&image) {
                continue;
            }
            bytes += image.len() as u64;
            let name = format!("{tile}.png");
            if there.remove(&name) != Some(image.len() as u64) || !is_begun {
                missing.push((name, Bytes::from(image)));
            }
        }
        store.put_all(missing)?;
    }
    there.keys().try_for_each(|name| store.remove(name))?;
    store.remove(INCOMPLETE)?;
    Ok(bytes)
}
