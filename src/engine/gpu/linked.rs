//! Linked histograms: a selection for all brushes but one, for every brush that a histogram does not want, and the histograms
//! under each. The CPU's twin (`src/engine/cpu/linked.rs`) reads every point once and needs no bitmaps; here a selection is a
//! scan at the speed of the device's memory, so what the kernels for selecting and counting do is enough.

use super::GpuEngine;
use crate::engine::{Cancel, Engine, EngineError, Groups, Histogram, LinkedCounts, LinkedQuestion, Selection};
use crate::filter::{Filter, Predicate};
use std::sync::Arc;

pub(super) fn counts(engine: &GpuEngine, question: &LinkedQuestion, cancel: &Cancel) -> Result<LinkedCounts, EngineError> {
    let select = |predicate: Predicate, groups: &Arc<Groups>| -> Result<Arc<Selection>, EngineError> {
        engine.select(&Arc::new(Filter::new(predicate, "linked".to_owned())), groups, cancel)
    };
    // The brush of each histogram's own column.
    let own: Vec<Option<usize>> = question
        .histograms
        .iter()
        .map(|request| question.brushes.iter().position(|brush| brush.column == request.column))
        .collect();
    let under_all = select(question.all_but(None), &question.groups)?;
    let selected_total = under_all.total();
    let selected = match &question.area {
        None => selected_total,
        Some(area) => {
            let inside = Predicate::And(vec![question.all_but(None), Predicate::Inside(area.clone())]);
            select(inside, &Arc::new(Groups::none(&engine.segments.dataset)))?.total()
        }
    };
    let mut histograms: Vec<Option<Histogram>> = vec![None; own.len()];
    let mut brushes: Vec<Option<usize>> = own.clone();
    brushes.sort_unstable();
    brushes.dedup();
    for brush in brushes {
        let places: Vec<usize> = (0..own.len()).filter(|&place| own[place] == brush).collect();
        let requests: Vec<_> = places.iter().map(|&place| question.histograms[place].clone()).collect();
        let selection = match brush {
            None => under_all.clone(),
            Some(_) => select(question.all_but(brush), &question.groups)?,
        };
        let counted = engine.histograms(&selection, &requests, question.area.as_ref(), cancel)?;
        for (place, histogram) in places.into_iter().zip(counted) {
            histograms[place] = Some(histogram);
        }
    }
    let histograms = histograms.into_iter().map(|histogram| histogram.expect("every place has a brush or none")).collect();
    Ok(LinkedCounts { histograms, selected, selected_total })
}
