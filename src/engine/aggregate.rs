//! Aggregates: what the values of a column come to in a pixel, in place of how many points it has.
//!
//! Engines know keys only. What a key is worth is said here, once for both, and so is how the worth of some points and of some
//! more come together: in integers wherever values are scaled integers, which no order can change; else in f64, each part's
//! points in their order and the parts in theirs; minima and maxima by keys, whose order is that of the values.

use super::grid::halve;
use crate::dataset::column::{DECIMALS_MAX, float_from_ordered_key, ordered_key_from_float, power_of_ten, scaled};
use crate::dataset::{ColumnId, Dataset, DictionaryValues, Encoding};
use std::borrow::Cow;

/// What is made of the values.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Measure {
    Sum,
    Mean,
    Min,
    Max,
}

/// A measure of a column. Nulls do not count, as in SQL: without a value there is no sum either.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Aggregate {
    pub measure: Measure,
    pub column: ColumnId,
}

/// What the keys of a column are worth. Booleans are 0 and 1, times microseconds since 1970.
#[derive(Clone, Debug)]
pub enum Numbers<'a> {
    /// `(base + step * (key - 1)) / 10^decimals`.
    Scaled { base: i64, step: u64, decimals: u8 },
    /// `integers[key - 1] / 10^decimals`.
    Listed { integers: Cow<'a, [i64]>, decimals: u8 },
    /// By key, less 1: floats that have more decimals than are scaled.
    Floats(&'a [f64]),
    /// The key is the float.
    OrderedFloats,
}

/// What some points come to: enough to go on with others.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum Partial {
    /// No point has a value.
    #[default]
    Empty,
    /// Of [`Numbers::Scaled`] the sum of `key - 1`, of [`Numbers::Listed`] that of the integers.
    Whole { count: u64, sum: i128 },
    Real { count: u64, sum: f64 },
    /// The smallest or the largest key.
    Key(u64),
}

