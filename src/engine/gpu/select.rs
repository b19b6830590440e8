//! Selections on the device: `shaders/select.wgsl` and `shaders/rank.wgsl`, segment by segment.
//!
//! A selection is its filter; its bitmaps are resident like everything else, and evaluated again where they were evicted.
//! The unfiltered selection without groups has none.

use super::device::{Device, workgroups};
use super::layout::constants::{ALL_PASS, NONE_PASS, RANK_WORDS, SOME_PASS, SPLIT_WORDS};
use super::layout::{RankHeader, SelectGroupsHeader, SelectKeysHeader, SelectMaskHeader, SelectionShape};
use super::memory::{Counted, Resident};
use super::program::{Mask, Step, Term};
use super::segments::{Segment, Segments};
use super::worker::{Answer, Gpu};
use crate::dataset::{Blocks, ColumnId};
use crate::engine::{Cancel, EngineError, Groups, region_words, set_bits};
use crate::filter::{Filter, Region};
use std::sync::Arc;

/// What the GPU engine keeps of a selection.
pub(super) struct DeviceSelection {
    pub(super) groups: Arc<Groups>,
    mask: Mask,
    /// The number of its bitmaps among those of the engine.
    number: u64,
    pub(super) engine: u64,
    gpu: Arc<Gpu>,
}

