//! Spreading: points drawn larger than a pixel, and how much larger where that is left to us.
//!
//! Counts add, inside a circle: a pixel then shows the points of all pixels within the radius. To be the same on both sides of
//! a tile border it needs the counts beyond the border, a halo as wide as the radius.
//!
//! ```text
//!      size + 2r                  size
//!   +-------------+
//!   |  halo: r    |            +-------+
//!   |  +-------+  |            |       |
//!   |  | tile  |  |  spread    | tile  |
//!   |  |       |  |  ------->  |       |
//!   |  +-------+  |            +-------+
//!   |             |
//!   +-------------+
//! ```

use crate::engine::CountGrid;

/// The widest radius. A circle this wide covers an eighth of a tile's side; wider ones hide more than they show, and the
/// halo must not reach beyond the neighbouring tiles.
pub const SPREAD_PIXELS_MAX: usize = 16;

/// Datashader's dynspread: up to 3 pixels, as long as at most half of the non-empty pixels would touch another.
const AUTO_PIXELS_MAX: usize = 3;
const AUTO_DENSITY_MAX: f64 = 0.5;

/// A grid with its halo, `size + 2 * radius` pixels a side, from the tile and its eight neighbours: `tiles[row][column]`,
/// row 0 north, the tile itself in the middle. `None` stands for a tile without points, or beyond the poles; east and west the
/// world goes round, and so do the neighbours.
///
/// # Panics
/// If the tiles differ in size or categories, or the radius is wider than a tile.
pub fn halo(tiles: [[Option<&CountGrid>; 3]; 3], radius: usize) -> Option<CountGrid> {
    let some = tiles.iter().flatten().copied().flatten();
    let (categories, size) = some.clone().map(|grid| (grid.categories, grid.size)).next()?;
    assert!(some.clone().all(|grid| (grid.categories, grid.size) == (categories, size)), "neighbours are of one kind");
    assert!(radius <= size, "a halo of {radius} reaches beyond neighbours of {size} pixels");
    let side = size + 2 * radius;
    let mut padded = CountGrid::zeros(categories, side);
    // Where the three tiles of a row or column begin and end in the padded grid, and from which of their pixels.
    let pieces = [(0, radius, size - radius), (radius, size, 0), (radius + size, radius, 0)];
    for (neighbours, (to_row, rows, from_row)) in tiles.iter().zip(pieces) {
        for (neighbour, (to_column, columns, from_column)) in neighbours.iter().zip(pieces) {
            let Some(grid) = neighbour else { continue };
            for category in 0..categories {
                for row in 0..rows {
                    let from = (category * size + from_row + row) * size + from_column;
                    let to = (category * side + to_row + row) * side + to_column;
                    padded.counts[to..][..columns].copy_from_slice(&grid.counts[from..][..columns]);
                }
            }
        }
    }
    Some(padded)
}

/// Spreads each pixel's counts over the circle of `radius` around it: `sqrt(dx^2 + dy^2) <= radius + 0.5`. `padded` has a halo of
/// `radius` pixels on all sides; the result has none.
///
/// # Panics
/// If `padded` is smaller than its halo.
pub fn spread(padded: &CountGrid, radius: usize) -> CountGrid {
    assert!(padded.size >= 2 * radius, "a grid of {} pixels has no room for a halo of {radius}", padded.size);
    if radius == 0 {
        return padded.clone();
    }
    let (side, size) = (padded.size, padded.size - 2 * radius);
    let half_widths = circle(radius);
    let mut out = CountGrid::zeros(padded.categories, size);
    // before[x] is the sum of a row up to x. It wraps where a row has over 2^32 points; differences are right all the same.
    let mut before = vec![0u32; side + 1];
    for category in 0..padded.categories {
        let plane = &mut out.counts[category * size * size..][..size * size];
        for (row, counts) in padded.plane(category).chunks_exact(side).enumerate() {
            if counts.iter().fold(0, |any, n| any | n) == 0 {
                continue;
            }
            let mut sum = 0u32;
            for (before, n) in before[1..].iter_mut().zip(counts) {
                sum = sum.wrapping_add(*n);
                *before = sum;
            }
            for (dy, &half_width) in half_widths.iter().enumerate() {
                // Row `row` of the padded grid lies on row `row + dy - 2 radius` of the result, dy from 0 to 2 radius.
                let Some(to_row) = (row + dy).checked_sub(2 * radius).filter(|&to_row| to_row < size) else { continue };
                let to = &mut plane[to_row * size..][..size];
                let (first, last) = (radius - half_width, radius + half_width + 1);
                for ((to, first), last) in to.iter_mut().zip(&before[first..]).zip(&before[last..]) {
                    *to = to.wrapping_add(last.wrapping_sub(*first));
                }
            }
        }
    }
    out
}

