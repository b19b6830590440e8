//! Rows of one piece of an input, projected and typed: what the reading threads hand to the store.

use super::plan::{Crs, Plan};
use super::rejects::{Reason, Reject};
use super::texts::Texts;
use super::value::{self, NULL_INTEGER, wider};
use super::values::Values;
use crate::dataset::ColumnKind;
use crate::filter::{RowFilter, ValueRef};
use crate::world::{Key, Rejection, world_from_lonlat, world_from_web_mercator};
use std::borrow::Cow;
use std::collections::BTreeMap;

/// Typed rows with their keys. Every column is as long as `keys`.
pub struct Batch {
    pub keys: Vec<u64>,
    pub columns: Vec<BatchColumn>,
    pub rejects: Vec<Reject>,
    /// Per column, the kind of the values that did not fit its planned kind.
    pub contradictions: Vec<Option<ColumnKind>>,
    /// Fields whose names the plan does not know, and the kinds of their values.
    pub unplanned: BTreeMap<String, Option<ColumnKind>>,
    /// Rows for which `--where` does not hold.
    pub unwanted: u64,
    /// Fields that were not UTF-8 and were read as Latin-1.
    pub latin1_fields: u64,
}

pub struct BatchColumn {
    pub values: Values,
    /// The texts of a text column, numbered within this batch.
    pub texts: Texts,
}

/// Turns fields into a [`Batch`], row by row.
pub struct BatchBuilder<'p> {
    plan: &'p Plan,
    batch: Batch,
}

impl<'p> BatchBuilder<'p> {
    pub fn new(plan: &'p Plan) -> BatchBuilder<'p> {
        let column = |kind| BatchColumn { values: Values::new(kind), texts: Texts::default() };
        let batch = Batch {
            keys: Vec::new(),
            columns: plan.columns.iter().map(|planned| column(planned.read_as)).collect(),
            rejects: Vec::new(),
            contradictions: vec![None; plan.columns.len()],
            unplanned: BTreeMap::new(),
            unwanted: 0,
            latin1_fields: 0,
        };
        BatchBuilder { plan, batch }
    }

    /// Adds a row whose field for the column at `place` is `field(place)`; a missing one is null. `raw` is asked for if the
    /// row is rejected.
    pub fn push<'a>(&mut self, row: u64, field: impl Fn(usize) -> Option<&'a [u8]>, raw: impl FnOnce() -> Vec<u8>) {
        let (x, y) = (coordinate(field(self.plan.x)), coordinate(field(self.plan.y)));
        let placed = x.and_then(|x| y.and_then(|y| Ok((x, y, key(self.plan.crs, x, y)?))));
        let (x, y, key) = match placed {
            Ok(placed) => placed,
            Err(reason) => return self.batch.rejects.push(Reject { row, reason, raw: raw() }),
        };
        self.batch.keys.push(key);
        let places = self.plan.columns.iter().zip(&mut self.batch.columns).enumerate();
        for (place, (planned, column)) in places {
            if planned.groups.is_some() {
                continue;
            }
            if let Values::Float(values) = &mut column.values
                && (place == self.plan.x || place == self.plan.y)
            {
                values.push(if place == self.plan.x { x } else { y });
                continue;
            }
            let field = field(place).unwrap_or_default();
            if value::is_null(field) {
                column.push_null();
                continue;
            }
            let fits = match &mut column.values {
                Values::Integer(values) => parse_integer(planned.read_as, field).map(|value| values.push(value)),
                Values::Float(values) => value::float(field).map(|value| values.push(value)),
                Values::Text(values) => {
                    let (text, latin1) = utf8(field);
                    self.batch.latin1_fields += u64::from(latin1);
                    values.push(column.texts.intern(&text, 1));
                    Some(())
                }
            };
            if fits.is_none() {
                column.push_null();
                let contradiction = &mut self.batch.contradictions[place];
                *contradiction = wider(*contradiction, value::contradiction(planned.read_as, field));
            }
        }
    }

    pub fn reject(&mut self, row: u64, reason: Reason, raw: Vec<u8>) {
        self.batch.rejects.push(Reject { row, reason, raw });
    }

    /// A field of a name that the plan does not know.
    pub fn unplanned(&mut self, name: String, kind: Option<ColumnKind>) {
        let known = self.batch.unplanned.entry(name).or_insert(None);
        *known = wider(*known, kind);
    }

    pub fn finish(self) -> Batch {
        let mut batch = self.batch;
        batch.complete(self.plan);
        batch
    }
}

impl BatchColumn {
    fn value(&self, kind: ColumnKind, row: usize) -> ValueRef<'_> {
        match &self.values {
            Values::Integer(values) if values[row] == NULL_INTEGER => ValueRef::Null,
            Values::Integer(values) => match kind {
                ColumnKind::Boolean => ValueRef::Boolean(values[row] != 0),
                ColumnKind::Timestamp => ValueRef::Timestamp(values[row]),
                _ => ValueRef::Integer(values[row]),
            },
            Values::Float(values) if values[row].is_nan() => ValueRef::Null,
            Values::Float(values) => ValueRef::Float(values[row]),
            Values::Text(numbers) if numbers[row] == 0 => ValueRef::Null,
            Values::Text(numbers) => {
                ValueRef::Text(std::str::from_utf8(self.texts.get(numbers[row])).expect("texts are interned as UTF-8"))
            }
        }
    }

    /// A text column of only these numbers.
    fn counted(&self, numbers: &[u32]) -> BatchColumn {
        let mut texts = Texts::default();
        let renumber = |&number: &u32| {
            if number == 0 {
                texts.intern_null(1);
                0
            } else {
                texts.intern(self.texts.get(number), 1)
            }
        };
        BatchColumn { values: Values::Text(numbers.iter().map(renumber).collect()), texts }
    }

    fn push_null(&mut self) {
        self.values.push_null();
        if let Values::Text(_) = self.values {
            self.texts.intern_null(1);
        }
    }
}

