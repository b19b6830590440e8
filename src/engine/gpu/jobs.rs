//! Job tables: which pixels of which parts of a segment a dispatch looks at, and for how many tiles at a time.

use super::device::{Device, Reading};
use super::layout::constants::{CELLS, ENTRIES, POINTS};
use super::layout::{Job, SelectionShape, WorkHeader};
use super::memory::Counted;
use super::segments::{PlacedPart, Segment, Segments};
use super::worker::Answer;
use crate::engine::EngineError;
use crate::world::TileId;
use std::ops::Range;
use std::sync::Arc;

/// The jobs of one dispatch over one segment: tile by part by slice.
pub(super) struct JobTable {
    items_per_workgroup: u32,
    jobs: Vec<Job>,
    workgroups: u32,
    items: u64,
}

/// Answers on the device at a time, at most: what every Vulkan device can bind at once.
const ANSWERS_BYTES_MAX: u64 = 128 << 20;

/// The share of the memory budget that answers may take, so that parts fit beside them and their copies on the way back.
const ANSWERS_BUDGET_SHARE: u64 = 8;

/// Asks for something of many tiles, `tile_words` each: `begin` those of as many as there is room for, and what `cut` makes
/// of them. A piece comes back while the device is at the next.
///
/// # Errors
/// As `begin` and [`Device::end_read`].
pub(super) fn in_pieces<T: Send + 'static>(
    device: &mut Device,
    tiles: &[TileId],
    tile_words: usize,
    mut begin: impl FnMut(&mut Device, &[TileId]) -> Result<Reading, EngineError>,
    cut: impl Fn(Vec<u32>) -> Vec<T> + Send + 'static,
) -> Result<Answer<Vec<T>>, EngineError> {
    let room = ANSWERS_BYTES_MAX.min(device.binding_bytes_max()).min(device.budget_bytes() / ANSWERS_BUDGET_SHARE);
    let mut answers = Vec::with_capacity(tiles.len());
    let mut before: Option<Reading> = None;
    for tiles in tiles.chunks((room / (4 * tile_words as u64)).max(1) as usize) {
        let reading = begin(device, tiles)?;
        if let Some(before) = before.replace(reading) {
            answers.extend(cut(device.end_read(before)?));
        }
    }
    let Some(last) = before else { return Ok(Answer::Now(answers)) };
    Ok(Answer::later(last, move |words| {
        answers.extend(cut(words));
        Ok(answers)
    }))
}

/// The segment's side of the bindings of a kernel over jobs.
pub(super) struct JobBuffers {
    pub work: Arc<Counted>,
    pub levels: Arc<Counted>,
    pub cells: Arc<Counted>,
    pub lo: Arc<Counted>,
}

impl JobTable {
    pub fn new(items_per_workgroup: u32) -> JobTable {
        JobTable { items_per_workgroup, jobs: Vec::new(), workgroups: 0, items: 0 }
    }

    pub fn workgroups(&self) -> u32 {
        self.workgroups
    }

    /// Items of all jobs.
    pub fn items(&self) -> u64 {
        self.items
    }

    /// Adds the pixels of `level` in a slice of a part's points that begins and ends at pixel borders (or at the part's).
    pub fn add(&mut self, segments: &Segments, placed: &PlacedPart, slice: Range<u32>, level: u32, out_base: u32) {
        self.push(segments, placed, slice, level, out_base, |runs, slice, kind| if kind == POINTS { slice } else { runs });
    }

    /// As [`JobTable::add`], but the items are the segment's words of 32 points that hold the slice.
    pub fn add_words(&mut self, segments: &Segments, placed: &PlacedPart, slice: Range<u32>, level: u32, out_base: u32) {
        let [from, to] = placed.in_segment(&slice);
        self.push(segments, placed, slice, level, out_base, |_, _, _| from / 32..to.div_ceil(32));
    }

    /// Adds a job whose items are made of its runs (entries of the level, or level-16 cells) and its slice.
    fn push(
        &mut self,
        segments: &Segments,
        placed: &PlacedPart,
        slice: Range<u32>,
        level: u32,
        out_base: u32,
        items: impl Fn(Range<u32>, Range<u32>, u32) -> Range<u32>,
    ) {
        if slice.is_empty() {
            return;
        }
        let part = segments.part(placed);
        let (kind, place, runs) = match (part.level(level), placed.level(level)) {
            (Some(indexed), Some(place)) => {
                let entries = indexed.entries(&slice);
                (ENTRIES, place, entries.start as u32..entries.end as u32)
            }
            _ => {
                let cell = |position| part.index().cell_of(position) as u32;
                (if level <= 16 { CELLS } else { POINTS }, placed.cells, cell(slice.start)..cell(slice.end - 1) + 1)
            }
        };
        let [point_from, point_to] = placed.in_segment(&slice);
        let items = items(runs.clone(), slice, kind);
        self.jobs.push(Job {
            kind,
            workgroup_first: self.workgroups,
            item_from: items.start,
            item_to: items.end,
            level,
            code_base: place.code_base,
            start_base: place.start_base,
            point_base: placed.point_base,
            point_from,
            point_to,
            cell_from: runs.start,
            cell_to: runs.end,
            out_base,
        });
        self.items += items.len() as u64;
        self.workgroups += (items.len() as u32).div_ceil(self.items_per_workgroup);
    }

    /// Adds, for every tile, its pixels in every part of a segment; tile i's words begin at `i * tile_words`.
    pub fn add_tiles(
        &mut self,
        segments: &Segments,
        segment: &Segment,
        tiles: &[TileId],
        tile_words: usize,
        add: fn(&mut JobTable, &Segments, &PlacedPart, Range<u32>, u32, u32),
    ) {
        for (i, tile) in tiles.iter().enumerate() {
            let (first, last) = tile.keys();
            for placed in segment.parts.iter().filter(|placed| placed.meets(first, last)) {
                let slice = segments.part(placed).index().slice(first, last);
                add(self, segments, placed, slice, tile.zoom().pixel_level(), (i * tile_words) as u32);
            }
        }
    }

    /// The buffers that the jobs need: of the segment, only what they read.
    ///
    /// # Errors
    /// As [`Device::buffer`].
    pub fn buffers(
        &self,
        device: &mut Device,
        segments: &Segments,
        segment: &Segment,
        selection: SelectionShape,
    ) -> Result<JobBuffers, EngineError> {
        let has = |kinds: &[u32]| self.jobs.iter().any(|job| kinds.contains(&job.kind));
        let header =
            WorkHeader { selection, jobs_len: self.jobs.len() as u32, items_per_workgroup: self.items_per_workgroup };
        Ok(JobBuffers {
            work: device.upload("work", &[bytemuck::bytes_of(&header), bytemuck::cast_slice(&self.jobs)])?,
            levels: if has(&[ENTRIES]) { segments.levels(device, segment)? } else { device.nothing() },
            cells: if has(&[CELLS, POINTS]) { segments.cells(device, segment)? } else { device.nothing() },
            lo: if has(&[POINTS]) { segments.lo(device, segment)? } else { device.nothing() },
        })
    }
}
