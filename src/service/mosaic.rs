//! Tiles side by side: which make a larger one, and their grids as one.

use super::tile::Scale;
use crate::engine::{CountGrid, Partial, PartialGrid, ValueGrid};
use crate::world::{TileId, Zoom};

/// The zoom whose 256-pixel tiles have the pixels of this one.
pub fn pixel_zoom(tile: TileId, scale: Scale) -> Zoom {
    Zoom::new(tile.z() + scale.zooms()).expect("zooms are served up to two above the deepest")
}

/// A tile and its eight neighbours, row 0 north; none beyond the poles.
pub(super) fn around(tile: TileId) -> [[Option<TileId>; 3]; 3] {
    [-1, 0, 1].map(|dy| [-1, 0, 1].map(|dx| tile.neighbour(dx, dy)))
}

/// The tiles so many zooms deeper inside of a tile, row by row.
pub(super) fn tiles_within(tile: TileId, zooms: u8) -> Vec<TileId> {
    let side = 1u32 << zooms;
    let at = |row: u32, column: u32| TileId::new(tile.z() + zooms, (tile.x() << zooms) + column, (tile.y() << zooms) + row);
    (0..side * side).map(|i| at(i / side, i % side).expect("zooms are served up to two above the deepest")).collect()
}

/// The counts of a square of tiles, row by row, as one grid. `None` if all are empty.
pub(super) fn stitched_counts(mut grids: Vec<Option<CountGrid>>) -> Option<CountGrid> {
    if grids.len() == 1 {
        return grids.pop().flatten();
    }
    let borrowed: Vec<Option<&CountGrid>> = grids.iter().map(Option::as_ref).collect();
    counts_side_by_side(&borrowed)
}

/// As [`stitched_counts`], of grids that stay.
pub(super) fn counts_side_by_side(grids: &[Option<&CountGrid>]) -> Option<CountGrid> {
    let (categories, size) = grids.iter().flatten().map(|grid| (grid.categories, grid.size)).next()?;
    let planes: Vec<Option<&[u32]>> = grids.iter().map(|grid| grid.map(|grid| &grid.counts[..])).collect();
    Some(CountGrid { categories, size: side(&planes, size), counts: stitched(&planes, categories, size, 0) })
}

/// As [`stitched_counts`], of values.
pub(super) fn stitched_values(mut grids: Vec<Option<ValueGrid>>) -> Option<ValueGrid> {
    if grids.len() == 1 {
        return grids.pop().flatten();
    }
    let size = grids.iter().flatten().map(|grid| grid.size).next()?;
    let planes: Vec<Option<&[f64]>> = grids.iter().map(|grid| grid.as_ref().map(|grid| &grid.values[..])).collect();
    Some(ValueGrid { size: side(&planes, size), values: stitched(&planes, 1, size, f64::NAN) })
}

/// As [`counts_side_by_side`], of partials.
pub(super) fn partials_side_by_side(grids: &[Option<&PartialGrid>]) -> Option<PartialGrid> {
    let (size, measure) = grids.iter().flatten().map(|grid| (grid.size, grid.measure)).next()?;
    let planes: Vec<Option<&[Partial]>> = grids.iter().map(|grid| grid.map(|grid| &grid.partials[..])).collect();
    Some(PartialGrid { size: side(&planes, size), measure, partials: stitched(&planes, 1, size, Partial::Empty) })
}

/// Pixels along a side of a square of tiles.
fn side<T>(tiles: &[T], size: usize) -> usize {
    tiles.len().isqrt() * size
}

/// `[plane][row][column]` of a square of tiles that each are `[plane][row][column]`; `empty` where there is no tile.
fn stitched<T: Copy>(tiles: &[Option<&[T]>], planes: usize, size: usize, empty: T) -> Vec<T> {
    let (per_side, side) = (tiles.len().isqrt(), side(tiles, size));
    let mut whole = vec![empty; planes * side * side];
    for (i, tile) in tiles.iter().enumerate() {
        let Some(tile) = tile else { continue };
        let (left, top) = (i % per_side * size, i / per_side * size);
        for (line, pixels) in tile.chunks_exact(size).enumerate() {
            let (plane, row) = (line / size, line % size);
            whole[(plane * side + top + row) * side + left..][..size].copy_from_slice(pixels);
        }
    }
    whole
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn four_tiles_are_one_grid_plane_by_plane() {
        let tile = |first: u32| Some(CountGrid { categories: 2, size: 2, counts: (first..first + 8).collect() });
        let whole = stitched_counts(vec![tile(10), tile(20), None, tile(40)]).unwrap();
        assert_eq!((whole.categories, whole.size), (2, 4));
        let rows: Vec<&[u32]> = whole.counts.chunks(4).collect();
        let of_plane = |plane: u32| {
            let at = |first: u32, i: u32| first + plane * 4 + i;
            [
                vec![at(10, 0), at(10, 1), at(20, 0), at(20, 1)],
                vec![at(10, 2), at(10, 3), at(20, 2), at(20, 3)],
                vec![0, 0, at(40, 0), at(40, 1)],
                vec![0, 0, at(40, 2), at(40, 3)],
            ]
        };
        assert_eq!(rows, [of_plane(0), of_plane(1)].concat());
        assert_eq!(stitched_counts(vec![None, None, None, None]), None);
        let values = stitched_values(vec![None, Some(ValueGrid { size: 1, values: vec![2.5] }), None, None]).unwrap();
        assert_eq!(values, ValueGrid { size: 2, values: vec![f64::NAN, 2.5, f64::NAN, f64::NAN] });
    }
}
