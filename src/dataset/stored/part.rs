//! A part in a store: its arrays as views of sparse files, and which bytes of those files a piece of work needs.

use super::super::fences::Fences;
use super::super::manifest::{Manifest, PartInfo};
use super::super::part::{Arrays, LevelArrays};
use super::super::rows_file::RowsFile;
use super::super::{BLOCK_POINTS, Blocks, ColumnId, ColumnKeys, DatasetError, KeyWidth, Part};
use super::blocks::{BlockCache, StoredFile, Wants};
use super::overview::{PartOverview, RANKS_FILE, Ranked};
use crate::store::Store;
use crate::world::Key;
use arrow::buffer::{Buffer, ScalarBuffer};
use arrow::datatypes::ArrowNativeType;
use std::collections::BTreeMap;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Where the arrays lie.
#[derive(Debug)]
pub struct StoredPart {
    hot: Arc<StoredFile>,
    cells_file: Arc<StoredFile>,
    levels_file: Arc<StoredFile>,
    blocks_file: Arc<StoredFile>,
    lo: u64,
    columns: Vec<u64>,
    extremes: Vec<(u64, u64)>,
    hi: u64,
    hi_start: u64,
    pub(in super::super) cells: Fences,
    levels: Vec<StoredLevel>,
    ranks: Option<StoredRanks>,
}

#[derive(Debug)]
struct StoredLevel {
    level: u32,
    pixel: u64,
    start: u64,
    fences: Fences,
}

/// Ranks of the main categories at coarse levels.
#[derive(Debug)]
struct StoredRanks {
    file: Arc<StoredFile>,
    groups: usize,
    /// By level: where they begin, and they.
    levels: BTreeMap<u32, (u64, ScalarBuffer<u32>)>,
}

impl Part {
    pub(super) fn stored(
        cache: &Arc<BlockCache>,
        store: &Store,
        manifest: &Manifest,
        info: &PartInfo,
        found: &PartOverview,
        ranked: Option<&Ranked>,
    ) -> Result<Part, DatasetError> {
        let folder = PathBuf::from(format!("{}/{}", store.url(), info.folder));
        let file = |name: &str| {
            let described = found.files.get(name).ok_or_else(|| DatasetError::damaged(&folder.join(name), "overview.json has no checksums of it"))?;
            let object = format!("{}/{name}", info.folder);
            cache.file(&manifest.data_version, &object, described.bytes, described.xxh3.clone())
        };
        let (hot, cells_file, levels_file, blocks_file) = (file("hot.arrow")?, file("cells.arrow")?, file("levels.arrow")?, file("blocks.arrow")?);
        let (rows, cells) = (info.rows as usize, info.cells as usize);
        let wrong = |what: &str| DatasetError::damaged(&folder, format!("overview.json does not fit dataset.json: {what}"));
        if found.columns.len() != manifest.columns.len() || found.extremes.len() != manifest.columns.len() {
            return Err(wrong("columns"));
        }
        if !found.cells.fit(cells, info.rows) || found.levels.len() != info.levels.len() {
            return Err(wrong("the index"));
        }
        let columns = manifest.columns.iter().zip(&found.columns).map(|(column, &offset)| {
            Ok(match column.width {
                KeyWidth::U8 => ColumnKeys::U8(array(&hot, offset, rows)?),
                KeyWidth::U16 => ColumnKeys::U16(array(&hot, offset, rows)?),
                KeyWidth::U32 => ColumnKeys::U32(array(&hot, offset, rows)?),
                KeyWidth::U64 => ColumnKeys::U64(array(&hot, offset, rows)?),
            })
        });
        let columns = columns.collect::<Result<Vec<_>, DatasetError>>()?;
        let blocks_count = rows.div_ceil(BLOCK_POINTS);
        let blocks = found.extremes.iter().map(|&(min, max)| {
            Ok(Blocks { min: array(&blocks_file, min, blocks_count)?, max: array(&blocks_file, max, blocks_count)? })
        });
        let blocks = blocks.collect::<Result<Vec<_>, DatasetError>>()?;
        let (mut arrays, mut levels, mut entries) = (Vec::new(), Vec::new(), 0);
        for (level, fences) in info.levels.iter().zip(&found.levels) {
            if !fences.fit(level.cells as usize, info.rows) {
                return Err(wrong("the index of a level"));
            }
            let (pixel, start) = (found.level_pixel + 2 * entries, found.level_start + 4 * entries);
            let cells = level.cells as usize;
            arrays.push(LevelArrays {
                level: level.level,
                pixel: array(&levels_file, pixel, cells)?,
                start: array(&levels_file, start, cells + 1)?,
            });
            levels.push(StoredLevel { level: level.level, pixel, start, fences: fences.clone() });
            entries += u64::from(level.cells) + 1;
        }
        let ranks = match ranked.filter(|_| !found.ranks.is_empty()) {
            None => None,
            Some(Ranked { groups, .. }) => {
                let ranks_file = file(RANKS_FILE)?;
                let mut of_levels = BTreeMap::new();
                for (level, &offset) in &found.ranks {
                    let cells = info.levels.iter().find(|known| known.level == *level).ok_or_else(|| wrong("ranks"))?.cells as usize;
                    of_levels.insert(*level, (offset, array(&ranks_file, offset, (cells + 1) * groups)?));
                }
                Some(StoredRanks { file: ranks_file, groups: *groups, levels: of_levels })
            }
        };
        let (hi, hi_start) = (array(&cells_file, found.hi, cells)?, array(&cells_file, found.hi_start, cells + 1)?);
        let lo = array(&hot, found.lo, rows)?;
        let rows_file = RowsFile::stored(file("rows.parquet")?, store.clone(), cache.clone());
        let stored = StoredPart {
            hot, cells_file, levels_file, blocks_file,
            lo: found.lo, columns: found.columns.clone(), extremes: found.extremes.clone(), hi: found.hi, hi_start: found.hi_start,
            cells: found.cells.clone(), levels, ranks,
        };
        let arrays = Arrays { lo, columns, blocks, hi, hi_start, levels: arrays };
        Part::of_arrays(folder.clone(), info, rows_file, arrays, Some(Arc::new(stored)))
    }

