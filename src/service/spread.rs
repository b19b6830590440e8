//! How often counts occur in a whole zoom whose points are spread: exactly, by spreading them all.
//!
//! What spread counts come to only spreading tells, so this is for zooms with few tiles ([`super::Source::few_tiles`]). They are gone through from
//! north to south, and the counts of three rows of tiles are held at a time, packed.

use super::mosaic::around;
use super::packed::PackedGrid;
use super::pipeline::Pipeline;
use super::tile::Scale;
use super::view::View;
use super::{ServiceError, TRACE};
use crate::engine::{Cancel, CountGrid, Distribution};
use crate::shade::{halo, spread};
use crate::world::TileId;
use rayon::prelude::*;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::Instant;

/// Tiles that are counted in one call, for engines answer by the batch: 21 MB of five categories.
const COUNTED_AT_ONCE: usize = 16;

/// The totals of tiles that have points.
type Totals = HashMap<TileId, PackedGrid>;

impl Pipeline {
    /// How often each count occurs among the pixels of a zoom whose tiles with points are these, each point spread over `radius` pixels.
    ///
    /// # Errors
    /// As [`Pipeline::selection`].
    pub(super) fn spread_distribution(
        &self,
        view: &View,
        tiles: &[TileId],
        radius: usize,
        cancel: &Cancel,
    ) -> Result<Distribution, ServiceError> {
        let _span = tracing::info_span!(target: TRACE, "distribution").entered();
        let started = Instant::now();
        let mut rows: BTreeMap<u32, Vec<TileId>> = BTreeMap::new();
        tiles.iter().for_each(|&tile| rows.entry(tile.y()).or_default().push(tile));
        // Points reach into tiles that have none, too.
        let reached: BTreeSet<(u32, TileId)> =
            tiles.iter().flat_map(|&tile| around(tile).into_iter().flatten().flatten()).map(|tile| (tile.y(), tile)).collect();
        let mut totals = Totals::new();
        let mut pixels_by_count: BTreeMap<u32, u64> = BTreeMap::new();
        for of_row in reached.into_iter().collect::<Vec<_>>().chunk_by(|a, b| a.0 == b.0) {
            let y = of_row[0].0;
            totals.retain(|tile, _| tile.y() + 1 >= y);
            for row in y.saturating_sub(1)..=y + 1 {
                self.add_totals(view, &rows.remove(&row).unwrap_or_default(), &mut totals, cancel)?;
            }
            let of_tiles = of_row.par_iter().map(|&(_, tile)| {
                cancel.check()?;
                Ok(distribution_of(tile, &totals, radius))
            });
            for distribution in of_tiles.collect::<Result<Vec<_>, ServiceError>>()? {
                distribution.pixels_by_count.into_iter().for_each(|(count, pixels)| *pixels_by_count.entry(count).or_default() += pixels);
            }
        }
        let took = started.elapsed();
        self.metrics.device_time("distribution", took);
        self.spread_pace.observe(spread_pixels(tiles), took);
        Ok(Distribution { pixels_by_count: pixels_by_count.into_iter().collect() })
    }

    fn add_totals(&self, view: &View, tiles: &[TileId], totals: &mut Totals, cancel: &Cancel) -> Result<(), ServiceError> {
        for tiles in tiles.chunks(COUNTED_AT_ONCE) {
            let grids = self.count_once(view, tiles, cancel)?;
            let packed = |grid: CountGrid| PackedGrid::pack(CountGrid { categories: 1, size: grid.size, counts: grid.totals() });
            totals.extend(tiles.iter().copied().zip(grids.into_iter().map(packed)));
        }
        Ok(())
    }
}

/// What spreading the points of so many tiles has to look at.
pub(super) fn spread_pixels(tiles: &[TileId]) -> u64 {
    (tiles.len() * Scale::One.pixels() * Scale::One.pixels()) as u64
}

fn distribution_of(tile: TileId, totals: &Totals, radius: usize) -> Distribution {
    let grids = around(tile).map(|row| row.map(|tile| tile.and_then(|tile| totals.get(&tile)?.unpack())));
    let borrowed = grids.each_ref().map(|row| row.each_ref().map(Option::as_ref));
    halo(borrowed, radius).map_or_else(Distribution::default, |padded| Distribution::of_totals(spread(&padded, radius).totals()))
}
