//! A resolved filter to ranges of a dataset's keys.
//!
//! Keys are in the order of their values, so the keys that compare in some way with a value are found by bisection over the
//! values themselves: exact for every encoding, also for values that no key stands for. Negation is resolved on the way
//! down: what is asked is where a term is true, or where it is false, and null is in neither.

use super::ast::{Comparison, Literal};
use super::error::{FILTER_TEXTS_MAX, FilterError};
use super::ranges::{self, Ranges};
use super::resolve::{ColumnTest, Test, ValueRef, compare};
use super::{Predicate, Region};
use crate::dataset::{Column, ColumnId, Dataset, Dictionary};
use rayon::prelude::*;
use std::cmp::Ordering;
use std::sync::Arc;

/// Where the test is `wanted`.
pub(super) fn bind(test: &Test, dataset: &Dataset, wanted: bool) -> Predicate {
    let many = |terms: &[Test]| terms.iter().map(|term| bind(term, dataset, wanted)).collect::<Vec<_>>();
    match (test, wanted) {
        (Test::Not(inner), _) => bind(inner, dataset, !wanted),
        (Test::And(terms), true) | (Test::Or(terms), false) => all(many(terms), dataset),
        (Test::Or(terms), true) | (Test::And(terms), false) => any(many(terms), dataset),
        (Test::Constant(answer), _) => if *answer == wanted { Predicate::All } else { Predicate::Nothing },
        (Test::Inside(region), true) => Predicate::Inside(region.clone()),
        (Test::Inside(region), false) => Predicate::Outside(region.clone()),
        (Test::Column { column, test }, _) => {
            let column = ColumnId(*column);
            keys(column, Keys::of(dataset, column).satisfying(test, wanted), dataset)
        }
    }
}

/// Whether the texts that a test compares are few enough; `texts` gives the distinct values of a column.
///
/// # Errors
/// Several comparisons, and [`FILTER_TEXTS_MAX`] texts are not enough for them.
pub(super) fn check_texts(test: &Test, texts: &dyn Fn(usize) -> u64) -> Result<(), FilterError> {
    fn count(test: &Test, texts: &dyn Fn(usize) -> u64) -> (u64, u64) {
        match test {
            Test::And(terms) | Test::Or(terms) => {
                terms.iter().map(|term| count(term, texts)).fold((0, 0), |sum, of| (sum.0 + of.0, sum.1.saturating_add(of.1)))
            }
            Test::Not(inner) => count(inner, texts),
            Test::Column { column, test: ColumnTest::InAnyCase(_) | ColumnTest::Like { .. } } => (1, texts(*column)),
            Test::Column { .. } | Test::Constant(_) | Test::Inside(_) => (0, 0),
        }
    }
    let (terms, texts) = count(test, texts);
    if terms > 1 && texts > FILTER_TEXTS_MAX { Err(FilterError::TooManyTexts { terms, texts }) } else { Ok(()) }
}

/// The first key of a column whose value is at least `literal`; one more than the last key where none is. Null has none.
pub fn first_key_at_least(dataset: &Dataset, column: ColumnId, literal: &Literal) -> u64 {
    Keys::of(dataset, column).keys_before(literal, Ordering::is_lt).saturating_add(1)
}

/// The simplest predicate for a set of keys.
fn keys(column: ColumnId, mut ranges: Ranges, dataset: &Dataset) -> Predicate {
    let described = dataset.column(column);
    // Key 0 does not occur where nothing is null: then all values are all points.
    if described.nulls == 0 && described.key_max > 0 && ranges == [(1, described.key_max)] {
        return Predicate::All;
    }
    if described.nulls == 0 {
        ranges = ranges::intersection(&ranges, &vec![(1, described.key_max)]);
    }
    match &ranges[..] {
        [] => Predicate::Nothing,
        [(0, last)] if *last == described.key_max => Predicate::All,
        _ => Predicate::Keys { column, ranges },
    }
}