    /// What a search for the points between two keys reads.
    pub fn want_slice(&self, first: Key, last: Key, wants: &mut Wants) {
        self.want_tile(first, last, 0, wants);
    }

    /// What a search for the cells and points of a tile reads: its keys, both included, and the level of its pixels.
    pub fn want_tile(&self, first: Key, last: Key, level: u32, wants: &mut Wants) {
        let Some(stored) = self.stored.as_deref().filter(|_| self.meets(first, last)) else { return };
        let indexed = stored.level(level);
        // The ends of a slice are found by two searches; what lies between is read only where the index has not got the level.
        let stretches = match indexed {
            Some(_) => vec![stored.cells.between(first, first), stored.cells.between(last, last)],
            None => vec![stored.cells.between(first, last)],
        };
        for entries in stretches {
            stored.want_cells(&entries, wants);
            let is_within_cells = first.lo() != 0 || last.lo() != u32::MAX;
            if is_within_cells || (indexed.is_none() && level > 16) {
                stored.want_lo(stored.cells.positions(&entries), wants);
            }
        }
        if let Some(indexed) = indexed {
            indexed.want(indexed.fences.between(first, last), &stored.levels_file, wants);
        }
    }

    /// The ranks of the main categories that a tile with these keys and level of pixels reads; `false` where there are none.
    pub fn want_ranks(&self, first: Key, last: Key, level: u32, wants: &mut Wants) -> bool {
        let Some((ranks, stored)) = self.stored.as_ref().and_then(|stored| Some((stored.ranks.as_ref()?, stored))) else { return false };
        let (Some((offset, _)), Some(indexed)) = (ranks.levels.get(&level), stored.level(level)) else { return false };
        if self.meets(first, last) {
            let entries = indexed.fences.between(first, last);
            let bytes = (ranks.groups * 4) as u64;
            wants.add(&ranks.file, offset + entries.start as u64 * bytes..offset + (entries.end as u64 + 1) * bytes);
        }
        true
    }

    /// Ranks of the main categories at a level, `[entry][group]`; one more entry than the level has.
    pub fn ranks(&self, level: u32) -> Option<&[u32]> {
        let (_, ranks) = self.stored.as_ref()?.ranks.as_ref()?.levels.get(&level)?;
        Some(ranks)
    }

    /// The positions that a tile's points lie at, and some more around them: what is known before the index is read.
    pub fn around(&self, first: Key, last: Key, level: u32) -> Range<u32> {
        let Some(stored) = self.stored.as_deref() else { return 0..self.rows() };
        if !self.meets(first, last) {
            return 0..0;
        }
        let fences = stored.level(level).map_or(&stored.cells, |indexed| &indexed.fences);
        fences.positions(&fences.between(first, last))
    }

