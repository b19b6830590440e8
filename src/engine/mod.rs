//! Engines: what selects and counts. Two of them, the CPU and the GPU, with one result, bit for bit.
//!
//! An engine holds one open dataset. Its calls block, and answer a batch at a time; the asynchronous side never waits on
//! them directly. Only `engine::gpu` knows wgpu.

mod aggregate;
pub mod bitmap;
mod claims;
pub mod cpu;
mod failover;
pub mod gpu;
mod grid;
mod groups;
mod histogram;
mod linked;
mod open;
mod overview;
mod region;
#[cfg(test)]
pub(crate) mod testing;

pub use aggregate::{Aggregate, Measure, Numbers, Partial, PartialGrid, ValueDistribution, ValueGrid, ValueTally};
pub use claims::Claims;
pub use failover::{Failover, OnDeviceLoss};
pub use grid::{CountGrid, Distribution};
pub use groups::{GROUPS_MAX, Group, GroupKind, Groups, GroupsError};
pub use histogram::{Bins, Histogram, HistogramRequest};
pub use linked::{Active, Brush, LinkedCounts, LinkedCube, LinkedQuestion};
pub use overview::write_overview;
pub use open::{Backend, EngineOptions, open};
pub use region::{region_words, set_bits};

use crate::dataset::DatasetError;
use crate::filter::{Filter, Region};
use crate::world::{TileId, Zoom};
use bitmap::GroupedBitmaps;
use std::any::Any;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;
use thiserror::Error;

/// Selects and counts the points of one dataset.
pub trait Engine: Send + Sync {
    fn info(&self) -> EngineInfo;

    /// Bytes per second, read plus written, at which a device of its own copies within its memory, measured now: what its
    /// other speeds are to be held against. `None` where its memory is the host's.
    fn copy_bandwidth(&self) -> Result<Option<f64>, EngineError> {
        Ok(None)
    }

    /// Evaluates a filter over all points, once. Cost: one scan of the columns that the filter names, less the blocks that
    /// their smallest and largest keys rule out.
    ///
    /// # Errors
    /// As [`EngineError`] says; so for all methods.
    fn select(&self, filter: &Arc<Filter>, groups: &Arc<Groups>, cancel: &Cancel) -> Result<Arc<Selection>, EngineError>;

    /// Counts per pixel and group: `out[i]` answers `tiles[i]`, u32 `[group][row][column]` of 256 by 256 pixels, row 0 north.
    fn count(&self, selection: &Selection, tiles: &[TileId], cancel: &Cancel) -> Result<Vec<CountGrid>, EngineError>;

    /// Counts per bin and group of columns, over the points of the selection inside `area` (everywhere where `None`). One
    /// pass over the points answers all requests.
    fn histograms(
        &self,
        selection: &Selection,
        requests: &[HistogramRequest],
        area: Option<&Region>,
        cancel: &Cancel,
    ) -> Result<Vec<Histogram>, EngineError>;

    /// Multiset of total counts over the non-empty pixels of a whole zoom.
    fn distribution(&self, selection: &Selection, zoom: Zoom, cancel: &Cancel) -> Result<Distribution, EngineError>;

    /// Whether [`Engine::distribution`] costs nothing under a filter, for it is known.
    fn knows_distribution(&self, _filter: &Filter) -> bool {
        false
    }

    /// Linked histograms, each under all of the question's brushes but its own; the question has no active brush.
    fn linked_counts(&self, question: &LinkedQuestion, cancel: &Cancel) -> Result<LinkedCounts, EngineError>;

    /// What a column of numbers comes to per pixel, over the points of all groups: `out[i]` answers `tiles[i]`, f64
    /// `[row][column]` of 256 by 256 pixels, row 0 north, NaN where no selected point has a value.
    ///
    /// # Panics
    /// If the column is text; so for [`Engine::partials`] and [`Engine::value_distribution`].
    fn aggregate(
        &self,
        selection: &Selection,
        aggregate: Aggregate,
        tiles: &[TileId],
        cancel: &Cancel,
    ) -> Result<Vec<ValueGrid>, EngineError>;

