//! Aggregates of a selection that lies on the device: its bits are read back, and the values added up on the host.
//!
//! The numbers are the CPU engine's own, so both engines agree; what a kernel of the device's would save is the reading of
//! the columns, not of the bits, which are 1/8 byte a point.

use super::device::Device;
use super::parts::Parts;
use super::select::DeviceSelection;
use crate::engine::bitmap::{Bitmap, GroupedBitmaps};
use crate::engine::{Cancel, EngineError};

/// The union of the groups of the parts `wanted`, by part.
pub(super) fn bitmaps(
    device: &mut Device,
    parts: &Parts,
    selection: &DeviceSelection,
    wanted: &[usize],
    cancel: &Cancel,
) -> Result<Vec<GroupedBitmaps>, EngineError> {
    wanted
        .iter()
        .map(|&number| {
            cancel.check()?;
            let part = &parts.dataset.parts[number];
            let shape = selection.shape(part);
            if shape.everything != 0 {
                return Ok(GroupedBitmaps::ungrouped(Bitmap::full(part.rows() as usize)));
            }
            let bits = selection.bits(device, parts, number)?;
            let words = device.read(&[(&bits, u64::from(shape.planes * shape.plane_words))])?;
            // The last plane is that of all groups together.
            let union = &words[((shape.planes - 1) * shape.plane_words) as usize..];
            let words = union.chunks_exact(2).map(|halves| u64::from(halves[1]) << 32 | u64::from(halves[0]));
            Ok(GroupedBitmaps::ungrouped(Bitmap::from_words(words.collect())))
        })
        .collect()
}
