//! CQL2 text to [`Expr`].
//!
//! sqlparser does the parsing, for CQL2 text is a subset of a SQL WHERE. Two things are done to its tokens first: words that
//! CQL2 does not reserve lose their meaning as SQL keywords, so that columns may be called `range`, `time` or `case`; and
//! shapes, whose `1 2, 3 4` is no SQL, become text literals. What SQL has and CQL2 has not is refused by name.

use super::ast::{Case, Comparison, Expr, LikePattern, Literal, Name, Shape};
use super::error::{FILTER_BYTES_MAX, FILTER_DEPTH_MAX, FILTER_LIST_MAX, FILTER_TERMS_MAX, FilterError};
use super::like::DEFAULT_ESCAPE;
use super::number::Number;
use sqlparser::ast::{self as sql, BinaryOperator, Spanned, UnaryOperator};
use sqlparser::dialect::Dialect;
use sqlparser::keywords::Keyword;
use sqlparser::parser::{Parser, ParserError};
use sqlparser::tokenizer::{Location, Span, Token, TokenWithSpan, Tokenizer, Whitespace};
use std::str::FromStr;

/// How often sqlparser may call itself: some three times per level of ours.
const PARSER_RECURSION_MAX: usize = 4 * FILTER_DEPTH_MAX;

/// Signs and reserved words in a text: each is a level of sqlparser's tree, which is dropped recursively.
const OPERATORS_MAX: usize = 4 * FILTER_TERMS_MAX;

const RESERVED: [Keyword; 12] = [
    Keyword::AND, Keyword::OR, Keyword::NOT, Keyword::BETWEEN, Keyword::IN, Keyword::LIKE, Keyword::ILIKE, Keyword::ESCAPE,
    Keyword::IS, Keyword::NULL, Keyword::TRUE, Keyword::FALSE,
];

/// Parses a filter. `None` for a text without anything in it, which every point passes.
///
/// # Errors
/// As [`FilterError`] says, with positions; all but those about columns and their types, which no text can show.
pub fn parse(text: &str) -> Result<Option<Expr>, FilterError> {
    if text.len() > FILTER_BYTES_MAX {
        return Err(FilterError::TooLong { bytes: text.len() });
    }
    if text.trim().is_empty() {
        return Ok(None);
    }
    let places = Places::new(text);
    let dialect = Cql2;
    let tokens = Tokenizer::new(&dialect, text)
        .tokenize_with_location()
        .map_err(|error| FilterError::syntax(lower(&error.message), places.character(error.location)))?;
    let tokens = prepared(tokens, &places)?;
    let mut parser =
        Parser::new(&dialect).with_recursion_limit(PARSER_RECURSION_MAX).with_tokens_with_locations(tokens);
    let parsed = parser.parse_expr().map_err(|error| places.syntax(error))?;
    let rest = parser.peek_token();
    if rest.token != Token::EOF {
        return Err(FilterError::syntax(format!("'{}' is not expected", rest.token), places.character(rest.span.start)));
    }
    Converter { places: &places, terms: 0 }.predicate(&parsed, 0).map(Some)
}

#[derive(Debug)]
struct Cql2;

impl Dialect for Cql2 {
    fn is_delimited_identifier_start(&self, ch: char) -> bool {
        ch == '"'
    }

    fn is_identifier_start(&self, ch: char) -> bool {
        ch.is_alphabetic() || ch == '_'
    }

    fn is_identifier_part(&self, ch: char) -> bool {
        ch.is_alphanumeric() || ch == '_' || ch == '.'
    }
}

/// Where lines begin, to say positions in characters.
struct Places<'a> {
    text: &'a str,
    /// Byte at which each line begins.
    lines: Vec<usize>,
}

