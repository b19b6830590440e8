//! What tiles come to, handed on: a tile's numbers at half its pixels are a quarter of those of the tile around it, exactly.
//!
//! Past the caches: for whoever makes each tile once.

use super::mosaic::{counts_side_by_side, partials_side_by_side};
use super::pipeline::Pipeline;
use super::tile::{Tile, TileRequest};
use super::view::View;
use super::ServiceError;
use crate::engine::{Cancel, CountGrid, Numbers, PartialGrid};
use crate::shade::Spread;
use crate::world::TileId;
use std::time::{Duration, Instant};

/// The deepest zoom whose counts under a filter are summed from those of the next. A sum costs the same for every tile, a count goes by occupied
/// pixels and, above the levels whose ranks are kept, by their bitmaps: of 40 million towers, 0.55 ms for 2.3 of zoom 0 and 0.7 for 4 of
/// zoom 4, and 0.9 for 0.4 of zoom 8 (docs/benchmarks.md).
const FILTERED_ZOOM_MAX: u8 = 4;

/// The points of a tile from which on an aggregate of it is summed: a sum takes 0.4 ms of a processor, a point 3.4 ns (docs/benchmarks.md).
const AGGREGATED_POINTS_MIN: u64 = 1 << 17;

/// Which tiles of a view are to be summed from those of the next zoom, where both are made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SumRule {
    pub zoom_max: u8,
    /// Of the dataset, in the tile.
    pub points_min: u64,
}

/// What the points of a tile come to, pixel by pixel.
#[derive(Clone, Debug, PartialEq)]
pub enum TileNumbers {
    Counts(CountGrid),
    /// What an aggregate's values are made of.
    Partials(PartialGrid),
}

impl TileNumbers {
    /// The tile's quarter of the tile around it.
    pub fn halved(&self) -> TileNumbers {
        match self {
            TileNumbers::Counts(grid) => TileNumbers::Counts(grid.halved()),
            TileNumbers::Partials(grid) => TileNumbers::Partials(grid.halved()),
        }
    }

    /// A tile of its quarters, in the order of [`TileId::children`]; `None` where there is no point. `None` if all are.
    pub fn of_quarters(quarters: [Option<&TileNumbers>; 4]) -> Option<TileNumbers> {
        let counts = quarters.map(|quarter| match quarter {
            Some(TileNumbers::Counts(grid)) => Some(grid),
            _ => None,
        });
        let partials = quarters.map(|quarter| match quarter {
            Some(TileNumbers::Partials(grid)) => Some(grid),
            _ => None,
        });
        let summed = || partials_side_by_side(&partials).map(TileNumbers::Partials);
        counts_side_by_side(&counts).map(TileNumbers::Counts).or_else(summed)
    }
}

impl Pipeline {
    /// Which tiles are to be summed: what a sum gives is what a count gives, and it costs less. `None` where that is so for none.
    ///
    /// Aggregates read every point of a tile, so a sum wins where these are many; but floats are added in the order of the points. All points
    /// are counted by the index in a tenth of a millisecond, a device counts many tiles at once, and points that are spread show in tiles that are
    /// not around them.
    pub fn sum_rule(&self, view: &View) -> Option<SumRule> {
        let source = &view.source;
        match view.aggregate {
            Some(aggregate) => {
                let numbers = Numbers::of(source.dataset(), aggregate.column)?;
                let rule = SumRule { zoom_max: u8::MAX, points_min: AGGREGATED_POINTS_MIN };
                numbers.add_in_any_order(aggregate.measure).then_some(rule)
            }
            None => {
                let is_cheaper = !view.filter.is_all() && source.engine().info().backend == "cpu";
                let rule = SumRule { zoom_max: FILTERED_ZOOM_MAX, points_min: 0 };
                (is_cheaper && view.style.spread == Spread::Pixels(0)).then_some(rule)
            }
        }
    }

    /// What the points of a tile of 256 pixels come to, by the engine.
    ///
    /// # Errors
    /// As [`Pipeline::selection`].
    pub fn numbers_once(&self, view: &View, tile: TileId, cancel: &Cancel) -> Result<TileNumbers, ServiceError> {
        let answered = "an engine answers every tile that it is asked for";
        let Some(aggregate) = view.aggregate else {
            return Ok(TileNumbers::Counts(self.count_once(view, &[tile], cancel)?.pop().expect(answered)));
        };
        let selection = self.selection(view, cancel)?;
        let started = Instant::now();
        let partials = view.source.engine().partials(&selection, aggregate, &[tile], cancel)?.pop();
        self.metrics.device_time("aggregate", started.elapsed());
        Ok(TileNumbers::Partials(partials.expect(answered)))
    }

    /// The image of a tile's numbers that took `count` to make.
    ///
    /// # Errors
    /// As [`Pipeline::tile`].
    pub fn image_of_numbers(&self, request: &TileRequest, numbers: TileNumbers, count: Duration, cancel: &Cancel) -> Result<Tile, ServiceError> {
        match numbers {
            TileNumbers::Counts(grid) => self.image_of(request, grid, count, cancel),
            TileNumbers::Partials(partials) => self.image_of_partials(request, &partials, count, cancel),
        }
    }
}
