//! The pass behind a crossfilter: all linked histograms at once, each under all brushes but its own.
//!
//! Per block of points every brush is evaluated once, into words of bits; each histogram's points are the intersection of
//! the others' words. Reads the columns and no bitmaps, so nothing of it grows with the number of brushes tried.

use super::binner::Binner;
use super::histogram::in_blocks;
use super::select::{BLOCK_WORDS, Plan};
use super::tally::{Tally, block_words};
use crate::dataset::{BLOCK_POINTS, Dataset, Part};
use crate::engine::{Cancel, EngineError, Histogram, LinkedCounts, LinkedCube, LinkedQuestion, region};
use crate::filter::Predicate;
use pulp::Arch;

/// What a pass over the points leaves: cells per histogram, and selected points per slice, inside the area and anywhere.
/// Without an active brush there is one slice.
struct Pass {
    cells: Vec<Vec<u32>>,
    selected: Vec<u64>,
    selected_total: Vec<u64>,
}

pub(super) fn counts(arch: Arch, dataset: &Dataset, question: &LinkedQuestion, cancel: &Cancel) -> Result<LinkedCounts, EngineError> {
    let pass = pass(arch, dataset, question, cancel)?;
    let groups = question.groups.len();
    let histograms = question.histograms.iter().zip(&pass.cells);
    Ok(LinkedCounts {
        histograms: histograms.map(|(request, cells)| Histogram::from_cells(cells, groups, request.bins.len())).collect(),
        selected: pass.selected[0],
        selected_total: pass.selected_total[0],
    })
}

pub(super) fn cube(arch: Arch, dataset: &Dataset, question: &LinkedQuestion, cancel: &Cancel) -> Result<LinkedCube, EngineError> {
    let pass = pass(arch, dataset, question, cancel)?;
    Ok(LinkedCube::new(question, pass.cells, pass.selected, pass.selected_total))
}

/// How the pass treats one histogram.
struct Target {
    binner: Binner,
    /// The brush of its own column.
    own: Option<usize>,
    /// Cells of one slice.
    stride: usize,
    bins: usize,
    /// Whether its cells are kept apart by slice.
    sliced: bool,
}

fn pass(arch: Arch, dataset: &Dataset, question: &LinkedQuestion, cancel: &Cancel) -> Result<Pass, EngineError> {
    let active = question.active.as_ref();
    let brushes: Vec<_> = question.brushes.iter().filter(|b| active.is_none_or(|a| a.column != b.column)).collect();
    let key_max = |column| dataset.column(column).key_max;
    let targets: Vec<Target> = question
        .histograms
        .iter()
        .map(|request| Target {
            binner: Binner::of_bins(&request.bins, key_max(request.column)),
            own: brushes.iter().position(|brush| brush.column == request.column),
            stride: question.groups.len() * (request.bins.len() + 2),
            bins: request.bins.len(),
            sliced: active.is_some_and(|active| active.column != request.column),
        })
        .collect();
    let by = question.groups.column().map(|column| (column, Binner::of_groups(&question.groups)));
    let slicer = active.map(|active| (active.column, Binner::of_starts(&active.starts, key_max(active.column))));
    let slices = active.map_or(1, |active| active.starts.len());
    // A histogram under all brushes, slice by slice, counts the selected points as it goes.
    let counting = targets.iter().position(|target| target.sliced && target.own.is_none());
    // Cells of the histograms, then selected points, then selected points anywhere.
    let lengths: Vec<usize> = targets.iter().map(|target| target.stride * if target.sliced { slices } else { 1 }).collect();
    let zeros = || Tally::zeros(lengths.iter().copied().chain([slices, slices]));
    let mut sums = Pass {
        cells: lengths.iter().map(|&cells| vec![0; cells]).collect(),
        selected: vec![0; slices],
        selected_total: vec![0; slices],
    };
    for part in &dataset.parts {
        let base = Plan::of(&question.base, part);
        let plans: Vec<Plan> = brushes
            .iter()
            .map(|brush| Plan::of(&Predicate::Keys { column: brush.column, ranges: brush.ranges.clone() }, part))
            .collect();
        let inside = question.area.as_ref().map(|area| region::region_words(area, part));
        let counted = in_blocks(part, cancel, zeros, |tally, block| {
            let words = block_words(part, block);
            let mut passing = Passing::of(arch, part, block, &base, &plans, words);
            let Tally { cells, group, slice, offsets } = tally;
            let (cells, totals) = cells.split_at_mut(targets.len());
            let [selected, selected_total] = totals else { unreachable!("zeros ends with these two") };
            if let Some((column, slicer)) = &slicer {
                slicer.places(arch, part.column(*column), block, &passing.union[..words], slice);
            }
            if let Some(inside) = &inside {
                selected_total.count(arch, &passing.all[..words], slicer.as_ref().map(|_| &*slice));
                passing.restrict(&inside[block * BLOCK_WORDS..][..words]);
            }
            let Passing { all, union, .. } = &passing;
            if union.iter().all(|&word| word == 0) {
                return;
            }
            if counting.is_none() {
                selected.count(arch, &all[..words], slicer.as_ref().map(|_| &*slice));
            }
            if let Some((column, groups)) = &by {
                groups.places(arch, part.column(*column), block, &union[..words], group);
            }
            for ((cells, target), request) in cells.iter_mut().zip(&targets).zip(&question.histograms) {
                let mask = vectorized!(arch, passing.all_but(target.own));
                let (bins, stride) = (target.bins as u32 + 2, if target.sliced { target.stride as u32 } else { 0 });
                let is_apart = by.is_some() || target.sliced;
                if is_apart {
                    let places = group.iter().zip(slice.iter());
                    let offsets = offsets.iter_mut().zip(places);
                    vectorized!(arch, offsets.for_each(|(at, (group, slice))| *at = slice * stride + group * bins));
                }
                let keys = part.column(request.column);
                cells.add(arch, &mask[..words], is_apart.then_some(&*offsets), &target.binner, keys, block);
            }
        })?;
        for (sum, cells) in sums.cells.iter_mut().zip(&counted) {
            sum.iter_mut().zip(cells).for_each(|(sum, cell)| *sum += cell);
        }
        let [selected, selected_total] = &counted[targets.len()..] else { unreachable!("zeros ends with these two") };
        sums.selected.iter_mut().zip(selected).for_each(|(sum, n)| *sum += u64::from(*n));
        sums.selected_total.iter_mut().zip(selected_total).for_each(|(sum, n)| *sum += u64::from(*n));
    }
    if let Some(target) = counting {
        let slices = sums.cells[target].chunks_exact(targets[target].stride);
        sums.selected = slices.map(|cells| cells.iter().map(|&cell| u64::from(cell)).sum()).collect();
    }
    if question.area.is_none() {
        sums.selected_total.clone_from(&sums.selected);
    }
    Ok(sums)
}

