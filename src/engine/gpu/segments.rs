//! Segments: parts of a dataset side by side in one set of device arrays, so that one dispatch reaches all of them.
//!
//! ```text
//! points        |part 0 ........|pad|part 1 ...|pad|       every part begins at a multiple of 4,096 points
//! lo            u32 a point                                a column: 1, 2, 4 or 8 bytes a point
//! levels        [part][level]  pixel (16 bits each), start         cells   [part]  hi, start
//! block points  u32 per 4,096 points: how many of them are points, and not padding
//! ```
//!
//! A shader cannot be handed a list of buffers, and a buffer that is bound has a largest size: so a segment is as many
//! parts as fit into arrays of that size, and what is uploaded, dispatched and let go is a segment. Uploaded when a kernel
//! first needs it.

use super::device::Device;
use super::layout::constants::BLOCK_WORDS;
use super::memory::{Counted, Resident, ResidentKey};
use crate::dataset::{BLOCK_POINTS, ColumnId, Dataset, Part};
use crate::engine::{EngineError, GROUPS_MAX};
use crate::world::Key;
use std::ops::Range;
use std::sync::Arc;

/// An array of a segment, at most, whatever the device can bind: a card of 8 GB has room for the five that a question
/// needs. 10^9 points are then five segments.
const SEGMENT_BYTES_MAX: u64 = 1 << 30;

/// The share of a memory budget that an array of a segment may take: a question needs some five of them (index, keys, a
/// column, bitmaps), and counts, their copies and the next segment want room beside.
const SEGMENT_BUDGET_SHARE: u64 = 16;

/// The segments of one engine's dataset, and the engine's number among those of the device.
#[derive(Clone)]
pub(super) struct Segments {
    pub dataset: Arc<Dataset>,
    pub engine: u64,
    pub segments: Arc<[Segment]>,
}

/// Parts side by side.
pub(super) struct Segment {
    /// Its number among those of the dataset.
    pub number: usize,
    pub parts: Vec<PlacedPart>,
    /// Words of 32 points, padding included: a multiple of those of a block.
    pub words: u32,
    levels_words: u32,
    cells_words: u32,
}

/// A part, and where its arrays begin in its segment's: in points, and in words.
pub(super) struct PlacedPart {
    /// Its number in the dataset.
    pub number: usize,
    pub point_base: u32,
    pub cells: ArrayPlace,
    /// Ascending.
    levels: Vec<(u32, ArrayPlace)>,
    /// First and last key.
    span: (Key, Key),
}

/// Where the codes and starts of a list of cells begin, in words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ArrayPlace {
    pub code_base: u32,
    pub start_base: u32,
}

impl Segments {
    /// Cuts a dataset into segments whose arrays are all bindable by a device, and small beside its budget.
    pub fn new(dataset: Arc<Dataset>, engine: u64, binding_bytes_max: u64, budget_bytes: u64) -> Segments {
        let bytes_max = SEGMENT_BYTES_MAX.min(binding_bytes_max).min(budget_bytes / SEGMENT_BUDGET_SHARE);
        let columns = dataset.columns().iter().map(|column| column.width.bytes() as u64 * BLOCK_POINTS as u64);
        // A block of the widest array: a column, the key's lower halves, or a selection by most groups (words and ranks).
        let selection = (GROUPS_MAX as u64 + 1) * (u64::from(BLOCK_WORDS) * 4 + BLOCK_POINTS as u64 / 512 * 4);
        let block_bytes = columns.chain([4 * BLOCK_POINTS as u64, selection]).max().unwrap_or(selection);
        let mut segments: Vec<Segment> = Vec::new();
        for (number, part) in dataset.parts.iter().enumerate() {
            let with_part = segments.last().map(|segment| segment.sizes_with(part));
            let fits = |sizes: [u64; 3]| {
                let [words, levels_words, cells_words] = sizes;
                words / u64::from(BLOCK_WORDS) * block_bytes <= bytes_max && 4 * levels_words.max(cells_words) <= bytes_max
            };
            if !with_part.is_some_and(fits) {
                segments.push(Segment::empty(segments.len()));
            }
            segments.last_mut().expect("one was pushed if there was none").place(number, part);
        }
        Segments { dataset, engine, segments: segments.into() }
    }

    pub fn part(&self, placed: &PlacedPart) -> &Part {
        &self.dataset.parts[placed.number]
    }

    pub fn key(&self, segment: &Segment, what: Resident) -> ResidentKey {
        ResidentKey { engine: self.engine, segment: segment.number, what }
    }

    /// Points, padding left out.
    pub fn points(&self, segment: &Segment) -> u64 {
        segment.parts.iter().map(|placed| u64::from(self.part(placed).rows())).sum()
    }

    pub fn levels(&self, device: &mut Device, segment: &Segment) -> Result<Arc<Counted>, EngineError> {
        let pieces = segment.parts.iter().flat_map(|placed| {
            placed.levels.iter().filter_map(|&(level, place)| Some((self.part(placed).level(level)?, place))).flat_map(
                |(level, place)| {
                    let code: &[u8] = bytemuck::cast_slice(level.pixel);
                    [(place.code_base, code), (place.start_base, bytemuck::cast_slice(level.start))]
                },
            )
        });
        device.resident(self.key(segment, Resident::Levels), "levels", segment.levels_words.into(), pieces)
    }

