//! Twin of `shaders/count.wgsl`: the points of a tile, per pixel and group.
//!
//! Where its pixels begin and end says `borders.rs`.

use super::borders::{Pixels, pixels};
use crate::dataset::{ColumnKeys, Part};
use crate::engine::{CountGrid, Groups};
use crate::engine::bitmap::{CellRanks, GroupBits, GroupedBitmaps};
use crate::world::{TILE_PIXELS, TileId, pixel_from_code};
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
    let level = tile.zoom().pixel_level();
    for (part, bitmaps) in parts {
        let Some(Pixels { pixel, start, entries }) = pixels(part, tile) else { continue };
        match entries.zip(bitmaps.cells(level)) {
            Some((entries, cells)) => copy(arch, &pixel, entries, cells, &mut grid),
            None => add(arch, &pixel, &start, bitmaps, &mut grid),
        }
    }
    grid
}

/// Counts one tile of all points, by the ranks that a store has of coarse levels, or by the keys of the tile's own points.
pub(super) fn everything(arch: Arch, parts: &[Part], groups: &Groups, tile: TileId) -> CountGrid {
    let mut grid = CountGrid::zeros(groups.len(), TILE_PIXELS as usize);
    let level = tile.zoom().pixel_level();
    for part in parts {
        let Some(Pixels { pixel, start, entries }) = pixels(part, tile) else { continue };
        match entries.zip(part.ranks(level).filter(|_| groups.column().is_some())) {
            Some((entries, ranks)) => add_ranked(&pixel, &ranks[entries.start * groups.len()..(entries.end + 1) * groups.len()], &mut grid),
            None => add_points(arch, part, groups, &pixel, &start, &mut grid),
        }
    }
    grid
}

/// Adds the points between ranks of all groups at one pixel's border and at the next.
fn add_ranked(pixels: &[u16], ranks: &[u32], grid: &mut CountGrid) {
    let (groups, plane_pixels) = (grid.categories, grid.size * grid.size);
    for ((&code, before), through) in pixels.iter().zip(ranks.chunks_exact(groups)).zip(ranks[groups..].chunks_exact(groups)) {
        let pixel = pixel_from_code(code);
        for group in 0..groups {
            grid.counts[group * plane_pixels + pixel] += through[group] - before[group];
        }
    }
}

/// Adds the points of pixel i, `start[i]..start[i + 1]`, each to the plane of its group.
fn add_points(arch: Arch, part: &Part, groups: &Groups, pixels: &[u16], start: &[u32], grid: &mut CountGrid) {
    let Some(column) = groups.column() else {
        return planes(grid).take(1).for_each(|plane| add_plane(arch, pixels, start, plane, |position| position));
    };
    let of_key = groups.group_of_key();
    match part.column(column) {
        ColumnKeys::U8(keys) => add_keys(keys, of_key, pixels, start, grid),
        ColumnKeys::U16(keys) => add_keys(keys, of_key, pixels, start, grid),
        ColumnKeys::U32(keys) => add_keys(keys, of_key, pixels, start, grid),
        ColumnKeys::U64(_) => unreachable!("a column of categories has at most 65,536 keys"),
    }
}

fn add_keys<K: Copy + Into<u32>>(keys: &[K], group_of_key: &[u8], pixels: &[u16], start: &[u32], grid: &mut CountGrid) {
    let plane_pixels = grid.size * grid.size;
    for (&code, border) in pixels.iter().zip(start.windows(2)) {
        let pixel = pixel_from_code(code);
        for &key in &keys[border[0] as usize..border[1] as usize] {
            grid.counts[usize::from(group_of_key[key.into() as usize]) * plane_pixels + pixel] += 1;
        }
    }
}

/// Adds the points of the pixels that are entries of a level whose ranks are kept.
fn copy(arch: Arch, pixels: &[u16], entries: Range<usize>, cells: &CellRanks, grid: &mut CountGrid) {
    for (plane, ranks) in planes(grid).zip(&cells.ranks) {
        let ranks = &ranks[entries.start..=entries.end];
        add_plane(arch, pixels, ranks, plane, |rank| rank);
    }
}

/// Adds the points of pixel i, `start[i]..start[i + 1]`, to the planes of their groups.
fn add(arch: Arch, pixels: &[u16], start: &[u32], bitmaps: &GroupedBitmaps, grid: &mut CountGrid) {
    let selected = &bitmaps.all.words;
    for (plane, group) in planes(grid).zip(&bitmaps.groups) {
        match group {
            GroupBits::Whole(bitmap) => add_plane(arch, pixels, start, plane, |position| bitmap.rank(position)),
            GroupBits::Cut { group, ranks } => add_plane(arch, pixels, start, plane, |position| {
                let at = position as usize / 64;
                let word = selected.get(at).zip(group.words.get(at)).map_or(0, |(selected, members)| selected & members);
                ranks.rank(position, word)
            }),
        }
    }
}

fn planes(grid: &mut CountGrid) -> impl Iterator<Item = &mut [u32]> {
    let plane_pixels = grid.size * grid.size;
    grid.counts.chunks_exact_mut(plane_pixels)
}

/// Adds to every pixel the points between its border and the next.
#[inline(always)]
fn add_plane(arch: Arch, pixels: &[u16], borders: &[u32], plane: &mut [u32], rank: impl Fn(u32) -> u32) {
    let (mut before, last) = (rank(borders[0]), rank(borders[pixels.len()]));
    // Most groups have no point in most tiles.
    if before == last {
        return;
    }
    vectorized!(arch, {
        for (&code, &border) in pixels.iter().zip(&borders[1..]) {
            let through = rank(border);
            plane[pixel_from_code(code)] += through - before;
            before = through;
        }
    });
}
