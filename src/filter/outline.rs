//! A region from near by: of its outline what can matter to the points of one cell.
//!
//! A polygon may have a thousand edges and a cell's points see a few of them. Cells are divided from the world down, and each
//! passes on to its quarters the edges that are near it, so that a quarter looks at few and a point at fewer. Answers are those of
//! [`Region::contains`], edge by edge.

use super::region::{Cover, Edge, Region, crosses, edge_may_touch};
use crate::world::{WorldBox, WorldPoint};

/// The parts of a region that some points of a cell may see otherwise than others do.
pub struct Outline {
    boxes: Vec<WorldBox>,
    polygons: Vec<Near>,
}

/// A polygon from near by.
struct Near {
    /// Whether the rays of all points cross an odd number of the edges that are left out.
    is_odd: bool,
    edges: Vec<Edge>,
}

/// How a cell lies to a region.
pub enum Sight {
    Inside,
    Outside,
    /// Or unknown: its points must be asked one by one, of what is to be seen there.
    Partly(Outline),
}

/// Which points of a cell have rays that cross an edge.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Crossing {
    All,
    None,
    Some,
}

impl Outline {
    /// Of a whole region.
    pub fn of(region: &Region) -> Outline {
        let near = region.polygons.iter().map(|polygon| Near { is_odd: false, edges: polygon.edges().collect() });
        Outline { boxes: region.boxes.clone(), polygons: near.collect() }
    }

    /// What is to be seen from a cell that lies within the one that this was seen from.
    pub fn seen_from(&self, cell: &WorldBox) -> Sight {
        if self.boxes.iter().any(|b| b.contains_box(cell)) {
            return Sight::Inside;
        }
        let mut polygons = Vec::new();
        for polygon in &self.polygons {
            match polygon.seen_from(cell) {
                (Cover::Inside, _) => return Sight::Inside,
                (Cover::Outside, _) => {}
                (Cover::Partly, near) => polygons.push(near),
            }
        }
        let boxes: Vec<WorldBox> = self.boxes.iter().filter(|b| b.intersects(cell)).copied().collect();
        if boxes.is_empty() && polygons.is_empty() { Sight::Outside } else { Sight::Partly(Outline { boxes, polygons }) }
    }

    /// Whether a point of the cell is in the region.
    pub fn contains(&self, point: WorldPoint) -> bool {
        self.boxes.iter().any(|b| b.contains(point)) || self.polygons.iter().any(|polygon| polygon.contains(point))
    }
}

impl Near {
    fn contains(&self, point: WorldPoint) -> bool {
        self.edges.iter().filter(|&&(a, b)| crosses(a, b, point)).count() % 2 == usize::from(!self.is_odd)
    }

    /// An edge is left out where the same holds for all points of the cell, and its line keeps clear of it. Without any that comes near,
    /// all points are where the first is.
    fn seen_from(&self, cell: &WorldBox) -> (Cover, Near) {
        let mut near = Near { is_odd: self.is_odd, edges: Vec::new() };
        let mut is_touched = false;
        for &(a, b) in &self.edges {
            let touches = edge_may_touch(a, b, cell);
            is_touched |= touches;
            match if touches { Crossing::Some } else { crossing(a, b, cell) } {
                Crossing::All => near.is_odd = !near.is_odd,
                Crossing::None => {}
                Crossing::Some => near.edges.push((a, b)),
            }
        }
        let cover = match is_touched {
            true => Cover::Partly,
            false if near.contains(cell.min) => Cover::Inside,
            false => Cover::Outside,
        };
        (cover, near)
    }
}

/// Where the same rows of the cell are spanned, on which side of an edge a point lies is a linear function of it: what holds for all
/// corners holds between them.
fn crossing(a: WorldPoint, b: WorldPoint, cell: &WorldBox) -> Crossing {
    let (first, last) = (a.y.min(b.y), a.y.max(b.y));
    if last <= cell.min.y || first > cell.max.y || a.x.min(b.x) > cell.max.x {
        return Crossing::None;
    }
    if first > cell.min.y || last <= cell.max.y {
        return Crossing::Some;
    }
    let corners = [(cell.min.x, cell.min.y), (cell.max.x, cell.min.y), (cell.min.x, cell.max.y), (cell.max.x, cell.max.y)];
    match corners.into_iter().filter(|&(x, y)| crosses(a, b, WorldPoint { x, y })).count() {
        4 => Crossing::All,
        0 => Crossing::None,
        _ => Crossing::Some,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::filter::Polygon;
    use proptest::prelude::*;

    fn point() -> impl Strategy<Value = WorldPoint> {
        (0u32..40, 0u32..40).prop_map(|(x, y)| WorldPoint { x, y })
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(512))]

        /// Goal: nothing is lost from cell to cell. Method: every point of a cell, seen through two cells around it, against the region.
        #[test]
        fn what_is_seen_from_a_cell_is_what_the_region_says_of_its_points(
            rings in proptest::collection::vec(proptest::collection::vec(point(), 3..9), 1..3), more in proptest::collection::vec(point(), 0..6),
            corner in point(), sides in (0u32..5, 0u32..7, 0u32..20), boxed in (point(), 0u32..9, 0u32..9),
        ) {
            let (min, w, h) = boxed;
            let polygons = [rings, vec![more]].into_iter().map(|rings| Polygon { rings }).collect();
            let region = Region { boxes: vec![WorldBox { min, max: WorldPoint { x: min.x + w, y: min.y + h } }], polygons };
            let cells = [sides.0 + sides.1 + sides.2, sides.0 + sides.1, sides.0].map(|side| WorldBox {
                min: corner, max: WorldPoint { x: corner.x + side, y: corner.y + side },
            });
            let mut outline = Outline::of(&region);
            for cell in cells {
                let points = (cell.min.y..=cell.max.y).flat_map(|y| (cell.min.x..=cell.max.x).map(move |x| WorldPoint { x, y }));
                match outline.seen_from(&cell) {
                    Sight::Inside => { points.for_each(|point| assert!(region.contains(point), "{point:?}")); break }
                    Sight::Outside => { points.for_each(|point| assert!(!region.contains(point), "{point:?}")); break }
                    Sight::Partly(near) => {
                        points.for_each(|point| assert_eq!(near.contains(point), region.contains(point), "{point:?}"));
                        outline = near;
                    }
                }
            }
        }
    }
}