    /// The keys of a column at positions.
    pub fn want_column(&self, column: ColumnId, positions: Range<u32>, wants: &mut Wants) {
        if let Some(stored) = &self.stored {
            let bytes = self.column(column).key_bytes() as u64;
            let offset = stored.columns[column.0];
            wants.add(&stored.hot, offset + u64::from(positions.start) * bytes..offset + u64::from(positions.end) * bytes);
        }
    }

    /// Smallest and largest keys of a column's blocks.
    pub fn want_extremes(&self, column: ColumnId, wants: &mut Wants) {
        if let Some(stored) = &self.stored {
            let bytes = (self.rows() as usize).div_ceil(BLOCK_POINTS) as u64 * 8;
            let (min, max) = stored.extremes[column.0];
            wants.add(&stored.blocks_file, min..min + bytes);
            wants.add(&stored.blocks_file, max..max + bytes);
        }
    }

    /// Every key: both halves.
    pub fn want_keys(&self, wants: &mut Wants) {
        if let Some(stored) = &self.stored {
            stored.want_cells(&(0..self.index().hi.len()), wants);
            stored.want_lo(0..self.rows(), wants);
        }
    }

    /// Every cell of a level, and the upper halves that find it; of a level that is not indexed, every key.
    pub fn want_level(&self, level: u32, wants: &mut Wants) {
        let Some(stored) = &self.stored else { return };
        match stored.level(level) {
            Some(indexed) => {
                stored.want_cells(&(0..self.index().hi.len()), wants);
                indexed.want(0..usize::MAX, &stored.levels_file, wants);
            }
            None => self.want_keys(wants),
        }
    }

    /// Whether points of the part may have keys in a range: of a local part, whether there are any.
    pub fn may_have(&self, first: Key, last: Key) -> bool {
        match &self.stored {
            None => !self.index().slice(first, last).is_empty(),
            // By what is always there, so that every replica says the same.
            Some(_) => self.meets(first, last),
        }
    }
}

impl StoredPart {
    /// Whether something was read that a local copy no longer had.
    pub(in super::super) fn is_cut(&self) -> bool {
        [&self.hot, &self.cells_file, &self.levels_file, &self.blocks_file].iter().any(|file| file.is_cut())
    }

    fn level(&self, level: u32) -> Option<&StoredLevel> {
        self.levels.iter().find(|known| known.level == level)
    }

    pub(in super::super) fn fences(&self, level: u32) -> Option<&Fences> {
        self.level(level).map(|level| &level.fences)
    }

    /// Cells by place, and the one that follows.
    fn want_cells(&self, entries: &Range<usize>, wants: &mut Wants) {
        let (from, to) = (entries.start as u64, entries.end as u64);
        // Beyond the last cell the file goes on, with whatever.
        wants.add(&self.cells_file, self.hi + from * 4..self.hi + (to + 1) * 4);
        wants.add(&self.cells_file, self.hi_start + from * 4..self.hi_start + (to + 2) * 4);
    }

    fn want_lo(&self, positions: Range<u32>, wants: &mut Wants) {
        wants.add(&self.hot, self.lo + u64::from(positions.start) * 4..self.lo + u64::from(positions.end) * 4);
    }
}

impl StoredLevel {
    fn want(&self, entries: Range<usize>, file: &Arc<StoredFile>, wants: &mut Wants) {
        let (from, to) = (entries.start as u64, entries.end.min(self.fences.entries()) as u64);
        wants.add(file, self.pixel + from * 2..self.pixel + to * 2);
        wants.add(file, self.start + from * 4..self.start + (to + 1) * 4);
    }
}

/// An array of a sparse file.
fn array<T: ArrowNativeType>(file: &Arc<StoredFile>, offset: u64, length: usize) -> Result<ScalarBuffer<T>, DatasetError> {
    let bytes = (length * size_of::<T>()) as u64;
    let is_within = offset.checked_add(bytes).is_some_and(|end| end <= file.bytes()) && offset.is_multiple_of(size_of::<T>() as u64);
    if !is_within {
        return Err(DatasetError::damaged(Path::new(file.name()), "overview.json places an array beyond its end"));
    }
    Ok(ScalarBuffer::from(Buffer::from(file.map().clone()).slice_with_length(offset as usize, bytes as usize)))
}
