//! `overview.json`: what a server has to know of a dataset in a store before it reads any of it.
//!
//! Made from a dataset when it is uploaded, and nothing but derived from it: where every array lies in its file, fences into the index,
//! the checksum of every block, and of the map without a filter the distribution of every zoom and how its categories are ranked. Some 20
//! bytes for a thousand points, read whole at the start.

use super::super::fences::Fences;
use super::super::{Dataset, DatasetError, Level, ipc};
use super::sparse::BLOCK_BYTES;
use crate::store::Store;
use crate::world::Key;
use arrow::array::{Array, ArrayRef, RecordBatch, UInt32Array};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::path::Path;
use std::sync::Arc;
use xxhash_rust::xxh3::xxh3_64;

pub(super) const OVERVIEW_FILE: &str = "overview.json";

/// Raised whenever an older program would misread it.
const FORMAT_VERSION: u32 = 1;

#[derive(Debug, Serialize, Deserialize)]
pub struct Overview {
    format_version: u32,
    pub data_version: String,
    block_bytes: u64,
    /// Of zoom 0, 1, ...: how often each count occurs among the pixels of the whole zoom, without a filter; `(count, pixels)`.
    pub distributions: Vec<Vec<(u32, u64)>>,
    /// Whose ranks `ranks.arrow` of every part has.
    pub ranked: Option<Ranked>,
    pub parts: Vec<PartOverview>,
}

/// Categories whose points are counted ahead at coarse levels.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ranked {
    /// The column's place in the manifest.
    pub column: usize,
    pub groups: usize,
    /// By key.
    pub group_of_key: Vec<u8>,
}

/// Where the arrays of a part lie: byte offsets in its files.
#[derive(Debug, Serialize, Deserialize)]
pub struct PartOverview {
    /// By name, such as `hot.arrow`.
    pub files: BTreeMap<String, Blocks>,
    pub lo: u64,
    pub columns: Vec<u64>,
    /// Smallest and largest keys of blocks of points, by column.
    pub extremes: Vec<(u64, u64)>,
    pub hi: u64,
    pub hi_start: u64,
    pub level_pixel: u64,
    pub level_start: u64,
    pub cells: Fences,
    /// Of the indexed levels, ascending.
    pub levels: Vec<Fences>,
    /// Where the ranks of a level begin in `ranks.arrow`: `[entry][group]`, one more entry than the level has.
    pub ranks: BTreeMap<u32, u64>,
}

/// The size of a file and the XXH3-64 of each of its blocks.
#[derive(Debug, Serialize, Deserialize)]
pub struct Blocks {
    pub bytes: u64,
    pub xxh3: Vec<u64>,
}

/// What an engine has found out for an overview.
pub struct Counted {
    pub distributions: Vec<Vec<(u32, u64)>>,
    pub ranked: Option<Ranked>,
    /// Of every part, by level: `[entry][group]`.
    pub ranks: Vec<Vec<(u32, Vec<u32>)>>,
}

pub(super) const RANKS_FILE: &str = "ranks.arrow";

