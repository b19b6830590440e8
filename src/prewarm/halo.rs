//! Whether points that are spread over the pixels around them reach into a tile that has none: its server shows them there.

use crate::world::{Key, TILE_PIXELS, TileId};

/// Whether there is a point outside of the tile that comes within `radius` pixels of it, as [`crate::shade::spread`] draws circles.
/// `has_points` is asked of ranges of keys, both ends inclusive. Cells without points, and those out of reach, are not entered.
pub(super) fn reaches(tile: TileId, radius: usize, has_points: &dyn Fn(Key, Key) -> bool) -> bool {
    let side = i64::from(TILE_PIXELS);
    let around = (-1..=1).flat_map(|dy| (-1..=1).map(move |dx| (dx, dy))).filter(|&offset| offset != (0, 0));
    let mut neighbours = around.filter_map(|(dx, dy)| Some((tile.neighbour(dx, dy)?, dx * side, dy * side)));
    let halo = Halo { radius: radius as i64, has_points };
    neighbours.any(|(neighbour, left, top)| {
        let cell = Cell { level: neighbour.z().into(), id: neighbour.cell(), left, top, side };
        halo.holds_points_of(&cell)
    })
}

struct Halo<'a> {
    radius: i64,
    has_points: &'a dyn Fn(Key, Key) -> bool,
}

/// A square of pixels, in the tile's: 0 is its first column or row.
struct Cell {
    level: u32,
    id: u64,
    left: i64,
    top: i64,
    side: i64,
}

impl Halo<'_> {
    fn holds_points_of(&self, cell: &Cell) -> bool {
        let ((near_x, far_x), (near_y, far_y)) = (distances(cell.left, cell.side), distances(cell.top, cell.side));
        if !self.holds(near_x, near_y) || !self.has_points(cell) {
            return false;
        }
        self.holds(far_x, far_y) || cell.quarters().iter().any(|quarter| self.holds_points_of(quarter))
    }

    /// As for the circle of a spread point: `sqrt(dx^2 + dy^2) <= radius + 0.5`.
    fn holds(&self, dx: i64, dy: i64) -> bool {
        4 * (dx * dx + dy * dy) <= (2 * self.radius + 1).pow(2)
    }

    fn has_points(&self, cell: &Cell) -> bool {
        let shift = 64 - 2 * cell.level;
        let first = cell.id.checked_shl(shift).unwrap_or(0);
        let keys = 1u64.checked_shl(shift).map_or(u64::MAX, |keys| keys - 1);
        (self.has_points)(Key(first), Key(first | keys))
    }
}

impl Cell {
    fn quarters(&self) -> [Cell; 4] {
        let side = self.side / 2;
        [0, 1, 2, 3].map(|quarter| Cell {
            level: self.level + 1,
            id: self.id << 2 | quarter,
            left: self.left + (quarter & 1) as i64 * side,
            top: self.top + (quarter >> 1) as i64 * side,
            side,
        })
    }
}

/// Along one axis, how far the nearest and the farthest pixel of a run are from the tile.
fn distances(from: i64, side: i64) -> (i64, i64) {
    let last = i64::from(TILE_PIXELS) - 1;
    let outside = |at: i64| if at < 0 { -at } else { (at - last).max(0) };
    let (one, other) = (outside(from), outside(from + side - 1));
    (one.min(other), one.max(other))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::world::{WorldPoint, Zoom};
    use proptest::prelude::*;

    proptest! {
        /// Goal: exactly the points whose circle touches a pixel of the tile reach it. Method: every pixel's distance.
        #[test]
        fn a_point_reaches_a_tile_as_far_as_its_circle(dx in -40i64..296, dy in -40i64..296, radius in 1usize..17, z in 1u8..20) {
            let tile = TileId::new(z, 0, 1).unwrap();
            let size = 1i64 << (32 - z - 8);
            // Beside the western edge the world goes round.
            let x = (dx * size + size / 3).rem_euclid(1 << 32) as u32;
            let y = (256 + dy) * size + size / 2;
            prop_assume!(y < 1 << 32);
            let point = WorldPoint { x, y: y as u32 };
            let key = Key::from_world(point);
            let is_inside = TileId::containing(point, Zoom::new(z).unwrap()) == tile;
            let within = (0..256).any(|column: i64| (0..256).any(|row: i64| {
                (((dx - column).pow(2) + (dy - row).pow(2)) as f64).sqrt() <= radius as f64 + 0.5
            }));
            let found = reaches(tile, radius, &|first, last| first <= key && key <= last);
            prop_assert_eq!(found, within && !is_inside);
        }
    }
}
