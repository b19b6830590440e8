//! Tiles of aggregates: values -> distribution -> shade -> encode, cached as counts are.

use super::{ServiceError, TRACE};
use super::packed::PackedValues;
use super::mosaic::{pixel_zoom, stitched_values, tiles_within};
use super::counts::KeptGrid;
use super::pipeline::{Explained, Pipeline};
use super::preview::values;
use super::tile::{Content, StageTimes, Tile, TileQuality, TileRequest};
use super::view::View;
use crate::dataset::{ColumnKind, Value};
use crate::encode::{Quality, empty_png, npy_f64, png};
use crate::engine::{Aggregate, Cancel, Numbers, PartialGrid, ValueDistribution, ValueGrid};
use crate::shade::{Legend, LegendAggregate, ValueShader, number_label};
use crate::world::{TileId, Zoom};
use bytes::Bytes;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Scales of times longer than this are labelled with days.
const DAYS_FROM_US: f64 = 3.0 * 86_400e6;

impl Pipeline {
    /// Makes a tile of an aggregate's values.
    ///
    /// # Errors
    /// As [`Pipeline::tile`].
    pub(super) fn value_tile(&self, request: &TileRequest, aggregate: Aggregate, cancel: &Cancel) -> Result<Tile, ServiceError> {
        let TileRequest { view, tile, scale, .. } = request;
        let started = Instant::now();
        let grid = stitched_values(self.value_grids(view, aggregate, &tiles_within(*tile, scale.zooms()), cancel)?);
        self.painted_values(request, aggregate, grid, started.elapsed(), cancel)
    }

    /// The tile of what points come to, which took `count` to make.
    pub(super) fn image_of_partials(
        &self,
        request: &TileRequest,
        partials: &PartialGrid,
        count: Duration,
        cancel: &Cancel,
    ) -> Result<Tile, ServiceError> {
        let aggregate = request.view.aggregate.expect("partials are of an aggregate");
        let started = Instant::now();
        let numbers = Numbers::of(request.view.source.dataset(), aggregate.column).expect("an aggregate is of a column of numbers");
        let values = partials.values(&numbers);
        let grid = Some(values).filter(|values| !values.is_empty());
        self.painted_values(request, aggregate, grid, count + started.elapsed(), cancel)
    }

    /// The tile of values that took `so_far` to make.
    fn painted_values(
        &self,
        request: &TileRequest,
        aggregate: Aggregate,
        grid: Option<ValueGrid>,
        so_far: Duration,
        cancel: &Cancel,
    ) -> Result<Tile, ServiceError> {
        let TileRequest { view, tile, scale, content } = request;
        let pixels = scale.pixels();
        let started = Instant::now();
        let is_kept = grid.is_some();
        let (shader, quality, scaled) = match content {
            Content::Npy(_) => (None, TileQuality::Exact, Duration::ZERO),
            Content::Png | Content::Png8 if !is_kept && view.style.background.is_none() => {
                let times = StageTimes { count: so_far, ..StageTimes::default() };
                return Ok(Tile { body: Bytes::from_static(empty_png(pixels)).into(), is_kept, quality: TileQuality::Exact, times });
            }
            Content::Png | Content::Png8 => {
                let (distribution, quality) = self.value_scale(view, aggregate, pixel_zoom(*tile, *scale), cancel)?;
                (Some(ValueShader::new(&view.style, &distribution)), quality, started.elapsed())
            }
        };
        cancel.check()?;
        let grid = grid.unwrap_or_else(|| ValueGrid::empty(pixels));
        let rgba = shader.map(|shader| tracing::info_span!(target: TRACE, "shade").in_scope(|| shader.shade(&grid)));
        let shade = started.elapsed() - scaled;
        let bytes = tracing::info_span!(target: TRACE, "encode").in_scope(|| match rgba {
            Some(rgba) if *content == Content::Png8 => png(&rgba, pixels, Quality::Palette),
            Some(rgba) => png(&rgba, pixels, Quality::Exact),
            None => npy_f64(&grid),
        });
        let body = Bytes::from(bytes).into();
        let times = StageTimes { count: so_far + scaled, shade, encode: started.elapsed() - scaled - shade };
        self.metrics.observe_stages(request, &times);
        Ok(Tile { body, is_kept: is_kept && quality == TileQuality::Exact, quality, times })
    }

    /// Values of several tiles of 256 pixels: from the cache, the others in one call of the engine. `None` without any.
    pub(super) fn value_grids(
        &self,
        view: &View,
        aggregate: Aggregate,
        tiles: &[TileId],
        cancel: &Cancel,
    ) -> Result<Vec<Option<ValueGrid>>, ServiceError> {
        let found = self.kept_grids(view, |tile| view.numbers_of(tile), tiles, |lacking| {
            let selection = self.selection(view, cancel)?;
            let _span = tracing::info_span!(target: TRACE, "count").entered();
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

    pub(super) fn value_distribution(
        &self,
        view: &View,
        aggregate: Aggregate,
        zoom: Zoom,
        cancel: &Cancel,
    ) -> Result<Arc<ValueDistribution>, ServiceError> {
        self.value_distributions.get(&(view.numbers, zoom), cancel, || {
            let selection = self.selection(view, cancel)?;
            let _span = tracing::info_span!(target: TRACE, "distribution").entered();
            let started = Instant::now();
            let distribution = view.source.engine().value_distribution(&selection, aggregate, zoom, cancel)?;
            let took = started.elapsed();
            self.metrics.device_time("value_distribution", took);
            self.value_pace.observe(values(view.source.dataset()), took);
            let bytes = distribution.bytes();
            Ok((Arc::new(distribution), bytes))
        })
    }

    pub(super) fn value_legend(
        &self,
        view: &View,
        aggregate: Aggregate,
        zoom: Zoom,
        cancel: &Cancel,
    ) -> Result<Explained, ServiceError> {
        let (distribution, quality) = self.known_values(view, aggregate, zoom, cancel)?;
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
        let legend = Legend::of_values(&view.style, of, &distribution, label);
        Ok(Explained::Values(legend, distribution, quality))
    }
}
