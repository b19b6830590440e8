//! Twin of `shaders/histogram.wgsl`: points per bin and group of several columns, in one pass over the selected points.

use super::select::BLOCK_WORDS;
use super::binner::Binner;
use super::tally::{Cells, Tally, block_words};
use crate::dataset::{BLOCK_POINTS, Dataset, Part};
use crate::engine::bitmap::GroupedBitmaps;
use crate::engine::{Cancel, EngineError, Groups, Histogram, HistogramRequest, region};
use crate::filter::Region;
use pulp::Arch;
use rayon::prelude::*;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Blocks that a worker takes at a time: 64 Ki points.
pub(super) const TASK_BLOCKS: usize = 16;

pub(super) fn histograms(
    arch: Arch,
    dataset: &Dataset,
    parts: &[(&Part, &GroupedBitmaps)],
    groups: &Groups,
    requests: &[HistogramRequest],
    area: Option<&Region>,
    cancel: &Cancel,
) -> Result<Vec<Histogram>, EngineError> {
    let binners: Vec<Binner> =
        requests.iter().map(|r| Binner::of_bins(&r.bins, dataset.column(r.column).key_max)).collect();
    let by = groups.column().map(|column| (column, Binner::of_groups(groups)));
    let mut sums: Vec<Histogram> = requests.iter().map(|r| Histogram::zeros(groups.len(), r.bins.len())).collect();
    for (part, bitmaps) in parts {
        let inside = area.map(|area| region::region_words(area, part));
        let zeros = || Tally::zeros(requests.iter().map(|r| groups.len() * (r.bins.len() + 2)));
        let counted = in_blocks(part, cancel, zeros, |tally, block| {
            let from = block * BLOCK_WORDS;
            let mut words = [0u64; BLOCK_WORDS];
            let words = &mut words[..block_words(part, block)];
            words.copy_from_slice(&bitmaps.all.words[from..][..words.len()]);
            if let Some(inside) = &inside {
                words.iter_mut().zip(&inside[from..]).for_each(|(word, inside)| *word &= inside);
            }
            if words.iter().all(|&word| word == 0) {
                return;
            }
            let Tally { cells, group, offsets, .. } = tally;
            if let Some((column, groups)) = &by {
                groups.places(arch, part.column(*column), block, words, group);
            }
            for ((cells, request), binner) in cells.iter_mut().zip(requests).zip(&binners) {
                if by.is_some() {
                    let stride = request.bins.len() as u32 + 2;
                    vectorized!(arch, offsets.iter_mut().zip(group.iter()).for_each(|(offset, group)| *offset = group * stride));
                }
                let keys = part.column(request.column);
                cells.add(arch, words, by.as_ref().map(|_| &*offsets), binner, keys, block);
            }
        })?;
        for ((sum, request), cells) in sums.iter_mut().zip(requests).zip(counted) {
            sum.add(&Histogram::from_cells(&cells, groups.len(), request.bins.len()));
        }
    }
    Ok(sums)
}

/// Has every block of a part added to some worker's tally, and gives the sum of the workers'.
pub(super) fn in_blocks(
    part: &Part,
    cancel: &Cancel,
    zeros: impl Fn() -> Tally + Sync,
    each: impl Fn(&mut Tally, usize) + Sync,
) -> Result<Vec<Vec<u32>>, EngineError> {
    let blocks = (part.rows() as usize).div_ceil(BLOCK_POINTS);
    let next = AtomicUsize::new(0);
    let workers = rayon::current_num_threads().min(blocks.div_ceil(TASK_BLOCKS)).max(1);
    let worker = |_| -> Result<Vec<Vec<u32>>, EngineError> {
        let mut tally = zeros();
        loop {
            cancel.check()?;
            let first = next.fetch_add(TASK_BLOCKS, Ordering::Relaxed);
            if first >= blocks {
                return Ok(tally.cells.into_iter().map(Cells::folded).collect());
            }
            (first..(first + TASK_BLOCKS).min(blocks)).for_each(|block| each(&mut tally, block));
        }
    };
    (0..workers).into_par_iter().with_max_len(1).map(worker).try_reduce_with(|mut a, b| {
        a.iter_mut().zip(&b).for_each(|(a, b)| a.iter_mut().zip(b).for_each(|(a, b)| *a += b));
        Ok(a)
    }).expect("there is a worker")
}

impl Histogram {
    fn add(&mut self, other: &Histogram) {
        let sum = |mine: &mut [u64], theirs: &[u64]| mine.iter_mut().zip(theirs).for_each(|(a, b)| *a += b);
        sum(&mut self.counts, &other.counts);
        sum(&mut self.nulls, &other.nulls);
        sum(&mut self.outside, &other.outside);
    }
}
