//! Statistics of a numeric column, gathered while it is read, and the encoding that they allow.
//!
//! An affine key needs smallest value, largest value and the greatest common step; for floats also how many decimals make
//! every value an exact scaled integer. A dictionary needs the distinct values, kept while they are few.

use crate::dataset::column::{DECIMALS_MAX, DISTINCT_MAX, EMPTY, SCALED_MAX, greatest_common_divisor, narrowest, scaled};
use crate::dataset::{ColumnKind, Encoding};

use super::value::NULL_INTEGER;
use super::values::Values;

#[derive(Default)]
pub struct NumberStats {
    nulls: u64,
    integers: Affine,
    /// Of floats: extremes, and decimals while an exact scaling is known.
    float_extremes: Option<(f64, f64)>,
    decimals: Option<u8>,
    distinct: Distinct,
}

/// Extremes and step of (scaled) integers.
#[derive(Default)]
struct Affine {
    extremes: Option<(i64, i64)>,
    /// Greatest common divisor of the differences from the first value; 0 while all are equal.
    step: u64,
    first: i64,
}

impl NumberStats {
    pub fn add(&mut self, values: &Values) {
        match values {
            Values::Integer(values) => values.iter().for_each(|&value| self.add_integer(value)),
            Values::Float(values) => values.iter().for_each(|&value| self.add_float(value)),
            Values::Text(_) => {}
        }
    }

    pub fn nulls(&self) -> u64 {
        self.nulls
    }

    pub fn integer_extremes(&self) -> Option<(i64, i64)> {
        self.integers.extremes
    }

    pub fn float_extremes(&self) -> Option<(f64, f64)> {
        self.float_extremes
    }

    /// How many distinct values there are; `None` when there are more than [`DISTINCT_MAX`].
    pub fn distinct(&self) -> Option<usize> {
        (!self.distinct.over).then_some(self.distinct.used)
    }

    /// The distinct values, as the bits of the i64 or f64, and their counts, in no order.
    pub fn distinct_counts(&self) -> impl Iterator<Item = (u64, u64)> {
        self.distinct.slots.iter().copied().filter(|&(_, count)| count > 0)
    }

    fn add_integer(&mut self, value: i64) {
        if value == NULL_INTEGER {
            self.nulls += 1;
            return;
        }
        self.integers.add(value);
        self.distinct.add(value as u64);
    }

    fn add_float(&mut self, value: f64) {
        if value.is_nan() {
            self.nulls += 1;
            return;
        }
        let value = value + 0.0; // -0.0 is 0.0
        match &mut self.float_extremes {
            Some((min, max)) => (*min, *max) = (min.min(value), max.max(value)),
            none => (*none, self.decimals) = (Some((value, value)), Some(0)),
        }
        self.distinct.add(value.to_bits());
        while let Some(decimals) = self.decimals {
            match scaled(value, decimals) {
                Some(scaled) => return self.integers.add(scaled),
                None => self.decimals = self.integers.one_decimal_more(decimals),
            }
        }
    }

    /// The affine encoding that holds every value exactly, and its largest key; `None` without values, or for floats that
    /// no power of ten makes integers.
    pub fn affine(&self, kind: ColumnKind) -> Option<(Encoding, u64)> {
        if kind == ColumnKind::Boolean {
            return Some((Encoding::Affine { base: 0, step: 1, decimals: 0 }, 2));
        }
        let decimals = if kind == ColumnKind::Float { self.decimals? } else { 0 };
        let (min, max) = self.integers.extremes?;
        let step = self.integers.step.max(1);
        Some((Encoding::Affine { base: min, step, decimals }, max.abs_diff(min) / step + 1))
    }

    /// The encoding of the column, and its largest key: see [`narrowest`].
    pub fn encoding(&self, kind: ColumnKind) -> (Encoding, u64) {
        match self.affine(kind) {
            None if self.float_extremes.is_none() && self.distinct() == Some(0) => (EMPTY, 0),
            affine => narrowest(affine, self.distinct().map(|distinct| distinct as u64)),
        }
    }
}

impl Affine {
    fn add(&mut self, value: i64) {
        match &mut self.extremes {
            Some((min, max)) => (*min, *max) = ((*min).min(value), (*max).max(value)),
            none => (*none, self.first) = (Some((value, value)), value),
        }
        // A step of 1 divides everything: for most columns this is the end of the matter after a few rows.
        if self.step != 1 {
            self.step = greatest_common_divisor(self.step, value.abs_diff(self.first));
        }
    }

    /// Rescales to another decimal; `None` where that is not exact any more.
    fn one_decimal_more(&mut self, decimals: u8) -> Option<u8> {
        if decimals == DECIMALS_MAX {
            return None;
        }
        if let Some((min, max)) = &mut self.extremes {
            let ten = |value: i64| value.checked_mul(10).filter(|value| (value.unsigned_abs() as f64) < SCALED_MAX);
            (*min, *max, self.first) = (ten(*min)?, ten(*max)?, ten(self.first)?);
            self.step = self.step.checked_mul(10)?;
        }
        Some(decimals + 1)
    }
}

