//! The cell index of a part: where, among its sorted points, each occupied cell begins.
//!
//! ```text
//! cells    level 16, always there:  hi[n], start[n + 1]       the key's upper half, once per cell, not per point
//! levels   8, 9, ... while a level has at most a quarter as many cells as the part has points:
//!                                   pixel[n], start[n + 1]    the cell's 16-bit code within its tile (cell id mod 2^16)
//! ```
//!
//! The last entry of every `start` is the number of points. A tile of zoom z is the entries of level z + 8 whose `start`
//! lies within the tile's slice: at most 65,536, whatever the number of points.

use super::fences::{Fences, partition_point};
use crate::world::Key;
use std::ops::Range;

/// Levels below this one hold pixels of no tile.
const LEVEL_MIN: u32 = 8;
const LEVEL_MAX: u32 = 32;

/// A level is indexed while `cells * POINTS_PER_CELL_MIN <= points`: at 6 bytes a cell, and levels growing about
/// threefold, the index then costs at most some 2 bytes a point.
const POINTS_PER_CELL_MIN: u64 = 4;

/// The index of one part, as views of its files.
#[derive(Debug, Clone, Copy)]
pub struct CellIndex<'a> {
    pub hi: &'a [u32],
    pub start: &'a [u32],
    pub lo: &'a [u32],
    /// Of a part in a store, of whose arrays only what lies between two fences need be there.
    pub fences: Option<&'a Fences>,
}

/// One indexed level.
#[derive(Debug, Clone, Copy)]
pub struct Level<'a> {
    pub level: u32,
    pub pixel: &'a [u16],
    pub start: &'a [u32],
    /// As of [`CellIndex`].
    pub fences: Option<&'a Fences>,
}

impl CellIndex<'_> {
    /// Positions of the points whose keys lie in `first..=last`. Two binary searches.
    pub fn slice(&self, first: Key, last: Key) -> Range<u32> {
        let from = self.position(first);
        let to = last.0.checked_add(1).map_or(self.lo.len() as u32, |next| self.position(Key(next)));
        from..to
    }

    /// The first position whose key is at least `key`.
    pub fn position(&self, key: Key) -> u32 {
        let stretch = self.fences.map_or(0..self.hi.len(), |fences| fences.around_key(Key::from_halves(key.hi(), 0)));
        let cell = partition_point(self.hi, stretch, |&hi| hi < key.hi());
        let from = self.start[cell] as usize;
        // Most searches are for where a cell begins.
        if key.lo() == 0 || self.hi.get(cell) != Some(&key.hi()) {
            return from as u32;
        }
        let to = self.start[cell + 1] as usize;
        (from + self.lo[from..to].partition_point(|&lo| lo < key.lo())) as u32
    }

    /// The level-16 cell, as an index into `hi`, of the point at `position`.
    pub fn cell_of(&self, position: u32) -> usize {
        let stretch = self.fences.map_or(0..self.start.len(), |fences| fences.around_position(position + 1));
        partition_point(self.start, stretch, |&start| start <= position) - 1
    }

    pub fn key(&self, position: u32) -> Key {
        Key::from_halves(self.hi[self.cell_of(position)], self.lo[position as usize])
    }
}

impl Level<'_> {
    /// The entries whose cells begin within a slice of points. Exact when the slice is a cell of this or a coarser level.
    pub fn entries(&self, slice: &Range<u32>) -> Range<usize> {
        let entry = |position: u32| {
            let stretch = self.fences.map_or(0..self.pixel.len(), |fences| fences.around_position(position));
            partition_point(self.start, stretch, |&start| start < position)
        };
        entry(slice.start)..entry(slice.end)
    }
}

/// The index of a part, as built at ingest.
#[derive(Debug, Default)]
pub struct IndexArrays {
    pub hi: Vec<u32>,
    pub hi_start: Vec<u32>,
    /// Level, pixels, starts.
    pub levels: Vec<(u32, Vec<u16>, Vec<u32>)>,
}

