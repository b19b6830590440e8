//! Scales: by which distribution the colours of a zoom go. The exact one; or one of a few tiles, for the moment where the exact one takes long,
//! and for good where points are spread over more tiles than can be spread.

use super::{ServiceError, TRACE};
use super::pipeline::Pipeline;
use super::mosaic::pixel_zoom;
use super::preview::{cells, values};
use super::spread::spread_pixels;
use super::tile::{Content, Scale, TileQuality, TileRequest};
use super::view::View;
use crate::engine::{Aggregate, Cancel, CountGrid, Distribution, ValueDistribution, ValueGrid};
use crate::shade::{SampledTiles, Spread};
use crate::world::{TileId, Zoom};
use std::sync::Arc;
use std::time::Instant;

impl Pipeline {
    /// By what the counts of a zoom, each point spread over `radius` pixels, are coloured; by nothing where each tile has its own scale, or all
    /// have one that was given.
    pub(super) fn count_scale(
        &self,
        view: &View,
        zoom: Zoom,
        radius: usize,
        quality: TileQuality,
        cancel: &Cancel,
    ) -> Result<Arc<Distribution>, ServiceError> {
        if !view.style.needs_distribution() {
            return Ok(Arc::default());
        }
        match quality {
            TileQuality::Exact | TileQuality::Sample => self.distribution(view, zoom, radius, cancel),
            TileQuality::Preview => self.estimate(view, zoom, radius, cancel),
        }
    }

    /// How exactly a view's counts can be coloured now.
    pub(super) fn quality(&self, view: &View, zoom: Zoom, radius: usize) -> TileQuality {
        let is_exact = !view.style.needs_distribution() || self.shaders.holds(&(view.image, zoom, TileQuality::Exact));
        if is_exact { TileQuality::Exact } else { self.distribution_quality(view, zoom, radius) }
    }

    /// How often counts occur among a zoom's pixels, as far as that is to be known now.
    pub(super) fn known_counts(
        &self,
        view: &View,
        zoom: Zoom,
        radius: usize,
        cancel: &Cancel,
    ) -> Result<(Arc<Distribution>, TileQuality), ServiceError> {
        match self.distribution_quality(view, zoom, radius) {
            TileQuality::Preview => Ok((self.estimate(view, zoom, radius, cancel)?, TileQuality::Preview)),
            lasting => Ok((self.distribution(view, zoom, radius, cancel)?, lasting)),
        }
    }

    /// How often each count occurs among the pixels of a whole zoom, each point spread over `radius` pixels; of a zoom with too many tiles to
    /// spread them all, in those that stand for it.
    pub(super) fn distribution(&self, view: &View, zoom: Zoom, radius: usize, cancel: &Cancel) -> Result<Arc<Distribution>, ServiceError> {
        let few_tiles = if radius > 0 { view.source.few_tiles(zoom) } else { None };
        if radius > 0 && few_tiles.is_none() {
            return self.estimate(view, zoom, radius, cancel);
        }
        self.distributions.get(&(view.counts, zoom, radius), cancel, || {
            let distribution = match few_tiles {
                Some(tiles) => self.spread_distribution(view, tiles, radius, cancel)?,
                None => self.unspread_distribution(view, zoom, cancel)?,
            };
            let bytes = distribution.bytes();
            Ok((Arc::new(distribution), bytes))
        })
    }

    fn unspread_distribution(&self, view: &View, zoom: Zoom, cancel: &Cancel) -> Result<Distribution, ServiceError> {
        let selection = self.selection(view, cancel)?;
        let _span = tracing::info_span!(target: TRACE, "distribution").entered();
        let started = Instant::now();
        let distribution = view.source.engine().distribution(&selection, zoom, cancel)?;
        let took = started.elapsed();
        self.metrics.device_time("distribution", took);
        self.pace.observe(cells(view.source.dataset(), zoom), took);
        Ok(distribution)
    }

    /// How exactly it can be told now how often counts occur.
    fn distribution_quality(&self, view: &View, zoom: Zoom, radius: usize) -> TileQuality {
        let is_at_hand = if radius == 0 {
            let is_known = view.source.engine().knows_distribution(&view.filter);
            is_known || !self.pace.is_over_budget(cells(view.source.dataset(), zoom))
        } else {
            let Some(tiles) = view.source.few_tiles(zoom) else { return TileQuality::Sample };
            !self.spread_pace.is_over_budget(spread_pixels(tiles))
        };
        if is_at_hand || self.distributions.holds(&(view.counts, zoom, radius)) { TileQuality::Exact } else { TileQuality::Preview }
    }

    /// How exact the colours of a tile are that were kept: never a preview's.
    pub(super) fn lasting_quality(&self, request: &TileRequest, cancel: &Cancel) -> Result<TileQuality, ServiceError> {
        let (view, zoom) = (&request.view, pixel_zoom(request.tile, request.scale));
        let is_image = matches!(request.content, Content::Png | Content::Png8);
        let may_be_sampled = is_image && view.style.needs_distribution() && view.style.spread != Spread::Pixels(0);
        let is_sampled = may_be_sampled && view.source.few_tiles(zoom).is_none() && self.spread_pixels(view, zoom, cancel)? > 0;
        Ok(if is_sampled { TileQuality::Sample } else { TileQuality::Exact })
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
        if view.style.needs_distribution() {
            self.known_values(view, aggregate, zoom, cancel)
        } else {
            Ok((Arc::default(), TileQuality::Exact))
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
            None => {
                let radius = self.spread_pixels(view, zoom, cancel)?;
                self.distribution(view, zoom, radius, cancel).map(drop)
            }
        }
    }

    /// The radius of `spread=auto`.
    pub(super) fn auto_spread(&self, view: &View, zoom: Zoom, cancel: &Cancel) -> Result<usize, ServiceError> {
        let radius = self.radii.get(&(view.counts, zoom), cancel, || {
            let sample = self.sample(view, zoom, cancel)?;
            let radius = sample.auto_spread(&self.all_grids(view, sample.tiles(), cancel)?);
            Ok((Arc::new(radius), size_of::<usize>()))
        })?;
        Ok(*radius)
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
