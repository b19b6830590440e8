//! Dictionaries: the sorted distinct values of a column, and how many points have each.

use super::held::HeldFile;
use super::{Column, ColumnId, ColumnKind, DatasetError, Value, ipc};
use arrow::array::{Array, ArrayRef, AsArray, Float64Array, Int64Array, LargeStringArray, RecordBatch, UInt64Array};
use arrow::datatypes::{Float64Type, Int64Type, UInt64Type};
use std::path::Path;
use std::sync::Arc;

/// The values of a dictionary column: key k (1 and up) is the k-th smallest value.
#[derive(Debug)]
pub struct Dictionary {
    values: Values,
    counts: UInt64Array,
    nulls: u64,
}

#[derive(Clone, Debug)]
pub enum Values {
    /// Sorted by UTF-8 bytes.
    Text(LargeStringArray),
    /// Integers, and timestamps in microseconds.
    Integer(Int64Array, ColumnKind),
    Float(Float64Array),
}

impl Dictionary {
    /// A new file for a column's dictionary, under the dataset's folder.
    pub(super) fn file_name(column: ColumnId, revision: u64) -> String {
        match revision {
            0 => format!("dictionaries/{:03}.arrow", column.0),
            revision => format!("dictionaries/{:03}-{revision}.arrow", column.0),
        }
    }

    pub(super) fn open(path: &Path, column: &Column) -> Result<(Dictionary, HeldFile), DatasetError> {
        let (batch, held) = ipc::map_batch(path)?;
        Ok((Dictionary::of(batch, path, column)?, held))
    }

    /// The dictionary that a file holds.
    pub(super) fn of(batch: RecordBatch, path: &Path, column: &Column) -> Result<Dictionary, DatasetError> {
        let wrong = || DatasetError::damaged(path, "its columns are not those of a dictionary");
        let [values, counts] = batch.columns() else { return Err(wrong()) };
        let counts = counts.as_primitive_opt::<UInt64Type>().ok_or_else(wrong)?.clone();
        let values = match column.kind {
            ColumnKind::Text => Values::Text(values.as_string_opt::<i64>().ok_or_else(wrong)?.clone()),
            ColumnKind::Float => Values::Float(values.as_primitive_opt::<Float64Type>().ok_or_else(wrong)?.clone()),
            kind => Values::Integer(values.as_primitive_opt::<Int64Type>().ok_or_else(wrong)?.clone(), kind),
        };
        if values.len() as u64 != column.key_max {
            return Err(DatasetError::damaged(path, format!("it has {} values, and the manifest {}", values.len(), column.key_max)));
        }
        Ok(Dictionary { values, counts, nulls: column.nulls })
    }

    /// How a dictionary is stored: two columns, `value` and `count`.
    pub(super) fn batch(values: &Values, counts: Vec<u64>) -> RecordBatch {
        let values: ArrayRef = match values {
            Values::Text(values) => Arc::new(values.clone()),
            Values::Integer(values, _) => Arc::new(values.clone()),
            Values::Float(values) => Arc::new(values.clone()),
        };
        RecordBatch::try_from_iter([("value", values), ("count", Arc::new(UInt64Array::from(counts)) as ArrayRef)])
            .expect("values and counts are equally many")
    }

    pub fn len(&self) -> usize {
        self.values.len()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub fn values(&self) -> &Values {
        &self.values
    }

    /// Points with the value of `key`; of key 0, points without a value.
    pub fn count(&self, key: u64) -> u64 {
        if key == 0 { self.nulls } else { self.counts.value(key as usize - 1) }
    }

    /// # Panics
    /// If `key` exceeds [`Dictionary::len`].
    pub fn value(&self, key: u64) -> Value {
        let Some(place) = (key as usize).checked_sub(1) else { return Value::Null };
        match &self.values {
            Values::Text(values) => Value::Text(values.value(place).to_owned()),
            Values::Integer(values, ColumnKind::Timestamp) => Value::Timestamp { us: values.value(place) },
            Values::Integer(values, ColumnKind::Boolean) => Value::Boolean(values.value(place) != 0),
            Values::Integer(values, _) => Value::Integer(values.value(place)),
            Values::Float(values) => Value::Float(values.value(place)),
        }
    }

    /// The text of a key of a text column, without a copy.
    pub fn text(&self, key: u64) -> Option<&str> {
        match &self.values {
            Values::Text(values) if key > 0 => Some(values.value(key as usize - 1)),
            _ => None,
        }
    }
}

impl Values {
    pub fn len(&self) -> usize {
        match self {
            Values::Text(values) => values.len(),
            Values::Integer(values, _) => values.len(),
            Values::Float(values) => values.len(),
        }
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}