    pub fn cells(&self, device: &mut Device, segment: &Segment) -> Result<Arc<Counted>, EngineError> {
        let pieces = segment.parts.iter().flat_map(|placed| {
            let index = self.part(placed).index();
            let hi: &[u8] = bytemuck::cast_slice(index.hi);
            [(placed.cells.code_base, hi), (placed.cells.start_base, bytemuck::cast_slice(index.start))]
        });
        device.resident(self.key(segment, Resident::Cells), "cells", segment.cells_words.into(), pieces)
    }

    pub fn lo(&self, device: &mut Device, segment: &Segment) -> Result<Arc<Counted>, EngineError> {
        let pieces = segment
            .parts
            .iter()
            .map(|placed| (placed.point_base, bytemuck::cast_slice(self.part(placed).index().lo)));
        device.resident(self.key(segment, Resident::Lo), "lo", 32 * u64::from(segment.words), pieces)
    }

    pub fn column(&self, device: &mut Device, segment: &Segment, column: ColumnId) -> Result<Arc<Counted>, EngineError> {
        let described = self.dataset.column(column);
        // Keys of a word of 32 points take this many words.
        let width = described.width.bytes() as u32 * 8;
        let pieces = segment
            .parts
            .iter()
            .map(|placed| (placed.point_base / 32 * width, self.part(placed).column(column).bytes()));
        let words = u64::from(segment.words) * u64::from(width);
        device.resident(self.key(segment, Resident::Column(column)), &described.name, words, pieces)
    }

    pub fn block_points(&self, device: &mut Device, segment: &Segment) -> Result<Arc<Counted>, EngineError> {
        let mut points = Vec::with_capacity((segment.words / BLOCK_WORDS) as usize);
        for placed in &segment.parts {
            let rows = self.part(placed).rows() as usize;
            points.extend((0..rows).step_by(BLOCK_POINTS).map(|from| (rows - from).min(BLOCK_POINTS) as u32));
        }
        let pieces = [(0, bytemuck::cast_slice(&points))];
        device.resident(self.key(segment, Resident::BlockPoints), "block points", points.len() as u64, pieces)
    }

    /// The words of a bitmap of a segment, made part by part: u64, as in [`crate::engine::bitmap`].
    pub fn bitmap(&self, segment: &Segment, of_part: impl Fn(&Part) -> Vec<u64>) -> Vec<u64> {
        let mut words = vec![0; segment.words as usize / 2];
        for placed in &segment.parts {
            let part = of_part(self.part(placed));
            words[placed.point_base as usize / 64..][..part.len()].copy_from_slice(&part);
        }
        words
    }
}

impl Segment {
    fn empty(number: usize) -> Segment {
        Segment { number, parts: Vec::new(), words: 0, levels_words: 0, cells_words: 0 }
    }

    fn place(&mut self, number: usize, part: &Part) {
        let place = |base: &mut u32, codes_words: usize, starts: usize| {
            let code_base = *base;
            let start_base = code_base + codes_words as u32;
            *base = start_base + starts as u32;
            ArrayPlace { code_base, start_base }
        };
        let index = part.index();
        let levels = indexed_levels(part)
            .map(|level| (level.level, place(&mut self.levels_words, level.pixel.len().div_ceil(2), level.start.len())))
            .collect();
        let cells = place(&mut self.cells_words, index.hi.len(), index.start.len());
        let span = (part.key(0), part.key(part.rows() - 1));
        self.parts.push(PlacedPart { number, point_base: 32 * self.words, cells, levels, span });
        self.words += words(part);
    }

    /// Words of points, levels and cells if the part were placed here too.
    fn sizes_with(&self, part: &Part) -> [u64; 3] {
        let levels: usize = indexed_levels(part).map(|level| level.pixel.len().div_ceil(2) + level.start.len()).sum();
        let cells = part.index().hi.len() + part.index().start.len();
        [(self.words, words(part) as usize), (self.levels_words, levels), (self.cells_words, cells)]
            .map(|(here, more)| u64::from(here) + more as u64)
    }
}

impl PlacedPart {
    /// Whether the part may have points between two keys, both inclusive.
    pub fn meets(&self, first: Key, last: Key) -> bool {
        first <= self.span.1 && self.span.0 <= last
    }

    pub fn span(&self) -> (Key, Key) {
        self.span
    }

    /// Where a level lies in the segment's levels, if it is indexed.
    pub fn level(&self, level: u32) -> Option<ArrayPlace> {
        self.levels.iter().find(|(indexed, _)| *indexed == level).map(|&(_, place)| place)
    }

    /// A slice of the part as one of the segment.
    pub fn in_segment(&self, slice: &Range<u32>) -> [u32; 2] {
        [self.point_base + slice.start, self.point_base + slice.end]
    }
}

/// Words of 32 points that a part takes: whole blocks.
fn words(part: &Part) -> u32 {
    (part.rows() as usize).div_ceil(BLOCK_POINTS) as u32 * BLOCK_WORDS
}

fn indexed_levels(part: &Part) -> impl Iterator<Item = crate::dataset::Level<'_>> {
    (0..=32).filter_map(|level| part.level(level))
}
