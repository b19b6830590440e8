//! Tiles of the XYZ scheme as cells, and boxes in degrees and in world units.

use super::mercator::lonlat_from_fraction;
use super::{Key, LAT_LIMIT_DEG, WorldPoint, world_from_lonlat};
use std::fmt;
use thiserror::Error;

/// Pixels along the side of a tile. A tile of 512 pixels is the four tiles of the next zoom, side by side.
pub const TILE_PIXELS: u32 = 1 << TILE_PIXELS_LOG2;
pub const TILE_PIXELS_LOG2: u32 = 8;

/// The deepest zoom: a pixel is then one world unit, for 24 + 8 = 32 bits.
pub const ZOOM_MAX: u8 = 24;

/// A zoom of the XYZ scheme, 0 to [`ZOOM_MAX`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Zoom(u8);

impl Zoom {
    /// # Errors
    /// A zoom over [`ZOOM_MAX`].
    pub fn new(z: u8) -> Result<Zoom, TileIdError> {
        if z > ZOOM_MAX { Err(TileIdError::Zoom { z: u32::from(z) }) } else { Ok(Zoom(z)) }
    }

    pub fn get(self) -> u8 {
        self.0
    }

    /// The level of this zoom's pixels, 8 to 32.
    pub fn pixel_level(self) -> u32 {
        u32::from(self.0) + TILE_PIXELS_LOG2
    }
}

/// Why three numbers are no tile.
#[derive(Debug, Error, PartialEq, Eq, Clone, Copy)]
pub enum TileIdError {
    #[error("zoom {z} is not one of 0 to 24")]
    Zoom { z: u32 },
    #[error("tile {z}/{x}/{y} is outside the world: at zoom {z}, x and y run from 0 to {}", (1u64 << z) - 1)]
    Outside { z: u8, x: u32, y: u32 },
}

/// A tile of the XYZ scheme: `z` 0 to 24, `x` eastwards and `y` southwards, both below 2^z. An invalid one cannot exist.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TileId {
    z: Zoom,
    x: u32,
    y: u32,
}

impl TileId {
    /// # Errors
    /// A zoom over 24, or x or y not below 2^z.
    pub fn new(z: u8, x: u32, y: u32) -> Result<TileId, TileIdError> {
        let zoom = Zoom::new(z)?;
        if u64::from(x) >> z != 0 || u64::from(y) >> z != 0 {
            return Err(TileIdError::Outside { z, x, y });
        }
        Ok(TileId { z: zoom, x, y })
    }

    pub fn zoom(self) -> Zoom {
        self.z
    }

    pub fn z(self) -> u8 {
        self.z.0
    }

    pub fn x(self) -> u32 {
        self.x
    }

    pub fn y(self) -> u32 {
        self.y
    }

    /// The tile of `zoom` that contains the point.
    pub fn containing(point: WorldPoint, zoom: Zoom) -> TileId {
        let shift = 32 - u32::from(zoom.0);
        TileId { z: zoom, x: upper(point.x, shift), y: upper(point.y, shift) }
    }

    /// The tile whose cell id (Z-order) is `cell` at `zoom`.
    pub fn from_cell(zoom: Zoom, cell: u64) -> TileId {
        let corner = Key(cell).world();
        TileId { z: zoom, x: corner.x, y: corner.y }
    }

    /// The tile as a cell of level z: its Z-order id.
    pub fn cell(self) -> u64 {
        Key::from_world(WorldPoint { x: self.x, y: self.y }).0
    }

    /// First and last key of the tile, both inclusive.
    pub fn keys(self) -> (Key, Key) {
        let level = u32::from(self.z.0);
        if level == 0 {
            return (Key(0), Key(u64::MAX));
        }
        let shift = 64 - 2 * level;
        let first = self.cell() << shift;
        (Key(first), Key(first | ((1u64 << shift) - 1)))
    }

