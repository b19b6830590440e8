//! Linked histograms: what a crossfilter asks of the points, in keys.
//!
//! Every histogram is under all brushes but that of its own column. With an *active* brush, whose range is about to change,
//! counts are kept apart by the active column's key, in fine slices, so that every later range is a sum of slices and no
//! point is read again (Moritz, Howe, Heer: Falcon, CHI 2019).

use super::{Groups, Histogram, HistogramRequest};
use crate::dataset::ColumnId;
use crate::filter::{Predicate, Region};
use std::sync::Arc;

/// One brush: the keys of a column that it lets through, as inclusive ranges.
#[derive(Clone, Debug, PartialEq)]
pub struct Brush {
    pub column: ColumnId,
    pub ranges: Vec<(u64, u64)>,
}

/// What is asked in one pass over the points.
#[derive(Clone, Debug)]
pub struct LinkedQuestion {
    /// What all points must pass.
    pub base: Predicate,
    pub brushes: Vec<Brush>,
    pub histograms: Vec<HistogramRequest>,
    pub groups: Arc<Groups>,
    /// Histograms count inside; everywhere where `None`.
    pub area: Option<Region>,
    pub active: Option<Active>,
}

impl LinkedQuestion {
    /// What passes all brushes but one.
    pub fn all_but(&self, brush: Option<usize>) -> Predicate {
        let others = self.brushes.iter().enumerate().filter(|(i, _)| Some(*i) != brush);
        let terms = others.map(|(_, brush)| Predicate::Keys { column: brush.column, ranges: brush.ranges.clone() });
        Predicate::And([self.base.clone()].into_iter().chain(terms).collect())
    }
}

/// The column whose brush is about to change (a brush of it in the question is left out), and the keys at which its slices
/// begin: ascending, the first 0, so that every key, null's too, is in one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Active {
    pub column: ColumnId,
    pub starts: Vec<u64>,
}

/// Answers to a question without an active brush.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LinkedCounts {
    /// In the order of the question's.
    pub histograms: Vec<Histogram>,
    /// Points under all brushes, inside the area.
    pub selected: u64,
    /// Points under all brushes, anywhere.
    pub selected_total: u64,
}

/// Answers to all questions that differ in the active brush.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LinkedCube {
    active: Active,
    /// Per histogram.
    slices: Vec<Slices>,
    selected: Vec<u64>,
    selected_total: Vec<u64>,
}

/// The counts of one histogram by slice, summed up over the slices: `sums[s]` is what lies before slice s.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Slices {
    bins: usize,
    groups: usize,
    /// Of the active column itself: its histogram does not depend on its brush.
    fixed: Option<Histogram>,
    /// `[slice + 1][group][bin, outside, nulls]`; of fewer than 2^32 points, so that u32 holds every sum.
    sums: Vec<u32>,
}

impl LinkedCube {
    /// `cells[h]` is `[slice][group][bin, outside, nulls]` of histogram h; of the active column's own, one slice.
    pub(crate) fn new(question: &LinkedQuestion, cells: Vec<Vec<u32>>, selected: Vec<u64>, selected_total: Vec<u64>) -> LinkedCube {
        let active = question.active.clone().expect("a cube is made for an active brush");
        let groups = question.groups.len();
        let slices = question
            .histograms
            .iter()
            .zip(cells)
            .map(|(request, cells)| {
                let bins = request.bins.len();
                if request.column == active.column {
                    let fixed = Some(Histogram::from_cells(&cells, groups, bins));
                    return Slices { bins, groups, fixed, sums: Vec::new() };
                }
                Slices { bins, groups, fixed: None, sums: summed(cells, groups * (bins + 2)) }
            })
            .collect();
        LinkedCube { active, slices, selected: running(selected), selected_total: running(selected_total) }
    }

    pub fn active(&self) -> &Active {
        &self.active
    }

    /// The counts under a brush of the active column; `None` where a range does not begin and end with slices.
    pub fn counts(&self, ranges: &[(u64, u64)]) -> Option<LinkedCounts> {
        let spans = ranges.iter().map(|&(from, to)| Some((self.slice_at(from)?, self.slice_after(to)?)));
        let spans: Vec<(usize, usize)> = spans.collect::<Option<_>>()?;
        let total = |sums: &[u64]| spans.iter().map(|&(from, to)| sums[to] - sums[from]).sum();
        Some(LinkedCounts {
            histograms: self.slices.iter().map(|slices| slices.counts(&spans)).collect(),
            selected: total(&self.selected),
            selected_total: total(&self.selected_total),
        })
    }

    fn slice_at(&self, key: u64) -> Option<usize> {
        self.active.starts.binary_search(&key).ok()
    }

    /// The slice that begins after `key`; keys past the last slice's start belong to it.
    fn slice_after(&self, key: u64) -> Option<usize> {
        match key.checked_add(1) {
            Some(next) if next <= *self.active.starts.last()? => self.slice_at(next),
            _ => Some(self.active.starts.len()),
        }
    }

    /// Memory held, for cache budgets.
    pub fn bytes(&self) -> usize {
        let cells: usize = self.slices.iter().map(|slices| slices.sums.len() * 4).sum();
        cells + (self.selected.len() + self.selected_total.len() + self.active.starts.len()) * 8
    }
}

impl Slices {
    fn counts(&self, spans: &[(usize, usize)]) -> Histogram {
        if let Some(fixed) = &self.fixed {
            return fixed.clone();
        }
        let stride = self.groups * (self.bins + 2);
        let mut cells = vec![0u32; stride];
        for &(from, to) in spans {
            let (before, through) = (&self.sums[from * stride..][..stride], &self.sums[to * stride..][..stride]);
            for ((cell, before), through) in cells.iter_mut().zip(before).zip(through) {
                *cell += through - before;
            }
        }
        Histogram::from_cells(&cells, self.groups, self.bins)
    }
}

impl Histogram {
    /// From `[group][bin, outside, nulls]`.
    pub(crate) fn from_cells(cells: &[u32], groups: usize, bins: usize) -> Histogram {
        let mut histogram = Histogram::zeros(groups, bins);
        for (group, cells) in cells.chunks_exact(bins + 2).enumerate() {
            for (count, cell) in histogram.counts[group * bins..].iter_mut().zip(&cells[..bins]) {
                *count = u64::from(*cell);
            }
            histogram.outside[group] = u64::from(cells[bins]);
            histogram.nulls[group] = u64::from(cells[bins + 1]);
        }
        histogram
    }
}

fn summed(cells: Vec<u32>, stride: usize) -> Vec<u32> {
    let mut sums = vec![0; stride];
    sums.extend(cells);
    for at in stride..sums.len() {
        sums[at] += sums[at - stride];
    }
    sums
}

fn running(counts: Vec<u64>) -> Vec<u64> {
    let mut before = 0;
    let mut sums = vec![0];
    sums.extend(counts.into_iter().map(|count| {
        before += count;
        before
    }));
    sums
}
