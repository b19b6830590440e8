//! Brushes that are dragged: a cube of counts by their column's keys answers every position of the brush.
//!
//! When a question differs from one seen before in one brush only, that brush is being dragged: its cube is built, in one pass, and
//! every later position is answered from it, exactly, without a point being read. Brushes whose ends lie on sixteenths of the
//! bins shown (or on any value, where values are few) are answered so; others by a pass. Whoever knows that a brush is about to be
//! dragged says so (`active`), and the cube is there before the first step, as Falcon's is (Moritz, Howe, Heer, CHI 2019).

use super::cubes::Kept;
use super::{BRUSH_STEPS, Crossfilter, CrossfilterQuestion};
use crate::dataset::ColumnId;
use crate::engine::{Active, Brush, Cancel, EngineError, LinkedCounts};
use crate::histogram::{ColumnPlan, ColumnQuestion};
use std::sync::Arc;

/// Slices of a cube.
const SLICES_MAX: usize = 4096;
/// Cells of a cube, over all its histograms: 64 MiB.
const CUBE_CELLS_MAX: usize = 1 << 24;

impl Crossfilter {
    /// The answer from a cube: one that is there, or one that is built because a brush is being dragged.
    pub(super) fn answered_by_cubes(
        &self,
        question: &CrossfilterQuestion,
        contexts: &[(ColumnId, String)],
        cancel: &Cancel,
    ) -> Result<Option<(Vec<ColumnPlan>, LinkedCounts)>, EngineError> {
        // One that was built for another position of the brush may not have slices for this one's ends.
        let answered = |kept: &Kept, brush: &Brush| Some((kept.plans.clone(), kept.cube.counts(&brush.ranges)?));
        // Which values it shows were chosen under a brush; without one others may be more frequent.
        let is_ranked = question.plans.iter().any(|plan| plan.wants_ranking(&self.dataset));
        for (column, context) in contexts {
            if is_ranked && question.brush(*column).is_none() {
                continue;
            }
            if let Some(kept) = self.cubes.get(context)
                && let Some(answer) = answered(&kept, &question.brush_or_all(*column))
            {
                return Ok(Some(answer));
            }
        }
        for (column, context) in contexts {
            let may_be_dragged = match question.active {
                Some(active) => active == *column,
                None => question.brush(*column).is_some(),
            };
            let is_dragged = may_be_dragged && (self.cubes.has_seen(context) || self.cubes.is_building(context));
            if !is_dragged {
                continue;
            }
            let brush = question.brush_or_all(*column);
            if let Some(kept) = self.cube(question, &brush, context, cancel)?
                && let Some(answer) = answered(&kept, &brush)
            {
                return Ok(Some(answer));
            }
        }
        Ok(None)
    }

    /// Builds the cube for the brush that a question says is about to be dragged, where there is none yet. A step of the drag that
    /// comes meanwhile waits for it.
    ///
    /// # Errors
    /// As the engine.
    pub fn prepare(&self, question: &CrossfilterQuestion) -> Result<(), EngineError> {
        if let Some(column) = question.active {
            let mut contexts = question.contexts().into_iter();
            let (_, context) = contexts.find(|(of, _)| *of == column).expect("the active column has a context");
            self.cube(question, &question.brush_or_all(column), &context, &Cancel::never())?;
        }
        Ok(())
    }

    /// The cube of a brush; `None` where it would have too many slices. It is built to the end, whoever no longer wants it: what
    /// makes a question moot is most likely the next step of the same drag.
    fn cube(&self, question: &CrossfilterQuestion, brush: &Brush, context: &str, cancel: &Cancel) -> Result<Option<Arc<Kept>>, EngineError> {
        if let Some(kept) = self.cubes.get(context) {
            return Ok(Some(kept));
        }
        let Some(active) = self.active(question, brush) else { return Ok(None) };
        let kept = self.cubes.get_or_build(context, cancel, || {
            let plans = self.ranked(question, &Cancel::never())?;
            let linked = question.linked(&plans, &self.dataset, Some(active));
            Ok(Kept { cube: self.host.linked_cube(&linked, &Cancel::never())?, plans })
        });
        kept.map(Some)
    }

    /// The slices of a cube for a brush; `None` where there would be too many.
    fn active(&self, question: &CrossfilterQuestion, brush: &Brush) -> Option<Active> {
        if self.dataset.rows() > u64::from(u32::MAX) {
            return None;
        }
        let key_max = self.dataset.column(brush.column).key_max;
        let plan = question.plans.iter().find(|plan| plan.column == brush.column).cloned().or_else(|| {
            let name = self.dataset.column(brush.column).name.clone();
            ColumnPlan::new(&ColumnQuestion::Name(name), &self.dataset).ok()
        })?;
        let cells_per_slice: usize = question
            .plans
            .iter()
            .map(|plan| question.groups.len() * (plan.request(&self.dataset).bins.len() + 2))
            .sum();
        let slices_max = SLICES_MAX.min(CUBE_CELLS_MAX / cells_per_slice.max(1));
        // As fine as there is room for: every key, or parts of the bins shown.
        if key_max < slices_max as u64 {
            return Some(Active { column: brush.column, starts: (0..=key_max).collect() });
        }
        let ends = brush.ranges.iter().flat_map(|&(from, to)| [from, to.saturating_add(1)]).filter(|&key| key <= key_max);
        for steps in [BRUSH_STEPS, 4, 1] {
            let mut starts: Vec<u64> = plan.brush_keys(&self.dataset, steps).into_iter().chain(ends.clone()).chain([0, 1]).collect();
            starts.retain(|&key| key <= key_max);
            starts.sort_unstable();
            starts.dedup();
            if starts.len() <= slices_max {
                return Some(Active { column: brush.column, starts });
            }
        }
        None
    }
}
