//! What a filter says, before it is known of which dataset: the tree that a CQL2 text stands for.

use super::number::Number;
use crate::world::LonLatBox;

/// A filter expression. Three-valued, as in SQL: a comparison with null is neither true nor false.
#[derive(Clone, Debug, PartialEq)]
pub enum Expr {
    And(Vec<Expr>),
    Or(Vec<Expr>),
    Not(Box<Expr>),
    Constant(bool),
    Compare { column: Name, comparison: Comparison, value: Literal },
    /// `column IN (values)`; equality is a list of one.
    In { column: Name, values: Vec<Literal> },
    Like { column: Name, pattern: LikePattern, case: Case },
    /// `CASEI(column) IN (CASEI(values))`.
    InAnyCase { column: Name, values: Vec<String> },
    IsNull(Name),
    /// The point lies in the shape.
    Intersects(Shape),
}

/// A column as the text names it, and where, in characters from 1.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Name {
    pub text: String,
    pub at: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Comparison {
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Literal {
    Null,
    Boolean(bool),
    Number(Number),
    Text(String),
    /// Nanoseconds since 1970-01-01T00:00:00Z. A DATE is its midnight in UTC, as in SQL.
    Time { ns: i128 },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Case {
    Matters,
    Ignored,
}

/// What LIKE compares with, piece by piece.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LikePattern {
    pub pieces: Vec<LikePiece>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LikePiece {
    /// `%`: any characters, or none.
    Any,
    /// `_`: one character.
    One,
    Char(char),
}

/// A shape in degrees.
#[derive(Clone, Debug, PartialEq)]
pub enum Shape {
    Box(LonLatBox),
    /// Polygons of rings of `[longitude, latitude]`, without the repeated last vertex.
    Polygons(Vec<Vec<Vec<[f64; 2]>>>),
}
