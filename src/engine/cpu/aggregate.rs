//! Twin of `shaders/aggregate.wgsl`: what a column's values come to per pixel of a tile, and how such pixels of a whole zoom
//! are distributed.
//!
//! Unlike counts, values are not subtracted from one another: every selected point of a tile is read. A pixel is a run of
//! points, so each has one reader, which goes through them in their order.

use super::borders::{Pixels, pixels, runs};
use super::distribution::{SharedCells, tasks};
use crate::dataset::{ColumnKeys, Dataset, Part};
use crate::engine::bitmap::GroupedBitmaps;
use crate::engine::{
    Aggregate, Cancel, EngineError, Measure, Numbers, Partial, PartialGrid, ValueDistribution, ValueTally,
};
use crate::world::{TILE_PIXELS, TileId, Zoom, pixel_from_code};
use rayon::prelude::*;
use std::collections::BTreeMap;
use std::ops::Range;

/// Pixels that a worker takes at a time: a fraction of a millisecond, however few points they have.
const TASK_PIXELS: usize = 1 << 10;

/// What the points of one tile come to over all parts.
///
/// # Errors
/// The answer is no longer wanted.
pub(in crate::engine) fn tile<'a>(
    numbers: &Numbers<'_>,
    parts: impl Iterator<Item = (&'a Part, &'a GroupedBitmaps)>,
    aggregate: Aggregate,
    tile: TileId,
    cancel: &Cancel,
) -> Result<PartialGrid, EngineError> {
    let Aggregate { measure, column } = aggregate;
    let size = TILE_PIXELS as usize;
    let mut partials = vec![Partial::Empty; size * size];
    for (part, bitmaps) in parts {
        let Some(Pixels { pixel: codes, start, .. }) = pixels(part, tile) else { continue };
        cancel.check()?;
        let keys = part.column(column);
        let of_part: Vec<Partial> = (0..codes.len())
            .into_par_iter()
            .with_min_len(TASK_PIXELS)
            .map(|i| of_points(numbers, measure, keys, &bitmaps.all.words, start[i]..start[i + 1]))
            .collect();
        for (&code, partial) in codes.iter().zip(of_part) {
            let pixel = &mut partials[pixel_from_code(code)];
            *pixel = pixel.and(partial, measure);
        }
    }
    Ok(PartialGrid { size, measure, partials })
}

/// The values of all pixels of a zoom.
///
/// # Errors
/// The answer is no longer wanted.
///
/// # Panics
/// If the column is text.
pub(in crate::engine) fn distribution(
    dataset: &Dataset,
    parts: &[(&Part, &GroupedBitmaps)],
    aggregate: Aggregate,
    zoom: Zoom,
    cancel: &Cancel,
) -> Result<ValueDistribution, EngineError> {
    let Aggregate { measure, column } = aggregate;
    let numbers = numbers_of(dataset, aggregate);
    let level = zoom.pixel_level();
    let shared_cells = SharedCells::of(parts, level);
    let mut whole = ValueTally::default();
    // Pixels that several parts may have points of, by cell, added in the order of the parts.
    let mut shared: BTreeMap<u64, Partial> = BTreeMap::new();
    for (part, bitmaps) in parts {
        let positions = shared_cells.positions(part, level);
        let is_shared = |position: u32| positions.iter().any(|shared| shared.contains(&position));
        let empty = || (ValueTally::default(), Vec::new());
        let (values, apart) = tasks(part, level)
            .into_par_iter()
            .try_fold(empty, |(mut values, mut apart), task| {
                cancel.check()?;
                each_cell(part, level, task, |cell| {
                    let begin = cell.start;
                    match of_points(&numbers, measure, part.column(column), &bitmaps.all.words, cell) {
                        Partial::Empty => {}
                        partial if is_shared(begin) => apart.push((part.key(begin).cell(level), partial)),
                        partial => values.add(numbers.value(partial, measure)),
                    }
                });
                Ok::<_, EngineError>((values, apart))
            })
            .try_reduce(empty, |(values, mut apart), (more, others)| {
                apart.extend(others);
                Ok((values.and(more), apart))
            })?;
        whole = whole.and(values);
        // Each cell once: they come from one part.
        for (cell, partial) in apart {
            let sum = shared.entry(cell).or_default();
            *sum = sum.and(partial, measure);
        }
    }
    shared.into_values().for_each(|partial| whole.add(numbers.value(partial, measure)));
    Ok(whole.finish())
}

/// # Panics
/// If the column is text.
pub(in crate::engine) fn numbers_of(dataset: &Dataset, aggregate: Aggregate) -> Numbers<'_> {
    Numbers::of(dataset, aggregate.column).expect("an aggregate is of a column of numbers")
}