fn all(terms: Vec<Predicate>, dataset: &Dataset) -> Predicate {
    let mut kept: Vec<Predicate> = Vec::new();
    for term in flattened(terms, |term| match term {
        Predicate::And(inner) => Ok(inner),
        other => Err(other),
    }) {
        match term {
            Predicate::All => {}
            Predicate::Nothing => return Predicate::Nothing,
            Predicate::Keys { column, ranges } => match keys_of(&mut kept, column) {
                Some(known) => *known = ranges::intersection(known, &ranges),
                None => kept.push(Predicate::Keys { column, ranges }),
            },
            other => kept.push(other),
        }
    }
    let kept = simplified(kept, dataset);
    match kept.len() {
        _ if kept.contains(&Predicate::Nothing) => Predicate::Nothing,
        0 => Predicate::All,
        1 => kept.into_iter().next().expect("there is one"),
        _ => Predicate::And(kept),
    }
}

fn any(terms: Vec<Predicate>, dataset: &Dataset) -> Predicate {
    let mut kept: Vec<Predicate> = Vec::new();
    let mut region: Option<Region> = None;
    for term in flattened(terms, |term| match term {
        Predicate::Or(inner) => Ok(inner),
        other => Err(other),
    }) {
        match term {
            Predicate::Nothing => {}
            Predicate::All => return Predicate::All,
            Predicate::Keys { column, ranges } => match keys_of(&mut kept, column) {
                Some(known) => *known = ranges::union(known, &ranges),
                None => kept.push(Predicate::Keys { column, ranges }),
            },
            Predicate::Inside(more) => match &mut region {
                Some(known) => {
                    known.boxes.extend(more.boxes);
                    known.polygons.extend(more.polygons);
                }
                None => region = Some(more),
            },
            other => kept.push(other),
        }
    }
    if let Some(mut region) = region {
        tidy(&mut region.boxes);
        tidy(&mut region.polygons);
        kept.push(Predicate::Inside(region));
    }
    let kept = simplified(kept, dataset);
    match kept.len() {
        _ if kept.contains(&Predicate::All) => Predicate::All,
        0 => Predicate::Nothing,
        1 => kept.into_iter().next().expect("there is one"),
        _ => Predicate::Or(kept),
    }
}

fn flattened(
    terms: Vec<Predicate>,
    inner: fn(Predicate) -> Result<Vec<Predicate>, Predicate>,
) -> impl Iterator<Item = Predicate> {
    terms.into_iter().flat_map(move |term| inner(term).unwrap_or_else(|term| vec![term]))
}

/// In an order that does not depend on the text's, so that filters of one canonical text are equal; each once.
fn tidy<T: std::fmt::Debug + PartialEq>(terms: &mut Vec<T>) {
    terms.sort_by_cached_key(|term| format!("{term:?}"));
    terms.dedup();
}

/// Merged keys may have become everything or nothing.
fn simplified(kept: Vec<Predicate>, dataset: &Dataset) -> Vec<Predicate> {
    let mut kept: Vec<Predicate> = kept
        .into_iter()
        .map(|term| match term {
            Predicate::Keys { column, ranges } => keys(column, ranges, dataset),
            other => other,
        })
        .collect();
    tidy(&mut kept);
    kept
}

fn keys_of(kept: &mut [Predicate], wanted: ColumnId) -> Option<&mut Ranges> {
    kept.iter_mut().find_map(|term| match term {
        Predicate::Keys { column, ranges } if *column == wanted => Some(ranges),
        _ => None,
    })
}

/// A column's keys and their values.
struct Keys<'a> {
    column: &'a Column,
    dictionary: Option<&'a Arc<Dictionary>>,
}

