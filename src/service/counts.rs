//! Counts of tiles: those that are kept, the others from the engine in one call, side by side, spread.

use super::ServiceError;
use super::mosaic::{around, stitched_counts, tiles_within};
use super::packed::{PackedGrid, PackedValues};
use super::pipeline::Pipeline;
use super::tile::Scale;
use super::view::View;
use super::{Digest, TRACE};
use crate::engine::{Cancel, CountGrid};
use crate::shade::{halo, spread};
use crate::world::TileId;
use std::sync::Arc;
use std::time::Instant;

/// Counts and values share a budget; which a grid has its digest says.
#[derive(Clone)]
pub(super) enum KeptGrid {
    Counts(Arc<PackedGrid>),
    Values(Arc<PackedValues>),
}

impl KeptGrid {
    fn bytes(&self) -> usize {
        match self {
            KeptGrid::Counts(grid) => grid.bytes(),
            KeptGrid::Values(grid) => grid.bytes(),
        }
    }
}

impl Pipeline {
    /// Counts of several tiles of 256 pixels: from the cache, the others in one call of the engine. `None` without points.
    ///
    /// # Errors
    /// As [`Pipeline::selection`].
    pub fn grids(&self, view: &View, tiles: &[TileId], cancel: &Cancel) -> Result<Vec<Option<CountGrid>>, ServiceError> {
        let unpacked = |grid: Option<Arc<PackedGrid>>| grid.and_then(|grid| grid.unpack());
        Ok(self.packed_grids(view, tiles, cancel)?.into_iter().map(unpacked).collect())
    }

    /// As [`Pipeline::grids`], as they are kept.
    fn packed_grids(&self, view: &View, tiles: &[TileId], cancel: &Cancel) -> Result<Vec<Option<Arc<PackedGrid>>>, ServiceError> {
        let found = self.kept_grids(view, |tile| view.counts_of(tile), tiles, |lacking| {
            let selection = self.selection(view, cancel)?;
            let _span = tracing::info_span!(target: TRACE, "count").entered();
            let started = Instant::now();
            let grids = view.source.engine().count(&selection, lacking, cancel)?;
            self.metrics.device_time("count", started.elapsed());
            let kept = grids.into_iter().map(|grid| KeptGrid::Counts(Arc::new(PackedGrid::pack(grid))));
            Ok(kept.collect())
        })?;
        let counts = |grid: Option<KeptGrid>| match grid {
            Some(KeptGrid::Counts(grid)) => Some(grid),
            _ => None,
        };
        Ok(found.into_iter().map(counts).collect())
    }

    /// Grids from the cache, the others made together by `make`, in the order of the tiles that it is given. `None` for tiles
    /// without points.
    pub(super) fn kept_grids(
        &self,
        view: &View,
        digest_of: impl Fn(TileId) -> Digest,
        tiles: &[TileId],
        make: impl FnOnce(&[TileId]) -> Result<Vec<KeptGrid>, ServiceError>,
    ) -> Result<Vec<Option<KeptGrid>>, ServiceError> {
        let mut found: Vec<Option<KeptGrid>> = Vec::with_capacity(tiles.len());
        let mut lacking: Vec<(usize, (Digest, TileId))> = Vec::new();
        for (i, &tile) in tiles.iter().enumerate() {
            let key = view.source.has_points(tile).then(|| (digest_of(tile), tile));
            let grid = key.as_ref().and_then(|key| self.grids.get(key));
            if let (Some(key), None) = (key, &grid) {
                lacking.push((i, key));
            }
            found.push(grid);
        }
        if !lacking.is_empty() {
            let wanted: Vec<TileId> = lacking.iter().map(|(_, (_, tile))| *tile).collect();
            for ((i, key), grid) in lacking.into_iter().zip(make(&wanted)?) {
                self.grids.insert(key, grid.clone(), grid.bytes());
                found[i] = Some(grid);
            }
        }
        Ok(found)
    }

    /// Counts of tiles of 256 pixels in one call of the engine, past the cache: for whoever makes each tile once, and would only push out what
    /// others ask for again.
    ///
    /// # Errors
    /// As [`Pipeline::selection`].
    pub fn count_once(&self, view: &View, tiles: &[TileId], cancel: &Cancel) -> Result<Vec<CountGrid>, ServiceError> {
        let selection = self.selection(view, cancel)?;
        let started = Instant::now();
        let grids = view.source.engine().count(&selection, tiles, cancel)?;
        self.metrics.device_time("count", started.elapsed());
        Ok(grids)
    }

    /// The counts of a tile at its scale; `None` without points.
    pub(super) fn counts(&self, view: &View, tile: TileId, scale: Scale, cancel: &Cancel) -> Result<Option<CountGrid>, ServiceError> {
        let grids = self.grids(view, &tiles_within(tile, scale.zooms()), cancel)?;
        Ok(stitched_counts(grids))
    }

    /// As [`Pipeline::counts`], as they are kept: those of a tile of 256 pixels are never unpacked.
    pub(super) fn packed_counts(
        &self,
        view: &View,
        tile: TileId,
        scale: Scale,
        cancel: &Cancel,
    ) -> Result<Option<Arc<PackedGrid>>, ServiceError> {
        match scale {
            Scale::One => Ok(self.packed_grids(view, &[tile], cancel)?.pop().flatten().filter(|grid| !grid.is_empty())),
            _ => Ok(self.counts(view, tile, scale, cancel)?.map(|grid| Arc::new(PackedGrid::pack(grid)))),
        }
    }

    /// The counts of a tile, each point spread over the pixels around it, also from beyond the tile's border.
    pub(super) fn counts_spread(
        &self,
        view: &View,
        tile: TileId,
        scale: Scale,
        radius: usize,
        cancel: &Cancel,
    ) -> Result<Option<CountGrid>, ServiceError> {
        let around = around(tile);
        // In one call, for engines answer by the batch; then from the cache.
        let tiles: Vec<TileId> = around.iter().flatten().flatten().flat_map(|tile| tiles_within(*tile, scale.zooms())).collect();
        let mut grids = self.grids(view, &tiles, cancel)?.into_iter();
        let per_tile = 1 << (2 * scale.zooms());
        let around = around.map(|row| row.map(|tile| tile.and_then(|_| stitched_counts(grids.by_ref().take(per_tile).collect()))));
        let borrowed = around.each_ref().map(|row| row.each_ref().map(Option::as_ref));
        Ok(halo(borrowed, radius).map(|padded| spread(&padded, radius)).filter(|grid| !grid.is_empty()))
    }
}
