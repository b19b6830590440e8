//! Views: what a map shows of a dataset, the same for all its tiles: a filter, categories and a style.

use super::source::Source;
use super::{Digest, ServiceError};
use crate::dataset::{ColumnId, ColumnKind};
use crate::engine::{Aggregate, Measure};
use crate::filter::{Filter, FilterError};
use crate::shade::{Spread, Style, StyleError};
use crate::world::TileId;
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
    /// Of the data as they are now, filter and categories: what a selection and a distribution depend on.
    pub counts: Digest,
    /// Of `counts` and the aggregate: what the distribution of its values depends on.
    pub numbers: Digest,
    /// Of `counts` and the style: what all images depend on that are coloured by the zoom's distribution.
    pub image: Digest,
    own: Own,
}

/// What a tile depends on beside its own points: without the version of all data, so that a tile which an append leaves as it was is
/// still known by the same key.
struct Own {
    counts: Digest,
    numbers: Digest,
    /// Of an image that is coloured without a look at the rest of the zoom.
    image: Option<Digest>,
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
        let of_values = |counts: Digest| {
            aggregate.map_or(counts, |Aggregate { column, .. }| {
                let described = &manifest.columns[column.0];
                let numbers = over(source, counts, [style.agg.name(), &described.name]);
                // Floats are added as they are stored.
                over(source, numbers, ["", &format!("{:?}", described.encoding)])
            })
        };
        let counts = counts_in(source, &manifest.data_version, by, &filter);
        let image = over(source, counts, ["", &style.canonical()]);
        let own_counts = counts_in(source, &source.planes(by), by, &filter);
        let own = Own {
            counts: own_counts,
            numbers: of_values(own_counts),
            image: is_coloured_alone(&style, aggregate).then(|| over(source, own_counts, ["", &style.canonical()])),
        };
        let numbers = of_values(counts);
        Ok(View { source: source.clone(), filter: Arc::new(filter), by, style, aggregate, counts, numbers, image, own })
    }

    /// By what the counts of a tile are known: the same as long as the tile's points are.
    pub fn counts_of(&self, tile: TileId) -> Digest {
        self.own.counts.at(self.source.dataset().version_of(tile))
    }

    /// By what the numbers of a tile are known: its counts, or the values of the aggregate.
    pub fn numbers_of(&self, tile: TileId) -> Digest {
        self.own.numbers.at(self.source.dataset().version_of(tile))
    }

    /// By what the image of a tile is known. Where the zoom's distribution colours it, that changes with any point of the zoom.
    pub fn image_of(&self, tile: TileId) -> Digest {
        let dataset = self.source.dataset();
        match (self.own.image, self.style.spread) {
            (None, _) => self.image,
            (Some(image), Spread::Pixels(0)) => image.at(dataset.version_of(tile)),
            (Some(image), _) => image.at(dataset.version_around(tile)),
        }
    }

    /// By what the image of a tile may have been known in former versions of the data, the last one first.
    pub fn former_images(&self) -> impl Iterator<Item = Digest> {
        let manifest = &self.source.dataset().manifest;
        manifest.former_versions.iter().rev().map(move |version| match self.own.image {
            Some(image) => image.at(version),
            None => {
                let counts = counts_in(&self.source, version, self.by, &self.filter);
                over(&self.source, counts, ["", &self.style.canonical()])
            }
        })
    }
}

fn counts_in(source: &Source, data_version: &str, by: Option<ColumnId>, filter: &Filter) -> Digest {
    let manifest = &source.dataset().manifest;
    let by = by.map_or("", |column| manifest.columns[column.0].name.as_str());
    Digest::of([PROGRAM, data_version, by, filter.canonical()]).of_data(manifest.origin())
}

/// Of a digest and what is made from what it names.
fn over(source: &Source, below: Digest, texts: [&str; 2]) -> Digest {
    Digest::of([below.to_string().as_str(), texts[0], texts[1]]).of_data(source.dataset().manifest.origin())
}

/// Other programs may count or colour otherwise.
const PROGRAM: &str = env!("CARGO_PKG_VERSION");

/// Whether an image depends on nothing but the points in the tile and, where they are spread, around it.
fn is_coloured_alone(style: &Style, aggregate: Option<Aggregate>) -> bool {
    let is_spread_alike = aggregate.is_some() || style.spread != Spread::Auto;
    is_spread_alike && !style.needs_distribution()
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
