//! How often each total count occurs among the pixels of a zoom: `shaders/distribution.wgsl`.
//!
//! Pixels that points of only one part lie in are tallied on the device. Those that several parts share (at the parts'
//! borders, or wherever parts overlap) come back one by one, by their cell, and are added here.

use super::device::{Device, workgroups};
use super::jobs::JobTable;
use super::layout::SlicesHeader;
use super::layout::constants::SMALL;
use super::memory::Counted;
use super::parts::Parts;
use super::select::DeviceSelection;
use crate::dataset::Part;
use crate::engine::{Cancel, Distribution, EngineError};
use crate::world::{Key, Zoom};
use std::collections::{BTreeMap, HashMap};
use std::ops::Range;

/// Pixels that a workgroup tallies: enough that clearing and adding up its own table is cheap beside them.
const ITEMS_PER_WORKGROUP: u32 = 4096;

/// Points that are tallied before the table is read back, at most: numbers of pixels are u32 there.
const POINTS_TALLIED_MAX: u64 = u32::MAX as u64;

/// Shared pixels of a part that are asked for at a time.
const SLICES_MAX: usize = 1 << 20;

pub(super) fn distribution(
    device: &mut Device,
    parts: &Parts,
    selection: &DeviceSelection,
    zoom: Zoom,
    cancel: &Cancel,
) -> Result<Distribution, EngineError> {
    let level = zoom.pixel_level();
    let shared_cells = SharedCells::of(parts, level);
    let mut tally = Tally::default();
    let mut first = 0;
    while first < parts.dataset.parts.len() {
        let end = batch_end(parts, first);
        tally_parts(device, parts, selection, first..end, level, &shared_cells, &mut tally, cancel)?;
        first = end;
    }
    Ok(tally.finish())
}

/// As many parts as may be tallied before the table is read back: at least one.
fn batch_end(parts: &Parts, first: usize) -> usize {
    let mut points = 0;
    let fits = parts.dataset.parts[first..].iter().take_while(|part| {
        points += u64::from(part.rows());
        points <= POINTS_TALLIED_MAX
    });
    first + fits.count().max(1)
}

#[expect(clippy::too_many_arguments, reason = "one step of one loop, with the loop's state")]
fn tally_parts(
    device: &mut Device,
    parts: &Parts,
    selection: &DeviceSelection,
    batch: Range<usize>,
    level: u32,
    shared_cells: &SharedCells,
    tally: &mut Tally,
    cancel: &Cancel,
) -> Result<(), EngineError> {
    let points: u64 = parts.dataset.parts[batch.clone()].iter().map(|part| u64::from(part.rows())).sum();
    let large_max = points / u64::from(SMALL);
    let words = 1 + u64::from(SMALL) + large_max.max(1);
    let totals = device.room("totals of pixels", 4 * words)?;
    // The list needs no clearing: its length says what counts.
    device.clear(&totals, 4 * (1 + u64::from(SMALL)));
    for number in batch {
        cancel.check()?;
        let part = &parts.dataset.parts[number];
        let (own, shared) = shared_cells.split(part, level);
        let mut table = JobTable::new(number, ITEMS_PER_WORKGROUP);
        own.into_iter().for_each(|slice| table.add(part, slice, level, 0));
        let bits = selection.bits(device, parts, number)?;
        if table.workgroups() > 0 {
            let buffers = table.buffers(device, parts, selection.shape(part))?;
            let bindings = [
                (0, &*buffers.work), (1, &*buffers.levels), (2, &*buffers.cells), (3, &*buffers.lo), (4, &*bits), (5, &*totals),
            ];
            device.dispatch(|pipelines| &pipelines.distribution, &bindings, table.workgroups());
            device.pace(table.items())?;
        }
        for slice in shared {
            shared_pixels(device, selection, part, slice, level, &bits, tally)?;
        }
    }
    tally.add_table(&device.read(&[(&totals, words)])?);
    Ok(())
}

/// Adds the pixels of a slice of a part by their cells.
fn shared_pixels(
    device: &mut Device,
    selection: &DeviceSelection,
    part: &Part,
    slice: Range<u32>,
    level: u32,
    bits: &Counted,
    tally: &mut Tally,
) -> Result<(), EngineError> {
    let pixels = pixels_of(part, slice, level);
    for pixels in pixels.chunks(SLICES_MAX) {
        let header = SlicesHeader { selection: selection.shape(part), slices_len: pixels.len() as u32, ..SlicesHeader::default() };
        let slices: Vec<[u32; 2]> = pixels.iter().map(|(_, slice)| [slice.start, slice.end]).collect();
        let slices = device.upload("slices", &[bytemuck::bytes_of(&header), bytemuck::cast_slice(&slices)])?;
        let words = pixels.len() as u64;
        let totals = device.room("totals of slices", 4 * words)?;
        let bindings = [(4, bits), (6, &*slices), (7, &*totals)];
        device.dispatch(|pipelines| &pipelines.distribution_slices, &bindings, workgroups(pixels.len() as u32));
        let totals = device.read(&[(&totals, words)])?;
        for (&(cell, _), total) in pixels.iter().zip(totals) {
            *tally.shared.entry(cell).or_default() += total;
        }
    }
    Ok(())
}

/// The cells of a slice of points, each with its own slice.
fn pixels_of(part: &Part, slice: Range<u32>, level: u32) -> Vec<(u64, Range<u32>)> {
    let index = part.index();
    let mut pixels = Vec::new();
    let mut from = slice.start;
    while from < slice.end {
        let cell = index.key(from).cell(level);
        let to = index.slice(first_key(level, cell), last_key(level, cell)).end;
        pixels.push((cell, from..to));
        from = to;
    }
    pixels
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
    fn of(parts: &Parts, level: u32) -> SharedCells {
        let mut spans: Vec<(u64, u64)> =
            parts.spans.iter().map(|(first, last)| (first.cell(level), last.cell(level))).collect();
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
