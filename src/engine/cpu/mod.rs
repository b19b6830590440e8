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
mod binner;
mod borders;
mod count;
mod distribution;
mod histogram;
mod linked;
mod need;
mod rank;
mod select;
mod spare;
mod sum;
mod tally;

pub use sum::Mean;

use super::bitmap::{CellRanks, GroupedBitmaps};
use super::{
    Aggregate, Cancel, Claims, CountGrid, Distribution, Engine, EngineError, EngineInfo, Groups, Histogram, HistogramRequest,
    LinkedCounts, LinkedCube, LinkedQuestion, Numbers, PartialGrid, Selection, SelectionBody, ValueDistribution, ValueGrid,
};
use crate::dataset::stored::{Held, Wants};
use crate::dataset::{ColumnId, Dataset, Part};
use crate::filter::{Filter, Predicate, Region};
use crate::world::{TileId, Zoom};
use rayon::prelude::*;
use spare::Spare;
use std::sync::{Arc, Mutex, MutexGuard};

/// Groupings whose unfiltered bitmaps are kept: a map in use has one or two, and each costs 0.148 bytes a point and
/// group, and up to 2 bytes a point for ranks at coarse cells.
const UNFILTERED_KEPT: usize = 4;

/// Bitmaps of every part of a dataset.
type PartBitmaps = Arc<Vec<GroupedBitmaps>>;

/// Ranks of a part, by level.
pub type PartRanks = Vec<(u32, Vec<u32>)>;

/// Counts on the CPU.
pub struct CpuEngine {
    dataset: Arc<Dataset>,
    arch: pulp::Arch,
    /// Unfiltered bitmaps by grouping, most recently used last. What a filter yields is cut out of them.
    unfiltered: Mutex<Vec<(Arc<Groups>, PartBitmaps)>>,
    /// Which of them are being made: by column, and the groups of its keys.
    making: Claims<(Option<ColumnId>, Vec<u8>)>,
    spare: Arc<Spare>,
}

impl CpuEngine {
    pub fn new(dataset: Arc<Dataset>) -> CpuEngine {
        CpuEngine { dataset, arch: pulp::Arch::new(), unfiltered: Mutex::default(), making: Claims::default(), spare: Arc::default() }
    }

    /// The bitmaps of all points by `groups`, made once.
    fn unfiltered(&self, groups: &Arc<Groups>, cancel: &Cancel) -> Result<PartBitmaps, EngineError> {
        let make = || {
            let _held = self.held(need::ranks_of(&self.dataset.parts, groups), cancel)?;
            let parts = self.dataset.parts.par_iter().map(|part| {
                cancel.check()?;
                Ok(select::unfiltered(self.arch, part, groups))
            });
            let bitmaps = Arc::new(parts.collect::<Result<Vec<_>, EngineError>>()?);
            self.spare.prepare(&self.dataset.parts, bitmaps.first().map_or(1, select::ranks_of));
            let mut kept = self.kept_unfiltered();
            if kept.len() == UNFILTERED_KEPT {
                kept.remove(0);
            }
            kept.push((groups.clone(), bitmaps.clone()));
            Ok(bitmaps)
        };
        self.making.once(&(groups.column(), groups.group_of_key().to_vec()), cancel, || self.known_unfiltered(groups), make)
    }

    fn known_unfiltered(&self, groups: &Arc<Groups>) -> Option<PartBitmaps> {
        let mut kept = self.kept_unfiltered();
        let place = kept.iter().position(|(known, _)| Groups::same(known, groups))?;
        let entry = kept.remove(place);
        let bitmaps = entry.1.clone();
        kept.push(entry);
        Some(bitmaps)
    }

