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
//! Row i of `rows.parquet` is point i of `hot.arrow`. Arrow files are uncompressed and memory-mapped. This module knows
//! nothing of filters, engines or HTTP.

pub mod column;
pub mod dictionary;
mod error;
mod formats;
mod index;
mod ipc;
pub mod manifest;
mod mmap;
mod part;
mod read;
mod rows;
#[cfg(test)]
pub(crate) mod testing;
pub mod verify;
pub mod write;

pub use column::{Column, ColumnId, ColumnKind, Encoding, KeyWidth, Value};
pub use dictionary::{Dictionary, Values as DictionaryValues};
pub use error::DatasetError;
pub use formats::{RowFormat, RowsError, write_rows};
pub use index::{CellIndex, Level};
pub use manifest::Manifest;
pub use part::{BLOCK_POINTS, Blocks, ColumnKeys, Part};
pub use read::{PIECE_ROWS, Piece, ReadError, RowFiles, Rows};
pub use rows::RowsWriter;

use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The most points in one part: it bounds what is sorted, uploaded and counted at a time. At eight bytes a key, a column of
/// a part is at most 64 MiB, under the 128 MiB that every Vulkan device can bind.
pub const PART_POINTS_MAX: usize = 1 << 23;

/// An open dataset: the manifest, and the parts mapped into memory.
pub struct Dataset {
    pub manifest: Manifest,
    /// In key order, disjoint but for equal keys at a border.
    pub parts: Vec<Part>,
    dictionaries: Vec<Option<Arc<Dictionary>>>,
    folder: PathBuf,
}

impl Dataset {
    /// Maps the dataset in `folder`. Cheap: pages are read when they are first used, and checksums are `verify`'s subject.
    ///
    /// # Errors
    /// No dataset there, a manifest of another format version, or a file that is missing, cut or not what the manifest says.
    pub fn open(folder: &Path) -> Result<Dataset, DatasetError> {
        let manifest = Manifest::read(folder)?;
        let dictionaries = manifest
            .columns
            .iter()
            .enumerate()
            .map(|(i, column)| match column.encoding {
                Encoding::Dictionary => Dictionary::open(folder, ColumnId(i), column).map(Arc::new).map(Some),
                _ => Ok(None),
            })
            .collect::<Result<Vec<_>, _>>()?;
        let parts = manifest
            .parts
            .iter()
            .map(|info| Part::open(folder, info, &manifest.columns))
            .collect::<Result<Vec<_>, _>>()?;
        Ok(Dataset { manifest, parts, dictionaries, folder: folder.to_owned() })
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
