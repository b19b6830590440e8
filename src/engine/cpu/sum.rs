//! Sums of a column's values over the points of a filter and an area: exact where values are scaled integers, else in a
//! fixed order, so that every run and every number of threads gives the same digits.

use super::aggregate::of_points;
use super::select;
use crate::dataset::{BLOCK_POINTS, ColumnId, Dataset};
use crate::engine::{Cancel, EngineError, Measure, Numbers, Partial, region, set_bits};
use crate::filter::{Predicate, Region};
use pulp::Arch;
use rayon::prelude::*;

/// Points with a value, and their mean.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Mean {
    pub count: u64,
    /// `None` without points.
    pub mean: Option<f64>,
}

pub(super) fn means(
    arch: Arch,
    dataset: &Dataset,
    predicate: &Predicate,
    columns: &[ColumnId],
    area: Option<&Region>,
    cancel: &Cancel,
) -> Result<Vec<Mean>, EngineError> {
    let numbers: Vec<Numbers<'_>> =
        columns.iter().map(|&column| Numbers::of(dataset, column).expect("means are of columns of numbers")).collect();
    let mut sums = vec![Partial::Empty; columns.len()];
    for part in &dataset.parts {
        cancel.check()?;
        let mut words = vec![0; (part.rows() as usize).div_ceil(64)];
        match area {
            Some(area) => words = region::region_words(area, part),
            None => set_bits(&mut words, 0..part.rows()),
        }
        select::keep_passing(arch, part, predicate, &mut words);
        for ((sum, numbers), &column) in sums.iter_mut().zip(&numbers).zip(columns) {
            let keys = part.column(column);
            let blocks: Vec<Partial> = (0..part.rows().div_ceil(BLOCK_POINTS as u32))
                .into_par_iter()
                .map(|block| {
                    let from = block * BLOCK_POINTS as u32;
                    let points = from..part.rows().min(from + BLOCK_POINTS as u32);
                    of_points(numbers, Measure::Mean, keys, &words, points)
                })
                .collect();
            // One after the other: floats are added in the order of the blocks, whoever summed them.
            *sum = blocks.into_iter().fold(*sum, |sum, block| sum.and(block, Measure::Mean));
        }
    }
    let mean = |(&sum, numbers): (&Partial, &Numbers<'_>)| {
        let count = sum.count().unwrap_or(0);
        Mean { count, mean: (count > 0).then(|| numbers.value(sum, Measure::Mean)) }
    };
    Ok(sums.iter().zip(&numbers).map(mean).collect())
}
