//! Shapes as text: well-known text to degrees and back, and degrees to the world grid.

use super::ast::Shape;
use super::error::{FILTER_VERTICES_MAX, FilterError};
use super::region::{Polygon, Region};
use crate::world::{LAT_LIMIT_DEG, LON_LIMIT_DEG, WorldPoint, world_from_lonlat};
use std::fmt;

/// Units around the world.
const WORLD_WIDTH: i64 = 1 << 32;

impl Shape {
    /// Reads `POLYGON((..))` or `MULTIPOLYGON(((..)))`. `at` is where the text begins.
    pub(super) fn from_wkt(text: &str, at: usize) -> Result<Shape, FilterError> {
        let mut reader = Reader { text, rest: text, at, vertices: 0 };
        let word = reader.word();
        let polygons = match word.to_ascii_uppercase().as_str() {
            "POLYGON" => vec![reader.polygon()?],
            "MULTIPOLYGON" => reader.list(Reader::polygon)?,
            _ => {
                let what = format!("shape '{word}'");
                return Err(FilterError::Unsupported { what, instead: "use BBOX, POLYGON or MULTIPOLYGON", at });
            }
        };
        if !reader.rest.trim().is_empty() {
            return Err(reader.expected("the end of the shape"));
        }
        Ok(Shape::Polygons(polygons))
    }

    /// The shape on the world grid. A polygon that leaves the world on one side (longitudes over 180 degrees) enters it on
    /// the other; edges are straight on the map.
    pub fn region(&self) -> Region {
        match self {
            Shape::Box(degrees) => Region::of_boxes(degrees.world_boxes()),
            Shape::Polygons(polygons) => {
                let placed = |polygon: &Vec<Vec<[f64; 2]>>| {
                    let rings: Vec<Vec<(i64, i64)>> =
                        polygon.iter().map(|ring| ring.iter().map(|&vertex| place(vertex)).collect()).collect();
                    [0, -WORLD_WIDTH, WORLD_WIDTH].into_iter().filter_map(move |shift| within_the_world(&rings, shift))
                };
                Region { boxes: Vec::new(), polygons: polygons.iter().flat_map(placed).collect() }
            }
        }
    }
}

impl fmt::Display for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ring = |ring: &Vec<[f64; 2]>| {
            let vertices: Vec<String> = ring.iter().chain(ring.first()).map(|[x, y]| format!("{x} {y}")).collect();
            format!("({})", vertices.join(","))
        };
        let polygon = |rings: &Vec<Vec<[f64; 2]>>| {
            format!("({})", rings.iter().map(ring).collect::<Vec<_>>().join(","))
        };
        match self {
            Shape::Box(b) => write!(f, "BBOX({},{},{},{})", b.west, b.south, b.east, b.north),
            Shape::Polygons(polygons) => match &polygons[..] {
                [one] => write!(f, "POLYGON{}", polygon(one)),
                more => write!(f, "MULTIPOLYGON({})", more.iter().map(polygon).collect::<Vec<_>>().join(",")),
            },
        }
    }
}

/// World units, x not wrapped. Latitudes beyond the map are cut to it.
fn place([lon, lat]: [f64; 2]) -> (i64, i64) {
    let lat = lat.clamp(-LAT_LIMIT_DEG, LAT_LIMIT_DEG);
    let y = world_from_lonlat(0.0, lat).expect("the latitude was cut to the map").y;
    (((lon / 360.0 + 0.5) * WORLD_WIDTH as f64).floor() as i64, i64::from(y))
}

/// The part of the polygon, moved by `shift` units, that lies in the world; `None` if none does.
fn within_the_world(rings: &[Vec<(i64, i64)>], shift: i64) -> Option<Polygon> {
    let rings: Vec<Vec<WorldPoint>> = rings
        .iter()
        .map(|ring| {
            let moved: Vec<(i64, i64)> = ring.iter().map(|&(x, y)| (x + shift, y)).collect();
            let cut = cut(&cut(&moved, 0, i64::ge), WORLD_WIDTH, i64::le);
            let limited = |(x, y): (i64, i64)| WorldPoint { x: x.min(WORLD_WIDTH - 1) as u32, y: y as u32 };
            cut.into_iter().map(limited).collect()
        })
        .filter(|ring: &Vec<WorldPoint>| ring.len() > 2 && ring.iter().any(|vertex| vertex.x != ring[0].x))
        .collect();
    (!rings.is_empty()).then_some(Polygon { rings })
}

/// The ring on one side of a meridian (Sutherland-Hodgman). The edges it adds run along the meridian, in both directions
/// where the ring is in several pieces, and so cancel out under the even-odd rule.
fn cut(ring: &[(i64, i64)], limit: i64, inside: fn(&i64, &i64) -> bool) -> Vec<(i64, i64)> {
    let mut cut = Vec::with_capacity(ring.len());
    for (i, &(bx, by)) in ring.iter().enumerate() {
        let (ax, ay) = ring[(i + ring.len() - 1) % ring.len()];
        if inside(&ax, &limit) != inside(&bx, &limit) {
            let y = i128::from(ay) + i128::from(by - ay) * i128::from(limit - ax) / i128::from(bx - ax);
            cut.push((limit, y as i64));
        }
        if inside(&bx, &limit) {
            cut.push((bx, by));
        }
    }
    cut
}

struct Reader<'a> {
    text: &'a str,
    rest: &'a str,
    at: usize,
    vertices: usize,
}

