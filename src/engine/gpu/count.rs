//! Counts per pixel and group, for a batch of tiles: `shaders/count.wgsl`.
//!
//! One dispatch a segment, for all tiles and all parts of it at once; segments that no tile touches are not dispatched.
//! Their counts add. A dataset of up to some 200 million points is one segment on hardware, so a batch is one dispatch.

use super::device::{Device, Reading};
use super::jobs::{JobTable, in_pieces};
use super::layout::constants::TILE_PIXELS;
use super::segments::Segments;
use super::select::DeviceSelection;
use super::worker::Answer;
use crate::engine::{Cancel, CountGrid, EngineError};
use crate::world::{TILE_PIXELS as TILE_SIDE, TileId};

/// Pixels that a workgroup counts: one each invocation.
const ITEMS_PER_WORKGROUP: u32 = 256;

pub(super) fn count(
    device: &mut Device,
    segments: &Segments,
    selection: &DeviceSelection,
    tiles: &[TileId],
    cancel: &Cancel,
) -> Result<Answer<Vec<CountGrid>>, EngineError> {
    let groups = selection.groups.len();
    let tile_words = groups * TILE_PIXELS as usize;
    let begin = |device: &mut Device, tiles: &[TileId]| begin(device, segments, selection, tiles, tile_words, cancel);
    in_pieces(device, tiles, tile_words, begin, move |counts| cut(counts, groups))
}

fn begin(
    device: &mut Device,
    segments: &Segments,
    selection: &DeviceSelection,
    tiles: &[TileId],
    tile_words: usize,
    cancel: &Cancel,
) -> Result<Reading, EngineError> {
    let words = (tiles.len() * tile_words) as u64;
    let counts = device.room("counts", 4 * words)?;
    device.clear(&counts, 4 * words);
    for segment in segments.segments.iter() {
        cancel.check()?;
        let mut table = JobTable::new(ITEMS_PER_WORKGROUP);
        table.add_tiles(segments, segment, tiles, tile_words, JobTable::add);
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
