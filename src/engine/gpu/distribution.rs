//! How often each total count occurs among the pixels of a zoom: `shaders/distribution.wgsl`.
//!
//! Pixels that points of only one part lie in are tallied on the device. Those that several parts share (at the parts'
//! borders, or wherever parts overlap) come back one by one, by their cell, and are added here.

use super::device::{Device, workgroups};
use super::jobs::JobTable;
use super::layout::SlicesHeader;
use super::layout::constants::SMALL;
use super::memory::Counted;
use super::segments::{PlacedPart, Segment, Segments};
use super::select::DeviceSelection;
use crate::dataset::Part;
use crate::engine::{Cancel, Distribution, EngineError};
use crate::world::{Key, Zoom};
use std::collections::{BTreeMap, HashMap};
use std::ops::Range;
use std::sync::Arc;

/// Pixels that a workgroup tallies: enough that clearing and adding up its own table is cheap beside them.
const ITEMS_PER_WORKGROUP: u32 = 4096;

/// Points that are tallied before the table is read back, at most: numbers of pixels are u32 there.
const POINTS_TALLIED_MAX: u64 = u32::MAX as u64;

/// Shared pixels that are asked for at a time, and read back together.
const SLICES_MAX: usize = 1 << 20;

pub(super) fn distribution(
    device: &mut Device,
    segments: &Segments,
    selection: &DeviceSelection,
    zoom: Zoom,
    cancel: &Cancel,
) -> Result<Distribution, EngineError> {
    let level = zoom.pixel_level();
    let shared_cells = SharedCells::of(segments, level);
    let mut tally = Tally::default();
    let mut rest = &segments.segments[..];
    while !rest.is_empty() {
        let (batch, others) = rest.split_at(batch_len(segments, rest));
        let (totals, words) = table(device, segments, batch)?;
        let mut shared = Shared::default();
        for segment in batch {
            cancel.check()?;
            tally_segment(device, segments, selection, segment, level, &shared_cells, &totals, &mut shared, &mut tally)?;
        }
        shared.read(device, &mut tally)?;
        tally.add_table(&device.read(&[(&totals, words)])?);
        rest = others;
    }
    Ok(tally.finish())
}

/// As many segments as may be tallied before the table is read back: at least one.
fn batch_len(segments: &Segments, rest: &[Segment]) -> usize {
    let mut points = 0;
    let fits = rest.iter().take_while(|segment| {
        points += segments.points(segment);
        points <= POINTS_TALLIED_MAX
    });
    fits.count().max(1)
}

/// The table that the shader fills, and its words.
fn table(device: &mut Device, segments: &Segments, batch: &[Segment]) -> Result<(Arc<Counted>, u64), EngineError> {
    let points: u64 = batch.iter().map(|segment| segments.points(segment)).sum();
    let large_max = points / u64::from(SMALL);
    let words = 1 + u64::from(SMALL) + large_max.max(1);
    let totals = device.room("totals of pixels", 4 * words)?;
    // The list needs no clearing: its length says what counts.
    device.clear(&totals, 4 * (1 + u64::from(SMALL)));
    Ok((totals, words))
}

#[expect(clippy::too_many_arguments, reason = "one step of one loop, with the loop's state")]
fn tally_segment(
    device: &mut Device,
    segments: &Segments,
    selection: &DeviceSelection,
    segment: &Segment,
    level: u32,
    shared_cells: &SharedCells,
    totals: &Counted,
    shared: &mut Shared,
    tally: &mut Tally,
) -> Result<(), EngineError> {
    let mut jobs = JobTable::new(ITEMS_PER_WORKGROUP);
    let (mut cells, mut slices) = (Vec::new(), Vec::new());
    for placed in &segment.parts {
        let part = segments.part(placed);
        let (own, others) = shared_cells.split(part, level);
        own.into_iter().for_each(|slice| jobs.add(segments, placed, slice, level, 0));
        for slice in others {
            each_pixel(part, placed, slice, level, |cell, slice| {
                cells.push(cell);
                slices.push(slice);
            });
        }
    }
    let bits = selection.bits(device, segments, segment)?;
    if jobs.workgroups() > 0 {
        let buffers = jobs.buffers(device, segments, segment, selection.shape(segment))?;
        let bindings =
            [(0, &*buffers.work), (1, &*buffers.levels), (2, &*buffers.cells), (3, &*buffers.lo), (4, &*bits), (5, totals)];
        device.dispatch(|pipelines| &pipelines.distribution, &bindings, jobs.workgroups());
        device.pace(jobs.items())?;
    }
    for (cells, slices) in cells.chunks(SLICES_MAX).zip(slices.chunks(SLICES_MAX)) {
        if shared.cells.len() + cells.len() > SLICES_MAX {
            shared.read(device, tally)?;
        }
        shared.ask(device, selection, segment, &bits, cells, slices)?;
    }
    Ok(())
}

/// Pixels that several parts share, on their way back.
#[derive(Default)]
struct Shared {
    cells: Vec<u64>,
    totals: Vec<(Arc<Counted>, u64)>,
}

