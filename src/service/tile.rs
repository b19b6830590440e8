//! Tiles: what is asked for, by what it is known, and what comes back.

use super::view::View;
use super::Digest;
use crate::encode::NpyDtype;
use crate::world::TileId;
use bytes::Bytes;
use std::sync::Arc;
use std::time::Duration;

/// What a tile is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Content {
    Png,
    Npy(NpyDtype),
}

/// How fine a tile's pixels are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Scale {
    /// 256 pixels a side.
    One,
    /// 512 pixels a side: the four tiles of the next zoom, side by side.
    Two,
}

impl Scale {
    pub fn pixels(self) -> usize {
        match self {
            Scale::One => 256,
            Scale::Two => 512,
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
    /// Of an image the view's, of numbers that of what they depend on.
    pub digest: Digest,
    pub tile: TileId,
    pub scale: Scale,
    pub content: Content,
}

impl TileRequest {
    pub fn key(&self) -> TileKey {
        let digest = match self.content {
            Content::Png => self.view.image,
            Content::Npy(_) => self.view.numbers,
        };
        TileKey { digest, tile: self.tile, scale: self.scale, content: self.content }
    }
}

/// A finished tile.
#[derive(Clone, Debug)]
pub struct Tile {
    pub bytes: Bytes,
    /// Whether it is worth a place in a cache: an empty tile costs nothing to make.
    pub is_kept: bool,
    pub times: StageTimes,
}

/// How long each stage took.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StageTimes {
    pub count: Duration,
    pub shade: Duration,
    pub encode: Duration,
}
