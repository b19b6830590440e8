//! Brushes as clients write them, in JSON, to filter expressions.

use super::CrossfilterError;
use crate::dataset::{ColumnKind, Dataset, Value};
use crate::filter::{Comparison, Expr, Literal, Name, Number, Schema, ValueRef, compare, timestamp_ns};
use serde_json::Value as Json;

/// What a brush asks of its column; `None` where it asks nothing.
///
/// # Errors
/// An unknown column, or a brush that is not of the column's type.
pub(super) fn expr(column: &str, brush: &Json, dataset: &Dataset) -> Result<Option<Expr>, CrossfilterError> {
    let name = Name { text: column.to_owned(), at: 1 };
    let Some(id) = dataset.column_id(column) else {
        // Resolving says which columns there are.
        crate::filter::RowFilter::new(&Expr::IsNull(name), &Schema::of_dataset(dataset))?;
        return Ok(None);
    };
    let described = dataset.column(id);
    let wrong = |wanted| CrossfilterError::Brush { column: column.to_owned(), found: brush.to_string(), wanted };
    let Json::Array(items) = brush else { return Err(wrong("give a list")) };
    if matches!(described.kind, ColumnKind::Text | ColumnKind::Boolean) {
        return values(name, items, described.kind).map_err(|()| wrong("give a list of its values, null among them for none"));
    }
    let wanted = match described.kind {
        ColumnKind::Timestamp => "give [from, to], times in ISO 8601 or null for open ends",
        _ => "give [from, to], numbers or null for open ends",
    };
    let [low, high] = &items[..] else { return Err(wrong(wanted)) };
    let low = literal(low, described.kind).ok_or_else(|| wrong(wanted))?;
    let high = literal(high, described.kind).ok_or_else(|| wrong(wanted))?;
    let mut terms = Vec::new();
    if low != Literal::Null {
        terms.push(Expr::Compare { column: name.clone(), comparison: Comparison::GreaterOrEqual, value: low });
    }
    if high != Literal::Null {
        // The end of the last bin belongs to it.
        let takes_all = match &described.max {
            Value::Null => false,
            max => compare(ValueRef::from(max), &high).is_some_and(|ordering| ordering.is_le()),
        };
        let comparison = if takes_all { Comparison::LessOrEqual } else { Comparison::Less };
        terms.push(Expr::Compare { column: name, comparison, value: high });
    }
    Ok(match terms.len() {
        0 => None,
        1 => terms.pop(),
        _ => Some(Expr::And(terms)),
    })
}

fn values(name: Name, items: &[Json], kind: ColumnKind) -> Result<Option<Expr>, ()> {
    if items.is_empty() {
        return Ok(None);
    }
    let mut with_null = false;
    let mut values = Vec::new();
    for item in items {
        match literal(item, kind).ok_or(())? {
            Literal::Null => with_null = true,
            value => values.push(value),
        }
    }
    let is_null = with_null.then(|| Expr::IsNull(name.clone()));
    let is_one = (!values.is_empty()).then_some(Expr::In { column: name, values });
    Ok(match (is_one, is_null) {
        (Some(is_one), Some(is_null)) => Some(Expr::Or(vec![is_one, is_null])),
        (one, null) => one.or(null),
    })
}

fn literal(item: &Json, kind: ColumnKind) -> Option<Literal> {
    match (item, kind) {
        (Json::Null, _) => Some(Literal::Null),
        (Json::Bool(value), ColumnKind::Boolean) => Some(Literal::Boolean(*value)),
        (Json::String(text), ColumnKind::Text) => Some(Literal::Text(text.clone())),
        (Json::String(text), ColumnKind::Timestamp) => timestamp_ns(text).map(|ns| Literal::Time { ns }),
        (Json::Number(number), ColumnKind::Integer | ColumnKind::Float) => {
            let text = number.to_string();
            let digits = text.trim_start_matches('-');
            Number::parse(digits, digits.len() < text.len()).map(Literal::Number)
        }
        _ => None,
    }
}
