//! Selections on the device: `shaders/select.wgsl` and `shaders/rank.wgsl`, part by part.
//!
//! A selection is its filter; its bitmaps are resident like everything else, and evaluated again where they were evicted.
//! The unfiltered selection without groups has none.

use super::device::{Device, workgroups};
use super::layout::constants::{ALL_PASS, NONE_PASS, SOME_PASS, WORKGROUP};
use super::layout::{RankHeader, SelectGroupsHeader, SelectKeysHeader, SelectMaskHeader, SelectionShape};
use super::memory::{Counted, Resident};
use super::parts::Parts;
use super::program::{Mask, Step, Term};
use super::worker::Gpu;
use crate::dataset::{Blocks, ColumnId, Part};
use crate::engine::{Cancel, EngineError, Groups, region_words};
use crate::filter::Filter;
use std::sync::Arc;

/// What the GPU engine keeps of a selection.
pub(super) struct DeviceSelection {
    pub(super) groups: Arc<Groups>,
    mask: Mask,
    /// The number of its bitmaps among those of the engine.
    number: u64,
    engine: u64,
    gpu: Arc<Gpu>,
}

/// Room for the totals of all planes of all parts.
const TOTALS: &str = "totals";

impl DeviceSelection {
    pub(super) fn new(filter: &Filter, groups: &Arc<Groups>, number: u64, engine: u64, gpu: &Arc<Gpu>) -> DeviceSelection {
        DeviceSelection {
            groups: groups.clone(),
            mask: Mask::of(filter.predicate()),
            number,
            engine,
            gpu: gpu.clone(),
        }
    }

    /// Every point is selected, in one group.
    fn everything(&self) -> bool {
        self.mask == Mask::Everything && self.groups.column().is_none()
    }

    pub(super) fn shape(&self, part: &Part) -> SelectionShape {
        SelectionShape::of(part.rows(), self.groups.len(), self.everything())
    }

    /// Bytes of its bitmaps, resident or not.
    pub(super) fn bytes(&self, parts: &Parts) -> u64 {
        if self.everything() { 0 } else { parts.dataset.parts.iter().map(|part| self.shape(part).bytes()).sum() }
    }

    /// Evaluates the selection on all parts and counts its points by group. What does not fit is evaluated again when it is
    /// needed.
    ///
    /// # Errors
    /// As [`crate::engine::Engine::select`].
    pub(super) fn evaluate(&self, device: &mut Device, parts: &Parts, cancel: &Cancel) -> Result<Vec<u64>, EngineError> {
        if self.everything() {
            return Ok(vec![parts.dataset.rows()]);
        }
        let planes = SelectionShape::of(0, self.groups.len(), false).planes as usize;
        let words = (parts.dataset.parts.len() * planes) as u64;
        let totals = device.room(TOTALS, 4 * words)?;
        for part in 0..parts.dataset.parts.len() {
            cancel.check()?;
            self.build(device, parts, part, &totals, (part * planes) as u32)?;
            device.pace(u64::from(parts.dataset.parts[part].rows()))?;
        }
        let read = device.read(&[(&totals, words)])?;
        let total = |group: usize| read.iter().skip(group).step_by(planes).map(|&points| u64::from(points)).sum();
        Ok((0..self.groups.len()).map(total).collect())
    }

    /// The bitmaps of a part.
    ///
    /// # Errors
    /// As [`Device::buffer`].
    pub(super) fn bits(&self, device: &mut Device, parts: &Parts, part: usize) -> Result<Arc<Counted>, EngineError> {
        if self.everything() {
            return Ok(device.nothing());
        }
        if let Some(bits) = device.memory.get(&parts.key(part, Resident::Selection(self.number))) {
            return Ok(bits);
        }
        let planes = self.shape(&parts.dataset.parts[part]).planes;
        let totals = device.room(TOTALS, 4 * u64::from(planes))?;
        self.build(device, parts, part, &totals, 0)
    }

