//! Which tiles to make: those that show points, found without counting a pixel.

use super::area::Area;
use super::halo::reaches;
use crate::engine::bitmap::GroupedBitmaps;
use crate::engine::cpu::CpuEngine;
use crate::engine::{Cancel, Engine, Groups, Selection, SelectionBody};
use crate::filter::Cover;
use crate::service::{Pipeline, ServiceError, Source, View};
use crate::world::{Key, TileId, Zoom};
use serde::Serialize;
use std::cmp::Reverse;
use std::collections::HashSet;
use std::ops::RangeInclusive;
use std::sync::Arc;

/// The tiles of a job, depth first along the Z-curve, each behind the tiles inside of it: what lies together is made together.
pub struct Plan {
    pub tiles: Vec<TileId>,
    /// Tiles that have points outside of the area, in tiles inside of them that are not in the plan.
    cut: HashSet<TileId>,
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
        let shown = Shown::of(view, pipeline, zooms)?;
        let mut tiles = Vec::new();
        match area.tiles() {
            Some(listed) => {
                tiles.extend(listed.iter().copied().filter(|&tile| zooms.contains(&tile.z()) && shown.shows(tile)));
                // The order of the curve: by the first key inside, then the smaller before the larger.
                tiles.sort_by_key(order);
            }
            None => {
                let world = TileId::from_cell(Zoom::new(0).expect("there is a zoom 0"), 0);
                Walk { zooms, area, shown: &shown, tiles: &mut tiles }.visit(world, Cover::Partly);
            }
        }
        let is_left_out = |tile: &TileId| !is_among(tile, &tiles) && shown.has_points(*tile);
        let is_cut = |tile: &&TileId| tile.z() < *zooms.end() && tile.children().is_some_and(|children| children.iter().any(is_left_out));
        let cut = area.bounds().map_or_else(HashSet::new, |_| tiles.iter().filter(is_cut).copied().collect());
        Ok(Plan { tiles, cut })
    }

    pub fn zooms(&self) -> Vec<ZoomCount> {
        zooms_of(&self.tiles)
    }

    pub(super) fn contains(&self, tile: &TileId) -> bool {
        is_among(tile, &self.tiles)
    }

    /// Whether all points of a tile in the plan are in the tiles of the next zoom that are in it too, if any are.
    pub(super) fn holds_all_of(&self, tile: &TileId) -> bool {
        !self.cut.contains(tile)
    }
}

/// How many tiles of each zoom there are.
pub(super) fn zooms_of(tiles: &[TileId]) -> Vec<ZoomCount> {
    let mut counts = [0u64; 256];
    tiles.iter().for_each(|tile| counts[usize::from(tile.z())] += 1);
    (0..=u8::MAX).zip(counts).filter(|&(_, tiles)| tiles > 0).map(|(zoom, tiles)| ZoomCount { zoom, tiles }).collect()
}

/// A tile's place in a plan: along the curve, behind all that are inside of it.
pub(super) fn order(tile: &TileId) -> (Key, Reverse<u8>) {
    (tile.keys().1, Reverse(tile.z()))
}

/// Whether tiles in the order of a plan have one among them.
pub(super) fn is_among(tile: &TileId, tiles: &[TileId]) -> bool {
    tiles.binary_search_by_key(&order(tile), order).is_ok()
}

/// The points that a view shows.
struct Shown<'a> {
    source: &'a Source,
    /// `None` where it shows every point.
    selection: Option<Arc<Selection>>,
    /// How many pixels points are spread, zoom by zoom.
    spread: [usize; 256],
}

impl Shown<'_> {
    /// What the pipeline has selected already, where that lies on the host and says it all. Else one more scan by the CPU: a device
    /// gives its bitmaps to nobody, and of an aggregate only points with a value are shown.
    fn of<'a>(view: &'a View, pipeline: &Pipeline, zooms: &RangeInclusive<u8>) -> Result<Shown<'a>, ServiceError> {
        let (source, dataset, never) = (&*view.source, view.source.dataset(), Cancel::never());
        let mut spread = [0; 256];
        for z in zooms.clone() {
            spread[usize::from(z)] = pipeline.spread_pixels(view, Zoom::new(z).expect("zooms end at 24"), &never)?;
        }
        let valued = view.aggregate.map(|aggregate| aggregate.column).filter(|&column| dataset.column(column).nulls > 0);
        let filter = match valued {
            Some(column) => Arc::new(view.filter.and_not_null(column, dataset)?),
            None if view.filter.is_all() => return Ok(Shown { source, selection: None, spread }),
            None => view.filter.clone(),
        };
        let selected = pipeline.selection(view, &never)?;
        let selection = match selected.body {
            SelectionBody::Host(_) if valued.is_none() => selected,
            _ => CpuEngine::new(dataset.clone()).select(&filter, &Arc::new(Groups::none(dataset)), &never)?,
        };
        Ok(Shown { source, selection: Some(selection), spread })
    }

    fn bitmaps(&self) -> Option<&[GroupedBitmaps]> {
        match self.selection.as_deref().map(|selection| &selection.body) {
            Some(SelectionBody::Host(bitmaps)) => Some(bitmaps),
            _ => None,
        }
    }

    /// Whether anything is to be seen in a tile: its own points, or those that are spread across its border.
    fn shows(&self, tile: TileId) -> bool {
        let radius = self.spread[usize::from(tile.z())];
        self.has_points(tile) || radius > 0 && reaches(tile, radius, &|first, last| self.has_points_in(first, last))
    }

    /// Whether a tile or any inside of it may show anything.
    fn may_show(&self, tile: TileId) -> bool {
        let mut around = (-1..=1).flat_map(|dy| (-1..=1).filter_map(move |dx| tile.neighbour(dx, dy)));
        self.has_points(tile) || self.spread.iter().any(|&radius| radius > 0) && around.any(|neighbour| self.has_points(neighbour))
    }

    fn has_points(&self, tile: TileId) -> bool {
        let (first, last) = tile.keys();
        self.has_points_in(first, last)
    }

    fn has_points_in(&self, first: Key, last: Key) -> bool {
        let bitmaps = self.bitmaps();
        self.source.dataset().parts.iter().enumerate().any(|(i, part)| {
            let slice = part.index().slice(first, last);
            !slice.is_empty() && bitmaps.is_none_or(|bitmaps| bitmaps[i].all.count(slice.start, slice.end) > 0)
        })
    }
}

struct Walk<'a> {
    zooms: &'a RangeInclusive<u8>,
    area: &'a Area,
    shown: &'a Shown<'a>,
    tiles: &'a mut Vec<TileId>,
}

impl Walk<'_> {
    /// Subtrees that show nothing, and those outside of the area, are never entered.
    fn visit(&mut self, tile: TileId, parent: Cover) {
        let cover = if parent == Cover::Inside { parent } else { self.area.cover(tile) };
        if cover == Cover::Outside || !self.shown.may_show(tile) {
            return;
        }
        if tile.z() < *self.zooms.end() {
            for child in tile.children().expect("zooms end at 24") {
                self.visit(child, cover);
            }
        }
        if self.zooms.contains(&tile.z()) && self.shown.shows(tile) {
            self.tiles.push(tile);
        }
    }
}
