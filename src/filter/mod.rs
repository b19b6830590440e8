//! Filters: which points a question is about.
//!
//! A [`Filter`] is a predicate over key ranges and regions, bound to one dataset, in negation normal form: SQL's
//! three-valued logic has been resolved (a comparison with null is not true, nor is its negation), so an engine only asks of
//! each leaf whether a point is in it. This module knows nothing of engines or HTTP.
//!
//! ```text
//! CQL2 text --parse--> Expr --canonical--> text
//!                       `---resolve--> RowFilter (asks rows) --bind--> Predicate (ranges of a dataset's keys)
//! ```

mod ast;
mod bind;
mod canonical;
mod convert;
mod error;
mod like;
mod literals;
mod number;
mod outline;
mod parse;
mod ranges;
mod region;
mod resolve;
#[cfg(test)]
mod tests;
mod tokens;
mod wkt;

pub use ast::{Case, Comparison, Expr, LikePattern, LikePiece, Literal, Name, Shape};
pub use bind::first_key_at_least;
pub use canonical::{column_text, text_literal};
pub use error::{
    FILTER_BYTES_MAX, FILTER_DEPTH_MAX, FILTER_LIST_MAX, FILTER_TERMS_MAX, FILTER_TEXTS_MAX, FILTER_VERTICES_MAX, FilterError, nearest_hint,
};
pub use literals::timestamp_ns;
pub use number::Number;
pub use outline::{Outline, Sight};
pub use parse::parse;
pub use region::{Cover, Polygon, Region};
pub use resolve::{RowFilter, Schema, ValueRef, compare, nearest};

use crate::dataset::{ColumnId, Dataset};

/// A filter, bound to a dataset. Equal filters have equal canonical text.
#[derive(Clone, Debug, PartialEq)]
pub struct Filter {
    predicate: Predicate,
    canonical: String,
}

/// What a filter asks of a point. No negations: they are pushed into the leaves when a filter is bound.
#[derive(Clone, Debug, PartialEq)]
pub enum Predicate {
    All,
    Nothing,
    And(Vec<Predicate>),
    Or(Vec<Predicate>),
    /// The column's key is in one of the inclusive ranges: sorted, disjoint, not adjacent, not empty. Key 0 (null) is in one
    /// only where the filter asks for nulls.
    Keys { column: ColumnId, ranges: Vec<(u64, u64)> },
    Inside(Region),
    Outside(Region),
}

impl Filter {
    /// The filter that a CQL2 text stands for in a dataset; of an empty text, the one that every point passes.
    ///
    /// # Errors
    /// As [`FilterError`] says.
    pub fn parse(text: &str, dataset: &Dataset) -> Result<Filter, FilterError> {
        match parse(text)? {
            None => Ok(Filter::all()),
            Some(expr) => Filter::bind(&expr, dataset),
        }
    }

    /// # Errors
    /// An unknown column, a value that is not of its column's type, or more texts to compare than may be.
    pub fn bind(expr: &Expr, dataset: &Dataset) -> Result<Filter, FilterError> {
        let resolved = RowFilter::new(expr, &Schema::of_dataset(dataset))?;
        bind::check_texts(&resolved.test, &|column| dataset.column(ColumnId(column)).key_max)?;
        let predicate = bind::bind(&resolved.test, dataset, true);
        let canonical = match predicate {
            Predicate::All => String::new(),
            Predicate::Nothing => "FALSE".into(),
            _ => canonical::text(expr),
        };
        Ok(Filter { predicate, canonical })
    }

    /// This filter, of points with a value in a column.
    ///
    /// # Errors
    /// The filter is at one of the limits of texts already.
    pub fn and_not_null(&self, column: ColumnId, dataset: &Dataset) -> Result<Filter, FilterError> {
        let not_null = format!("{} IS NOT NULL", column_text(&dataset.column(column).name));
        let text = if self.is_all() { not_null } else { format!("({}) AND {not_null}", self.canonical) };
        Filter::parse(&text, dataset)
    }

    /// The filter that every point passes.
    pub fn all() -> Filter {
        Filter { predicate: Predicate::All, canonical: String::new() }
    }

    /// `canonical` must be equal for equal predicates: it is what caches go by.
    pub fn new(predicate: Predicate, canonical: String) -> Filter {
        Filter { predicate, canonical }
    }

    pub fn predicate(&self) -> &Predicate {
        &self.predicate
    }

    /// CQL2 text; empty for the filter that every point passes.
    pub fn canonical(&self) -> &str {
        &self.canonical
    }

    pub fn is_all(&self) -> bool {
        self.predicate == Predicate::All
    }
}

impl Predicate {
    /// The columns that the predicate reads, each once, in order.
    pub fn columns(&self) -> Vec<ColumnId> {
        fn collect(predicate: &Predicate, columns: &mut Vec<ColumnId>) {
            match predicate {
                Predicate::And(terms) | Predicate::Or(terms) => terms.iter().for_each(|term| collect(term, columns)),
                Predicate::Keys { column, .. } => columns.push(*column),
                _ => {}
            }
        }
        let mut columns = Vec::new();
        collect(self, &mut columns);
        columns.sort_unstable();
        columns.dedup();
        columns
    }
}
