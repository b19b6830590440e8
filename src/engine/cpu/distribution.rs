//! Twin of `shaders/distribution.wgsl`: how often each total count occurs among the non-empty pixels of a zoom.
//!
//! A pixel at a border of two parts, or anywhere where parts overlap, has its points in several: such pixels are kept apart
//! by their cell and added before they are tallied.

use super::count::{each_run, each_total};
use crate::dataset::Part;
use crate::engine::bitmap::GroupedBitmaps;
use crate::engine::{Cancel, Distribution, EngineError};
use crate::world::{Key, Zoom};
use pulp::Arch;
use rayon::prelude::*;
use std::collections::{BTreeMap, HashMap};

/// Counts below this are tallied in a table, rarer larger ones in a map.
const TABLE_COUNTS: usize = 1 << 12;

/// Index entries, or points below the index, that one task takes.
const TASK_CELLS: usize = 1 << 18;

/// How often each count was seen.
struct Tally {
    table: Vec<u64>,
    beyond: HashMap<u32, u64>,
    /// Totals of the cells that other parts may share, by cell.
    shared: HashMap<u64, u32>,
}

pub(super) fn distribution(
    arch: Arch,
    parts: &[(&Part, &GroupedBitmaps)],
    zoom: Zoom,
    cancel: &Cancel,
) -> Result<Distribution, EngineError> {
    let level = zoom.pixel_level();
    let shared = SharedCells::of(parts, level);
    let mut whole = Tally::new();
    for (part, bitmaps) in parts {
        let shared = shared.positions(part, level);
        let tasks = tasks(part, level);
        let tally = tasks
            .into_par_iter()
            .map(|task| {
                cancel.check()?;
                let mut tally = Tally::new();
                arch.dispatch(|| tally.add(part, bitmaps, level, task, &shared));
                Ok(tally)
            })
            .try_reduce(Tally::new, |a, b| Ok(a.merged(b)))?;
        whole = whole.merged(tally);
    }
    Ok(whole.finish())
}

/// Ranges of positions that begin and end at cells of the level.
pub(super) fn tasks(part: &Part, level: u32) -> Vec<std::ops::Range<u32>> {
    let cells: u32 = part.level(level).map_or(part.rows(), |indexed| indexed.pixel.len() as u32);
    let pieces = (cells as usize).div_ceil(TASK_CELLS).max(1) as u32;
    let mut borders: Vec<u32> = (1..pieces)
        .map(|i| {
            let near = (u64::from(part.rows()) * u64::from(i) / u64::from(pieces)) as u32;
            let cell = part.key(near).cell(level);
            part.index().position(Key(cell << (64 - 2 * level)))
        })
        .collect();
    borders.extend([0, part.rows()]);
    borders.sort_unstable();
    borders.dedup();
    borders.windows(2).map(|pair| pair[0]..pair[1]).collect()
}

impl Tally {
    fn new() -> Tally {
        Tally { table: vec![0; TABLE_COUNTS], beyond: HashMap::new(), shared: HashMap::new() }
    }

    #[inline(always)]
    fn add(
        &mut self,
        part: &Part,
        bitmaps: &GroupedBitmaps,
        level: u32,
        slice: std::ops::Range<u32>,
        shared: &[std::ops::Range<u32>],
    ) {
        let all = &bitmaps.all;
        if let Some(indexed) = part.level(level) {
            let entries = indexed.entries(&slice);
            each_total(&indexed, entries, all, |i, total| {
                if total > 0 {
                    self.cell(part, level, indexed.start[i], total, shared);
                }
            });
            return;
        }
        let mut open: Option<u32> = None;
        let close = |tally: &mut Tally, from: u32, to: u32| match all.count(from, to) {
            0 => {}
            total => tally.cell(part, level, from, total, shared),
        };
        each_run(part, level, slice.clone(), |_, position| {
            if let Some(from) = open.replace(position) {
                close(self, from, position);
            }
        });
        if let Some(from) = open {
            close(self, from, slice.end);
        }
    }

    /// Tallies the cell that begins at `position`, or keeps it apart where another part may have points in it. Which it is, is
    /// asked by position: to work out the cell's id takes a search, for every cell ten times the price of counting it.
    #[inline(always)]
    fn cell(&mut self, part: &Part, level: u32, position: u32, total: u32, shared: &[std::ops::Range<u32>]) {
        if shared.iter().any(|positions| positions.contains(&position)) {
            *self.shared.entry(part.key(position).cell(level)).or_default() += total;
        } else {
            self.count(total);
        }
    }

    #[inline(always)]
    fn count(&mut self, total: u32) {
        match self.table.get_mut(total as usize) {
            Some(pixels) => *pixels += 1,
            None => *self.beyond.entry(total).or_default() += 1,
        }
    }

    fn merged(mut self, other: Tally) -> Tally {
        self.table.iter_mut().zip(other.table).for_each(|(mine, theirs)| *mine += theirs);
        for (count, pixels) in other.beyond {
            *self.beyond.entry(count).or_default() += pixels;
        }
        for (cell, total) in other.shared {
            *self.shared.entry(cell).or_default() += total;
        }
        self
    }

    fn finish(mut self) -> Distribution {
        for total in std::mem::take(&mut self.shared).into_values() {
            self.count(total);
        }
        let mut sorted: BTreeMap<u32, u64> = self.beyond.into_iter().collect();
        let table = self.table.into_iter().enumerate().filter(|&(count, pixels)| count > 0 && pixels > 0);
        sorted.extend(table.map(|(count, pixels)| (count as u32, pixels)));
        Distribution { pixels_by_count: sorted.into_iter().collect() }
    }
}

/// The cells of a level that points of more than one part may lie in, as inclusive ranges.
pub(super) struct SharedCells {
    ranges: Vec<(u64, u64)>,
}

impl SharedCells {
    pub(super) fn of(parts: &[(&Part, &GroupedBitmaps)], level: u32) -> SharedCells {
        let mut spans: Vec<(u64, u64)> = parts
            .iter()
            .map(|(part, _)| (part.key(0).cell(level), part.key(part.rows() - 1).cell(level)))
            .collect();
        spans.sort_unstable();
        let mut ranges: Vec<(u64, u64)> = Vec::new();
        let mut furthest: Option<u64> = None;
        for (first, last) in spans {
            if let Some(end) = furthest.filter(|&end| end >= first) {
                ranges.push((first, end.min(last)));
            }
            furthest = Some(furthest.map_or(last, |end| end.max(last)));
        }
        SharedCells { ranges }
    }

    /// Where a part's points in shared cells lie.
    pub(super) fn positions(&self, part: &Part, level: u32) -> Vec<std::ops::Range<u32>> {
        let shift = 64 - 2 * level;
        let slice = |&(first, last): &(u64, u64)| {
            part.index().slice(Key(first << shift), Key(last << shift | ((1u64 << shift) - 1)))
        };
        self.ranges.iter().map(slice).filter(|positions| !positions.is_empty()).collect()
    }
}