impl<'a> Places<'a> {
    fn new(text: &'a str) -> Places<'a> {
        let after_breaks = text.bytes().enumerate().filter(|(_, byte)| *byte == b'\n').map(|(i, _)| i + 1);
        Places { text, lines: std::iter::once(0).chain(after_breaks).collect() }
    }

    fn byte(&self, location: Location) -> usize {
        let Some(line) = (location.line as usize).checked_sub(1).and_then(|line| self.lines.get(line)) else {
            return self.text.len();
        };
        let before = (location.column as usize).saturating_sub(1);
        self.text[*line..].char_indices().nth(before).map_or(self.text.len(), |(i, _)| line + i)
    }

    fn character(&self, location: Location) -> usize {
        self.text[..self.byte(location)].chars().count() + 1
    }

    fn syntax(&self, error: ParserError) -> FilterError {
        match error {
            ParserError::RecursionLimitExceeded => FilterError::TooDeep,
            ParserError::TokenizerError(message) | ParserError::ParserError(message) => {
                // sqlparser gives the place of a syntax error only in words.
                let (what, at) = match message.rsplit_once(" at Line: ") {
                    Some((what, place)) => (what, place_from_words(place)),
                    None => (message.as_str(), None),
                };
                let end = self.text.chars().count() + 1;
                FilterError::syntax(lower(&what.replace("Expected: ", "expected ").replace("found: EOF", "found the end")), at.map_or(end, |at| self.character(at)))
            }
        }
    }
}

fn place_from_words(words: &str) -> Option<Location> {
    let (line, column) = words.split_once(", Column: ")?;
    Some(Location { line: line.parse().ok()?, column: column.trim().parse().ok()? })
}

fn lower(message: &str) -> String {
    let mut chars = message.chars();
    chars.next().map_or_else(String::new, |first| first.to_lowercase().chain(chars).collect())
}

/// The tokens as sqlparser shall see them.
fn prepared(tokens: Vec<TokenWithSpan>, places: &Places<'_>) -> Result<Vec<TokenWithSpan>, FilterError> {
    let mut prepared: Vec<TokenWithSpan> = Vec::with_capacity(tokens.len());
    let mut operators = 0;
    let mut tokens = tokens.into_iter().peekable();
    while let Some(mut token) = tokens.next() {
        match &mut token.token {
            Token::Whitespace(Whitespace::Space | Whitespace::Newline | Whitespace::Tab) => continue,
            Token::Word(word) if word.quote_style.is_none() && is_shape(&word.value) => {
                let start = places.byte(token.span.start);
                let end = end_of_shape(&mut tokens, places);
                token.token = Token::SingleQuotedString(places.text[start..end].to_owned());
            }
            Token::Word(word) if RESERVED.contains(&word.keyword) => operators += 1,
            Token::Word(word) => word.keyword = Keyword::NoKeyword,
            Token::Eq | Token::Neq | Token::Lt | Token::Gt | Token::LtEq | Token::GtEq | Token::Plus | Token::Minus => {
                operators += 1;
            }
            Token::Number(..) | Token::SingleQuotedString(_) | Token::Comma | Token::LParen | Token::RParen | Token::EOF => {}
            other => return Err(refused(other, places.character(token.span.start))),
        }
        if operators > OPERATORS_MAX {
            return Err(FilterError::TooMany { what: "operators", limit: OPERATORS_MAX });
        }
        prepared.push(token);
    }
    Ok(prepared)
}

fn refused(token: &Token, at: usize) -> FilterError {
    match token {
        Token::Mul | Token::Div | Token::Mod | Token::Caret | Token::StringConcat => arithmetic(at),
        other => FilterError::syntax(format!("'{other}' is not expected"), at),
    }
}

fn arithmetic(at: usize) -> FilterError {
    FilterError::Unsupported { what: "arithmetic".into(), instead: "compare a column with a value", at }
}

fn is_shape(word: &str) -> bool {
    ["POLYGON", "MULTIPOLYGON", "POINT", "LINESTRING", "MULTIPOINT", "MULTILINESTRING", "GEOMETRYCOLLECTION"]
        .iter()
        .any(|shape| word.eq_ignore_ascii_case(shape))
}

/// Takes the tokens of a shape's parentheses; gives the byte after them.
fn end_of_shape(tokens: &mut std::iter::Peekable<impl Iterator<Item = TokenWithSpan>>, places: &Places<'_>) -> usize {
    let mut depth = 0u32;
    while let Some(token) = tokens.peek() {
        match token.token {
            Token::Whitespace(_) | Token::Comma | Token::Number(..) | Token::Minus | Token::Plus => {}
            Token::LParen => depth += 1,
            Token::RParen if depth > 0 => depth -= 1,
            _ => return places.byte(token.span.start),
        }
        let closes = token.token == Token::RParen && depth == 0;
        let end = places.byte(token.span.end);
        tokens.next();
        if closes {
            return end;
        }
    }
    places.text.len()
}

/// sqlparser's tree to ours.
struct Converter<'a> {
    places: &'a Places<'a>,
    terms: usize,
}

