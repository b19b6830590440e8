//! Views: what a map shows of a dataset, the same for all its tiles: a filter, categories and a style.

use super::source::Source;
use super::{Digest, ServiceError};
use crate::dataset::{ColumnId, ColumnKind};
use crate::engine::{Aggregate, Measure};
use crate::filter::{Filter, FilterError};
use crate::shade::{Style, StyleError};
use std::sync::Arc;
use thiserror::Error;

/// A view of one dataset. Equal views have equal digests, however they were written.
pub struct View {
    pub source: Arc<Source>,
    pub filter: Arc<Filter>,
    /// The column whose values are the categories.
    pub by: Option<ColumnId>,
    pub style: Style,
    /// What pixels show in place of how many points they have.
    pub aggregate: Option<Aggregate>,
    /// Of dataset, filter and categories: what counts depend on.
    pub counts: Digest,
    /// Of `counts` and the aggregate: what a tile's numbers depend on.
    pub numbers: Digest,
    /// Of `counts` and the style: what images depend on.
    pub image: Digest,
}

/// Why a view is none.
#[derive(Clone, Debug, Error, PartialEq)]
pub enum ViewError {
    #[error(transparent)]
    Style(#[from] StyleError),
    #[error("there is no column '{name}': the columns are {known}")]
    Column { name: String, known: String },
    #[error("column '{name}' is {kind}, of which there is no {agg}: {remedy}")]
    NotNumbers { name: String, kind: &'static str, agg: &'static str, remedy: String },
    #[error(transparent)]
    Filter(#[from] FilterError),
}

impl From<ViewError> for ServiceError {
    fn from(error: ViewError) -> ServiceError {
        ServiceError::Invalid(error.to_string())
    }
}

impl View {
    /// A view of `source` through `filter`, in the source's style as changed by `pairs` (names and values of a query,
    /// percent-decoded; names that no style has are passed over).
    ///
    /// # Errors
    /// A wrong style, or a column that there is not.
    pub fn new<'a>(
        source: &Arc<Source>,
        filter: Filter,
        pairs: impl IntoIterator<Item = (&'a str, &'a str)>,
    ) -> Result<View, ViewError> {
        let style = source.style().clone().with(pairs)?;
        let manifest = &source.dataset().manifest;
        let column = style.column.as_deref().map(|name| column_named(source, name)).transpose()?;
        let aggregate = aggregate_of(source, &style, column)?;
        let filter = match (aggregate, column) {
            // The points with a value are what there is to count, as in SQL.
            (None, Some(column)) => filter.and_not_null(column, source.dataset())?,
            _ => filter,
        };
        let by = match style.by.as_deref() {
            _ if aggregate.is_some() => None,
            Some("none") => None,
            Some(name) => Some(column_named(source, name)?),
            None => manifest.category.as_deref().map(|name| column_named(source, name)).transpose()?,
        };
        let by_text = by.map_or("", |column| manifest.columns[column.0].name.as_str());
        let program = env!("CARGO_PKG_VERSION");
        let counts = Digest::of([program, &manifest.data_version, by_text, filter.canonical()]);
        let numbers = aggregate.map_or(counts, |Aggregate { column, .. }| {
            Digest::of([counts.to_string().as_str(), style.agg.name(), &manifest.columns[column.0].name])
        });
        let image = Digest::of([counts.to_string().as_str(), &style.canonical()]);
        let [counts, numbers, image] = [counts, numbers, image].map(|digest| digest.of_data(&manifest.data_version));
        Ok(View { source: source.clone(), filter: Arc::new(filter), by, style, aggregate, counts, numbers, image })
    }
}

/// What a style shows of a column.
fn aggregate_of(source: &Source, style: &Style, column: Option<ColumnId>) -> Result<Option<Aggregate>, ViewError> {
    let (Some(measure), Some(column)) = (style.agg.measure(), column) else { return Ok(None) };
    let described = source.dataset().column(column);
    let refused = |kind, remedy| {
        Err(ViewError::NotNumbers { name: described.name.clone(), kind, agg: style.agg.name(), remedy })
    };
    match described.kind {
        ColumnKind::Text => {
            let numbers = source.dataset().columns().iter().filter(|column| column.kind != ColumnKind::Text);
            let names: Vec<&str> = numbers.map(|column| column.name.as_str()).collect();
            refused("text", format!("the columns of numbers and times are {}", names.join(", ")))
        }
        ColumnKind::Timestamp if measure == Measure::Sum => refused("a time", "ask for its mean, min or max".to_owned()),
        _ => Ok(Some(Aggregate { measure, column })),
    }
}

/// The column of a name.
///
/// # Errors
/// There is none: the message lists what there is.
pub fn column_named(source: &Source, name: &str) -> Result<ColumnId, ViewError> {
    source.dataset().column_id(name).ok_or_else(|| {
        let names: Vec<&str> = source.dataset().columns().iter().map(|column| column.name.as_str()).collect();
        ViewError::Column { name: name.chars().take(100).collect(), known: names.join(", ") }
    })
}
