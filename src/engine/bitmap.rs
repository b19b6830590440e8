//! Bitmaps with ranks: which points of a part are selected, and how many before any position.
//!
//! ```text
//! words   u64, bit i % 64 of word i / 64: point i is selected; bits past the last point are 0
//! ranks   u32, ranks[b] = selected points before point 512 b; one more than blocks, the last is the total
//! ```
//!
//! 0.133 bytes a point. As u32 halves, little endian, the words are what the shaders read.

use std::sync::Arc;

/// Points per rank: eight words, one cache line.
pub const RANK_POINTS: usize = 512;
const RANK_WORDS: usize = RANK_POINTS / 64;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bitmap {
    pub words: Vec<u64>,
    pub ranks: Vec<u32>,
}

/// The bitmaps of one part: one per group, and their union. Shared, because the unfiltered selection and a selection without
/// categories hold the same bits under several names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupedBitmaps {
    pub groups: Vec<Arc<Bitmap>>,
    pub all: Arc<Bitmap>,
}

impl Bitmap {
    /// Ranks the words.
    pub fn from_words(words: Vec<u64>) -> Bitmap {
        let mut ranks = Vec::with_capacity(words.len().div_ceil(RANK_WORDS) + 1);
        let mut total = 0;
        ranks.push(0);
        for block in words.chunks(RANK_WORDS) {
            total += block.iter().map(|word| word.count_ones()).sum::<u32>();
            ranks.push(total);
        }
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
        *self.ranks.last().expect("there is always a last rank")
    }

    pub fn get(&self, position: u32) -> bool {
        self.words[position as usize / 64] >> (position % 64) & 1 == 1
    }

    /// Selected points before `position`.
    pub fn rank(&self, position: u32) -> u32 {
        let position = position as usize;
        let (block, word) = (position / RANK_POINTS, position / 64);
        let whole: u32 = self.words[block * RANK_WORDS..word].iter().map(|w| w.count_ones()).sum();
        let rest = position % 64;
        let part = if rest == 0 { 0 } else { (self.words[word] << (64 - rest)).count_ones() };
        self.ranks[block] + whole + part
    }

    /// Selected points in `from..to`: of a short range the words themselves are counted, of a long one the ranks subtracted.
    #[inline(always)]
    pub fn count(&self, from: u32, to: u32) -> u32 {
        let (first, last) = (from as usize / 64, to as usize / 64);
        let head = u64::MAX << (from % 64);
        let tail = !(u64::MAX << (to % 64));
        if first == last {
            // An empty range at the very end points past the last word.
            return self.words.get(first).map_or(0, |word| (word & head & tail).count_ones());
        }
        if last - first > RANK_WORDS {
            return self.rank(to) - self.rank(from);
        }
        let inner: u32 = self.words[first + 1..last].iter().map(|word| word.count_ones()).sum();
        let end = self.words.get(last).map_or(0, |word| (word & tail).count_ones());
        (self.words[first] & head).count_ones() + inner + end
    }

    pub fn bytes(&self) -> usize {
        self.words.len() * 8 + self.ranks.len() * 4
    }
}

impl GroupedBitmaps {
    /// Bitmaps without categories: one group, which is the union.
    pub fn ungrouped(all: Bitmap) -> GroupedBitmaps {
        let all = Arc::new(all);
        GroupedBitmaps { groups: vec![all.clone()], all }
    }

    /// Bytes held, each bitmap once.
    pub fn bytes(&self) -> usize {
        let groups = self.groups.iter().filter(|group| !Arc::ptr_eq(group, &self.all));
        self.all.bytes() + groups.map(|group| group.bytes()).sum::<usize>()
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
