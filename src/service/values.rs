//! Tiles of aggregates: values -> distribution -> shade -> encode, cached as counts are.

use super::ServiceError;
use super::packed::PackedValues;
use super::pipeline::{KeptGrid, Pipeline, pixel_zoom};
use super::tile::{Content, Scale, StageTimes, Tile, TileRequest};
use super::view::View;
use crate::dataset::{ColumnKind, Value};
use crate::encode::{Quality, empty_png, npy_f64, png};
use crate::engine::{Aggregate, Cancel, ValueDistribution, ValueGrid};
use crate::shade::{Legend, LegendAggregate, ValueShader, number_label};
use crate::world::{TileId, Zoom};
use bytes::Bytes;
use std::sync::Arc;
use std::time::Instant;

/// Scales of times longer than this are labelled with days.
const DAYS_FROM_US: f64 = 3.0 * 86_400e6;

impl Pipeline {
    /// Makes a tile of an aggregate's values.
    ///
    /// # Errors
    /// As [`Pipeline::tile`].
    pub(super) fn value_tile(&self, request: &TileRequest, aggregate: Aggregate, cancel: &Cancel) -> Result<Tile, ServiceError> {
        let TileRequest { view, tile, scale, content } = request;
        let pixels = scale.pixels();
        let started = Instant::now();
        let grid = match scale {
            Scale::One => self.value_grids(view, aggregate, &[*tile], cancel)?.pop().flatten(),
            Scale::Two => {
                let children = tile.children().expect("zooms are served up to one above the deepest");
                stitched(&self.value_grids(view, aggregate, &children, cancel)?)
            }
        };
        let is_kept = grid.is_some();
        let (shader, count) = match content {
            Content::Npy(_) => (None, started.elapsed()),
            Content::Png if !is_kept && view.style.background.is_none() => {
                let times = StageTimes { count: started.elapsed(), ..StageTimes::default() };
                return Ok(Tile { bytes: Bytes::from_static(empty_png(pixels)), is_kept, times });
            }
            Content::Png => {
                let distribution = self.value_distribution(view, aggregate, pixel_zoom(*tile, *scale), cancel)?;
                (Some(ValueShader::new(&view.style, &distribution)), started.elapsed())
            }
        };
        cancel.check()?;
        let grid = grid.unwrap_or_else(|| ValueGrid::empty(pixels));
        let rgba = shader.map(|shader| shader.shade(&grid));
        let shade = started.elapsed() - count;
        let bytes = Bytes::from(match rgba {
            Some(rgba) => png(&rgba, pixels, Quality::Exact),
            None => npy_f64(&grid),
        });
        let times = StageTimes { count, shade, encode: started.elapsed() - count - shade };
        self.metrics.observe_stages(request, &times);
        Ok(Tile { bytes, is_kept, times })
    }

    /// Values of several tiles of 256 pixels: from the cache, the others in one call of the engine. `None` without any.
    fn value_grids(
        &self,
        view: &View,
        aggregate: Aggregate,
        tiles: &[TileId],
        cancel: &Cancel,
    ) -> Result<Vec<Option<ValueGrid>>, ServiceError> {
        let found = self.kept_grids(view, view.numbers, tiles, |lacking| {
            let selection = self.selection(view, cancel)?;
            let started = Instant::now();
            let grids = view.source.engine().aggregate(&selection, aggregate, lacking, cancel)?;
            self.metrics.device_time("aggregate", started.elapsed());
            let kept = grids.into_iter().map(|grid| KeptGrid::Values(Arc::new(PackedValues::pack(grid))));
            Ok(kept.collect())
        })?;
        let unpacked = |grid: Option<KeptGrid>| match grid {
            Some(KeptGrid::Values(grid)) => grid.unpack(),
            _ => None,
        };
        Ok(found.into_iter().map(unpacked).collect())
    }

    fn value_distribution(
        &self,
        view: &View,
        aggregate: Aggregate,
        zoom: Zoom,
        cancel: &Cancel,
    ) -> Result<Arc<ValueDistribution>, ServiceError> {
        self.value_distributions.get(&(view.numbers, zoom), cancel, || {
            let selection = self.selection(view, cancel)?;
            let started = Instant::now();
            let distribution = view.source.engine().value_distribution(&selection, aggregate, zoom, cancel)?;
            self.metrics.device_time("value_distribution", started.elapsed());
            let bytes = distribution.pixels_by_value.len() * size_of::<(f64, u64)>();
            Ok((Arc::new(distribution), bytes))
        })
    }

    pub(super) fn value_legend(
        &self,
        view: &View,
        aggregate: Aggregate,
        zoom: Zoom,
        cancel: &Cancel,
    ) -> Result<(Legend, Arc<ValueDistribution>), ServiceError> {
        let distribution = self.value_distribution(view, aggregate, zoom, cancel)?;
        let column = view.source.dataset().column(aggregate.column);
        let of = LegendAggregate { agg: view.style.agg.name(), column: column.name.clone() };
        let spans_days = distribution.highest() - distribution.lowest >= DAYS_FROM_US;
        let label = |value: f64| match column.kind {
            ColumnKind::Timestamp => {
                let text = Value::Timestamp { us: value as i64 }.to_string();
                let shown = if spans_days { 10 } else { 16 };
                text.get(..shown).unwrap_or(&text).replace('T', " ")
            }
            _ => number_label(value),
        };
        Ok((Legend::of_values(&view.style, of, &distribution, label), distribution))
    }
}

/// Four grids (north-west, north-east, south-west, south-east) as one of twice the side. `None` if all are empty.
fn stitched(quarters: &[Option<ValueGrid>]) -> Option<ValueGrid> {
    let side = quarters.iter().flatten().map(|grid| grid.size).next()?;
    let mut whole = ValueGrid::empty(2 * side);
    for (i, quarter) in quarters.iter().enumerate() {
        let Some(quarter) = quarter else { continue };
        let (left, top) = (i % 2 * side, i / 2 * side);
        for (row, values) in quarter.values.chunks_exact(side).enumerate() {
            whole.values[(top + row) * 2 * side + left..][..side].copy_from_slice(values);
        }
    }
    Some(whole)
}
