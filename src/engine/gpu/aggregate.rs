//! Aggregates of a selection that lies on the device: its bits are read back, and the values added up on the host.
//!
//! The numbers are the CPU engine's own, so both engines agree; what a kernel of the device's would save is the reading of
//! the columns, not of the bits, which are 1/8 byte a point.

use super::device::Device;
use super::segments::Segments;
use super::select::DeviceSelection;
use crate::engine::bitmap::{Bitmap, GroupedBitmaps};
use crate::engine::{Cancel, EngineError};

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