impl Batch {
    /// What is left to do when all rows are in: what presets know, and `--where`.
    pub fn complete(&mut self, plan: &Plan) {
        self.apply_presets(plan);
        if let Some(filter) = &plan.filter {
            self.keep_wanted(plan, filter);
        }
    }

    fn keep_wanted(&mut self, plan: &Plan, filter: &RowFilter) {
        let wanted = |row: usize| {
            let value = |place: usize| self.columns[place].value(plan.columns[place].kind(), row);
            filter.passes(&value, Some(Key(self.keys[row]).world()))
        };
        let kept: Vec<usize> = (0..self.keys.len()).filter(|&row| wanted(row)).collect();
        if kept.len() == self.keys.len() {
            return;
        }
        self.unwanted = (self.keys.len() - kept.len()) as u64;
        self.keys = kept.iter().map(|&row| self.keys[row]).collect();
        for column in &mut self.columns {
            let values = column.values.gather(kept.iter().copied());
            *column = match values {
                // Texts count their rows, so they are counted anew.
                Values::Text(numbers) => column.counted(&numbers),
                values => BatchColumn { values, texts: Texts::default() },
            };
        }
    }

    /// Sentinels become nulls, Unix seconds microseconds, codes groups.
    fn apply_presets(&mut self, plan: &Plan) {
        for (place, planned) in plan.columns.iter().enumerate() {
            if let Some(null_if) = planned.null_if {
                match &mut self.columns[place].values {
                    Values::Integer(values) => {
                        values.iter_mut().filter(|v| null_if.is_null(**v as f64)).for_each(|v| *v = NULL_INTEGER);
                    }
                    Values::Float(values) => values.iter_mut().filter(|v| null_if.is_null(**v)).for_each(|v| *v = f64::NAN),
                    Values::Text(_) => {}
                }
            }
            if planned.unix_seconds {
                self.columns[place].values = microseconds(&self.columns[place].values);
            }
        }
        for (place, planned) in plan.columns.iter().enumerate() {
            let Some((from, groups)) = planned.groups else { continue };
            let mut texts = Texts::default();
            let mut grouped = |code: Option<f64>| texts.intern(groups.group(code).as_bytes(), 1);
            let numbers = match &self.columns[from].values {
                Values::Integer(codes) => codes.iter().map(|&c| grouped((c != NULL_INTEGER).then_some(c as f64))).collect(),
                Values::Float(codes) => codes.iter().map(|&c| grouped((!c.is_nan()).then_some(c))).collect(),
                Values::Text(codes) => codes.iter().map(|_| grouped(None)).collect(),
            };
            self.columns[place] = BatchColumn { values: Values::Text(numbers), texts };
        }
    }
}

fn microseconds(seconds: &Values) -> Values {
    match seconds {
        // Seconds that leave the range are no times anybody means; they saturate and stay visible as extremes.
        Values::Integer(values) => Values::Integer(
            values.iter().map(|&v| if v == NULL_INTEGER { v } else { v.saturating_mul(1_000_000).max(NULL_INTEGER + 1) }).collect(),
        ),
        Values::Float(values) => Values::Integer(
            values.iter().map(|&v| if v.is_nan() { NULL_INTEGER } else { ((v * 1e6).round() as i64).max(NULL_INTEGER + 1) }).collect(),
        ),
        Values::Text(numbers) => Values::Text(numbers.clone()),
    }
}

fn parse_integer(kind: ColumnKind, field: &[u8]) -> Option<i64> {
    match kind {
        ColumnKind::Boolean => value::boolean(field).map(i64::from),
        ColumnKind::Timestamp => value::timestamp(field),
        _ => value::integer(field),
    }
}

/// A field as UTF-8. What is not UTF-8 is taken for Latin-1, in which every byte is a character.
fn utf8(field: &[u8]) -> (Cow<'_, [u8]>, bool) {
    if field.is_ascii() || std::str::from_utf8(field).is_ok() {
        (Cow::Borrowed(field), false)
    } else {
        (Cow::Owned(field.iter().map(|&byte| char::from(byte)).collect::<String>().into_bytes()), true)
    }
}

/// A coordinate; unlike other numbers it may have leading zeros and blanks around it.
fn coordinate(field: Option<&[u8]>) -> Result<f64, Reason> {
    let field = field.unwrap_or_default();
    if value::is_null(field) {
        return Err(Reason::Place(Rejection::NullCoordinate));
    }
    let parsed = value::float(field)
        .or_else(|| std::str::from_utf8(field).ok().and_then(|text| text.trim().parse().ok()));
    parsed.ok_or(Reason::NotANumber)
}

/// The key of a point.
///
/// # Errors
/// Why it has no place in the world.
pub fn key(crs: Crs, x: f64, y: f64) -> Result<u64, Reason> {
    let point = match crs {
        Crs::LonLat => world_from_lonlat(x, y),
        Crs::WebMercator => world_from_web_mercator(x, y),
    };
    point.map(|point| Key::from_world(point).0).map_err(Reason::Place)
}
