//! Counts per pixel and group, for a batch of tiles: `shaders/count.wgsl`.
//!
//! One dispatch a part, for all tiles at once; parts that no tile touches are not dispatched. Their counts add.

use super::device::Device;
use super::jobs::JobTable;
use super::layout::constants::TILE_PIXELS;
use super::parts::Parts;
use super::select::DeviceSelection;
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
    parts: &Parts,
    selection: &DeviceSelection,
    tiles: &[TileId],
    cancel: &Cancel,
) -> Result<Vec<CountGrid>, EngineError> {
    let tile_bytes = u64::from(TILE_PIXELS) * 4 * selection.groups.len() as u64;
    let room = COUNTS_BYTES_MAX.min(device.binding_bytes_max()).min(device.budget_bytes() / COUNTS_BUDGET_SHARE);
    let mut grids = Vec::with_capacity(tiles.len());
    for tiles in tiles.chunks((room / tile_bytes).max(1) as usize) {
        grids.extend(count_batch(device, parts, selection, tiles, cancel)?);
    }
    Ok(grids)
}

fn count_batch(
    device: &mut Device,
    parts: &Parts,
    selection: &DeviceSelection,
    tiles: &[TileId],
    cancel: &Cancel,
) -> Result<Vec<CountGrid>, EngineError> {
    let groups = selection.groups.len();
    let words = groups * TILE_PIXELS as usize;
    let bytes = (tiles.len() * words * 4) as u64;
    let counts = device.room("counts", bytes)?;
    device.clear(&counts, bytes);
    for (number, part) in parts.dataset.parts.iter().enumerate() {
        cancel.check()?;
        let mut table = JobTable::new(number, ITEMS_PER_WORKGROUP);
        for (i, tile) in tiles.iter().enumerate() {
            let (first, last) = tile.keys();
            if !parts.meets(number, first, last) {
                continue;
            }
            table.add(part, part.index().slice(first, last), tile.zoom().pixel_level(), (i * words) as u32);
        }
        if table.workgroups() == 0 {
            continue;
        }
        let bits = selection.bits(device, parts, number)?;
        let buffers = table.buffers(device, parts, selection.shape(part))?;
        let bindings =
            [(0, &*buffers.work), (1, &*buffers.levels), (2, &*buffers.cells), (3, &*buffers.lo), (4, &*bits), (5, &*counts)];
        device.dispatch(|pipelines| &pipelines.count, &bindings, table.workgroups());
    }
    let read = device.read(&[(&counts, bytes)])?;
    let grid = |bytes: &[u8]| CountGrid { categories: groups, size: TILE_SIDE as usize, counts: words_of(bytes) };
    Ok(read.chunks_exact(words * 4).map(grid).collect())
}

/// Little-endian words.
pub(super) fn words_of(bytes: &[u8]) -> Vec<u32> {
    bytemuck::pod_collect_to_vec(bytes)
}
