//! The integer world: where a point lies once it has been projected, and the cells, tiles and pixels that contain it.
//!
//! Longitude and latitude are projected once, at ingest, in `f64`. From then on positions are [`WorldPoint`]s, pairs of
//! `u32` in Web-Mercator fixed point, and everything else is shifts and compares, so the CPU and the GPU cannot disagree
//! about which pixel a point lies in. This module knows nothing of files, columns or counts.
//!
//! ```text
//! key (64 bits)   y31 x31 y30 x30 ... y16 x16 | y15 x15 ... y0 x0
//!                 `----------- hi -----------'  `------ lo -----'
//! cell at level L: the top 2L bits.  tile z: a cell at level z.  pixel of a 256-pixel tile: a cell at level z + 8.
//! ```

mod mercator;
mod morton;
mod tile;

pub use mercator::{
    LAT_LIMIT_DEG, LON_LIMIT_DEG, Rejection, WORLD_HALF_WIDTH_METRES, lonlat_from_web_mercator, lonlat_from_world, world_from_lonlat,
    world_from_web_mercator,
};
pub use morton::{Key, WorldPoint, pixel_from_code};
pub use tile::{BoundsError, LonLatBox, TILE_PIXELS, TILE_PIXELS_LOG2, TileId, TileIdError, WorldBox, ZOOM_MAX, Zoom};
