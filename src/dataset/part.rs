//! A part: a Z-order range of a dataset, mapped into memory.

use super::held::HeldFile;
use super::index::{CellIndex, Level};
use super::manifest::PartInfo;
use super::rows_file::RowsFile;
use super::stored::StoredPart;
use super::{Column, ColumnId, DatasetError, KeyWidth, ipc};
use crate::world::Key;
use arrow::array::{ArrayRef, AsArray, RecordBatch};
use arrow::buffer::ScalarBuffer;
use arrow::datatypes::{ArrowPrimitiveType, UInt8Type, UInt16Type, UInt32Type, UInt64Type};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Points per block of the smallest and largest keys, by which filters skip.
pub const BLOCK_POINTS: usize = 4096;

/// The keys of one column of a part, one per point.
#[derive(Clone, Debug)]
pub enum ColumnKeys {
    U8(ScalarBuffer<u8>),
    U16(ScalarBuffer<u16>),
    U32(ScalarBuffer<u32>),
    U64(ScalarBuffer<u64>),
}

/// Smallest and largest key of every block of [`BLOCK_POINTS`] points of a column.
#[derive(Clone, Debug)]
pub struct Blocks {
    pub min: ScalarBuffer<u64>,
    pub max: ScalarBuffer<u64>,
}

/// A part of a dataset. All arrays are views of mapped files; cloning is cheap.
#[derive(Clone, Debug)]
pub struct Part {
    folder: PathBuf,
    rows: u32,
    revision: u64,
    rows_file: RowsFile,
    lo: ScalarBuffer<u32>,
    columns: Vec<ColumnKeys>,
    blocks: Vec<Blocks>,
    hi: ScalarBuffer<u32>,
    hi_start: ScalarBuffer<u32>,
    levels: Vec<LevelArrays>,
    first: Key,
    last: Key,
    /// Where the arrays lie, of a part in a store.
    pub(super) stored: Option<Arc<StoredPart>>,
}

/// The arrays of a part.
pub(super) struct Arrays {
    pub lo: ScalarBuffer<u32>,
    pub columns: Vec<ColumnKeys>,
    pub blocks: Vec<Blocks>,
    pub hi: ScalarBuffer<u32>,
    pub hi_start: ScalarBuffer<u32>,
    pub levels: Vec<LevelArrays>,
}

#[derive(Clone, Debug)]
pub(super) struct LevelArrays {
    pub level: u32,
    pub pixel: ScalarBuffer<u16>,
    pub start: ScalarBuffer<u32>,
}

