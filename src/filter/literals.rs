//! Literals: numbers, texts, booleans and times as sqlparser's tree has them.

use super::ast::Literal;
use super::convert::{Converter, any_case, arguments};
use super::error::FilterError;
use super::number::Number;
use super::tokens::arithmetic;
use sqlparser::ast::{self as sql, BinaryOperator, Spanned, UnaryOperator};
use std::str::FromStr;

impl Converter<'_> {
    pub(super) fn is_literal(&self, expr: &sql::Expr) -> bool {
        match expr {
            sql::Expr::Value(_) => true,
            sql::Expr::UnaryOp { op: UnaryOperator::Minus | UnaryOperator::Plus, .. } => true,
            sql::Expr::Nested(inner) => self.is_literal(inner),
            sql::Expr::Function(function) => match any_case(expr) {
                Some(of) => self.is_literal(of),
                None => arguments(function).is_some_and(|of| of.iter().all(|&of| self.is_literal(of))),
            },
            _ => false,
        }
    }

    pub(super) fn literal(&self, expr: &sql::Expr) -> Result<Literal, FilterError> {
        match expr {
            sql::Expr::Nested(inner) => self.literal(inner),
            sql::Expr::Value(value) => self.plain_literal(value, false),
            sql::Expr::UnaryOp { op: UnaryOperator::Minus, expr: of } => match &**of {
                sql::Expr::Value(value @ sql::ValueWithSpan { value: sql::Value::Number(..), .. }) => {
                    self.plain_literal(value, true)
                }
                _ => Err(arithmetic(self.at(of))),
            },
            sql::Expr::UnaryOp { op: UnaryOperator::Plus, expr } => self.literal(expr),
            sql::Expr::Function(function) => self.time(function),
            sql::Expr::Identifier(name) => Err(FilterError::Unsupported {
                what: format!("comparison with a second column ('{}')", name.value),
                instead: "compare with a value; text goes in single quotes",
                at: self.character(name.span),
            }),
            sql::Expr::BinaryOp { op: BinaryOperator::Plus | BinaryOperator::Minus, .. } => Err(arithmetic(self.at(expr))),
            other => Err(FilterError::syntax("expected a value", self.at(other))),
        }
    }

    fn plain_literal(&self, value: &sql::ValueWithSpan, negative: bool) -> Result<Literal, FilterError> {
        let at = self.character(value.span);
        match &value.value {
            sql::Value::Null => Ok(Literal::Null),
            sql::Value::Boolean(value) => Ok(Literal::Boolean(*value)),
            sql::Value::SingleQuotedString(text) => Ok(Literal::Text(text.clone())),
            sql::Value::Number(text, _) => Number::parse(text, negative)
                .map(Literal::Number)
                .ok_or_else(|| FilterError::syntax(format!("'{text}' is not a number within the range of a double"), at)),
            other => Err(FilterError::syntax(format!("{other} is not a value"), at)),
        }
    }

    fn time(&self, function: &sql::Function) -> Result<Literal, FilterError> {
        let at = self.character(function.name.span());
        let name = function.name.to_string().to_ascii_uppercase();
        if name != "TIMESTAMP" && name != "DATE" {
            let what = format!("function '{}' here", function.name);
            return Err(FilterError::Unsupported { what, instead: "values are numbers, 'text', TRUE, FALSE, TIMESTAMP('..') and DATE('..')", at });
        }
        let [of] = arguments(function).unwrap_or_default()[..] else {
            return Err(FilterError::syntax(format!("{name} takes one text"), at));
        };
        let text = self.text(of)?;
        let ns = if name == "DATE" { date_ns(&text) } else { timestamp_ns(&text) };
        let example = if name == "DATE" { "DATE('2024-05-31')" } else { "TIMESTAMP('2024-05-31T12:00:00Z')" };
        ns.map(|ns| Literal::Time { ns })
            .ok_or_else(|| FilterError::syntax(format!("'{text}' is not a time: write one such as {example}"), self.at(of)))
    }

    pub(super) fn any_case_text(&self, expr: &sql::Expr) -> Result<String, FilterError> {
        match any_case(expr) {
            Some(of) => self.text(of),
            None => Err(FilterError::syntax("both sides need CASEI: write CASEI('text')", self.at(expr))),
        }
    }

    pub(super) fn text(&self, expr: &sql::Expr) -> Result<String, FilterError> {
        match self.literal(expr)? {
            Literal::Text(text) => Ok(text),
            _ => Err(FilterError::syntax("expected text in single quotes", self.at(expr))),
        }
    }
}

/// Nanoseconds since the epoch of a text such as `2024-05-31T12:00:00Z`; without an offset, in UTC.
pub fn timestamp_ns(text: &str) -> Option<i128> {
    let text = text.trim();
    if let Ok(instant) = jiff::Timestamp::from_str(text) {
        return Some(instant.as_nanosecond());
    }
    // Instants of jiff's end a day before the calendar, whose last one is what many write for "never".
    let civil = jiff::civil::DateTime::from_str(text.strip_suffix(['Z', 'z']).unwrap_or(text)).ok()?;
    Some(civil.duration_since(EPOCH).as_nanos())
}

/// The text of such a time, as [`timestamp_ns`] reads it.
pub fn timestamp_text(ns: i128) -> String {
    let time = EPOCH.checked_add(jiff::SignedDuration::from_nanos_i128(ns)).expect("the literal was read as such a time");
    format!("{time}Z")
}

const EPOCH: jiff::civil::DateTime = jiff::civil::date(1970, 1, 1).at(0, 0, 0, 0);

fn date_ns(text: &str) -> Option<i128> {
    let text = text.trim();
    let is_date_only = !text.contains(['T', 't', ' ', ':']);
    if is_date_only { jiff::civil::Date::from_str(text).ok().and_then(|_| timestamp_ns(text)) } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_to_the_end_of_the_calendar() {
        let day_ns = 86_400_000_000_000;
        let last_day = timestamp_ns("9999-12-31").unwrap();
        assert_eq!(last_day, timestamp_ns("9999-12-30T00:00:00Z").unwrap() + day_ns);
        assert_eq!(date_ns("9999-12-31"), Some(last_day));
        for text in ["9999-12-31T23:59:59.999999999Z", "9999-12-31T00:00:00Z", "2024-05-31T12:00:00.25Z", "-000044-03-15T00:00:00Z"] {
            assert_eq!(timestamp_ns(text).map(timestamp_text).as_deref(), Some(text));
        }
        assert_eq!(timestamp_ns("10000-01-01"), None);
    }
}
