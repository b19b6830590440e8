//! The pipeline: selection -> counts -> distribution -> shade -> encode, each step's result cached apart.
//!
//! It blocks and runs on the caller's thread. Requests, queues and finished tiles are somebody else's subject.

use super::body::TileBody;
use super::cache::{ByteLru, CacheStats, Oversized};
use super::counts::KeptGrid;
use super::memo::Memo;
use super::mosaic::pixel_zoom;
use super::packed::PackedGrid;
use super::preview::Pace;
use super::tile::{Content, StageTimes, Tile, TileQuality, TileRequest};
use super::view::View;
use super::{Digest, Metrics, Purge, ServiceError, TRACE};
use crate::encode::{Quality, empty_png, png};
use crate::engine::{Cancel, CountGrid, Distribution, Selection, ValueDistribution};
use crate::shade::{Category, Legend, Shader, Spread};
use crate::world::{TileId, Zoom};
use bytes::Bytes;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// What each cache may hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CacheBudgets {
    pub tile_bytes: usize,
    pub grid_bytes: usize,
    pub selection_bytes: usize,
    pub distribution_bytes: usize,
}

impl CacheBudgets {
    /// Half for finished tiles, a quarter for counts, 3/16 for selections, 1/16 for distributions and what is prepared from
    /// them. A selection larger than its share is kept alone.
    pub fn of(cache_bytes: usize) -> CacheBudgets {
        CacheBudgets {
            tile_bytes: cache_bytes / 2,
            grid_bytes: cache_bytes / 4,
            selection_bytes: cache_bytes / 16 * 3,
            distribution_bytes: cache_bytes / 16,
        }
    }
}

pub struct Pipeline {
    /// By the source, for a selection belongs to the engine that made it, and what was selected.
    selections: Memo<(u64, Digest), Selection>,
    pub(super) grids: ByteLru<(Digest, TileId), KeptGrid>,
    /// Also by how far points are spread, as estimates.
    pub(super) distributions: Memo<(Digest, Zoom, usize), Distribution>,
    pub(super) value_distributions: Memo<(Digest, Zoom), ValueDistribution>,
    pub(super) estimates: Memo<(Digest, Zoom, usize), Distribution>,
    pub(super) value_estimates: Memo<(Digest, Zoom), ValueDistribution>,
    pub(super) shaders: Memo<(Digest, Zoom, TileQuality), Prepared>,
    /// Of `spread=auto`.
    pub(super) radii: Memo<(Digest, Zoom), usize>,
    pub(super) pace: Pace,
    pub(super) spread_pace: Pace,
    pub(super) value_pace: Pace,
    pub(super) metrics: Arc<Metrics>,
}

/// A legend, and the distribution that it was made from.
pub enum Explained {
    Counts(Legend, Arc<Distribution>, TileQuality),
    Values(Legend, Arc<ValueDistribution>, TileQuality),
}

impl Explained {
    pub fn legend(&self) -> &Legend {
        match self {
            Explained::Counts(legend, ..) | Explained::Values(legend, ..) => legend,
        }
    }

    /// Whether the distribution is exact.
    pub fn quality(&self) -> TileQuality {
        match self {
            Explained::Counts(.., quality) | Explained::Values(.., quality) => *quality,
        }
    }
}

/// What all tiles of a view and zoom share.
pub(super) struct Prepared {
    shader: Shader,
    spread_pixels: usize,
    /// What the shader was made from.
    distribution: Arc<Distribution>,
    quality: TileQuality,
}

/// A shader's tables: 65,537 counts of four bytes, and room for the rest.
const PREPARED_BYTES: usize = (65_537 * 4) + 4096;

impl Pipeline {
    pub fn new(budgets: &CacheBudgets, metrics: Arc<Metrics>) -> Pipeline {
        Pipeline {
            selections: Memo::new(budgets.selection_bytes, Oversized::KeepAlone),
            grids: ByteLru::new(budgets.grid_bytes),
            distributions: Memo::new(budgets.distribution_bytes / 4, Oversized::KeepAlone),
            value_distributions: Memo::new(budgets.distribution_bytes / 4, Oversized::KeepAlone),
            estimates: Memo::new(budgets.distribution_bytes / 16, Oversized::KeepAlone),
            value_estimates: Memo::new(budgets.distribution_bytes / 16, Oversized::KeepAlone),
            shaders: Memo::new(budgets.distribution_bytes / 64 * 23, Oversized::KeepAlone),
            radii: Memo::new(budgets.distribution_bytes / 64, Oversized::KeepAlone),
            pace: Pace::of_counts(None),
            spread_pace: Pace::of_spread(None),
            value_pace: Pace::of_values(None),
            metrics,
        }
    }

