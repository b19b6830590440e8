//! Tiles that stand for a whole zoom, where all of its tiles would be too many to count.
//!
//! A few are taken, the same whoever asks: starting from the world's one tile, whose pixels show which tiles 8 zooms deeper have
//! points, at most 16 of these are taken, evenly along the Z-order curve, and so on down to the zoom. Two to four small batches of
//! tiles, once per selection and zoom. They decide how far `spread=auto` spreads, and colour a map until its exact distribution is there.

use super::spread::SpreadDensity;
use crate::engine::{CountGrid, Distribution};
use crate::world::{TILE_PIXELS_LOG2, TileId, Zoom};

/// Enough that a few odd tiles do not decide, few enough that their counts take milliseconds.
const SAMPLE_TILES_MAX: usize = 16;

/// The radius of `spread=auto`, 0 to 3, for a selection at a zoom: dynspread's rule over a sample of tiles.
///
/// `count` gives the 256-pixel grids of tiles, in their order; the sum over categories is what matters. For images with finer pixels
/// (`@2x`, 512) ask for the zoom whose pixels they have.
///
/// # Errors
/// Those of `count`.
pub fn auto_spread<E>(zoom: Zoom, count: impl FnMut(&[TileId]) -> Result<Vec<CountGrid>, E>) -> Result<usize, E> {
    let mut density = SpreadDensity::default();
    for grid in &sampled(zoom, count)?.evenly {
        density.add(SpreadDensity::of(grid));
    }
    Ok(density.radius())
}

/// About how often each total count occurs among the non-empty pixels of a zoom: that of the sampled tiles, and the highest count of the
/// tile that has the most points, for a scale must not end before them. Exact where the zoom has no more tiles than the sample.
///
/// # Errors
/// Those of `count`, which is as for [`auto_spread`].
pub fn estimated_distribution<E>(
    zoom: Zoom,
    count: impl FnMut(&[TileId]) -> Result<Vec<CountGrid>, E>,
) -> Result<Distribution, E> {
    let Sample { evenly, densest } = sampled(zoom, count)?;
    let highest_of_all = densest.totals().into_iter().max();
    let totals: Vec<u32> = evenly.iter().flat_map(CountGrid::totals).collect();
    let highest_of_sample = totals.iter().copied().max();
    let beyond = highest_of_all.filter(|&highest| highest > highest_of_sample.unwrap_or(0));
    Ok(Distribution::of_totals(totals.into_iter().chain(beyond)))
}

/// The grids of the tiles that stand for a zoom.
struct Sample {
    /// At most [`SAMPLE_TILES_MAX`], evenly along the Z-order curve.
    evenly: Vec<CountGrid>,
    /// The tile found by going to the one with the most points at each stage.
    densest: CountGrid,
}

fn sampled<E>(zoom: Zoom, mut count: impl FnMut(&[TileId]) -> Result<Vec<CountGrid>, E>) -> Result<Sample, E> {
    let world = TileId::new(0, 0, 0).expect("zoom 0 has a tile");
    let (mut tiles, mut densest) = (vec![world], world);
    loop {
        // In one call, for engines answer by the batch; the densest tile only once.
        let place = tiles.iter().position(|&tile| tile == densest);
        let asked: Vec<TileId> = tiles.iter().copied().chain(place.is_none().then_some(densest)).collect();
        let mut evenly = count(&asked)?;
        let densest_grid = match place {
            Some(place) => evenly[place].clone(),
            None => evenly.pop().expect("there is a grid for each tile"),
        };
        let at = densest.z();
        if at == zoom.get() {
            return Ok(Sample { evenly, densest: densest_grid });
        }
        let next = zoom.get().min(at + TILE_PIXELS_LOG2 as u8);
        let mut occupied: Vec<TileId> =
            tiles.iter().zip(&evenly).flat_map(|(tile, grid)| below(*tile, grid, next)).map(|(tile, _)| tile).collect();
        occupied.sort_unstable_by_key(|tile| tile.cell());
        tiles = evenly_of(&occupied, SAMPLE_TILES_MAX);
        let most = below(densest, &densest_grid, next).into_iter().max_by_key(|&(_, points)| points);
        densest = most.map_or_else(|| first_below(densest, next), |(tile, _)| tile);
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

    /// A lattice of points `step` world units apart, 24 a side.
    fn lattice(step: u32) -> Vec<WorldPoint> {
        let at = |i: u32| 0x4000_0000 + i * step;
        (0..24).flat_map(|row| (0..24).map(move |column| WorldPoint { x: at(column), y: at(row) })).collect()
    }

    /// Goal: dynspread's rule at every depth. Method: points 2^13 units apart are 1, 2, 4, 8 pixels apart as one zooms in.
    #[test]
    fn points_spread_as_one_zooms_in() {
        let points = lattice(1 << 13);
        let radius = |z: u8| auto_spread(Zoom::new(z).unwrap(), counter(&points)).unwrap();
        assert_eq!([11, 12, 13, 14, 20].map(radius), [0, 0, 1, 3, 3]);
    }

    #[test]
    fn no_points_do_not_spread() {
        for z in [0, 5, 14] {
            assert_eq!(auto_spread(Zoom::new(z).unwrap(), counter(&[])), Ok(0));
        }
    }

    #[test]
    fn few_tiles_are_counted() {
        let points: Vec<WorldPoint> = (0..2000u32)
            .map(|i| WorldPoint { x: i.wrapping_mul(0x9e37_79b9), y: i.wrapping_mul(0x85eb_ca6b) })
            .collect();
        let mut counted = 0;
        let mut count = counter(&points);
        let radius = auto_spread(Zoom::new(18).unwrap(), |tiles| {
            counted += tiles.len();
            count(tiles)
        });
        assert_eq!(radius, Ok(3), "single points in their tiles");
        assert!(counted <= 1 + 3 * SAMPLE_TILES_MAX + 4, "{counted} tiles");
    }

    /// Goal: the estimate is the distribution where all tiles are sampled, and reaches the highest count where not. Method: few
    /// points, all tiles counted; then a lattice over many tiles with one heap of points in it.
    #[test]
    fn the_estimate_is_exact_over_few_tiles_and_reaches_the_highest_count() {
        let zoom = |z: u8| Zoom::new(z).unwrap();
        let exact = |points: &[WorldPoint], z: u8| {
            let pixel = |point: &WorldPoint| (point.x >> (24 - z), point.y >> (24 - z));
            let mut pixels: Vec<(u32, u32)> = points.iter().map(pixel).collect();
            pixels.sort_unstable();
            Distribution::of_totals(pixels.chunk_by(|a, b| a == b).map(|run| run.len() as u32))
        };
        let few = lattice(1 << 13);
        for z in [0, 1, 2, 5] {
            assert_eq!(estimated_distribution(zoom(z), counter(&few)), Ok(exact(&few, z)), "zoom {z}");
        }
        let mut many: Vec<WorldPoint> = (0..3000u32)
            .map(|i| WorldPoint { x: i.wrapping_mul(0x9e37_79b9), y: i.wrapping_mul(0x85eb_ca6b) })
            .collect();
        many.extend([WorldPoint { x: 0x7654_3210, y: 0x89ab_cdef }; 500]);
        let estimate = estimated_distribution(zoom(6), counter(&many)).unwrap();
        assert!(estimate.pixels() < exact(&many, 6).pixels(), "a sample");
        assert_eq!(estimate.pixels_by_count.last().map(|last| last.0), Some(500));
    }
}
