//! Bitmaps with ranks: which points of a part are selected, and how many before any position.
//!
//! ```text
//! words    u64, bit i % 64 of word i / 64: point i is selected; bits past the last point are 0
//! before   u32, before[b] = selected points before point 512 b; one more than blocks, the last is the total
//! within   u64, per block of 512: bits 9 w to 9 w + 8 are the selected points of its first w + 1 words, w = 0 to 6
//! ```
//!
//! A rank is a sum of three numbers, without a loop or a branch (Vigna, "Broadword implementation of rank/select queries",
//! 2008: rank9). 0.148 bytes a point. As u32 halves, little endian, the words are what the shaders read.

use std::sync::Arc;

/// Points per rank: eight words, one cache line.
pub const RANK_POINTS: usize = 512;
pub(super) const RANK_WORDS: usize = RANK_POINTS / 64;

/// Bits of a count in `within`: up to 448.
const WITHIN_BITS: usize = 9;
const WITHIN_MASK: u64 = (1 << WITHIN_BITS) - 1;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bitmap {
    pub words: Vec<u64>,
    pub ranks: Ranks,
}

/// How many bits are set before every word; of whose words, the owner knows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ranks {
    pub before: Vec<u32>,
    pub within: Vec<u64>,
}

/// The bitmaps of one part: its selected points, and those of each group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupedBitmaps {
    pub all: Arc<Bitmap>,
    pub groups: Vec<GroupBits>,
    /// Ranks at the cells of the coarsest levels, where they are kept.
    pub cells: Vec<CellRanks>,
}

/// The selected points of a group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum GroupBits {
    /// Those of a bitmap, which is shared: without a filter every point of the group, without categories the union.
    Whole(Arc<Bitmap>),
    /// Those points of the group that are in the union too. Only their ranks are their own, so that a selection costs 0.02 bytes a
    /// point and group.
    Cut { group: Arc<Bitmap>, ranks: Ranks },
}

/// `ranks[group][i]`: points of the group before entry i of the part's index of `level`; one more than entries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CellRanks {
    pub level: u32,
    pub ranks: Vec<Vec<u32>>,
}

/// The words of a block; 0 where the last block has no more.
#[inline(always)]
pub(super) fn block_of(words: &[u64]) -> [u64; RANK_WORDS] {
    words.try_into().unwrap_or_else(|_| {
        let mut block = [0; RANK_WORDS];
        block[..words.len()].copy_from_slice(words);
        block
    })
}

/// Bits of a block in all, and what [`Ranks::within`] says of it.
#[inline(always)]
pub(super) fn block_counts(words: [u64; RANK_WORDS]) -> (u32, u64) {
    let (mut total, mut within) = (0, 0);
    for (w, word) in words.into_iter().enumerate() {
        total += word.count_ones();
        if w < RANK_WORDS - 1 {
            within |= u64::from(total) << (w * WITHIN_BITS);
        }
    }
    (total, within)
}

impl Ranks {
    /// Of no bits, with room for the counts of blocks that hold this many points.
    pub(super) fn zeros(points: usize) -> Ranks {
        let blocks = points.div_ceil(RANK_POINTS);
        Ranks { before: vec![0; blocks + 1], within: vec![0; blocks] }
    }

    /// Room for every block's own counts, before [`Ranks::scan`].
    pub(super) fn blocks_mut(&mut self) -> (&mut [u32], &mut [u64]) {
        (&mut self.before[1..], &mut self.within)
    }

    /// Makes ranks of the blocks' own counts.
    pub(super) fn scan(&mut self) {
        let mut before = 0;
        for count in &mut self.before {
            before += *count;
            *count = before;
        }
    }

    pub fn total(&self) -> u32 {
        *self.before.last().expect("there is always a last rank")
    }

    /// Bits before `position`, whose word is `word` (anything, where there is none).
    #[inline(always)]
    pub fn rank(&self, position: u32, word: u64) -> u32 {
        let at = position as usize / 64;
        let block = at / RANK_WORDS;
        // The field of a block's first word would be bit 63, which is no field's and 0.
        let shift = at.wrapping_sub(1) % RANK_WORDS * WITHIN_BITS;
        let within = self.within.get(block).map_or(0, |within| within >> shift & WITHIN_MASK);
        self.before[block] + within as u32 + (word & !(u64::MAX << (position % 64))).count_ones()
    }

