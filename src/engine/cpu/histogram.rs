//! Twin of `shaders/histogram.wgsl`: points per bin and group of several columns, in one pass over the selected points.

use crate::dataset::{ColumnKeys, Part};
use crate::engine::bitmap::{Bitmap, GroupedBitmaps};
use crate::engine::{Bins, Cancel, EngineError, Histogram, HistogramRequest, region};
use crate::filter::Region;
use pulp::Arch;
use rayon::prelude::*;

/// Words that one task takes: 256 Ki points.
const TASK_WORDS: usize = 4096;

pub(super) fn histograms(
    arch: Arch,
    parts: &[(&Part, &GroupedBitmaps)],
    requests: &[HistogramRequest],
    area: Option<&Region>,
    cancel: &Cancel,
) -> Result<Vec<Histogram>, EngineError> {
    let groups = parts.first().map_or(1, |(_, bitmaps)| bitmaps.groups.len());
    let zeros = || requests.iter().map(|request| Histogram::zeros(groups, request.bins.len())).collect::<Vec<_>>();
    let mut sums = zeros();
    for (part, bitmaps) in parts {
        let inside = area.map(|area| region::region_words(area, part));
        let tasks = bitmaps.all.words.len().div_ceil(TASK_WORDS);
        let counted = (0..tasks)
            .into_par_iter()
            .map(|task| {
                cancel.check()?;
                let words = task * TASK_WORDS..((task + 1) * TASK_WORDS).min(bitmaps.all.words.len());
                let mut counted = zeros();
                for (histogram, request) in counted.iter_mut().zip(requests) {
                    let keys = part.column(request.column);
                    for (group, bitmap) in bitmaps.groups.iter().enumerate() {
                        let inside = inside.as_deref();
                        arch.dispatch(|| add(histogram, group, &request.bins, keys, bitmap, inside, words.clone()));
                    }
                }
                Ok(counted)
            })
            .try_reduce(zeros, |mut a, b| {
                a.iter_mut().zip(b).for_each(|(a, b)| a.add(&b));
                Ok(a)
            })?;
        sums.iter_mut().zip(counted).for_each(|(a, b)| a.add(&b));
    }
    Ok(sums)
}

#[inline(always)]
fn add(
    histogram: &mut Histogram,
    group: usize,
    bins: &Bins,
    keys: &ColumnKeys,
    bitmap: &Bitmap,
    inside: Option<&[u64]>,
    words: std::ops::Range<usize>,
) {
    let first_bin = group * histogram.bins;
    for word in words {
        let mut bits = bitmap.words[word] & inside.map_or(u64::MAX, |inside| inside[word]);
        while bits != 0 {
            let key = keys.get(word * 64 + bits.trailing_zeros() as usize);
            bits &= bits - 1;
            match bins.bin(key) {
                Some(bin) => histogram.counts[first_bin + bin] += 1,
                None if key == 0 => histogram.nulls[group] += 1,
                None => histogram.outside[group] += 1,
            }
        }
    }
}

impl Histogram {
    fn add(&mut self, other: &Histogram) {
        let sum = |mine: &mut [u64], theirs: &[u64]| mine.iter_mut().zip(theirs).for_each(|(a, b)| *a += b);
        sum(&mut self.counts, &other.counts);
        sum(&mut self.nulls, &other.nulls);
        sum(&mut self.outside, &other.outside);
    }
}
