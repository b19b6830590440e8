//! The inner loop of all histograms: selected points of a block, each added to one cell of an array.
//!
//! A cell is `[group][bin, outside, nulls]`. Keys become bins by a table: of every key where they are few, else of their upper
//! bits, which leaves a step or none to search. Bins and groups of a block are looked up first, in plain loops over its
//! points, and added up afterwards.

use super::select::BLOCK_WORDS;
use crate::dataset::{BLOCK_POINTS, ColumnKeys, Part};
use crate::engine::{Bins, Groups};

/// Keys up to this have a table entry each: 256 KiB, which stays in the second-level cache.
const TABLE_KEYS_MAX: u64 = 1 << 16;

/// Entries of a table by upper bits.
const UPPER_TABLE_LOG2: u32 = 12;

/// Blocks with fewer selected points than this are looked up point by point.
const DENSE_POINTS: u32 = BLOCK_POINTS as u32 / 8;

/// Places (bins, groups, slices) of a block's points.
pub(super) type Places = [u32; BLOCK_POINTS];

/// Finds the place of a key.
pub(super) enum Binner {
    /// By key.
    Table(Vec<u32>),
    /// Keys from 1 to `last` are their own bins, less 1.
    Own { last: u64, outside: u32, nulls: u32 },
    Search { edges: Vec<u64>, shift: u32, first: Vec<u32>, outside: u32, nulls: u32 },
}

impl Binner {
    /// Bins, then one place for what is outside, then one for nulls.
    pub(super) fn of_bins(bins: &Bins, key_max: u64) -> Binner {
        let count = bins.len() as u32;
        let place = |key: u64| match bins.bin(key) {
            Some(bin) => bin as u32,
            None => count + u32::from(key == 0),
        };
        match bins {
            _ if key_max <= TABLE_KEYS_MAX => Binner::Table((0..=key_max).map(place).collect()),
            Bins::OfKey { bin_of_key, .. } => Binner::Table((0..bin_of_key.len() as u64).map(place).collect()),
            Bins::Edges(edges) => {
                let (first, last) = (edges[0], edges[edges.len() - 1]);
                if first == 1 && last - first == edges.len() as u64 - 1 {
                    return Binner::Own { last: last - 1, outside: count, nulls: count + 1 };
                }
                let shift = (64 - (last - first).leading_zeros()).saturating_sub(UPPER_TABLE_LOG2);
                let entries = (last - first) >> shift;
                // The bin of the first key of every entry, from which the search goes up.
                let entry = |i: u64| (edges.partition_point(|&edge| edge <= first + (i << shift)) - 1) as u32;
                let table = (0..=entries).map(entry).collect();
                Binner::Search { edges: edges.clone(), shift, first: table, outside: count, nulls: count + 1 }
            }
        }
    }

    /// The groups of the `by` column.
    pub(super) fn of_groups(groups: &Groups) -> Binner {
        Binner::Table(groups.group_of_key().iter().map(|&group| u32::from(group)).collect())
    }

    /// Slices that begin at `starts`, the first of which is 0.
    pub(super) fn of_starts(starts: &[u64], key_max: u64) -> Binner {
        let slice = |key: u64| (starts.partition_point(|&start| start <= key) - 1) as u32;
        if key_max <= TABLE_KEYS_MAX {
            return Binner::Table((0..=key_max).map(slice).collect());
        }
        let shift = (64 - key_max.leading_zeros()).saturating_sub(UPPER_TABLE_LOG2);
        let first = (0..=key_max >> shift).map(|i| slice(i << shift)).collect();
        // No key is outside: the edges go on to the end.
        let edges = starts.iter().copied().chain([u64::MAX]).collect();
        Binner::Search { edges, shift, first, outside: starts.len() as u32 - 1, nulls: 0 }
    }

    #[inline(always)]
    fn place(&self, key: u64) -> u32 {
        match self {
            Binner::Table(table) => table[key as usize],
            Binner::Own { last, outside, nulls } => match key {
                0 => *nulls,
                key if key <= *last => (key - 1) as u32,
                _ => *outside,
            },
            Binner::Search { edges, shift, first, outside, nulls } => {
                let begin = edges[0];
                if key == 0 && begin > 0 {
                    return *nulls;
                }
                if key < begin || key >= edges[edges.len() - 1] {
                    return *outside;
                }
                let mut bin = first[((key - begin) >> shift) as usize];
                while edges[bin as usize + 1] <= key {
                    bin += 1;
                }
                bin
            }
        }
    }

