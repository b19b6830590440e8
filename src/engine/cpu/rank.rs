//! Twin of `shaders/rank.wgsl`: words become bitmaps with ranks, reduce then scan.

use crate::engine::bitmap::{Bitmap, RANK_POINTS};
use pulp::Arch;

/// Words per rank.
pub(super) const RANK_WORDS: usize = RANK_POINTS / 64;

/// Selected points of every block of 512: the reduction.
pub(super) fn block_totals(arch: Arch, words: &[u64], totals: &mut [u32]) {
    arch.dispatch(|| {
        for (total, block) in totals.iter_mut().zip(words.chunks(RANK_WORDS)) {
            *total = block.iter().map(|word| word.count_ones()).sum();
        }
    });
}

/// Ranks from block totals, `totals[i]` being the selected points of block i: the scan.
pub(super) fn ranked(words: Vec<u64>, mut totals: Vec<u32>) -> Bitmap {
    let mut before = 0;
    for total in &mut totals {
        before += std::mem::replace(total, before);
    }
    totals.push(before);
    Bitmap { words, ranks: totals }
}