    /// The four tiles of the next zoom inside this one, in Z-order: north-west, north-east, south-west, south-east.
    /// `None` at the deepest zoom.
    pub fn children(self) -> Option<[TileId; 4]> {
        let z = Zoom::new(self.z.0 + 1).ok()?;
        let child = |dx, dy| TileId { z, x: self.x * 2 + dx, y: self.y * 2 + dy };
        Some([child(0, 0), child(1, 0), child(0, 1), child(1, 1)])
    }

    /// The tile `dx` to the east (around the world) and `dy` to the south. `None` over the north or south edge.
    pub fn neighbour(self, dx: i64, dy: i64) -> Option<TileId> {
        let side = 1i64 << self.z.0;
        let y = i64::from(self.y) + dy;
        (0..side).contains(&y).then(|| TileId {
            z: self.z,
            x: (i64::from(self.x) + dx).rem_euclid(side) as u32,
            y: y as u32,
        })
    }

    /// The world box that the tile covers.
    pub fn world_box(self) -> WorldBox {
        let (first, last) = self.keys();
        WorldBox { min: first.world(), max: last.world() }
    }

    /// West, south, east, north in degrees.
    pub fn bounds(self) -> LonLatBox {
        let side = (1u64 << self.z.0) as f64;
        let (west, north) = lonlat_from_fraction(f64::from(self.x) / side, f64::from(self.y) / side);
        let (east, south) = lonlat_from_fraction(f64::from(self.x + 1) / side, f64::from(self.y + 1) / side);
        LonLatBox { west, south, east, north }
    }
}

impl fmt::Display for TileId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}/{}", self.z.0, self.x, self.y)
    }
}

/// A box of world units, both corners inclusive, x not wrapping: `min.x <= max.x`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct WorldBox {
    pub min: WorldPoint,
    pub max: WorldPoint,
}

impl WorldBox {
    pub const WORLD: WorldBox =
        WorldBox { min: WorldPoint { x: 0, y: 0 }, max: WorldPoint { x: u32::MAX, y: u32::MAX } };

    pub fn contains(&self, point: WorldPoint) -> bool {
        (self.min.x..=self.max.x).contains(&point.x) && (self.min.y..=self.max.y).contains(&point.y)
    }

    pub fn contains_box(&self, other: &WorldBox) -> bool {
        self.contains(other.min) && self.contains(other.max)
    }

    pub fn intersects(&self, other: &WorldBox) -> bool {
        self.min.x <= other.max.x && other.min.x <= self.max.x && self.min.y <= other.max.y && other.min.y <= self.max.y
    }
}

/// West, south, east, north in degrees. `west > east` crosses the antimeridian, as in GeoJSON.
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct LonLatBox {
    pub west: f64,
    pub south: f64,
    pub east: f64,
    pub north: f64,
}

/// Why four numbers are no box.
#[derive(Debug, Error, PartialEq, Clone)]
#[error("{0} is not a box: give west,south,east,north in degrees, with south not above north")]
pub struct BoundsError(pub String);

impl std::str::FromStr for LonLatBox {
    type Err = BoundsError;

    fn from_str(text: &str) -> Result<LonLatBox, BoundsError> {
        let numbers: Vec<f64> = text.split(',').filter_map(|part| part.trim().parse().ok()).collect();
        let [west, south, east, north] = numbers[..] else { return Err(BoundsError(text.to_owned())) };
        let fits = text.split(',').count() == 4
            && [west, east].iter().all(|lon| lon.abs() <= 360.0)
            && [south, north].iter().all(|lat| lat.abs() <= 90.0)
            && south <= north;
        if fits { Ok(LonLatBox { west, south, east, north }) } else { Err(BoundsError(text.to_owned())) }
    }
}

impl LonLatBox {
    /// Longitude and latitude of the middle, in degrees.
    pub fn center(&self) -> (f64, f64) {
        ((self.west + self.east) / 2.0, (self.south + self.north) / 2.0)
    }

