//! The GPU engine: the parts of a dataset in device memory, counted by the kernels in `shaders/`.
//!
//! ```text
//! worker        the thread that owns the device; callers hand it closures          health
//! device        buffers under the budget, dispatches, uploads, reading back        memory, pipelines, adapter
//! segments      a dataset's parts on the device, side by side; uploaded when first needed
//! select        filters to bitmaps with ranks                                      program
//! count, histogram, distribution                                                   jobs
//! linked        histograms under all brushes but their own, of the kernels above
//! aggregate     sums, means and extremes in integers; what floats need is added on the host
//! shaders, layout   the WGSL, and the structures that it and the host share
//! ```
//!
//! The only module that knows wgpu. It knows nothing of HTTP or colours, and of the CPU engine only how values are added up.

mod adapter;
mod aggregate;
mod count;
mod device;
mod distribution;
mod health;
mod histogram;
mod jobs;
mod layout;
mod linked;
mod memory;
mod pipelines;
mod program;
mod segments;
mod select;
mod shaders;
mod worker;

#[cfg(test)]
mod tests;

pub use adapter::{AdapterText, Adapters};
pub use worker::Gpu;

use super::{
    Aggregate, Cancel, CountGrid, Distribution, Engine, EngineError, EngineInfo, Groups, Histogram, HistogramRequest,
    LinkedCounts, LinkedQuestion, PartialGrid, Selection, SelectionBody, ValueDistribution, ValueGrid,
};
use crate::dataset::Dataset;
use crate::engine::bitmap::GroupedBitmaps;
use crate::engine::cpu::aggregate as cpu_aggregate;
use crate::filter::{Filter, Region};
use crate::world::{TILE_PIXELS, TileId, Zoom};
use segments::Segments;
use select::DeviceSelection;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use worker::Answer;

/// How the device is used.
#[derive(Clone, Debug)]
pub struct GpuOptions {
    /// Bytes of device memory to use, everything counted; `None` for as much as there is.
    pub budget_bytes: Option<u64>,
    /// A step of work that takes longer than this is taken for a hang. Steps are small: one segment, some milliseconds on a
    /// GPU and less than a second in software.
    pub hang_timeout: Duration,
    /// A text in the shaders, and another in its place: so that tests see themselves fail.
    #[cfg(test)]
    pub(crate) broken: Option<(&'static str, &'static str)>,
}

impl Default for GpuOptions {
    fn default() -> GpuOptions {
        GpuOptions {
            budget_bytes: None,
            hang_timeout: Duration::from_secs(10),
            #[cfg(test)]
            broken: None,
        }
    }
}

/// Counts on a GPU.
pub struct GpuEngine {
    gpu: Arc<Gpu>,
    segments: Segments,
    selections: AtomicU64,
}

impl GpuEngine {
    pub fn new(gpu: Arc<Gpu>, dataset: Arc<Dataset>) -> GpuEngine {
        let segments = Segments::new(dataset, gpu.engine_number(), gpu.binding_bytes_max(), gpu.budget_bytes());
        GpuEngine { gpu, segments, selections: AtomicU64::new(0) }
    }

    pub fn gpu(&self) -> &Arc<Gpu> {
        &self.gpu
    }

    /// What this engine made of a selection.
    fn device_selection(&self, selection: &Selection) -> Result<Arc<DeviceSelection>, EngineError> {
        match &selection.body {
            SelectionBody::Device(body) => body.downcast_ref::<Arc<DeviceSelection>>().cloned(),
            SelectionBody::Host(_) | SelectionBody::Everything => None,
        }
        // Its number would be that of other bitmaps here.
        .filter(|made| made.engine == self.segments.engine)
        .ok_or_else(|| EngineError::Internal("the GPU was asked about a selection that another engine made".to_owned()))
    }

    fn ask<T: Send + 'static>(
        &self,
        selection: &Selection,
        work: impl FnOnce(&mut device::Device, &Segments, &DeviceSelection) -> Result<Answer<T>, EngineError> + Send + 'static,
    ) -> Result<T, EngineError> {
        let selection = self.device_selection(selection)?;
        let segments = self.segments.clone();
        self.gpu.ask(move |device| work(device, &segments, &selection))
    }

    /// The selected points of some parts, on the host.
    fn bitmaps(&self, selection: &Selection, parts: Vec<usize>, cancel: &Cancel) -> Result<Vec<GroupedBitmaps>, EngineError> {
        let cancel = cancel.clone();
        self.ask(selection, move |device, segments, selection| {
            aggregate::bitmaps(device, segments, selection, &parts, &cancel).map(Answer::Now)
        })
    }
}

impl Engine for GpuEngine {
    fn info(&self) -> EngineInfo {
        EngineInfo {
            backend: "gpu",
            device: self.gpu.text().name.clone(),
            software: self.gpu.text().software,
            device_memory_bytes: self.gpu.memory_bytes(),
            trouble: None,
        }
    }