type Words = [u64; BLOCK_WORDS];

/// Which points of a block pass what.
struct Passing {
    brushes: Vec<Words>,
    /// All brushes.
    all: Words,
    /// All brushes but one at most: the points that some histogram counts.
    union: Words,
}

impl Passing {
    fn of(arch: Arch, part: &Part, block: usize, base: &Plan, brushes: &[Plan], words: usize) -> Passing {
        let evaluated = |plan: &Plan| {
            let mut bits = [0u64; BLOCK_WORDS];
            plan.evaluate(arch, part, block, &mut bits[..words]);
            bits
        };
        let mut base = evaluated(base);
        // Bits past the part's last point are no points.
        let rest = part.rows() as usize - block * BLOCK_POINTS;
        if rest < BLOCK_POINTS && !rest.is_multiple_of(64) {
            base[rest / 64] &= (1 << (rest % 64)) - 1;
        }
        let brushes: Vec<Words> = brushes.iter().map(evaluated).collect();
        let (all, union) = vectorized!(arch, all_and_union(base, &brushes));
        Passing { brushes, all, union }
    }

    fn restrict(&mut self, inside: &[u64]) {
        self.all.iter_mut().zip(inside).for_each(|(word, inside)| *word &= inside);
        self.union.iter_mut().zip(inside).for_each(|(word, inside)| *word &= inside);
    }

    /// Points that pass all brushes but one: those of the union that fail it fail no other.
    #[inline(always)]
    fn all_but(&self, own: Option<usize>) -> Words {
        let Some(own) = own else { return self.all };
        let failing = self.union.iter().zip(&self.brushes[own]);
        let mut words = self.all;
        words.iter_mut().zip(failing).for_each(|(word, (union, passing))| *word |= union & !passing);
        words
    }
}

/// Points that pass all brushes, and those that fail at most one. A point that has failed none so far may fail the next.
#[inline(always)]
fn all_and_union(base: Words, brushes: &[Words]) -> (Words, Words) {
    let (mut all, mut union) = (base, base);
    for brush in brushes {
        for ((all, union), passing) in all.iter_mut().zip(&mut union).zip(brush) {
            *union = *union & passing | *all;
            *all &= passing;
        }
    }
    (all, union)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn who_passes_all_brushes_but_one_is_found_bit_by_bit(
            base: u64, brushes in proptest::collection::vec(prop_oneof![any::<u64>(), Just(u64::MAX), Just(0)], 0..5),
        ) {
            let words = |word: u64| { let mut words = [0; BLOCK_WORDS]; words[3] = word; words };
            let of_block: Vec<Words> = brushes.iter().map(|&brush| words(brush)).collect();
            let (all, union) = all_and_union(words(base), &of_block);
            let but = |own: Option<usize>| {
                brushes.iter().enumerate().filter(|(i, _)| Some(*i) != own).fold(base, |word, (_, brush)| word & brush)
            };
            prop_assert_eq!(all[3], but(None));
            prop_assert_eq!(union[3], (0..brushes.len()).fold(but(None), |word, own| word | but(Some(own))));
            let passing = Passing { brushes: of_block, all, union };
            for own in (0..brushes.len()).map(Some).chain([None]) {
                prop_assert_eq!(passing.all_but(own)[3], but(own));
            }
        }
    }
}
