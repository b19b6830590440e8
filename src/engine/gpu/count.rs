//! Counts per pixel and group, for a batch of tiles: `shaders/count.wgsl`.
//!
//! One dispatch a segment, for all tiles and all parts of it at once; segments that no tile touches are not dispatched.
//! Their counts add. A dataset of up to some 200 million points is one segment on hardware, so a batch is one dispatch.

use super::device::{Device, Reading};
use super::jobs::JobTable;
use super::layout::constants::TILE_PIXELS;
use super::segments::Segments;
use super::select::DeviceSelection;
use super::worker::Answer;
use crate::engine::{Cancel, CountGrid, EngineError};
use crate::world::{TILE_PIXELS as TILE_SIDE, TileId};

/// Pixels that a workgroup counts: one each invocation.
const ITEMS_PER_WORKGROUP: u32 = 256;

/// Counts on the device at a time, at most: what every Vulkan device can bind at once.
const COUNTS_BYTES_MAX: u64 = 128 << 20;

/// The share of the memory budget that counts may take, so that parts fit beside them and their copy on the way back.
const COUNTS_BUDGET_SHARE: u64 = 8;

pub(super) fn count(
    device: &mut Device,
    segments: &Segments,
    selection: &DeviceSelection,
    tiles: &[TileId],
    cancel: &Cancel,
) -> Result<Answer<Vec<CountGrid>>, EngineError> {
    let groups = selection.groups.len();
    let tile_bytes = u64::from(TILE_PIXELS) * 4 * groups as u64;
    let room = COUNTS_BYTES_MAX.min(device.binding_bytes_max()).min(device.budget_bytes() / COUNTS_BUDGET_SHARE);
    let mut grids = Vec::with_capacity(tiles.len());
    let mut before: Option<Reading> = None;
    for tiles in tiles.chunks((room / tile_bytes).max(1) as usize) {
        let reading = begin_piece(device, segments, selection, tiles, cancel)?;
        // A piece comes back while the device counts the next.
        if let Some(before) = before.replace(reading) {
            grids.extend(cut(device.end_read(before)?, groups));
        }
    }
    let Some(last) = before else { return Ok(Answer::Now(grids)) };
    Ok(Answer::later(last, move |counts| {
        grids.extend(cut(counts, groups));
        Ok(grids)
    }))
}

fn begin_piece(
    device: &mut Device,
    segments: &Segments,
    selection: &DeviceSelection,
    tiles: &[TileId],
    cancel: &Cancel,
) -> Result<Reading, EngineError> {
    let tile_words = selection.groups.len() * TILE_PIXELS as usize;
    let words = (tiles.len() * tile_words) as u64;
    let counts = device.room("counts", 4 * words)?;
    device.clear(&counts, 4 * words);
    for segment in segments.segments.iter() {
        cancel.check()?;
        let mut table = JobTable::new(ITEMS_PER_WORKGROUP);
        for (i, tile) in tiles.iter().enumerate() {
            let (first, last) = tile.keys();
            for placed in segment.parts.iter().filter(|placed| placed.meets(first, last)) {
                let slice = segments.part(placed).index().slice(first, last);
                table.add(segments, placed, slice, tile.zoom().pixel_level(), (i * tile_words) as u32);
            }
        }
        if table.workgroups() == 0 {
            continue;
        }
        let bits = selection.bits(device, segments, segment)?;
        let buffers = table.buffers(device, segments, segment, selection.shape(segment))?;
        let bindings =
            [(0, &*buffers.work), (1, &*buffers.levels), (2, &*buffers.cells), (3, &*buffers.lo), (4, &*bits), (5, &*counts)];
        device.dispatch(|pipelines| &pipelines.count, &bindings, table.workgroups());
        device.pace(table.items())?;
    }
    device.begin_read(&[(&counts, words)])
}

/// Counts as the device laid them out, `[tile][group][row][column]`, as grids.
fn cut(counts: Vec<u32>, groups: usize) -> Vec<CountGrid> {
    let tile_words = groups * TILE_PIXELS as usize;
    let grid = |counts: Vec<u32>| CountGrid { categories: groups, size: TILE_SIDE as usize, counts };
    // One tile, the usual question, is not copied.
    if counts.len() == tile_words {
        return vec![grid(counts)];
    }
    counts.chunks_exact(tile_words).map(|counts| grid(counts.to_vec())).collect()
}
