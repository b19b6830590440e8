//! Writing a dataset: part by part into a folder beside the target, renamed into place when it is whole.
//!
//! A killed ingest leaves only a folder beside the target ([`super::beside`]), which the next run over the same target removes.

use super::beside::{Beside, remove_if_there, remove_leftovers};
use super::change::locked;
use super::dictionary::{Dictionary, Values};
use super::manifest::{Coordinates, FORMAT_VERSION, FileInfo, LevelInfo, MANIFEST_FILE, PartInfo};
use super::part::BLOCK_POINTS;
use super::rows::RowsWriter;
use super::sync::{sync, sync_all};
use super::{Column, ColumnId, DatasetError, KeyWidth, Manifest, index, ipc};
use crate::world::{Key, LonLatBox, WorldPoint, lonlat_from_world};
use arrow::array::{ArrayRef, RecordBatch, RecordBatchOptions, UInt8Array, UInt16Array, UInt32Array, UInt64Array};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use rayon::prelude::*;
use std::collections::BTreeMap;
use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use xxhash_rust::xxh3::Xxh3;

/// The keys of one hot column of a part, one per point.
#[derive(Debug, Clone, PartialEq)]
pub enum HotColumn {
    U8(Vec<u8>),
    U16(Vec<u16>),
    U32(Vec<u32>),
    U64(Vec<u64>),
}

/// What the ingest knows of a dataset when all its parts are written.
pub struct Description {
    pub name: String,
    pub title: String,
    pub attribution: Option<String>,
    pub rejected: BTreeMap<String, u64>,
    pub coordinates: Coordinates,
    pub category: Option<String>,
    pub style: BTreeMap<String, String>,
    /// The hot columns, in the order of every part's.
    pub columns: Vec<(Column, Option<CountedValues>)>,
}

/// A dictionary: values in order, and the points per value.
pub type CountedValues = (Values, Vec<u64>);

/// The files of a part.
pub(super) const PART_FILES: [&str; 5] = ["rows.parquet", "hot.arrow", "cells.arrow", "levels.arrow", "blocks.arrow"];

/// Writes one dataset. Dropped before [`DatasetWriter::finish`], it removes what it wrote.
pub struct DatasetWriter {
    target: PathBuf,
    beside: Beside,
    replace: Replace,
    parts: Vec<PartInfo>,
    world: Option<(WorldPoint, WorldPoint)>,
    finished: bool,
}

/// What to do with an output that exists.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Replace {
    /// It is an error.
    Never,
    /// An existing dataset is replaced once the new one is whole.
    Dataset,
}

impl DatasetWriter {
    /// Starts a dataset that will be at `target`, and removes what killed runs left beside it.
    ///
    /// # Errors
    /// The target exists (and is not a dataset that may be replaced), or its parent cannot be written.
    pub fn create(target: &Path, replace: Replace) -> Result<DatasetWriter, DatasetError> {
        let parent = parent_of(target);
        fs::create_dir_all(&parent).map_err(DatasetError::io("create", &parent))?;
        remove_leftovers(&parent, &file_name_of(target))?;
        let is_dataset = target.join(MANIFEST_FILE).is_file();
        let is_empty = fs::read_dir(target).is_ok_and(|mut entries| entries.next().is_none());
        match (target.exists() && !is_empty, is_dataset, replace) {
            (true, false, _) => return Err(DatasetError::Occupied(target.to_owned())),
            (true, true, Replace::Never) => return Err(DatasetError::Exists(target.to_owned())),
            _ => {}
        }
        let beside = Beside::create(&parent, &file_name_of(target))?;
        for sub in ["parts", "dictionaries"] {
            let path = beside.folder().join(sub);
            fs::create_dir_all(&path).map_err(DatasetError::io("create", &path))?;
        }
        Ok(DatasetWriter { target: target.to_owned(), beside, replace, parts: Vec::new(), world: None, finished: false })
    }

    /// The folder being written: spilled runs belong here, under `spill/`, and go with it.
    pub fn folder(&self) -> &Path {
        self.beside.folder()
    }

    /// Bytes of the parts written so far.
    pub fn bytes_written(&self) -> u64 {
        self.parts.iter().flat_map(|part| &part.files).map(|file| file.bytes).sum()
    }