impl Converter<'_> {
    fn predicate(&mut self, expr: &sql::Expr, depth: usize) -> Result<Expr, FilterError> {
        if depth > FILTER_DEPTH_MAX {
            return Err(FilterError::TooDeep);
        }
        match expr {
            sql::Expr::Nested(inner) => return self.predicate(inner, depth + 1),
            sql::Expr::UnaryOp { op: UnaryOperator::Not, expr } => {
                return Ok(Expr::Not(Box::new(self.predicate(expr, depth + 1)?)));
            }
            sql::Expr::BinaryOp { op: op @ (BinaryOperator::And | BinaryOperator::Or), .. } => {
                let terms = chain(expr, op);
                let terms = terms.into_iter().map(|term| self.predicate(term, depth + 1)).collect::<Result<_, _>>()?;
                return Ok(if *op == BinaryOperator::And { Expr::And(terms) } else { Expr::Or(terms) });
            }
            _ => {}
        }
        self.terms += 1;
        if self.terms > FILTER_TERMS_MAX {
            return Err(FilterError::TooMany { what: "comparisons", limit: FILTER_TERMS_MAX });
        }
        self.term(expr)
    }

    fn term(&mut self, expr: &sql::Expr) -> Result<Expr, FilterError> {
        match expr {
            sql::Expr::BinaryOp { left, op, right } => self.comparison(left, op, right),
            sql::Expr::IsNull(of) => Ok(Expr::IsNull(self.column(of)?)),
            sql::Expr::IsNotNull(of) => Ok(negated(true, Expr::IsNull(self.column(of)?))),
            sql::Expr::Between { expr, negated: not, low, high } => {
                let column = self.column(expr)?;
                let term = |comparison, value| Expr::Compare { column: column.clone(), comparison, value };
                let low = term(Comparison::GreaterOrEqual, self.literal(low)?);
                let high = term(Comparison::LessOrEqual, self.literal(high)?);
                Ok(negated(*not, Expr::And(vec![low, high])))
            }
            sql::Expr::InList { expr, list, negated: not } => Ok(negated(*not, self.in_list(expr, list)?)),
            sql::Expr::Like { negated: not, any: false, expr, pattern, escape_char } => {
                Ok(negated(*not, self.like(expr, pattern, escape_char.as_deref(), Case::Matters)?))
            }
            sql::Expr::ILike { negated: not, any: false, expr, pattern, escape_char } => {
                Ok(negated(*not, self.like(expr, pattern, escape_char.as_deref(), Case::Ignored)?))
            }
            sql::Expr::Value(sql::ValueWithSpan { value: sql::Value::Boolean(value), .. }) => Ok(Expr::Constant(*value)),
            sql::Expr::Function(function) => self.spatial(function),
            sql::Expr::Identifier(_) => Ok(Expr::In { column: self.column(expr)?, values: vec![Literal::Boolean(true)] }),
            other => Err(self.no_predicate(other)),
        }
    }

    fn comparison(&self, left: &sql::Expr, op: &BinaryOperator, right: &sql::Expr) -> Result<Expr, FilterError> {
        // `5 < x` is `x > 5`.
        let flipped = self.is_literal(left);
        let (subject, value) = if flipped { (right, left) } else { (left, right) };
        let comparison = match (op, flipped) {
            (BinaryOperator::Eq, _) => return self.in_list(subject, std::slice::from_ref(value)),
            (BinaryOperator::NotEq, _) => {
                return Ok(negated(true, self.in_list(subject, std::slice::from_ref(value))?));
            }
            (BinaryOperator::Lt, false) | (BinaryOperator::Gt, true) => Comparison::Less,
            (BinaryOperator::LtEq, false) | (BinaryOperator::GtEq, true) => Comparison::LessOrEqual,
            (BinaryOperator::Gt, false) | (BinaryOperator::Lt, true) => Comparison::Greater,
            (BinaryOperator::GtEq, false) | (BinaryOperator::LtEq, true) => Comparison::GreaterOrEqual,
            _ => return Err(arithmetic(self.at(left))),
        };
        Ok(Expr::Compare { column: self.column(subject)?, comparison, value: self.literal(value)? })
    }

    fn in_list(&self, subject: &sql::Expr, list: &[sql::Expr]) -> Result<Expr, FilterError> {
        if list.len() > FILTER_LIST_MAX {
            return Err(FilterError::TooMany { what: "values in one IN list", limit: FILTER_LIST_MAX });
        }
        match any_case(subject) {
            None => {
                let values = list.iter().map(|value| self.literal(value)).collect::<Result<_, _>>()?;
                Ok(Expr::In { column: self.column(subject)?, values })
            }
            Some(of) => {
                let values = list.iter().map(|value| self.any_case_text(value)).collect::<Result<_, _>>()?;
                Ok(Expr::InAnyCase { column: self.column(of)?, values })
            }
        }
    }

    fn like(
        &self,
        subject: &sql::Expr,
        pattern: &sql::Expr,
        escape: Option<&sql::Expr>,
        case: Case,
    ) -> Result<Expr, FilterError> {
        let (column, text, case) = match any_case(subject) {
            Some(of) => (self.column(of)?, self.any_case_text(pattern)?, Case::Ignored),
            None => (self.column(subject)?, self.text(pattern)?, case),
        };
        let escape = match escape {
            None => Some(DEFAULT_ESCAPE),
            Some(given) => {
                let given_text = self.text(given)?;
                let mut chars = given_text.chars();
                match (chars.next(), chars.next()) {
                    (escape, None) => escape,
                    _ => return Err(FilterError::syntax("ESCAPE takes one character", self.at(given))),
                }
            }
        };
        let pattern = LikePattern::parse(&text, escape)
            .ok_or_else(|| FilterError::syntax("the pattern ends in its escape character", self.at(pattern)))?;
        Ok(Expr::Like { column, pattern, case })
    }

    fn spatial(&self, function: &sql::Function) -> Result<Expr, FilterError> {
        let at = self.character(function.name.span());
        let name = function.name.to_string();
        let arguments = arguments(function);
        if !name.eq_ignore_ascii_case("S_INTERSECTS") {
            let what = format!("function '{name}'");
            return Err(FilterError::Unsupported { what, instead: "use S_INTERSECTS, CASEI, TIMESTAMP or DATE", at });
        }
        let usage = || FilterError::syntax("write S_INTERSECTS(geometry, BBOX(west, south, east, north)) or a POLYGON", at);
        let [first, second] = arguments.ok_or_else(usage)?[..] else { return Err(usage()) };
        let is_geometry = |expr: &sql::Expr| {
            matches!(expr, sql::Expr::Identifier(name) if ["geometry", "geom"].iter().any(|g| name.value.eq_ignore_ascii_case(g)))
        };
        let shape = match (is_geometry(first), is_geometry(second)) {
            (true, false) => second,
            (false, true) => first,
            _ => return Err(usage()),
        };
        match shape {
            sql::Expr::Value(sql::ValueWithSpan { value: sql::Value::SingleQuotedString(text), span }) => {
                Ok(Expr::Intersects(Shape::from_wkt(text, self.character(*span))?))
            }
            sql::Expr::Function(bbox) if bbox.name.to_string().eq_ignore_ascii_case("BBOX") => {
                let at = self.character(bbox.name.span());
                let wrong = || FilterError::syntax("BBOX takes west, south, east, north in degrees, south not above north", at);
                let edges = self::arguments(bbox).ok_or_else(wrong)?;
                let numbers = edges
                    .iter()
                    .map(|edge| match self.literal(edge) {
                        Ok(Literal::Number(number)) => Ok(number.text().to_owned()),
                        _ => Err(wrong()),
                    })
                    .collect::<Result<Vec<_>, _>>()?;
                numbers.join(",").parse().map(|degrees| Expr::Intersects(Shape::Box(degrees))).map_err(|_| wrong())
            }
            _ => Err(usage()),
        }
    }

    fn column(&self, expr: &sql::Expr) -> Result<Name, FilterError> {
        match expr {
            sql::Expr::Nested(inner) => self.column(inner),
            sql::Expr::Identifier(name) => Ok(Name { text: name.value.clone(), at: self.character(name.span) }),
            sql::Expr::BinaryOp { op: BinaryOperator::Plus | BinaryOperator::Minus, .. } => Err(arithmetic(self.at(expr))),
            other if any_case(other).is_some() => Err(FilterError::Unsupported {
                what: "CASEI here".into(),
                instead: "CASEI works with =, <>, IN and LIKE",
                at: self.at(other),
            }),
            other => Err(FilterError::syntax("expected a column name", self.at(other))),
        }
    }

    fn is_literal(&self, expr: &sql::Expr) -> bool {
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

    fn literal(&self, expr: &sql::Expr) -> Result<Literal, FilterError> {
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

    fn any_case_text(&self, expr: &sql::Expr) -> Result<String, FilterError> {
        match any_case(expr) {
            Some(of) => self.text(of),
            None => Err(FilterError::syntax("both sides need CASEI: write CASEI('text')", self.at(expr))),
        }
    }

    fn text(&self, expr: &sql::Expr) -> Result<String, FilterError> {
        match self.literal(expr)? {
            Literal::Text(text) => Ok(text),
            _ => Err(FilterError::syntax("expected text in single quotes", self.at(expr))),
        }
    }

    fn no_predicate(&self, expr: &sql::Expr) -> FilterError {
        match expr {
            sql::Expr::UnaryOp { .. } => arithmetic(self.at(expr)),
            other => FilterError::syntax("expected a comparison, such as \"name\" = 'text' or size > 10", self.at(other)),
        }
    }

    fn at(&self, expr: &sql::Expr) -> usize {
        self.character(expr.span())
    }

    fn character(&self, span: Span) -> usize {
        self.places.character(span.start)
    }
}

fn negated(not: bool, expr: Expr) -> Expr {
    if not { Expr::Not(Box::new(expr)) } else { expr }
}

/// The terms of `a AND b AND c`, which sqlparser nests to the left, without recursion.
fn chain<'e>(expr: &'e sql::Expr, wanted: &BinaryOperator) -> Vec<&'e sql::Expr> {
    let mut terms = Vec::new();
    let mut rest = expr;
    while let sql::Expr::BinaryOp { left, op, right } = rest {
        if op != wanted {
            break;
        }
        terms.push(&**right);
        rest = left;
    }
    terms.push(rest);
    terms.reverse();
    terms
}

