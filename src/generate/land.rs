//! Where land is: a mask of 0.05 degree, so that towers stand on land and ships keep to the sea.
//!
//! The mask is derived from Natural Earth (public domain) by `geography/make.mjs`. Coasts are true to about 5 km and no better.

use std::io::Cursor;
use std::sync::LazyLock;

const COLUMNS: usize = 7200;
const ROWS: usize = 3600;
const PER_DEGREE: f64 = 20.0;

static LAND: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let mut reader = png::Decoder::new(Cursor::new(include_bytes!("geography/land.png").as_slice()))
        .read_info()
        .expect("the embedded mask is a PNG, and a test reads it");
    let mut bits = vec![0; COLUMNS / 8 * ROWS];
    reader.next_frame(&mut bits).expect("the embedded mask has 7200 x 3600 pixels of 1 bit, and a test reads it");
    bits
});

/// Whether a position is on land. `lon` in degrees, any turn; `lat` in degrees.
pub fn is_land(lon: f64, lat: f64) -> bool {
    let column = ((lon + 180.0).rem_euclid(360.0) * PER_DEGREE) as usize % COLUMNS;
    let row = (((90.0 - lat) * PER_DEGREE).max(0.0) as usize).min(ROWS - 1);
    LAND[row * (COLUMNS / 8) + column / 8] & (128 >> (column % 8)) != 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_places_are_land_or_sea() {
        for (name, lon, lat) in [("Berlin", 13.4, 52.5), ("Sahara", 10.0, 23.0), ("Alice Springs", 133.9, -23.7), ("Denver", -105.0, 39.7)] {
            assert!(is_land(lon, lat), "{name}");
        }
        for (name, lon, lat) in [("North Sea", 3.0, 56.0), ("Atlantic", -40.0, 30.0), ("Pacific", 180.0, 0.0), ("Bay of Bengal", 88.0, 15.0)] {
            assert!(!is_land(lon, lat), "{name}");
            assert_eq!(is_land(lon, lat), is_land(lon - 360.0, lat), "{name}, one turn further");
        }
    }
}
