//! Grids packed for the cache: most pixels of most tiles are empty, and most counts are small.

use crate::engine::{CountGrid, ValueGrid};

/// A count grid in the smallest of four forms.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PackedGrid {
    categories: usize,
    size: usize,
    body: Body,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Body {
    Empty,
    /// Index in `counts`, and count.
    Sparse(Box<[(u32, u32)]>),
    U8(Box<[u8]>),
    U16(Box<[u16]>),
    U32(Box<[u32]>),
}

/// Pixels that are looked at together: two cache lines.
const RUN_PIXELS: usize = 32;

impl PackedGrid {
    pub fn pack(grid: CountGrid) -> PackedGrid {
        let (categories, size) = (grid.categories, grid.size);
        // Run by run, so that the loop is one of vectors, and the runs of zeros, which most are, are not looked at again.
        let (mut occupied, mut bits, mut runs) = (0usize, 0u32, Vec::new());
        for (run, counts) in grid.counts.chunks(RUN_PIXELS).enumerate() {
            let (n, or) = counts.iter().fold((0u32, 0), |(n, or), &count| (n + u32::from(count > 0), or | count));
            if or > 0 {
                occupied += n as usize;
                bits |= or;
                runs.push(run);
            }
        }
        let dense_bytes = match bits {
            0..=0xFF => 1,
            0x100..=0xFFFF => 2,
            _ => 4,
        };
        let body = if occupied == 0 {
            Body::Empty
        } else if occupied * 8 < grid.counts.len() * dense_bytes {
            let mut entries = Vec::with_capacity(occupied);
            for start in runs.iter().map(|run| run * RUN_PIXELS) {
                let counts = grid.counts[start..].iter().take(RUN_PIXELS);
                entries.extend((start as u32..).zip(counts.copied()).filter(|(_, count)| *count > 0));
            }
            Body::Sparse(entries.into_boxed_slice())
        } else {
            match dense_bytes {
                1 => Body::U8(grid.counts.iter().map(|&count| count as u8).collect()),
                2 => Body::U16(grid.counts.iter().map(|&count| count as u16).collect()),
                _ => Body::U32(grid.counts.into_boxed_slice()),
            }
        };
        PackedGrid { categories, size, body }
    }

    /// The grid; `None` if it has no points.
    pub fn unpack(&self) -> Option<CountGrid> {
        let counts = match &self.body {
            Body::Empty => return None,
            Body::Sparse(entries) => {
                let mut grid = CountGrid::zeros(self.categories, self.size);
                for &(index, count) in entries {
                    grid.counts[index as usize] = count;
                }
                return Some(grid);
            }
            Body::U8(counts) => counts.iter().map(|&count| u32::from(count)).collect(),
            Body::U16(counts) => counts.iter().map(|&count| u32::from(count)).collect(),
            Body::U32(counts) => counts.to_vec(),
        };
        Some(CountGrid { categories: self.categories, size: self.size, counts })
    }

    pub fn bytes(&self) -> usize {
        match &self.body {
            Body::Empty => 0,
            Body::Sparse(entries) => entries.len() * 8,
            Body::U8(counts) => counts.len(),
            Body::U16(counts) => counts.len() * 2,
            Body::U32(counts) => counts.len() * 4,
        }
    }
}

/// A grid of values, in the smaller of two forms; an empty one has no entries.
#[derive(Clone, Debug)]
pub struct PackedValues {
    size: usize,
    /// Where the values of a sparse grid lie; empty where every pixel has an entry, or none has.
    places: Box<[u32]>,
    values: Box<[f64]>,
}

impl PackedValues {
    pub fn pack(grid: ValueGrid) -> PackedValues {
        let size = grid.size;
        let occupied = grid.values.iter().filter(|value| !value.is_nan()).count();
        if occupied * 3 > grid.values.len() * 2 {
            return PackedValues { size, places: Box::default(), values: grid.values.into_boxed_slice() };
        }
        let entries = grid.values.iter().enumerate().filter(|(_, value)| !value.is_nan());
        let (places, values): (Vec<u32>, Vec<f64>) = entries.map(|(place, &value)| (place as u32, value)).unzip();
        PackedValues { size, places: places.into_boxed_slice(), values: values.into_boxed_slice() }
    }

    /// The grid; `None` if no pixel has a value.
    pub fn unpack(&self) -> Option<ValueGrid> {
        let size = self.size;
        if self.values.is_empty() {
            return None;
        }
        if self.places.is_empty() {
            return Some(ValueGrid { size, values: self.values.to_vec() });
        }
        let mut grid = ValueGrid::empty(size);
        for (&place, &value) in self.places.iter().zip(&self.values) {
            grid.values[place as usize] = value;
        }
        Some(grid)
    }

    pub fn bytes(&self) -> usize {
        self.places.len() * 4 + self.values.len() * 8
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_grid_of_values_comes_back_and_takes_no_more_than_before(
            values in proptest::collection::vec(prop_oneof![Just(f64::NAN), -9.0..9.0], 64), sparse: bool,
        ) {
            let few = |(place, value): (usize, f64)| if sparse && place % 3 > 0 { f64::NAN } else { value };
            let grid = ValueGrid { size: 8, values: values.into_iter().enumerate().map(few).collect() };
            let packed = PackedValues::pack(grid.clone());
            prop_assert!(packed.bytes() <= grid.values.len() * 8);
            match packed.unpack() {
                Some(back) => prop_assert_eq!(back, grid),
                None => prop_assert!(grid.is_empty()),
            }
        }

        #[test]
        fn a_grid_comes_back_and_takes_no_more_than_before(
            counts in proptest::collection::vec(prop_oneof![6 => Just(0), 2 => 1..200u32, 1 => any::<u32>().prop_map(|n| n >> 12)], 2 * 64),
            shift in 0u32..32,
        ) {
            let grid = CountGrid { categories: 2, size: 8, counts: counts.iter().map(|n| n >> shift).collect() };
            let packed = PackedGrid::pack(grid.clone());
            prop_assert!(packed.bytes() <= grid.counts.len() * 4);
            match packed.unpack() {
                Some(back) => prop_assert_eq!(back, grid),
                None => prop_assert!(grid.is_empty()),
            }
        }
    }
}