/// For each row of the circle, from -radius to radius: how far it reaches to the left and to the right.
fn circle(radius: usize) -> Vec<usize> {
    let reach = (radius as f64 + 0.5).powi(2);
    let row = |dy: usize| {
        let dy = dy.abs_diff(radius);
        (0..=radius).rev().find(|dx| ((dx * dx + dy * dy) as f64) <= reach).expect("dx = 0 is always inside")
    };
    (0..=2 * radius).map(row).collect()
}

/// How sparse pixels are, for `spread=auto`: of the non-empty ones, how many have another within 2, 4 and 6 pixels (a square).
///
/// Datashader decides for each image, so tiles would differ in their points' size. Here one decision holds for a whole zoom and
/// selection: densities of a few tiles are added up, and the tiles are the same whichever tile is asked for. Neighbours beyond
/// a sampled tile's border do not count, as beyond an image's.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SpreadDensity {
    pub pixels: u64,
    /// By 1, 2 and 3 pixels of spread.
    pub pixels_with_neighbour: [u64; AUTO_PIXELS_MAX],
}

impl SpreadDensity {
    pub fn of(grid: &CountGrid) -> SpreadDensity {
        let totals = grid.totals();
        // occupied[row][column] = non-empty pixels north and west of it.
        let side = grid.size + 1;
        let mut occupied = vec![0u32; side * side];
        for row in 0..grid.size {
            let mut in_row = 0;
            for column in 0..grid.size {
                in_row += u32::from(totals[row * grid.size + column] > 0);
                occupied[(row + 1) * side + column + 1] = occupied[row * side + column + 1] + in_row;
            }
        }
        let mut density = SpreadDensity::default();
        for (index, _) in totals.iter().enumerate().filter(|&(_, &total)| total > 0) {
            let (row, column) = (index / grid.size, index % grid.size);
            density.pixels += 1;
            for (pixels, with_neighbour) in (1..).zip(&mut density.pixels_with_neighbour) {
                let within = 2 * pixels;
                let (north, west) = (row.saturating_sub(within), column.saturating_sub(within));
                let (south, east) = ((row + within + 1).min(grid.size), (column + within + 1).min(grid.size));
                let in_square = occupied[south * side + east] + occupied[north * side + west]
                    - occupied[north * side + east]
                    - occupied[south * side + west];
                *with_neighbour += u64::from(in_square > 1);
            }
        }
        density
    }

    pub fn add(&mut self, other: SpreadDensity) {
        self.pixels += other.pixels;
        for (sum, with_neighbour) in self.pixels_with_neighbour.iter_mut().zip(other.pixels_with_neighbour) {
            *sum += with_neighbour;
        }
    }