impl<'a> Keys<'a> {
    fn of(dataset: &'a Dataset, id: ColumnId) -> Keys<'a> {
        Keys { column: dataset.column(id), dictionary: dataset.dictionary(id) }
    }

    fn last(&self) -> u64 {
        self.column.key_max
    }

    fn satisfying(&self, test: &ColumnTest, wanted: bool) -> Ranges {
        let values = match test {
            ColumnTest::IsNull => return if wanted { vec![(0, 0)] } else { ranges::set(vec![(1, self.last())]) },
            ColumnTest::Unknown => return Vec::new(),
            ColumnTest::In { or_null: true, .. } if !wanted => return Vec::new(),
            ColumnTest::Compare(comparison, literal) => self.comparing(*comparison, literal),
            ColumnTest::In { values, .. } => ranges::set(values.iter().map(|value| self.equal_to(value)).collect()),
            ColumnTest::InAnyCase(_) | ColumnTest::Like { .. } => self.matching(test),
        };
        if wanted { values } else { ranges::complement(&values, 1, self.last()) }
    }

    fn comparing(&self, comparison: Comparison, literal: &Literal) -> Ranges {
        let range = match comparison {
            Comparison::Less => (1, self.keys_before(literal, Ordering::is_lt)),
            Comparison::LessOrEqual => (1, self.keys_before(literal, Ordering::is_le)),
            Comparison::Greater => (self.keys_before(literal, Ordering::is_le).saturating_add(1), self.last()),
            Comparison::GreaterOrEqual => (self.keys_before(literal, Ordering::is_lt).saturating_add(1), self.last()),
        };
        ranges::set(vec![range])
    }

    fn equal_to(&self, literal: &Literal) -> (u64, u64) {
        let before = self.keys_before(literal, Ordering::is_lt);
        (before.saturating_add(1), self.keys_before(literal, Ordering::is_le))
    }

    /// How many keys, from 1, have values that lie so to the literal: the last of them, or 0.
    fn keys_before(&self, literal: &Literal, lies: fn(Ordering) -> bool) -> u64 {
        let (mut before, mut after) = (0, self.last());
        while before < after {
            // The upper middle, which is never 0; written so that the sum cannot overflow.
            let middle = after - (after - before) / 2;
            // Keys of ordered floats under minus infinity stand for no number: they come before all.
            let ordering = self.with_value(middle, |value| compare(value, literal)).unwrap_or(Ordering::Less);
            if lies(ordering) { before = middle } else { after = middle - 1 }
        }
        before
    }

    /// Keys whose text passes, by asking every text of the dictionary.
    fn matching(&self, test: &ColumnTest) -> Ranges {
        let passes = |&key: &u64| self.with_value(key, |value| test.evaluate(value)) == Some(true);
        let keys: Vec<u64> = (1..=self.last() as usize).into_par_iter().map(|key| key as u64).filter(passes).collect();
        ranges::set(keys.into_iter().map(|key| (key, key)).collect())
    }

    fn with_value<T>(&self, key: u64, ask: impl FnOnce(ValueRef<'_>) -> T) -> T {
        match self.dictionary {
            None => ask(ValueRef::from(&self.column.value_from_key(key))),
            Some(dictionary) => match dictionary.text(key) {
                Some(text) => ask(ValueRef::Text(text)),
                None => ask(ValueRef::from(&dictionary.value(key))),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::parse;
    use super::super::resolve::{RowFilter, Schema};
    use super::*;
    use crate::dataset::ColumnKind;

    #[test]
    fn texts_that_would_take_long_to_compare_are_too_many() {
        let schema = Schema { columns: vec![("name".into(), ColumnKind::Text), ("size".into(), ColumnKind::Integer)], coordinates: Vec::new() };
        let checked = |text: &str, texts: u64| {
            let filter = RowFilter::new(&parse(text).unwrap().unwrap(), &schema).unwrap();
            check_texts(&filter.test, &|column| if column == 0 { texts } else { u64::MAX })
        };
        let two = "name LIKE '%a%' OR NOT (size > 1 AND CASEI(name) IN (CASEI('b'), CASEI('c')))";
        assert_eq!(checked(two, FILTER_TEXTS_MAX / 2), Ok(()));
        assert_eq!(checked(two, FILTER_TEXTS_MAX), Err(FilterError::TooManyTexts { terms: 2, texts: 2 * FILTER_TEXTS_MAX }));
        assert_eq!(checked("name ILIKE '%a%' AND name = 'b'", 100 * FILTER_TEXTS_MAX), Ok(()), "one is always allowed");
    }
}