    fn kept_unfiltered(&self) -> MutexGuard<'_, Vec<(Arc<Groups>, PartBitmaps)>> {
        self.unfiltered.lock().expect("no code panics while it holds this lock")
    }

    /// Ranks of groups at the cells of coarse levels, of every part, by level: `[entry][group]`.
    ///
    /// # Errors
    /// The answer is no longer wanted.
    pub fn cell_ranks(&self, groups: &Arc<Groups>, cancel: &Cancel) -> Result<Vec<PartRanks>, EngineError> {
        let by_entry = |cells: &CellRanks| {
            let entries = cells.ranks.first().map_or(0, Vec::len);
            (0..entries).flat_map(|entry| cells.ranks.iter().map(move |group| group[entry])).collect()
        };
        let of_part = |part: &GroupedBitmaps| part.cells.iter().map(|cells| (cells.level, by_entry(cells))).collect();
        Ok(self.unfiltered(groups, cancel)?.iter().map(of_part).collect())
    }

    /// Has what is about to be read there until what this gives is dropped. What nobody wants any more is not fetched.
    fn held(&self, wants: Wants, cancel: &Cancel) -> Result<Held, EngineError> {
        cancel.check()?;
        Ok(self.dataset.hold(&wants)?)
    }

    /// Whether tiles of all points by these groups can be counted without bitmaps, by what a store has.
    fn are_ranked(&self, groups: &Groups) -> bool {
        self.dataset.overview().is_some_and(|overview| match (groups.column(), &overview.ranked) {
            (None, _) => true,
            (Some(column), Some(ranked)) => {
                (ranked.column, ranked.groups, &ranked.group_of_key[..]) == (column.0, groups.len(), groups.group_of_key())
            }
            (Some(_), None) => false,
        })
    }

    /// Linked histograms under every brush of the question's active column, in one pass over the points.
    ///
    /// # Errors
    /// The answer is no longer wanted.
    pub fn linked_cube(&self, question: &LinkedQuestion, cancel: &Cancel) -> Result<LinkedCube, EngineError> {
        let _held = self.held(need::linked(&self.dataset.parts, question), cancel)?;
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
        let _held = self.held(need::points(&self.dataset.parts, [predicate], columns.iter().copied(), area), cancel)?;
        sum::means(self.arch, &self.dataset, predicate, columns, area, cancel)
    }

    /// What [`CpuEngine::keep_passing`] and a look at an area read, for those who hold it.
    pub fn wants_of_points(&self, predicate: &Predicate, area: Option<&Region>) -> Wants {
        need::points(&self.dataset.parts, [predicate], [], area)
    }

    /// Clears the bits of a part's points that do not pass. Reads only blocks of points with bits. The caller holds what is read.
    pub fn keep_passing(&self, part: &Part, predicate: &Predicate, words: &mut [u64]) {
        select::keep_passing(self.arch, part, predicate, words);
    }

    /// The bitmaps of a selection; of everything, those of all points, which are made now.
    fn bitmaps(&self, selection: &Selection, cancel: &Cancel) -> Result<PartBitmaps, EngineError> {
        match &selection.body {
            SelectionBody::Host(bitmaps) => Ok(bitmaps.clone()),
            SelectionBody::Everything => self.unfiltered(&selection.groups, cancel),
            SelectionBody::Device(_) => panic!("a selection is asked of the engine that made it"),
        }
    }

    /// What `with` makes of the partials of every tile, one after the other: they are larger than what comes of them.
    fn each_partials<T>(
        &self,
        selection: &Selection,
        aggregate: Aggregate,
        tiles: &[TileId],
        cancel: &Cancel,
        with: impl Fn(&Numbers<'_>, PartialGrid) -> T,
    ) -> Result<Vec<T>, EngineError> {
        let bitmaps = self.bitmaps(selection, cancel)?;
        let _held = self.held(need::values(&self.dataset.parts, tiles, aggregate.column), cancel)?;
        let numbers = aggregate::numbers_of(&self.dataset, aggregate);
        let of_tile = |tile: &TileId| aggregate::tile(&numbers, self.parts(&bitmaps), aggregate, *tile, cancel);
        tiles.iter().map(|tile| Ok(with(&numbers, of_tile(tile)?))).collect()
    }

    fn parts<'a>(&'a self, bitmaps: &'a PartBitmaps) -> impl Iterator<Item = (&'a Part, &'a GroupedBitmaps)> + Clone {
        self.dataset.parts.iter().zip(bitmaps.iter())
    }
}

impl Engine for CpuEngine {
    fn info(&self) -> EngineInfo {
        let threads = rayon::current_num_threads();
        // The name of the level alone: pulp lists what it consists of in brackets behind it.
        let level = format!("{:?}", self.arch);
        let device = format!("{threads} threads, {}", level.split('(').next().unwrap_or(&level));
        EngineInfo { backend: "cpu", device, software: false, device_memory_bytes: 0, trouble: None }
    }

