//! Grids packed for the cache: most pixels of most tiles are empty, and most counts are small.

use crate::encode::{NpyCounts, NpyDtype, NpyElement};
use crate::engine::{CountGrid, ValueGrid};
use bytes::Bytes;

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

/// Elements of a piece of an array: 64 KiB of u32.
const PIECE_ELEMENTS: usize = 1 << 14;

/// Of most grids most pieces are these.
static ZEROS: [u8; PIECE_ELEMENTS * 4] = [0; PIECE_ELEMENTS * 4];

impl PackedGrid {
    /// Without points.
    pub fn empty(categories: usize, size: usize) -> PackedGrid {
        PackedGrid { categories, size, body: Body::Empty }
    }

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
                _ => Body::U32(grid.into_counts().into_boxed_slice()),
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

    pub fn is_empty(&self) -> bool {
        self.body == Body::Empty
    }

    /// How its counts are written as an array.
    pub fn npy_layout(&self, dtype: NpyDtype) -> NpyCounts {
        let fits = |count: u32| count <= u32::from(u16::MAX);
        let element = NpyElement::of(dtype, || match &self.body {
            Body::Empty | Body::U8(_) | Body::U16(_) => true,
            Body::Sparse(entries) => entries.iter().all(|&(_, count)| fits(count)),
            Body::U32(counts) => counts.iter().all(|&count| fits(count)),
        });
        NpyCounts { categories: self.categories, size: self.size, element }
    }

    /// Piece by piece the bytes of [`crate::encode::npy`]: the header, then elements. The pieces are small, so that who sends them holds
    /// no whole array, which is 1.3 MB of five categories, and zeros are nobody's memory.
    pub fn npy_piece(&self, layout: &NpyCounts, piece: usize) -> Option<Bytes> {
        let Some(before) = piece.checked_sub(1) else { return Some(layout.header().into()) };
        let from = before * PIECE_ELEMENTS;
        let to = layout.elements().min(from + PIECE_ELEMENTS);
        if from >= to {
            return None;
        }
        let (element_bytes, mut bytes) = (layout.element.bytes(), Vec::new());
        let zeros = Bytes::from_static(&ZEROS[..(to - from) * element_bytes]);
        match &self.body {
            Body::Empty => return Some(zeros),
            Body::Sparse(entries) => {
                let at = |element: usize| entries.partition_point(|&(index, _)| (index as usize) < element);
                let entries = &entries[at(from)..at(to)];
                if entries.is_empty() {
                    return Some(zeros);
                }
                bytes.extend_from_slice(&zeros);
                for &(index, count) in entries {
                    // The first bytes of a count, little endian, are the count where it fits.
                    let place = (index as usize - from) * element_bytes;
                    bytes[place..place + element_bytes].copy_from_slice(&count.to_le_bytes()[..element_bytes]);
                }
            }
            Body::U8(counts) => layout.append(&counts[from..to], &mut bytes),
            Body::U16(counts) => layout.append(&counts[from..to], &mut bytes),
            Body::U32(counts) => layout.append(&counts[from..to], &mut bytes),
        }
        Some(bytes.into())
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
    use crate::encode::npy;
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
        fn the_pieces_of_an_array_are_its_bytes(
            few in proptest::collection::vec((0usize..3 * 90 * 90, 1u32..100_000), 0..60), dense: bool, shift in 0u32..20,
        ) {
            // 24,300 elements: a piece and a half.
            let mut grid = CountGrid { categories: 3, size: 90, counts: vec![u32::from(dense); 3 * 90 * 90] };
            few.into_iter().for_each(|(place, count)| grid.counts[place] = count >> shift);
            let packed = PackedGrid::pack(grid.clone());
            for dtype in [NpyDtype::U32, NpyDtype::Auto] {
                let layout = packed.npy_layout(dtype);
                let pieces: Vec<Bytes> = (0..).map_while(|piece| packed.npy_piece(&layout, piece)).collect();
                prop_assert!(pieces.concat() == npy(&grid, dtype));
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
