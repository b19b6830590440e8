//! Tiles that are summed from those inside of them, where that is cheaper than to count their points again.
//!
//! A plan goes depth first, so a tile comes right behind the four of the next zoom. Each hands its quarter of the tile around it on, and what waits
//! for a tile still to come is at most three quarters a zoom, whatever the size of the plan; a thread holds four a zoom while it works. Which views that is for says
//! [`Pipeline::sum_rule`]. Where a quarter is missing, because its tile was made by an earlier run, failed or lies outside of the area, the
//! tile is counted: the image is the same.

use super::make::{Made, caught};
use super::plan::{Plan, is_among, order};
use super::sink::request;
use crate::engine::Cancel;
use crate::service::{Pipeline, ServiceError, SumRule, Tile, TileNumbers, View};
use crate::world::{TileId, Zoom};
use rayon::prelude::*;
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

/// Quarters by the tiles that they are made of.
type Quarters = HashMap<TileId, TileNumbers>;

/// The making of one view's tiles, batch by batch.
pub(super) struct Sums<'a> {
    pipeline: &'a Pipeline,
    view: &'a Arc<View>,
    plan: &'a Plan,
    /// The tiles of the plan that this run makes, in its order.
    missing: &'a [TileId],
    rule: SumRule,
    cancel: &'a Cancel,
    /// Of batches made before, for tiles still to come.
    waiting: Quarters,
    summed: AtomicU64,
}

impl<'a> Sums<'a> {
    /// `None` for a view whose tiles are all to be counted.
    pub(super) fn of(
        pipeline: &'a Pipeline,
        view: &'a Arc<View>,
        plan: &'a Plan,
        missing: &'a [TileId],
        cancel: &'a Cancel,
    ) -> Option<Sums<'a>> {
        let rule = pipeline.sum_rule(view)?;
        Some(Sums { pipeline, view, plan, missing, rule, cancel, waiting: Quarters::new(), summed: AtomicU64::new(0) })
    }

    /// The tiles of a batch, which follows the last one in the plan's order, by all threads.
    pub(super) fn made(&mut self, batch: &[TileId]) -> Vec<Made> {
        let (made, quarters) = self.all_of(batch);
        self.waiting.extend(quarters);
        let behind = batch.last().map(order);
        self.waiting.retain(|tile, _| parent(*tile).map(|parent| order(&parent)) > behind);
        made
    }

    /// Tiles that were summed so far.
    pub(super) fn summed(&self) -> u64 {
        self.summed.load(Ordering::Relaxed)
    }

    /// Tiles in order, and the quarters of those that are inside of no other.
    fn all_of(&self, tiles: &[TileId]) -> (Vec<Made>, Quarters) {
        let of_each: Vec<_> = subtrees(tiles).into_par_iter().map(|subtree| self.subtree(subtree)).collect();
        let (mut made, mut quarters) = (Vec::with_capacity(tiles.len()), Quarters::new());
        for (more, quarter) in of_each {
            made.extend(more);
            quarters.extend(quarter);
        }
        (made, quarters)
    }

    /// Tiles of which the last is around all others, and its quarter of the one around it, if that is wanted.
    fn subtree(&self, tiles: &[TileId]) -> (Vec<Made>, Option<(TileId, TileNumbers)>) {
        let Some((&tile, inside)) = tiles.split_last() else { return (Vec::new(), None) };
        let (mut made, quarters) = self.all_of(inside);
        let (image, quarter) = match caught(|| self.one(tile, &quarters)) {
            Ok((image, quarter)) => (Ok(image), quarter),
            Err(error) => (Err(error), None),
        };
        made.push((tile, image));
        (made, quarter.map(|quarter| (tile, quarter)))
    }

    fn one(&self, tile: TileId, quarters: &Quarters) -> Result<(Tile, Option<TileNumbers>), ServiceError> {
        let started = Instant::now();
        let numbers = match self.sum(tile, quarters) {
            Some(numbers) => {
                self.summed.fetch_add(1, Ordering::Relaxed);
                numbers
            }
            None => self.pipeline.numbers_once(self.view, tile, self.cancel)?,
        };
        let is_awaited = parent(tile).is_some_and(|parent| self.may_sum(&parent) && is_among(&parent, self.missing));
        let quarter = is_awaited.then(|| numbers.halved());
        let image = self.pipeline.image_of_numbers(&request(self.view, tile), numbers, started.elapsed(), self.cancel)?;
        Ok((image, quarter))
    }

    fn may_sum(&self, tile: &TileId) -> bool {
        let (first, last) = tile.keys();
        let parts = || self.view.source.dataset().parts.iter();
        let points = || parts().map(|part| part.index().slice(first, last).len() as u64).sum::<u64>();
        tile.z() <= self.rule.zoom_max && self.plan.holds_all_of(tile) && (self.rule.points_min == 0 || points() >= self.rule.points_min)
    }

    /// A tile of its quarters, if each that has points is there.
    fn sum(&self, tile: TileId, quarters: &Quarters) -> Option<TileNumbers> {
        let children = tile.children().filter(|_| self.may_sum(&tile))?;
        let found = children.map(|child| quarters.get(&child).or_else(|| self.waiting.get(&child)));
        let is_lacking = |(child, quarter): (&TileId, &Option<&TileNumbers>)| quarter.is_none() && self.plan.contains(child);
        if children.iter().zip(&found).any(is_lacking) { None } else { TileNumbers::of_quarters(found) }
    }
}

fn parent(tile: TileId) -> Option<TileId> {
    let zoom = Zoom::new(tile.z().checked_sub(1)?).expect("a tile has a larger zoom");
    Some(TileId::from_cell(zoom, tile.cell() >> 2))
}

