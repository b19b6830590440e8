//! Tiles that stand for a whole zoom, where all of its tiles would be too many to count.
//!
//! A few are taken, the same whoever asks: starting from the world's one tile, whose pixels show which tiles 8 zooms deeper have
//! points, at most 16 of these are taken, evenly along the Z-order curve, and so on down to the zoom. Two to four small batches of
//! tiles, once per selection and zoom. They decide how far `spread=auto` spreads, colour a map until its exact distribution is
//! there, and one whose points are spread over many tiles for good.

use super::spread::SpreadDensity;
use crate::engine::{CountGrid, Distribution, ValueDistribution, ValueGrid};
use crate::world::{TILE_PIXELS_LOG2, TileId, Zoom};

/// Enough that a few odd tiles do not decide, few enough that their counts take milliseconds.
const SAMPLE_TILES_MAX: usize = 16;

/// The tiles that stand for a zoom and selection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SampledTiles {
    tiles: Vec<TileId>,
    /// So many of them, the first, lie evenly along the Z-order curve. Where there is one more, it is the one found by going to the one
    /// with the most points at each stage.
    evenly: usize,
}

impl SampledTiles {
    /// `count` gives the 256-pixel grids of tiles, in their order; the sum over categories is what matters. For images with finer pixels
    /// (`@2x`, 512) ask for the zoom whose pixels they have.
    ///
    /// # Errors
    /// Those of `count`.
    pub fn of<E>(zoom: Zoom, mut count: impl FnMut(&[TileId]) -> Result<Vec<CountGrid>, E>) -> Result<SampledTiles, E> {
        if 1 << (2 * zoom.get()) <= SAMPLE_TILES_MAX as u64 {
            // All there are, also those into which points are only spread.
            let side = 1u32 << zoom.get();
            let tile = |i: u32| TileId::new(zoom.get(), i % side, i / side).expect("a zoom has so many tiles");
            return Ok(SampledTiles { tiles: (0..side * side).map(tile).collect(), evenly: (side * side) as usize });
        }
        let world = TileId::new(0, 0, 0).expect("zoom 0 has a tile");
        let mut sample = SampledTiles { tiles: vec![world], evenly: 1 };
        let mut densest = world;
        while densest.z() < zoom.get() {
            // In one call, for engines answer by the batch.
            let grids = count(&sample.tiles)?;
            let next = zoom.get().min(densest.z() + TILE_PIXELS_LOG2 as u8);
            let evenly = sample.tiles[..sample.evenly].iter().zip(&grids);
            let mut occupied: Vec<TileId> = evenly.flat_map(|(tile, grid)| below(*tile, grid, next)).map(|(tile, _)| tile).collect();
            occupied.sort_unstable_by_key(|tile| tile.cell());
            let place = sample.tiles.iter().position(|&tile| tile == densest).expect("it is among them");
            let most = below(densest, &grids[place], next).into_iter().max_by_key(|&(_, points)| points);
            densest = most.map_or_else(|| first_below(densest, next), |(tile, _)| tile);
            let mut tiles = evenly_of(&occupied, SAMPLE_TILES_MAX);
            let evenly = tiles.len();
            if !tiles.contains(&densest) {
                tiles.push(densest);
            }
            sample = SampledTiles { tiles, evenly };
        }
        Ok(sample)
    }

    pub fn tiles(&self) -> &[TileId] {
        &self.tiles
    }

    /// The radius of `spread=auto`, 0 to 3: dynspread's rule over the tiles' grids.
    pub fn auto_spread(&self, grids: &[CountGrid]) -> usize {
        let mut density = SpreadDensity::default();
        for grid in &grids[..self.evenly] {
            density.add(SpreadDensity::of(grid));
        }
        density.radius()
    }

