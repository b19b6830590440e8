//! The pipeline: selection -> counts -> distribution -> shade -> encode, each step's result cached apart.
//!
//! It blocks and runs on the caller's thread. Requests, queues and finished tiles are somebody else's subject.

use super::cache::{ByteLru, CacheStats, Oversized};
use super::memo::Memo;
use super::packed::{PackedGrid, PackedValues};
use super::tile::{Content, Scale, StageTimes, Tile, TileRequest};
use super::view::View;
use super::{Digest, Metrics, ServiceError};
use crate::encode::{Quality, empty_png, npy, png};
use crate::engine::{Cancel, CountGrid, Distribution, Selection, ValueDistribution};
use crate::shade::{Category, Legend, Shader, Spread, SpreadDensity, halo, spread};
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
    selections: Memo<Digest, Selection>,
    pub(super) grids: ByteLru<(Digest, TileId), KeptGrid>,
    distributions: Memo<(Digest, Zoom), Distribution>,
    pub(super) value_distributions: Memo<(Digest, Zoom), ValueDistribution>,
    shaders: Memo<(Digest, Zoom), Prepared>,
    pub(super) metrics: Arc<Metrics>,
}

/// Counts and values share a budget; which a grid has its digest says.
#[derive(Clone)]
pub(super) enum KeptGrid {
    Counts(Arc<PackedGrid>),
    Values(Arc<PackedValues>),
}

/// A legend, and the distribution that it was made from.
pub enum Explained {
    Counts(Legend, Arc<Distribution>),
    Values(Legend, Arc<ValueDistribution>),
}

impl Explained {
    pub fn legend(&self) -> &Legend {
        match self {
            Explained::Counts(legend, _) | Explained::Values(legend, _) => legend,
        }
    }
}

impl KeptGrid {
    fn bytes(&self) -> usize {
        match self {
            KeptGrid::Counts(grid) => grid.bytes(),
            KeptGrid::Values(grid) => grid.bytes(),
        }
    }
}

/// What all tiles of a view and zoom share.
struct Prepared {
    shader: Shader,
    spread_pixels: usize,
}

/// A shader's tables: 65,537 counts of four bytes, and room for the rest.
const PREPARED_BYTES: usize = (65_537 * 4) + 4096;

/// Tiles whose pixels decide how far `spread=auto` spreads.
const SPREAD_SAMPLE_TILES: u64 = 16;

