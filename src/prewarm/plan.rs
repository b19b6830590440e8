//! Which tiles to make: those with points, found without counting a pixel.

use super::area::Area;
use crate::engine::bitmap::GroupedBitmaps;
use crate::engine::cpu::CpuEngine;
use crate::engine::{Cancel, Engine, Groups, Selection, SelectionBody};
use crate::filter::Cover;
use crate::service::{Pipeline, ServiceError, Source, View};
use crate::world::{TileId, Zoom};
use serde::Serialize;
use std::ops::RangeInclusive;
use std::sync::Arc;

/// The tiles of a job, depth first along the Z-curve, each behind the tiles inside of it: what lies together is made together.
pub struct Plan {
    pub tiles: Vec<TileId>,
}

#[derive(Clone, Copy, Debug, Serialize)]
pub struct ZoomCount {
    pub zoom: u8,
    pub tiles: u64,
}

impl Plan {
    /// The tiles of `zooms` that touch the area and have points that the view shows, each once.
    ///
    /// # Errors
    /// As [`Pipeline::selection`].
    pub fn of(view: &View, pipeline: &Pipeline, zooms: &RangeInclusive<u8>, area: &Area) -> Result<Plan, ServiceError> {
        let shown = Shown::of(view, pipeline)?;
        let has_points = |tile: TileId| shown.has_points(tile);
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
        Ok(Plan { tiles })
    }

    pub fn zooms(&self) -> Vec<ZoomCount> {
        let mut tiles = [0u64; 256];
        self.tiles.iter().for_each(|tile| tiles[usize::from(tile.z())] += 1);
        (0..=u8::MAX).zip(tiles).filter(|&(_, tiles)| tiles > 0).map(|(zoom, tiles)| ZoomCount { zoom, tiles }).collect()
    }
}

/// The points that a view shows.
struct Shown<'a> {
    source: &'a Source,
    /// `None` where it shows every point.
    selection: Option<Arc<Selection>>,
}

impl Shown<'_> {
    /// What the pipeline has selected already, where that lies on the host and says it all. Else one more scan by the CPU: a device
    /// gives its bitmaps to nobody, and of an aggregate only points with a value are shown.
    fn of<'a>(view: &'a View, pipeline: &Pipeline) -> Result<Shown<'a>, ServiceError> {
        let (source, dataset, never) = (&*view.source, view.source.dataset(), Cancel::never());
        let valued = view.aggregate.map(|aggregate| aggregate.column).filter(|&column| dataset.column(column).nulls > 0);
        let filter = match valued {
            Some(column) => Arc::new(view.filter.and_not_null(column, dataset)?),
            None if view.filter.is_all() => return Ok(Shown { source, selection: None }),
            None => view.filter.clone(),
        };
        let selected = pipeline.selection(view, &never)?;
        let selection = match selected.body {
            SelectionBody::Host(_) if valued.is_none() => selected,
            _ => CpuEngine::new(dataset.clone()).select(&filter, &Arc::new(Groups::none(dataset)), &never)?,
        };
        Ok(Shown { source, selection: Some(selection) })
    }

    fn bitmaps(&self) -> Option<&[GroupedBitmaps]> {
        match self.selection.as_deref().map(|selection| &selection.body) {
            Some(SelectionBody::Host(bitmaps)) => Some(bitmaps),
            _ => None,
        }
    }

    fn has_points(&self, tile: TileId) -> bool {
        let Some(bitmaps) = self.bitmaps() else { return self.source.has_points(tile) };
        let (first, last) = tile.keys();
        self.source.dataset().parts.iter().zip(bitmaps).any(|(part, bitmaps)| {
            let slice = part.index().slice(first, last);
            !slice.is_empty() && bitmaps.all.count(slice.start, slice.end) > 0
        })
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
