//! Where tiles are wanted: everywhere, in boxes and polygons, or exactly those of a list.

use crate::filter::{Cover, Region, Shape};
use crate::service::Digest;
use crate::world::{LonLatBox, TileId};
use serde_json::Value;
use std::collections::BTreeSet;
use thiserror::Error;

/// Lines of a tile list that are read: a world at zoom 12.
const LISTED_TILES_MAX: usize = 1 << 24;

#[derive(Debug, Error, PartialEq)]
pub enum AreaError {
    #[error("it is no JSON: {0}")]
    Json(String),
    #[error("there is no '{0}' that has an inside: give GeoJSON with polygons")]
    Shape(String),
    #[error("'{0}' is no position: GeoJSON has [longitude, latitude]")]
    Position(String),
    #[error("it has no polygon: a region is what lies inside of polygons")]
    Empty,
    #[error("line {line} is '{text}', which is no tile: write z/x/y, such as 5/16/11")]
    Tile { line: usize, text: String },
    #[error("it lists more than {LISTED_TILES_MAX} tiles: give a region and zooms instead")]
    Long,
}

/// Where tiles are wanted. Shapes that overlap want a tile once.
#[derive(Clone, Debug, Default)]
pub struct Area {
    /// In degrees, of boxes and polygons.
    bounds: Option<LonLatBox>,
    shapes: Region,
    tiles: Option<Vec<TileId>>,
}

impl Area {
    /// The whole world.
    pub fn world() -> Area {
        Area::default()
    }

    /// Also tiles that touch a box.
    pub fn with_box(mut self, degrees: LonLatBox) -> Area {
        let crosses = degrees.west > degrees.east;
        let (west, east) = if crosses { (-180.0, 180.0) } else { (degrees.west, degrees.east) };
        self.grow(&LonLatBox { west, east, ..degrees });
        self.shapes.boxes.extend(degrees.world_boxes());
        self
    }

    /// Also tiles that touch the polygons of a GeoJSON text.
    ///
    /// # Errors
    /// It is no GeoJSON, or has something else than polygons.
    pub fn with_geojson(mut self, text: &str) -> Result<Area, AreaError> {
        let json: Value = serde_json::from_str(text).map_err(|error| AreaError::Json(error.to_string()))?;
        let mut polygons = Vec::new();
        collect(&json, &mut polygons)?;
        if polygons.is_empty() {
            return Err(AreaError::Empty);
        }
        for [lon, lat] in polygons.iter().flatten().flatten() {
            self.grow(&LonLatBox { west: *lon, south: *lat, east: *lon, north: *lat });
        }
        self.shapes.polygons.extend(Shape::Polygons(polygons).region().polygons);
        Ok(self)
    }

    /// Exactly the tiles of a text with one `z/x/y` a line. Empty lines and what follows a `#` are passed over.
    ///
    /// # Errors
    /// A line is no tile, or there are too many.
    pub fn listed(text: &str) -> Result<Area, AreaError> {
        let mut tiles = BTreeSet::new();
        for (i, line) in text.lines().enumerate() {
            let written = line.split('#').next().unwrap_or_default().trim();
            if written.is_empty() {
                continue;
            }
            let wrong = || AreaError::Tile { line: i + 1, text: line.chars().take(100).collect() };
            let numbers: Vec<u32> = written.split('/').map(str::parse).collect::<Result<_, _>>().map_err(|_| wrong())?;
            let [z, x, y] = numbers[..] else { return Err(wrong()) };
            let z = u8::try_from(z).map_err(|_| wrong())?;
            tiles.insert(TileId::new(z, x, y).map_err(|_| wrong())?);
            if tiles.len() > LISTED_TILES_MAX {
                return Err(AreaError::Long);
            }
        }
        let mut area = Area::world();
        tiles.iter().for_each(|tile| area.grow(&tile.bounds()));
        area.tiles = Some(tiles.into_iter().collect());
        Ok(area)
    }

    /// The tiles of a list, each once.
    pub fn tiles(&self) -> Option<&[TileId]> {
        self.tiles.as_deref()
    }

    /// In degrees; `None` for the world.
    pub fn bounds(&self) -> Option<LonLatBox> {
        self.bounds
    }

    /// How a tile lies to the area. Of polygons, `Partly` may also be said of a tile that an edge passes within 9 mm.
    pub(super) fn cover(&self, tile: TileId) -> Cover {
        match self.bounds {
            None => Cover::Inside,
            Some(_) => self.shapes.cover(&tile.world_box()),
        }
    }

    /// A short name of the area: equal areas have equal ones.
    pub(super) fn identity(&self) -> String {
        Digest::of([format!("{:?} {:?}", self.shapes, self.tiles).as_str()]).to_string()
    }

    fn grow(&mut self, by: &LonLatBox) {
        let so_far = self.bounds.unwrap_or(*by);
        self.bounds = Some(LonLatBox {
            west: so_far.west.min(by.west),
            south: so_far.south.min(by.south),
            east: so_far.east.max(by.east),
            north: so_far.north.max(by.north),
        });
    }
}

