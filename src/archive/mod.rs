//! Archives: tiles that somebody has made, in one file, to be served as they are. PMTiles 3 and MBTiles 1.3, with images or vectors.
//!
//! An archive is not looked into: what its tiles show is their maker's affair. PMTiles may also lie in a store of objects, of which a
//! tile then is one range. This module must not know HTTP.

mod mbtiles;
mod pmtiles;

use crate::store::{Store, StoreError};
use crate::world::{LonLatBox, TileId};
use bytes::Bytes;
use mbtiles::Mbtiles;
use pmtiles::{Pmtiles, Source};
use serde_json::{Map, Value};
use std::io::Read;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;
use thiserror::Error;
use xxhash_rust::xxh3::xxh3_128;

/// Bytes at the start of a file that its version depends on: PMTiles' header and root directory, SQLite's change counter.
const VERSION_BYTES: u64 = 16 << 10;

/// What a tile may unpack to: far more than any viewer draws.
const UNPACKED_BYTES_MAX: u64 = 64 << 20;

#[derive(Debug, Error)]
pub enum ArchiveError {
    #[error("cannot read {}: {cause}", path.display())]
    Io { path: PathBuf, cause: std::io::Error },
    #[error("{} is no PMTiles archive that can be read: {why}", path.display())]
    Pmtiles { path: PathBuf, why: &'static str },
    #[error("{} is no MBTiles archive that can be read: {cause}", path.display())]
    Mbtiles { path: PathBuf, cause: rusqlite::Error },
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("{} is read page by page, which a store of objects cannot do: download it, or make PMTiles", .0.display())]
    NotInStore(PathBuf),
    #[error("{} holds {what}, which is not served: tiles are png, jpg, webp, avif or pbf", path.display())]
    Format { path: PathBuf, what: String },
    #[error("{} has no name to serve it by: name the file NAME.pmtiles or NAME.mbtiles", .0.display())]
    Name(PathBuf),
}

/// What the tiles of an archive are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TileFormat {
    Png,
    Jpeg,
    Webp,
    Avif,
    /// Mapbox vector tiles.
    Mvt,
}

/// An open archive.
pub struct Archive {
    name: String,
    version: String,
    described: Described,
    file: File,
}

/// What an archive says of itself.
#[derive(Clone, Debug)]
pub struct Described {
    pub format: TileFormat,
    /// Whether tiles are stored compressed by gzip.
    pub is_gzipped: bool,
    pub zooms: RangeInclusive<u8>,
    pub bounds: LonLatBox,
    /// Longitude, latitude, zoom.
    pub center: (f64, f64, u8),
    /// Name, description, attribution and the like, as the archive has them; for vectors also `vector_layers`.
    pub metadata: Map<String, Value>,
}

enum File {
    Pmtiles(Pmtiles),
    Mbtiles(Box<Mbtiles>),
}

/// A tile as it is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredTile {
    pub bytes: Bytes,
    pub is_gzipped: bool,
}

impl Archive {
    /// Whether a path is named as archives are.
    pub fn is_named(path: &Path) -> bool {
        path.extension().is_some_and(|extension| extension == "pmtiles" || extension == "mbtiles")
    }

    /// Opens an archive; its name is the file's without the extension.
    ///
    /// # Errors
    /// It cannot be read, or is none.
    pub fn open(path: &Path) -> Result<Archive, ArchiveError> {
        let name = path.file_stem().and_then(|name| name.to_str()).ok_or_else(|| ArchiveError::Name(path.to_owned()))?;
        let is_mbtiles = path.extension().is_some_and(|extension| extension == "mbtiles");
        let of_file = || version(path).map_err(|cause| ArchiveError::Io { path: path.to_owned(), cause });
        let in_store = Store::is_url(path).then(|| Store::open(path)).transpose()?;
        let (version, file, described) = match (in_store, is_mbtiles) {
            (Some(_), true) => return Err(ArchiveError::NotInStore(path.to_owned())),
            (Some(store), false) => {
                let version = format!("{:032x}", xxh3_128(store.version("")?.as_bytes()));
                let (file, described) = Pmtiles::open(path, Source::Store(store))?;
                (version, File::Pmtiles(file), described)
            }
            (None, true) => {
                let (version, (file, described)) = (of_file()?, Mbtiles::open(path)?);
                (version, File::Mbtiles(Box::new(file)), described)
            }
            (None, false) => {
                let (version, (file, described)) = (of_file()?, Pmtiles::open(path, Source::file(path)?)?);
                (version, File::Pmtiles(file), described)
            }
        };
        Ok(Archive { name: name.to_owned(), version, described, file })
    }