    /// Starts the rows of the next part. Feed it the part's rows in key order, then pass it to [`DatasetWriter::part`].
    ///
    /// # Errors
    /// The file cannot be created.
    pub fn rows(&self, schema: &SchemaRef) -> Result<RowsWriter, DatasetError> {
        let folder = self.part_folder();
        fs::create_dir_all(&folder).map_err(DatasetError::io("create", &folder))?;
        RowsWriter::create(&folder.join("rows.parquet"), schema)
    }

    /// Writes a part: `keys` sorted, at most [`super::PART_POINTS_MAX`] of them and none below the previous part's, `hot`
    /// one entry per hot column, all as long as `keys`, and the finished rows.
    ///
    /// # Errors
    /// A file cannot be written.
    ///
    /// # Panics
    /// If the lengths differ or the keys are not sorted: the caller's bug.
    pub fn part(&mut self, keys: &[u64], columns: &[Column], hot: Vec<HotColumn>, rows: RowsWriter) -> Result<(), DatasetError> {
        assert!(keys.is_sorted() && !keys.is_empty(), "the keys of a part are sorted and at least one");
        assert_eq!(columns.len(), hot.len());
        let rows_written = rows.finish()?;
        assert_eq!(rows_written, keys.len() as u64, "row i of the rows is point i");
        let folder = self.part_folder();
        let arrays = index::build(keys);
        let cells = arrays.hi.len() as u32;
        let levels = arrays
            .levels
            .iter()
            .map(|(level, pixel, _)| LevelInfo { level: *level, cells: pixel.len() as u32 })
            .collect();

        write_blocks(&folder.join("blocks.arrow"), keys.len(), columns, &hot)?;
        let lo = keys.iter().map(|&key| Key(key).lo()).collect();
        write_hot(&folder.join("hot.arrow"), lo, columns, hot)?;
        write_cells(&folder.join("cells.arrow"), arrays.hi, arrays.hi_start)?;
        write_levels(&folder.join("levels.arrow"), arrays.levels)?;

        let files = PART_FILES.par_iter().map(|name| file_info(&folder, name)).collect::<Result<Vec<_>, _>>()?;
        let (first, last) = (keys[0], keys[keys.len() - 1]);
        self.parts.push(PartInfo {
            folder: format!("parts/{:05}", self.parts.len()),
            rows: keys.len() as u32,
            revision: 0,
            first_key: format!("{first:016x}"),
            last_key: format!("{last:016x}"),
            cells,
            levels,
            files,
        });
        self.extend_bounds(keys);
        Ok(())
    }

    /// Writes dictionaries and manifest, and renames the folder into place. Gives the manifest as it can now be read.
    ///
    /// # Errors
    /// A file cannot be written, or the target has appeared meanwhile.
    pub fn finish(mut self, description: Description) -> Result<Manifest, DatasetError> {
        let mut dictionaries = Vec::new();
        let mut columns = Vec::new();
        for (i, (column, dictionary)) in description.columns.into_iter().enumerate() {
            if let Some((values, counts)) = dictionary {
                let name = Dictionary::file_name(ColumnId(i), 0);
                ipc::write_batch(&self.folder().join(&name), &Dictionary::batch(&values, counts))?;
                dictionaries.push(file_info(self.folder(), &name)?);
            }
            columns.push(column);
        }
        let mut manifest = Manifest {
            format_version: FORMAT_VERSION,
            created_by: concat!("pointillist ", env!("CARGO_PKG_VERSION")).to_owned(),
            name: description.name,
            title: description.title,
            attribution: description.attribution,
            data_version: String::new(),
            revision: 0,
            former_versions: Vec::new(),
            origin: None,
            rows: self.parts.iter().map(|part| u64::from(part.rows)).sum(),
            rejected: description.rejected,
            bounds: self.bounds(),
            coordinates: description.coordinates,
            category: description.category,
            style: description.style,
            columns,
            dictionaries,
            parts: std::mem::take(&mut self.parts),
        };
        manifest.data_version = manifest.version_computed();
        manifest.write(&self.folder().join(MANIFEST_FILE))?;
        remove_if_there(&self.folder().join("spill"))?;
        self.rename_into_place()?;
        self.finished = true;
        Ok(manifest)
    }

    fn part_folder(&self) -> PathBuf {
        self.folder().join(format!("parts/{:05}", self.parts.len()))
    }

