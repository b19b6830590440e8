//! PMTiles 3, as its specification says: a header, directories of varints, and tiles by the number that Hilbert's curve gives them.
//!
//! ```text
//! header (127 bytes) | root directory | metadata (JSON) | leaf directories | tiles
//! ```
//! <https://github.com/protomaps/PMTiles/blob/main/spec/v3/spec.md>
//!
//! The `pmtiles` crate, which writes them and numbers tiles here, reads them only from asynchronous code and through tokio's files.

use super::{ArchiveError, Described, TileFormat, kept};
use crate::store::{Store, StoreError};
use crate::world::{LonLatBox, TileId};
use bytes::Bytes;
use lru::LruCache;
use serde_json::Value;
use std::fs::File;
use std::io::{Error, Read, Seek, SeekFrom};
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

const HEADER_BYTES: usize = 127;

/// Directories are below 1 MB packed in practice; a hostile one may say anything.
const DIRECTORY_BYTES_MAX: u64 = 64 << 20;

/// The largest tile, and the largest metadata, that is read.
const SECTION_BYTES_MAX: u64 = 256 << 20;

/// Leaf directories that are kept unpacked. Each holds some thousand entries of 24 bytes.
const LEAVES_MAX: NonZeroUsize = NonZeroUsize::new(256).expect("256 is not 0");

/// Directories below each other: the specification advises one level of leaves.
const DEPTH_MAX: usize = 4;

/// Degrees in the header, in ten-millionths.
const DEGREE: f64 = 1e7;

/// Where an archive's bytes are.
pub(super) enum Source {
    File(Mutex<File>),
    /// The object that the store's own URL names.
    Store(Store),
}

pub(super) struct Pmtiles {
    source: Source,
    path: PathBuf,
    root: Directory,
    leaves: Mutex<LruCache<u64, Directory>>,
    leaf_offset: u64,
    data_offset: u64,
    is_packed: bool,
}

type Directory = Arc<[Entry]>;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Entry {
    tile: u64,
    offset: u64,
    length: u32,
    /// Tiles that have this content, from `tile` on; 0 of a leaf directory.
    run: u32,
}

impl Pmtiles {
    pub(super) fn open(path: &Path, source: Source) -> Result<(Pmtiles, Described), ArchiveError> {
        let failed = |cause| ArchiveError::Io { path: path.to_owned(), cause };
        let header = source.section(0, HEADER_BYTES as u64).map_err(|error| match error {
            Failed::Cut => wrong(path, "it is shorter than a header"),
            other => other.of(path),
        })?;
        let section = |offset, length| source.section(offset, length).map_err(|error| error.of(path));
        if !header.starts_with(b"PMTiles\x03") {
            return Err(wrong(path, "it does not begin as PMTiles of version 3 do"));
        }
        let word = |at: usize| u64::from_le_bytes(header[at..at + 8].try_into().expect("eight bytes"));
        let degrees = |at: usize| f64::from(i32::from_le_bytes(header[at..at + 4].try_into().expect("four bytes"))) / DEGREE;
        let unserved = |what: String| ArchiveError::Format { path: path.to_owned(), what };
        let is_packed = match header[97] {
            0 | 1 => false,
            2 => true,
            other => return Err(unserved(format!("directories compressed in the way {other}"))),
        };
        let is_gzipped = match header[98] {
            0 | 1 => false,
            2 => true,
            other => return Err(unserved(format!("tiles compressed in the way {other}"))),
        };
        let format = match header[99] {
            1 => TileFormat::Mvt,
            2 => TileFormat::Png,
            3 => TileFormat::Jpeg,
            4 => TileFormat::Webp,
            5 => TileFormat::Avif,
            other => return Err(unserved(format!("tiles of the type {other}"))),
        };
        let root = directory(&unpacked(section(word(8), word(16))?, is_packed).map_err(failed)?)
            .ok_or_else(|| wrong(path, "its root directory is damaged"))?;
        let metadata = unpacked(section(word(24), word(32))?, is_packed).map_err(failed)?;
        let metadata: Value = if metadata.is_empty() { Value::Null } else { serde_json::from_slice(&metadata).map_err(|_| wrong(path, "its metadata is no JSON"))? };
        let described = Described {
            format,
            is_gzipped,
            zooms: header[100]..=header[101],
            bounds: LonLatBox { west: degrees(102), south: degrees(106), east: degrees(110), north: degrees(114) },
            center: (degrees(119), degrees(123), header[118]),
            metadata: kept(metadata.as_object().cloned().unwrap_or_default()),
        };
        let archive = Pmtiles {
            source,
            path: path.to_owned(),
            root,
            leaves: Mutex::new(LruCache::new(LEAVES_MAX)),
            leaf_offset: word(40),
            data_offset: word(56),
            is_packed,
        };
        Ok((archive, described))
    }