    /// The name in URLs.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Another one for another file. It is in ETags, and makes URLs immutable.
    pub fn version(&self) -> &str {
        &self.version
    }

    pub fn described(&self) -> &Described {
        &self.described
    }

    /// A tile as it is stored; `None` where there is none. Reads the file.
    ///
    /// # Errors
    /// The file cannot be read, or is damaged there.
    pub fn tile(&self, tile: TileId) -> Result<Option<StoredTile>, ArchiveError> {
        let bytes = match &self.file {
            File::Pmtiles(file) => file.tile(tile)?,
            File::Mbtiles(file) => file.tile(tile)?,
        };
        Ok(bytes.map(|bytes| {
            // MBTiles does not say: gzip's two bytes begin no image and no vector tile.
            let is_gzipped = self.described.is_gzipped || bytes.starts_with(&[0x1F, 0x8B]);
            StoredTile { bytes, is_gzipped }
        }))
    }
}

impl TileFormat {
    /// As in URLs.
    pub fn extension(self) -> &'static str {
        match self {
            TileFormat::Png => "png",
            TileFormat::Jpeg => "jpg",
            TileFormat::Webp => "webp",
            TileFormat::Avif => "avif",
            TileFormat::Mvt => "pbf",
        }
    }

    pub fn media_type(self) -> &'static str {
        match self {
            TileFormat::Png => "image/png",
            TileFormat::Jpeg => "image/jpeg",
            TileFormat::Webp => "image/webp",
            TileFormat::Avif => "image/avif",
            TileFormat::Mvt => "application/vnd.mapbox-vector-tile",
        }
    }
}

impl StoredTile {
    /// Without gzip.
    ///
    /// # Errors
    /// It is no gzip, or far too large.
    pub fn unpacked(&self) -> std::io::Result<Bytes> {
        if !self.is_gzipped {
            return Ok(self.bytes.clone());
        }
        let mut bytes = Vec::new();
        flate2::read::GzDecoder::new(&self.bytes[..]).take(UNPACKED_BYTES_MAX + 1).read_to_end(&mut bytes)?;
        if bytes.len() as u64 > UNPACKED_BYTES_MAX {
            return Err(std::io::Error::other(format!("a tile unpacks to more than {UNPACKED_BYTES_MAX} bytes")));
        }
        Ok(bytes.into())
    }
}

/// Of the file's size, time and start.
fn version(path: &Path) -> std::io::Result<String> {
    let mut file = std::fs::File::open(path)?;
    let metadata = file.metadata()?;
    let time = metadata.modified().ok().and_then(|time| time.duration_since(UNIX_EPOCH).ok()).unwrap_or_default();
    let mut text = format!("{} {} ", metadata.len(), time.as_nanos()).into_bytes();
    file.by_ref().take(VERSION_BYTES).read_to_end(&mut text)?;
    Ok(format!("{:032x}", xxh3_128(&text)))
}

/// Metadata without what is said elsewhere, and numbers and JSON as what they are.
fn kept(metadata: impl IntoIterator<Item = (String, Value)>) -> Map<String, Value> {
    const ELSEWHERE: [&str; 10] =
        ["bounds", "center", "minzoom", "maxzoom", "format", "tiles", "tilejson", "scheme", "compression", "json"];
    metadata.into_iter().filter(|(name, value)| !ELSEWHERE.contains(&name.as_str()) && !value.is_null()).collect()
}
