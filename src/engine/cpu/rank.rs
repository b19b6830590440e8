//! Twin of `shaders/rank.wgsl`: words become ranks, reduce then scan. The scan is [`Ranks::scan`](crate::engine::bitmap::Ranks).

use crate::engine::bitmap::{RANK_WORDS, block_counts, block_of};

/// Where the counts of some blocks of one bitmap go: in all, and within.
pub(super) type BlockCounts<'a> = (&'a mut [u32], &'a mut [u64]);

/// The reduction of some blocks of points: of all that are selected, to the first of `counts`, and of those in each group, to the
/// others. `groups` are the words of their points, selected or not; counts begin as zeros.
#[inline(always)]
pub(super) fn reduce<'a>(selected: &[u64], groups: impl Iterator<Item = &'a [u64]> + Clone, counts: &mut [BlockCounts<'_>]) {
    for (block, words) in selected.chunks(RANK_WORDS).enumerate() {
        let words = block_of(words);
        if words.iter().fold(0, |any, word| any | word) == 0 {
            continue;
        }
        let (all, of_groups) = counts.split_first_mut().expect("the first is of all that are selected");
        (all.0[block], all.1[block]) = block_counts(words);
        for (counts, group) in of_groups.iter_mut().zip(groups.clone()) {
            let from = block * RANK_WORDS;
            let members = block_of(&group[from..(from + RANK_WORDS).min(group.len())]);
            (counts.0[block], counts.1[block]) = block_counts(std::array::from_fn(|w| words[w] & members[w]));
        }
    }
}