    fn copy_bandwidth(&self) -> Result<Option<f64>, EngineError> {
        self.gpu.ask(|device| device.copy_bandwidth().map(|bytes_per_sec| Answer::Now(Some(bytes_per_sec))))
    }

    fn select(&self, filter: &Arc<Filter>, groups: &Arc<Groups>, cancel: &Cancel) -> Result<Arc<Selection>, EngineError> {
        let number = self.selections.fetch_add(1, Ordering::Relaxed);
        let selection = Arc::new(DeviceSelection::new(filter, groups, number, self.segments.engine, &self.gpu));
        let (segments, evaluated, cancel) = (self.segments.clone(), selection.clone(), cancel.clone());
        let counts = self.gpu.ask(move |device| evaluated.evaluate(device, &segments, &cancel))?;
        Ok(Arc::new(Selection {
            filter: filter.clone(),
            groups: groups.clone(),
            counts,
            bytes: selection.bytes(&self.segments) as usize,
            body: SelectionBody::Device(Box::new(selection)),
        }))
    }

    fn count(&self, selection: &Selection, tiles: &[TileId], cancel: &Cancel) -> Result<Vec<CountGrid>, EngineError> {
        let (tiles, cancel) = (tiles.to_vec(), cancel.clone());
        self.ask(selection, move |device, segments, selection| count::count(device, segments, selection, &tiles, &cancel))
    }

    fn histograms(
        &self,
        selection: &Selection,
        requests: &[HistogramRequest],
        area: Option<&Region>,
        cancel: &Cancel,
    ) -> Result<Vec<Histogram>, EngineError> {
        let (requests, area, cancel) = (requests.to_vec(), area.cloned(), cancel.clone());
        self.ask(selection, move |device, segments, selection| {
            histogram::histograms(device, segments, selection, &requests, area.as_ref(), &cancel)
        })
    }

    fn distribution(&self, selection: &Selection, zoom: Zoom, cancel: &Cancel) -> Result<Distribution, EngineError> {
        let cancel = cancel.clone();
        self.ask(selection, move |device, segments, selection| {
            distribution::distribution(device, segments, selection, zoom, &cancel).map(Answer::Now)
        })
    }

    fn linked_counts(&self, question: &LinkedQuestion, cancel: &Cancel) -> Result<LinkedCounts, EngineError> {
        linked::counts(self, question, cancel)
    }

    fn aggregate(
        &self,
        selection: &Selection,
        aggregate: Aggregate,
        tiles: &[TileId],
        cancel: &Cancel,
    ) -> Result<Vec<ValueGrid>, EngineError> {
        let partials = self.partials(selection, aggregate, tiles, cancel)?;
        let numbers = cpu_aggregate::numbers_of(&self.segments.dataset, aggregate);
        Ok(partials.iter().map(|partials| partials.values(&numbers)).collect())
    }

    fn partials(
        &self,
        selection: &Selection,
        aggregate: Aggregate,
        tiles: &[TileId],
        cancel: &Cancel,
    ) -> Result<Vec<PartialGrid>, EngineError> {
        let dataset = &self.segments.dataset;
        let numbers = cpu_aggregate::numbers_of(dataset, aggregate);
        if let Some(asked) = aggregate::Asked::of(aggregate, &numbers, dataset.column(aggregate.column).width) {
            let (tiles, cancel) = (tiles.to_vec(), cancel.clone());
            let found = self.ask(selection, move |device, segments, selection| {
                aggregate::aggregate(device, segments, selection, asked, &tiles, &cancel)
            })?;
            let grid = |partials| PartialGrid { size: TILE_PIXELS as usize, measure: aggregate.measure, partials };
            return Ok(found.into_iter().map(grid).collect());
        }
        let is_met = |placed: &&segments::PlacedPart| tiles.iter().any(|tile| {
            let (first, last) = tile.keys();
            placed.meets(first, last)
        });
        let placed = self.segments.segments.iter().flat_map(|segment| &segment.parts);
        let met: Vec<usize> = placed.filter(is_met).map(|placed| placed.number).collect();
        let bitmaps = self.bitmaps(selection, met.clone(), cancel)?;
        let parts = met.iter().map(|&part| &dataset.parts[part]).zip(&bitmaps);
        tiles.iter().map(|tile| cpu_aggregate::tile(&numbers, parts.clone(), aggregate, *tile, cancel)).collect()
    }

    fn value_distribution(
        &self,
        selection: &Selection,
        aggregate: Aggregate,
        zoom: Zoom,
        cancel: &Cancel,
    ) -> Result<ValueDistribution, EngineError> {
        let dataset = &self.segments.dataset;
        let bitmaps = self.bitmaps(selection, (0..dataset.parts.len()).collect(), cancel)?;
        let parts: Vec<_> = dataset.parts.iter().zip(&bitmaps).collect();
        cpu_aggregate::distribution(dataset, &parts, aggregate, zoom, cancel)
    }
}

impl Drop for GpuEngine {
    fn drop(&mut self) {
        let engine = self.segments.engine;
        self.gpu.tell(move |device| device.memory.release(|key| key.engine == engine));
    }
}