    /// Colours by an estimate where the exact distribution is not there and is expected to take this long or longer: see
    /// [`TileQuality::Preview`]. Whoever asks then sees to the exact one. Without, every answer is exact.
    pub fn with_preview_budget(mut self, budget: Duration) -> Pipeline {
        self.pace = Pace::of_counts(Some(budget));
        self.spread_pace = Pace::of_spread(Some(budget));
        self.value_pace = Pace::of_values(Some(budget));
        self
    }

    /// Makes a tile.
    ///
    /// # Errors
    /// The style names a category that there is not; the engine fails; or the tile is no longer wanted.
    pub fn tile(&self, request: &TileRequest, cancel: &Cancel) -> Result<Tile, ServiceError> {
        if let Some(aggregate) = request.view.aggregate {
            return self.value_tile(request, aggregate, cancel);
        }
        match request.content {
            Content::Png => self.image(request, Quality::Exact, cancel),
            Content::Png8 => self.image(request, Quality::Palette, cancel),
            Content::Npy(dtype) => {
                let started = Instant::now();
                let grid = self.packed_counts(&request.view, request.tile, request.scale, cancel)?;
                let times = StageTimes { count: started.elapsed(), ..StageTimes::default() };
                self.metrics.observe_stages(request, &times);
                let is_kept = grid.is_some();
                let empty = |categories| Arc::new(PackedGrid::empty(categories, request.scale.pixels()));
                let grid = match grid {
                    Some(grid) => grid,
                    None => empty(request.view.source.groups(request.view.by)?.len()),
                };
                Ok(Tile { body: TileBody::npy(grid, dtype), is_kept, quality: TileQuality::Exact, times })
            }
        }
    }

    /// The points that pass the view's filter, by category.
    ///
    /// # Errors
    /// The categories are too many, the engine fails, or the answer is no longer wanted.
    pub fn selection(&self, view: &View, cancel: &Cancel) -> Result<Arc<Selection>, ServiceError> {
        self.selections.get(&(view.source.id(), view.counts), cancel, || {
            let groups = view.source.groups(view.by)?;
            let _span = tracing::info_span!(target: TRACE, "select").entered();
            let started = Instant::now();
            let selection = view.source.engine().select(&view.filter, &groups, cancel)?;
            self.metrics.device_time("select", started.elapsed());
            if !view.filter.is_all() {
                self.metrics.points_scanned(view.source.dataset().rows());
            }
            let bytes = selection.bytes;
            Ok((selection, bytes))
        })
    }

    /// The categories of a view with the points selected of each, in the order of the planes of a grid.
    ///
    /// # Errors
    /// As [`Pipeline::selection`].
    pub fn categories(&self, view: &View, cancel: &Cancel) -> Result<Vec<Category>, ServiceError> {
        let selection = self.selection(view, cancel)?;
        Ok(view.source.categories(&selection.groups, &selection.counts))
    }

    /// Makes what all tiles of a view and zoom share, so that nobody who asks for one waits for it.
    ///
    /// # Errors
    /// As [`Pipeline::tile`].
    pub fn prepare(&self, view: &View, zoom: Zoom, cancel: &Cancel) -> Result<(), ServiceError> {
        match view.aggregate {
            Some(aggregate) => self.value_scale(view, aggregate, zoom, cancel).map(drop),
            None => self.prepared(view, zoom, cancel).map(drop),
        }
    }

    /// What the colours of a view mean at a zoom, the distribution behind them, and whether that is exact.
    ///
    /// # Errors
    /// As [`Pipeline::tile`].
    pub fn legend(&self, view: &View, zoom: Zoom, cancel: &Cancel) -> Result<Explained, ServiceError> {
        if let Some(aggregate) = view.aggregate {
            return self.value_legend(view, aggregate, zoom, cancel);
        }
        let prepared = self.prepared(view, zoom, cancel)?;
        let (distribution, quality) = if view.style.needs_distribution() {
            (prepared.distribution.clone(), prepared.quality)
        } else {
            self.known_counts(view, zoom, prepared.spread_pixels, cancel)?
        };
        let categories = self.categories(view, cancel)?;
        let legend = Legend::new(&view.style, &categories, &distribution, prepared.spread_pixels)?;
        Ok(Explained::Counts(legend, distribution, quality))
    }

    /// Forgets what a source's engine has selected.
    pub(super) fn forget_selections(&self, source: u64) {
        self.selections.remove_where(|(of, _)| *of == source);
    }

    /// Forgets counts of a dataset, known by its first version.
    pub(super) fn forget_counts(&self, origin: &str, purge: &Purge) {
        self.grids.remove_where(|(digest, tile)| digest.is_of_data(origin) && purge.takes(*tile));
    }

    /// Forgets everything.
    pub(super) fn forget_all(&self) {
        self.selections.forget_all();
        self.grids.remove_where(|_| true);
        self.distributions.forget_all();
        self.value_distributions.forget_all();
        self.estimates.forget_all();
        self.radii.forget_all();
        self.value_estimates.forget_all();
        self.shaders.forget_all();
    }

