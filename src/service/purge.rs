//! What to forget of a dataset's finished tiles.

use super::disk::DiskError;
use super::shared::SharedError;
use crate::world::{LonLatBox, TileId, WorldBox};
use std::ops::RangeInclusive;
use thiserror::Error;

/// Where tiles could not be forgotten.
#[derive(Debug, Error)]
pub enum PurgeError {
    #[error(transparent)]
    Disk(#[from] DiskError),
    #[error(transparent)]
    Shared(#[from] SharedError),
}

/// Which tiles to forget: those of the zooms that touch the box. By default all.
#[derive(Clone, Debug, Default)]
pub struct Purge {
    zooms: Option<RangeInclusive<u8>>,
    boxes: Option<Vec<WorldBox>>,
}

impl Purge {
    pub fn all() -> Purge {
        Purge::default()
    }

    pub fn zooms(mut self, zooms: RangeInclusive<u8>) -> Purge {
        self.zooms = Some(zooms);
        self
    }

    /// Only tiles that touch the box, in degrees.
    pub fn touching(mut self, bbox: &LonLatBox) -> Purge {
        self.boxes = Some(bbox.world_boxes());
        self
    }

    pub fn takes(&self, tile: TileId) -> bool {
        let bounds = tile.world_box();
        self.zooms.as_ref().is_none_or(|zooms| zooms.contains(&tile.z()))
            && self.boxes.as_ref().is_none_or(|boxes| boxes.iter().any(|wanted| wanted.intersects(&bounds)))
    }
}