    /// The world boxes that the degrees cover: one, or two, from west to east, where the box crosses the antimeridian. Latitudes beyond the
    /// map are cut to it; a width of 360 degrees or more is the whole world. Corners are inclusive world units.
    pub fn world_boxes(&self) -> Vec<WorldBox> {
        let place = |lon: f64, lat: f64| {
            world_from_lonlat(lon, lat.clamp(-LAT_LIMIT_DEG, LAT_LIMIT_DEG)).expect("degrees were checked and clamped")
        };
        let (min, max) = (place(self.west, self.north), place(self.east, self.south));
        let span = |from: u32, to: u32| WorldBox {
            min: WorldPoint { x: from, y: min.y },
            max: WorldPoint { x: to, y: max.y },
        };
        if self.east - self.west >= 360.0 {
            return vec![span(0, u32::MAX)];
        }
        // East 180 projects to x = 0, the same line as west -180: as an eastern edge it is the world's last column.
        let east = if self.east.rem_euclid(360.0) == 180.0 { u32::MAX } else { max.x };
        if min.x <= east { vec![span(min.x, east)] } else { vec![span(0, east), span(min.x, u32::MAX)] }
    }
}

fn upper(value: u32, shift: u32) -> u32 {
    // A shift by 32 (zoom 0) leaves nothing.
    value.checked_shr(shift).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn an_invalid_tile_cannot_exist() {
        assert_eq!(TileId::new(25, 0, 0), Err(TileIdError::Zoom { z: 25 }));
        assert_eq!(TileId::new(0, 1, 0), Err(TileIdError::Outside { z: 0, x: 1, y: 0 }));
        assert_eq!(TileId::new(3, 0, 8), Err(TileIdError::Outside { z: 3, x: 0, y: 8 }));
        assert!(TileId::new(24, (1 << 24) - 1, (1 << 24) - 1).is_ok());
        let message = TileId::new(3, 9, 0).unwrap_err().to_string();
        assert_eq!(message, "tile 3/9/0 is outside the world: at zoom 3, x and y run from 0 to 7");
    }

    #[test]
    fn neighbours_wrap_east_and_stop_at_the_poles() {
        let tile = TileId::new(2, 3, 0).unwrap();
        assert_eq!(tile.neighbour(1, 0), TileId::new(2, 0, 0).ok());
        assert_eq!(tile.neighbour(0, -1), None);
    }

    #[test]
    fn boxes_cross_the_antimeridian() {
        let boxed: LonLatBox = "170,-10,-170,10".parse().unwrap();
        assert_eq!(boxed.world_boxes().len(), 2);
        let world: LonLatBox = "-180,-90,180,90".parse().unwrap();
        assert_eq!(world.world_boxes(), vec![WorldBox::WORLD]);
        let east: LonLatBox = "170,-10,180,10".parse().unwrap();
        assert_eq!(east.world_boxes()[0].max.x, u32::MAX);
        for wrong in ["1,2,3", "a,b,c,d", "0,10,5,-10", "1,2,3,4,5", "0,0,0,91"] {
            assert!(wrong.parse::<LonLatBox>().is_err(), "{wrong}");
        }
    }

    proptest! {
        #[test]
        fn a_tile_holds_exactly_the_keys_of_its_points(x: u32, y: u32, z in 0u8..=24) {
            let point = WorldPoint { x, y };
            let tile = TileId::containing(point, Zoom::new(z).unwrap());
            let (first, last) = tile.keys();
            prop_assert!((first..=last).contains(&Key::from_world(point)));
            prop_assert!(tile.world_box().contains(point));
            prop_assert_eq!(TileId::from_cell(tile.zoom(), tile.cell()), tile);
            if let Some(children) = tile.children() {
                prop_assert_eq!(children.iter().filter(|child| child.world_box().contains(point)).count(), 1);
                prop_assert_eq!(children[0].keys().0, first);
                prop_assert_eq!(children[3].keys().1, last);
            }
        }
    }
}