    /// The places of the selected points of a block.
    #[inline(always)]
    pub(super) fn places(&self, keys: &ColumnKeys, block: usize, words: &[u64], places: &mut Places) {
        let from = block * BLOCK_POINTS;
        match keys {
            ColumnKeys::U8(keys) => self.places_of(&keys[from..], words, places),
            ColumnKeys::U16(keys) => self.places_of(&keys[from..], words, places),
            ColumnKeys::U32(keys) => self.places_of(&keys[from..], words, places),
            ColumnKeys::U64(keys) => self.places_of(&keys[from..], words, places),
        }
    }

    #[inline(always)]
    fn places_of<K: Copy + Into<u64>>(&self, keys: &[K], words: &[u64], places: &mut Places) {
        let selected: u32 = words.iter().map(|word| word.count_ones()).sum();
        if selected < DENSE_POINTS {
            return for_each_bit(words, |i| places[i] = self.place(keys[i].into()));
        }
        let keys = &keys[..keys.len().min(BLOCK_POINTS)];
        match self {
            Binner::Table(table) => {
                let table = table.as_slice();
                keys.iter().zip(places.iter_mut()).for_each(|(&key, place)| *place = table[key.into() as usize]);
            }
            other => keys.iter().zip(places.iter_mut()).for_each(|(&key, place)| *place = other.place(key.into())),
        }
    }
}

/// Copies of a small array of cells, filled in turn. Neighbours on the map often fall into one cell, and to add to what was
/// just stored takes the processor several cycles.
const LANES: usize = 4;

/// Cells up to this have lanes: four times as many must fit the first-level cache.
const LANE_CELLS_MAX: usize = 1 << 10;

/// An array of cells to add points to.
pub(super) struct Cells {
    cells: Vec<u32>,
    lanes: usize,
}

impl Cells {
    pub(super) fn zeros(cells: usize) -> Cells {
        let lanes = if cells <= LANE_CELLS_MAX { LANES } else { 1 };
        Cells { cells: vec![0; cells * lanes], lanes }
    }

    /// Adds the selected points: point i to `major[i] * stride + minor[i]`.
    #[inline(always)]
    pub(super) fn add(&mut self, words: &[u64], major: Option<(&Places, u32)>, minor: &Places) {
        let lane_cells = self.cells.len() / self.lanes;
        let cells = self.cells.as_mut_slice();
        match (major, self.lanes) {
            (None, 1) => for_each_bit(words, |i| cells[minor[i] as usize] += 1),
            (None, _) => for_each_bit(words, |i| cells[i % LANES * lane_cells + minor[i] as usize] += 1),
            (Some((major, stride)), 1) => for_each_bit(words, |i| cells[(major[i] * stride + minor[i]) as usize] += 1),
            (Some((major, stride)), _) => {
                for_each_bit(words, |i| cells[i % LANES * lane_cells + (major[i] * stride + minor[i]) as usize] += 1);
            }
        }
    }

    /// Counts the selected points by place, or all of them in the first cell.
    #[inline(always)]
    pub(super) fn count(&mut self, words: &[u64], places: Option<&Places>) {
        match places {
            Some(places) => self.add(words, None, places),
            None => self.cells[0] += words.iter().map(|word| word.count_ones()).sum::<u32>(),
        }
    }

    /// The sums of the lanes.
    pub(super) fn folded(mut self) -> Vec<u32> {
        let lane_cells = self.cells.len() / self.lanes;
        let (first, rest) = self.cells.split_at_mut(lane_cells);
        for lane in rest.chunks_exact(lane_cells.max(1)) {
            first.iter_mut().zip(lane).for_each(|(sum, cell)| *sum += cell);
        }
        self.cells.truncate(lane_cells);
        self.cells
    }
}

/// The bits of a block's words; a full word in a plain loop.
#[inline(always)]
pub(super) fn for_each_bit(words: &[u64], mut with: impl FnMut(usize)) {
    for (at, &word) in words.iter().enumerate() {
        if word == u64::MAX {
            (at * 64..at * 64 + 64).for_each(&mut with);
            continue;
        }
        let mut bits = word;
        while bits != 0 {
            with(at * 64 + bits.trailing_zeros() as usize);
            bits &= bits - 1;
        }
    }
}

/// The words of a block of the part that are points.
pub(super) fn block_words(part: &Part, block: usize) -> usize {
    (part.rows() as usize - block * BLOCK_POINTS).min(BLOCK_POINTS).div_ceil(64).min(BLOCK_WORDS)
}