    /// About how often each total count occurs among the non-empty pixels of the zoom: that of the tiles' grids, spread or not, and the highest
    /// count of the tile that has the most points, for a scale must not end before it. Exact where the zoom has no more tiles than the sample.
    pub fn distribution(&self, grids: &[CountGrid]) -> Distribution {
        let (evenly, densest) = grids.split_at(self.evenly);
        let beyond = densest.iter().filter_map(|grid| grid.totals().into_iter().max());
        Distribution::of_totals(evenly.iter().flat_map(CountGrid::totals).chain(beyond))
    }

    /// As [`SampledTiles::distribution`], of values; with the lowest and the highest value of the tile that has the most points.
    pub fn value_distribution(&self, grids: &[ValueGrid]) -> ValueDistribution {
        let (evenly, densest) = grids.split_at(self.evenly);
        let finite = |grid: &ValueGrid| grid.values.iter().copied().filter(|value| value.is_finite()).collect::<Vec<f64>>();
        let ends = densest.iter().flat_map(|grid| {
            let values = finite(grid);
            [values.iter().copied().min_by(f64::total_cmp), values.iter().copied().max_by(f64::total_cmp)]
        });
        ValueDistribution::of_values(evenly.iter().flat_map(finite).chain(ends.flatten()))
    }
}

/// The tiles of zoom `next`, at most 8 below, that have points, and how many.
fn below(tile: TileId, grid: &CountGrid, next: u8) -> Vec<(TileId, u64)> {
    let levels = u32::from(next - tile.z());
    let pixels_log2 = TILE_PIXELS_LOG2 - levels;
    let side = 1usize << levels;
    let mut points = vec![0u64; side * side];
    for (index, total) in grid.totals().into_iter().enumerate() {
        let (row, column) = (index / grid.size, index % grid.size);
        points[(row >> pixels_log2) * side + (column >> pixels_log2)] += u64::from(total);
    }
    let tile_at = |index: usize| {
        let (row, column) = ((index / side) as u32, (index % side) as u32);
        TileId::new(next, (tile.x() << levels) + column, (tile.y() << levels) + row).expect("inside a tile that exists")
    };
    points.iter().enumerate().filter(|&(_, &points)| points > 0).map(|(index, &points)| (tile_at(index), points)).collect()
}

/// The north-western tile of zoom `next` inside of a tile.
fn first_below(tile: TileId, next: u8) -> TileId {
    let levels = next - tile.z();
    TileId::new(next, tile.x() << levels, tile.y() << levels).expect("inside a tile that exists")
}

