//! Job tables: which pixels of a part a dispatch looks at. Shared by `count` and `distribution`.

use super::device::Device;
use super::layout::constants::{CELLS, ENTRIES, POINTS};
use super::layout::{Job, SelectionShape, WorkHeader};
use super::memory::Counted;
use super::parts::{Parts, level_place};
use crate::dataset::Part;
use crate::engine::EngineError;
use std::ops::Range;
use std::sync::Arc;

/// The jobs of one dispatch over one part.
pub(super) struct JobTable {
    part: usize,
    items_per_workgroup: u32,
    jobs: Vec<Job>,
    workgroups: u32,
    items: u64,
}

/// The part's side of the bindings of a kernel over jobs.
pub(super) struct JobBuffers {
    pub work: Arc<Counted>,
    pub levels: Arc<Counted>,
    pub cells: Arc<Counted>,
    pub lo: Arc<Counted>,
}

impl JobTable {
    pub fn new(part: usize, items_per_workgroup: u32) -> JobTable {
        JobTable { part, items_per_workgroup, jobs: Vec::new(), workgroups: 0, items: 0 }
    }

    pub fn workgroups(&self) -> u32 {
        self.workgroups
    }

    /// Items of all jobs.
    pub fn items(&self) -> u64 {
        self.items
    }

    /// Adds the pixels of `level` in a slice of points that begins and ends at pixel borders (or at the part's).
    pub fn add(&mut self, part: &Part, slice: Range<u32>, level: u32, out_base: u32) {
        if slice.is_empty() {
            return;
        }
        let index = part.index();
        let cells = index.cell_of(slice.start) as u32..index.cell_of(slice.end - 1) as u32 + 1;
        let mut job = Job {
            level, out_base, cell_from: cells.start, cell_to: cells.end, workgroup_first: self.workgroups, ..Job::default()
        };
        let items = match (part.level(level), level_place(part, level)) {
            (Some(indexed), Some(place)) => {
                (job.kind, job.pixel_base, job.start_base) = (ENTRIES, place.pixel_base, place.start_base);
                let entries = indexed.entries(&slice);
                entries.start as u32..entries.end as u32
            }
            _ if level <= 16 => {
                job.kind = CELLS;
                cells
            }
            _ => {
                job.kind = POINTS;
                slice
            }
        };
        (job.item_from, job.item_to) = (items.start, items.end);
        self.items += items.len() as u64;
        self.workgroups += (items.len() as u32).div_ceil(self.items_per_workgroup);
        self.jobs.push(job);
    }

    /// The buffers that the jobs need: of the part, only what they read.
    ///
    /// # Errors
    /// As [`Device::buffer`].
    pub fn buffers(&self, device: &mut Device, parts: &Parts, selection: SelectionShape) -> Result<JobBuffers, EngineError> {
        let has = |kinds: &[u32]| self.jobs.iter().any(|job| kinds.contains(&job.kind));
        let header = WorkHeader {
            selection,
            jobs_len: self.jobs.len() as u32,
            cells_len: parts.dataset.parts[self.part].index().hi.len() as u32,
            items_per_workgroup: self.items_per_workgroup,
        };
        Ok(JobBuffers {
            work: device.upload("work", &[bytemuck::bytes_of(&header), bytemuck::cast_slice(&self.jobs)])?,
            levels: if has(&[ENTRIES]) { parts.levels(device, self.part)? } else { device.nothing() },
            cells: if has(&[CELLS, POINTS]) { parts.cells(device, self.part)? } else { device.nothing() },
            lo: if has(&[POINTS]) { parts.lo(device, self.part)? } else { device.nothing() },
        })
    }
}