    pub(super) fn tile(&self, tile: TileId) -> Result<Option<Bytes>, ArchiveError> {
        let number = pmtiles::TileCoord::new(tile.z(), tile.x(), tile.y())
            .map(|coord| pmtiles::TileId::from(coord).value())
            .map_err(|_| wrong(&self.path, "it numbers no tile as deep as that"))?;
        let mut directory = self.root.clone();
        for _ in 0..DEPTH_MAX {
            let Some(entry) = found(&directory, number) else { return Ok(None) };
            if entry.run > 0 {
                return self.read(self.data_offset, entry).map(Some);
            }
            directory = self.leaf(entry)?;
        }
        Err(wrong(&self.path, "its directories never end"))
    }

    fn leaf(&self, entry: Entry) -> Result<Directory, ArchiveError> {
        if let Some(known) = self.leaves.lock().unwrap_or_else(PoisonError::into_inner).get(&entry.offset) {
            return Ok(known.clone());
        }
        let bytes = unpacked(self.read(self.leaf_offset, entry)?, self.is_packed)
            .map_err(|cause| ArchiveError::Io { path: self.path.clone(), cause })?;
        let read = directory(&bytes).ok_or_else(|| wrong(&self.path, "a directory is damaged"))?;
        self.leaves.lock().unwrap_or_else(PoisonError::into_inner).put(entry.offset, read.clone());
        Ok(read)
    }

    fn read(&self, base: u64, entry: Entry) -> Result<Bytes, ArchiveError> {
        self.source.section(base.saturating_add(entry.offset), entry.length.into()).map_err(|error| error.of(&self.path))
    }
}

/// Why bytes cannot be had.
enum Failed {
    Cut,
    Long(u64),
    Io(Error),
    Store(StoreError),
}

impl Source {
    /// # Errors
    /// There is no such file.
    pub(super) fn file(path: &Path) -> Result<Source, ArchiveError> {
        let file = File::open(path).map_err(|cause| ArchiveError::Io { path: path.to_owned(), cause })?;
        Ok(Source::File(Mutex::new(file)))
    }

    fn section(&self, offset: u64, length: u64) -> Result<Bytes, Failed> {
        if length > SECTION_BYTES_MAX {
            return Err(Failed::Long(length));
        }
        let bytes = match self {
            // A store refuses to read nothing.
            _ if length == 0 => Bytes::new(),
            Source::File(file) => {
                let mut file = file.lock().unwrap_or_else(PoisonError::into_inner);
                let mut bytes = Vec::new();
                let read = file.seek(SeekFrom::Start(offset)).and_then(|_| Read::by_ref(&mut *file).take(length).read_to_end(&mut bytes));
                read.map_err(Failed::Io)?;
                bytes.into()
            }
            Source::Store(store) => {
                let range = offset..offset.saturating_add(length);
                store.ranges(&[("", range)]).map_err(Failed::Store)?.pop().ok_or(Failed::Cut)?
            }
        };
        if bytes.len() as u64 == length { Ok(bytes) } else { Err(Failed::Cut) }
    }
}

