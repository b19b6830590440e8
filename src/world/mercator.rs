//! The projection: degrees (or Web-Mercator metres) to world coordinates and back.
//!
//! Source of the formulas: EPSG:3857 (spherical Mercator, radius 6,378,137 m), scaled so that the square world is 2^32
//! units wide. One unit is 9.3 mm at the equator.

use super::WorldPoint;
use std::f64::consts::PI;

/// The latitude at which the Web-Mercator world is square, in degrees. Points beyond it are rejected.
pub const LAT_LIMIT_DEG: f64 = 85.05112878;

/// Longitudes wrap around, so that data in 0..360 works; beyond this many degrees a value is no longitude.
pub const LON_LIMIT_DEG: f64 = 360.0;

/// Half the width of the Web-Mercator world in metres: pi times the radius of EPSG:3857.
pub const WORLD_HALF_WIDTH_METRES: f64 = PI * 6_378_137.0;

const WORLD_WIDTH: f64 = 4_294_967_296.0; // 2^32 units

/// Why a row has no place on the map. The reasons are counted and shown after an ingest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Rejection {
    /// A coordinate is null or empty.
    NullCoordinate,
    /// A coordinate is NaN or infinite.
    NotFinite,
    /// |latitude| is over 85.05112878 degrees: Web Mercator cannot show it.
    LatitudeOutOfRange,
    /// |longitude| is over 360 degrees, or |x| is over the world's width.
    LongitudeOutOfRange,
}

impl Rejection {
    /// The reason in words, lower case, as reports and the rejects file show it.
    pub fn reason(self) -> &'static str {
        match self {
            Rejection::NullCoordinate => "no coordinate",
            Rejection::NotFinite => "coordinate is not a finite number",
            Rejection::LatitudeOutOfRange => "latitude outside the Web-Mercator world",
            Rejection::LongitudeOutOfRange => "longitude out of range",
        }
    }
}

/// Projects a longitude and latitude in degrees.
///
/// `x = floor((lon/360 + 1/2) * 2^32) mod 2^32`, `y = floor((1/2 - ln((1+sin lat)/(1-sin lat))/(4 pi)) * 2^32)`; y grows
/// southwards.
///
/// # Errors
/// Anything that is not finite, or that Web Mercator cannot show.
pub fn world_from_lonlat(lon_deg: f64, lat_deg: f64) -> Result<WorldPoint, Rejection> {
    if !lon_deg.is_finite() || !lat_deg.is_finite() {
        return Err(Rejection::NotFinite);
    }
    if lat_deg.abs() > LAT_LIMIT_DEG {
        return Err(Rejection::LatitudeOutOfRange);
    }
    if lon_deg.abs() > LON_LIMIT_DEG {
        return Err(Rejection::LongitudeOutOfRange);
    }
    let sin_lat = lat_deg.to_radians().sin();
    let y = 0.5 - ((1.0 + sin_lat) / (1.0 - sin_lat)).ln() / (4.0 * PI);
    Ok(WorldPoint { x: wrapped(lon_deg / 360.0 + 0.5), y: clamped(y) })
}

/// Projects Web-Mercator metres (EPSG:3857), x eastwards and y northwards.
///
/// # Errors
/// Anything that is not finite, or that lies outside the world.
pub fn world_from_web_mercator(x_metres: f64, y_metres: f64) -> Result<WorldPoint, Rejection> {
    if !x_metres.is_finite() || !y_metres.is_finite() {
        return Err(Rejection::NotFinite);
    }
    if y_metres.abs() > WORLD_HALF_WIDTH_METRES {
        return Err(Rejection::LatitudeOutOfRange);
    }
    if x_metres.abs() > 2.0 * WORLD_HALF_WIDTH_METRES {
        return Err(Rejection::LongitudeOutOfRange);
    }
    let width = 2.0 * WORLD_HALF_WIDTH_METRES;
    Ok(WorldPoint { x: wrapped(x_metres / width + 0.5), y: clamped(0.5 - y_metres / width) })
}

