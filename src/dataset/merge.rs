//! Two columns become one: of a dataset and of the rows that are appended to it.
//!
//! Keys preserve order, so a new value may fall between two old ones, below the smallest or between two steps; the keys of
//! either side are then rewritten. The merged column is the one that an ingest of all rows would have made (a test compares
//! them), so nothing else need know that a dataset has grown. This module knows keys and values, no files.

use super::column::{
    DECIMALS_MAX, DISTINCT_MAX, EMPTY, SCALED_MAX, float_from_ordered_key, greatest_common_divisor, narrowest, ordered_key_from_float,
    power_of_ten, scaled,
};
use super::dictionary::{Dictionary, Values};
use super::write::HotColumn;
use super::{Column, ColumnId, ColumnKeys, ColumnKind, Dataset, Encoding, KeyWidth, Value};
use arrow::array::{Float64Array, Int64Array, LargeStringArray};
use rayon::prelude::*;
use std::cmp::Ordering;

/// The merged column, and what becomes of the keys of both sides.
pub(super) struct Merged {
    pub column: Column,
    pub dictionary: Option<(Values, Vec<u64>)>,
    pub rekeys: [Rekey; 2],
}

/// How the keys of a side become the merged column's. Key 0, null, stays 0.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Rekey {
    Same,
    /// The new key of every old one.
    Table(Vec<u64>),
    /// `first + (key - 1) * step`.
    Affine { first: u64, step: u64 },
    /// From scaled integers to ordered floats: `(base + step * (key - 1)) / 10^decimals`.
    Floats { base: i64, step: u64, decimals: u8 },
}

/// A column of a dataset with its values in sorted order, where they are few: as [`sortable`] numbers, with their counts.
struct Numbers<'a> {
    column: &'a Column,
    distinct: Option<Vec<(u64, u64)>>,
    scale: Option<Scale>,
}

/// The integers `min, min + step, .. max` behind values, which are those divided by 10^decimals. A step of 0: only one.
#[derive(Clone, Copy, Debug)]
struct Scale {
    min: i128,
    max: i128,
    step: u64,
    decimals: u8,
}

/// Merges the column `id` of two datasets whose columns have equal names and kinds.
pub(super) fn merge(a: &Dataset, b: &Dataset, id: ColumnId) -> Merged {
    let (left, right) = (a.column(id), b.column(id));
    let mut merged = match (a.dictionary(id), b.dictionary(id)) {
        (Some(x), Some(y)) if left.kind == ColumnKind::Text => texts(left, x, y),
        _ => numbers(&Numbers::of(a, id), &Numbers::of(b, id)),
    };
    merged.column.nulls = left.nulls + right.nulls;
    for (value, style) in &right.styles {
        merged.column.styles.entry(value.clone()).or_insert_with(|| style.clone());
    }
    merged
}

fn texts(column: &Column, a: &Dictionary, b: &Dictionary) -> Merged {
    let text = |dictionary: &Dictionary, place: usize| dictionary.text(place as u64 + 1).expect("a text column has texts").to_owned();
    let mut tables = [vec![0], vec![0]];
    let (mut values, mut counts): (Vec<String>, Vec<u64>) = (Vec::new(), Vec::new());
    let (mut i, mut j) = (0, 0);
    while i < a.len() || j < b.len() {
        let order = match (i < a.len(), j < b.len()) {
            (true, false) => Ordering::Less,
            (false, _) => Ordering::Greater,
            (true, true) => a.text(i as u64 + 1).cmp(&b.text(j as u64 + 1)),
        };
        values.push(if order == Ordering::Greater { text(b, j) } else { text(a, i) });
        counts.push(0);
        let (key, count) = (values.len() as u64, counts.last_mut().expect("it was pushed"));
        if order != Ordering::Greater {
            *count += a.count(i as u64 + 1);
            tables[0].push(key);
            i += 1;
        }
        if order != Ordering::Less {
            *count += b.count(j as u64 + 1);
            tables[1].push(key);
            j += 1;
        }
    }
    let extreme = |value: Option<&String>| value.map_or(Value::Null, |value| Value::Text(value.clone()));
    let key_max = values.len() as u64;
    let column = Column {
        width: KeyWidth::holding(key_max),
        key_max,
        distinct: Some(key_max),
        min: extreme(values.first()),
        max: extreme(values.last()),
        ..column.clone()
    };
    let values = Values::Text(LargeStringArray::from_iter_values(values));
    Merged { column, dictionary: Some((values, counts)), rekeys: tables.map(Rekey::table) }
}

