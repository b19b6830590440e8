//! A filter with its columns found and its values checked against their types: what can be asked of a row, with SQL's three
//! values. Datasets turn it into ranges of keys ([`super::bind`]); an ingest asks it row by row.

use super::ast::{Case, Comparison, Expr, LikePiece, Literal, Name};
use super::error::FilterError;
use super::like::{folded, matches};
use super::region::Region;
use crate::dataset::{ColumnKind, Dataset, Value};
use crate::world::WorldPoint;
use std::cmp::Ordering;
use std::collections::HashSet;

/// The columns that a filter may name.
#[derive(Clone, Debug, Default)]
pub struct Schema {
    pub columns: Vec<(String, ColumnKind)>,
    /// Names of the coordinate columns, for a helpful error.
    pub coordinates: Vec<String>,
}

/// Names with a similarity (Jaro-Winkler, 0 to 1) under this are no misspellings of each other.
const NEAREST_MIN: f64 = 0.7;

impl Schema {
    pub fn of_dataset(dataset: &Dataset) -> Schema {
        let coordinates = &dataset.manifest.coordinates;
        Schema {
            columns: dataset.columns().iter().map(|column| (column.name.clone(), column.kind)).collect(),
            coordinates: vec![coordinates.x.clone(), coordinates.y.clone()],
        }
    }

    fn find(&self, name: &Name) -> Result<usize, FilterError> {
        if let Some(place) = self.columns.iter().position(|(known, _)| *known == name.text) {
            return Ok(place);
        }
        if self.coordinates.contains(&name.text) {
            return Err(FilterError::CoordinateColumn { name: name.text.clone(), at: name.at });
        }
        Err(FilterError::UnknownColumn {
            name: name.text.clone(),
            nearest: nearest(&name.text, self.columns.iter().map(|(known, _)| known.as_str())),
            known: self.columns.iter().map(|(known, _)| known.clone()).collect(),
            at: name.at,
        })
    }
}

/// Names from this length on are misspelt by one slip: a letter too many, too few, another, or two in the wrong order.
const SLIP_CHARS_MIN: usize = 3;

/// The known name that `name` may be a misspelling of.
pub fn nearest<'a>(name: &str, known: impl Iterator<Item = &'a str>) -> Option<String> {
    let name = name.to_lowercase();
    let similarity = |known: &str| {
        let known = known.to_lowercase();
        let is_slip = known.chars().count() >= SLIP_CHARS_MIN && strsim::osa_distance(&name, &known) <= 1;
        // The similarity of short names knows nothing of letters in the wrong order.
        if is_slip { 1.0 } else { strsim::jaro_winkler(&name, &known) }
    };
    known
        .map(|known| (similarity(known), known))
        .filter(|(similarity, _)| *similarity >= NEAREST_MIN)
        .max_by(|(a, _), (b, _)| a.total_cmp(b))
        .map(|(_, known)| known.to_owned())
}

/// One value of a row, borrowed.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum ValueRef<'a> {
    Null,
    Boolean(bool),
    Integer(i64),
    Float(f64),
    Text(&'a str),
    /// Microseconds since the epoch.
    Timestamp(i64),
}

impl<'a> From<&'a Value> for ValueRef<'a> {
    fn from(value: &'a Value) -> ValueRef<'a> {
        match value {
            Value::Null => ValueRef::Null,
            Value::Boolean(value) => ValueRef::Boolean(*value),
            Value::Integer(value) => ValueRef::Integer(*value),
            Value::Float(value) => ValueRef::Float(*value),
            Value::Text(value) => ValueRef::Text(value),
            Value::Timestamp { us } => ValueRef::Timestamp(*us),
        }
    }
}

/// A filter whose columns are places in a [`Schema`].
#[derive(Clone, Debug)]
pub struct RowFilter {
    pub(super) test: Test,
}

#[derive(Clone, Debug)]
pub(super) enum Test {
    And(Vec<Test>),
    Or(Vec<Test>),
    Not(Box<Test>),
    Constant(bool),
    Column { column: usize, test: ColumnTest },
    Inside(Region),
}