/// At most `max` of the tiles, from the middles of as many equal runs.
fn evenly_of(tiles: &[TileId], max: usize) -> Vec<TileId> {
    let taken = tiles.len().min(max);
    (0..taken).map(|i| tiles[(2 * i + 1) * tiles.len() / (2 * taken)]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::world::WorldPoint;
    use std::convert::Infallible;

    /// Counts points given in world units, by brute force.
    fn counter(points: &[WorldPoint]) -> impl FnMut(&[TileId]) -> Result<Vec<CountGrid>, Infallible> {
        move |tiles| {
            let grid_of = |tile: &TileId| {
                let mut grid = CountGrid::zeros(1, 256);
                for point in points {
                    if TileId::containing(*point, tile.zoom()) == *tile {
                        let pixel = |world: u32| (u64::from(world) >> (24 - tile.z())) as usize & 255;
                        grid.counts[pixel(point.y) * 256 + pixel(point.x)] += 1;
                    }
                }
                grid
            };
            Ok(tiles.iter().map(grid_of).collect())
        }
    }

    /// The sample of a zoom, and its grids.
    fn sampled(z: u8, points: &[WorldPoint]) -> (SampledTiles, Vec<CountGrid>) {
        let sample = SampledTiles::of(Zoom::new(z).unwrap(), counter(points)).unwrap();
        let grids = counter(points)(sample.tiles()).unwrap();
        (sample, grids)
    }

    /// A lattice of points `step` world units apart, 24 a side.
    fn lattice(step: u32) -> Vec<WorldPoint> {
        let at = |i: u32| 0x4000_0000 + i * step;
        (0..24).flat_map(|row| (0..24).map(move |column| WorldPoint { x: at(column), y: at(row) })).collect()
    }

    /// Goal: dynspread's rule at every depth. Method: points 2^13 units apart are 1, 2, 4, 8 pixels apart as one zooms in.
    #[test]
    fn points_spread_as_one_zooms_in() {
        let points = lattice(1 << 13);
        let radius = |z: u8| {
            let (sample, grids) = sampled(z, &points);
            sample.auto_spread(&grids)
        };
        assert_eq!([11, 12, 13, 14, 20].map(radius), [0, 0, 1, 3, 3]);
    }

    #[test]
    fn no_points_do_not_spread() {
        for z in [0, 5, 14] {
            let (sample, grids) = sampled(z, &[]);
            assert_eq!((sample.auto_spread(&grids), sample.distribution(&grids)), (0, Distribution::default()));
        }
    }

    #[test]
    fn few_tiles_are_counted() {
        let points: Vec<WorldPoint> = (0..2000u32)
            .map(|i| WorldPoint { x: i.wrapping_mul(0x9e37_79b9), y: i.wrapping_mul(0x85eb_ca6b) })
            .collect();
        let mut counted = 0;
        let mut count = counter(&points);
        let sample = SampledTiles::of(Zoom::new(18).unwrap(), |tiles| {
            counted += tiles.len();
            count(tiles)
        });
        let sample = sample.unwrap();
        assert_eq!(sample.auto_spread(&count(sample.tiles()).unwrap()), 3, "single points in their tiles");
        assert!(counted <= 1 + 2 * (SAMPLE_TILES_MAX + 1), "{counted} tiles");
        assert!(sample.tiles().len() <= SAMPLE_TILES_MAX + 1);
    }

    /// Goal: the estimate is the distribution where all tiles are sampled, and reaches the highest count where not. Method: few
    /// points, all tiles counted; then a lattice over many tiles with one heap of points in it.
    #[test]
    fn the_estimate_is_exact_over_few_tiles_and_reaches_the_highest_count() {
        let exact = |points: &[WorldPoint], z: u8| {
            let pixel = |point: &WorldPoint| (point.x >> (24 - z), point.y >> (24 - z));
            let mut pixels: Vec<(u32, u32)> = points.iter().map(pixel).collect();
            pixels.sort_unstable();
            Distribution::of_totals(pixels.chunk_by(|a, b| a == b).map(|run| run.len() as u32))
        };
        let few = lattice(1 << 13);
        for z in [0, 1, 2, 5] {
            let (sample, grids) = sampled(z, &few);
            assert_eq!(sample.distribution(&grids), exact(&few, z), "zoom {z}");
        }
        let mut many: Vec<WorldPoint> = (0..3000u32)
            .map(|i| WorldPoint { x: i.wrapping_mul(0x9e37_79b9), y: i.wrapping_mul(0x85eb_ca6b) })
            .collect();
        many.extend([WorldPoint { x: 0x7654_3210, y: 0x89ab_cdef }; 500]);
        let (sample, grids) = sampled(6, &many);
        let estimate = sample.distribution(&grids);
        assert!(estimate.pixels() < exact(&many, 6).pixels(), "a sample");
        assert_eq!(estimate.pixels_by_count.last().map(|last| last.0), Some(500));
        // The same of values that are the counts.
        let valued = |grid: &CountGrid| {
            let values = grid.totals().into_iter().map(|n| if n > 0 { f64::from(n) } else { f64::NAN });
            ValueGrid { size: grid.size, values: values.collect() }
        };
        let of_values = sample.value_distribution(&grids.iter().map(valued).collect::<Vec<_>>());
        assert_eq!((of_values.lowest, of_values.highest()), (1.0, 500.0));
    }
}