    pub fn cache_stats(&self) -> [(&'static str, CacheStats); 4] {
        [
            ("selection", self.selections.stats()),
            ("grid", self.grids.stats()),
            ("distribution", self.distributions.stats()),
            ("value_distribution", self.value_distributions.stats()),
        ]
    }

    /// By how many pixels a view's points are spread at a zoom.
    ///
    /// # Errors
    /// As [`Pipeline::selection`].
    pub fn spread_pixels(&self, view: &View, zoom: Zoom, cancel: &Cancel) -> Result<usize, ServiceError> {
        match view.style.spread {
            _ if view.aggregate.is_some() => Ok(0),
            Spread::Pixels(pixels) => Ok(pixels),
            Spread::Auto => self.auto_spread(view, zoom, cancel),
        }
    }

    /// Whether the image of a tile at a zoom shows nothing but the tile's own counts, as [`Pipeline::count_once`] gives them.
    ///
    /// # Errors
    /// As [`Pipeline::tile`].
    pub fn shows_own_counts(&self, view: &View, zoom: Zoom, cancel: &Cancel) -> Result<bool, ServiceError> {
        Ok(view.aggregate.is_none() && self.prepared(view, zoom, cancel)?.spread_pixels == 0)
    }

    /// The image of counts that took `count` to make.
    ///
    /// # Errors
    /// As [`Pipeline::tile`].
    pub fn image_of(&self, request: &TileRequest, grid: CountGrid, count: Duration, cancel: &Cancel) -> Result<Tile, ServiceError> {
        let prepared = self.prepared(&request.view, pixel_zoom(request.tile, request.scale), cancel)?;
        self.painted(request, &prepared, Some(grid), count, Quality::Exact, cancel)
    }

    fn image(&self, request: &TileRequest, encoding: Quality, cancel: &Cancel) -> Result<Tile, ServiceError> {
        let TileRequest { view, tile, scale, .. } = request;
        let started = Instant::now();
        let prepared = self.prepared(view, pixel_zoom(*tile, *scale), cancel)?;
        let grid = match prepared.spread_pixels {
            0 => self.counts(view, *tile, *scale, cancel)?,
            radius => self.counts_spread(view, *tile, *scale, radius, cancel)?,
        };
        self.painted(request, &prepared, grid, started.elapsed(), encoding, cancel)
    }

    fn painted(
        &self,
        request: &TileRequest,
        prepared: &Prepared,
        grid: Option<CountGrid>,
        count: Duration,
        encoding: Quality,
        cancel: &Cancel,
    ) -> Result<Tile, ServiceError> {
        let TileRequest { view, scale, .. } = request;
        let started = Instant::now();
        let pixels = scale.pixels();
        let grid = match (grid, view.style.background) {
            (Some(grid), _) => grid,
            // One body for all empty tiles, and nothing in it that a distribution could change.
            (None, None) => {
                let times = StageTimes { count, ..StageTimes::default() };
                let body = Bytes::from_static(empty_png(pixels)).into();
                return Ok(Tile { body, is_kept: false, quality: TileQuality::Exact, times });
            }
            (None, Some(_)) => CountGrid::zeros(view.source.groups(view.by)?.len(), pixels),
        };
        cancel.check()?;
        let rgba = tracing::info_span!(target: TRACE, "shade").in_scope(|| prepared.shader.shade(&grid));
        let shade = started.elapsed();
        let bytes = tracing::info_span!(target: TRACE, "encode").in_scope(|| Bytes::from(png(&rgba, pixels, encoding)));
        let encode = started.elapsed() - shade;
        let times = StageTimes { count, shade, encode };
        self.metrics.observe_stages(request, &times);
        let quality = prepared.quality;
        Ok(Tile { body: bytes.into(), is_kept: quality != TileQuality::Preview, quality, times })
    }

    fn prepared(&self, view: &View, zoom: Zoom, cancel: &Cancel) -> Result<Arc<Prepared>, ServiceError> {
        let spread_pixels = self.spread_pixels(view, zoom, cancel)?;
        let quality = self.quality(view, zoom, spread_pixels);
        self.shaders.get(&(view.image, zoom, quality), cancel, || {
            let categories = self.categories(view, cancel)?;
            let distribution = self.count_scale(view, zoom, spread_pixels, quality, cancel)?;
            let shader = Shader::new(&view.style, &categories, &distribution)?;
            let bytes = PREPARED_BYTES + distribution.bytes();
            Ok((Arc::new(Prepared { shader, spread_pixels, distribution, quality }), bytes))
        })
    }

}

/// A stage's time in the unit of headers and metrics.
pub(super) fn seconds(duration: Duration) -> f64 {
    duration.as_secs_f64()
}