fn numbers(a: &Numbers, b: &Numbers) -> Merged {
    let kind = a.column.kind;
    let distinct = match (&a.distinct, &b.distinct) {
        (Some(x), Some(y)) => Some(union(x, y)).filter(|all| all.len() <= DISTINCT_MAX),
        _ => None,
    };
    let scale = match (a.is_empty(), b.is_empty()) {
        (true, _) => b.scale,
        (_, true) => a.scale,
        _ => a.scale.zip(b.scale).and_then(|(x, y)| x.with(y, kind)),
    };
    let count = distinct.as_ref().map(|distinct| distinct.len() as u64);
    let (encoding, key_max) = match kind {
        ColumnKind::Boolean => (EMPTY, 2),
        _ if a.is_empty() && b.is_empty() => (EMPTY, 0),
        _ => narrowest(scale.and_then(Scale::encoding), count),
    };
    let is_less = |x: &Value, y: &Value| x.partial_cmp(y) == Some(Ordering::Less);
    let pick = |x: &Value, y: &Value, wanted: bool| match (x, y) {
        (Value::Null, value) | (value, Value::Null) => value.clone(),
        _ => if is_less(x, y) == wanted { x.clone() } else { y.clone() },
    };
    let (mut min, mut max) = (pick(&a.column.min, &b.column.min, true), pick(&a.column.max, &b.column.max, false));
    if let (ColumnKind::Float, Some(Scale { min: least, max: greatest, decimals, .. })) = (kind, scale) {
        // Those of the manifests were written as decimals and read again.
        (min, max) = [least, greatest].map(|value| Value::Float(value as f64 / power_of_ten(decimals))).into();
    }
    let key_max = match (encoding, &max) {
        (Encoding::OrderedFloat, Value::Float(_)) => a.ordered_key_max().max(b.ordered_key_max()),
        _ => key_max,
    };
    let width = if encoding == Encoding::OrderedFloat { KeyWidth::U64 } else { KeyWidth::holding(key_max) };
    let rekeys = [a, b].map(|side| side.rekey(encoding, distinct.as_deref()));
    let dictionary = (encoding == Encoding::Dictionary).then(|| {
        let all = distinct.as_deref().expect("only counted values have a dictionary");
        let values = match kind {
            ColumnKind::Float => Values::Float(all.iter().map(|&(v, _)| float_from_ordered_key(v)).collect::<Float64Array>()),
            kind => Values::Integer(all.iter().map(|&(v, _)| integer(v)).collect::<Int64Array>(), kind),
        };
        (values, all.iter().map(|&(_, count)| count).collect())
    });
    let column = Column { encoding, width, key_max, distinct: count, min, max, ..a.column.clone() };
    Merged { column, dictionary, rekeys }
}

/// An i64 as a u64 of the same order.
fn sortable(value: i64) -> u64 {
    (value as u64) ^ (1 << 63)
}

fn integer(sortable: u64) -> i64 {
    (sortable ^ (1 << 63)) as i64
}

/// All values of two sorted lists, and their counts added.
fn union(a: &[(u64, u64)], b: &[(u64, u64)]) -> Vec<(u64, u64)> {
    let mut all: Vec<(u64, u64)> = a.iter().chain(b).copied().collect();
    all.sort_unstable();
    all.dedup_by(|next, kept| {
        let is_same = next.0 == kept.0;
        kept.1 += if is_same { next.1 } else { 0 };
        is_same
    });
    all
}

