//! What a kind of data must offer to be written: chunks of rows that depend on nothing but their number, as text and as Arrow.
//!
//! It knows no file and no thread; [`super::write`] does.

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;

/// Rows of every chunk but the last. Large enough to amortise the calls, small enough that a chunk of rows and its text stay below about 15 MB.
pub const CHUNK_ROWS: usize = 65_536;

pub trait Table: Sync {
    type Chunk: Send;

    /// Names of the columns, without a line end.
    const CSV_HEADER: &'static str;

    /// The chunk with this number, of exactly `rows` rows: the same whenever and by whichever thread it is made.
    fn chunk(&self, index: u64, rows: usize) -> Self::Chunk;

    /// Appends the rows as lines of CSV.
    fn push_csv(chunk: &Self::Chunk, out: &mut Vec<u8>);

    fn schema() -> SchemaRef;

    fn batch(chunk: &Self::Chunk) -> RecordBatch;
}

/// Appends a whole number in decimal. Three times as fast as `write!`, and half of a row's cost is numbers.
pub fn push_int(out: &mut Vec<u8>, value: i64) {
    if value < 0 {
        out.push(b'-');
    }
    push_digits(out, value.unsigned_abs(), 1);
}

/// Appends `value / 10^decimals` with exactly that many decimals.
pub fn push_fixed(out: &mut Vec<u8>, value: i64, decimals: u32) {
    if value < 0 {
        out.push(b'-');
    }
    let unit = 10u64.pow(decimals);
    push_digits(out, value.unsigned_abs() / unit, 1);
    out.push(b'.');
    push_digits(out, value.unsigned_abs() % unit, decimals as usize);
}

/// Appends a number with leading zeros to at least `width` digits (at most 20).
pub fn push_digits(out: &mut Vec<u8>, mut value: u64, width: usize) {
    let mut digits = [b'0'; 20];
    let mut start = digits.len();
    while value > 0 {
        start -= 1;
        digits[start] = b'0' + (value % 10) as u8;
        value /= 10;
    }
    out.extend_from_slice(&digits[start.min(digits.len() - width)..]);
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn numbers_print_as_the_standard_library_prints_them(value: i64, small in -1_000_000_000_000i64..1_000_000_000_000) {
            let mut out = Vec::new();
            push_int(&mut out, value);
            prop_assert_eq!(String::from_utf8(out).unwrap(), value.to_string());
            let mut out = Vec::new();
            push_fixed(&mut out, small, 6);
            prop_assert_eq!(String::from_utf8(out).unwrap(), format!("{:.6}", small as f64 / 1e6));
        }
    }
}
