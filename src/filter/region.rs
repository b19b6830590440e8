//! Regions of the world: boxes and polygons in world units, with exact containment.
//!
//! Vertices are projected to the world grid first, so containment is integer arithmetic and every engine agrees.

use super::outline::{Outline, Sight};
use crate::world::{WorldBox, WorldPoint};

/// A union of boxes and polygons. A point may lie in several.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Region {
    pub boxes: Vec<WorldBox>,
    pub polygons: Vec<Polygon>,
}

/// Rings of vertices, the first and last of a ring being joined. Inside is by the even-odd rule, so inner rings are holes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Polygon {
    pub rings: Vec<Vec<WorldPoint>>,
}

/// How a box lies to a region.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cover {
    Inside,
    Outside,
    /// Or unknown: points must be asked one by one.
    Partly,
}

/// From a vertex to the next.
pub(super) type Edge = (WorldPoint, WorldPoint);

impl Region {
    pub fn of_boxes(boxes: Vec<WorldBox>) -> Region {
        Region { boxes, polygons: Vec::new() }
    }

    pub fn contains(&self, point: WorldPoint) -> bool {
        self.boxes.iter().any(|b| b.contains(point)) || self.polygons.iter().any(|p| p.contains(point))
    }

    /// How all the points of a cell's box lie to the region. Who asks of many cells goes down from [`Outline::of`].
    pub fn cover(&self, cell: &WorldBox) -> Cover {
        match Outline::of(self).seen_from(cell) {
            Sight::Inside => Cover::Inside,
            Sight::Outside => Cover::Outside,
            Sight::Partly(_) => Cover::Partly,
        }
    }
}

impl Polygon {
    /// Even-odd rule on the integer grid: a ray to the west crosses an edge that spans the point's row half-openly (its
    /// upper end counts, its lower end does not), so a point on a shared border is in exactly one of two neighbours.
    pub fn contains(&self, point: WorldPoint) -> bool {
        self.edges().filter(|&(a, b)| crosses(a, b, point)).count() % 2 == 1
    }

    pub(super) fn edges(&self) -> impl Iterator<Item = Edge> + '_ {
        self.rings.iter().flat_map(|ring| {
            let next = ring.iter().cycle().skip(1);
            ring.iter().copied().zip(next.copied())
        })
    }
}

pub(super) fn crosses(a: WorldPoint, b: WorldPoint, point: WorldPoint) -> bool {
    if (a.y > point.y) == (b.y > point.y) {
        return false;
    }
    // The crossing lies west of (or on) the point iff (p - a) x (b - a) has the sign of b.y - a.y, or is 0. 33 bits by 33
    // bits, so i128 holds the products.
    let (ax, ay, bx, by) = (i128::from(a.x), i128::from(a.y), i128::from(b.x), i128::from(b.y));
    let (px, py) = (i128::from(point.x), i128::from(point.y));
    let side = (px - ax) * (by - ay) - (py - ay) * (bx - ax);
    if by > ay { side >= 0 } else { side <= 0 }
}

/// Whether an edge comes within a unit of the box: its own box does, and not all corners lie strictly on one side of it.
pub(super) fn edge_may_touch(a: WorldPoint, b: WorldPoint, cell: &WorldBox) -> bool {
    let grown = WorldBox {
        min: WorldPoint { x: cell.min.x.saturating_sub(1), y: cell.min.y.saturating_sub(1) },
        max: WorldPoint { x: cell.max.x.saturating_add(1), y: cell.max.y.saturating_add(1) },
    };
    let edge_box = WorldBox {
        min: WorldPoint { x: a.x.min(b.x), y: a.y.min(b.y) },
        max: WorldPoint { x: a.x.max(b.x), y: a.y.max(b.y) },
    };
    if !grown.intersects(&edge_box) {
        return false;
    }
    let side = |x: u32, y: u32| {
        let (dx, dy) = (i128::from(b.x) - i128::from(a.x), i128::from(b.y) - i128::from(a.y));
        ((i128::from(x) - i128::from(a.x)) * dy - (i128::from(y) - i128::from(a.y)) * dx).signum()
    };
    let corners = [
        side(grown.min.x, grown.min.y),
        side(grown.max.x, grown.min.y),
        side(grown.min.x, grown.max.y),
        side(grown.max.x, grown.max.y),
    ];
    !(corners.iter().all(|&s| s > 0) || corners.iter().all(|&s| s < 0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn point() -> impl Strategy<Value = WorldPoint> {
        (0u32..40, 0u32..40).prop_map(|(x, y)| WorldPoint { x, y })
    }

    proptest! {
        #[test]
        fn a_cover_is_what_every_point_of_the_cell_says(
            ring in proptest::collection::vec(point(), 3..8), corner in point(), side in 0u32..6,
            boxed in (point(), 0u32..9, 0u32..9),
        ) {
            let (min, w, h) = boxed;
            let region = Region {
                boxes: vec![WorldBox { min, max: WorldPoint { x: min.x + w, y: min.y + h } }],
                polygons: vec![Polygon { rings: vec![ring] }],
            };
            let cell = WorldBox { min: corner, max: WorldPoint { x: corner.x + side, y: corner.y + side } };
            let mut answers = Vec::new();
            for y in cell.min.y..=cell.max.y {
                for x in cell.min.x..=cell.max.x {
                    answers.push(region.contains(WorldPoint { x, y }));
                }
            }
            match region.cover(&cell) {
                Cover::Inside => prop_assert!(answers.iter().all(|&inside| inside)),
                Cover::Outside => prop_assert!(answers.iter().all(|&inside| !inside)),
                Cover::Partly => {}
            }
        }

        #[test]
        fn two_triangles_of_a_split_square_hold_each_point_once(p in point()) {
            let at = |x, y| WorldPoint { x, y };
            let square = Polygon { rings: vec![vec![at(3, 4), at(30, 4), at(30, 33), at(3, 33)]] };
            let upper = Polygon { rings: vec![vec![at(3, 4), at(30, 4), at(30, 33)]] };
            let lower = Polygon { rings: vec![vec![at(3, 4), at(30, 33), at(3, 33)]] };
            let times = usize::from(upper.contains(p)) + usize::from(lower.contains(p));
            prop_assert_eq!(times, usize::from(square.contains(p)));
        }
    }
}
