//! Where one cell ends and the next begins, among the points of a part: for levels that the index does not have.
//!
//! Such a level has few points a cell, so that comparing every key with the next, 64 at a time, is quicker than to search for where a
//! cell ends. Only a cell of more than that is galloped through, so that the work stays bounded by the cells.

use super::select::packed;
use crate::dataset::{CellIndex, Part};
use crate::world::{Key, TileId};
use pulp::Arch;
use std::borrow::Cow;
use std::ops::Range;

/// Points whose borders are found at a time.
const BORDER_POINTS: usize = 64;

/// The pixels of a tile that have points of a part, and where their points lie.
pub(super) struct Pixels<'a> {
    pub pixel: Cow<'a, [u16]>,
    /// One more than pixels: the last is the end of the tile's slice.
    pub start: Cow<'a, [u32]>,
    /// Which entries of their level they are, where the index has it.
    pub entries: Option<Range<usize>>,
}

/// Cells of a slice that the index does not have, in the shape of a level of the index.
pub(super) struct Runs {
    pub pixel: Vec<u16>,
    /// One more than pixels: the last is the end of the slice.
    pub start: Vec<u32>,
}

/// The pixels of a tile; `None` where the part has no point in it. From the index where it has their level; deeper they are runs among the
/// slice's own keys.
pub(super) fn pixels(part: &Part, tile: TileId) -> Option<Pixels<'_>> {
    let slice = slice_of(part, tile);
    if slice.is_empty() {
        return None;
    }
    let level = tile.zoom().pixel_level();
    Some(match part.level(level) {
        Some(indexed) => {
            let entries = indexed.entries(&slice);
            let (pixel, start) = (&indexed.pixel[entries.clone()], &indexed.start[entries.start..=entries.end]);
            Pixels { pixel: pixel.into(), start: start.into(), entries: Some(entries) }
        }
        None => {
            let Runs { pixel, start } = runs(part, level, slice);
            Pixels { pixel: pixel.into(), start: start.into(), entries: None }
        }
    })
}

/// Where a part's points of a tile lie. A part in a store that has none need not be here.
pub(super) fn slice_of(part: &Part, tile: TileId) -> Range<u32> {
    let (first, last) = tile.keys();
    if part.meets(first, last) { part.index().slice(first, last) } else { 0..0 }
}

/// The runs of points in one cell of `level`, in a slice of a part.
pub(super) fn runs(part: &Part, level: u32, slice: Range<u32>) -> Runs {
    if slice.is_empty() {
        return Runs { pixel: Vec::new(), start: vec![slice.end] };
    }
    let index = part.index();
    let mut start = vec![slice.start];
    vectorized!(Arch::new(), each_border(part, level, slice.clone(), |border| start.push(border)));
    let mut cell16 = index.cell_of(slice.start);
    let code = |&at: &u32| {
        while index.start[cell16 + 1] <= at {
            cell16 += 1;
        }
        Key::from_halves(index.hi[cell16], index.lo[at as usize]).cell(level) as u16
    };
    let pixel = start[..start.len() - 1].iter().map(code).collect();
    Runs { pixel, start }
}

/// Calls `with` for the end of every cell of a level in a slice that is not empty: where the next one begins, or the slice ends.
#[inline(always)]
pub(super) fn each_border(part: &Part, level: u32, slice: Range<u32>, mut with: impl FnMut(u32)) {
    let index = part.index();
    let begins = |cell16: usize| {
        // A level-16 cell begins a cell of every finer level, but not of every coarser one.
        level >= 16 || (index.hi[cell16] ^ index.hi[cell16 - 1]) >> (32 - 2 * level) != 0
    };
    let mut cell16 = index.cell_of(slice.start) + 1;
    let mut from = slice.start as usize + 1;
    while from < slice.end as usize {
        let to = (from + BORDER_POINTS).min(slice.end as usize);
        let mut bits = if level > 16 { changes(&index.lo[from - 1..to], 64 - 2 * level) } else { 0 };
        let is_within_one = (index.start[cell16] as usize) >= to;
        while (index.start[cell16] as usize) < to {
            bits |= u64::from(begins(cell16)) << (index.start[cell16] as usize - from);
            cell16 += 1;
        }
        if bits == 0 && is_within_one {
            from = end_of_run(&index, level, to - 1, index.start[cell16].min(slice.end) as usize);
            continue;
        }
        while bits != 0 {
            with((from + bits.trailing_zeros() as usize) as u32);
            bits &= bits - 1;
        }
        from = to;
    }
    with(slice.end);
}

