//! Columns: filterable attributes, stored as order-preserving unsigned keys.
//!
//! Whatever a column's type, its points carry unsigned integers whose order is the order of the values, so that every
//! comparison is a range of keys, exactly. Key 0 is null, in every column.
//!
//! ```text
//! encoding      key of a value v                                  values
//! Dictionary    1 + its place in the sorted dictionary            text; numbers with few distinct values
//! Affine        1 + (v * 10^decimals - base) / step               integers, booleans, timestamps, short decimals
//! OrderedFloat  the bits of v in IEEE total order                 any f64 (NaN is null)
//! ```

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// A column's place in [`super::Manifest::columns`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ColumnId(pub usize);

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ColumnKind {
    Integer,
    Float,
    Boolean,
    Text,
    /// Microseconds since 1970-01-01T00:00:00Z, without leap seconds.
    Timestamp,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "type")]
pub enum Encoding {
    Dictionary,
    /// `value = (base + step * (key - 1)) / 10^decimals`; `decimals` is 0 but for floats.
    Affine { base: i64, step: u64, decimals: u8 },
    OrderedFloat,
}

/// How many bytes a key has on disk and in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, PartialOrd, Ord)]
#[serde(rename_all = "lowercase")]
pub enum KeyWidth {
    U8,
    U16,
    U32,
    U64,
}

impl KeyWidth {
    /// The narrowest width that holds keys up to `key_max`.
    pub fn holding(key_max: u64) -> KeyWidth {
        match key_max {
            0..=0xFF => KeyWidth::U8,
            0x100..=0xFFFF => KeyWidth::U16,
            0x1_0000..=0xFFFF_FFFF => KeyWidth::U32,
            _ => KeyWidth::U64,
        }
    }

    pub fn bytes(self) -> usize {
        match self {
            KeyWidth::U8 => 1,
            KeyWidth::U16 => 2,
            KeyWidth::U32 => 4,
            KeyWidth::U64 => 8,
        }
    }
}

/// One value of one row.
#[derive(Clone, Debug, PartialEq, PartialOrd, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Value {
    Null,
    Boolean(bool),
    Integer(i64),
    Float(f64),
    Text(String),
    /// Microseconds since the epoch, UTC.
    Timestamp { us: i64 },
}

/// A column of a dataset: what is known of it without looking at its points.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Column {
    pub name: String,
    pub kind: ColumnKind,
    pub encoding: Encoding,
    pub width: KeyWidth,
    /// The largest key that occurs (0 where every value is null).
    pub key_max: u64,
    /// Points whose value is null.
    pub nulls: u64,
    /// Distinct values other than null, where the ingest could count them (up to 65,536, and of every dictionary).
    pub distinct: Option<u64>,
    /// Smallest and largest value; `Null` where every value is null.
    pub min: Value,
    pub max: Value,
    /// Labels and colours of values that have them, by the value's text form; from a preset or the user.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub styles: BTreeMap<String, ValueStyle>,
}

/// How a preset wants a category shown.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, Default)]
pub struct ValueStyle {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub label: Option<String>,
    /// `#rrggbb`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub color: Option<String>,
}

impl Column {
    /// The value of a key of a column without a dictionary.
    ///
    /// # Panics
    /// On a dictionary column: its values are in the [`super::Dictionary`].
    pub fn value_from_key(&self, key: u64) -> Value {
        if key == 0 {
            return Value::Null;
        }
        match self.encoding {
            Encoding::Dictionary => panic!("column '{}' has a dictionary: ask it", self.name),
            Encoding::OrderedFloat => Value::Float(float_from_ordered_key(key)),
            Encoding::Affine { base, step, decimals } => {
                let scaled = (i128::from(base) + i128::from(step) * i128::from(key - 1)) as i64;
                match self.kind {
                    ColumnKind::Boolean => Value::Boolean(scaled != 0),
                    ColumnKind::Timestamp => Value::Timestamp { us: scaled },
                    ColumnKind::Float => Value::Float(scaled as f64 / power_of_ten(decimals)),
                    _ => Value::Integer(scaled),
                }
            }
        }
    }
}

/// Maps an f64 to a u64 whose unsigned order is the order of the floats (-0.0 equals 0.0). Never 0 for a number.
pub fn ordered_key_from_float(value: f64) -> u64 {
    let bits = (value + 0.0).to_bits();
    if bits >> 63 == 1 { !bits } else { bits | 1 << 63 }
}

pub fn float_from_ordered_key(key: u64) -> f64 {
    f64::from_bits(if key >> 63 == 1 { key & !(1 << 63) } else { !key })
}

/// More distinct values than this are not counted: a dictionary of numbers has at most 16-bit keys.
pub const DISTINCT_MAX: usize = 65_535;

/// The most decimals that a scaled float has.
pub const DECIMALS_MAX: u8 = 9;

/// Scaled floats stay below 2^53, where every integer is an f64.
pub const SCALED_MAX: f64 = 9_007_199_254_740_992.0;

/// The encoding of a column of numbers without any.
pub const EMPTY: Encoding = Encoding::Affine { base: 0, step: 1, decimals: 0 };