    /// On the disk before it has its name, and with its name before what it replaces goes: a power failure leaves the former dataset or this.
    fn rename_into_place(&self) -> Result<(), DatasetError> {
        let parent = parent_of(&self.target);
        let rename = |from: &Path, to: &Path| {
            fs::rename(from, to).map_err(DatasetError::io("rename to", to))?;
            sync(&parent)
        };
        let folder = self.folder();
        sync_all(folder)?;
        let is_empty = fs::read_dir(&self.target).is_ok_and(|mut entries| entries.next().is_none());
        if !self.target.exists() || is_empty {
            return rename(folder, &self.target);
        }
        if self.replace == Replace::Never {
            return Err(DatasetError::Exists(self.target.clone()));
        }
        // Nobody appends to what goes, or uploads it.
        let _unused = locked(&self.target)?;
        // Readers that have the old files mapped keep them: a rename does not touch bytes.
        if exchanged(folder, &self.target) {
            sync(&parent)?;
            return remove_if_there(folder);
        }
        let old = self.beside.for_the_old();
        rename(&self.target, &old)?;
        rename(folder, &self.target)?;
        remove_if_there(&old)
    }

    fn extend_bounds(&mut self, keys: &[u64]) {
        let extent = keys
            .par_iter()
            .map(|&key| (Key(key).world(), Key(key).world()))
            .reduce_with(|a, b| (corner(a.0, b.0, u32::min), corner(a.1, b.1, u32::max)));
        self.world = match (self.world, extent) {
            (Some(a), Some(b)) => Some((corner(a.0, b.0, u32::min), corner(a.1, b.1, u32::max))),
            (a, b) => a.or(b),
        };
    }

    fn bounds(&self) -> LonLatBox {
        let Some((min, max)) = self.world else { return LonLatBox { west: 0.0, south: 0.0, east: 0.0, north: 0.0 } };
        let ((west, north), (east, south)) = (lonlat_from_world(min), lonlat_from_world(max));
        LonLatBox { west, south, east, north }
    }
}

impl Drop for DatasetWriter {
    fn drop(&mut self) {
        if !self.finished {
            // Nothing to tell anybody: whatever made us stop has been reported, and the next run tries again.
            let _ = fs::remove_dir_all(self.folder());
        }
    }
}

fn corner(a: WorldPoint, b: WorldPoint, pick: fn(u32, u32) -> u32) -> WorldPoint {
    WorldPoint { x: pick(a.x, b.x), y: pick(a.y, b.y) }
}

pub(super) fn write_hot(path: &Path, lo: Vec<u32>, columns: &[Column], hot: Vec<HotColumn>) -> Result<(), DatasetError> {
    let mut fields = vec![Field::new("lo", DataType::UInt32, false)];
    let mut arrays: Vec<ArrayRef> = vec![Arc::new(UInt32Array::from(lo))];
    for (column, hot) in columns.iter().zip(hot) {
        let array = hot.into_array();
        fields.push(Field::new(&column.name, array.data_type().clone(), false));
        arrays.push(array);
    }
    let batch = RecordBatch::try_new(Arc::new(Schema::new(fields)), arrays).expect("the hot columns are equally long");
    ipc::write_batch(path, &batch)
}

fn write_cells(path: &Path, mut hi: Vec<u32>, start: Vec<u32>) -> Result<(), DatasetError> {
    hi.push(0); // So that both columns have the length of `start`; never read.
    let arrays = [("hi", Arc::new(UInt32Array::from(hi)) as ArrayRef), ("start", Arc::new(UInt32Array::from(start)) as _)];
    ipc::write_batch(path, &RecordBatch::try_from_iter(arrays).expect("both columns are equally long"))
}

fn write_levels(path: &Path, levels: Vec<(u32, Vec<u16>, Vec<u32>)>) -> Result<(), DatasetError> {
    let (mut pixels, mut starts) = (Vec::new(), Vec::new());
    for (_, pixel, start) in levels {
        pixels.extend(pixel);
        pixels.push(0); // Beside the last start; never read.
        starts.extend(start);
    }
    let arrays =
        [("pixel", Arc::new(UInt16Array::from(pixels)) as ArrayRef), ("start", Arc::new(UInt32Array::from(starts)) as _)];
    ipc::write_batch(path, &RecordBatch::try_from_iter(arrays).expect("both columns are equally long"))
}