/// Tiles in the order of a plan, as runs whose last tile is around all others of the run.
fn subtrees(mut tiles: &[TileId]) -> Vec<&[TileId]> {
    let mut found = Vec::new();
    while let Some(root) = tiles.last() {
        let first = root.keys().0;
        let (before, subtree) = tiles.split_at(tiles.partition_point(|tile| tile.keys().0 < first));
        found.push(subtree);
        tiles = before;
    }
    found.reverse();
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dataset::testing::{TestColumn, dataset};
    use crate::engine::cpu::CpuEngine;
    use crate::filter::Filter;
    use crate::prewarm::Area;
    use crate::service::{CacheBudgets, Metrics, Source};
    use crate::world::WorldPoint;

    const ZOOM_MAX: u8 = 3;

    /// Goal: whatever is summed, every tile is what a server makes of its points. Method: plans of every kind, made in batches of several sizes
    /// and with gaps, as a resumed run has, against the pipeline's own tiles.
    #[test]
    fn summed_tiles_are_the_counted_ones() {
        let point = |i: u32| WorldPoint { x: ((i * 7 % 640) << 22) | (i * 977), y: ((i % 3 * 300 + i * i % 97) << 21) | (i << 3) };
        let points: Vec<WorldPoint> = (0..300).map(point).collect();
        let integers = (0..300).map(|i| (i % 5 > 0).then_some(i * 37 % 1009 - 300)).collect();
        let floats = (0..300).map(|i| Some(f64::from(i).sqrt())).collect();
        let radios = (0..300).map(|i| Some(["GSM", "LTE"][i % 2].to_owned())).collect();
        let columns = [("radio", TestColumn::Text(radios)), ("size", TestColumn::Integer(integers)), ("root", TestColumn::Float(floats))];
        let (_folder, dataset) = dataset(&points, &columns, 80);
        let dataset = Arc::new(dataset);
        let source = Arc::new(Source::new(dataset.clone(), Arc::new(CpuEngine::new(dataset))).unwrap());
        let pipeline = Pipeline::new(&CacheBudgets::of(1 << 24), Arc::new(Metrics::new()));
        let cancel = Cancel::never();
        let half = Area::world().with_box("-180,-85,20,60".parse().unwrap());
        let listed = Area::listed("0/0/0\n1/0/0\n1/1/0\n1/0/1\n1/1/1\n2/0/0\n2/1/1\n2/1/0\n2/0/1").unwrap();
        for (filter, style, is_summed) in [
            ("", "agg=mean&column=size", true),
            ("", "agg=min&column=root&normalize=tile", true),
            ("", "agg=mean&column=root", false),
            ("size > 100", "how=log", true),
            ("size > 100", "spread=1", false),
            ("", "how=log", false),
        ] {
            let filter = Filter::parse(filter, source.dataset()).unwrap();
            let view = Arc::new(View::new(&source, filter, style.split('&').filter_map(|pair| pair.split_once('='))).unwrap());
            assert_eq!(pipeline.sum_rule(&view).is_some(), is_summed, "{style}");
            let mut expected = HashMap::new();
            for (area, batch_tiles, gaps) in [(&Area::world(), 256, 0), (&Area::world(), 5, 0), (&Area::world(), 256, 11), (&half, 256, 0), (&listed, 256, 0)] {
                let plan = Plan::of(&view, &pipeline, &(0..=ZOOM_MAX), area).unwrap();
                let is_missing = |place: usize| gaps == 0 || !place.is_multiple_of(gaps);
                let missing: Vec<TileId> = plan.tiles.iter().enumerate().filter(|(place, _)| is_missing(*place)).map(|(_, tile)| *tile).collect();
                let Some(mut sums) = Sums::of(&pipeline, &view, &plan, &missing, &cancel) else { continue };
                assert!(sums.rule.points_min == 0 || plan.tiles.iter().all(|tile| !sums.may_sum(tile)), "{style}: 300 points are few");
                sums.rule.points_min = 0;
                let mut made = Vec::new();
                for batch in missing.chunks(batch_tiles) {
                    made.extend(sums.made(batch));
                    assert!(sums.waiting.len() <= 3 * usize::from(ZOOM_MAX), "{} quarters wait", sums.waiting.len());
                }
                assert!(made.iter().map(|(tile, _)| tile).eq(&missing));
                for (tile, image) in made {
                    let expected = expected.entry(tile).or_insert_with(|| pipeline.tile(&request(&view, tile), &cancel).unwrap().body.bytes());
                    assert!(image.unwrap().body.bytes() == *expected, "{style}: tile {tile}");
                }
                let coarse = missing.iter().filter(|tile| tile.z() < ZOOM_MAX).count() as u64;
                let all_are_there = area.bounds().is_none() && gaps == 0;
                assert!(sums.summed() > 0 && sums.summed() <= coarse && (sums.summed() == coarse) == all_are_there, "{style}: {} of {coarse}", sums.summed());
            }
        }
    }

    #[test]
    fn runs_end_in_the_tile_around_them() {
        let tile = |z, x, y| TileId::new(z, x, y).unwrap();
        let tiles = [tile(3, 0, 0), tile(2, 0, 0), tile(3, 2, 0), tile(3, 3, 1), tile(2, 1, 0), tile(1, 0, 0), tile(4, 9, 0), tile(2, 3, 0)];
        assert!(tiles.is_sorted_by_key(order));
        let lengths = |tiles: &[TileId]| subtrees(tiles).iter().map(|run| run.len()).collect::<Vec<_>>();
        assert_eq!(lengths(&tiles), [6, 1, 1]);
        assert_eq!(lengths(&tiles[..5]), [2, 3]);
        assert_eq!(parent(tile(3, 3, 1)), Some(tile(2, 1, 0)));
        assert_eq!(parent(tile(0, 0, 0)), None);
    }
}