/// What is asked of one value. Null answers "unknown", but to [`ColumnTest::IsNull`].
#[derive(Clone, Debug)]
pub(super) enum ColumnTest {
    IsNull,
    /// A comparison with null.
    Unknown,
    Compare(Comparison, Literal),
    /// `or_null`: the list has a null, so what is not in it may yet be.
    In { values: Vec<Literal>, or_null: bool },
    /// Values [`folded`].
    InAnyCase(HashSet<String>),
    Like { pieces: Vec<LikePiece>, case: Case },
}

impl RowFilter {
    /// # Errors
    /// An unknown column, or a value that is not of its column's type.
    pub fn new(expr: &Expr, schema: &Schema) -> Result<RowFilter, FilterError> {
        Ok(RowFilter { test: resolve(expr, schema)? })
    }

    /// The columns that the filter reads, as places in the schema, each once.
    pub fn columns(&self) -> Vec<usize> {
        fn collect(test: &Test, columns: &mut Vec<usize>) {
            match test {
                Test::And(terms) | Test::Or(terms) => terms.iter().for_each(|term| collect(term, columns)),
                Test::Not(inner) => collect(inner, columns),
                Test::Column { column, .. } => columns.push(*column),
                Test::Constant(_) | Test::Inside(_) => {}
            }
        }
        let mut columns = Vec::new();
        collect(&self.test, &mut columns);
        columns.sort_unstable();
        columns.dedup();
        columns
    }

    /// Whether a row passes: neither false nor unknown. `value` gives the row's value of a column, by its place in the
    /// schema; `None` as the point (a row without a place on the map) is in no region and outside of none.
    pub fn passes<'v>(&self, value: &dyn Fn(usize) -> ValueRef<'v>, point: Option<WorldPoint>) -> bool {
        evaluate(&self.test, value, point) == Some(true)
    }
}

fn evaluate<'v>(test: &Test, value: &dyn Fn(usize) -> ValueRef<'v>, point: Option<WorldPoint>) -> Option<bool> {
    // A decided term decides; else an unknown one leaves all unknown.
    let folded = |terms: &[Test], deciding: bool| {
        let mut all = Some(!deciding);
        for term in terms {
            match evaluate(term, value, point) {
                Some(answer) if answer == deciding => return Some(deciding),
                Some(_) => {}
                None => all = None,
            }
        }
        all
    };
    match test {
        Test::And(terms) => folded(terms, false),
        Test::Or(terms) => folded(terms, true),
        Test::Not(inner) => evaluate(inner, value, point).map(|answer| !answer),
        Test::Constant(answer) => Some(*answer),
        Test::Column { column, test } => test.evaluate(value(*column)),
        Test::Inside(region) => point.map(|point| region.contains(point)),
    }
}

impl ColumnTest {
    pub(super) fn evaluate(&self, value: ValueRef<'_>) -> Option<bool> {
        match self {
            ColumnTest::IsNull => Some(value == ValueRef::Null),
            ColumnTest::Unknown => None,
            ColumnTest::Compare(comparison, literal) => compare(value, literal).map(|ordering| match comparison {
                Comparison::Less => ordering.is_lt(),
                Comparison::LessOrEqual => ordering.is_le(),
                Comparison::Greater => ordering.is_gt(),
                Comparison::GreaterOrEqual => ordering.is_ge(),
            }),
            ColumnTest::In { .. } if value == ValueRef::Null => None,
            ColumnTest::In { values, or_null } => {
                let is_in = values.iter().any(|literal| compare(value, literal) == Some(Ordering::Equal));
                if !is_in && *or_null { None } else { Some(is_in) }
            }
            ColumnTest::InAnyCase(values) => match value {
                ValueRef::Text(text) => Some(values.contains(folded(text).as_str())),
                _ => None,
            },
            ColumnTest::Like { pieces, case } => match (value, case) {
                (ValueRef::Text(text), Case::Matters) => Some(matches(pieces, text)),
                (ValueRef::Text(text), Case::Ignored) => Some(matches(pieces, &folded(text))),
                _ => None,
            },
        }
    }
}

