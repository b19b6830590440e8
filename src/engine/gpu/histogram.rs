//! Counts per bin and group: `shaders/histogram.wgsl`.
//!
//! One dispatch a segment and column; all segments are counted into one table before it is read back.

use super::device::Device;
use super::layout::HistogramHeader;
use super::layout::constants::{EDGES, LOCAL_SLOTS, OF_KEY, WORDS_PER_WORKGROUP};
use super::memory::Counted;
use super::segments::Segments;
use super::select::DeviceSelection;
use super::worker::Answer;
use crate::engine::{Bins, Cancel, EngineError, Histogram, HistogramRequest, region_words};
use crate::filter::Region;
use std::sync::Arc;

/// Points that are counted before the tables are read back, at most: their counts are u32.
const POINTS_COUNTED_MAX: u64 = u32::MAX as u64;

/// Columns with keys up to this have their bins looked up in a table of every key (128 KiB) instead of searched.
const TABLE_KEYS_MAX: u64 = u16::MAX as u64;

/// Copies of the slots in a workgroup's memory, at most: as many as invocations that NVIDIA's hardware runs in step.
const COPIES_MAX: u32 = 32;

pub(super) fn histograms(
    device: &mut Device,
    segments: &Segments,
    selection: &DeviceSelection,
    requests: &[HistogramRequest],
    area: Option<&Region>,
    cancel: &Cancel,
) -> Result<Answer<Vec<Histogram>>, EngineError> {
    if requests.is_empty() {
        return Ok(Answer::Now(Vec::new()));
    }
    let groups = selection.groups.len();
    let key_max = |request: &HistogramRequest| segments.dataset.column(request.column).key_max;
    let mut tables =
        requests.iter().map(|request| Table::new(device, request, key_max(request), groups)).collect::<Result<Vec<_>, _>>()?;
    let mut counted = 0;
    for segment in segments.segments.iter() {
        cancel.check()?;
        counted += segments.points(segment);
        if counted > POINTS_COUNTED_MAX {
            let words = device.read(&buffers(&tables))?;
            add(&mut tables, &words);
            tables.iter().for_each(|table| device.clear(&table.counts, 4 * table.words()));
            counted = segments.points(segment);
        }
        let words = area.map(|area| segments.bitmap(segment, |part| region_words(area, part)));
        if words.as_ref().is_some_and(|words| words.iter().all(|&word| word == 0)) {
            continue;
        }
        let bits = selection.bits(device, segments, segment)?;
        let block_points = segments.block_points(device, segment)?;
        let area = match &words {
            Some(words) => device.upload("area", &[bytemuck::cast_slice(words)])?,
            None => device.nothing(),
        };
        for (table, request) in tables.iter().zip(requests) {
            let header = HistogramHeader {
                selection: selection.shape(segment),
                words: segment.words,
                width: segments.dataset.column(request.column).width.bytes() as u32,
                has_area: u32::from(words.is_some()),
                ..table.header
            };
            let header = device.upload("histogram", &[bytemuck::bytes_of(&header)])?;
            let keys = segments.column(device, segment, request.column)?;
            let bindings = [
                (0, &*header), (1, &*keys), (2, &*block_points), (3, &*table.bins), (4, &*bits), (5, &*area), (6, &*table.counts),
            ];
            let workgroups = segment.words.div_ceil(WORDS_PER_WORKGROUP);
            device.dispatch(|pipelines| &pipelines.histogram, &bindings, workgroups);
            device.pace(segments.points(segment))?;
        }
    }
    let reading = device.begin_read(&buffers(&tables))?;
    Ok(Answer::later(reading, move |words| {
        add(&mut tables, &words);
        Ok(tables.into_iter().map(|table| table.histogram).collect())
    }))
}

/// The bins of one request, and its counts so far.
struct Table {
    header: HistogramHeader,
    bins: Arc<Counted>,
    counts: Arc<Counted>,
    histogram: Histogram,
}

impl Table {
    fn new(device: &mut Device, request: &HistogramRequest, key_max: u64, groups: usize) -> Result<Table, EngineError> {
        let bins_len = request.bins.len();
        let in_table = |bin_of_key: &[u16]| (OF_KEY, bin_of_key.len() as u32);
        let ((bins_kind, table_len), bins) = match &request.bins {
            Bins::OfKey { bin_of_key, .. } => {
                (in_table(bin_of_key), device.upload("bin of key", &[bytemuck::cast_slice(bin_of_key)])?)
            }
            Bins::Edges(edges) if key_max <= TABLE_KEYS_MAX && bins_len < usize::from(Bins::NONE) => {
                let bin_of_key = bin_of_key(edges, key_max);
                (in_table(&bin_of_key), device.upload("bin of key", &[bytemuck::cast_slice(&bin_of_key)])?)
            }
            Bins::Edges(edges) => ((EDGES, 0), device.upload("edges", &[bytemuck::cast_slice(edges)])?),
        };
        let slots = (groups * (bins_len + 2)) as u32;
        // The largest power of two that fits; 0 where not even one copy does.
        let copies = (LOCAL_SLOTS / slots).checked_ilog2().map_or(0, |log2| COPIES_MAX.min(1 << log2));
        Ok(Table {
            header: HistogramHeader { bins_kind, bins_len: bins_len as u32, table_len, copies, ..HistogramHeader::default() },
            bins,
            counts: device.buffer("counts", u64::from(slots) * 4)?,
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

/// The bin of every key up to `key_max`.
fn bin_of_key(edges: &[u64], key_max: u64) -> Vec<u16> {
    let mut bins = vec![Bins::NONE; key_max as usize + 1];
    for (bin, edges) in edges.windows(2).enumerate() {
        let [from, to] = [edges[0], edges[1]].map(|edge| edge.min(key_max + 1) as usize);
        bins[from..to].fill(bin as u16);
    }
    bins
}

/// What is to be read back: every table's counts.
fn buffers(tables: &[Table]) -> Vec<(&Counted, u64)> {
    tables.iter().map(|table| (&*table.counts, table.words())).collect()
}

/// Adds what was read back to every table.
fn add(tables: &mut [Table], words: &[u32]) {
    let mut rest = words;
    for table in tables {
        let (mine, others) = rest.split_at(table.words() as usize);
        table.add(mine);
        rest = others;
    }
}