impl Shared {
    /// Asks for the totals of slices of a segment, one a cell.
    fn ask(
        &mut self,
        device: &mut Device,
        selection: &DeviceSelection,
        segment: &Segment,
        bits: &Counted,
        cells: &[u64],
        slices: &[[u32; 2]],
    ) -> Result<(), EngineError> {
        let header = SlicesHeader { selection: selection.shape(segment), slices_len: slices.len() as u32 };
        let asked = device.upload("slices", &[bytemuck::bytes_of(&header), bytemuck::cast_slice(slices)])?;
        let words = slices.len() as u64;
        let totals = device.buffer("totals of slices", 4 * words)?;
        let bindings = [(4, bits), (6, &*asked), (7, &*totals)];
        device.dispatch(|pipelines| &pipelines.distribution_slices, &bindings, workgroups(slices.len() as u32));
        self.cells.extend(cells);
        self.totals.push((totals, words));
        Ok(())
    }

    /// Adds what was asked for, by cell.
    fn read(&mut self, device: &mut Device, tally: &mut Tally) -> Result<(), EngineError> {
        let buffers: Vec<(&Counted, u64)> = self.totals.iter().map(|(totals, words)| (&**totals, *words)).collect();
        if !buffers.is_empty() {
            for (&cell, total) in self.cells.iter().zip(device.read(&buffers)?) {
                *tally.shared.entry(cell).or_default() += total;
            }
        }
        *self = Shared::default();
        Ok(())
    }
}

/// The cells of a slice of a part's points, each with its own slice of the segment.
fn each_pixel(part: &Part, placed: &PlacedPart, slice: Range<u32>, level: u32, mut found: impl FnMut(u64, [u32; 2])) {
    let index = part.index();
    let mut from = slice.start;
    while from < slice.end {
        let cell = index.key(from).cell(level);
        let to = index.slice(first_key(level, cell), last_key(level, cell)).end;
        found(cell, placed.in_segment(&(from..to)));
        from = to;
    }
}

/// The first and the last key of a cell of a level from 8 to 32.
fn first_key(level: u32, cell: u64) -> Key {
    Key(cell << (64 - 2 * level))
}

fn last_key(level: u32, cell: u64) -> Key {
    Key(first_key(level, cell).0 | u64::MAX.checked_shr(2 * level).unwrap_or(0))
}

/// The cells of a level that points of more than one part may lie in: inclusive ranges, ascending and disjoint.
struct SharedCells {
    ranges: Vec<(u64, u64)>,
}

impl SharedCells {
    fn of(segments: &Segments, level: u32) -> SharedCells {
        let placed = segments.segments.iter().flat_map(|segment| &segment.parts);
        let mut spans: Vec<(u64, u64)> =
            placed.map(PlacedPart::span).map(|(first, last)| (first.cell(level), last.cell(level))).collect();
        spans.sort_unstable();
        let mut ranges: Vec<(u64, u64)> = Vec::new();
        let mut furthest: Option<u64> = None;
        for (first, last) in spans {
            if let Some(end) = furthest.filter(|&end| end >= first) {
                let end = end.min(last);
                match ranges.last_mut() {
                    Some(range) if range.1 >= first => range.1 = range.1.max(end),
                    _ => ranges.push((first, end)),
                }
            }
            furthest = furthest.max(Some(last));
        }
        SharedCells { ranges }
    }

    /// The slices of a part that no other part shares, and those that one may.
    fn split(&self, part: &Part, level: u32) -> (Vec<Range<u32>>, Vec<Range<u32>>) {
        let (mut own, mut shared) = (Vec::new(), Vec::new());
        let mut from = 0;
        for &(first, last) in &self.ranges {
            let slice = part.index().slice(first_key(level, first), last_key(level, last));
            if slice.is_empty() {
                continue;
            }
            own.push(from..slice.start);
            from = slice.end;
            shared.push(slice);
        }
        own.push(from..part.rows());
        own.retain(|slice| !slice.is_empty());
        (own, shared)
    }
}

#[derive(Default)]
struct Tally {
    pixels_by_count: BTreeMap<u32, u64>,
    /// Totals of the cells that several parts may share.
    shared: HashMap<u64, u32>,
}

impl Tally {
    /// Adds what the shader wrote: the length of the list, a table of SMALL counts, the list.
    fn add_table(&mut self, words: &[u32]) {
        let (&large_len, rest) = words.split_first().expect("the table is never empty");
        let (small, large) = rest.split_at(SMALL as usize);
        for (count, &pixels) in small.iter().enumerate().filter(|(_, pixels)| **pixels > 0) {
            *self.pixels_by_count.entry(count as u32).or_default() += u64::from(pixels);
        }
        for &count in &large[..large_len as usize] {
            *self.pixels_by_count.entry(count).or_default() += 1;
        }
    }

    fn finish(mut self) -> Distribution {
        for total in self.shared.into_values().filter(|&total| total > 0) {
            *self.pixels_by_count.entry(total).or_default() += 1;
        }
        Distribution { pixels_by_count: self.pixels_by_count.into_iter().collect() }
    }
}
