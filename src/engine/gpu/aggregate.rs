//! What a column's values come to per pixel: `shaders/aggregate.wgsl`, wherever integers say it.
//!
//! Sums of floats want f64 and the order of the points, which shaders do not have; and the values of a whole zoom would come
//! back pixel by pixel to be divided and rounded here. For those the selection's bits are read back, 1/8 byte a point, and
//! the CPU engine's code goes on, so both engines agree.

use super::device::{Device, Reading};
use super::jobs::{JobTable, in_pieces};
use super::layout::AggregateHeader;
use super::layout::constants::{LEAST, MOST, SUM, TILE_PIXELS};
use super::segments::Segments;
use super::select::DeviceSelection;
use super::worker::Answer;
use crate::dataset::{ColumnId, KeyWidth};
use crate::engine::bitmap::{Bitmap, GroupedBitmaps};
use crate::engine::{Aggregate, Cancel, EngineError, Measure, Numbers, Partial};
use crate::world::TileId;

/// Words of 32 points that a workgroup adds up: one each invocation.
const ITEMS_PER_WORKGROUP: u32 = 256;

/// The values of a dictionary as the shader adds them: without a sign, 2^63 more.
const SIGN: u64 = 1 << 63;

/// What the shader is asked for, and how its fields are read.
#[derive(Clone)]
pub(super) struct Asked {
    column: ColumnId,
    width: KeyWidth,
    measure: u32,
    /// What every key but null's is worth, less 1; keys less 1 where there is nothing.
    worth: Vec<u64>,
}

impl Asked {
    /// `None` where integers do not say it.
    pub fn of(aggregate: Aggregate, numbers: &Numbers<'_>, width: KeyWidth) -> Option<Asked> {
        let (measure, worth) = match (aggregate.measure, numbers) {
            (Measure::Max, _) => (MOST, Vec::new()),
            (Measure::Min, _) => (LEAST, Vec::new()),
            (_, Numbers::Scaled { .. }) => (SUM, Vec::new()),
            (_, Numbers::Listed { integers, .. }) => (SUM, integers.iter().map(|&v| v as u64 ^ SIGN).collect()),
            (_, Numbers::Floats(_) | Numbers::OrderedFloats) => return None,
        };
        Some(Asked { column: aggregate.column, width, measure, worth })
    }
}

/// What every tile comes to, pixel by pixel.
///
/// # Errors
/// As [`crate::engine::Engine::aggregate`].
pub(super) fn aggregate(
    device: &mut Device,
    segments: &Segments,
    selection: &DeviceSelection,
    asked: Asked,
    tiles: &[TileId],
    cancel: &Cancel,
) -> Result<Answer<Vec<Vec<Partial>>>, EngineError> {
    let tile_words = asked.tile_words();
    let begin = |device: &mut Device, tiles: &[TileId]| begin(device, segments, selection, &asked, tiles, cancel);
    let read = asked.clone();
    in_pieces(device, tiles, tile_words, begin, move |found| {
        let pixels = 0..TILE_PIXELS as usize;
        found.chunks_exact(tile_words).map(|tile| pixels.clone().map(|pixel| read.partial(tile, pixel)).collect()).collect()
    })
}

