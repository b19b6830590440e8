//! NumPy's npy format, version 1.0 (numpy.org/doc/stable/reference/generated/numpy.lib.format.html): the bytes that
//! `numpy.save` writes for the same array.

use crate::engine::{CountGrid, ValueGrid};

/// The element type of an array of counts, little endian.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub enum NpyDtype {
    /// `<u4`, always.
    #[default]
    U32,
    /// `<u2` where the largest count fits, else `<u4`.
    Auto,
}

/// The header's length is a multiple of this, so that the data is aligned.
const ALIGNMENT_BYTES: usize = 64;

/// How counts are written: the shape of their array, and as what.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NpyCounts {
    pub categories: usize,
    /// Pixels along a side.
    pub size: usize,
    pub element: NpyElement,
}

/// What a count is written as, little endian.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NpyElement {
    U16,
    U32,
}

impl NpyElement {
    /// `fits_u16` says whether every count does.
    pub fn of(dtype: NpyDtype, fits_u16: impl FnOnce() -> bool) -> NpyElement {
        if dtype == NpyDtype::Auto && fits_u16() { NpyElement::U16 } else { NpyElement::U32 }
    }

    pub fn bytes(self) -> usize {
        match self {
            NpyElement::U16 => 2,
            NpyElement::U32 => 4,
        }
    }
}

impl NpyCounts {
    /// Elements of the array.
    pub fn elements(&self) -> usize {
        self.categories * self.size * self.size
    }

    /// What stands before the elements.
    pub fn header(&self) -> Vec<u8> {
        let descr = match self.element {
            NpyElement::U16 => "<u2",
            NpyElement::U32 => "<u4",
        };
        header(descr, (self.categories, self.size))
    }

    /// Appends elements, which follow one another in C order: `[category][row][column]`, row 0 north.
    pub fn append<T: Copy + Into<u32>>(&self, counts: &[T], bytes: &mut Vec<u8>) {
        match self.element {
            NpyElement::U16 => append(bytes, counts.iter().map(|&n| (n.into() as u16).to_le_bytes())),
            NpyElement::U32 => append(bytes, counts.iter().map(|&n| n.into().to_le_bytes())),
        }
    }
}

/// Counts as an array in C order, shape `(categories, size, size)`, row 0 north.
pub fn npy(grid: &CountGrid, dtype: NpyDtype) -> Vec<u8> {
    let element = NpyElement::of(dtype, || grid.counts.iter().all(|&n| n <= u32::from(u16::MAX)));
    let layout = NpyCounts { categories: grid.categories, size: grid.size, element };
    let mut bytes = layout.header();
    layout.append(&grid.counts, &mut bytes);
    bytes
}

/// Values as an array of `<f8` in C order, shape `(1, size, size)`, row 0 north, NaN where a pixel has none.
pub fn npy_f64(grid: &ValueGrid) -> Vec<u8> {
    let mut bytes = header("<f8", (1, grid.size));
    // One NaN for all: what a pixel without a value is, no engine should be told by.
    let bits = |value: &f64| if value.is_nan() { f64::NAN } else { *value }.to_le_bytes();
    append(&mut bytes, grid.values.iter().map(bits));
    bytes
}

/// Appends elements. Flattened to single bytes they would take ten times as long: 4.5 ms for a tile of five categories.
fn append<const N: usize>(bytes: &mut Vec<u8>, elements: impl ExactSizeIterator<Item = [u8; N]>) {
    let begin = bytes.len();
    bytes.resize(begin + N * elements.len(), 0);
    bytes[begin..].as_chunks_mut::<N>().0.iter_mut().zip(elements).for_each(|(to, element)| *to = element);
}

/// Magic, version, header length, and the array described as a Python literal, padded with spaces to the alignment.
fn header(descr: &str, (planes, size): (usize, usize)) -> Vec<u8> {
    let dict = format!("{{'descr': '{descr}', 'fortran_order': False, 'shape': ({planes}, {size}, {size}), }}");
    const PREFIX_BYTES: usize = 10;
    let header_bytes = (PREFIX_BYTES + dict.len() + 1).next_multiple_of(ALIGNMENT_BYTES) - PREFIX_BYTES;
    let mut bytes = Vec::with_capacity(PREFIX_BYTES + header_bytes);
    bytes.extend(b"\x93NUMPY\x01\x00");
    bytes.extend(u16::try_from(header_bytes).expect("three numbers make less than 65,536 bytes").to_le_bytes());
    bytes.extend(dict.as_bytes());
    bytes.resize(PREFIX_BYTES + header_bytes - 1, b' ');
    bytes.push(b'\n');
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `numpy.save` (2.4) of `numpy.array([[[0, 1], [2, 65535]]], dtype)`, in full.
    fn saved(descr: &str, elements: &[u8]) -> Vec<u8> {
        let mut bytes = b"\x93NUMPY\x01\x00v\x00".to_vec();
        bytes.extend(format!("{{'descr': '{descr}', 'fortran_order': False, 'shape': (1, 2, 2), }}").bytes());
        bytes.extend(std::iter::repeat_n(b' ', 127 - bytes.len()));
        bytes.push(b'\n');
        bytes.extend(elements);
        bytes
    }

    #[test]
    fn bytes_are_those_of_numpy_save() {
        let grid = CountGrid { categories: 1, size: 2, counts: vec![0, 1, 2, 65535] };
        let u4 = [0, 0, 0, 0, 1, 0, 0, 0, 2, 0, 0, 0, 0xff, 0xff, 0, 0];
        assert_eq!(npy(&grid, NpyDtype::U32), saved("<u4", &u4));
        assert_eq!(npy(&grid, NpyDtype::Auto), saved("<u2", &[0, 0, 1, 0, 2, 0, 0xff, 0xff]));
    }

    #[test]
    fn values_are_saved_as_f64() {
        let grid = ValueGrid { size: 2, values: vec![0.5, -f64::NAN, -1.0, 1e300] };
        let elements: Vec<u8> = [0.5, f64::NAN, -1.0, 1e300].iter().flat_map(|value| value.to_le_bytes()).collect();
        assert_eq!(npy_f64(&grid), saved("<f8", &elements));
    }

    #[test]
    fn auto_takes_u32_where_a_count_needs_it() {
        let grid = CountGrid { categories: 1, size: 1, counts: vec![65536] };
        assert_eq!(npy(&grid, NpyDtype::Auto), npy(&grid, NpyDtype::U32));
    }
}