    /// Dynspread's radius: one less than the first at which more than half of the pixels have a neighbour, else 3. 0 without
    /// any pixels.
    pub fn radius(&self) -> usize {
        let is_dense = |&with_neighbour: &u64| with_neighbour as f64 > AUTO_DENSITY_MAX * self.pixels as f64;
        if self.pixels == 0 {
            return 0;
        }
        self.pixels_with_neighbour.iter().position(is_dense).unwrap_or(AUTO_PIXELS_MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn grids(size: usize) -> impl Strategy<Value = CountGrid> {
        let count = prop_oneof![6 => Just(0), 2 => 1..5u32, 1 => any::<u32>().prop_map(|n| n >> 8)];
        proptest::collection::vec(count, 2 * size * size).prop_map(move |counts| CountGrid {
            categories: 2,
            size,
            counts,
        })
    }

    #[test]
    fn one_point_becomes_a_circle() {
        let mut grid = CountGrid::zeros(1, 9);
        grid.counts[4 * 9 + 4] = 3;
        let spread = spread(&grid, 2);
        let rows: Vec<String> = spread.counts.chunks(5).map(|row| row.iter().map(u32::to_string).collect()).collect();
        assert_eq!(rows, ["03330", "33333", "33333", "33333", "03330"]);
    }

    proptest! {
        /// Goal: the running sums add up the circle. Method: add it up point by point.
        #[test]
        fn spread_is_the_sum_over_the_circle(grid in grids(12), radius in 0..5usize) {
            let fast = spread(&grid, radius);
            let r = radius as i64;
            for (index, &sum) in fast.counts.iter().enumerate() {
                let (category, row, column) = (index / fast.size.pow(2), index / fast.size % fast.size, index % fast.size);
                let mut expected = 0u32;
                for (dy, dx) in (-r..=r).flat_map(|dy| (-r..=r).map(move |dx| (dy, dx))) {
                    if ((dx * dx + dy * dy) as f64).sqrt() <= radius as f64 + 0.5 {
                        let (y, x) = ((row as i64 + r + dy) as usize, (column as i64 + r + dx) as usize);
                        expected = expected.wrapping_add(grid.plane(category)[y * grid.size + x]);
                    }
                }
                prop_assert_eq!(sum, expected);
            }
        }

        /// Goal: a halo is what the neighbours have. Method: cut nine tiles out of a canvas, and the padded one as well.
        #[test]
        fn halo_is_cut_from_the_neighbours(canvas in grids(12), radius in 0..=4usize) {
            let cut = |row: usize, column: usize, size: usize| {
                let mut grid = CountGrid::zeros(2, size);
                for (index, n) in grid.counts.iter_mut().enumerate() {
                    let (category, y, x) = (index / size.pow(2), index / size % size, index % size);
                    *n = canvas.plane(category)[(row + y) * canvas.size + column + x];
                }
                grid
            };
            let tiles = [0, 4, 8].map(|row| [0, 4, 8].map(|column| cut(row, column, 4)));
            let neighbours = tiles.each_ref().map(|row| row.each_ref().map(Some));
            prop_assert_eq!(halo(neighbours, radius), Some(cut(4 - radius, 4 - radius, 4 + 2 * radius)));
        }

        /// Goal: density by running sums. Method: look around every pixel.
        #[test]
        fn density_looks_around_every_pixel(grid in grids(14)) {
            let totals = grid.totals();
            let mut expected = SpreadDensity::default();
            for (index, _) in totals.iter().enumerate().filter(|&(_, &n)| n > 0) {
                expected.pixels += 1;
                for pixels in 1..=3 {
                    let near = |other: usize| {
                        (other / 14).abs_diff(index / 14) <= 2 * pixels && (other % 14).abs_diff(index % 14) <= 2 * pixels
                    };
                    let has = (0..14 * 14).any(|other| other != index && totals[other] > 0 && near(other));
                    expected.pixels_with_neighbour[pixels - 1] += u64::from(has);
                }
            }
            prop_assert_eq!(SpreadDensity::of(&grid), expected);
        }
    }

    #[test]
    fn radius_is_the_last_that_leaves_half_of_the_pixels_alone() {
        let radius = |pixels, pixels_with_neighbour| SpreadDensity { pixels, pixels_with_neighbour }.radius();
        assert_eq!(radius(0, [0, 0, 0]), 0);
        assert_eq!(radius(10, [6, 7, 8]), 0);
        assert_eq!(radius(10, [5, 6, 8]), 1);
        assert_eq!(radius(10, [0, 5, 6]), 2);
        assert_eq!(radius(10, [0, 1, 5]), 3);
    }
}
