//! The CPU engine: rayon over parts, blocks and tiles; branch-free scans that the compiler vectorises.
//!
//! Each file is the twin of a shader of the same name in `shaders/`. Scans run inside [`pulp::Arch`]'s dispatch, so that they
//! use what the processor has (AVX2, AVX-512, popcnt) without code for it.

/// Runs an expression with what the processor has. Two closures, because the compiler leaves a large one that is called from two
/// places, as [`pulp::Arch::dispatch`] does, to itself: a function compiled for the least processor.
macro_rules! vectorized {
    ($arch:expr, $work:expr) => {
        match $arch {
            #[cfg(any(target_arch = "x86", target_arch = "x86_64"))]
            pulp::Arch::V3(simd) => simd.vectorize(|| $work),
            other => other.dispatch(|| $work),
        }
    };
}

pub(super) mod aggregate;
mod count;
mod distribution;
mod histogram;
mod linked;
mod rank;
mod select;
mod sum;
mod tally;

pub use sum::Mean;

use super::bitmap::GroupedBitmaps;
use super::{
    Aggregate, Cancel, CountGrid, Distribution, Engine, EngineError, EngineInfo, Groups, Histogram, HistogramRequest,
    LinkedCounts, LinkedCube, LinkedQuestion, Selection, SelectionBody, ValueDistribution, ValueGrid,
};
use crate::dataset::{ColumnId, Dataset, Part};
use crate::filter::{Filter, Predicate, Region};
use crate::world::{TileId, Zoom};
use rayon::prelude::*;
use std::sync::{Arc, Mutex};

/// Groupings whose unfiltered bitmaps are kept: a map in use has one or two, and each costs 0.148 bytes a point and
/// group, and up to 2 bytes a point for ranks at coarse cells.
const UNFILTERED_KEPT: usize = 4;

/// Bitmaps of every part of a dataset.
type PartBitmaps = Arc<Vec<GroupedBitmaps>>;

/// Counts on the CPU.
pub struct CpuEngine {
    dataset: Arc<Dataset>,
    arch: pulp::Arch,
    /// Unfiltered bitmaps by grouping, most recently used last. What a filter yields is cut out of them.
    unfiltered: Mutex<Vec<(Arc<Groups>, PartBitmaps)>>,
}

impl CpuEngine {
    pub fn new(dataset: Arc<Dataset>) -> CpuEngine {
        CpuEngine { dataset, arch: pulp::Arch::new(), unfiltered: Mutex::default() }
    }

    /// The bitmaps of all points by `groups`, made once.
    fn unfiltered(&self, groups: &Arc<Groups>, cancel: &Cancel) -> Result<PartBitmaps, EngineError> {
        let mut kept = self.unfiltered.lock().expect("no code panics while it holds this lock");
        if let Some(place) = kept.iter().position(|(known, _)| Groups::same(known, groups)) {
            let entry = kept.remove(place);
            let bitmaps = entry.1.clone();
            kept.push(entry);
            return Ok(bitmaps);
        }
        let parts = self.dataset.parts.par_iter().map(|part| {
            cancel.check()?;
            Ok(select::unfiltered(self.arch, part, groups))
        });
        let bitmaps = Arc::new(parts.collect::<Result<Vec<_>, EngineError>>()?);
        if kept.len() == UNFILTERED_KEPT {
            kept.remove(0);
        }
        kept.push((groups.clone(), bitmaps.clone()));
        Ok(bitmaps)
    }

    /// Linked histograms under every brush of the question's active column, in one pass over the points.
    ///
    /// # Errors
    /// The answer is no longer wanted.
    pub fn linked_cube(&self, question: &LinkedQuestion, cancel: &Cancel) -> Result<LinkedCube, EngineError> {
        linked::cube(self.arch, &self.dataset, question, cancel)
    }

    /// Counts and means of columns with numbers or times, over the points of a predicate and an area.
    ///
    /// # Errors
    /// The answer is no longer wanted.
    pub fn means(
        &self,
        predicate: &Predicate,
        columns: &[ColumnId],
        area: Option<&Region>,
        cancel: &Cancel,
    ) -> Result<Vec<Mean>, EngineError> {
        sum::means(self.arch, &self.dataset, predicate, columns, area, cancel)
    }

