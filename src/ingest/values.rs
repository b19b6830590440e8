//! Typed columns in memory: what rows are between reading and writing.
//!
//! A null is `NULL_INTEGER`, NaN or text number 0, so that a value takes 8 or 4 bytes and no bitmap.

use super::value::NULL_INTEGER;
use crate::dataset::ColumnKind;

/// One column of some rows. Integers also carry booleans (0, 1) and timestamps (microseconds); texts are numbers of a
/// [`super::texts::Texts`].
#[derive(Clone, Debug, PartialEq)]
pub enum Values {
    Integer(Vec<i64>),
    Float(Vec<f64>),
    Text(Vec<u32>),
}

/// Some rows in key order.
pub struct Chunk {
    pub keys: Vec<u64>,
    pub columns: Vec<Values>,
}

impl Values {
    pub fn new(kind: ColumnKind) -> Values {
        match kind {
            ColumnKind::Integer | ColumnKind::Boolean | ColumnKind::Timestamp => Values::Integer(Vec::new()),
            ColumnKind::Float => Values::Float(Vec::new()),
            ColumnKind::Text => Values::Text(Vec::new()),
        }
    }

    pub fn push_null(&mut self) {
        match self {
            Values::Integer(values) => values.push(NULL_INTEGER),
            Values::Float(values) => values.push(f64::NAN),
            Values::Text(values) => values.push(0),
        }
    }

    pub fn reserve_exact(&mut self, more: usize) {
        match self {
            Values::Integer(values) => values.reserve_exact(more),
            Values::Float(values) => values.reserve_exact(more),
            Values::Text(values) => values.reserve_exact(more),
        }
    }

    /// Bytes of one value.
    pub fn value_bytes(&self) -> usize {
        match self {
            Values::Integer(_) | Values::Float(_) => 8,
            Values::Text(_) => 4,
        }
    }

    pub fn clear(&mut self) {
        match self {
            Values::Integer(values) => values.clear(),
            Values::Float(values) => values.clear(),
            Values::Text(values) => values.clear(),
        }
    }

    /// The values at `places`, in that order.
    pub fn gather(&self, places: impl Iterator<Item = usize>) -> Values {
        match self {
            Values::Integer(values) => Values::Integer(places.map(|place| values[place]).collect()),
            Values::Float(values) => Values::Float(places.map(|place| values[place]).collect()),
            Values::Text(values) => Values::Text(places.map(|place| values[place]).collect()),
        }
    }
}