impl Part {
    /// Also gives the files that it reads from.
    pub(super) fn open(dataset: &Path, info: &PartInfo, columns: &[Column]) -> Result<(Part, [HeldFile; 5]), DatasetError> {
        let folder = dataset.join(&info.folder);
        let file = |name: &str| folder.join(name);
        let rows = info.rows as usize;

        let (hot, hot_held) = ipc::map_batch(&file("hot.arrow"))?;
        expect(hot.num_rows() == rows && hot.num_columns() == columns.len() + 1, &file("hot.arrow"))?;
        let lo = values::<UInt32Type>(&hot, 0, &file("hot.arrow"))?;
        let keys = columns
            .iter()
            .enumerate()
            .map(|(i, column)| ColumnKeys::view(hot.column(i + 1), column.width, &file("hot.arrow")))
            .collect::<Result<Vec<_>, _>>()?;

        let blocks_file = file("blocks.arrow");
        let (batch, blocks_held) = ipc::map_batch(&blocks_file)?;
        let blocks_expected = rows.div_ceil(BLOCK_POINTS);
        expect(batch.num_rows() == blocks_expected && batch.num_columns() == 2 * columns.len(), &blocks_file)?;
        let blocks = (0..columns.len())
            .map(|i| {
                let min = values::<UInt64Type>(&batch, 2 * i, &blocks_file)?;
                let max = values::<UInt64Type>(&batch, 2 * i + 1, &blocks_file)?;
                Ok(Blocks { min, max })
            })
            .collect::<Result<Vec<_>, DatasetError>>()?;

        let cells_file = file("cells.arrow");
        let (cells, cells_held) = ipc::map_batch(&cells_file)?;
        expect(cells.num_rows() == info.cells as usize + 1, &cells_file)?;
        let hi = values::<UInt32Type>(&cells, 0, &cells_file)?.slice(0, info.cells as usize);
        let hi_start = values::<UInt32Type>(&cells, 1, &cells_file)?;

        let levels_file = file("levels.arrow");
        let (batch, levels_held) = ipc::map_batch(&levels_file)?;
        let entries: usize = info.levels.iter().map(|level| level.cells as usize + 1).sum();
        expect(batch.num_rows() == entries, &levels_file)?;
        let pixel = values::<UInt16Type>(&batch, 0, &levels_file)?;
        let start = values::<UInt32Type>(&batch, 1, &levels_file)?;
        let mut offset = 0;
        let levels = info
            .levels
            .iter()
            .map(|level| {
                let cells = level.cells as usize;
                let arrays = LevelArrays {
                    level: level.level,
                    pixel: pixel.slice(offset, cells),
                    start: start.slice(offset, cells + 1),
                };
                offset += cells + 1;
                arrays
            })
            .collect();
        let rows_file = RowsFile::open(&file("rows.parquet"))?;
        let held = [hot_held, blocks_held, cells_held, levels_held, HeldFile::opened(&file("rows.parquet"))?];
        let part = Part::of_arrays(folder, info, rows_file, Arrays { lo, columns: keys, blocks, hi, hi_start, levels }, None)?;
        Ok((part, held))
    }

    pub(super) fn of_arrays(
        folder: PathBuf,
        info: &PartInfo,
        rows_file: RowsFile,
        arrays: Arrays,
        stored: Option<Arc<StoredPart>>,
    ) -> Result<Part, DatasetError> {
        let key = |text: &str| {
            let parsed = u64::from_str_radix(text, 16).map(Key);
            parsed.map_err(|_| DatasetError::damaged(&folder, format!("dataset.json gives it the key '{text}', which is none")))
        };
        let (first, last) = (key(&info.first_key)?, key(&info.last_key)?);
        let Arrays { lo, columns, blocks, hi, hi_start, levels } = arrays;
        let (rows, revision) = (info.rows, info.revision);
        Ok(Part { folder, rows, revision, rows_file, lo, columns, blocks, hi, hi_start, levels, first, last, stored })
    }

    /// Whether a range of keys, both included, and the part's overlap. Where not, none of its arrays need be looked at.
    pub fn meets(&self, first: Key, last: Key) -> bool {
        first <= self.last && last >= self.first
    }

    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Points.
    pub fn rows(&self) -> u32 {
        self.rows
    }

