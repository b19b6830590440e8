//! Scales: by which distribution the colours of a zoom go. The exact one; or, where that takes long, for the moment one of a few tiles.

use super::ServiceError;
use super::pipeline::Pipeline;
use super::preview::{cells, values};
use super::tile::{Scale, TileQuality};
use super::view::View;
use crate::engine::{Aggregate, Cancel, CountGrid, Distribution, ValueDistribution, ValueGrid};
use crate::shade::{Normalize, SampledTiles};
use crate::world::{TileId, Zoom};
use std::sync::Arc;

impl Pipeline {
    /// By what the counts of a zoom, each point spread over `radius` pixels, are coloured, and how exactly that can be told now.
    pub(super) fn count_scale(
        &self,
        view: &View,
        zoom: Zoom,
        radius: usize,
        quality: TileQuality,
        cancel: &Cancel,
    ) -> Result<(Arc<Distribution>, TileQuality), ServiceError> {
        let distribution = match (view.style.normalize, radius, quality) {
            // Each tile has its own.
            (Normalize::Tile, ..) => Arc::default(),
            (Normalize::Zoom, 0, TileQuality::Exact) => self.distribution(view, zoom, cancel)?,
            (Normalize::Zoom, 0, TileQuality::Preview) => return Ok((self.estimate(view, zoom, 0, cancel)?, TileQuality::Preview)),
            // What spread counts come to only spreading tells, and a zoom may have millions of tiles: the sample's it is, for good.
            (Normalize::Zoom, ..) => self.estimate(view, zoom, radius, cancel)?,
        };
        Ok((distribution, TileQuality::Exact))
    }

    /// How exactly a view's counts can be coloured now.
    pub(super) fn quality(&self, view: &View, zoom: Zoom) -> TileQuality {
        let is_exact = view.style.normalize == Normalize::Tile
            || view.source.engine().knows_distribution(&view.filter)
            || !self.pace.is_over_budget(cells(view.source.dataset(), zoom))
            || self.shaders.holds(&(view.image, zoom, TileQuality::Exact))
            || self.distributions.holds(&(view.counts, zoom));
        if is_exact { TileQuality::Exact } else { TileQuality::Preview }
    }

    /// By what the values of a zoom's pixels are coloured, and whether that is exact; by nothing where each tile has its own scale, or all have
    /// one that was given.
    pub(super) fn value_scale(
        &self,
        view: &View,
        aggregate: Aggregate,
        zoom: Zoom,
        cancel: &Cancel,
    ) -> Result<(Arc<ValueDistribution>, TileQuality), ServiceError> {
        match (view.style.normalize, view.style.span) {
            (Normalize::Zoom, None) => self.known_values(view, aggregate, zoom, cancel),
            _ => Ok((Arc::default(), TileQuality::Exact)),
        }
    }

    /// How often values occur among a zoom's pixels, as far as that is to be known now.
    pub(super) fn known_values(
        &self,
        view: &View,
        aggregate: Aggregate,
        zoom: Zoom,
        cancel: &Cancel,
    ) -> Result<(Arc<ValueDistribution>, TileQuality), ServiceError> {
        let is_exact = !self.value_pace.is_over_budget(values(view.source.dataset()))
            || self.value_distributions.holds(&(view.numbers, zoom));
        if is_exact {
            return Ok((self.value_distribution(view, aggregate, zoom, cancel)?, TileQuality::Exact));
        }
        let estimate = self.value_estimates.get(&(view.numbers, zoom), cancel, || {
            let sample = self.sample(view, zoom, cancel)?;
            let grids = self.value_grids(view, aggregate, sample.tiles(), cancel)?;
            let grids: Vec<ValueGrid> =
                grids.into_iter().map(|grid| grid.unwrap_or_else(|| ValueGrid::empty(Scale::One.pixels()))).collect();
            let estimate = sample.value_distribution(&grids);
            let bytes = estimate.bytes();
            Ok((Arc::new(estimate), bytes))
        })?;
        Ok((estimate, TileQuality::Preview))
    }

    /// Works out what the colours of a view and zoom are to go by in the end.
    pub(super) fn make_exact(&self, view: &View, zoom: Zoom, cancel: &Cancel) -> Result<(), ServiceError> {
        match view.aggregate {
            Some(aggregate) => self.value_distribution(view, aggregate, zoom, cancel).map(drop),
            None => self.distribution(view, zoom, cancel).map(drop),
        }
    }

    /// The radius of `spread=auto`.
    pub(super) fn auto_spread(&self, view: &View, zoom: Zoom, cancel: &Cancel) -> Result<usize, ServiceError> {
        let sample = self.sample(view, zoom, cancel)?;
        Ok(sample.auto_spread(&self.all_grids(view, sample.tiles(), cancel)?))
    }

    /// About how often each count occurs in a zoom, each point spread over `radius` pixels: from a few tiles.
    fn estimate(&self, view: &View, zoom: Zoom, radius: usize, cancel: &Cancel) -> Result<Arc<Distribution>, ServiceError> {
        self.estimates.get(&(view.counts, zoom, radius), cancel, || {
            let sample = self.sample(view, zoom, cancel)?;
            let grids = match radius {
                0 => self.all_grids(view, sample.tiles(), cancel)?,
                _ => self.totals_spread(view, sample.tiles(), radius, cancel)?,
            };
            let estimate = sample.distribution(&grids);
            let bytes = estimate.bytes();
            Ok((Arc::new(estimate), bytes))
        })
    }

    /// The tiles that stand for a zoom.
    fn sample(&self, view: &View, zoom: Zoom, cancel: &Cancel) -> Result<SampledTiles, ServiceError> {
        SampledTiles::of(zoom, |tiles| self.all_grids(view, tiles, cancel))
    }

    /// The grids of tiles, also of those without points.
    fn all_grids(&self, view: &View, tiles: &[TileId], cancel: &Cancel) -> Result<Vec<CountGrid>, ServiceError> {
        let groups = view.source.groups(view.by)?.len();
        let grids = self.grids(view, tiles, cancel)?;
        Ok(grids.into_iter().map(|grid| grid.unwrap_or_else(|| CountGrid::zeros(groups, Scale::One.pixels()))).collect())
    }

    /// The totals of tiles, each point spread, as grids of one category.
    fn totals_spread(&self, view: &View, tiles: &[TileId], radius: usize, cancel: &Cancel) -> Result<Vec<CountGrid>, ServiceError> {
        // One after the other: each needs nine tiles of all categories, and only its totals are of interest.
        let spread = |&tile: &TileId| {
            let empty = CountGrid::zeros(1, Scale::One.pixels());
            let grid = self.counts_spread(view, tile, Scale::One, radius, cancel)?;
            Ok(grid.map_or(empty, |grid| CountGrid { categories: 1, size: grid.size, counts: grid.totals() }))
        };
        tiles.iter().map(spread).collect()
    }
}