/// Builds the index from sorted keys, in two passes: one counts the cells of every level, one fills those that are kept.
///
/// # Panics
/// If there are more than 2^32 - 1 keys.
pub fn build(keys: &[u64]) -> IndexArrays {
    let points = u32::try_from(keys.len()).expect("a part has at most PART_POINTS_MAX points");
    // fresh[l]: points that are the first of their cell at level l but not at level l - 1.
    let mut fresh = [0u64; LEVEL_MAX as usize + 1];
    for pair in keys.windows(2) {
        if let Some(level) = first_differing_level(pair[0], pair[1]) {
            fresh[level as usize] += 1;
        }
    }
    let cells_at = |level: u32| u64::from(points > 0) + fresh[..=level as usize].iter().sum::<u64>();
    let kept: Vec<u32> = (LEVEL_MIN..=LEVEL_MAX)
        .take_while(|&level| points > 0 && cells_at(level) * POINTS_PER_CELL_MIN <= u64::from(points))
        .collect();
    let mut arrays = IndexArrays {
        hi: Vec::with_capacity(cells_at(16) as usize),
        hi_start: Vec::with_capacity(cells_at(16) as usize + 1),
        levels: kept
            .iter()
            .map(|&level| {
                let cells = cells_at(level) as usize;
                (level, Vec::with_capacity(cells), Vec::with_capacity(cells + 1))
            })
            .collect(),
    };
    let mut previous = None;
    for (position, &key) in keys.iter().enumerate() {
        let level_from = match previous.replace(key) {
            None => Some(0),
            Some(before) => first_differing_level(before, key),
        };
        let Some(level_from) = level_from else { continue };
        if level_from <= 16 {
            arrays.hi.push(Key(key).hi());
            arrays.hi_start.push(position as u32);
        }
        let skipped = (level_from.max(LEVEL_MIN) - LEVEL_MIN) as usize;
        for (level, pixel, start) in arrays.levels.iter_mut().skip(skipped) {
            pixel.push(Key(key).pixel_code(*level));
            start.push(position as u32);
        }
    }
    arrays.hi_start.push(points);
    for (_, _, start) in &mut arrays.levels {
        start.push(points);
    }
    arrays
}

/// The coarsest level (1 to 32) at which two keys lie in different cells; `None` where they are equal.
fn first_differing_level(a: u64, b: u64) -> Option<u32> {
    (a != b).then(|| (a ^ b).leading_zeros() / 2 + 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn view<'a>(arrays: &'a IndexArrays, lo: &'a [u32]) -> CellIndex<'a> {
        CellIndex { hi: &arrays.hi, start: &arrays.hi_start, lo, fences: None }
    }

    proptest! {
        #[test]
        fn slices_and_levels_agree_with_a_scan(
            mut keys in proptest::collection::vec(prop_oneof![any::<u64>(), 0u64..4000, (0u64..64).prop_map(|k| k << 40)], 0..600),
            first: u64, length in 0u64..1 << 60,
        ) {
            keys.sort_unstable();
            let arrays = build(&keys);
            let lo: Vec<u32> = keys.iter().map(|&k| k as u32).collect();
            let index = view(&arrays, &lo);
            for (position, &key) in keys.iter().enumerate() {
                prop_assert_eq!(index.key(position as u32), Key(key));
            }
            let last = first.saturating_add(length);
            let slice = index.slice(Key(first), Key(last));
            let expected = keys.iter().filter(|&&k| (first..=last).contains(&k)).count();
            prop_assert_eq!(slice.len(), expected);
            for (level, pixel, start) in &arrays.levels {
                let mut cells: Vec<u64> = keys.iter().map(|&k| Key(k).cell(*level)).collect();
                cells.dedup();
                prop_assert_eq!(pixel.len(), cells.len());
                prop_assert!(cells.len() * 4 <= keys.len());
                for (i, &cell) in cells.iter().enumerate() {
                    prop_assert_eq!(pixel[i], cell as u16);
                    prop_assert_eq!(Key(keys[start[i] as usize]).cell(*level), cell);
                }
                prop_assert_eq!(start[cells.len()] as usize, keys.len());
            }
        }
    }
}
