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

/// Counts as the device laid them out, `[tile][group][row][column]`, some tiles a piece: cut into grids by the caller's
/// thread, because the device's has better things to do.
pub(super) struct Counted {
    pieces: Vec<Vec<u32>>,
    groups: usize,
}

pub(super) fn count(
    device: &mut Device,
    parts: &Parts,
    selection: &DeviceSelection,
    tiles: &[TileId],
    cancel: &Cancel,
) -> Result<Counted, EngineError> {
    let groups = selection.groups.len();
    let tile_bytes = u64::from(TILE_PIXELS) * 4 * groups as u64;
    let room = COUNTS_BYTES_MAX.min(device.binding_bytes_max()).min(device.budget_bytes() / COUNTS_BUDGET_SHARE);
    let tiles = tiles.chunks((room / tile_bytes).max(1) as usize);
    let pieces = tiles.map(|tiles| count_piece(device, parts, selection, tiles, cancel)).collect::<Result<_, _>>()?;
    Ok(Counted { pieces, groups })
}

fn count_piece(
    device: &mut Device,
    parts: &Parts,
    selection: &DeviceSelection,
    tiles: &[TileId],
    cancel: &Cancel,
) -> Result<Vec<u32>, EngineError> {
    let tile_words = selection.groups.len() * TILE_PIXELS as usize;
    let words = (tiles.len() * tile_words) as u64;
    let counts = device.room("counts", 4 * words)?;
    device.clear(&counts, 4 * words);
    for (number, part) in parts.dataset.parts.iter().enumerate() {
        cancel.check()?;
        let mut table = JobTable::new(number, ITEMS_PER_WORKGROUP);
        for (i, tile) in tiles.iter().enumerate() {
            let (first, last) = tile.keys();
            if parts.meets(number, first, last) {
                let slice = part.index().slice(first, last);
                table.add(part, slice, tile.zoom().pixel_level(), (i * tile_words) as u32);
            }
        }
        if table.workgroups() == 0 {
            continue;
        }
        let bits = selection.bits(device, parts, number)?;
        let buffers = table.buffers(device, parts, selection.shape(part))?;
        let bindings =
            [(0, &*buffers.work), (1, &*buffers.levels), (2, &*buffers.cells), (3, &*buffers.lo), (4, &*bits), (5, &*counts)];
        device.dispatch(|pipelines| &pipelines.count, &bindings, table.workgroups());
        device.pace(table.items())?;
    }
    device.read(&[(&counts, words)])
}

impl Counted {
    pub fn into_grids(self) -> Vec<CountGrid> {
        let (groups, tile_words) = (self.groups, self.groups * TILE_PIXELS as usize);
        let grid = |counts: Vec<u32>| CountGrid { categories: groups, size: TILE_SIDE as usize, counts };
        let cut = |piece: Vec<u32>| {
            let mut grids: Vec<CountGrid> = Vec::with_capacity(piece.len() / tile_words);
            // One tile, the usual question, is not copied.
            if piece.len() == tile_words {
                grids.push(grid(piece));
            } else {
                grids.extend(piece.chunks_exact(tile_words).map(|counts| grid(counts.to_vec())));
            }
            grids
        };
        self.pieces.into_iter().flat_map(cut).collect()
    }
}