impl<'a> Numbers<'a> {
    /// `None` for text.
    pub fn of(dataset: &'a Dataset, column: ColumnId) -> Option<Numbers<'a>> {
        match (dataset.column(column).encoding, dataset.dictionary(column).map(|dictionary| dictionary.values())) {
            (Encoding::Affine { base, step, decimals }, _) => Some(Numbers::Scaled { base, step, decimals }),
            (Encoding::OrderedFloat, _) => Some(Numbers::OrderedFloats),
            (Encoding::Dictionary, Some(DictionaryValues::Integer(values, _))) => {
                Some(Numbers::Listed { integers: Cow::Borrowed(values.values()), decimals: 0 })
            }
            (Encoding::Dictionary, Some(DictionaryValues::Float(values))) => Some(Numbers::of_floats(values.values())),
            (Encoding::Dictionary, _) => None,
        }
    }

    /// Integers, where every float is one after the point is moved: tenths of a knot are added up exactly.
    fn of_floats(floats: &'a [f64]) -> Numbers<'a> {
        let all_scaled = |decimals| {
            let integers: Option<Vec<i64>> = floats.iter().map(|&float| scaled(float, decimals)).collect();
            Some(Numbers::Listed { integers: Cow::Owned(integers?), decimals })
        };
        (0..=DECIMALS_MAX).find_map(all_scaled).unwrap_or(Numbers::Floats(floats))
    }

    /// Whether what points come to does not depend on the order in which they are added: of all but sums of floats.
    pub fn add_in_any_order(&self, measure: Measure) -> bool {
        let are_integers = matches!(self, Numbers::Scaled { .. } | Numbers::Listed { .. });
        are_integers || matches!(measure, Measure::Min | Measure::Max)
    }

    /// The number of a key that is not null's.
    fn number(&self, key: u64) -> f64 {
        let place = key as usize - 1;
        match self {
            &Numbers::Scaled { base, step, decimals } => {
                (i128::from(base) + i128::from(step) * i128::from(key - 1)) as f64 / power_of_ten(decimals)
            }
            Numbers::Listed { integers, decimals } => integers[place] as f64 / power_of_ten(*decimals),
            Numbers::Floats(values) => values[place],
            Numbers::OrderedFloats => float_from_ordered_key(key),
        }
    }

    /// What a partial comes to; NaN where no point has a value. An exact sum is rounded once to f64, and once more where it
    /// is divided by a power of ten, by the number of points, or by both at once.
    pub fn value(&self, partial: Partial, measure: Measure) -> f64 {
        let (decimals, count, sum) = match (partial, self) {
            (Partial::Empty, _) => return f64::NAN,
            (Partial::Key(key), _) => return self.number(key),
            (Partial::Real { count, sum }, _) => (0, count, sum),
            (Partial::Whole { count, sum }, &Numbers::Scaled { base, step, decimals }) => {
                (decimals, count, rounded(i128::from(base) * i128::from(count) + i128::from(step) * sum))
            }
            (Partial::Whole { count, sum }, &Numbers::Listed { decimals, .. }) => (decimals, count, rounded(sum)),
            (Partial::Whole { .. }, _) => unreachable!("floats are not added up as integers"),
        };
        match measure {
            Measure::Mean => sum / (power_of_ten(decimals) * count as f64),
            _ => sum / power_of_ten(decimals),
        }
    }
}

/// The nearest f64. Nearly always an i64, which the processor converts itself.
fn rounded(sum: i128) -> f64 {
    i64::try_from(sum).map_or(sum as f64, |sum| sum as f64)
}

impl Partial {
    /// These points, and `later` ones of the same column and measure.
    pub fn and(self, later: Partial, measure: Measure) -> Partial {
        match (self, later) {
            (Partial::Empty, only) | (only, Partial::Empty) => only,
            (Partial::Whole { count, sum }, Partial::Whole { count: n, sum: more }) => {
                Partial::Whole { count: count + n, sum: sum + more }
            }
            (Partial::Real { count, sum }, Partial::Real { count: n, sum: more }) => {
                Partial::Real { count: count + n, sum: sum + more }
            }
            (Partial::Key(a), Partial::Key(b)) => Partial::Key(if measure == Measure::Min { a.min(b) } else { a.max(b) }),
            (one, other) => unreachable!("{one:?} and {other:?} are not of one column and measure"),
        }
    }

    /// Points with a value; `None` where only the smallest or largest is known.
    pub fn count(&self) -> Option<u64> {
        match *self {
            Partial::Empty => Some(0),
            Partial::Whole { count, .. } | Partial::Real { count, .. } => Some(count),
            Partial::Key(_) => None,
        }
    }
}

/// What the points of every pixel of one tile come to, row by row, row 0 north.
#[derive(Clone, Debug, PartialEq)]
pub struct PartialGrid {
    /// Pixels along a side.
    pub size: usize,
    pub measure: Measure,
    pub partials: Vec<Partial>,
}

impl PartialGrid {
    /// What they come to in numbers: those of the column that they are partials of.
    pub fn values(&self, numbers: &Numbers<'_>) -> ValueGrid {
        ValueGrid { size: self.size, values: self.partials.iter().map(|&partial| numbers.value(partial, self.measure)).collect() }
    }

    /// The same at half as many pixels a side: the tile's quarter of the tile around it. As exact as that one's own only where
    /// [`Numbers::add_in_any_order`].
    pub fn halved(&self) -> PartialGrid {
        let mut partials = vec![Partial::Empty; self.partials.len() / 4];
        halve(&self.partials, self.size, &mut partials, |one: Partial, other| one.and(other, self.measure));
        PartialGrid { size: self.size / 2, measure: self.measure, partials }
    }
}

/// A value per pixel of one tile, row by row, row 0 north; NaN where no point has a value.
#[derive(Clone, Debug)]
pub struct ValueGrid {
    /// Pixels along a side: 256 or 512.
    pub size: usize,
    pub values: Vec<f64>,
}

impl ValueGrid {
    pub fn empty(size: usize) -> ValueGrid {
        ValueGrid { size, values: vec![f64::NAN; size * size] }
    }

    pub fn is_empty(&self) -> bool {
        self.values.iter().all(|value| value.is_nan())
    }
}

/// Grids are equal where they are so bit by bit, and any NaN is as empty as another.
impl PartialEq for ValueGrid {
    fn eq(&self, other: &ValueGrid) -> bool {
        let same = |(a, b): (&f64, &f64)| a.to_bits() == b.to_bits() || (a.is_nan() && b.is_nan());
        self.size == other.size && self.values.len() == other.values.len() && self.values.iter().zip(&other.values).all(same)
    }
}

/// Values that agree in their sign, exponent and first twelve bits share a bin of a [`ValueDistribution`]: they lie within
/// 1/4096 of one another, where an image has 256 colours, and whatever the data a zoom has some ten thousand bins.
const BIN_SHIFT: u32 = 64 - (1 + 11 + 12);

/// How the values of a whole zoom's pixels are distributed. Infinite ones are left out: no scale has room for them.
#[derive(Clone, Debug, PartialEq, Default)]
pub struct ValueDistribution {
    /// The lowest value; 0 without any.
    pub lowest: f64,
    /// `(highest value of a bin, pixels)`, ascending: up to each such value the number of pixels is exact.
    pub pixels_by_value: Vec<(f64, u64)>,
}

impl ValueDistribution {
    pub fn of_values(values: impl IntoIterator<Item = f64>) -> ValueDistribution {
        let mut tally = ValueTally::default();
        values.into_iter().for_each(|value| tally.add(value));
        tally.finish()
    }

    /// The highest value; 0 without any.
    pub fn highest(&self) -> f64 {
        self.pixels_by_value.last().map_or(0.0, |&(value, _)| value)
    }

    /// Memory that it holds, for cache budgets.
    pub fn bytes(&self) -> usize {
        self.pixels_by_value.len() * size_of::<(f64, u64)>()
    }

    /// Pixels with a finite value.
    pub fn pixels(&self) -> u64 {
        self.pixels_by_value.iter().map(|&(_, pixels)| pixels).sum()
    }
}

/// Bins of one sign and exponent: a page, made when its first value comes.
const PAGE_BINS: usize = 1 << 12;

/// Signs and exponents.
const PAGES: usize = 1 << 12;

/// By bin: the highest value, and the number of pixels.
type Page = Box<[(f64, u64)]>;

/// Bins of a distribution while values are added to them: in any order, on any thread.
pub struct ValueTally {
    lowest: f64,
    /// By sign and exponent.
    pages: Vec<Option<Page>>,
}

impl Default for ValueTally {
    fn default() -> ValueTally {
        ValueTally { lowest: f64::INFINITY, pages: vec![None; PAGES] }
    }
}

impl ValueTally {
    /// Adds a pixel of a value; nothing for what is infinite or not a number.
    pub fn add(&mut self, value: f64) {
        if value.is_finite() {
            self.lowest = self.lowest.min(value);
            let bin = (ordered_key_from_float(value) >> BIN_SHIFT) as usize;
            let page = self.pages[bin / PAGE_BINS].get_or_insert_with(|| vec![(f64::NEG_INFINITY, 0); PAGE_BINS].into());
            let (highest, pixels) = &mut page[bin % PAGE_BINS];
            *highest = highest.max(value);
            *pixels += 1;
        }
    }

    pub fn and(mut self, other: ValueTally) -> ValueTally {
        self.lowest = self.lowest.min(other.lowest);
        for (page, other) in self.pages.iter_mut().zip(other.pages) {
            match (page.as_mut(), other) {
                (Some(bins), Some(more)) => {
                    for ((highest, pixels), (other, count)) in bins.iter_mut().zip(more) {
                        *highest = highest.max(other);
                        *pixels += count;
                    }
                }
                (None, more) => *page = more,
                (Some(_), None) => {}
            }
        }
        self
    }

    pub fn finish(self) -> ValueDistribution {
        let bins = self.pages.into_iter().flatten().flatten().filter(|&(_, pixels)| pixels > 0);
        // A sum with zero takes the sign off a zero.
        let pixels_by_value: Vec<(f64, u64)> = bins.map(|(highest, pixels)| (highest + 0.0, pixels)).collect();
        let lowest = if pixels_by_value.is_empty() { 0.0 } else { self.lowest + 0.0 };
        ValueDistribution { lowest, pixels_by_value }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn sums_are_rounded_at_the_end_and_nulls_are_nothing() {
        // 0.1 and 0.2, as 1 and 2 tenths: base 1, so that their keys are 1 and 2.
        let tenths = Numbers::Scaled { base: 1, step: 1, decimals: 1 };
        let both = Partial::Whole { count: 1, sum: 0 }.and(Partial::Whole { count: 1, sum: 1 }, Measure::Sum);
        assert_eq!(tenths.value(both, Measure::Sum), 0.3, "and not 0.30000000000000004");
        assert_eq!(tenths.value(both, Measure::Mean), 0.15);
        assert_eq!(tenths.value(Partial::Key(2), Measure::Max), 0.2);
        let in_dictionary = Numbers::of_floats(&[-1.25, 0.1, 0.2]);
        assert_eq!(in_dictionary.value(Partial::Whole { count: 3, sum: -95 }, Measure::Sum), -0.95);
        assert_eq!(in_dictionary.value(Partial::Key(1), Measure::Min), -1.25);
        assert!(matches!(Numbers::of_floats(&[0.5, std::f64::consts::PI]), Numbers::Floats(_)));
        assert!(tenths.value(Partial::Empty.and(Partial::Empty, Measure::Sum), Measure::Sum).is_nan());
        assert_eq!(Partial::Empty.and(both, Measure::Sum), both);
        assert_eq!(Partial::Key(3).and(Partial::Key(9), Measure::Min), Partial::Key(3));
        assert_eq!(Partial::Key(3).and(Partial::Key(9), Measure::Max), Partial::Key(9));
        let large = Numbers::Scaled { base: i64::MAX - 1, step: 1, decimals: 0 };
        assert_eq!(large.value(Partial::Whole { count: 4, sum: 4 }, Measure::Mean), i64::MAX as f64);
    }

    proptest! {
        #[test]
        fn a_distribution_counts_every_pixel_and_does_not_depend_on_order(
            a in proptest::collection::vec(prop_oneof![-3.0f64..3.0, proptest::num::f64::ANY, Just(-0.0)], 0..80),
            b in proptest::collection::vec(-3.0f64..3.0, 0..80),
        ) {
            let of = |values: &[f64]| {
                let mut tally = ValueTally::default();
                values.iter().for_each(|&value| tally.add(value));
                tally
            };
            let whole = of(&[a.clone(), b.clone()].concat()).finish();
            prop_assert_eq!(&of(&a).and(of(&b)).finish(), &whole);
            prop_assert_eq!(&of(&b).and(of(&a)).finish(), &whole);
            prop_assert!(whole.pixels_by_value.windows(2).all(|pair| pair[0].0 < pair[1].0));
            let finite: Vec<f64> = a.iter().chain(&b).copied().filter(|value| value.is_finite()).collect();
            let mut up_to = 0;
            for &(value, pixels) in &whole.pixels_by_value {
                up_to += pixels;
                prop_assert_eq!(finite.iter().filter(|&&other| other <= value).count() as u64, up_to);
            }
            prop_assert_eq!(whole.pixels(), finite.len() as u64);
        }
    }
}