pub(super) fn write_blocks(path: &Path, points: usize, columns: &[Column], hot: &[HotColumn]) -> Result<(), DatasetError> {
    let blocks = points.div_ceil(BLOCK_POINTS);
    let mut fields = Vec::new();
    let mut arrays: Vec<ArrayRef> = Vec::new();
    for (column, hot) in columns.iter().zip(hot) {
        let (min, max): (Vec<u64>, Vec<u64>) = hot.block_extremes().into_iter().unzip();
        for (suffix, values) in [("min", min), ("max", max)] {
            fields.push(Field::new(format!("{}.{suffix}", column.name), DataType::UInt64, false));
            arrays.push(Arc::new(UInt64Array::from(values)));
        }
    }
    let options = RecordBatchOptions::new().with_row_count(Some(blocks));
    let batch = RecordBatch::try_new_with_options(Arc::new(Schema::new(fields)), arrays, &options)
        .expect("every column has as many blocks");
    ipc::write_batch(path, &batch)
}

impl HotColumn {
    /// Without keys, of a width.
    pub fn new(width: KeyWidth) -> HotColumn {
        match width {
            KeyWidth::U8 => HotColumn::U8(Vec::new()),
            KeyWidth::U16 => HotColumn::U16(Vec::new()),
            KeyWidth::U32 => HotColumn::U32(Vec::new()),
            KeyWidth::U64 => HotColumn::U64(Vec::new()),
        }
    }

    /// Appends keys, which fit the width.
    pub fn extend(&mut self, keys: impl Iterator<Item = u64>) {
        match self {
            HotColumn::U8(all) => all.extend(keys.map(|key| key as u8)),
            HotColumn::U16(all) => all.extend(keys.map(|key| key as u16)),
            HotColumn::U32(all) => all.extend(keys.map(|key| key as u32)),
            HotColumn::U64(all) => all.extend(keys),
        }
    }

    pub fn len(&self) -> usize {
        match self {
            HotColumn::U8(keys) => keys.len(),
            HotColumn::U16(keys) => keys.len(),
            HotColumn::U32(keys) => keys.len(),
            HotColumn::U64(keys) => keys.len(),
        }
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn into_array(self) -> ArrayRef {
        match self {
            HotColumn::U8(keys) => Arc::new(UInt8Array::from(keys)),
            HotColumn::U16(keys) => Arc::new(UInt16Array::from(keys)),
            HotColumn::U32(keys) => Arc::new(UInt32Array::from(keys)),
            HotColumn::U64(keys) => Arc::new(UInt64Array::from(keys)),
        }
    }

    fn block_extremes(&self) -> Vec<(u64, u64)> {
        fn extremes<T: Copy + Ord + Into<u64> + Sync>(keys: &[T]) -> Vec<(u64, u64)> {
            keys.par_chunks(BLOCK_POINTS)
                .map(|block| {
                    let min = block.iter().min().expect("a chunk is never empty");
                    let max = block.iter().max().expect("a chunk is never empty");
                    ((*min).into(), (*max).into())
                })
                .collect()
        }
        match self {
            HotColumn::U8(keys) => extremes(keys),
            HotColumn::U16(keys) => extremes(keys),
            HotColumn::U32(keys) => extremes(keys),
            HotColumn::U64(keys) => extremes(keys),
        }
    }
}

/// Size and XXH3-64 of a file.
pub(super) fn file_info(folder: &Path, name: &str) -> Result<FileInfo, DatasetError> {
    let path = folder.join(name);
    let mut file = fs::File::open(&path).map_err(DatasetError::io("open", &path))?;
    let mut hash = Xxh3::new();
    let mut buffer = vec![0; 1 << 20];
    let mut bytes = 0;
    loop {
        let read = file.read(&mut buffer).map_err(DatasetError::io("read", &path))?;
        if read == 0 {
            break;
        }
        hash.update(&buffer[..read]);
        bytes += read as u64;
    }
    Ok(FileInfo { name: name.to_owned(), bytes, xxh3: format!("{:016x}", hash.digest()) })
}

fn parent_of(target: &Path) -> PathBuf {
    match target.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent.to_owned(),
        _ => PathBuf::from("."),
    }
}

fn file_name_of(target: &Path) -> String {
    target.file_name().map_or_else(|| "dataset".into(), |name| name.to_string_lossy().into_owned())
}

/// Exchanges the names of two folders at one moment, so that there is always a dataset; `false` where the system or the disk cannot.
fn exchanged(new: &Path, old: &Path) -> bool {
    #[cfg(target_os = "linux")]
    return rustix::fs::renameat_with(rustix::fs::CWD, new, rustix::fs::CWD, old, rustix::fs::RenameFlags::EXCHANGE).is_ok();
    #[cfg(not(target_os = "linux"))]
    return false;
}