impl Failed {
    fn of(self, path: &Path) -> ArchiveError {
        let io = |cause| ArchiveError::Io { path: path.to_owned(), cause };
        match self {
            Failed::Cut => io(Error::other("the file ends too early")),
            Failed::Long(length) => io(Error::other(format!("a part of {length} bytes is larger than {SECTION_BYTES_MAX}"))),
            Failed::Io(source) => io(source),
            Failed::Store(error) => error.into(),
        }
    }
}

fn wrong(path: &Path, why: &'static str) -> ArchiveError {
    ArchiveError::Pmtiles { path: path.to_owned(), why }
}

/// The entry that has a tile, or the leaf directory that may have it.
fn found(directory: &[Entry], tile: u64) -> Option<Entry> {
    let after = directory.partition_point(|entry| entry.tile <= tile);
    let entry = *directory.get(after.checked_sub(1)?)?;
    (entry.run == 0 || tile - entry.tile < u64::from(entry.run)).then_some(entry)
}

fn unpacked(bytes: Bytes, is_packed: bool) -> Result<Bytes, Error> {
    if !is_packed {
        return Ok(bytes);
    }
    let mut plain = Vec::new();
    flate2::read::GzDecoder::new(&bytes[..]).take(DIRECTORY_BYTES_MAX + 1).read_to_end(&mut plain)?;
    if plain.len() as u64 > DIRECTORY_BYTES_MAX {
        return Err(Error::other(format!("a part unpacks to more than {DIRECTORY_BYTES_MAX} bytes")));
    }
    Ok(plain.into())
}

/// Column by column: differences of numbers, runs, lengths, and offsets plus 1, where 0 means right behind the entry before.
fn directory(mut bytes: &[u8]) -> Option<Directory> {
    let bytes = &mut bytes;
    let count = usize::try_from(varint(bytes)?).ok()?;
    // An entry takes at least four bytes.
    if count > bytes.len() / 4 + 1 {
        return None;
    }
    let mut entries = vec![Entry { tile: 0, offset: 0, length: 0, run: 0 }; count];
    let mut tile = 0u64;
    for entry in &mut entries {
        tile = tile.checked_add(varint(bytes)?)?;
        entry.tile = tile;
    }
    for entry in &mut entries {
        entry.run = varint(bytes)?.try_into().ok()?;
    }
    for entry in &mut entries {
        entry.length = varint(bytes)?.try_into().ok()?;
    }
    for i in 0..count {
        entries[i].offset = match (varint(bytes)?, i.checked_sub(1)) {
            (0, Some(before)) => entries[before].offset.checked_add(entries[before].length.into())?,
            (0, None) => return None,
            (offset, _) => offset - 1,
        };
    }
    Some(entries.into())
}

fn varint(bytes: &mut &[u8]) -> Option<u64> {
    let mut value = 0u64;
    for shift in (0..64).step_by(7) {
        let (&byte, rest) = bytes.split_first()?;
        *bytes = rest;
        value |= u64::from(byte & 0x7F) << shift;
        if byte < 0x80 {
            return Some(value);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_is_read_as_the_specification_says() {
        // Two tiles behind each other (5, and a run of three from 300), and a leaf for what follows 1000.
        let bytes = [3, 5, 0xA7, 2, 0xBC, 5, 1, 3, 0, 10, 20, 0x80, 1, 1, 0, 8];
        let read = directory(&bytes).unwrap();
        let entry = |tile, offset, length, run| Entry { tile, offset, length, run };
        assert_eq!(read[..], [entry(5, 0, 10, 1), entry(300, 10, 20, 3), entry(1000, 7, 128, 0)]);
        assert_eq!((found(&read, 4), found(&read, 5), found(&read, 6)), (None, Some(read[0]), None));
        assert_eq!((found(&read, 302), found(&read, 303), found(&read, 99_999)), (Some(read[1]), None, Some(read[2])));
        for cut in 0..bytes.len() {
            assert_eq!(directory(&bytes[..cut]), None, "{cut} bytes");
        }
        assert_eq!(directory(&[0xFF; 40]), None);
    }
}