    fn build(
        &self,
        device: &mut Device,
        parts: &Parts,
        number: usize,
        totals: &Counted,
        totals_base: u32,
    ) -> Result<Arc<Counted>, EngineError> {
        let part = &parts.dataset.parts[number];
        let shape = self.shape(part);
        let bits = device.buffer("selection", shape.bytes())?;
        match (&self.mask, self.groups.column()) {
            // A new buffer is zero.
            (Mask::Nothing, _) => {}
            (Mask::Everything, Some(column)) => self.split(device, parts, number, column, None, &bits)?,
            (Mask::Everything, None) => unreachable!("such a selection has no bitmaps"),
            (Mask::Steps { steps, slots }, None) => {
                // Without groups the words of the only plane are the mask.
                let masks = masks(device, part, *slots, Some(&bits))?;
                run(device, parts, number, steps, &masks)?;
            }
            (Mask::Steps { steps, slots }, Some(column)) => {
                let masks = masks(device, part, *slots, None)?;
                run(device, parts, number, steps, &masks)?;
                self.split(device, parts, number, column, Some(&masks[0]), &bits)?;
            }
        }
        rank(device, shape, &bits, totals, totals_base)?;
        device.memory.insert(parts.key(number, Resident::Selection(self.number)), bits.clone());
        Ok(bits)
    }

    /// Splits the mask (every point where `None`) by the groups of a column.
    fn split(
        &self,
        device: &mut Device,
        parts: &Parts,
        number: usize,
        column: ColumnId,
        mask: Option<&Counted>,
        bits: &Counted,
    ) -> Result<(), EngineError> {
        let part = &parts.dataset.parts[number];
        let header = SelectGroupsHeader {
            selection: self.shape(part),
            width: parts.dataset.column(column).width.bytes() as u32,
            all_pass: u32::from(mask.is_none()),
        };
        let header = device.upload("select groups", &[bytemuck::bytes_of(&header)])?;
        let keys = parts.column(device, number, column)?;
        let table = device.upload("group of key", &[self.groups.group_of_key()])?;
        let nothing = device.nothing();
        let source = mask.unwrap_or(&nothing);
        let bindings = [(1, &*keys), (4, source), (5, &*header), (6, &*table), (7, bits)];
        device.dispatch(|pipelines| &pipelines.select_groups, &bindings, workgroups(part.rows().div_ceil(32)));
        Ok(())
    }
}

impl Drop for DeviceSelection {
    fn drop(&mut self) {
        let (engine, number) = (self.engine, self.number);
        // Where the thread is too busy to listen, eviction finds the bitmaps in time.
        self.gpu.tell(move |device| {
            device.memory.release(|key| key.engine == engine && key.what == Resident::Selection(number));
        });
    }
}

/// Masks of a part, one a slot; the first may be given.
fn masks(device: &mut Device, part: &Part, slots: usize, first: Option<&Arc<Counted>>) -> Result<Vec<Arc<Counted>>, EngineError> {
    let bytes = 8 * u64::from(part.rows().div_ceil(64));
    let mut masks: Vec<Arc<Counted>> = first.cloned().into_iter().collect();
    while masks.len() < slots {
        masks.push(device.buffer("mask", bytes)?);
    }
    Ok(masks)
}

fn run(device: &mut Device, parts: &Parts, number: usize, steps: &[Step], masks: &[Arc<Counted>]) -> Result<(), EngineError> {
    for step in steps {
        let mask = &*masks[step.slot];
        match &step.term {
            Term::Keys { column, ranges } => select_keys(device, parts, number, *column, ranges, step.combine, mask)?,
            Term::Region { region, invert } => {
                let words = region_words(region, &parts.dataset.parts[number]);
                let source = device.upload("region", &[bytemuck::cast_slice(&words)])?;
                select_mask(device, &parts.dataset.parts[number], &source, *invert, step.combine, mask)?;
            }
            Term::Slot(slot) => select_mask(device, &parts.dataset.parts[number], &masks[*slot], false, step.combine, mask)?,
        }
    }
    Ok(())
}

