//! The GPU engine: the parts of a dataset in device memory, counted by the kernels in `shaders/`.
//!
//! ```text
//! worker        the thread that owns the device; callers hand it closures          health
//! device        buffers under the budget, dispatches, reading back                 memory, pipelines, adapter
//! parts         a dataset's arrays on the device, uploaded when first needed
//! select        filters to bitmaps with ranks                                      program
//! count, histogram, distribution                                                   jobs
//! aggregate     sums, means and extremes: the device's selection, the host's columns
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
mod memory;
mod parts;
mod pipelines;
mod program;
mod select;
mod shaders;
mod worker;

#[cfg(test)]
mod tests;

pub use adapter::{AdapterText, Adapters};
pub use worker::Gpu;

use super::{
    Aggregate, Cancel, CountGrid, Distribution, Engine, EngineError, EngineInfo, Groups, Histogram, HistogramRequest,
    Selection, SelectionBody, ValueDistribution, ValueGrid,
};
use crate::dataset::Dataset;
use crate::engine::bitmap::GroupedBitmaps;
use crate::engine::cpu::aggregate as cpu_aggregate;
use crate::filter::{Filter, Region};
use crate::world::{TileId, Zoom};
use parts::Parts;
use select::DeviceSelection;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// How the device is used.
#[derive(Clone, Debug)]
pub struct GpuOptions {
    /// Bytes of device memory to use, everything counted; `None` for as much as there is.
    pub budget_bytes: Option<u64>,
    /// A step of work that takes longer than this is taken for a hang. Steps are small: one part, some milliseconds on a
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
    parts: Parts,
    selections: AtomicU64,
}

impl GpuEngine {
    pub fn new(gpu: Arc<Gpu>, dataset: Arc<Dataset>) -> GpuEngine {
        let parts = Parts::new(dataset, gpu.engine_number());
        GpuEngine { gpu, parts, selections: AtomicU64::new(0) }
    }

    pub fn gpu(&self) -> &Arc<Gpu> {
        &self.gpu
    }

    /// What this engine made of a selection.
    fn device_selection(selection: &Selection) -> Result<Arc<DeviceSelection>, EngineError> {
        match &selection.body {
            SelectionBody::Device(body) => body.downcast_ref::<Arc<DeviceSelection>>().cloned(),
            SelectionBody::Host(_) => None,
        }
        .ok_or_else(|| EngineError::Internal("the GPU was asked about a selection that another engine made".to_owned()))
    }

    fn run<T: Send + 'static>(
        &self,
        selection: &Selection,
        work: impl FnOnce(&mut device::Device, &Parts, &DeviceSelection) -> Result<T, EngineError> + Send + 'static,
    ) -> Result<T, EngineError> {
        let selection = Self::device_selection(selection)?;
        let parts = self.parts.clone();
        self.gpu.run(move |device| work(device, &parts, &selection))
    }

    /// The selected points of some parts, on the host.
    fn bitmaps(&self, selection: &Selection, parts: Vec<usize>, cancel: &Cancel) -> Result<Vec<GroupedBitmaps>, EngineError> {
        let cancel = cancel.clone();
        self.run(selection, move |device, all, selection| aggregate::bitmaps(device, all, selection, &parts, &cancel))
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

    fn select(&self, filter: &Arc<Filter>, groups: &Arc<Groups>, cancel: &Cancel) -> Result<Arc<Selection>, EngineError> {
        let number = self.selections.fetch_add(1, Ordering::Relaxed);
        let selection = Arc::new(DeviceSelection::new(filter, groups, number, self.parts.engine, &self.gpu));
        let (parts, evaluated, cancel) = (self.parts.clone(), selection.clone(), cancel.clone());
        let counts = self.gpu.run(move |device| evaluated.evaluate(device, &parts, &cancel))?;
        Ok(Arc::new(Selection {
            filter: filter.clone(),
            groups: groups.clone(),
            counts,
            bytes: selection.bytes(&self.parts) as usize,
            body: SelectionBody::Device(Box::new(selection)),
        }))
    }

    fn count(&self, selection: &Selection, tiles: &[TileId], cancel: &Cancel) -> Result<Vec<CountGrid>, EngineError> {
        let (tiles, cancel) = (tiles.to_vec(), cancel.clone());
        let counted =
            self.run(selection, move |device, parts, selection| count::count(device, parts, selection, &tiles, &cancel))?;
        Ok(counted.into_grids())
    }

    fn histograms(
        &self,
        selection: &Selection,
        requests: &[HistogramRequest],
        area: Option<&Region>,
        cancel: &Cancel,
    ) -> Result<Vec<Histogram>, EngineError> {
        let (requests, area, cancel) = (requests.to_vec(), area.cloned(), cancel.clone());
        self.run(selection, move |device, parts, selection| {
            histogram::histograms(device, parts, selection, &requests, area.as_ref(), &cancel)
        })
    }

    fn distribution(&self, selection: &Selection, zoom: Zoom, cancel: &Cancel) -> Result<Distribution, EngineError> {
        let cancel = cancel.clone();
        self.run(selection, move |device, parts, selection| {
            distribution::distribution(device, parts, selection, zoom, &cancel)
        })
    }

    fn aggregate(
        &self,
        selection: &Selection,
        aggregate: Aggregate,
        tiles: &[TileId],
        cancel: &Cancel,
    ) -> Result<Vec<ValueGrid>, EngineError> {
        let is_met = |&part: &usize| tiles.iter().any(|tile| {
            let (first, last) = tile.keys();
            self.parts.meets(part, first, last)
        });
        let dataset = &self.parts.dataset;
        let met: Vec<usize> = (0..dataset.parts.len()).filter(is_met).collect();
        let bitmaps = self.bitmaps(selection, met.clone(), cancel)?;
        let parts = met.iter().map(|&part| &dataset.parts[part]).zip(&bitmaps);
        tiles.iter().map(|tile| cpu_aggregate::tile(dataset, parts.clone(), aggregate, *tile, cancel)).collect()
    }

    fn value_distribution(
        &self,
        selection: &Selection,
        aggregate: Aggregate,
        zoom: Zoom,
        cancel: &Cancel,
    ) -> Result<ValueDistribution, EngineError> {
        let dataset = &self.parts.dataset;
        let bitmaps = self.bitmaps(selection, (0..dataset.parts.len()).collect(), cancel)?;
        let parts: Vec<_> = dataset.parts.iter().zip(&bitmaps).collect();
        cpu_aggregate::distribution(dataset, &parts, aggregate, zoom, cancel)
    }
}

impl Drop for GpuEngine {
    fn drop(&mut self) {
        let engine = self.parts.engine;
        self.gpu.tell(move |device| device.memory.release(|key| key.engine == engine));
    }
}
