//! CQL2 text to [`Expr`].
//!
//! sqlparser does the parsing, for CQL2 text is a subset of a SQL WHERE. Its tokens are prepared first [tokens], and what it
//! makes of them is taken over, or refused by name where SQL has it and CQL2 has not [convert, literals].

use super::ast::Expr;
use super::convert::Converter;
use super::error::{FILTER_BYTES_MAX, FILTER_DEPTH_MAX, FilterError};
use super::tokens::{Cql2, Places, lower, prepared};
use sqlparser::parser::Parser;
use sqlparser::tokenizer::{Token, Tokenizer};

/// How often sqlparser may call itself: some three times per level of ours.
const PARSER_RECURSION_MAX: usize = 4 * FILTER_DEPTH_MAX;

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

#[cfg(test)]
mod tests {
    use super::super::ast::Literal;
    use super::super::error::{FILTER_LIST_MAX, FILTER_TERMS_MAX};
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