/// How a value lies to a literal of its type; `None` for null and NaN.
pub fn compare(value: ValueRef<'_>, literal: &Literal) -> Option<Ordering> {
    match (value, literal) {
        (ValueRef::Boolean(value), Literal::Boolean(literal)) => Some(value.cmp(literal)),
        (ValueRef::Integer(value), Literal::Number(literal)) => Some(literal.cmp_integer(value)),
        (ValueRef::Float(value), Literal::Number(literal)) => literal.cmp_float(value),
        (ValueRef::Text(value), Literal::Text(literal)) => Some(value.as_bytes().cmp(literal.as_bytes())),
        (ValueRef::Timestamp(us), Literal::Time { ns }) => Some((i128::from(us) * 1000).cmp(ns)),
        _ => None,
    }
}

fn resolve(expr: &Expr, schema: &Schema) -> Result<Test, FilterError> {
    let many = |terms: &[Expr]| terms.iter().map(|term| resolve(term, schema)).collect::<Result<Vec<_>, _>>();
    let (name, test) = match expr {
        Expr::And(terms) => return Ok(Test::And(many(terms)?)),
        Expr::Or(terms) => return Ok(Test::Or(many(terms)?)),
        Expr::Not(inner) => return Ok(Test::Not(Box::new(resolve(inner, schema)?))),
        Expr::Constant(answer) => return Ok(Test::Constant(*answer)),
        Expr::Intersects(shape) => return Ok(Test::Inside(shape.region())),
        Expr::IsNull(name) => (name, ColumnTest::IsNull),
        Expr::Compare { column, value: Literal::Null, .. } => (column, ColumnTest::Unknown),
        Expr::Compare { column, comparison, value } => (column, ColumnTest::Compare(*comparison, value.clone())),
        Expr::In { column, values } => {
            let (nulls, values): (Vec<Literal>, Vec<Literal>) = values.iter().cloned().partition(|v| *v == Literal::Null);
            (column, ColumnTest::In { values, or_null: !nulls.is_empty() })
        }
        Expr::InAnyCase { column, values } => (column, ColumnTest::InAnyCase(values.iter().map(|v| folded(v)).collect())),
        Expr::Like { column, pattern, case } => {
            (column, ColumnTest::Like { pieces: pattern.prepared(*case), case: *case })
        }
    };
    let column = schema.find(name)?;
    check(name, schema.columns[column].1, &test)?;
    Ok(Test::Column { column, test })
}

/// Whether the literals are of the column's type.
fn check(name: &Name, kind: ColumnKind, test: &ColumnTest) -> Result<(), FilterError> {
    let wrong = |found: String| {
        let (kind, example) = match kind {
            ColumnKind::Integer => ("an integer", "42"),
            ColumnKind::Float => ("a number", "2.5"),
            ColumnKind::Boolean => ("a boolean", "TRUE"),
            ColumnKind::Text => ("text", "'text'"),
            ColumnKind::Timestamp => ("a time", "TIMESTAMP('2024-05-31T12:00:00Z')"),
        };
        Err(FilterError::WrongType { name: name.text.clone(), kind, found, example, at: name.at })
    };
    let fits = |literal: &Literal| {
        matches!(
            (kind, literal),
            (ColumnKind::Integer | ColumnKind::Float, Literal::Number(_))
                | (ColumnKind::Boolean, Literal::Boolean(_))
                | (ColumnKind::Text, Literal::Text(_))
                | (ColumnKind::Timestamp, Literal::Time { .. })
        )
    };
    let literals: &[Literal] = match test {
        ColumnTest::IsNull | ColumnTest::Unknown => &[],
        ColumnTest::Compare(_, literal) => std::slice::from_ref(literal),
        ColumnTest::In { values, .. } => values,
        ColumnTest::InAnyCase(_) | ColumnTest::Like { .. } if kind == ColumnKind::Text => &[],
        ColumnTest::InAnyCase(_) => return wrong("CASEI".into()),
        ColumnTest::Like { .. } => return wrong("LIKE".into()),
    };
    match literals.iter().find(|literal| !fits(literal)) {
        None => Ok(()),
        Some(literal) => wrong(match literal {
            Literal::Null => "NULL".into(),
            Literal::Boolean(value) => value.to_string().to_uppercase(),
            Literal::Number(number) => number.text().to_owned(),
            Literal::Text(text) => format!("'{text}'"),
            Literal::Time { .. } => "a time".into(),
        }),
    }
}
