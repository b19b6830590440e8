//! Twin of `shaders/distribution.wgsl`: how often each total count occurs among the non-empty pixels of a zoom.
//!
//! A pixel at a border of two parts, or anywhere where parts overlap, has its points in several: such pixels are kept apart
//! by their cell and added before they are tallied.

use super::borders::each_border;
use crate::dataset::Part;
use crate::engine::bitmap::GroupedBitmaps;
use crate::engine::{Cancel, Distribution, EngineError};
use crate::world::{Key, Zoom};
use pulp::Arch;
use rayon::prelude::*;
use std::collections::{BTreeMap, HashMap};
use std::ops::Range;

/// Counts below this are tallied in a table, rarer larger ones in a map.
const TABLE_COUNTS: usize = 1 << 12;

/// Copies of the table, filled in turn: most counts are alike, and to add to what was just stored takes several cycles.
const LANES: usize = 4;

/// Index entries, or points below the index, that one task takes.
const TASK_CELLS: usize = 1 << 18;

/// How often each count was seen.
struct Tally {
    /// `[count][lane]`; how often 0 was seen is of no interest.
    table: Vec<u32>,
    seen: usize,
    beyond: HashMap<u32, u64>,
}

/// Totals of the cells that several parts may have points in, by cell.
type Shared = HashMap<u64, u32>;

pub(super) fn distribution(
    arch: Arch,
    parts: &[(&Part, &GroupedBitmaps)],
    zoom: Zoom,
    cancel: &Cancel,
) -> Result<Distribution, EngineError> {
    let level = zoom.pixel_level();
    let shared_cells = SharedCells::of(parts, level);
    let mut counts: BTreeMap<u32, u64> = BTreeMap::new();
    let mut shared = Shared::new();
    for (part, bitmaps) in parts {
        let positions = shared_cells.positions(part, level);
        let of_tasks: Vec<(Tally, Shared)> = tasks(part, level)
            .into_par_iter()
            .map(|task| {
                cancel.check()?;
                let (mut tally, mut apart) = (Tally::new(), Shared::new());
                for (slice, is_shared) in split(task, &positions) {
                    vectorized!(arch, match is_shared {
                        true => totals(part, bitmaps, level, slice, |position, total| {
                            *apart.entry(part.key(position).cell(level)).or_default() += total;
                        }),
                        false => totals(part, bitmaps, level, slice, |_, total| tally.count(total)),
                    });
                }
                Ok((tally, apart))
            })
            .collect::<Result<_, EngineError>>()?;
        for (tally, apart) in of_tasks {
            tally.add_to(&mut counts);
            apart.into_iter().for_each(|(cell, total)| *shared.entry(cell).or_default() += total);
        }
    }
    shared.into_values().for_each(|total| *counts.entry(total).or_default() += 1);
    counts.remove(&0);
    Ok(Distribution { pixels_by_count: counts.into_iter().collect() })
}

/// A slice in pieces that lie in one of the ranges, which ascend, or in none. Ranges begin and end at cells.
fn split(slice: Range<u32>, ranges: &[Range<u32>]) -> Vec<(Range<u32>, bool)> {
    let mut pieces = Vec::new();
    let mut from = slice.start;
    for range in ranges {
        let (start, end) = (range.start.clamp(from, slice.end), range.end.clamp(from, slice.end));
        pieces.push((from..start, false));
        pieces.push((start..end, true));
        from = end;
    }
    pieces.push((from..slice.end, false));
    pieces.retain(|(piece, _)| !piece.is_empty());
    pieces
}

/// Calls `with(first position, selected points)` for every cell of a level in a slice.
#[inline(always)]
fn totals(part: &Part, bitmaps: &GroupedBitmaps, level: u32, slice: Range<u32>, with: impl FnMut(u32, u32)) {
    let all = &*bitmaps.all;
    // Where every point is selected, positions are ranks.
    if all.total() == part.rows() {
        each_cell(part, level, slice, |position| position, with);
    } else {
        each_cell(part, level, slice, |position| all.rank(position), with);
    }
}

#[inline(always)]
fn each_cell(part: &Part, level: u32, slice: Range<u32>, rank: impl Fn(u32) -> u32, mut with: impl FnMut(u32, u32)) {
    let (mut from, mut before) = (slice.start, rank(slice.start));
    let border = |to: u32| {
        let through = rank(to);
        with(from, through - before);
        (from, before) = (to, through);
    };
    match part.level(level) {
        Some(indexed) => {
            let entries = indexed.entries(&slice);
            indexed.start[entries.start + 1..=entries.end].iter().copied().for_each(border);
        }
        None => each_border(part, level, slice, border),
    }
}

impl Tally {
    fn new() -> Tally {
        Tally { table: vec![0; TABLE_COUNTS * LANES], seen: 0, beyond: HashMap::new() }
    }

    #[inline(always)]
    fn count(&mut self, total: u32) {
        self.seen += 1;
        match self.table.get_mut(total as usize * LANES + self.seen % LANES) {
            Some(pixels) => *pixels += 1,
            None => *self.beyond.entry(total).or_default() += 1,
        }
    }

    fn add_to(self, counts: &mut BTreeMap<u32, u64>) {
        for (total, lanes) in self.table.chunks_exact(LANES).enumerate() {
            let pixels: u64 = lanes.iter().map(|&pixels| u64::from(pixels)).sum();
            if pixels > 0 {
                *counts.entry(total as u32).or_default() += pixels;
            }
        }
        self.beyond.into_iter().for_each(|(total, pixels)| *counts.entry(total).or_default() += pixels);
    }
}

/// Ranges of positions that begin and end at cells of the level.
pub(super) fn tasks(part: &Part, level: u32) -> Vec<Range<u32>> {
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
    pub(super) fn positions(&self, part: &Part, level: u32) -> Vec<Range<u32>> {
        let shift = 64 - 2 * level;
        let slice = |&(first, last): &(u64, u64)| {
            part.index().slice(Key(first << shift), Key(last << shift | ((1u64 << shift) - 1)))
        };
        self.ranges.iter().map(slice).filter(|positions| !positions.is_empty()).collect()
    }
}
