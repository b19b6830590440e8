//! From typed values to what a dataset holds: hot keys by each column's encoding, and Arrow arrays for the rows.

use super::plan::PlannedColumn;
use super::preset::Preset;
use super::stats::NumberStats;
use super::texts::Texts;
use super::value::NULL_INTEGER;
use super::values::Values;
use crate::dataset::column::{ValueStyle, ordered_key_from_float, scaled};
use crate::dataset::write::HotColumn;
use crate::dataset::{Column, ColumnKind, DictionaryValues, Encoding, KeyWidth, Value};
use arrow::array::{ArrayRef, BooleanArray, Float64Array, Int64Array, LargeStringArray, StringArray, TimestampMicrosecondArray, new_null_array};
use arrow::datatypes::{DataType, TimeUnit};
use std::collections::HashMap;
use std::sync::Arc;

/// Everything about one finished column.
pub struct EncodedColumn {
    pub column: Column,
    pub dictionary: Option<(DictionaryValues, Vec<u64>)>,
    keys: Keys,
    /// Of a text column.
    texts: Texts,
}

/// How a value's key is found.
enum Keys {
    /// Key of each text number; of number 0 (null) it is 0.
    Ranks(Vec<u32>),
    /// Key of each distinct number, by its bits.
    Places(HashMap<u64, u32>),
    Affine { base: i64, step: u64, decimals: u8 },
    OrderedFloat,
}

impl EncodedColumn {
    pub fn new(planned: &PlannedColumn, stats: &NumberStats, texts: Texts, preset: Option<&Preset>, is_category: bool) -> Self {
        let kind = planned.kind();
        let empty = planned.undecided && stats.distinct() == Some(0);
        let mut encoded = if empty && kind != ColumnKind::Text {
            without_values(&planned.name, stats.nulls())
        } else if kind == ColumnKind::Text { from_texts(&planned.name, texts) } else { from_numbers(&planned.name, kind, stats) };
        if let Some(preset) = preset.filter(|_| is_category) {
            let style = |&(value, label, color): &(&str, &str, &str)| {
                (value.to_owned(), ValueStyle { label: Some(label.to_owned()), color: Some(color.to_owned()) })
            };
            encoded.column.styles = preset.styles.iter().map(style).collect();
        }
        encoded
    }

    pub fn data_type(&self) -> DataType {
        match self.column.kind {
            ColumnKind::Integer => DataType::Int64,
            ColumnKind::Float => DataType::Float64,
            ColumnKind::Boolean => DataType::Boolean,
            ColumnKind::Text => DataType::Utf8,
            ColumnKind::Timestamp => DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
        }
    }

    /// The values as the rows file stores them.
    pub fn array(&self, values: &Values) -> ArrayRef {
        let integers = |values: &[i64]| -> Int64Array { values.iter().map(|&v| (v != NULL_INTEGER).then_some(v)).collect() };
        match values {
            Values::Integer(values) => match self.column.kind {
                ColumnKind::Text => new_null_array(&DataType::Utf8, values.len()),
                ColumnKind::Boolean => {
                    Arc::new(values.iter().map(|&v| (v != NULL_INTEGER).then_some(v != 0)).collect::<BooleanArray>())
                }
                ColumnKind::Timestamp => {
                    Arc::new(integers(values).reinterpret_cast::<arrow::datatypes::TimestampMicrosecondType>().with_timezone("UTC"))
                        as Arc<TimestampMicrosecondArray>
                }
                _ => Arc::new(integers(values)),
            },
            Values::Float(values) => {
                Arc::new(values.iter().map(|&v| (!v.is_nan()).then_some(v)).collect::<Float64Array>())
            }
            Values::Text(numbers) => {
                let text = |&number: &u32| {
                    (number != 0).then(|| std::str::from_utf8(self.texts.get(number)).expect("texts are interned as UTF-8"))
                };
                Arc::new(numbers.iter().map(text).collect::<StringArray>())
            }
        }
    }

    /// Appends the keys of `values` to `hot`.
    pub fn append_keys(&self, values: &Values, hot: &mut HotColumn) {
        match (&self.keys, values) {
            (Keys::Ranks(ranks), Values::Text(numbers)) => hot.extend(numbers.iter().map(|&n| u64::from(ranks[n as usize]))),
            (Keys::Places(places), Values::Integer(values)) => hot.extend(values.iter().map(|&v| {
                if v == NULL_INTEGER { 0 } else { u64::from(places[&(v as u64)]) }
            })),
            (Keys::Places(places), Values::Float(values)) => hot.extend(values.iter().map(|&v| {
                if v.is_nan() { 0 } else { u64::from(places[&(v + 0.0).to_bits()]) }
            })),
            (&Keys::Affine { base, step: 1, .. }, Values::Integer(values)) => hot.extend(values.iter().map(|&v| {
                if v == NULL_INTEGER { 0 } else { v.abs_diff(base) + 1 }
            })),
            (&Keys::Affine { base, step, .. }, Values::Integer(values)) => hot.extend(values.iter().map(|&v| {
                if v == NULL_INTEGER { 0 } else { v.abs_diff(base) / step + 1 }
            })),
            (&Keys::Affine { base, step, decimals }, Values::Float(values)) => hot.extend(values.iter().map(|&v| {
                if v.is_nan() { return 0 }
                let scaled = scaled(v, decimals).expect("the decimals were found so that every value scales");
                scaled.abs_diff(base) / step + 1
            })),
            (Keys::OrderedFloat, Values::Float(values)) => hot.extend(values.iter().map(|&v| {
                if v.is_nan() { 0 } else { ordered_key_from_float(v) }
            })),
            (Keys::Ranks(_), Values::Integer(values)) => hot.extend(values.iter().map(|_| 0)),
            _ => unreachable!("a column's values have the kind that its encoding was made for"),
        }
    }
}

