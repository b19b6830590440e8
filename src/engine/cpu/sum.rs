//! Sums of a column's values over the points of a filter and an area: exact where values are scaled integers, else in a
//! fixed order, so that every run and every number of threads gives the same digits.

use super::select::{self, BLOCK_WORDS};
use super::tally::{block_words, for_each_bit};
use crate::dataset::{BLOCK_POINTS, ColumnId, Dataset, Encoding, Part};
use crate::engine::{Cancel, EngineError, region, set_bits};
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

/// A sum of keys less 1 (exact), or of values in the order of the points.
#[derive(Clone, Copy, Default)]
struct Sum {
    count: u64,
    keys: u128,
    values: f64,
}

pub(super) fn means(
    arch: Arch,
    dataset: &Dataset,
    predicate: &Predicate,
    columns: &[ColumnId],
    area: Option<&Region>,
    cancel: &Cancel,
) -> Result<Vec<Mean>, EngineError> {
    let mut sums = vec![Sum::default(); columns.len()];
    for part in &dataset.parts {
        cancel.check()?;
        let mut words = vec![0; (part.rows() as usize).div_ceil(64)];
        match area {
            Some(area) => words = region::region_words(area, part),
            None => set_bits(&mut words, 0..part.rows()),
        }
        select::keep_passing(arch, part, predicate, &mut words);
        for (sum, &column) in sums.iter_mut().zip(columns) {
            let blocks: Vec<Sum> = words
                .par_chunks(BLOCK_WORDS)
                .enumerate()
                .map(|(block, words)| of_block(dataset, part, column, block, words))
                .collect();
            // One after the other: floats are added in the order of the blocks, whoever summed them.
            for block in blocks {
                sum.count += block.count;
                sum.keys += block.keys;
                sum.values += block.values;
            }
        }
    }
    Ok(sums.iter().zip(columns).map(|(sum, &column)| sum.mean(dataset, column)).collect())
}

fn of_block(dataset: &Dataset, part: &Part, column: ColumnId, block: usize, words: &[u64]) -> Sum {
    let keys = part.column(column);
    let words = &words[..block_words(part, block)];
    let exact = matches!(dataset.column(column).encoding, Encoding::Affine { .. });
    let mut sum = Sum::default();
    let mut block_keys = 0u64;
    for_each_bit(words, |i| {
        let key = keys.get(block * BLOCK_POINTS + i);
        if key == 0 {
            return;
        }
        sum.count += 1;
        if exact {
            // 4,096 keys of up to 2^64 need more than u64: spill when the addition would wrap.
            match block_keys.checked_add(key - 1) {
                Some(total) => block_keys = total,
                None => {
                    sum.keys += u128::from(block_keys);
                    block_keys = key - 1;
                }
            }
        } else {
            sum.values += dataset.value(column, key).as_f64().unwrap_or(0.0);
        }
    });
    sum.keys += u128::from(block_keys);
    sum
}

impl Sum {
    fn mean(&self, dataset: &Dataset, column: ColumnId) -> Mean {
        let count = self.count;
        let mean = (count > 0).then(|| match dataset.column(column).encoding {
            Encoding::Affine { base, step, decimals } => {
                // sum of (base + step * k) / 10^decimals, divided once at the end.
                let (whole, rest) = (self.keys / u128::from(count), self.keys % u128::from(count));
                let scaled = base as f64 + step as f64 * (whole as f64 + rest as f64 / count as f64);
                scaled / crate::dataset::column::power_of_ten(decimals)
            }
            _ => self.values / count as f64,
        });
        Mean { count, mean }
    }
}