/// What `CASEI(x)` is of.
fn any_case(expr: &sql::Expr) -> Option<&sql::Expr> {
    match expr {
        sql::Expr::Nested(inner) => any_case(inner),
        sql::Expr::Function(function) if function.name.to_string().eq_ignore_ascii_case("CASEI") => {
            match arguments(function)?[..] {
                [of] => Some(of),
                _ => None,
            }
        }
        _ => None,
    }
}

/// The arguments of a plain call; `None` where it has more to it.
fn arguments(function: &sql::Function) -> Option<Vec<&sql::Expr>> {
    let sql::FunctionArguments::List(list) = &function.args else { return None };
    let is_plain = list.duplicate_treatment.is_none()
        && list.clauses.is_empty()
        && function.over.is_none()
        && function.filter.is_none()
        && matches!(function.parameters, sql::FunctionArguments::None);
    if !is_plain {
        return None;
    }
    let plain = |argument| match argument {
        &sql::FunctionArg::Unnamed(sql::FunctionArgExpr::Expr(ref expr)) => Some(expr),
        _ => None,
    };
    list.args.iter().map(plain).collect()
}

/// Nanoseconds since the epoch of a text such as `2024-05-31T12:00:00Z`; without an offset, in UTC.
pub fn timestamp_ns(text: &str) -> Option<i128> {
    let text = text.trim();
    if let Ok(instant) = jiff::Timestamp::from_str(text) {
        return Some(instant.as_nanosecond());
    }
    let civil = jiff::civil::DateTime::from_str(text).ok()?;
    Some(civil.to_zoned(jiff::tz::TimeZone::UTC).ok()?.timestamp().as_nanosecond())
}

