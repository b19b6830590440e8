//! Fences: every so many entries of a sorted array, the entry itself. A search begins there and ends within a stretch.
//!
//! A local dataset needs none: its arrays are mapped whole. Of a dataset in a store, only the stretch that a search ends in has to be fetched,
//! and the fences say which that is before any of the array is there.

use crate::world::Key;
use serde::{Deserialize, Serialize};
use std::ops::Range;

/// Entries between two fences. A stretch of level-16 cells is then 8 kB, and the points in it some hundred kilobytes of key halves where
/// they are densest; fences cost 12 bytes for 1,024 entries. Few in tests.
pub const FENCE_ENTRIES: usize = if cfg!(test) { 4 } else { 1024 };

/// The fences of cells that ascend: entries 0, 1,024, 2,048, ...
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fences {
    /// The first key of the fence's cell.
    keys: Vec<u64>,
    /// The position of the fence's first point.
    starts: Vec<u32>,
    /// Entries of the array: fences are one for 1,024 of them.
    entries: usize,
    /// Points of the part.
    points: u32,
}

impl Fences {
    /// Of an array whose entry i is the cell that begins with `key(i)`, at position `starts[i]`; the last of `starts` is the number of points.
    pub fn of(starts: &[u32], key: impl Fn(usize) -> Key) -> Fences {
        let entries = starts.len() - 1;
        let at = || (0..entries).step_by(FENCE_ENTRIES);
        Fences {
            keys: at().map(|entry| key(entry).0).collect(),
            starts: at().map(|entry| starts[entry]).collect(),
            entries,
            points: starts[entries],
        }
    }

    /// Whether these can be the fences of such an array.
    pub fn fit(&self, entries: usize, points: u32) -> bool {
        let fences = entries.div_ceil(FENCE_ENTRIES);
        (self.entries, self.points, self.keys.len(), self.starts.len()) == (entries, points, fences, fences)
    }

    /// Where, among entries, the first cell lies that begins at `key` or after it: after the range's first entry, and at its last or just
    /// beyond.
    pub fn around_key(&self, key: Key) -> Range<usize> {
        self.stretch(self.keys.partition_point(|&fence| fence < key.0))
    }

    /// The same for the first cell that begins at `position` or after it.
    pub fn around_position(&self, position: u32) -> Range<usize> {
        self.stretch(self.starts.partition_point(|&fence| fence < position))
    }

    pub fn entries(&self) -> usize {
        self.entries
    }

    /// All entries that a search for what lies between two keys, both included, can meet, with one stretch to spare on either side for those
    /// who look at an entry's neighbours.
    pub fn between(&self, first: Key, last: Key) -> Range<usize> {
        let from = self.around_key(first).start.saturating_sub(FENCE_ENTRIES);
        let to = self.around_key(last).end + FENCE_ENTRIES;
        from..to.min(self.entries)
    }

    /// The positions of the points that those entries hold.
    pub fn positions(&self, entries: &Range<usize>) -> Range<u32> {
        let at = |entry: usize| self.starts.get(entry.div_ceil(FENCE_ENTRIES)).copied().unwrap_or(self.points);
        self.starts.get(entries.start / FENCE_ENTRIES).copied().unwrap_or(self.points)..at(entries.end)
    }

    /// Entries from the fence before the `fences`-th to that fence.
    fn stretch(&self, fences: usize) -> Range<usize> {
        let to = (fences * FENCE_ENTRIES).min(self.entries);
        fences.saturating_sub(1) * FENCE_ENTRIES..to
    }
}

/// `partition_point` of a whole array, given the stretch where it lies.
pub fn partition_point<T>(array: &[T], stretch: Range<usize>, is_before: impl Fn(&T) -> bool) -> usize {
    stretch.start + array[stretch].partition_point(is_before)
}
