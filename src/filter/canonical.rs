//! One text for filters that say the same: what caches and URLs go by.
//!
//! Equal up to order, repetition, nesting, NOT, BETWEEN, case of keywords, spelling of numbers and times, and whitespace.
//! The text is CQL2 and parses back to a filter of the same meaning and the same text.

use super::ast::{Case, Comparison, Expr, Literal, Name};
use super::like::folded;

/// The canonical text; empty for the filter that everything passes, `FALSE` for the one that nothing does.
///
/// Negations are pushed into the leaves. What is never true there (a comparison with null) is FALSE, as no negation is left
/// above it that could tell unknown from false.
pub(super) fn text(expr: &Expr) -> String {
    match form(expr, Sign::Plain) {
        Form::True => String::new(),
        other => other.text(),
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Sign {
    Plain,
    Negated,
}

#[derive(Clone, PartialEq, Eq)]
enum Form {
    True,
    False,
    Leaf(String),
    /// At least two, sorted by text, each once, none of them constant or an And.
    And(Vec<Form>),
    /// Likewise.
    Or(Vec<Form>),
}

fn form(expr: &Expr, sign: Sign) -> Form {
    let negated = sign == Sign::Negated;
    let flipped = if negated { Sign::Plain } else { Sign::Negated };
    match expr {
        Expr::Not(inner) => form(inner, flipped),
        Expr::And(terms) if negated => any(terms.iter().map(|term| form(term, sign))),
        Expr::Or(terms) if !negated => any(terms.iter().map(|term| form(term, sign))),
        Expr::And(terms) | Expr::Or(terms) => all(terms.iter().map(|term| form(term, sign))),
        Expr::Constant(value) => if *value != negated { Form::True } else { Form::False },
        Expr::Compare { value: Literal::Null, .. } => Form::False,
        Expr::Compare { column, comparison, value } => {
            let comparison = if negated { opposite(*comparison) } else { *comparison };
            Form::Leaf(format!("{} {} {}", name(column), sign_of(comparison), literal(value)))
        }
        Expr::In { column, values } => in_list(column, values, negated),
        Expr::InAnyCase { column, values } => {
            let values = sorted(values.iter().map(|value| format!("CASEI({})", quoted(&folded(value)))));
            list(&format!("CASEI({})", name(column)), &values, negated)
        }
        Expr::Like { column, pattern, case } => {
            let not = if negated { "NOT " } else { "" };
            Form::Leaf(match case {
                Case::Matters => format!("{} {not}LIKE {}", name(column), quoted(&pattern.text())),
                Case::Ignored => {
                    format!("CASEI({}) {not}LIKE CASEI({})", name(column), quoted(&folded(&pattern.text())))
                }
            })
        }
        Expr::IsNull(column) if negated => Form::Leaf(format!("{} IS NOT NULL", name(column))),
        Expr::IsNull(column) => Form::Leaf(format!("{} IS NULL", name(column))),
        Expr::Intersects(shape) if negated => Form::Leaf(format!("NOT S_INTERSECTS(geometry,{shape})")),
        Expr::Intersects(shape) => Form::Leaf(format!("S_INTERSECTS(geometry,{shape})")),
    }
}

fn in_list(column: &Name, values: &[Literal], negated: bool) -> Form {
    if negated && values.contains(&Literal::Null) {
        return Form::False;
    }
    let values = sorted(values.iter().filter(|value| **value != Literal::Null).map(literal));
    list(&name(column), &values, negated)
}

fn list(subject: &str, values: &[String], negated: bool) -> Form {
    match (values, negated) {
        ([], _) => Form::False,
        ([one], false) => Form::Leaf(format!("{subject} = {one}")),
        ([one], true) => Form::Leaf(format!("{subject} <> {one}")),
        (more, false) => Form::Leaf(format!("{subject} IN ({})", more.join(","))),
        (more, true) => Form::Leaf(format!("{subject} NOT IN ({})", more.join(","))),
    }
}

fn all(terms: impl Iterator<Item = Form>) -> Form {
    let mut flat = Vec::new();
    for term in terms {
        match term {
            Form::True => {}
            Form::False => return Form::False,
            Form::And(inner) => flat.extend(inner),
            other => flat.push(other),
        }
    }
    tidy(&mut flat);
    match flat.len() {
        0 => Form::True,
        1 => flat.remove(0),
        _ => Form::And(flat),
    }
}

fn any(terms: impl Iterator<Item = Form>) -> Form {
    let mut flat = Vec::new();
    for term in terms {
        match term {
            Form::False => {}
            Form::True => return Form::True,
            Form::Or(inner) => flat.extend(inner),
            other => flat.push(other),
        }
    }
    tidy(&mut flat);
    match flat.len() {
        0 => Form::False,
        1 => flat.remove(0),
        _ => Form::Or(flat),
    }
}

fn tidy(forms: &mut Vec<Form>) {
    forms.sort_by_cached_key(Form::text);
    forms.dedup();
}

impl Form {
    fn text(&self) -> String {
        let joined = |forms: &[Form], with: &str| {
            let texts: Vec<String> = forms
                .iter()
                .map(|form| if matches!(form, Form::Or(_)) { format!("({})", form.text()) } else { form.text() })
                .collect();
            texts.join(with)
        };
        match self {
            Form::True => "TRUE".into(),
            Form::False => "FALSE".into(),
            Form::Leaf(text) => text.clone(),
            Form::And(forms) => joined(forms, " AND "),
            Form::Or(forms) => joined(forms, " OR "),
        }
    }
}

fn sorted(texts: impl Iterator<Item = String>) -> Vec<String> {
    let mut texts: Vec<String> = texts.collect();
    texts.sort_unstable();
    texts.dedup();
    texts
}

fn opposite(comparison: Comparison) -> Comparison {
    match comparison {
        Comparison::Less => Comparison::GreaterOrEqual,
        Comparison::LessOrEqual => Comparison::Greater,
        Comparison::Greater => Comparison::LessOrEqual,
        Comparison::GreaterOrEqual => Comparison::Less,
    }
}

fn sign_of(comparison: Comparison) -> &'static str {
    match comparison {
        Comparison::Less => "<",
        Comparison::LessOrEqual => "<=",
        Comparison::Greater => ">",
        Comparison::GreaterOrEqual => ">=",
    }
}

fn literal(value: &Literal) -> String {
    match value {
        Literal::Null => "NULL".into(),
        Literal::Boolean(true) => "TRUE".into(),
        Literal::Boolean(false) => "FALSE".into(),
        Literal::Number(number) => number.text().to_owned(),
        Literal::Text(text) => quoted(text),
        Literal::Time { ns } => format!("TIMESTAMP('{}')", super::literals::timestamp_text(*ns)),
    }
}

/// The column's name, in double quotes where it is not a plain word that CQL2 leaves free.
fn name(column: &Name) -> String {
    const NOT_FREE: [&str; 12] =
        ["and", "or", "not", "between", "in", "like", "ilike", "escape", "is", "null", "true", "false"];
    let text = &column.text;
    let is_plain = text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && text.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
        && !NOT_FREE.contains(&text.to_ascii_lowercase().as_str())
        && !text.to_ascii_lowercase().ends_with("polygon")
        && !["point", "linestring", "multipoint", "multilinestring", "geometrycollection"].contains(&text.to_ascii_lowercase().as_str());
    if is_plain { text.clone() } else { format!("\"{}\"", text.replace('"', "\"\"")) }
}

fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

/// The CQL2 spelling of a column's name, quoted where it must be.
pub fn column_text(name_text: &str) -> String {
    name(&Name { text: name_text.to_owned(), at: 0 })
}

/// A text as a CQL2 literal.
pub fn text_literal(text: &str) -> String {
    quoted(text)
}

#[cfg(test)]
mod tests {
    use super::super::parse::parse;

    fn canonical(text: &str) -> String {
        parse(text).unwrap_or_else(|e| panic!("{text}: {e}")).map_or_else(String::new, |expr| super::text(&expr))
    }

    #[test]
    fn the_same_meaning_has_one_text() {
        for (text, forms) in [
            ("a = 1 AND b = 'x'", &["b='x' and (1.0 = a)", "NOT (b <> 'x' OR NOT a = 1)", "a=1 AND b='x' AND a IN (1)"][..]),
            ("x <= 9 AND x >= 2.5", &["x BETWEEN 2.50 AND 9", "NOT (x NOT BETWEEN 2.5 AND 9)", "9 >= x AND 25e-1 <= x"]),
            ("r IN ('GSM','LTE')", &["r IN ('LTE', 'GSM', 'LTE', NULL)"]),
            ("(a = 1 OR b = 2) AND c = 3", &["c = 3 AND (b = 2 OR a = 1)", "c = 3 AND ((b = 2) OR ((a = 1)))"]),
            ("a = 1 AND b = 2 OR c = 3", &["c = 3 OR b = 2 AND a = 1"]),
            ("", &["TRUE", "TRUE OR a = 1", "NOT FALSE", "  \n"]),
            ("FALSE", &["a = NULL", "NOT (a = NULL)", "a NOT IN (1, NULL)", "FALSE AND b = 1", "a IN (NULL)"]),
            ("CASEI(n) = CASEI('bob')", &["CASEI(n) = CASEI('BOB')", "casei(n) in (casei('Bob'))"]),
            ("CASEI(n) LIKE CASEI('b%')", &["n ILIKE 'B%'", "CASEI(n) LIKE CASEI('B%')"]),
            ("n LIKE 'a\\%%'", &["n LIKE 'a!%%' ESCAPE '!'"]),
            ("t >= TIMESTAMP('2020-01-01T00:00:00Z')", &["t >= DATE('2020-01-01')", "t >= TIMESTAMP('2020-01-01T02:00:00+02:00')"]),
            ("\"Gas Produced, MCF\" > -0.5 AND \"in\" IS NOT NULL", &["NOT \"in\" IS NULL AND \"Gas Produced, MCF\" > -.5"]),
            ("on = TRUE", &["on", "on = true", "NOT on <> TRUE"]),
            ("NOT S_INTERSECTS(geometry,BBOX(-1.5,2,3,4))", &["NOT S_INTERSECTS(geometry, BBOX(-1.50, 2, 3.0, 4))"]),
            ("S_INTERSECTS(geometry,POLYGON((0 0,1 0,1 1,0 0)))", &["S_INTERSECTS(geom, 'polygon ((0 0, 1 0, 1 1))')"]),
        ] {
            assert_eq!(canonical(text), text);
            for form in forms {
                assert_eq!(canonical(form), text, "{form}");
            }
        }
        assert_ne!(canonical("a = 1 OR b = 2 AND c = 3"), canonical("(a = 1 OR b = 2) AND c = 3"));
    }
}
