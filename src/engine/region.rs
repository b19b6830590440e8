//! Which points of a part lie in a region: a bitmap, from the cell index.
//!
//! Cells wholly inside or outside are decided by one test, so only points near the region's border are asked one by one, and of the
//! edges near them.
//! Both engines use this; it knows neither.

use crate::dataset::{CellIndex, Part};
use crate::filter::{Outline, Region, Sight};
use crate::world::{Key, WorldBox};
use std::ops::Range;

/// Cells with at most this many points are not divided further: asking a point costs about what a cell does.
const CELL_POINTS_MIN: u32 = 16;

/// The words of the bitmap of the part's points inside `region`, as in [`super::bitmap`]: bit i % 64 of word i / 64.
pub fn region_words(region: &Region, part: &Part) -> Vec<u64> {
    region_words_in(region, &part.index())
}

fn region_words_in(region: &Region, index: &CellIndex) -> Vec<u64> {
    let points = index.lo.len() as u32;
    let mut words = vec![0; (points as usize).div_ceil(64)];
    mark_cell(&Outline::of(region), index, 0, 0, 0..points, &mut words);
    words
}

/// Marks the points of a cell of `level` whose slice is known.
fn mark_cell(outline: &Outline, index: &CellIndex, level: u32, cell: u64, slice: Range<u32>, words: &mut [u64]) {
    if slice.is_empty() {
        return;
    }
    let first = first_key(level, cell);
    // The last key of the cell: the first key with the cell's lower bits all 1; level 0 has 64 of them.
    let last = Key(first.0 | u64::MAX.checked_shr(2 * level).unwrap_or(0));
    match outline.seen_from(&WorldBox { min: first.world(), max: last.world() }) {
        Sight::Outside => {}
        Sight::Inside => set_bits(words, slice),
        Sight::Partly(near) if level == 32 || slice.len() as u32 <= CELL_POINTS_MIN => mark_points(&near, index, slice, words),
        Sight::Partly(near) => {
            let mut from = slice.start;
            for child in 0..4 {
                let to = match child {
                    3 => slice.end,
                    _ => index.position(first_key(level + 1, cell * 4 + child + 1)),
                };
                mark_cell(&near, index, level + 1, cell * 4 + child, from..to, words);
                from = to;
            }
        }
    }
}

/// The first key of a cell. Level 0 has one cell, 0.
fn first_key(level: u32, cell: u64) -> Key {
    Key(if level == 0 { 0 } else { cell << (64 - 2 * level) })
}

fn mark_points(outline: &Outline, index: &CellIndex, slice: Range<u32>, words: &mut [u64]) {
    let mut cell = index.cell_of(slice.start);
    for position in slice {
        while index.start[cell + 1] <= position {
            cell += 1;
        }
        let key = Key::from_halves(index.hi[cell], index.lo[position as usize]);
        words[position as usize / 64] |= u64::from(outline.contains(key.world())) << (position % 64);
    }
}

/// Sets the bits of a range, whole words at a time.
pub fn set_bits(words: &mut [u64], range: Range<u32>) {
    if range.is_empty() {
        return;
    }
    let (first, last) = (range.start as usize / 64, (range.end - 1) as usize / 64);
    let from = u64::MAX << (range.start % 64);
    let to = u64::MAX >> (63 - (range.end - 1) % 64);
    if first == last {
        words[first] |= from & to;
        return;
    }
    words[first] |= from;
    words[first + 1..last].fill(u64::MAX);
    words[last] |= to;
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::filter::Polygon;
    use crate::world::WorldPoint;
    use proptest::prelude::*;

    /// Points near one another, at the world's corners, and anywhere.
    fn coordinate() -> impl Strategy<Value = u32> {
        prop_oneof![any::<u32>(), (0u32..64).prop_map(|v| (1 << 31) - 32 + v), 0u32..8, (0u32..8).prop_map(|v| u32::MAX - v)]
    }

    fn point() -> impl Strategy<Value = WorldPoint> {
        (coordinate(), coordinate()).prop_map(|(x, y)| WorldPoint { x, y })
    }

    fn boxed() -> impl Strategy<Value = WorldBox> {
        (point(), point()).prop_map(|(a, b)| WorldBox {
            min: WorldPoint { x: a.x.min(b.x), y: a.y.min(b.y) },
            max: WorldPoint { x: a.x.max(b.x), y: a.y.max(b.y) },
        })
    }

    /// Sorted keys as the three arrays of a cell index.
    fn arrays(keys: &[u64]) -> (Vec<u32>, Vec<u32>, Vec<u32>) {
        let (mut hi, mut start) = (Vec::new(), Vec::new());
        for (position, &key) in keys.iter().enumerate() {
            if hi.last() != Some(&Key(key).hi()) {
                hi.push(Key(key).hi());
                start.push(position as u32);
            }
        }
        start.push(keys.len() as u32);
        (hi, start, keys.iter().map(|&key| Key(key).lo()).collect())
    }

    proptest! {
        #[test]
        fn the_bitmap_of_a_region_is_what_every_point_says(
            points in proptest::collection::vec(point(), 0..700),
            boxes in proptest::collection::vec(boxed(), 0..3),
            rings in proptest::collection::vec(proptest::collection::vec(point(), 3..7), 0..3),
        ) {
            let mut keys: Vec<u64> = points.into_iter().map(|point| Key::from_world(point).0).collect();
            keys.sort_unstable();
            let (hi, start, lo) = arrays(&keys);
            let index = CellIndex { hi: &hi, start: &start, lo: &lo, fences: None };
            let region = Region { boxes, polygons: rings.into_iter().map(|ring| Polygon { rings: vec![ring] }).collect() };
            let words = region_words_in(&region, &index);
            prop_assert_eq!(words.len(), keys.len().div_ceil(64));
            for position in 0..words.len() * 64 {
                let expected = keys.get(position).is_some_and(|&key| region.contains(Key(key).world()));
                prop_assert_eq!(words[position / 64] >> (position % 64) & 1 == 1, expected, "position {}", position);
            }
        }

        #[test]
        fn a_range_of_bits_is_set_and_no_other(from in 0u32..320, length in 0u32..320) {
            let to = (from + length).min(320);
            let mut words = vec![0u64; 5];
            set_bits(&mut words, from..to);
            for bit in 0..320u32 {
                prop_assert_eq!(words[bit as usize / 64] >> (bit % 64) & 1 == 1, (from..to).contains(&bit));
            }
        }
    }
}