impl<'a> Reader<'a> {
    fn polygon(&mut self) -> Result<Vec<Vec<[f64; 2]>>, FilterError> {
        self.list(Reader::ring)
    }

    fn ring(&mut self) -> Result<Vec<[f64; 2]>, FilterError> {
        let mut ring = self.list(Reader::vertex)?;
        if ring.first() == ring.last() {
            ring.pop();
        }
        if ring.len() < 3 { Err(self.expected("at least three different vertices in a ring")) } else { Ok(ring) }
    }

    fn vertex(&mut self) -> Result<[f64; 2], FilterError> {
        self.vertices += 1;
        if self.vertices > FILTER_VERTICES_MAX {
            return Err(FilterError::TooMany { what: "polygon vertices", limit: FILTER_VERTICES_MAX });
        }
        let lon = self.number(LON_LIMIT_DEG, "a longitude in degrees")?;
        let lat = self.number(90.0, "a latitude in degrees, from -90 to 90")?;
        Ok([lon, lat])
    }

    fn list<T>(&mut self, item: fn(&mut Self) -> Result<T, FilterError>) -> Result<Vec<T>, FilterError> {
        if !self.take('(') {
            return Err(self.expected("'('"));
        }
        let mut items = vec![item(self)?];
        while self.take(',') {
            items.push(item(self)?);
        }
        if self.take(')') { Ok(items) } else { Err(self.expected("',' or ')'")) }
    }

    fn number(&mut self, limit: f64, wanted: &str) -> Result<f64, FilterError> {
        self.rest = self.rest.trim_start();
        let end = self.rest.find(|c: char| !(c.is_ascii_alphanumeric() || "+-.".contains(c))).unwrap_or(self.rest.len());
        match self.rest[..end].parse::<f64>() {
            Ok(number) if number.abs() <= limit => {
                self.rest = &self.rest[end..];
                Ok(number + 0.0)
            }
            _ => Err(self.expected(wanted)),
        }
    }

    fn word(&mut self) -> &'a str {
        self.rest = self.rest.trim_start();
        let end = self.rest.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(self.rest.len());
        let (word, rest) = self.rest.split_at(end);
        self.rest = rest;
        word
    }

    fn take(&mut self, wanted: char) -> bool {
        self.rest = self.rest.trim_start();
        match self.rest.strip_prefix(wanted) {
            Some(rest) => {
                self.rest = rest;
                true
            }
            None => false,
        }
    }

    fn expected(&self, wanted: &str) -> FilterError {
        let read = self.text.len() - self.rest.len();
        FilterError::syntax(format!("expected {wanted} in the shape"), self.at + self.text[..read].chars().count())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn contains(text: &str, lon: f64, lat: f64) -> bool {
        Shape::from_wkt(text, 1).unwrap().region().contains(world_from_lonlat(lon, lat).unwrap())
    }

    #[test]
    fn shapes_hold_what_they_show() {
        let holed = "POLYGON ((0 0, 10 0, 10 10, 0 10, 0 0), (4 4, 6 4, 6 6, 4 6, 4 4))";
        assert!(contains(holed, 1.0, 1.0) && !contains(holed, 5.0, 5.0) && !contains(holed, 11.0, 5.0));
        let two = "multipolygon(((0 0, 1 0, 1 1, 0 0)), ((-5 -5, -4 -5, -4 -4)))";
        assert!(contains(two, 0.9, 0.5) && contains(two, -4.1, -4.5) && !contains(two, -2.0, -2.0));
        assert_eq!(Shape::from_wkt(two, 1).unwrap().to_string(), "MULTIPOLYGON(((0 0,1 0,1 1,0 0)),((-5 -5,-4 -5,-4 -4,-5 -5)))");
    }

    #[test]
    fn a_lasso_across_the_antimeridian_is_in_both_halves() {
        for lasso in ["POLYGON((170 -10, 190 -10, 190 10, 170 10))", "POLYGON((-190 -10, -170 -10, -170 10, -190 10))"] {
            assert!(contains(lasso, 175.0, 0.0) && contains(lasso, -175.0, 5.0) && contains(lasso, 179.999, -9.0), "{lasso}");
            assert!(!contains(lasso, 165.0, 0.0) && !contains(lasso, -165.0, 0.0) && !contains(lasso, 0.0, 0.0), "{lasso}");
        }
        let world = "POLYGON((-180 -90, 180 -90, 180 90, -180 90))";
        assert!(contains(world, -180.0, 0.0) && contains(world, 179.9999, 85.0) && contains(world, 0.0, -85.0));
    }

    #[test]
    fn what_is_no_shape_is_shown_where() {
        for (text, at) in [("POLYGON((0 0, 1 1))", 19), ("POLYGON(0 0)", 9), ("POLYGON((0 0, 1 x, 2 2))", 17), ("POLYGON((0 0, 1 1, 2 200))", 22)] {
            assert_eq!(Shape::from_wkt(text, 1).unwrap_err().position(), Some(at), "{text}");
        }
        assert!(Shape::from_wkt("POINT(1 2)", 1).unwrap_err().to_string().contains("use BBOX, POLYGON"));
        let vertices = vec!["1 1"; FILTER_VERTICES_MAX + 1].join(",");
        assert!(matches!(Shape::from_wkt(&format!("POLYGON(({vertices}))"), 1), Err(FilterError::TooMany { .. })));
    }
}