impl Overview {
    /// Works out the overview of a local dataset, and writes it and the parts' ranks into `folder`, under their names in a store.
    ///
    /// # Errors
    /// A file cannot be read or written.
    pub fn write(dataset: &Dataset, counted: Counted, folder: &Path) -> Result<(), DatasetError> {
        let Counted { distributions, ranked, ranks } = counted;
        let mut parts = Vec::new();
        for ((part, info), ranks) in dataset.parts.iter().zip(&dataset.manifest.parts).zip(ranks) {
            let mut files = BTreeMap::new();
            for file in &info.files {
                files.insert(file.name.clone(), Blocks::of(&part.folder().join(&file.name))?);
            }
            let (hot, cells) = (offsets(&part.folder().join("hot.arrow"))?, offsets(&part.folder().join("cells.arrow"))?);
            let (blocks, levels) = (offsets(&part.folder().join("blocks.arrow"))?, offsets(&part.folder().join("levels.arrow"))?);
            let index = part.index();
            let fences_of = |level: &Level<'_>| {
                // The cell of a level that a key lies in begins where the key's further bits are 0.
                let further = u64::MAX.checked_shr(2 * level.level).unwrap_or(0);
                Fences::of(level.start, |entry| Key(index.key(level.start[entry]).0 & !further))
            };
            let mut found = PartOverview {
                files,
                lo: hot[0],
                columns: hot[1..].to_vec(),
                extremes: blocks.chunks(2).map(|pair| (pair[0], pair[1])).collect(),
                hi: cells[0],
                hi_start: cells[1],
                level_pixel: levels[0],
                level_start: levels[1],
                cells: Fences::of(index.start, |entry| Key::from_halves(index.hi[entry], 0)),
                levels: info.levels.iter().filter_map(|level| part.level(level.level)).map(|level| fences_of(&level)).collect(),
                ranks: BTreeMap::new(),
            };
            if !ranks.is_empty() {
                let path = folder.join(&info.folder).join(RANKS_FILE);
                std::fs::create_dir_all(folder.join(&info.folder)).map_err(DatasetError::io("create", folder))?;
                found.ranks = write_ranks(&path, ranks)?;
                found.files.insert(RANKS_FILE.to_owned(), Blocks::of(&path)?);
            }
            parts.push(found);
        }
        let data_version = dataset.manifest.data_version.clone();
        let overview = Overview { format_version: FORMAT_VERSION, data_version, block_bytes: BLOCK_BYTES, distributions, ranked, parts };
        let path = folder.join(OVERVIEW_FILE);
        let text = serde_json::to_vec(&overview).expect("an overview is numbers and texts");
        std::fs::write(&path, text).map_err(DatasetError::io("write", &path))
    }

    /// # Errors
    /// There is none, or not one that this program reads.
    pub fn read(version: &Store) -> Result<Overview, DatasetError> {
        let bytes = version.get(OVERVIEW_FILE)?;
        let url = format!("{}/{OVERVIEW_FILE}", version.url());
        let overview: Overview = serde_json::from_slice(&bytes).map_err(|error| DatasetError::damaged(Path::new(&url), error))?;
        if (overview.format_version, overview.block_bytes) != (FORMAT_VERSION, BLOCK_BYTES) {
            return Err(DatasetError::damaged(Path::new(&url), "another version of this program made it"));
        }
        Ok(overview)
    }
}

impl Blocks {
    fn of(path: &Path) -> Result<Blocks, DatasetError> {
        let mut file = File::open(path).map_err(DatasetError::io("open", path))?;
        let (mut bytes, mut xxh3) = (0, Vec::new());
        loop {
            let mut block = Vec::with_capacity(BLOCK_BYTES as usize);
            Read::by_ref(&mut file).take(BLOCK_BYTES).read_to_end(&mut block).map_err(DatasetError::io("read", path))?;
            if block.is_empty() {
                return Ok(Blocks { bytes, xxh3 });
            }
            bytes += block.len() as u64;
            xxh3.push(xxh3_64(&block));
        }
    }
}

/// Where the values of every column of an Arrow file lie.
fn offsets(path: &Path) -> Result<Vec<u64>, DatasetError> {
    let (bytes, _) = super::super::mmap::map(path)?;
    let begin = bytes.as_ptr() as usize;
    let batch = ipc::batch_of(bytes, path)?;
    let of = |array: &ArrayRef| {
        let values = array.to_data().buffers().first().map(|values| values.as_ptr() as usize);
        values.and_then(|values| values.checked_sub(begin)).map(|offset| offset as u64)
    };
    batch.columns().iter().map(|array| of(array).ok_or_else(|| DatasetError::damaged(path, "its arrays are not in it as they are"))).collect()
}

/// Writes ranks one level after the other; gives where each begins.
fn write_ranks(path: &Path, levels: Vec<(u32, Vec<u32>)>) -> Result<BTreeMap<u32, u64>, DatasetError> {
    let mut begins = Vec::new();
    let mut all = Vec::with_capacity(levels.iter().map(|(_, ranks)| ranks.len()).sum());
    for (level, ranks) in levels {
        begins.push((level, all.len() as u64 * 4));
        all.extend(ranks);
    }
    let batch = RecordBatch::try_from_iter([("rank", Arc::new(UInt32Array::from(all)) as ArrayRef)]).expect("there is one column");
    ipc::write_batch(path, &batch)?;
    let base = offsets(path)?[0];
    Ok(begins.into_iter().map(|(level, begin)| (level, base + begin)).collect())
}