/// The points of every cell of a level in a slice that begins and ends at such cells.
fn each_cell(part: &Part, level: u32, slice: Range<u32>, mut with: impl FnMut(Range<u32>)) {
    match part.level(level) {
        Some(indexed) => {
            let entries = indexed.entries(&slice);
            indexed.start[entries.start..=entries.end].windows(2).for_each(|bounds| with(bounds[0]..bounds[1]));
        }
        None => runs(part, level, slice).start.windows(2).for_each(|bounds| with(bounds[0]..bounds[1])),
    }
}

/// What the selected points in a range of positions come to.
pub(super) fn of_points(
    numbers: &Numbers<'_>,
    measure: Measure,
    keys: &ColumnKeys,
    words: &[u64],
    points: Range<u32>,
) -> Partial {
    match keys {
        ColumnKeys::U8(keys) => of_keys(numbers, measure, keys, words, points),
        ColumnKeys::U16(keys) => of_keys(numbers, measure, keys, words, points),
        ColumnKeys::U32(keys) => of_keys(numbers, measure, keys, words, points),
        ColumnKeys::U64(keys) => of_keys(numbers, measure, keys, words, points),
    }
}

fn of_keys<K: Copy + Into<u64>>(
    numbers: &Numbers<'_>,
    measure: Measure,
    keys: &[K],
    words: &[u64],
    points: Range<u32>,
) -> Partial {
    match (measure, numbers) {
        (Measure::Min, _) => {
            // Null's key is 0: less 1, it is larger than any.
            let mut least = u64::MAX;
            for_each_key(keys, words, points, |key| least = least.min(key.wrapping_sub(1)));
            if least == u64::MAX { Partial::Empty } else { Partial::Key(least + 1) }
        }
        (Measure::Max, _) => {
            let mut most = 0;
            for_each_key(keys, words, points, |key| most = most.max(key));
            if most == 0 { Partial::Empty } else { Partial::Key(most) }
        }
        (_, Numbers::Scaled { .. }) => {
            let (mut count, mut sum) = (0u64, 0u128);
            for_each_key(keys, words, points, |key| {
                count += u64::from(key > 0);
                sum += u128::from(key.saturating_sub(1));
            });
            whole(count, sum as i128)
        }
        (_, Numbers::Listed { integers, .. }) => {
            let (mut count, mut sum) = (0u64, 0i128);
            for_each_value(keys, words, points, |key| {
                count += 1;
                sum += i128::from(integers[key as usize - 1]);
            });
            whole(count, sum)
        }
        (_, Numbers::Floats(values)) => {
            let (mut count, mut sum) = (0u64, 0.0);
            for_each_value(keys, words, points, |key| {
                count += 1;
                sum += values[key as usize - 1];
            });
            real(count, sum)
        }
        (_, Numbers::OrderedFloats) => {
            let (mut count, mut sum) = (0u64, 0.0);
            for_each_value(keys, words, points, |key| {
                count += 1;
                sum += crate::dataset::column::float_from_ordered_key(key);
            });
            real(count, sum)
        }
    }
}

fn whole(count: u64, sum: i128) -> Partial {
    if count == 0 { Partial::Empty } else { Partial::Whole { count, sum } }
}

fn real(count: u64, sum: f64) -> Partial {
    if count == 0 { Partial::Empty } else { Partial::Real { count, sum } }
}

/// The keys of the selected points in a range of positions, in order; a full word in a plain loop.
#[inline(always)]
fn for_each_key<K: Copy + Into<u64>>(keys: &[K], words: &[u64], points: Range<u32>, mut with: impl FnMut(u64)) {
    let (from, to) = (points.start as usize, points.end as usize);
    let first_word = from / 64;
    for (at, &word) in words[first_word..to.div_ceil(64)].iter().enumerate() {
        let first = (first_word + at) * 64;
        let mut bits = word;
        if first < from {
            bits &= u64::MAX << (from - first);
        }
        if to < first + 64 {
            bits &= !(u64::MAX << (to - first));
        }
        if bits == u64::MAX {
            keys[first..first + 64].iter().for_each(|&key| with(key.into()));
            continue;
        }
        while bits != 0 {
            with(keys[first + bits.trailing_zeros() as usize].into());
            bits &= bits - 1;
        }
    }
}

/// As [`for_each_key`], without null's.
#[inline(always)]
fn for_each_value<K: Copy + Into<u64>>(keys: &[K], words: &[u64], points: Range<u32>, mut with: impl FnMut(u64)) {
    for_each_key(keys, words, points, |key| {
        if key > 0 {
            with(key);
        }
    });
}