impl Pipeline {
    pub fn new(budgets: &CacheBudgets, metrics: Arc<Metrics>) -> Pipeline {
        Pipeline {
            selections: Memo::new(budgets.selection_bytes, Oversized::KeepAlone),
            grids: ByteLru::new(budgets.grid_bytes),
            distributions: Memo::new(budgets.distribution_bytes / 4, Oversized::KeepAlone),
            value_distributions: Memo::new(budgets.distribution_bytes / 4, Oversized::KeepAlone),
            shaders: Memo::new(budgets.distribution_bytes / 2, Oversized::KeepAlone),
            metrics,
        }
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
            Content::Png => self.image(request, cancel),
            Content::Npy(dtype) => {
                let started = Instant::now();
                let groups = request.view.source.groups(request.view.by)?.len();
                let grid = self.counts(&request.view, request.tile, request.scale, cancel)?;
                let count = started.elapsed();
                let is_kept = grid.is_some();
                let grid = grid.unwrap_or_else(|| CountGrid::zeros(groups, request.scale.pixels()));
                let bytes = Bytes::from(npy(&grid, dtype));
                let times = StageTimes { count, encode: started.elapsed() - count, ..StageTimes::default() };
                self.metrics.observe_stages(request, &times);
                Ok(Tile { bytes, is_kept, times })
            }
        }
    }

    /// The points that pass the view's filter, by category.
    ///
    /// # Errors
    /// The categories are too many, the engine fails, or the answer is no longer wanted.
    pub fn selection(&self, view: &View, cancel: &Cancel) -> Result<Arc<Selection>, ServiceError> {
        self.selections.get(&view.counts, cancel, || {
            let groups = view.source.groups(view.by)?;
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

    /// How often each count occurs among the pixels of a whole zoom.
    ///
    /// # Errors
    /// As [`Pipeline::selection`].
    pub fn distribution(&self, view: &View, zoom: Zoom, cancel: &Cancel) -> Result<Arc<Distribution>, ServiceError> {
        self.distributions.get(&(view.counts, zoom), cancel, || {
            let selection = self.selection(view, cancel)?;
            let started = Instant::now();
            let distribution = view.source.engine().distribution(&selection, zoom, cancel)?;
            self.metrics.device_time("distribution", started.elapsed());
            let bytes = distribution.pixels_by_count.len() * size_of::<(u32, u64)>();
            Ok((Arc::new(distribution), bytes))
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

    /// What the colours of a view mean at a zoom.
    ///
    /// # Errors
    /// As [`Pipeline::tile`].
    pub fn legend(&self, view: &View, zoom: Zoom, cancel: &Cancel) -> Result<Explained, ServiceError> {
        if let Some(aggregate) = view.aggregate {
            let (legend, distribution) = self.value_legend(view, aggregate, zoom, cancel)?;
            return Ok(Explained::Values(legend, distribution));
        }
        let prepared = self.prepared(view, zoom, cancel)?;
        let distribution = self.distribution(view, zoom, cancel)?;
        let categories = self.categories(view, cancel)?;
        let legend = Legend::new(&view.style, &categories, &distribution, prepared.spread_pixels)?;
        Ok(Explained::Counts(legend, distribution))
    }

    /// Counts of several tiles of 256 pixels: from the cache, the others in one call of the engine. `None` without points.
    ///
    /// # Errors
    /// As [`Pipeline::selection`].
    pub fn grids(&self, view: &View, tiles: &[TileId], cancel: &Cancel) -> Result<Vec<Option<CountGrid>>, ServiceError> {
        let found = self.kept_grids(view, view.counts, tiles, |lacking| {
            let selection = self.selection(view, cancel)?;
            let started = Instant::now();
            let grids = view.source.engine().count(&selection, lacking, cancel)?;
            self.metrics.device_time("count", started.elapsed());
            let kept = grids.into_iter().map(|grid| KeptGrid::Counts(Arc::new(PackedGrid::pack(grid))));
            Ok(kept.collect())
        })?;
        let unpacked = |grid: Option<KeptGrid>| match grid {
            Some(KeptGrid::Counts(grid)) => grid.unpack(),
            _ => None,
        };
        Ok(found.into_iter().map(unpacked).collect())
    }

    /// Grids from the cache, the others made together by `make`, in the order of the tiles that it is given. `None` for tiles
    /// without points.
    pub(super) fn kept_grids(
        &self,
        view: &View,
        digest: Digest,
        tiles: &[TileId],
        make: impl FnOnce(&[TileId]) -> Result<Vec<KeptGrid>, ServiceError>,
    ) -> Result<Vec<Option<KeptGrid>>, ServiceError> {
        let mut found: Vec<Option<KeptGrid>> = Vec::with_capacity(tiles.len());
        let mut lacking: Vec<(usize, TileId)> = Vec::new();
        for (i, &tile) in tiles.iter().enumerate() {
            let grid = if view.source.has_points(tile) { self.grids.get(&(digest, tile)) } else { None };
            if grid.is_none() && view.source.has_points(tile) {
                lacking.push((i, tile));
            }
            found.push(grid);
        }
        if !lacking.is_empty() {
            let wanted: Vec<TileId> = lacking.iter().map(|(_, tile)| *tile).collect();
            for ((i, tile), grid) in lacking.into_iter().zip(make(&wanted)?) {
                self.grids.insert((digest, tile), grid.clone(), grid.bytes());
                found[i] = Some(grid);
            }
        }
        Ok(found)
    }

    pub fn cache_stats(&self) -> [(&'static str, CacheStats); 4] {
        [
            ("selection", self.selections.stats()),
            ("grid", self.grids.stats()),
            ("distribution", self.distributions.stats()),
            ("value_distribution", self.value_distributions.stats()),
        ]
    }

    fn image(&self, request: &TileRequest, cancel: &Cancel) -> Result<Tile, ServiceError> {
        let TileRequest { view, tile, scale, .. } = request;
        let started = Instant::now();
        let prepared = self.prepared(view, pixel_zoom(*tile, *scale), cancel)?;
        let grid = match prepared.spread_pixels {
            0 => self.counts(view, *tile, *scale, cancel)?,
            radius => self.counts_spread(view, *tile, *scale, radius, cancel)?,
        };
        let count = started.elapsed();
        let pixels = scale.pixels();
        let grid = match (grid, view.style.background) {
            (Some(grid), _) => grid,
            // One body for all empty tiles.
            (None, None) => {
                let times = StageTimes { count, ..StageTimes::default() };
                return Ok(Tile { bytes: Bytes::from_static(empty_png(pixels)), is_kept: false, times });
            }
            (None, Some(_)) => CountGrid::zeros(view.source.groups(view.by)?.len(), pixels),
        };
        cancel.check()?;
        let rgba = prepared.shader.shade(&grid);
        let shade = started.elapsed() - count;
        let bytes = Bytes::from(png(&rgba, pixels, Quality::Exact));
        let encode = started.elapsed() - count - shade;
        let times = StageTimes { count, shade, encode };
        self.metrics.observe_stages(request, &times);
        Ok(Tile { bytes, is_kept: true, times })
    }

    fn prepared(&self, view: &View, zoom: Zoom, cancel: &Cancel) -> Result<Arc<Prepared>, ServiceError> {
        self.shaders.get(&(view.image, zoom), cancel, || {
            let categories = self.categories(view, cancel)?;
            let spread_pixels = match view.style.spread {
                Spread::Pixels(pixels) => pixels,
                Spread::Auto => self.spread_density(view, zoom, cancel)?.radius(),
            };
            let distribution = self.distribution(view, zoom, cancel)?;
            let shader = Shader::new(&view.style, &categories, &distribution)?;
            Ok((Arc::new(Prepared { shader, spread_pixels }), PREPARED_BYTES))
        })
    }

    /// How sparse a zoom is, from the tiles around evenly spaced points of the dataset: the same answer for every tile.
    fn spread_density(&self, view: &View, zoom: Zoom, cancel: &Cancel) -> Result<SpreadDensity, ServiceError> {
        let parts = &view.source.dataset().parts;
        let samples = parts.iter().flat_map(|part| {
            let rows = u64::from(part.rows());
            let each = SPREAD_SAMPLE_TILES.div_ceil(parts.len() as u64);
            (0..each).map(move |i| part.key((rows * i / each) as u32).world())
        });
        let mut tiles: Vec<TileId> = samples.map(|point| TileId::containing(point, zoom)).collect();
        tiles.sort_unstable();
        tiles.dedup();
        tiles.truncate(SPREAD_SAMPLE_TILES as usize);
        let mut density = SpreadDensity::default();
        for grid in self.grids(view, &tiles, cancel)?.iter().flatten() {
            density.add(SpreadDensity::of(grid));
        }
        Ok(density)
    }

    /// The counts of a tile at its scale; `None` without points.
    fn counts(&self, view: &View, tile: TileId, scale: Scale, cancel: &Cancel) -> Result<Option<CountGrid>, ServiceError> {
        match scale {
            Scale::One => Ok(self.grids(view, &[tile], cancel)?.pop().flatten()),
            Scale::Two => {
                let children = tile.children().expect("zooms are served up to one above the deepest");
                Ok(stitched(&self.grids(view, &children, cancel)?))
            }
        }
    }

    /// The counts of a tile, each point spread over the pixels around it, also from beyond the tile's border.
    fn counts_spread(
        &self,
        view: &View,
        tile: TileId,
        scale: Scale,
        radius: usize,
        cancel: &Cancel,
    ) -> Result<Option<CountGrid>, ServiceError> {
        let mut around: [[Option<CountGrid>; 3]; 3] = Default::default();
        for (dy, row) in (-1..).zip(&mut around) {
            for (dx, grid) in (-1..).zip(row) {
                if let Some(neighbour) = tile.neighbour(dx, dy) {
                    *grid = self.counts(view, neighbour, scale, cancel)?;
                }
            }
        }
        let borrowed = around.each_ref().map(|row| row.each_ref().map(Option::as_ref));
        Ok(halo(borrowed, radius).map(|padded| spread(&padded, radius)).filter(|grid| !grid.is_empty()))
    }
}

/// The zoom whose 256-pixel tiles have the pixels of this one.
pub fn pixel_zoom(tile: TileId, scale: Scale) -> Zoom {
    match scale {
        Scale::One => tile.zoom(),
        Scale::Two => Zoom::new(tile.z() + 1).expect("zooms are served up to one above the deepest"),
    }
}

/// Four grids (north-west, north-east, south-west, south-east) as one of twice the side. `None` if all are empty.
fn stitched(quarters: &[Option<CountGrid>]) -> Option<CountGrid> {
    let (categories, side) = quarters.iter().flatten().map(|grid| (grid.categories, grid.size)).next()?;
    let mut whole = CountGrid::zeros(categories, 2 * side);
    for (i, quarter) in quarters.iter().enumerate() {
        let Some(quarter) = quarter else { continue };
        let (left, top) = (i % 2 * side, i / 2 * side);
        for category in 0..categories {
            for (row, counts) in quarter.plane(category).chunks_exact(side).enumerate() {
                let at = (category * 2 * side + top + row) * 2 * side + left;
                whole.counts[at..][..side].copy_from_slice(counts);
            }
        }
    }
    Some(whole)
}

/// A stage's time in the unit of headers and metrics.
pub(super) fn seconds(duration: Duration) -> f64 {
    duration.as_secs_f64()
}
