//! A dataset on disk: what it is made of, how it is opened and how it is written.
//!
//! ```text
//! DIR/dataset.json              manifest: schema, statistics, parts, checksums, versions          [manifest]
//! DIR/dictionaries/NNN.arrow    per dictionary column: sorted values and their counts              [dictionary]
//! DIR/parts/NNNNN/rows.parquet  the rows with all original columns, GeoParquet 1.1, sorted by key  [rows]
//! DIR/parts/NNNNN/hot.arrow     per point: `lo`, the key's lower half, and a key per hot column    [part]
//! DIR/parts/NNNNN/cells.arrow   level-16 cells: `hi`, the key's upper half, and `start`            [index]
//! DIR/parts/NNNNN/levels.arrow  the cells of every indexed level: `pixel` and `start`              [index]
//! DIR/parts/NNNNN/blocks.arrow  per block of 4,096 points and hot column: smallest and largest key [part]
//! ```
//!
//! Row i of `rows.parquet` is point i of `hot.arrow`. Arrow files are uncompressed and memory-mapped. How a dataset that is being
//! read gets more rows: [change]. This module knows nothing of filters, engines or HTTP.

mod beside;
mod change;
pub mod column;
mod compact;
pub mod dictionary;
mod error;
pub mod fences;
mod formats;
mod held;
mod index;
mod ipc;
pub mod manifest;
mod merge;
mod mmap;
mod part;
mod read;
mod rows;
mod rows_file;
pub mod stored;
mod sync;
#[cfg(test)]
pub(crate) mod testing;
pub mod verify;
pub mod write;

pub use change::Change;
pub use column::{Column, ColumnId, ColumnKind, Encoding, KeyWidth, Value};
pub use dictionary::{Dictionary, Values as DictionaryValues};
pub use error::DatasetError;
pub use formats::{RowFormat, RowsError, write_rows};
pub use index::{CellIndex, Level};
pub use manifest::Manifest;
pub use mmap::{cuts, survive_cut_files};
pub use part::{BLOCK_POINTS, Blocks, ColumnKeys, Part};
pub use read::{PIECE_ROWS, Piece, ReadError, RowFiles, Rows};
pub use rows::RowsWriter;

use crate::world::{TileId, ZOOM_MAX, Zoom};
use held::HeldFile;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use stored::StoredDataset;

/// The most points in one part: it bounds what is sorted, uploaded and counted at a time. At eight bytes a key, a column of
/// a part is at most 64 MiB, under the 128 MiB that every Vulkan device can bind.
pub const PART_POINTS_MAX: usize = 1 << 23;

/// How much deeper the tiles lie that make up the rim around a tile: an eighth of it, 32 pixels, is more than any spreading reaches.
const RIM_ZOOMS: u8 = 3;

/// An open dataset: the manifest, and the parts mapped into memory.
pub struct Dataset {
    pub manifest: Manifest,
    /// Those of one revision in key order, disjoint but for equal keys at a border. Appended parts overlap former ones.
    pub parts: Vec<Part>,
    dictionaries: Vec<Option<Arc<Dictionary>>>,
    /// The folder, or the URL.
    folder: PathBuf,
    stored: Option<StoredDataset>,
    /// All that is read from, of a dataset in a folder.
    files: Vec<HeldFile>,
}

impl Dataset {
    /// Maps the dataset in `folder`. Cheap: pages are read when they are first used, and checksums are `verify`'s subject.
    ///
    /// # Errors
    /// No dataset there, a manifest of another format version, or a file that is missing, cut or not what the manifest says.
    pub fn open(folder: &Path) -> Result<Dataset, DatasetError> {
        loop {
            let manifest = Manifest::read(folder)?;
            let version = manifest.data_version.clone();
            match Dataset::open_version(folder, manifest) {
                // An append or a compaction put another version into place, and took away files of this one.
                Err(_) if Manifest::read(folder)?.data_version != version => {}
                opened => return opened,
            }
        }
    }

    fn open_version(folder: &Path, manifest: Manifest) -> Result<Dataset, DatasetError> {
        let mut files = Vec::new();
        let mut dictionaries = Vec::with_capacity(manifest.columns.len());
        for (i, column) in manifest.columns.iter().enumerate() {
            if column.encoding != Encoding::Dictionary {
                dictionaries.push(None);
                continue;
            }
            let file = manifest.dictionary_file(ColumnId(i)).ok_or_else(|| {
                DatasetError::damaged(&folder.join(manifest::MANIFEST_FILE), format!("it names no dictionary of '{}'", column.name))
            })?;
            let (dictionary, held) = Dictionary::open(&folder.join(&file.name), column)?;
            dictionaries.push(Some(Arc::new(dictionary)));
            files.push(held);
        }
        let mut parts = Vec::with_capacity(manifest.parts.len());
        for info in &manifest.parts {
            let (part, held) = Part::open(folder, info, &manifest.columns)?;
            parts.push(part);
            files.extend(held);
        }
        Ok(Dataset { manifest, parts, dictionaries, folder: folder.to_owned(), stored: None, files })
    }