    /// What [`Engine::aggregate`] makes its values of, for whoever goes on adding.
    fn partials(
        &self,
        selection: &Selection,
        aggregate: Aggregate,
        tiles: &[TileId],
        cancel: &Cancel,
    ) -> Result<Vec<PartialGrid>, EngineError>;

    /// The values that [`Engine::aggregate`] gives, over the pixels of a whole zoom.
    fn value_distribution(
        &self,
        selection: &Selection,
        aggregate: Aggregate,
        zoom: Zoom,
        cancel: &Cancel,
    ) -> Result<ValueDistribution, EngineError>;
}

/// What an engine is, for `/health`, `bench` and the log.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct EngineInfo {
    /// `cpu` or `gpu`.
    pub backend: &'static str,
    /// Of the GPU, its adapter; of the CPU, its threads.
    pub device: String,
    /// Whether a GPU adapter is emulated by software.
    pub software: bool,
    /// Bytes of device memory in use; 0 for the CPU.
    pub device_memory_bytes: u64,
    /// What has gone wrong with the device, and what is done about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub trouble: Option<String>,
}

/// Which points pass a filter, by group: filter once, rank for ever. Belongs to the engine that made it.
pub struct Selection {
    pub filter: Arc<Filter>,
    pub groups: Arc<Groups>,
    /// Selected points of each group.
    pub counts: Vec<u64>,
    /// Memory that the selection holds, for cache budgets.
    pub bytes: usize,
    pub body: SelectionBody,
}

pub enum SelectionBody {
    /// Bitmaps of every part, on the host.
    Host(Arc<Vec<GroupedBitmaps>>),
    /// All points of a dataset in a store, whose groups are ranked there ahead: nothing is kept, and what a tile needs is fetched.
    Everything,
    /// Whatever the GPU engine keeps.
    Device(Box<dyn Any + Send + Sync>),
}

impl Selection {
    /// Selected points, over all groups.
    pub fn total(&self) -> u64 {
        self.counts.iter().sum()
    }
}

#[derive(Debug, Error)]
pub enum EngineError {
    /// The client has gone, or a newer question has made this one moot.
    #[error("the request was cancelled")]
    Cancelled,
    #[error("the deadline passed while counting")]
    DeadlinePassed,
    #[error("the GPU was lost: {0}")]
    DeviceLost(String),
    #[error("no usable GPU: {0}")]
    NoDevice(String),
    #[error("not enough device memory: {needed_bytes} bytes are needed and {budget_bytes} allowed; raise --device-memory")]
    DeviceMemory { needed_bytes: u64, budget_bytes: u64 },
    /// A dataset in a store, of which something is wanted that is not here.
    #[error("{0}")]
    Away(String),
    #[error("{0}")]
    Internal(String),
}

impl From<DatasetError> for EngineError {
    fn from(error: DatasetError) -> EngineError {
        if error.is_away() { EngineError::Away(error.to_string()) } else { EngineError::Internal(error.to_string()) }
    }
}

/// Says when an answer is no longer wanted. Engines ask between blocks of work. Clones share one flag.
#[derive(Clone, Debug, Default)]
pub struct Cancel {
    flag: Arc<AtomicBool>,
    deadline: Option<Instant>,
}

impl Cancel {
    pub fn never() -> Cancel {
        Cancel::default()
    }

    pub fn at(deadline: Instant) -> Cancel {
        Cancel { flag: Arc::default(), deadline: Some(deadline) }
    }

    pub fn cancel(&self) {
        self.flag.store(true, Ordering::Relaxed);
    }

    /// # Errors
    /// The answer is no longer wanted, and why.
    pub fn check(&self) -> Result<(), EngineError> {
        if self.flag.load(Ordering::Relaxed) {
            return Err(EngineError::Cancelled);
        }
        match self.deadline {
            Some(deadline) if Instant::now() >= deadline => Err(EngineError::DeadlinePassed),
            _ => Ok(()),
        }
    }
}
