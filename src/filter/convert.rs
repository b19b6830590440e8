//! sqlparser's tree to ours: what is a predicate, of which columns and shapes.

use super::ast::{Case, Comparison, Expr, LikePattern, Literal, Name, Shape};
use super::error::{FILTER_DEPTH_MAX, FILTER_LIST_MAX, FILTER_TERMS_MAX, FilterError};
use super::like::DEFAULT_ESCAPE;
use super::tokens::{Places, arithmetic};
use sqlparser::ast::{self as sql, BinaryOperator, Spanned, UnaryOperator};
use sqlparser::tokenizer::Span;

/// sqlparser's tree to ours.
pub(super) struct Converter<'a> {
    pub places: &'a Places<'a>,
    pub terms: usize,
}

impl Converter<'_> {
    pub(super) fn predicate(&mut self, expr: &sql::Expr, depth: usize) -> Result<Expr, FilterError> {
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

    fn no_predicate(&self, expr: &sql::Expr) -> FilterError {
        match expr {
            sql::Expr::UnaryOp { .. } => arithmetic(self.at(expr)),
            other => FilterError::syntax("expected a comparison, such as \"name\" = 'text' or size > 10", self.at(other)),
        }
    }

    pub(super) fn at(&self, expr: &sql::Expr) -> usize {
        self.character(expr.span())
    }

    pub(super) fn character(&self, span: Span) -> usize {
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
pub(super) fn any_case(expr: &sql::Expr) -> Option<&sql::Expr> {
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
pub(super) fn arguments(function: &sql::Function) -> Option<Vec<&sql::Expr>> {
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
