//! Which tiles to make: those with points, found without counting a pixel.

use crate::engine::{Selection, SelectionBody};
use crate::service::Source;
use crate::world::{LonLatBox, TileId, WorldBox, Zoom};
use serde::Serialize;

/// The tiles of a job, zoom by zoom, along the Z-curve.
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
    /// The tiles of zooms `zoom_min..=zoom_max` that touch any of `boxes` (everywhere, where there is none) and have points of
    /// the selection. Boxes that overlap do not make a tile twice.
    pub fn of(source: &Source, selection: &Selection, zoom_min: u8, zoom_max: u8, boxes: &[LonLatBox]) -> Plan {
        let wanted: Vec<WorldBox> = boxes.iter().flat_map(LonLatBox::world_boxes).collect();
        let has_points = |tile: TileId| has_points(source, selection, tile);
        let mut by_zoom: Vec<Vec<TileId>> = vec![Vec::new(); usize::from(zoom_max) + 1];
        let mut stack = vec![TileId::from_cell(Zoom::new(0).expect("there is a zoom 0"), 0)];
        while let Some(tile) = stack.pop() {
            let bounds = tile.world_box();
            if !(wanted.is_empty() || wanted.iter().any(|b| b.intersects(&bounds))) || !has_points(tile) {
                continue;
            }
            by_zoom[usize::from(tile.z())].push(tile);
            if tile.z() < zoom_max {
                // Reversed, so that the stack gives them back along the curve.
                stack.extend(tile.children().expect("zooms end at 24").into_iter().rev());
            }
        }
        let is_exact = selection.filter.is_all() || matches!(selection.body, SelectionBody::Host(_));
        Plan { tiles: by_zoom.into_iter().skip(usize::from(zoom_min)).flatten().collect(), is_exact }
    }

    pub fn zooms(&self) -> Vec<ZoomCount> {
        let mut zooms: Vec<ZoomCount> = Vec::new();
        for tile in &self.tiles {
            match zooms.last_mut() {
                Some(last) if last.zoom == tile.z() => last.tiles += 1,
                _ => zooms.push(ZoomCount { zoom: tile.z(), tiles: 1 }),
            }
        }
        zooms
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