fn from_texts(name: &str, texts: Texts) -> EncodedColumn {
    let sorted = texts.sorted();
    let mut ranks = vec![0; texts.len() + 1];
    for (rank, &number) in sorted.iter().enumerate() {
        ranks[number as usize] = rank as u32 + 1;
    }
    let text = |number: u32| std::str::from_utf8(texts.get(number)).expect("texts are interned as UTF-8");
    let values = LargeStringArray::from_iter_values(sorted.iter().map(|&number| text(number)));
    let counts = sorted.iter().map(|&number| texts.count(number)).collect();
    let extreme = |number: Option<&u32>| number.map_or(Value::Null, |&number| Value::Text(text(number).to_owned()));
    let key_max = sorted.len() as u64;
    let column = Column {
        name: name.to_owned(),
        kind: ColumnKind::Text,
        encoding: Encoding::Dictionary,
        width: KeyWidth::holding(key_max),
        key_max,
        nulls: texts.nulls(),
        distinct: Some(key_max),
        min: extreme(sorted.first()),
        max: extreme(sorted.last()),
        styles: Default::default(),
    };
    EncodedColumn { column, dictionary: Some((DictionaryValues::Text(values), counts)), keys: Keys::Ranks(ranks), texts }
}

/// A column that was taken for integers, and turned out to hold nothing but nulls.
fn without_values(name: &str, nulls: u64) -> EncodedColumn {
    let mut texts = Texts::default();
    texts.intern_null(nulls);
    from_texts(name, texts)
}

fn from_numbers(name: &str, kind: ColumnKind, stats: &NumberStats) -> EncodedColumn {
    let (encoding, key_max) = stats.encoding(kind);
    let (keys, dictionary) = match encoding {
        Encoding::Affine { base, step, decimals } => (Keys::Affine { base, step, decimals }, None),
        Encoding::OrderedFloat => (Keys::OrderedFloat, None),
        Encoding::Dictionary => {
            let mut distinct: Vec<(u64, u64)> = stats.distinct_counts().collect();
            let values = if kind == ColumnKind::Float {
                distinct.sort_unstable_by_key(|&(bits, _)| ordered_key_from_float(f64::from_bits(bits)));
                DictionaryValues::Float(distinct.iter().map(|&(bits, _)| f64::from_bits(bits)).collect())
            } else {
                distinct.sort_unstable_by_key(|&(bits, _)| bits as i64);
                DictionaryValues::Integer(distinct.iter().map(|&(bits, _)| bits as i64).collect(), kind)
            };
            let places = distinct.iter().enumerate().map(|(place, &(bits, _))| (bits, place as u32 + 1)).collect();
            (Keys::Places(places), Some((values, distinct.iter().map(|&(_, count)| count).collect())))
        }
    };
    let integer = |value: i64| match kind {
        ColumnKind::Boolean => Value::Boolean(value != 0),
        ColumnKind::Timestamp => Value::Timestamp { us: value },
        _ => Value::Integer(value),
    };
    let (min, max) = match (kind, stats.float_extremes(), stats.integer_extremes()) {
        (ColumnKind::Float, Some((min, max)), _) => (Value::Float(min), Value::Float(max)),
        (ColumnKind::Float, None, _) | (_, _, None) => (Value::Null, Value::Null),
        (_, _, Some((min, max))) => (integer(min), integer(max)),
    };
    // An ordered float's largest key is that of its largest value.
    let key_max = match (encoding, &max) {
        (Encoding::OrderedFloat, Value::Float(max)) => ordered_key_from_float(*max),
        _ => key_max,
    };
    let width = if encoding == Encoding::OrderedFloat { KeyWidth::U64 } else { KeyWidth::holding(key_max) };
    let distinct = stats.distinct().map(|distinct| distinct as u64);
    let column = Column {
        name: name.to_owned(), kind, encoding, width, key_max, nulls: stats.nulls(), distinct, min, max, styles: Default::default(),
    };
    EncodedColumn { column, dictionary, keys, texts: Texts::default() }
}