type Rings = Vec<Vec<[f64; 2]>>;

/// The polygons of a GeoJSON object, however deep.
fn collect(json: &Value, polygons: &mut Vec<Rings>) -> Result<(), AreaError> {
    let all = |name: &str| json[name].as_array().map(Vec::as_slice).unwrap_or_default();
    match json["type"].as_str() {
        Some("FeatureCollection") => all("features").iter().try_for_each(|feature| collect(feature, polygons)),
        Some("Feature") => collect(&json["geometry"], polygons),
        Some("GeometryCollection") => all("geometries").iter().try_for_each(|geometry| collect(geometry, polygons)),
        Some("Polygon") => {
            polygons.push(rings(&json["coordinates"])?);
            Ok(())
        }
        Some("MultiPolygon") => {
            for polygon in all("coordinates") {
                polygons.push(rings(polygon)?);
            }
            Ok(())
        }
        // A feature may have no place.
        None if json.is_null() => Ok(()),
        other => Err(AreaError::Shape(other.unwrap_or("type").chars().take(100).collect())),
    }
}

/// Rings without the vertex that closes each.
fn rings(json: &Value) -> Result<Rings, AreaError> {
    let list = |json: &Value| json.as_array().cloned().ok_or_else(|| AreaError::Position(excerpt(json)));
    list(json)?
        .iter()
        .map(|ring| {
            let mut vertices = list(ring)?.iter().map(position).collect::<Result<Vec<_>, _>>()?;
            if vertices.len() > 1 && vertices.first() == vertices.last() {
                vertices.pop();
            }
            Ok(vertices)
        })
        .collect()
}

fn position(json: &Value) -> Result<[f64; 2], AreaError> {
    let wrong = || AreaError::Position(excerpt(json));
    let number = |i: usize| json.get(i).and_then(Value::as_f64).ok_or_else(wrong);
    let [lon, lat] = [number(0)?, number(1)?];
    if lon.abs() <= 360.0 && lat.abs() <= 90.0 { Ok([lon, lat]) } else { Err(wrong()) }
}

fn excerpt(json: &Value) -> String {
    json.to_string().chars().take(100).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_region_is_what_lies_inside_of_polygons() {
        let text = r#"{"type":"FeatureCollection","features":[{"type":"Feature","geometry":{"type":"GeometryCollection","geometries":[
            {"type":"Polygon","coordinates":[[[10,10],[20,10],[20,20],[10,20],[10,10]],[[12,12],[18,12],[18,18],[12,18],[12,12]]]}]}},
            {"type":"Feature","geometry":null},
            {"type":"Feature","geometry":{"type":"MultiPolygon","coordinates":[[[[-60,-10],[-50,-10],[-50,0]]]]}}]}"#;
        let area = Area::world().with_geojson(text).unwrap();
        assert_eq!(area.bounds().unwrap(), LonLatBox { west: -60.0, south: -10.0, east: 20.0, north: 20.0 });
        let at = |lon: f64, lat: f64, z: u8| {
            let point = crate::world::world_from_lonlat(lon, lat).unwrap();
            area.cover(TileId::containing(point, crate::world::Zoom::new(z).unwrap()))
        };
        assert_eq!(at(11.0, 11.0, 12), Cover::Inside);
        assert_eq!(at(15.0, 15.0, 12), Cover::Outside, "the hole");
        assert_eq!(at(10.0, 15.0, 12), Cover::Partly, "the border");
        assert_eq!(at(-51.0, -5.0, 12), Cover::Inside);
        assert_eq!(at(15.0, 15.0, 3), Cover::Partly);
        for (text, said) in [
            ("[", "no JSON"),
            (r#"{"type":"Point","coordinates":[1,2]}"#, "'Point'"),
            (r#"{"type":"Polygon","coordinates":[[[1,95],[2,3]]]}"#, "[1,95]"),
            (r#"{"type":"FeatureCollection","features":[]}"#, "no polygon"),
            (r#"{"Type":"Polygon"}"#, "'type'"),
        ] {
            let error = Area::world().with_geojson(text).unwrap_err().to_string();
            assert!(error.contains(said), "{text}: {error}");
        }
    }

    #[test]
    fn a_list_has_each_tile_once() {
        let area = Area::listed("2/1/1\n\n# all of it\n0/0/0\n2/1/1  # again\n").unwrap();
        assert_eq!(area.tiles().unwrap(), [TileId::new(0, 0, 0).unwrap(), TileId::new(2, 1, 1).unwrap()]);
        for wrong in ["2/1", "2/4/0", "-1/0/0", "a/b/c", "2/1/1/1"] {
            let error = Area::listed(&format!("0/0/0\n{wrong}")).unwrap_err();
            assert_eq!(error, AreaError::Tile { line: 2, text: wrong.into() });
        }
    }
}