impl<'a> Numbers<'a> {
    fn of(dataset: &'a Dataset, id: ColumnId) -> Numbers<'a> {
        let column = dataset.column(id);
        let sort = |value: Value| match value {
            Value::Float(value) => ordered_key_from_float(value),
            Value::Boolean(value) => sortable(value.into()),
            Value::Integer(value) | Value::Timestamp { us: value } => sortable(value),
            Value::Null | Value::Text(_) => unreachable!("a key above 0 of a column of numbers is a number"),
        };
        let counts = match dataset.dictionary(id) {
            Some(dictionary) => Some((0..=dictionary.len() as u64).map(|key| dictionary.count(key)).collect()),
            None => column.distinct.map(|_| counts(dataset, id)),
        };
        let distinct = counts.map(|counts: Vec<u64>| {
            let keys = counts.into_iter().enumerate().skip(1).filter(|&(_, count)| count > 0);
            keys.map(|(key, count)| (sort(dataset.value(id, key as u64)), count)).collect::<Vec<_>>()
        });
        let scale = match column.encoding {
            Encoding::Affine { base, step, decimals } if column.key_max > 0 => {
                let (min, steps) = (i128::from(base), column.key_max - 1);
                let max = min + i128::from(step) * i128::from(steps);
                Some(Scale { min, max, step: if steps == 0 { 0 } else { step }, decimals })
            }
            Encoding::Dictionary => distinct.as_deref().and_then(|values| Scale::of(values, column.kind)),
            _ => None,
        };
        Numbers { column, distinct, scale }
    }

    /// Every value is null.
    fn is_empty(&self) -> bool {
        self.column.min == Value::Null
    }

    fn ordered_key_max(&self) -> u64 {
        match (self.column.encoding, self.scale, &self.distinct) {
            (Encoding::OrderedFloat, _, _) => self.column.key_max,
            (_, _, Some(values)) => values.last().map_or(0, |&(value, _)| value),
            (_, Some(scale), None) => ordered_key_from_float(scale.max as f64 / power_of_ten(scale.decimals)),
            (_, None, None) => 0,
        }
    }

    fn rekey(&self, to: Encoding, all: Option<&[(u64, u64)]>) -> Rekey {
        if self.is_empty() {
            return Rekey::Same;
        }
        match (self.column.encoding, to) {
            (Encoding::OrderedFloat, _) => Rekey::Same,
            (Encoding::Affine { base, step, decimals }, Encoding::Affine { base: to_base, step: to_step, decimals: to_decimals }) => {
                let power = 10i128.pow(u32::from(to_decimals - decimals));
                let first = ((i128::from(base) * power - i128::from(to_base)) / i128::from(to_step)) as u64 + 1;
                // Of a single value there is no second.
                let steps = if self.column.key_max == 1 { 0 } else { (i128::from(step) * power / i128::from(to_step)) as u64 };
                match (first, steps) {
                    (1, 1) => Rekey::Same,
                    (first, step) => Rekey::Affine { first, step },
                }
            }
            (Encoding::Affine { base, step, decimals }, Encoding::OrderedFloat) => Rekey::Floats { base, step, decimals },
            (from, to) => {
                let values = self.distinct.as_deref().expect("a dictionary has few values, and so has what becomes one");
                let new_key = |&(value, _): &(u64, u64)| match to {
                    Encoding::Dictionary => {
                        let all = all.expect("a dictionary has its values");
                        all.partition_point(|&(other, _)| other < value) as u64 + 1
                    }
                    Encoding::OrderedFloat => value,
                    Encoding::Affine { base, step, decimals } => {
                        let value = scaled_value(value, self.column.kind, decimals).expect("the scale holds all values");
                        ((value - i128::from(base)) / i128::from(step)) as u64 + 1
                    }
                };
                let mut table = vec![0; self.column.key_max as usize + 1];
                for (place, value) in values.iter().enumerate() {
                    let old = match from {
                        Encoding::Affine { base, step, decimals } => {
                            let value = scaled_value(value.0, self.column.kind, decimals).expect("it was read from this scale");
                            ((value - i128::from(base)) / i128::from(step)) as usize + 1
                        }
                        _ => place + 1,
                    };
                    table[old] = new_key(value);
                }
                Rekey::table(table)
            }
        }
    }
}

/// Points per key of a column whose keys are few.
fn counts(dataset: &Dataset, id: ColumnId) -> Vec<u64> {
    let keys = dataset.column(id).key_max as usize + 1;
    let of_part = |part: &super::Part| {
        let column = part.column(id);
        let mut counts = vec![0u64; keys];
        (0..column.len()).for_each(|position| counts[column.get(position) as usize] += 1);
        counts
    };
    let add = |a: Vec<u64>, b: Vec<u64>| a.iter().zip(&b).map(|(a, b)| a + b).collect();
    dataset.parts.par_iter().map(of_part).reduce(|| vec![0; keys], add)
}

/// The integer `value * 10^decimals`, where that is exact.
fn scaled_value(value: u64, kind: ColumnKind, decimals: u8) -> Option<i128> {
    match kind {
        ColumnKind::Float => scaled(float_from_ordered_key(value), decimals).map(i128::from),
        _ => Some(i128::from(integer(value))),
    }
}

impl Scale {
    /// The scale of values in ascending order, with as few decimals as hold them all.
    fn of(values: &[(u64, u64)], kind: ColumnKind) -> Option<Scale> {
        let decimals_max = if kind == ColumnKind::Float { DECIMALS_MAX } else { 0 };
        let at = |decimals| values.iter().map(|&(value, _)| scaled_value(value, kind, decimals)).collect::<Option<Vec<i128>>>();
        let (decimals, scaled) = (0..=decimals_max).find_map(|decimals| Some((decimals, at(decimals)?)))?;
        let (min, max) = (*scaled.first()?, *scaled.last()?);
        let step = scaled.iter().fold(0, |step, &value| greatest_common_divisor(step, (value - min) as u64));
        Some(Scale { min, max, step, decimals })
    }