    pub fn bytes(&self) -> usize {
        self.before.len() * 4 + self.within.len() * 8
    }
}

impl Bitmap {
    /// Ranks the words.
    pub fn from_words(words: Vec<u64>) -> Bitmap {
        let mut ranks = Ranks::zeros(words.len() * 64);
        let (totals, withins) = ranks.blocks_mut();
        for ((total, within), block) in totals.iter_mut().zip(withins).zip(words.chunks(RANK_WORDS)) {
            (*total, *within) = block_counts(block_of(block));
        }
        ranks.scan();
        Bitmap { words, ranks }
    }

    pub fn full(points: usize) -> Bitmap {
        let mut words = vec![u64::MAX; points.div_ceil(64)];
        if let (Some(last), rest @ 1..) = (words.last_mut(), points % 64) {
            *last = (1 << rest) - 1;
        }
        Bitmap::from_words(words)
    }

    pub fn total(&self) -> u32 {
        self.ranks.total()
    }

    pub fn get(&self, position: u32) -> bool {
        self.words[position as usize / 64] >> (position % 64) & 1 == 1
    }

    /// Selected points before `position`, which is at most the number of points.
    #[inline(always)]
    pub fn rank(&self, position: u32) -> u32 {
        self.ranks.rank(position, self.words.get(position as usize / 64).copied().unwrap_or(0))
    }

    /// Selected points in `from..to`.
    #[inline(always)]
    pub fn count(&self, from: u32, to: u32) -> u32 {
        self.rank(to) - self.rank(from)
    }

    pub fn bytes(&self) -> usize {
        self.words.len() * 8 + self.ranks.bytes()
    }
}

impl GroupedBitmaps {
    /// Bitmaps without categories: one group, which is the union.
    pub fn ungrouped(all: Bitmap) -> GroupedBitmaps {
        let all = Arc::new(all);
        GroupedBitmaps { groups: vec![GroupBits::Whole(all.clone())], all, cells: Vec::new() }
    }

    /// Ranks of every group at the cells of a level, where they are kept.
    pub fn cells(&self, level: u32) -> Option<&CellRanks> {
        self.cells.iter().find(|cells| cells.level == level)
    }

    /// Bytes that a selection holds of its own: without those that it shares with the unfiltered one.
    pub fn bytes(&self) -> usize {
        let own = |group: &GroupBits| if let GroupBits::Cut { ranks, .. } = group { ranks.bytes() } else { 0 };
        self.all.bytes() + self.groups.iter().map(own).sum::<usize>()
    }
}

impl GroupBits {
    /// Every point of the group, selected or not.
    pub fn members(&self) -> &Arc<Bitmap> {
        match self {
            GroupBits::Whole(bitmap) | GroupBits::Cut { group: bitmap, .. } => bitmap,
        }
    }

    /// Selected points.
    pub fn total(&self) -> u32 {
        match self {
            GroupBits::Whole(bitmap) => bitmap.total(),
            GroupBits::Cut { ranks, .. } => ranks.total(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_full_bitmap_selects_every_point_and_no_more() {
        for points in [0, 1, 31, 32, 33, 63, 64, 65, 511, 512, 513, 1024] {
            let bitmap = Bitmap::full(points);
            assert_eq!(bitmap.total() as usize, points);
            assert_eq!(bitmap.rank(points as u32) as usize, points);
        }
    }

    proptest! {
        #[test]
        fn ranks_count_the_bits_before(bits in proptest::collection::vec(any::<bool>(), 0..1600)) {
            let mut words = vec![0u64; bits.len().div_ceil(64)];
            for (i, _) in bits.iter().enumerate().filter(|(_, bit)| **bit) {
                words[i / 64] |= 1 << (i % 64);
            }
            let bitmap = Bitmap::from_words(words);
            let mut before = 0;
            for (i, &bit) in bits.iter().enumerate() {
                prop_assert_eq!(bitmap.rank(i as u32), before);
                prop_assert_eq!(bitmap.get(i as u32), bit);
                before += u32::from(bit);
            }
            prop_assert_eq!(bitmap.rank(bits.len() as u32), before);
            for from in (0..=bits.len()).step_by(37) {
                for to in (from..=bits.len()).step_by(61).chain([bits.len()]) {
                    let expected = bits[from..to].iter().filter(|bit| **bit).count();
                    prop_assert_eq!(bitmap.count(from as u32, to as u32) as usize, expected);
                }
            }
        }
    }
}