/// Distinct 64-bit values with their counts: open addressing, at most half full, given up above [`DISTINCT_MAX`].
#[derive(Default)]
struct Distinct {
    /// Value and count; a count of 0 marks an empty slot.
    slots: Vec<(u64, u64)>,
    used: usize,
    over: bool,
    last: usize,
}

impl Distinct {
    fn add(&mut self, value: u64) {
        if self.over {
            return;
        }
        if let Some((last, count)) = self.slots.get_mut(self.last)
            && *last == value
            && *count > 0
        {
            *count += 1;
            return;
        }
        if (self.used + 1) * 2 > self.slots.len() {
            self.grow();
        }
        let slot = self.slot(value);
        if self.slots[slot].1 == 0 {
            self.used += 1;
            if self.used > DISTINCT_MAX {
                (self.over, self.slots) = (true, Vec::new());
                return;
            }
        }
        self.slots[slot] = (value, self.slots[slot].1 + 1);
        self.last = slot;
    }

    fn slot(&self, value: u64) -> usize {
        let mask = self.slots.len() - 1;
        // Fibonacci hashing: the upper bits of a product with 2^64 / phi.
        let mut slot = (value.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 40) as usize & mask;
        while self.slots[slot].1 > 0 && self.slots[slot].0 != value {
            slot = (slot + 1) & mask;
        }
        slot
    }

    fn grow(&mut self) {
        let larger = vec![(0, 0); (self.slots.len() * 2).max(64)];
        for (value, count) in std::mem::replace(&mut self.slots, larger) {
            if count > 0 {
                let slot = self.slot(value);
                self.slots[slot] = (value, count);
            }
        }
        self.last = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dataset::column::power_of_ten;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    fn encoding(values: Values, kind: ColumnKind) -> (Encoding, u64) {
        let mut stats = NumberStats::default();
        stats.add(&values);
        stats.encoding(kind)
    }

    #[test]
    fn the_narrowest_exact_encoding_is_chosen() {
        use ColumnKind::*;
        let affine = |base, step, decimals| Encoding::Affine { base, step, decimals };
        assert_eq!(encoding(Values::Integer(vec![100, 300, 200]), Integer), (affine(100, 100, 0), 3));
        assert_eq!(encoding(Values::Integer(vec![0, 1 << 40, 5]), Integer), (Encoding::Dictionary, 3));
        assert_eq!(encoding(Values::Integer((0..1000).collect()), Integer), (affine(0, 1, 0), 1000));
        assert_eq!(encoding(Values::Integer((0..1000).map(|i| i * i * i).collect()), Integer), (Encoding::Dictionary, 1000));
        assert_eq!(encoding(Values::Integer((0..70_000).map(|i| i * i).collect()), Integer).0, affine(0, 1, 0));
        assert_eq!(encoding(Values::Float(vec![31.0, 37.0, f64::NAN]), Float), (affine(31, 6, 0), 2));
        assert_eq!(encoding(Values::Float(vec![0.1, 2.75]), Float), (affine(10, 265, 2), 2));
        assert_eq!(encoding(Values::Float((0..70_000).map(|i| f64::from(i).sqrt()).collect()), Float).0, Encoding::OrderedFloat);
        assert_eq!(encoding(Values::Integer(vec![1, 1]), Boolean), (affine(0, 1, 0), 2));
        assert_eq!(encoding(Values::Integer(vec![NULL_INTEGER]), Integer).1, 0);
        assert_eq!(encoding(Values::Float(vec![f64::NAN]), Float).1, 0);
    }

    proptest! {
        #[test]
        fn affine_keys_reproduce_every_value(cents in proptest::collection::vec(-1_000_000i64..1_000_000, 1..200), places in 0u8..4) {
            let values: Vec<f64> = cents.iter().map(|&c| c as f64 / power_of_ten(places)).collect();
            let mut stats = NumberStats::default();
            stats.add(&Values::Float(values.clone()));
            let decimals = stats.decimals.unwrap();
            for value in &values {
                let scaled = scaled(*value, decimals).unwrap();
                let (min, max) = stats.integers.extremes.unwrap();
                prop_assert!(min <= scaled && scaled <= max);
                let step = stats.integers.step.max(1);
                prop_assert_eq!(scaled.abs_diff(min) % step, 0);
                prop_assert_eq!(scaled as f64 / power_of_ten(decimals), *value);
            }
            let mut expected = BTreeMap::new();
            values.iter().for_each(|v| *expected.entry((v + 0.0).to_bits()).or_insert(0u64) += 1);
            prop_assert_eq!(stats.distinct_counts().collect::<BTreeMap<_, _>>(), expected);
        }
    }
}