/// Bit i: keys i and i + 1 differ in more than their last `shift` bits.
#[inline(always)]
fn changes(keys: &[u32], shift: u32) -> u64 {
    let mut bytes = [0u8; BORDER_POINTS];
    let differ = |a: &u32, b: &u32| u8::from((a ^ b) >> shift != 0);
    match <&[u32; BORDER_POINTS + 1]>::try_from(keys) {
        // A fixed length is what lets the compiler vectorise the comparison.
        Ok(keys) => (0..BORDER_POINTS).for_each(|i| bytes[i] = differ(&keys[i], &keys[i + 1])),
        Err(_) => keys.windows(2).zip(&mut bytes).for_each(|(pair, byte)| *byte = differ(&pair[0], &pair[1])),
    }
    packed(&bytes)
}

/// The first position after `from` whose point is in another cell of the level than that at `from`, or `end`, up to which all are in
/// one cell of level 16.
fn end_of_run(index: &CellIndex<'_>, level: u32, from: usize, end: usize) -> usize {
    if level <= 16 {
        return end;
    }
    let lo = &index.lo[..end];
    let is_same = |at: usize| (lo[at] ^ lo[from]) >> (64 - 2 * level) == 0;
    let (mut known, mut step) = (from, BORDER_POINTS);
    while known + step < end && is_same(known + step) {
        known += step;
        step *= 2;
    }
    let beyond = (known + step).min(end);
    known + 1 + lo[known + 1..beyond].partition_point(|key| (key ^ lo[from]) >> (64 - 2 * level) == 0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dataset::testing::dataset;
    use crate::world::WorldPoint;
    use proptest::prelude::*;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        /// Piles of points that are galloped through, beside single ones, near each other at all levels.
        #[test]
        fn runs_are_the_cells_of_the_points_one_by_one(
            piles in proptest::collection::vec((0u32..4, 0u32..32, any::<u32>(), prop_oneof![1usize..4, 60usize..400]), 1..30),
            level in 8u32..=32, cut in any::<(prop::sample::Index, prop::sample::Index)>(),
        ) {
            let points: Vec<WorldPoint> = piles
                .iter()
                .flat_map(|&(x, bit, y, times)| std::iter::repeat_n(WorldPoint { x: x << 30 | 1 << bit, y: y & (1 << bit) }, times))
                .collect();
            let (_folder, dataset) = dataset(&points, &[], 1 << 20);
            let part = &dataset.parts[0];
            let cells: Vec<u64> = (0..part.rows()).map(|at| part.key(at).cell(level)).collect();
            let (a, b) = (cut.0.index(cells.len() + 1), cut.1.index(cells.len() + 1));
            let slice = a.min(b)..a.max(b);
            let begins = |&at: &usize| at == slice.start || cells[at] != cells[at - 1];
            let starts: Vec<usize> = slice.clone().filter(begins).collect();
            let Runs { pixel, start } = runs(part, level, slice.start as u32..slice.end as u32);
            prop_assert_eq!(pixel, starts.iter().map(|&at| cells[at] as u16).collect::<Vec<_>>());
            let expected: Vec<u32> = starts.into_iter().chain([slice.end]).map(|at| at as u32).collect();
            prop_assert_eq!(start, expected);
        }
    }
}
