//! Tiles: what is asked for, by what it is known, and what comes back.

use super::body::TileBody;
use super::view::View;
use super::Digest;
use crate::encode::NpyDtype;
use crate::world::TileId;
use std::sync::Arc;
use std::time::Duration;

/// What a tile is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Content {
    /// An image, exact.
    Png,
    /// An image of at most 256 colours, dithered.
    Png8,
    Npy(NpyDtype),
}

/// How fine a tile's pixels are: it is made of the 256-pixel tiles of its own zoom or of a deeper one, side by side.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Scale {
    /// 256 pixels a side.
    One,
    /// 512 pixels a side: four tiles of the next zoom.
    Two,
    /// 1024 pixels a side: sixteen tiles of the zoom after the next.
    Four,
}

impl Scale {
    pub fn pixels(self) -> usize {
        256 << self.zooms()
    }

    /// How many zooms deeper the tiles of 256 pixels lie that have the same pixels.
    pub fn zooms(self) -> u8 {
        match self {
            Scale::One => 0,
            Scale::Two => 1,
            Scale::Four => 2,
        }
    }

    /// As fine again: what `@2x` means.
    pub fn doubled(self) -> Scale {
        match self {
            Scale::One => Scale::Two,
            Scale::Two | Scale::Four => Scale::Four,
        }
    }
}

#[derive(Clone)]
pub struct TileRequest {
    pub view: Arc<View>,
    pub tile: TileId,
    pub scale: Scale,
    pub content: Content,
}

/// By what a finished tile is known: equal requests, however they were written, have equal keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TileKey {
    /// Of all that it depends on beside its place, the version of its points included: see [`View::image_of`] and [`View::numbers_of`].
    pub digest: Digest,
    pub tile: TileId,
    pub scale: Scale,
    pub content: Content,
}

impl TileRequest {
    pub fn key(&self) -> TileKey {
        let digest = match self.content {
            Content::Png | Content::Png8 => self.view.image_of(self.tile),
            Content::Npy(_) => self.view.numbers_of(self.tile),
        };
        TileKey { digest, tile: self.tile, scale: self.scale, content: self.content }
    }
}

/// By which scale colours stand for counts, or values. Counts and values themselves always are exact.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TileQuality {
    /// The zoom's, by its exact distribution; or one that needs none.
    Exact,
    /// The zoom's, by the distribution of tiles that stand for it, for good: of spread points, where the zoom has too many to spread them all.
    Sample,
    /// An estimate, until the exact distribution is there.
    Preview,
}

impl TileQuality {
    pub fn name(self) -> &'static str {
        match self {
            TileQuality::Exact => "exact",
            TileQuality::Sample => "sample",
            TileQuality::Preview => "preview",
        }
    }
}

/// A finished tile.
#[derive(Clone, Debug)]
pub struct Tile {
    pub body: TileBody,
    /// Whether it is worth a place in a cache: an empty tile costs nothing to make, and a preview is good for a moment only.
    pub is_kept: bool,
    pub quality: TileQuality,
    pub times: StageTimes,
}

/// How long each stage took.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StageTimes {
    pub count: Duration,
    pub shade: Duration,
    pub encode: Duration,
}

impl StageTimes {
    pub fn add(&mut self, more: &StageTimes) {
        self.count += more.count;
        self.shade += more.shade;
        self.encode += more.encode;
    }
}