fn date_ns(text: &str) -> Option<i128> {
    let text = text.trim();
    let is_date_only = !text.contains(['T', 't', ' ', ':']);
    if is_date_only { jiff::civil::Date::from_str(text).ok().and_then(|_| timestamp_ns(text)) } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn errors_say_what_and_where() {
        let mut wrong = Vec::new();
        for (text, at, part) in [
            ("range >", 8, "expected an expression, found the end"),
            ("range > 5 radio = 'x'", 11, "'radio' is not expected"),
            ("range > 'abc", 9, "unterminated string"),
            ("a = 1 AND\n  b % 2 = 0", 15, "no arithmetic"),
            ("a = b", 5, "second column"),
            ("a = 1 + 2", 5, "no arithmetic"),
            ("upper(a) = 'X'", 1, "expected a column name"),
            ("a = now()", 5, "no function 'now' here"),
            ("S_WITHIN(geometry, BBOX(1,2,3,4))", 1, "no function 'S_WITHIN'"),
            ("S_INTERSECTS(geometry, BBOX(1,2,3))", 24, "west, south, east, north"),
            ("S_INTERSECTS(geometry, BBOX(1,8,3,4))", 24, "south not above north"),
            ("S_INTERSECTS(geometry, POLYGON((0 0, 1 1)))", 42, "three different vertices"),
            ("S_INTERSECTS(geometry, POLYGON((0 0, 1 1, 2", 44, "expected ), found the end"),
            ("S_INTERSECTS(geometry, POINT(1 2))", 24, "no shape 'POINT'"),
            ("t > TIMESTAMP('yesterday')", 15, "'yesterday' is not a time"),
            ("t > DATE('2024-02-30')", 10, "DATE('2024-05-31')"),
            ("a LIKE 'x\\'", 8, "escape character"),
            ("CASEI(a) = 'x'", 12, "both sides need CASEI"),
            ("CASEI(a) < CASEI('x')", 1, "CASEI works with"),
            ("a = 1 -- x", 7, "is not expected"),
            ("a; DROP TABLE", 2, "';' is not expected"),
            ("a IN (SELECT 1)", 14, "expected"),
            ("a = 1e999", 5, "range of a double"),
            ("5", 1, "expected a comparison"),
            ("a = 1 = 2", 1, "expected a column name"),
        ] {
            match parse(text) {
                Err(error) if error.to_string().contains(part) && error.position() == Some(at) => {}
                other => wrong.push(format!("{text}: {other:?}")),
            }
        }
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    }

    #[test]
    fn limits_hold() {
        let long = format!("a = '{}'", "x".repeat(FILTER_BYTES_MAX));
        assert!(matches!(parse(&long), Err(FilterError::TooLong { .. })));
        for (open, close) in [("(", ")"), ("NOT (", ")"), ("NOT ", ""), ("CASEI(", ")"), ("(a = 1 AND (", "))"), ("TIMESTAMP(", ")"), ("-", "")] {
            for depth in [100, 500] {
                let deep = format!("{}a = 1{}", open.repeat(depth), close.repeat(depth));
                assert!(parse(&deep).is_err(), "{open} {depth}");
            }
        }
        let nested = format!("{}a = 1{}", "(".repeat(20), ")".repeat(20));
        assert!(parse(&nested).is_ok());
        let terms = vec!["a=1"; FILTER_TERMS_MAX + 1].join(" AND ");
        assert_eq!(parse(&terms), Err(FilterError::TooMany { what: "comparisons", limit: FILTER_TERMS_MAX }));
        let list = vec!["1"; FILTER_LIST_MAX + 1].join(",");
        assert!(matches!(parse(&format!("a IN ({list})")), Err(FilterError::TooMany { .. })));
        assert!(matches!(parse(&"a=".repeat(4000)), Err(FilterError::TooMany { .. })));
        assert!(parse(&"a IS NULL ".repeat(800)).is_err());
    }

    #[test]
    fn columns_may_be_called_what_sql_reserves() {
        for name in ["range", "time", "timestamp", "date", "case", "interval", "end", "select", "array", "Größe", "_x", "a.b"] {
            let parsed = parse(&format!("{name} > 1 AND {name} IS NOT NULL")).unwrap_or_else(|e| panic!("{name}: {e}")).unwrap();
            let Expr::And(terms) = parsed else { panic!("{name}") };
            assert!(matches!(&terms[0], Expr::Compare { column, .. } if column.text == name));
        }
        let quoted = parse("\"Gas Produced, MCF\" >= 0 AND \"a \"\"b\"\"\" = 1").unwrap().unwrap();
        let Expr::And(terms) = quoted else { panic!() };
        assert!(matches!(&terms[0], Expr::Compare { column, .. } if column.text == "Gas Produced, MCF"));
        assert!(matches!(&terms[1], Expr::In { column, .. } if column.text == "a \"b\""));
    }

    #[test]
    fn times_are_instants_in_utc() {
        for (text, ns) in [
            ("TIMESTAMP('1970-01-01T00:00:01Z')", 1_000_000_000),
            ("TIMESTAMP('1969-12-31 23:59:59.999')", -1_000_000),
            ("TIMESTAMP('1970-01-01T01:00:00+01:00')", 0),
            ("DATE('1970-01-02')", 86_400_000_000_000),
            ("DATE('1881-01-01')", -2_808_518_400_000_000_000),
        ] {
            let parsed = parse(&format!("t = {text}")).unwrap().unwrap();
            assert!(matches!(parsed, Expr::In { ref values, .. } if values[0] == Literal::Time { ns }), "{text} {parsed:?}");
        }
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text in "\\PC{0,60}") {
            let _ = parse(&text);
        }

        #[test]
        fn no_heap_of_words_makes_it_panic(words in proptest::collection::vec(proptest::sample::select(vec![
            "a", "\"b c\"", "AND", "OR", "NOT", "(", ")", "=", "<>", "<", ">=", "BETWEEN", "IN", "LIKE", "ILIKE", "ESCAPE", "IS",
            "NULL", "TRUE", "1", "-2.5e3", "'x%'", ",", "CASEI", "TIMESTAMP", "DATE", "'2020-01-01'", "S_INTERSECTS", "geometry",
            "BBOX", "POLYGON", "((0 0, 1 1, 1 0))", "-", "+", "case", "select", "interval", "\n", "é",
        ]), 0..30)) {
            let _ = parse(&words.join(" "));
        }
    }
}
