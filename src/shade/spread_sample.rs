//! Which tiles decide how far `spread=auto` spreads at a zoom.
//!
//! All tiles of a zoom would be too many to count, and each tile by itself would have seams. So a few are taken, the same whoever
//! asks: starting from the world's one tile, whose pixels show which tiles 8 zooms deeper have points, at most 16 of these are
//! taken, evenly along the Z-order curve, and so on down to the zoom. Two to four small batches of tiles, once per selection and
//! zoom.

use super::spread::SpreadDensity;
use crate::engine::CountGrid;
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
pub fn auto_spread<E>(zoom: Zoom, mut count: impl FnMut(&[TileId]) -> Result<Vec<CountGrid>, E>) -> Result<usize, E> {
    let mut tiles = vec![TileId::containing(crate::world::WorldPoint { x: 0, y: 0 }, zoom_of(0))];
    let mut at = 0;
    while at < zoom.get() {
        let next = zoom.get().min(at + TILE_PIXELS_LOG2 as u8);
        let grids = count(&tiles)?;
        let mut occupied: Vec<TileId> =
            tiles.iter().zip(&grids).flat_map(|(tile, grid)| occupied_below(*tile, grid, next)).collect();
        occupied.sort_unstable_by_key(|tile| tile.cell());
        tiles = evenly(&occupied, SAMPLE_TILES_MAX);
        at = next;
    }
    let mut density = SpreadDensity::default();
    for grid in count(&tiles)? {
        density.add(SpreadDensity::of(&grid));
    }
    Ok(density.radius())
}

/// The tiles of zoom `next`, at most 8 below, that have points.
fn occupied_below(tile: TileId, grid: &CountGrid, next: u8) -> Vec<TileId> {
    let levels = u32::from(next - tile.z());
    let pixels_log2 = TILE_PIXELS_LOG2 - levels;
    let side = 1usize << levels;
    let mut is_occupied = vec![false; side * side];
    for (index, _) in grid.totals().iter().enumerate().filter(|&(_, &total)| total > 0) {
        let (row, column) = (index / grid.size, index % grid.size);
        is_occupied[(row >> pixels_log2) * side + (column >> pixels_log2)] = true;
    }
    let tile_at = |index: usize| {
        let (row, column) = ((index / side) as u32, (index % side) as u32);
        TileId::new(next, (tile.x() << levels) + column, (tile.y() << levels) + row).expect("inside a tile that exists")
    };
    (0..side * side).filter(|&index| is_occupied[index]).map(tile_at).collect()
}

/// At most `max` of the tiles, from the middles of as many equal runs.
fn evenly(tiles: &[TileId], max: usize) -> Vec<TileId> {
    let taken = tiles.len().min(max);
    (0..taken).map(|i| tiles[(2 * i + 1) * tiles.len() / (2 * taken)]).collect()
}

fn zoom_of(z: u8) -> Zoom {
    Zoom::new(z).expect("zoom 0 exists")
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
        assert!(counted <= 1 + 3 * SAMPLE_TILES_MAX, "{counted} tiles");
    }
}