fn select_keys(
    device: &mut Device,
    parts: &Parts,
    number: usize,
    column: ColumnId,
    ranges: &[(u64, u64)],
    combine: u32,
    mask: &Counted,
) -> Result<(), EngineError> {
    let part = &parts.dataset.parts[number];
    let verdicts = verdicts(part.blocks(column), ranges);
    let header = SelectKeysHeader {
        points: part.rows(),
        width: parts.dataset.column(column).width.bytes() as u32,
        combine,
        ranges_len: ranges.len() as u32,
    };
    let limits: Vec<u64> = ranges.iter().flat_map(|&(first, last)| [first, last]).collect();
    let pieces = [bytemuck::bytes_of(&header), bytemuck::cast_slice(&limits), bytemuck::cast_slice(&verdicts)];
    let select = device.upload("select keys", &pieces)?;
    // A column that no block needs is not uploaded.
    let keys = if verdicts.contains(&SOME_PASS) { parts.column(device, number, column)? } else { device.nothing() };
    let bindings = [(0, &*select), (1, &*keys), (2, mask)];
    device.dispatch(|pipelines| &pipelines.select_keys, &bindings, workgroups(part.rows().div_ceil(32)));
    Ok(())
}

/// What the smallest and largest key of each block say of the ranges.
fn verdicts(blocks: &Blocks, ranges: &[(u64, u64)]) -> Vec<u32> {
    let verdict = |(&min, &max): (&u64, &u64)| {
        // The first range that does not end before the block begins.
        match ranges.get(ranges.partition_point(|&(_, last)| last < min)) {
            Some(&(first, last)) if first <= min && max <= last => ALL_PASS,
            Some(&(first, _)) if first <= max => SOME_PASS,
            _ => NONE_PASS,
        }
    };
    blocks.min.iter().zip(blocks.max.iter()).map(verdict).collect()
}

fn select_mask(
    device: &mut Device,
    part: &Part,
    source: &Counted,
    invert: bool,
    combine: u32,
    mask: &Counted,
) -> Result<(), EngineError> {
    let header = SelectMaskHeader { points: part.rows(), combine, invert: u32::from(invert) };
    let header = device.upload("select mask", &[bytemuck::bytes_of(&header)])?;
    let bindings = [(2, mask), (3, &*header), (4, source)];
    device.dispatch(|pipelines| &pipelines.select_mask, &bindings, workgroups(part.rows().div_ceil(32)));
    Ok(())
}

/// Ranks the planes and writes their totals.
fn rank(
    device: &mut Device,
    shape: SelectionShape,
    bits: &Counted,
    totals: &Counted,
    totals_base: u32,
) -> Result<(), EngineError> {
    let blocks = shape.plane_ranks - 1;
    let across = workgroups(blocks);
    assert!(across <= WORKGROUP, "a part of {} points is larger than PART_POINTS_MAX", shape.points);
    let header = RankHeader { selection: shape, blocks, workgroups: across, totals_base };
    let header = device.upload("rank", &[bytemuck::bytes_of(&header)])?;
    let sums = device.room("sums", 4 * u64::from(across * shape.planes))?;
    let (blocks, spread) = ([(0, &*header), (1, bits), (2, &*sums)], [(0, &*header), (1, bits), (2, &*sums)]);
    let spine = [(0, &*header), (1, bits), (2, &*sums), (3, totals)];
    device.dispatch_grid(|pipelines| &pipelines.rank_blocks, &blocks, across, shape.planes);
    device.dispatch_grid(|pipelines| &pipelines.rank_spine, &spine, 1, shape.planes);
    device.dispatch_grid(|pipelines| &pipelines.rank_spread, &spread, across, shape.planes);
    Ok(())
}