    fn select(&self, filter: &Arc<Filter>, groups: &Arc<Groups>, cancel: &Cancel) -> Result<Arc<Selection>, EngineError> {
        if filter.is_all() && self.are_ranked(groups) {
            let counts = groups.iter().map(|group| group.count).collect();
            let (filter, groups) = (filter.clone(), groups.clone());
            return Ok(Arc::new(Selection { filter, groups, counts, bytes: 0, body: SelectionBody::Everything }));
        }
        let unfiltered = self.unfiltered(groups, cancel)?;
        let _held = self.held(need::points(&self.dataset.parts, [filter.predicate()], [], None), cancel)?;
        let bitmaps = if filter.is_all() {
            unfiltered
        } else {
            let rooms = self.spare.take(&self.dataset.parts, unfiltered.first().map_or(1, select::ranks_of));
            let parts = self.dataset.parts.par_iter().zip(unfiltered.par_iter()).zip(rooms);
            let selected = parts.map(|((part, base), room)| select::filtered(self.arch, part, filter.predicate(), base, room, cancel));
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
        let _held = self.held(need::tiles(&self.dataset.parts, tiles, selection), cancel)?;
        let bitmaps = match &selection.body {
            SelectionBody::Everything => None,
            _ => Some(self.bitmaps(selection, cancel)?),
        };
        let one = |tile: &TileId| {
            cancel.check()?;
            Ok(match &bitmaps {
                None => count::everything(self.arch, &self.dataset.parts, &selection.groups, *tile),
                Some(bitmaps) => count::tile(self.arch, self.parts(bitmaps), selection.groups.len(), *tile),
            })
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
        let bitmaps = self.bitmaps(selection, cancel)?;
        let columns = requests.iter().map(|request| request.column).chain(selection.groups.column());
        let _held = self.held(need::points(&self.dataset.parts, [], columns, area), cancel)?;
        let parts: Vec<_> = self.parts(&bitmaps).collect();
        histogram::histograms(self.arch, &self.dataset, &parts, &selection.groups, requests, area, cancel)
    }

    /// In one pass over the points.
    fn linked_counts(&self, question: &LinkedQuestion, cancel: &Cancel) -> Result<LinkedCounts, EngineError> {
        let _held = self.held(need::linked(&self.dataset.parts, question), cancel)?;
        linked::counts(self.arch, &self.dataset, question, cancel)
    }

    fn distribution(&self, selection: &Selection, zoom: Zoom, cancel: &Cancel) -> Result<Distribution, EngineError> {
        let known = self.dataset.overview().filter(|_| selection.filter.is_all());
        if let Some(known) = known.and_then(|overview| overview.distributions.get(usize::from(zoom.get()))) {
            return Ok(Distribution { pixels_by_count: known.clone() });
        }
        let bitmaps = self.bitmaps(selection, cancel)?;
        let _held = self.held(need::zoom(&self.dataset.parts, zoom, None), cancel)?;
        let parts: Vec<_> = self.parts(&bitmaps).collect();
        distribution::distribution(self.arch, &parts, zoom, cancel)
    }

    fn knows_distribution(&self, filter: &Filter) -> bool {
        filter.is_all() && self.dataset.overview().is_some()
    }

    fn aggregate(
        &self,
        selection: &Selection,
        aggregate: Aggregate,
        tiles: &[TileId],
        cancel: &Cancel,
    ) -> Result<Vec<ValueGrid>, EngineError> {
        self.each_partials(selection, aggregate, tiles, cancel, |numbers, partials| partials.values(numbers))
    }

    fn partials(
        &self,
        selection: &Selection,
        aggregate: Aggregate,
        tiles: &[TileId],
        cancel: &Cancel,
    ) -> Result<Vec<PartialGrid>, EngineError> {
        self.each_partials(selection, aggregate, tiles, cancel, |_, partials| partials)
    }

    fn value_distribution(
        &self,
        selection: &Selection,
        aggregate: Aggregate,
        zoom: Zoom,
        cancel: &Cancel,
    ) -> Result<ValueDistribution, EngineError> {
        let bitmaps = self.bitmaps(selection, cancel)?;
        let _held = self.held(need::zoom(&self.dataset.parts, zoom, Some(aggregate.column)), cancel)?;
        let parts: Vec<_> = self.parts(&bitmaps).collect();
        aggregate::distribution(&self.dataset, &parts, aggregate, zoom, cancel)
    }
}

#[cfg(test)]
mod tests;