    pub fn index(&self) -> CellIndex<'_> {
        let fences = self.stored.as_ref().map(|stored| &stored.cells);
        CellIndex { hi: &self.hi, start: &self.hi_start, lo: &self.lo, fences }
    }

    /// The index of a level, where the part has one.
    pub fn level(&self, level: u32) -> Option<Level<'_>> {
        let arrays = self.levels.get(level.checked_sub(self.levels.first()?.level)? as usize)?;
        debug_assert_eq!(arrays.level, level);
        let fences = self.stored.as_ref().and_then(|stored| stored.fences(level));
        Some(Level { level, pixel: &arrays.pixel, start: &arrays.start, fences })
    }

    /// The deepest indexed level.
    pub fn level_max(&self) -> Option<u32> {
        self.levels.last().map(|arrays| arrays.level)
    }

    /// Hot columns.
    pub fn column_count(&self) -> usize {
        self.columns.len()
    }

    pub fn column(&self, id: ColumnId) -> &ColumnKeys {
        &self.columns[id.0]
    }

    /// Smallest and largest key of every [`BLOCK_POINTS`] points.
    pub fn blocks(&self, id: ColumnId) -> &Blocks {
        &self.blocks[id.0]
    }

    pub fn key(&self, position: u32) -> Key {
        self.index().key(position)
    }

    /// The revision of the dataset with which the points came.
    pub fn revision(&self) -> u64 {
        self.revision
    }

    /// The lower halves of the keys.
    pub(super) fn lo(&self) -> &[u32] {
        &self.lo
    }

    /// The Parquet file whose row i is point i.
    pub(super) fn rows_file(&self) -> &RowsFile {
        &self.rows_file
    }

    /// Bytes of the key halves and of the index: what an unfiltered map without categories keeps hot.
    pub fn index_bytes(&self) -> usize {
        let levels: usize = self.levels.iter().map(|level| level.pixel.len() * 2 + level.start.len() * 4).sum();
        self.lo.len() * 4 + self.hi.len() * 4 + self.hi_start.len() * 4 + levels
    }
}

impl ColumnKeys {
    fn view(array: &ArrayRef, width: KeyWidth, file: &Path) -> Result<ColumnKeys, DatasetError> {
        Ok(match width {
            KeyWidth::U8 => ColumnKeys::U8(primitive::<UInt8Type>(array, file)?),
            KeyWidth::U16 => ColumnKeys::U16(primitive::<UInt16Type>(array, file)?),
            KeyWidth::U32 => ColumnKeys::U32(primitive::<UInt32Type>(array, file)?),
            KeyWidth::U64 => ColumnKeys::U64(primitive::<UInt64Type>(array, file)?),
        })
    }

    pub fn get(&self, position: usize) -> u64 {
        match self {
            ColumnKeys::U8(keys) => u64::from(keys[position]),
            ColumnKeys::U16(keys) => u64::from(keys[position]),
            ColumnKeys::U32(keys) => u64::from(keys[position]),
            ColumnKeys::U64(keys) => keys[position],
        }
    }

    /// Bytes of one key.
    pub fn key_bytes(&self) -> usize {
        match self {
            ColumnKeys::U8(_) => 1,
            ColumnKeys::U16(_) => 2,
            ColumnKeys::U32(_) => 4,
            ColumnKeys::U64(_) => 8,
        }
    }

    pub fn len(&self) -> usize {
        match self {
            ColumnKeys::U8(keys) => keys.len(),
            ColumnKeys::U16(keys) => keys.len(),
            ColumnKeys::U32(keys) => keys.len(),
            ColumnKeys::U64(keys) => keys.len(),
        }
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The keys as little-endian bytes, for an upload.
    pub fn bytes(&self) -> &[u8] {
        match self {
            ColumnKeys::U8(keys) => keys.inner().as_slice(),
            ColumnKeys::U16(keys) => keys.inner().as_slice(),
            ColumnKeys::U32(keys) => keys.inner().as_slice(),
            ColumnKeys::U64(keys) => keys.inner().as_slice(),
        }
    }
}

fn values<T: ArrowPrimitiveType>(
    batch: &RecordBatch,
    column: usize,
    file: &Path,
) -> Result<ScalarBuffer<T::Native>, DatasetError> {
    primitive::<T>(batch.column(column), file)
}

fn primitive<T: ArrowPrimitiveType>(array: &ArrayRef, file: &Path) -> Result<ScalarBuffer<T::Native>, DatasetError> {
    let wrong = || DatasetError::damaged(file, format!("a column is {} and not {}", array.data_type(), T::DATA_TYPE));
    Ok(array.as_primitive_opt::<T>().ok_or_else(wrong)?.values().clone())
}

fn expect(holds: bool, file: &Path) -> Result<(), DatasetError> {
    if holds { Ok(()) } else { Err(DatasetError::damaged(file, "its shape is not what dataset.json says")) }
}