/// The encoding of a column of numbers, and its largest key: the narrowest that is exact, and of two equally narrow ones the
/// affine one, which needs no dictionary. `affine` is the affine encoding with its largest key, where there is an exact one;
/// `distinct` how many values there are, where they have been counted.
pub fn narrowest(affine: Option<(Encoding, u64)>, distinct: Option<u64>) -> (Encoding, u64) {
    let distinct = distinct.unwrap_or(u64::MAX);
    let affine_max = affine.map_or(u64::MAX, |(_, key_max)| key_max);
    match affine {
        Some(affine) if affine_max <= 0xFF => affine,
        _ if distinct <= 0xFF => (Encoding::Dictionary, distinct),
        Some(affine) if affine_max <= 0xFFFF => affine,
        _ if distinct <= DISTINCT_MAX as u64 => (Encoding::Dictionary, distinct),
        Some(affine) => affine,
        None => (Encoding::OrderedFloat, u64::MAX),
    }
}

/// `value * 10^decimals` where that is an integer below 2^53 that gives `value` back exactly.
pub fn scaled(value: f64, decimals: u8) -> Option<i64> {
    let power = power_of_ten(decimals);
    let scaled = (value * power).round();
    (scaled.abs() < SCALED_MAX && scaled / power == value).then_some(scaled as i64)
}

pub fn greatest_common_divisor(mut a: u64, mut b: u64) -> u64 {
    while b != 0 {
        (a, b) = (b, a % b);
    }
    a
}

/// 10^decimals, exact for the decimals that occur (0 to 9).
pub fn power_of_ten(decimals: u8) -> f64 {
    const POWERS: [f64; DECIMALS_MAX as usize + 1] = [1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9];
    POWERS.get(usize::from(decimals)).copied().unwrap_or_else(|| 10f64.powi(i32::from(decimals)))
}

/// The calendar's time of an instant, in UTC; `None` outside of the years -9999 to 9999. Instants of jiff's end a day earlier, for the sake
/// of time zones, and the last day of 9999 is what many write for "never".
pub fn civil_from_us(us: i64) -> Option<jiff::civil::DateTime> {
    jiff::civil::date(1970, 1, 1).at(0, 0, 0, 0).checked_add(jiff::SignedDuration::from_micros(us)).ok()
}

impl std::fmt::Display for Value {
    /// The text form of a value: what a category is called, and what `colors=VALUE:hex` names.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Value::Null => write!(f, "null"),
            Value::Boolean(value) => write!(f, "{value}"),
            Value::Integer(value) => write!(f, "{value}"),
            Value::Float(value) => write!(f, "{value}"),
            Value::Text(value) => write!(f, "{value}"),
            Value::Timestamp { us } => match civil_from_us(*us) {
                Some(time) => write!(f, "{time}Z"),
                None => write!(f, "{us} us"),
            },
        }
    }
}

impl Value {
    /// The number behind a number, boolean (0 or 1) or timestamp (microseconds).
    pub fn as_f64(&self) -> Option<f64> {
        match self {
            Value::Boolean(value) => Some(f64::from(u8::from(*value))),
            Value::Integer(value) => Some(*value as f64),
            Value::Float(value) => Some(*value),
            Value::Timestamp { us } => Some(*us as f64),
            Value::Null | Value::Text(_) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn ordered_floats_keep_their_order_and_value(a in proptest::num::f64::ANY, b in proptest::num::f64::ANY) {
            prop_assume!(!a.is_nan() && !b.is_nan());
            prop_assert_eq!(a.partial_cmp(&b).unwrap(), ordered_key_from_float(a).cmp(&ordered_key_from_float(b)));
            prop_assert_eq!(float_from_ordered_key(ordered_key_from_float(a)), a);
            prop_assert_ne!(ordered_key_from_float(a), 0);
        }
    }

    #[test]
    fn times_are_shown_to_the_end_of_the_calendar() {
        let shown = |us| Value::Timestamp { us }.to_string();
        assert_eq!(shown(253_402_214_400_000_000), "9999-12-31T00:00:00Z");
        assert_eq!(shown(253_402_300_799_999_999), "9999-12-31T23:59:59.999999Z");
        assert_eq!(shown(253_402_300_800_000_000), "253402300800000000 us");
        for us in [0, -1, 1_590_000_000_250_000, -62_200_000_000_000_000] {
            assert_eq!(shown(us), jiff::Timestamp::from_microsecond(us).unwrap().to_string());
        }
    }

    #[test]
    fn affine_keys_give_their_values_back() {
        let column = |kind, encoding| Column {
            name: "c".into(), kind, encoding, width: KeyWidth::U32, key_max: 10, nulls: 0, distinct: None,
            min: Value::Null, max: Value::Null, styles: BTreeMap::new(),
        };
        let money = column(ColumnKind::Float, Encoding::Affine { base: -5, step: 5, decimals: 2 });
        assert_eq!(money.value_from_key(1), Value::Float(-0.05));
        assert_eq!(money.value_from_key(4), Value::Float(0.1));
        let extreme = column(ColumnKind::Integer, Encoding::Affine { base: i64::MIN, step: 1, decimals: 0 });
        assert_eq!(extreme.value_from_key(u64::MAX), Value::Integer(i64::MAX - 1));
        assert_eq!(extreme.value_from_key(0), Value::Null);
    }
}
