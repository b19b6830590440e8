//! Counts per bin and group: `shaders/histogram.wgsl`.
//!
//! One dispatch a part and column; parts that fit are counted into one table before it is read back.

use super::device::{Device, workgroups};
use super::layout::HistogramHeader;
use super::layout::constants::{EDGES, OF_KEY, WORDS_PER_INVOCATION};
use super::memory::Counted;
use super::parts::Parts;
use super::select::DeviceSelection;
use crate::engine::{Bins, Cancel, EngineError, Histogram, HistogramRequest, region_words};
use crate::filter::Region;
use std::sync::Arc;

/// Points that are counted before the tables are read back, at most: their counts are u32.
const POINTS_COUNTED_MAX: u64 = u32::MAX as u64;

pub(super) fn histograms(
    device: &mut Device,
    parts: &Parts,
    selection: &DeviceSelection,
    requests: &[HistogramRequest],
    area: Option<&Region>,
    cancel: &Cancel,
) -> Result<Vec<Histogram>, EngineError> {
    let groups = selection.groups.len();
    let mut tables = requests.iter().map(|request| Table::new(device, request, groups)).collect::<Result<Vec<_>, _>>()?;
    let mut counted = 0;
    for (number, part) in parts.dataset.parts.iter().enumerate() {
        cancel.check()?;
        counted += u64::from(part.rows());
        if counted > POINTS_COUNTED_MAX {
            read(device, &mut tables)?;
            counted = u64::from(part.rows());
        }
        let words = area.map(|area| region_words(area, part));
        if words.as_ref().is_some_and(|words| words.iter().all(|&word| word == 0)) {
            continue;
        }
        let bits = selection.bits(device, parts, number)?;
        let nothing = device.nothing();
        let area = match &words {
            Some(words) => device.upload("area", &[bytemuck::cast_slice(words)])?,
            None => nothing,
        };
        for (table, request) in tables.iter().zip(requests) {
            let header = HistogramHeader {
                selection: selection.shape(part),
                width: parts.dataset.column(request.column).width.bytes() as u32,
                has_area: u32::from(words.is_some()),
                ..table.header
            };
            let header = device.upload("histogram", &[bytemuck::bytes_of(&header)])?;
            let keys = parts.column(device, number, request.column)?;
            let bindings =
                [(0, &*header), (1, &*keys), (2, &*table.bins), (3, &*bits), (4, &*area), (5, &*table.counts)];
            let groups = workgroups(part.rows().div_ceil(32)).div_ceil(WORDS_PER_INVOCATION);
            device.dispatch(|pipelines| &pipelines.histogram, &bindings, groups);
            device.pace(u64::from(part.rows()))?;
        }
    }
    read(device, &mut tables)?;
    Ok(tables.into_iter().map(|table| table.histogram).collect())
}

/// The bins of one request, and its counts so far.
struct Table {
    header: HistogramHeader,
    bins: Arc<Counted>,
    counts: Arc<Counted>,
    histogram: Histogram,
}

impl Table {
    fn new(device: &mut Device, request: &HistogramRequest, groups: usize) -> Result<Table, EngineError> {
        let bins_len = request.bins.len();
        let (bins_kind, table_len, bins) = match &request.bins {
            Bins::Edges(edges) => (EDGES, 0, device.upload("edges", &[bytemuck::cast_slice(edges)])?),
            Bins::OfKey { bin_of_key, .. } => {
                (OF_KEY, bin_of_key.len() as u32, device.upload("bin of key", &[bytemuck::cast_slice(bin_of_key)])?)
            }
        };
        Ok(Table {
            header: HistogramHeader { bins_kind, bins_len: bins_len as u32, table_len, ..HistogramHeader::default() },
            bins,
            counts: device.buffer("counts", (groups * (bins_len + 2) * 4) as u64)?,
            histogram: Histogram::zeros(groups, bins_len),
        })
    }

    fn words(&self) -> u64 {
        (self.histogram.counts.len() + self.histogram.nulls.len() + self.histogram.outside.len()) as u64
    }

    /// Adds counts as the shader lays them out: `[group][bins, nulls, outside]`.
    fn add(&mut self, counts: &[u32]) {
        let bins = self.histogram.bins;
        for (group, slots) in counts.chunks_exact(bins + 2).enumerate() {
            let mine = &mut self.histogram.counts[group * bins..][..bins];
            mine.iter_mut().zip(slots).for_each(|(sum, &points)| *sum += u64::from(points));
            self.histogram.nulls[group] += u64::from(slots[bins]);
            self.histogram.outside[group] += u64::from(slots[bins + 1]);
        }
    }
}

/// Adds up what the device has counted, and has it begin anew.
fn read(device: &mut Device, tables: &mut [Table]) -> Result<(), EngineError> {
    if tables.is_empty() {
        return Ok(());
    }
    let buffers: Vec<(&Counted, u64)> = tables.iter().map(|table| (&*table.counts, table.words())).collect();
    let words = device.read(&buffers)?;
    let mut rest = &words[..];
    for table in tables {
        let (mine, others) = rest.split_at(table.words() as usize);
        table.add(mine);
        rest = others;
        device.clear(&table.counts, 4 * table.words());
    }
    Ok(())
}