    /// Clears the bits of a part's points that do not pass. Reads only blocks of points with bits.
    pub fn keep_passing(&self, part: &Part, predicate: &Predicate, words: &mut [u64]) {
        select::keep_passing(self.arch, part, predicate, words);
    }

    fn parts<'a>(&'a self, selection: &'a Selection) -> impl Iterator<Item = (&'a Part, &'a GroupedBitmaps)> + Clone {
        let SelectionBody::Host(bitmaps) = &selection.body else {
            panic!("a selection is asked of the engine that made it");
        };
        self.dataset.parts.iter().zip(bitmaps.iter())
    }
}

impl Engine for CpuEngine {
    fn info(&self) -> EngineInfo {
        let threads = rayon::current_num_threads();
        let device = format!("{threads} threads, {:?}", self.arch);
        EngineInfo { backend: "cpu", device, software: false, device_memory_bytes: 0, trouble: None }
    }

    fn select(&self, filter: &Arc<Filter>, groups: &Arc<Groups>, cancel: &Cancel) -> Result<Arc<Selection>, EngineError> {
        let unfiltered = self.unfiltered(groups, cancel)?;
        let bitmaps = if filter.is_all() {
            unfiltered
        } else {
            let parts = self.dataset.parts.par_iter().zip(unfiltered.par_iter());
            let selected = parts.map(|(part, base)| select::filtered(self.arch, part, filter.predicate(), base, cancel));
            Arc::new(selected.collect::<Result<Vec<_>, _>>()?)
        };
        let counts = (0..groups.len())
            .map(|group| bitmaps.iter().map(|part| u64::from(part.groups[group].total())).sum())
            .collect();
        // The unfiltered bitmaps belong to the engine: a selection of everything adds nothing.
        let bytes = if filter.is_all() { 0 } else { bitmaps.iter().map(GroupedBitmaps::bytes).sum() };
        let (filter, groups) = (filter.clone(), groups.clone());
        Ok(Arc::new(Selection { filter, groups, counts, bytes, body: SelectionBody::Host(bitmaps) }))
    }

    fn count(&self, selection: &Selection, tiles: &[TileId], cancel: &Cancel) -> Result<Vec<CountGrid>, EngineError> {
        let one = |tile: &TileId| {
            cancel.check()?;
            Ok(count::tile(self.arch, self.parts(selection), selection.groups.len(), *tile))
        };
        // One tile is done where it stands: it takes a fraction of a millisecond.
        if let [tile] = tiles { Ok(vec![one(tile)?]) } else { tiles.par_iter().map(one).collect() }
    }

    fn histograms(
        &self,
        selection: &Selection,
        requests: &[HistogramRequest],
        area: Option<&Region>,
        cancel: &Cancel,
    ) -> Result<Vec<Histogram>, EngineError> {
        let parts: Vec<_> = self.parts(selection).collect();
        histogram::histograms(self.arch, &self.dataset, &parts, &selection.groups, requests, area, cancel)
    }

    /// In one pass over the points.
    fn linked_counts(&self, question: &LinkedQuestion, cancel: &Cancel) -> Result<LinkedCounts, EngineError> {
        linked::counts(self.arch, &self.dataset, question, cancel)
    }

    fn distribution(&self, selection: &Selection, zoom: Zoom, cancel: &Cancel) -> Result<Distribution, EngineError> {
        let parts: Vec<_> = self.parts(selection).collect();
        distribution::distribution(self.arch, &parts, zoom, cancel)
    }

    fn aggregate(
        &self,
        selection: &Selection,
        aggregate: Aggregate,
        tiles: &[TileId],
        cancel: &Cancel,
    ) -> Result<Vec<ValueGrid>, EngineError> {
        tiles.iter().map(|tile| aggregate::tile(&self.dataset, self.parts(selection), aggregate, *tile, cancel)).collect()
    }

    fn value_distribution(
        &self,
        selection: &Selection,
        aggregate: Aggregate,
        zoom: Zoom,
        cancel: &Cancel,
    ) -> Result<ValueDistribution, EngineError> {
        let parts: Vec<_> = self.parts(selection).collect();
        aggregate::distribution(&self.dataset, &parts, aggregate, zoom, cancel)
    }
}

#[cfg(test)]
mod tests;