    /// The scale that holds the values of both.
    fn with(self, other: Scale, kind: ColumnKind) -> Option<Scale> {
        let decimals = self.decimals.max(other.decimals);
        let (a, b) = (self.at(decimals)?, other.at(decimals)?);
        let apart = u64::try_from((a.min - b.min).abs()).ok()?;
        let step = [b.step, apart].into_iter().fold(a.step, greatest_common_divisor);
        let (min, max) = (a.min.min(b.min), a.max.max(b.max));
        let is_exact = |value: i128| kind != ColumnKind::Float || (value.abs() as f64) < SCALED_MAX;
        (is_exact(min) && is_exact(max)).then_some(Scale { min, max, step, decimals })
    }

    fn at(self, decimals: u8) -> Option<Scale> {
        let power = 10u64.pow(u32::from(decimals - self.decimals));
        let times = |value: i128| value * i128::from(power);
        Some(Scale { min: times(self.min), max: times(self.max), step: self.step.checked_mul(power)?, decimals })
    }

    fn encoding(self) -> Option<(Encoding, u64)> {
        let step = self.step.max(1);
        let steps = u64::try_from(self.max - self.min).ok()? / step;
        let base = i64::try_from(self.min).ok()?;
        Some((Encoding::Affine { base, step, decimals: self.decimals }, steps.checked_add(1)?))
    }
}

impl Rekey {
    fn table(new: Vec<u64>) -> Rekey {
        if new.iter().enumerate().all(|(old, &new)| old as u64 == new) { Rekey::Same } else { Rekey::Table(new) }
    }

    fn key(&self, key: u64) -> u64 {
        match self {
            _ if key == 0 => 0,
            Rekey::Same => key,
            Rekey::Table(new) => new[key as usize],
            Rekey::Affine { first, step } => first + (key - 1) * step,
            Rekey::Floats { base, step, decimals } => {
                let scaled = i128::from(*base) + i128::from(*step) * i128::from(key - 1);
                ordered_key_from_float(scaled as i64 as f64 / power_of_ten(*decimals))
            }
        }
    }

    /// The keys of a part's column, rewritten in another width.
    pub fn apply(&self, keys: &ColumnKeys, width: KeyWidth) -> HotColumn {
        let new = |position: usize| self.key(keys.get(position));
        let all = (0..keys.len()).into_par_iter();
        match width {
            KeyWidth::U8 => HotColumn::U8(all.map(|i| new(i) as u8).collect()),
            KeyWidth::U16 => HotColumn::U16(all.map(|i| new(i) as u16).collect()),
            KeyWidth::U32 => HotColumn::U32(all.map(|i| new(i) as u32).collect()),
            KeyWidth::U64 => HotColumn::U64(all.map(new).collect()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn counted(values: impl IntoIterator<Item = u64>) -> Vec<(u64, u64)> {
        let mut values: Vec<(u64, u64)> = values.into_iter().map(|value| (value, 1)).collect();
        values.sort_unstable();
        values.dedup_by_key(|(value, _)| *value);
        values
    }

    fn told(scale: Option<Scale>) -> Option<(i128, i128, u64, u8)> {
        scale.map(|scale| (scale.min, scale.max, scale.step, scale.decimals))
    }

    proptest! {
        /// Two scales together are the scale of all values: smallest, largest, the greatest step and the fewest decimals.
        #[test]
        fn scales_merge_to_the_scale_of_all_values(
            (step, offsets) in (1i64..300, (0i64..300, 0i64..300)), a in proptest::collection::vec(-50i64..50, 1..9),
            b in proptest::collection::vec(-50i64..50, 1..9), (places, places_b) in (0u8..4, 0u8..4),
        ) {
            let (a, b): (Vec<i64>, Vec<i64>) =
                (a.iter().map(|v| v * step + offsets.0).collect(), b.iter().map(|v| v * step + offsets.1).collect());
            let integers = |values: &[i64]| counted(values.iter().map(|&value| sortable(value)));
            let both = [&a[..], &b[..]].concat();
            let of = |values: &[i64]| Scale::of(&integers(values), ColumnKind::Integer).unwrap();
            prop_assert_eq!(told(of(&a).with(of(&b), ColumnKind::Integer)), told(Some(of(&both))));

            let float = |&value: &i64, places| ordered_key_from_float(value as f64 / power_of_ten(places));
            let (a, b) = (counted(a.iter().map(|v| float(v, places))), counted(b.iter().map(|v| float(v, places_b))));
            let of = |values: &[(u64, u64)]| Scale::of(values, ColumnKind::Float).unwrap();
            prop_assert_eq!(told(of(&a).with(of(&b), ColumnKind::Float)), told(Some(of(&union(&a, &b)))));
        }
    }
}
