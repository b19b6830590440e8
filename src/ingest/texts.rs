//! Interned texts: every distinct text of a column once, and a number for each, in order of first appearance.
//!
//! Rows then carry 4 bytes instead of a string, through sorting and spilling; when everything has been read, the numbers
//! are mapped to places in the sorted dictionary. Number 0 is null.

use xxhash_rust::xxh3::xxh3_64;

/// Distinct texts with their occurrence counts.
#[derive(Default)]
pub struct Texts {
    bytes: Vec<u8>,
    /// Where text `i` ends in `bytes`.
    ends: Vec<usize>,
    counts: Vec<u64>,
    nulls: u64,
    /// Open addressing with linear probing: `number` (0: empty), at most half full.
    slots: Vec<u32>,
    last: u32,
}

impl Texts {
    /// The number of `text`, which has occurred `count` times more.
    pub fn intern(&mut self, text: &[u8], count: u64) -> u32 {
        // Files are often grouped (all positions of a ship in a row), so the last text is the likeliest.
        if self.last != 0 && self.get(self.last) == text {
            self.counts[self.last as usize - 1] += count;
            return self.last;
        }
        if (self.ends.len() + 1) * 2 > self.slots.len() {
            self.grow();
        }
        let mask = self.slots.len() - 1;
        let mut slot = xxh3_64(text) as usize & mask;
        while self.slots[slot] != 0 {
            if self.get(self.slots[slot]) == text {
                self.last = self.slots[slot];
                self.counts[self.last as usize - 1] += count;
                return self.last;
            }
            slot = (slot + 1) & mask;
        }
        self.bytes.extend_from_slice(text);
        self.ends.push(self.bytes.len());
        self.counts.push(count);
        self.last = self.ends.len() as u32;
        self.slots[slot] = self.last;
        self.last
    }

    pub fn intern_null(&mut self, count: u64) {
        self.nulls += count;
    }

    /// The text of a number from 1 to [`Texts::len`].
    pub fn get(&self, number: u32) -> &[u8] {
        let place = number as usize - 1;
        let start = if place == 0 { 0 } else { self.ends[place - 1] };
        &self.bytes[start..self.ends[place]]
    }

    pub fn count(&self, number: u32) -> u64 {
        self.counts[number as usize - 1]
    }

    pub fn nulls(&self) -> u64 {
        self.nulls
    }

    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// Bytes of memory held.
    pub fn memory_bytes(&self) -> usize {
        self.bytes.capacity() + self.ends.capacity() * 8 + self.counts.capacity() * 8 + self.slots.capacity() * 4
    }

    /// Takes in another set of texts; the answer maps its numbers (index 0: null) to the numbers here.
    pub fn merge(&mut self, other: &Texts) -> Vec<u32> {
        self.nulls += other.nulls;
        let mut numbers = Vec::with_capacity(other.len() + 1);
        numbers.push(0);
        for number in 1..=other.len() as u32 {
            numbers.push(self.intern(other.get(number), other.count(number)));
        }
        numbers
    }

    /// All numbers, in the order of their texts' bytes.
    pub fn sorted(&self) -> Vec<u32> {
        let mut numbers: Vec<u32> = (1..=self.len() as u32).collect();
        numbers.sort_unstable_by(|&a, &b| self.get(a).cmp(self.get(b)));
        numbers
    }

    fn grow(&mut self) {
        let slots = (self.slots.len() * 2).max(64);
        self.slots = vec![0; slots];
        for number in 1..=self.ends.len() as u32 {
            let mut slot = xxh3_64(self.get(number)) as usize & (slots - 1);
            while self.slots[slot] != 0 {
                slot = (slot + 1) & (slots - 1);
            }
            self.slots[slot] = number;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    proptest! {
        #[test]
        fn numbers_counts_and_order_agree_with_a_map(words in proptest::collection::vec("[a-c]{0,4}", 0..400)) {
            let (mut left, mut right, mut expected) = (Texts::default(), Texts::default(), BTreeMap::new());
            for (i, word) in words.iter().enumerate() {
                if i % 3 == 0 { right.intern(word.as_bytes(), 1) } else { left.intern(word.as_bytes(), 1) };
                *expected.entry(word.as_bytes()).or_insert(0u64) += 1;
            }
            let mapped = left.merge(&right);
            for number in 1..=right.len() as u32 {
                prop_assert_eq!(right.get(number), left.get(mapped[number as usize]));
            }
            let found: Vec<(&[u8], u64)> = left.sorted().into_iter().map(|n| (left.get(n), left.count(n))).collect();
            prop_assert_eq!(found, expected.into_iter().collect::<Vec<_>>());
        }
    }
}