/// Room for the totals of all planes of all segments.
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

    pub(super) fn shape(&self, segment: &Segment) -> SelectionShape {
        SelectionShape::of(segment.words, self.groups.len(), self.everything())
    }

    /// Bytes of its bitmaps, resident or not.
    pub(super) fn bytes(&self, segments: &Segments) -> u64 {
        if self.everything() { 0 } else { segments.segments.iter().map(|segment| self.shape(segment).bytes()).sum() }
    }

    /// Evaluates the selection on all segments and counts its points by group. What does not fit is evaluated again when it
    /// is needed.
    ///
    /// # Errors
    /// As [`crate::engine::Engine::select`].
    pub(super) fn evaluate(
        &self,
        device: &mut Device,
        segments: &Segments,
        cancel: &Cancel,
    ) -> Result<Answer<Vec<u64>>, EngineError> {
        if self.everything() {
            return Ok(Answer::Now(vec![segments.dataset.rows()]));
        }
        let groups = self.groups.len();
        let planes = SelectionShape::of(0, groups, false).planes as usize;
        let words = (segments.segments.len() * planes) as u64;
        let totals = device.room(TOTALS, 4 * words)?;
        for segment in segments.segments.iter() {
            cancel.check()?;
            self.build(device, segments, segment, &totals, (segment.number * planes) as u32)?;
            device.pace(segments.points(segment))?;
        }
        let reading = device.begin_read(&[(&totals, words)])?;
        Ok(Answer::later(reading, move |read| {
            let total = |group: usize| read.iter().skip(group).step_by(planes).map(|&points| u64::from(points)).sum();
            Ok((0..groups).map(total).collect())
        }))
    }

    /// The bitmaps of a segment.
    ///
    /// # Errors
    /// As [`Device::buffer`].
    pub(super) fn bits(
        &self,
        device: &mut Device,
        segments: &Segments,
        segment: &Segment,
    ) -> Result<Arc<Counted>, EngineError> {
        if self.everything() {
            return Ok(device.nothing());
        }
        if let Some(bits) = device.memory.get(&segments.key(segment, Resident::Selection(self.number))) {
            return Ok(bits);
        }
        let totals = device.room(TOTALS, 4 * u64::from(self.shape(segment).planes))?;
        self.build(device, segments, segment, &totals, 0)
    }

    fn build(
        &self,
        device: &mut Device,
        segments: &Segments,
        segment: &Segment,
        totals: &Counted,
        totals_base: u32,
    ) -> Result<Arc<Counted>, EngineError> {
        let shape = self.shape(segment);
        let bits = device.buffer("selection", shape.bytes())?;
        match (&self.mask, self.groups.column()) {
            // A new buffer is zero.
            (Mask::Nothing, _) => {}
            (Mask::Everything, Some(column)) => self.split(device, segments, segment, column, None, &bits)?,
            (Mask::Everything, None) => unreachable!("such a selection has no bitmaps"),
            (Mask::Steps { steps, slots }, None) => {
                // Without groups the words of the only plane are the mask.
                let masks = masks(device, segment, *slots, Some(&bits))?;
                run(device, segments, segment, steps, &masks)?;
            }
            (Mask::Steps { steps, slots }, Some(column)) => {
                let masks = masks(device, segment, *slots, None)?;
                run(device, segments, segment, steps, &masks)?;
                self.split(device, segments, segment, column, Some(&masks[0]), &bits)?;
            }
        }
        rank(device, shape, &bits, totals, totals_base)?;
        device.memory.insert(segments.key(segment, Resident::Selection(self.number)), bits.clone());
        Ok(bits)
    }

    /// Splits the mask (every point where `None`) by the groups of a column.
    fn split(
        &self,
        device: &mut Device,
        segments: &Segments,
        segment: &Segment,
        column: ColumnId,
        mask: Option<&Counted>,
        bits: &Counted,
    ) -> Result<(), EngineError> {
        let header = SelectGroupsHeader {
            selection: self.shape(segment),
            width: segments.dataset.column(column).width.bytes() as u32,
            all_pass: u32::from(mask.is_none()),
        };
        let header = device.upload("select groups", &[bytemuck::bytes_of(&header)])?;
        let keys = segments.column(device, segment, column)?;
        let block_points = segments.block_points(device, segment)?;
        let table = device.upload("group of key", &[self.groups.group_of_key()])?;
        let nothing = device.nothing();
        let source = mask.unwrap_or(&nothing);
        let bindings =
            [(1, &*keys), (2, &*block_points), (5, source), (6, &*header), (7, &*table), (8, bits)];
        device.dispatch(|pipelines| &pipelines.select_groups, &bindings, segment.words / SPLIT_WORDS);
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

/// Masks of a segment, one a slot; the first may be given.
fn masks(
    device: &mut Device,
    segment: &Segment,
    slots: usize,
    first: Option<&Arc<Counted>>,
) -> Result<Vec<Arc<Counted>>, EngineError> {
    let mut masks: Vec<Arc<Counted>> = first.cloned().into_iter().collect();
    while masks.len() < slots {
        masks.push(device.buffer("mask", 4 * u64::from(segment.words))?);
    }
    Ok(masks)
}

fn run(
    device: &mut Device,
    segments: &Segments,
    segment: &Segment,
    steps: &[Step],
    masks: &[Arc<Counted>],
) -> Result<(), EngineError> {
    for step in steps {
        let mask = &*masks[step.slot];
        match &step.term {
            Term::Keys { column, ranges } => select_keys(device, segments, segment, *column, ranges, step.combine, mask)?,
            Term::Region { region, invert } => {
                let words = region_bitmap(segments, segment, region, *invert);
                let source = device.upload("region", &[bytemuck::cast_slice(&words)])?;
                select_mask(device, segment, &source, step.combine, mask)?;
            }
            Term::Slot(slot) => select_mask(device, segment, &masks[*slot], step.combine, mask)?,
        }
    }
    Ok(())
}

/// The points of a segment inside a region, or outside: never padding.
fn region_bitmap(segments: &Segments, segment: &Segment, region: &Region, invert: bool) -> Vec<u64> {
    segments.bitmap(segment, |part| {
        let inside = region_words(region, part);
        if !invert {
            return inside;
        }
        let mut words = vec![0; inside.len()];
        set_bits(&mut words, 0..part.rows());
        words.iter_mut().zip(inside).for_each(|(word, inside)| *word &= !inside);
        words
    })
}

fn select_keys(
    device: &mut Device,
    segments: &Segments,
    segment: &Segment,
    column: ColumnId,
    ranges: &[(u64, u64)],
    combine: u32,
    mask: &Counted,
) -> Result<(), EngineError> {
    let parts = segment.parts.iter().map(|placed| segments.part(placed));
    let verdicts: Vec<u32> = parts.flat_map(|part| verdicts(part.blocks(column), ranges)).collect();
    let width = segments.dataset.column(column).width.bytes() as u32;
    // The shader compares in the column's own width.
    let key_max = u64::MAX >> (64 - 8 * width);
    let ranges = ranges.iter().filter(|&&(first, _)| first <= key_max);
    let limits: Vec<u64> = ranges.flat_map(|&(first, last)| [first, last.min(key_max)]).collect();
    let header = SelectKeysHeader { words: segment.words, width, combine, ranges_len: limits.len() as u32 / 2 };
    let pieces = [bytemuck::bytes_of(&header), bytemuck::cast_slice(&limits), bytemuck::cast_slice(&verdicts)];
    let select = device.upload("select keys", &pieces)?;
    // A column that no block needs is not uploaded.
    let keys = if verdicts.contains(&SOME_PASS) { segments.column(device, segment, column)? } else { device.nothing() };
    let block_points = segments.block_points(device, segment)?;
    let bindings = [(0, &*select), (1, &*keys), (2, &*block_points), (3, mask)];
    device.dispatch(|pipelines| &pipelines.select_keys, &bindings, workgroups(segment.words));
    Ok(())
}

/// What the smallest and largest key of each block say of the ranges.
fn verdicts<'a>(blocks: &'a Blocks, ranges: &'a [(u64, u64)]) -> impl Iterator<Item = u32> + 'a {
    let verdict = move |(&min, &max): (&u64, &u64)| {
        // The first range that does not end before the block begins.
        match ranges.get(ranges.partition_point(|&(_, last)| last < min)) {
            Some(&(first, last)) if first <= min && max <= last => ALL_PASS,
            Some(&(first, _)) if first <= max => SOME_PASS,
            _ => NONE_PASS,
        }
    };
    blocks.min.iter().zip(blocks.max.iter()).map(verdict)
}

fn select_mask(
    device: &mut Device,
    segment: &Segment,
    source: &Counted,
    combine: u32,
    mask: &Counted,
) -> Result<(), EngineError> {
    let header = SelectMaskHeader { words: segment.words, combine };
    let header = device.upload("select mask", &[bytemuck::bytes_of(&header)])?;
    let bindings = [(3, mask), (4, &*header), (5, source)];
    device.dispatch(|pipelines| &pipelines.select_mask, &bindings, workgroups(segment.words));
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
    let blocks = shape.plane_words / RANK_WORDS;
    let across = workgroups(blocks);
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
