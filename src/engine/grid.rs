//! What an engine answers: counts, as numbers. Colour is somebody else's subject.

use std::sync::{Mutex, PoisonError};

/// Counts per category and pixel of one tile.
///
/// `counts` is `[category][row][column]`, row 0 north, `size * size` pixels a category. A dataset without categories, or
/// `by=none`, has one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CountGrid {
    pub categories: usize,
    /// Pixels along a side: 256 or 512.
    pub size: usize,
    pub counts: Vec<u32>,
}

impl CountGrid {
    pub fn zeros(categories: usize, size: usize) -> CountGrid {
        CountGrid { categories, size, counts: zeros(categories * size * size) }
    }

    /// The counts, without the grid.
    pub fn into_counts(mut self) -> Vec<u32> {
        std::mem::take(&mut self.counts)
    }

    /// The counts of one category, row by row.
    pub fn plane(&self, category: usize) -> &[u32] {
        let pixels = self.size * self.size;
        &self.counts[category * pixels..][..pixels]
    }

    /// Points in the tile. Exceeds `u32` only for datasets of more than 2^32 points, hence `u64`.
    pub fn total(&self) -> u64 {
        self.counts.iter().map(|&n| u64::from(n)).sum()
    }

    pub fn is_empty(&self) -> bool {
        self.counts.iter().all(|&n| n == 0)
    }

    /// The counts at half as many pixels a side: the tile's quarter of the tile around it.
    pub fn halved(&self) -> CountGrid {
        let mut half = CountGrid::zeros(self.categories, self.size / 2);
        let planes = half.counts.chunks_exact_mut(self.size * self.size / 4);
        for (category, plane) in planes.enumerate() {
            halve(self.plane(category), self.size, plane, |a, b| a + b);
        }
        half
    }

    /// Total count per pixel, over all categories.
    pub fn totals(&self) -> Vec<u32> {
        let mut totals = vec![0; self.size * self.size];
        for category in 0..self.categories {
            for (total, n) in totals.iter_mut().zip(self.plane(category)) {
                *total += n;
            }
        }
        totals
    }
}

/// A grid is megabytes that live for a millisecond. What it was in is kept for the next one: on a machine that gives memory back while it is
/// idle, as virtual ones do, to touch 1.3 MB for the first time takes ten times as long as to count what goes there.
impl Drop for CountGrid {
    fn drop(&mut self) {
        let counts = std::mem::take(&mut self.counts);
        let bytes = counts.capacity() * size_of::<u32>();
        let mut spare = SPARE.lock().unwrap_or_else(PoisonError::into_inner);
        let held: usize = spare.iter().map(|counts| counts.capacity() * size_of::<u32>()).sum();
        if bytes >= SPARE_BYTES_MIN && held + bytes <= SPARE_BYTES_MAX {
            spare.push(counts);
        }
    }
}

/// Arrays of dropped grids.
static SPARE: Mutex<Vec<Vec<u32>>> = Mutex::new(Vec::new());

/// Smaller arrays an allocator has at hand.
const SPARE_BYTES_MIN: usize = 64 << 10;

/// Grids of five categories for a dozen threads.
const SPARE_BYTES_MAX: usize = 16 << 20;

/// So many zeros, in a spare array or else a new one.
fn zeros(elements: usize) -> Vec<u32> {
    let Some(mut counts) = taken(elements) else { return vec![0; elements] };
    counts.clear();
    counts.resize(elements, 0);
    counts
}

/// The smallest spare array that has the room.
fn taken(elements: usize) -> Option<Vec<u32>> {
    if elements * size_of::<u32>() < SPARE_BYTES_MIN {
        return None;
    }
    let mut spare = SPARE.lock().unwrap_or_else(PoisonError::into_inner);
    let roomy = spare.iter().enumerate().filter(|(_, counts)| counts.capacity() >= elements);
    let (place, _) = roomy.min_by_key(|(_, counts)| counts.capacity())?;
    Some(spare.swap_remove(place))
}

/// Fills a plane with another one of `size` pixels a side at half as many: each pixel is what four come to.
pub(super) fn halve<T: Copy>(plane: &[T], size: usize, half: &mut [T], and: impl Fn(T, T) -> T) {
    for (rows, sums) in plane.chunks_exact(2 * size).zip(half.chunks_exact_mut(size / 2)) {
        let (upper, lower) = rows.split_at(size);
        let fours = upper.as_chunks::<2>().0.iter().zip(lower.as_chunks::<2>().0);
        for (sum, (&[a, b], &[c, d])) in sums.iter_mut().zip(fours) {
            *sum = and(and(a, b), and(c, d));
        }
    }
}

/// How often each total count occurs among the non-empty pixels of a whole zoom: `(count, pixels)`, ascending by count,
/// no count 0, every `pixels` at least 1. Zoom by zoom, `sum(count * pixels)` is the number of selected points.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Distribution {
    pub pixels_by_count: Vec<(u32, u64)>,
}

impl Distribution {
    /// The distribution of any collection of pixel totals; zeros are left out.
    pub fn of_totals(totals: impl IntoIterator<Item = u32>) -> Distribution {
        let mut sorted: Vec<u32> = totals.into_iter().filter(|&n| n > 0).collect();
        sorted.sort_unstable();
        let mut pixels_by_count: Vec<(u32, u64)> = Vec::new();
        for count in sorted {
            match pixels_by_count.last_mut() {
                Some((last, pixels)) if *last == count => *pixels += 1,
                _ => pixels_by_count.push((count, 1)),
            }
        }
        Distribution { pixels_by_count }
    }

    /// Points: the sum of all counts.
    pub fn points(&self) -> u64 {
        self.pixels_by_count.iter().map(|&(count, pixels)| u64::from(count) * pixels).sum()
    }

    /// Memory that it holds, for cache budgets.
    pub fn bytes(&self) -> usize {
        self.pixels_by_count.len() * size_of::<(u32, u64)>()
    }

    /// Non-empty pixels.
    pub fn pixels(&self) -> u64 {
        self.pixels_by_count.iter().map(|&(_, pixels)| pixels).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_grid_is_zeros_whatever_was_there_before() {
        for size in [256, 512, 128, 300] {
            let mut grid = CountGrid::zeros(2, size);
            assert_eq!(grid.counts.len(), 2 * size * size);
            assert!(grid.is_empty(), "{size} pixels a side");
            grid.counts.fill(7);
        }
        assert!(SPARE.lock().unwrap().iter().map(|counts| counts.capacity() * 4).sum::<usize>() <= SPARE_BYTES_MAX);
    }
}