/// The longitude and latitude in degrees of the centre of a world unit: at most half a unit (5 mm) from what was projected.
pub fn lonlat_from_world(point: WorldPoint) -> (f64, f64) {
    lonlat_from_fraction((f64::from(point.x) + 0.5) / WORLD_WIDTH, (f64::from(point.y) + 0.5) / WORLD_WIDTH)
}

/// The longitude and latitude in degrees of Web-Mercator metres (EPSG:3857).
pub fn lonlat_from_web_mercator(x_metres: f64, y_metres: f64) -> (f64, f64) {
    let width = 2.0 * WORLD_HALF_WIDTH_METRES;
    lonlat_from_fraction(x_metres / width + 0.5, 0.5 - y_metres / width)
}

/// Longitude and latitude of a place given as fractions of the world: x from the west edge, y from the north edge.
pub(super) fn lonlat_from_fraction(x: f64, y: f64) -> (f64, f64) {
    ((x - 0.5) * 360.0, (PI * (1.0 - 2.0 * y)).sinh().atan().to_degrees())
}

fn wrapped(fraction: f64) -> u32 {
    // Fractions lie in -0.5..=1.5: the cast is exact, and the mask is the mod 2^32.
    ((fraction * WORLD_WIDTH).floor() as i64 & 0xFFFF_FFFF) as u32
}

fn clamped(fraction: f64) -> u32 {
    // At the latitude limit the rounding of ln may leave the square by a unit; `as` saturates, which is what is wanted.
    (fraction * WORLD_WIDTH).floor() as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_places_have_known_coordinates() {
        assert_eq!(world_from_lonlat(0.0, 0.0), Ok(WorldPoint { x: 1 << 31, y: 1 << 31 }));
        assert_eq!(world_from_lonlat(-180.0, 0.0).unwrap().x, 0);
        assert_eq!(world_from_lonlat(180.0, 0.0).unwrap().x, 0, "the antimeridian is one line");
        assert_eq!(world_from_lonlat(190.0, 10.0), world_from_lonlat(-170.0, 10.0));
        assert_eq!(world_from_lonlat(0.0, LAT_LIMIT_DEG).unwrap().y, 0);
        assert_eq!(world_from_lonlat(0.0, -LAT_LIMIT_DEG).unwrap().y, u32::MAX);
    }

    #[test]
    fn what_the_map_cannot_show_is_rejected_with_its_reason() {
        assert_eq!(world_from_lonlat(0.0, 85.06), Err(Rejection::LatitudeOutOfRange));
        assert_eq!(world_from_lonlat(0.0, -90.0), Err(Rejection::LatitudeOutOfRange));
        assert_eq!(world_from_lonlat(361.0, 0.0), Err(Rejection::LongitudeOutOfRange));
        assert_eq!(world_from_lonlat(f64::NAN, 0.0), Err(Rejection::NotFinite));
        assert_eq!(world_from_lonlat(0.0, f64::INFINITY), Err(Rejection::NotFinite));
        assert_eq!(world_from_web_mercator(0.0, 2.1e7), Err(Rejection::LatitudeOutOfRange));
    }

    #[test]
    fn metres_and_degrees_agree_to_a_unit() {
        for (lon, lat) in [(13.4, 52.5), (-122.4, 37.8), (151.2, -33.9), (-179.9, 0.1)] {
            let degrees = world_from_lonlat(lon, lat).unwrap();
            let x = lon / 180.0 * WORLD_HALF_WIDTH_METRES;
            let y = 6_378_137.0 * (PI / 4.0 + f64::to_radians(lat) / 2.0).tan().ln();
            let metres = world_from_web_mercator(x, y).unwrap();
            assert!(degrees.x.abs_diff(metres.x) <= 1 && degrees.y.abs_diff(metres.y) <= 1, "{lon} {lat}");
            let (back_lon, back_lat) = lonlat_from_world(degrees);
            assert!((back_lon - lon).abs() < 1e-7 && (back_lat - lat).abs() < 1e-7);
        }
    }
}
