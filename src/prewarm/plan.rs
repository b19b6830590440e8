//! Which tiles to make: those with points, found without counting a pixel.

use super::area::Area;
use crate::engine::{Selection, SelectionBody};
use crate::filter::Cover;
use crate::service::Source;
use crate::world::{TileId, Zoom};
use serde::Serialize;
use std::ops::RangeInclusive;

/// The tiles of a job, depth first along the Z-curve, each behind the tiles inside of it: what lies together is made together.
pub struct Plan {
    pub tiles: Vec<TileId>,
    /// Whether every tile is known to have selected points. Where the engine keeps its selection on a device, tiles that have
    /// points, but none that pass the filter, are in the plan and found empty when they are made.
    pub is_exact: bool,
}

#[derive(Clone, Copy, Debug, Serialize)]
pub struct ZoomCount {
    pub zoom: u8,
    pub tiles: u64,
}

impl Plan {
    /// The tiles of `zooms` that touch the area and have points of the selection, each once.
    pub fn of(source: &Source, selection: &Selection, zooms: &RangeInclusive<u8>, area: &Area) -> Plan {
        let is_exact = selection.filter.is_all() || matches!(selection.body, SelectionBody::Host(_));
        let has_points = |tile: TileId| has_points(source, selection, tile);
        let mut tiles = Vec::new();
        match area.tiles() {
            Some(listed) => {
                tiles.extend(listed.iter().copied().filter(|&tile| zooms.contains(&tile.z()) && has_points(tile)));
                // The order of the curve: by the first key inside, then the smaller before the larger.
                tiles.sort_by_key(|tile| (tile.keys().1, std::cmp::Reverse(tile.z())));
            }
            None => {
                let world = TileId::from_cell(Zoom::new(0).expect("there is a zoom 0"), 0);
                Walk { zooms, area, has_points: &has_points, tiles: &mut tiles }.visit(world, Cover::Partly);
            }
        }
        Plan { tiles, is_exact }
    }

    pub fn zooms(&self) -> Vec<ZoomCount> {
        let mut tiles = [0u64; 256];
        self.tiles.iter().for_each(|tile| tiles[usize::from(tile.z())] += 1);
        (0..=u8::MAX).zip(tiles).filter(|&(_, tiles)| tiles > 0).map(|(zoom, tiles)| ZoomCount { zoom, tiles }).collect()
    }
}

struct Walk<'a> {
    zooms: &'a RangeInclusive<u8>,
    area: &'a Area,
    has_points: &'a dyn Fn(TileId) -> bool,
    tiles: &'a mut Vec<TileId>,
}

impl Walk<'_> {
    /// Subtrees without points, and those outside of the area, are never entered.
    fn visit(&mut self, tile: TileId, parent: Cover) {
        let cover = if parent == Cover::Inside { parent } else { self.area.cover(tile) };
        if cover == Cover::Outside || !(self.has_points)(tile) {
            return;
        }
        if tile.z() < *self.zooms.end() {
            for child in tile.children().expect("zooms end at 24") {
                self.visit(child, cover);
            }
        }
        if self.zooms.contains(&tile.z()) {
            self.tiles.push(tile);
        }
    }
}

fn has_points(source: &Source, selection: &Selection, tile: TileId) -> bool {
    let SelectionBody::Host(bitmaps) = &selection.body else { return source.has_points(tile) };
    let (first, last) = tile.keys();
    source.dataset().parts.iter().zip(bitmaps.iter()).any(|(part, bitmaps)| {
        let slice = part.index().slice(first, last);
        !slice.is_empty() && bitmaps.all.count(slice.start, slice.end) > 0
    })
}