    pub fn folder(&self) -> &Path {
        &self.folder
    }

    pub fn rows(&self) -> u64 {
        self.manifest.rows
    }

    pub fn columns(&self) -> &[Column] {
        &self.manifest.columns
    }

    pub fn column(&self, id: ColumnId) -> &Column {
        &self.manifest.columns[id.0]
    }

    pub fn column_id(&self, name: &str) -> Option<ColumnId> {
        self.manifest.columns.iter().position(|column| column.name == name).map(ColumnId)
    }

    /// The dictionary of a column with [`Encoding::Dictionary`].
    pub fn dictionary(&self, id: ColumnId) -> Option<&Arc<Dictionary>> {
        self.dictionaries[id.0].as_ref()
    }

    /// Looks at all files: some microseconds each.
    ///
    /// # Errors
    /// The first one that has been cut or written to since it was opened. That one was removed or replaced under its name is none.
    pub fn check_files(&self) -> Result<(), DatasetError> {
        self.files.iter().try_for_each(HeldFile::check)?;
        if self.is_cut() { Err(DatasetError::damaged(&self.folder, "a local copy of what lies there has been cut")) } else { Ok(()) }
    }

    /// Whether something was read that a file no longer had, and zeros were found in its place. Looks at no file.
    pub fn is_cut(&self) -> bool {
        let stored = || self.parts.iter().filter_map(|part| part.stored.as_ref());
        self.files.iter().any(HeldFile::is_cut) || stored().any(|part| part.is_cut())
    }

    /// The revision that last put a point into a tile; 0 where none did since the ingest. By an append, it changes exactly where
    /// the tile's counts do; a compaction raises it also elsewhere, and so does a dataset in a store, which is not asked for this.
    pub fn revision_of(&self, tile: TileId) -> u64 {
        let (first, last) = tile.keys();
        let touching = self.parts.iter().filter(|part| part.revision() > 0 && part.may_have(first, last));
        touching.map(Part::revision).max().unwrap_or(0)
    }

    /// The data version that a tile's points came with: that of the revision which last put a point into it. Equal in two revisions of a
    /// dataset only where the tile has the same points in both.
    pub fn version_of(&self, tile: TileId) -> &str {
        self.manifest.version_of_revision(self.revision_of(tile))
    }

    /// The same of a tile and an eighth of a tile around it, whose points may be spread into it.
    pub fn version_around(&self, tile: TileId) -> &str {
        let deeper = RIM_ZOOMS.min(ZOOM_MAX - tile.z());
        let side = 1i64 << deeper;
        let corner = TileId::new(tile.z() + deeper, tile.x() << deeper, tile.y() << deeper).expect("it is the tile's own corner");
        let rim = (-1..=side).flat_map(|i| [(i, -1), (i, side), (-1, i), (side, i)]);
        let last = rim.filter_map(|(dx, dy)| corner.neighbour(dx, dy)).map(|tile| self.revision_of(tile)).max();
        self.manifest.version_of_revision(self.revision_of(tile).max(last.unwrap_or(0)))
    }

    /// The tiles of a zoom that points of revisions after `since` lie in, along the Z-curve: those whose counts have changed. `None`
    /// where there are more than `tiles_max`.
    pub fn tiles_changed(&self, since: u64, zoom: Zoom, tiles_max: usize) -> Option<Vec<TileId>> {
        let new: Vec<&Part> = self.parts.iter().filter(|part| part.revision() > since).collect();
        let has_new = |tile: TileId| {
            let (first, last) = tile.keys();
            new.iter().any(|part| part.may_have(first, last))
        };
        let mut tiles = vec![TileId::from_cell(Zoom::new(0).expect("there is a zoom 0"), 0)];
        tiles.retain(|&tile| has_new(tile));
        for _ in 0..zoom.get() {
            let children = tiles.iter().flat_map(|tile| tile.children().expect("zooms end at 24"));
            tiles = children.filter(|&tile| has_new(tile)).collect();
            // They do not become fewer: every tile with points has a child with points.
            if tiles.len() > tiles_max {
                return None;
            }
        }
        Some(tiles)
    }

    /// The value that a key stands for in a column.
    pub fn value(&self, id: ColumnId, key: u64) -> Value {
        let column = self.column(id);
        match (key, &self.dictionaries[id.0]) {
            (0, _) => Value::Null,
            (key, Some(dictionary)) => dictionary.value(key),
            (key, None) => column.value_from_key(key),
        }
    }
}