fn begin(
    device: &mut Device,
    segments: &Segments,
    selection: &DeviceSelection,
    asked: &Asked,
    tiles: &[TileId],
    cancel: &Cancel,
) -> Result<Reading, EngineError> {
    let words = (tiles.len() * asked.tile_words()) as u64;
    let found = device.room("aggregates", 4 * words)?;
    device.clear(&found, 4 * words);
    let worth = match &asked.worth[..] {
        [] => device.nothing(),
        worth => device.upload("worth", &[bytemuck::cast_slice(worth)])?,
    };
    for upper in asked.dispatches() {
        let header = AggregateHeader {
            width: asked.width.bytes() as u32,
            measure: asked.measure,
            upper: u32::from(upper),
            has_worth: u32::from(!asked.worth.is_empty()),
        };
        let header = device.upload("aggregate", &[bytemuck::bytes_of(&header)])?;
        for segment in segments.segments.iter() {
            cancel.check()?;
            let mut table = JobTable::new(ITEMS_PER_WORKGROUP);
            table.add_tiles(segments, segment, tiles, asked.tile_words(), JobTable::add_words);
            if table.workgroups() == 0 {
                continue;
            }
            let bits = selection.bits(device, segments, segment)?;
            let block_points = segments.block_points(device, segment)?;
            let keys = segments.column(device, segment, asked.column)?;
            let buffers = table.buffers(device, segments, segment, selection.shape(segment))?;
            let bindings = [
                (0, &*buffers.work), (1, &*buffers.levels), (2, &*buffers.cells), (3, &*buffers.lo), (4, &*bits),
                (5, &*block_points), (6, &*header), (7, &*keys), (8, &*worth), (9, &*found),
            ];
            device.dispatch(|pipelines| &pipelines.aggregate, &bindings, table.workgroups());
            device.pace(32 * table.items())?;
        }
    }
    device.begin_read(&[(&found, words)])
}

impl Asked {
    /// Words of a tile: 4 fields of a sum, 2 of an extreme.
    fn tile_words(&self) -> usize {
        (if self.measure == SUM { 4 } else { 2 }) * TILE_PIXELS as usize
    }

    /// The dispatches that it takes, and whether each is for upper halves.
    fn dispatches(&self) -> Vec<bool> {
        if self.measure != SUM && self.width == KeyWidth::U64 { vec![true, false] } else { vec![false] }
    }

    /// What the fields of a pixel of a tile say.
    fn partial(&self, tile: &[u32], pixel: usize) -> Partial {
        let field = |field: usize| tile[field * TILE_PIXELS as usize + pixel];
        if self.measure == SUM {
            let count = u64::from(field(0));
            if count == 0 {
                return Partial::Empty;
            }
            let sum = i128::from(field(1)) | i128::from(field(2)) << 32 | i128::from(field(3)) << 64;
            let signs = if self.worth.is_empty() { 0 } else { i128::from(count) * i128::from(SIGN) };
            return Partial::Whole { count, sum: sum - signs };
        }
        let most = u64::from(field(0)) << 32 | u64::from(field(1));
        let key_max = if self.width == KeyWidth::U64 { u64::MAX } else { u64::from(u32::MAX) };
        match most {
            0 => Partial::Empty,
            _ if self.measure == MOST => Partial::Key(most),
            _ => Partial::Key((!most & key_max) + 1),
        }
    }
}

/// The union of the groups of the parts `wanted` (ascending), by part.
pub(super) fn bitmaps(
    device: &mut Device,
    segments: &Segments,
    selection: &DeviceSelection,
    wanted: &[usize],
    cancel: &Cancel,
) -> Result<Vec<GroupedBitmaps>, EngineError> {
    let mut bitmaps = Vec::with_capacity(wanted.len());
    for segment in segments.segments.iter() {
        let parts: Vec<_> = segment.parts.iter().filter(|placed| wanted.contains(&placed.number)).collect();
        if parts.is_empty() {
            continue;
        }
        cancel.check()?;
        let shape = selection.shape(segment);
        let rows = |number: usize| segments.dataset.parts[number].rows() as usize;
        if shape.everything != 0 {
            bitmaps.extend(parts.iter().map(|placed| GroupedBitmaps::ungrouped(Bitmap::full(rows(placed.number)))));
            continue;
        }
        let bits = selection.bits(device, segments, segment)?;
        let words = device.read(&[(&bits, u64::from(shape.planes * shape.plane_words))])?;
        // The last plane is that of all groups together.
        let union = &words[((shape.planes - 1) * shape.plane_words) as usize..];
        bitmaps.extend(parts.iter().map(|placed| {
            let words = &union[placed.point_base as usize / 32..][..2 * rows(placed.number).div_ceil(64)];
            let words = words.chunks_exact(2).map(|halves| u64::from(halves[1]) << 32 | u64::from(halves[0]));
            GroupedBitmaps::ungrouped(Bitmap::from_words(words.collect()))
        }));
    }
    Ok(bitmaps)
}
