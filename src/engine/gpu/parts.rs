//! The parts of a dataset on the device: uploaded when a kernel first needs them, in the layout that the shaders read.

use super::device::Device;
use super::memory::{Counted, Resident, ResidentKey};
use crate::dataset::{ColumnId, Dataset, Part};
use crate::engine::EngineError;
use crate::world::Key;
use std::sync::Arc;

/// The dataset of one engine, and the engine's number among those of the device.
#[derive(Clone)]
pub(super) struct Parts {
    pub dataset: Arc<Dataset>,
    pub engine: u64,
    /// First and last key of every part.
    pub spans: Arc<[(Key, Key)]>,
}

/// Where a level lies in a part's [`Resident::Levels`], in words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct LevelPlace {
    pub pixel_base: u32,
    pub start_base: u32,
}

impl Parts {
    pub fn new(dataset: Arc<Dataset>, engine: u64) -> Parts {
        let spans = dataset.parts.iter().map(|part| (part.key(0), part.key(part.rows() - 1))).collect();
        Parts { dataset, engine, spans }
    }

    /// Whether a part may have points between two keys, both inclusive.
    pub fn meets(&self, part: usize, first: Key, last: Key) -> bool {
        let (part_first, part_last) = self.spans[part];
        first <= part_last && part_first <= last
    }

    pub fn key(&self, part: usize, what: Resident) -> ResidentKey {
        ResidentKey { engine: self.engine, part, what }
    }

    pub fn levels(&self, device: &mut Device, part: usize) -> Result<Arc<Counted>, EngineError> {
        let levels: Vec<&[u8]> = indexed_levels(&self.dataset.parts[part])
            .flat_map(|level| [bytemuck::cast_slice(level.pixel), bytemuck::cast_slice(level.start)])
            .collect();
        device.resident(self.key(part, Resident::Levels), "levels", &levels)
    }

    pub fn cells(&self, device: &mut Device, part: usize) -> Result<Arc<Counted>, EngineError> {
        let index = self.dataset.parts[part].index();
        let pieces = [bytemuck::cast_slice(index.hi), bytemuck::cast_slice(index.start)];
        device.resident(self.key(part, Resident::Cells), "cells", &pieces)
    }

    pub fn lo(&self, device: &mut Device, part: usize) -> Result<Arc<Counted>, EngineError> {
        let index = self.dataset.parts[part].index();
        device.resident(self.key(part, Resident::Lo), "lo", &[bytemuck::cast_slice(index.lo)])
    }

    pub fn column(&self, device: &mut Device, part: usize, column: ColumnId) -> Result<Arc<Counted>, EngineError> {
        let keys = self.dataset.parts[part].column(column).bytes();
        device.resident(self.key(part, Resident::Column(column)), &self.dataset.column(column).name, &[keys])
    }
}

fn indexed_levels(part: &Part) -> impl Iterator<Item = crate::dataset::Level<'_>> {
    (0..=32).filter_map(|level| part.level(level))
}

/// Where `level` lies among the levels of a part, if it is indexed.
pub(super) fn level_place(part: &Part, level: u32) -> Option<LevelPlace> {
    let mut base = 0;
    for indexed in indexed_levels(part) {
        let pixel_words = indexed.pixel.len().div_ceil(2) as u32;
        let place = LevelPlace { pixel_base: base, start_base: base + pixel_words };
        if indexed.level == level {
            return Some(place);
        }
        base = place.start_base + indexed.start.len() as u32;
    }
    None
}
