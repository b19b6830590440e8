//! Twin of `shaders/count.wgsl`: the points of a tile, per pixel and group.
//!
//! Where the index has the level of the tile's pixels, each of its entries is a pixel. Deeper, the pixels are runs of equal
//! codes among the slice's own keys, found by galloping, so that the work is bounded by pixels there too.

use crate::dataset::{Level, Part};
use crate::engine::CountGrid;
use crate::engine::bitmap::{Bitmap, GroupedBitmaps};
use crate::world::{Key, TILE_PIXELS, TileId, pixel_from_code};
use pulp::Arch;
use std::ops::Range;

/// Counts one tile over all parts.
pub(super) fn tile<'a>(
    arch: Arch,
    parts: impl Iterator<Item = (&'a Part, &'a GroupedBitmaps)>,
    groups: usize,
    tile: TileId,
) -> CountGrid {
    let mut grid = CountGrid::zeros(groups, TILE_PIXELS as usize);
    let (first, last) = tile.keys();
    let level = tile.zoom().pixel_level();
    for (part, bitmaps) in parts {
        let slice = part.index().slice(first, last);
        if slice.is_empty() {
            continue;
        }
        match part.level(level) {
            Some(indexed) => {
                let entries = indexed.entries(&slice);
                let pixels = &indexed.pixel[entries.clone()];
                add(arch, pixels, &indexed.start[entries.start..=entries.end], bitmaps, &mut grid);
            }
            None => {
                let Runs { pixel, start } = runs(part, level, slice);
                add(arch, &pixel, &start, bitmaps, &mut grid);
            }
        }
    }
    grid
}

/// Adds the points of pixel i, `start[i]..start[i + 1]`, to the planes of their groups.
fn add(arch: Arch, pixels: &[u16], start: &[u32], bitmaps: &GroupedBitmaps, grid: &mut CountGrid) {
    let plane_pixels = grid.size * grid.size;
    for (plane, bitmap) in grid.counts.chunks_exact_mut(plane_pixels).zip(&bitmaps.groups) {
        // Most groups have no point in most tiles.
        if bitmap.count(start[0], start[pixels.len()]) > 0 {
            arch.dispatch(|| add_plane(pixels, start, bitmap, plane));
        }
    }
}

#[inline(always)]
fn add_plane(pixels: &[u16], start: &[u32], bitmap: &Bitmap, plane: &mut [u32]) {
    for (&code, bounds) in pixels.iter().zip(start.windows(2)) {
        plane[pixel_from_code(code)] += bitmap.count(bounds[0], bounds[1]);
    }
}

/// Pixels of a slice that the index does not have, in the shape of a level of the index.
pub(super) struct Runs {
    pub pixel: Vec<u16>,
    /// One more than pixels: the last is the end of the slice.
    pub start: Vec<u32>,
}

/// The runs of equal cells of `level` in a slice of a part.
pub(super) fn runs(part: &Part, level: u32, slice: Range<u32>) -> Runs {
    let mut runs = Runs { pixel: Vec::new(), start: Vec::new() };
    each_run(part, level, slice.clone(), |cell, from| {
        runs.pixel.push(cell as u16);
        runs.start.push(from);
    });
    runs.start.push(slice.end);
    runs
}

/// Calls `found(cell, first position)` for every run of equal cells of `level` in a slice. A run ends where the next begins,
/// or at the slice's end.
pub(super) fn each_run(part: &Part, level: u32, slice: Range<u32>, mut found: impl FnMut(u64, u32)) {
    if slice.is_empty() {
        return;
    }
    let index = part.index();
    let mut previous = None;
    let mut cell16 = index.cell_of(slice.start);
    let mut position = slice.start;
    while position < slice.end {
        let end = index.start[cell16 + 1].min(slice.end);
        let hi = index.hi[cell16];
        if level <= 16 {
            // All points of a level-16 cell share every coarser cell.
            let cell = Key::from_halves(hi, 0).cell(level);
            if previous.replace(cell) != Some(cell) {
                found(cell, position);
            }
        } else {
            // A coarser cell than 32 bits' worth cannot go on across level-16 cells: level 17 and deeper lie within one.
            let shift = 64 - 2 * level;
            let lo = &index.lo[..end as usize];
            let mut at = position as usize;
            while at < lo.len() {
                found(Key::from_halves(hi, lo[at]).cell(level), at as u32);
                at = run_end(lo, at, shift);
            }
        }
        position = end;
        cell16 += 1;
    }
}

/// The end of the run at `from` of keys that are equal but for their last `shift` bits. Gallops: a run of n points costs
/// 2 log n steps, and one of a single point one.
#[inline]
fn run_end(lo: &[u32], from: usize, shift: u32) -> usize {
    let of = |i: usize| u64::from(lo[i]) >> shift;
    let value = of(from);
    let mut step = 1;
    let mut known = from;
    while known + step < lo.len() && of(known + step) == value {
        known += step;
        step *= 2;
    }
    let beyond = (known + step).min(lo.len());
    known + 1 + lo[known + 1..beyond].partition_point(|&key| u64::from(key) >> shift == value)
}

/// The level's cells as totals; shared with the distribution.
#[inline(always)]
pub(super) fn each_total(level: &Level<'_>, entries: Range<usize>, all: &Bitmap, mut total: impl FnMut(usize, u32)) {
    for i in entries {
        total(i, all.count(level.start[i], level.start[i + 1]));
    }
}
