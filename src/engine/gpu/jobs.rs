//! Job tables: which pixels of which parts of a segment a dispatch looks at. Shared by `count` and `distribution`.

use super::device::Device;
use super::layout::constants::{CELLS, ENTRIES, POINTS};
use super::layout::{Job, SelectionShape, WorkHeader};
use super::memory::Counted;
use super::segments::{PlacedPart, Segment, Segments};
use crate::engine::EngineError;
use std::ops::Range;
use std::sync::Arc;

/// The jobs of one dispatch over one segment: tile by part by slice.
pub(super) struct JobTable {
    items_per_workgroup: u32,
    jobs: Vec<Job>,
    workgroups: u32,
    items: u64,
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
        if slice.is_empty() {
            return;
        }
        let part = segments.part(placed);
        let index = part.index();
        let cells = index.cell_of(slice.start) as u32..index.cell_of(slice.end - 1) as u32 + 1;
        let (kind, place, items) = match (part.level(level), placed.level(level)) {
            (Some(indexed), Some(place)) => {
                let entries = indexed.entries(&slice);
                (ENTRIES, place, entries.start as u32..entries.end as u32)
            }
            _ if level <= 16 => (CELLS, placed.cells, cells.clone()),
            _ => (POINTS, placed.cells, slice),
        };
        self.jobs.push(Job {
            kind,
            workgroup_first: self.workgroups,
            item_from: items.start,
            item_to: items.end,
            level,
            code_base: place.code_base,
            start_base: place.start_base,
            point_base: placed.point_base,
            cell_from: cells.start,
            cell_to: cells.end,
            out_base,
        });
        self.items += items.len() as u64;
        self.workgroups += (items.len() as u32).div_ceil(self.items_per_workgroup);
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
