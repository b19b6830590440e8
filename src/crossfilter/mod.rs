//! Crossfilter: brushes over several columns, and every column's histogram under all brushes but its own.
//!
//! The first answer reads the points once for all histograms; the steps of a drag are answered without reading any (`drag.rs`).
//!
//! Counts are the engine's, whichever it is. Cubes and means are made on the host: a cube is an array of some millions of
//! cells that the host goes on to sum up, and a mean of floats wants an order and f64, which shaders do not have. Knows
//! nothing of HTTP.

mod brush;
mod cubes;
mod drag;
#[cfg(test)]
mod tests;

use crate::dataset::{ColumnId, Dataset};
use crate::engine::cpu::CpuEngine;
use crate::engine::{Active, Brush, Cancel, Engine, EngineError, Groups, HistogramRequest, LinkedCounts, LinkedQuestion};
use crate::filter::{Expr, Filter, FilterError, Predicate, Region, parse};
use crate::histogram::{ColumnPlan, ColumnQuestion, HistogramAnswer, HistogramError, Summary, summaries};
use crate::world::{LonLatBox, WorldBox};
use cubes::Cubes;
use serde::{Deserialize, Serialize};
use serde_json::Map;
use std::sync::Arc;
use thiserror::Error;

/// Histograms of one question: each is counted for every point.
pub const COLUMNS_MAX: usize = 32;
/// Brushes of one question.
pub const BRUSHES_MAX: usize = 32;

/// Steps of a bin at which a brush may end and still be answered from a cube: about a pixel of a chart with 64 bins.
pub const BRUSH_STEPS: usize = 16;

/// The body of `POST /{dataset}/crossfilter`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CrossfilterRequest {
    /// West, south, east, north in degrees: histograms count inside. Everywhere where there is none.
    #[serde(default)]
    pub bbox: Option<[f64; 4]>,
    /// The map's zoom; of no consequence for counts.
    #[serde(default)]
    pub zoom: Option<f64>,
    /// By column: of numbers and times `[lo, hi]`, half-open but at the column's maximum, null ends open; of texts and booleans a
    /// list of values, null among them for points without one.
    #[serde(default)]
    pub brushes: Map<String, serde_json::Value>,
    /// Whose histograms are wanted.
    #[serde(default)]
    pub columns: Vec<ColumnQuestion>,
    /// The column whose brush is about to be dragged, because the pointer has come to it: [`Crossfilter::prepare`] builds what
    /// answers its steps.
    #[serde(default)]
    pub active: Option<String>,
    /// CQL2 text that everything is under, besides the brushes.
    #[serde(default)]
    pub filter: String,
    /// The column by whose values counts are kept apart; the caller resolves it.
    #[serde(default)]
    pub by: Option<String>,
    /// Who asks: a newer question of the same client makes an older one moot. The caller's subject.
    #[serde(default)]
    pub client: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct CrossfilterAnswer {
    /// By column, in the order asked.
    pub histograms: Map<String, serde_json::Value>,
    /// Points inside the box, under all brushes.
    pub selected: u64,
    /// Points anywhere, under all brushes.
    pub selected_total: u64,
    /// Points of the dataset.
    pub total: u64,
    /// CQL2 text of the filter and all brushes, for tile URLs; empty where everything passes.
    pub filter: String,
}

#[derive(Debug, Error)]
pub enum CrossfilterError {
    #[error(transparent)]
    Filter(#[from] FilterError),
    #[error(transparent)]
    Histogram(#[from] HistogramError),
    #[error("the brush of '{column}' is {found}: {wanted}")]
    Brush { column: String, found: String, wanted: &'static str },
    #[error("{0} is not a box: give west, south, east, north in degrees, with south not above north")]
    Box(String),
    #[error("{asked} {what} are too many: ask for at most {limit}")]
    TooMany { what: &'static str, asked: usize, limit: usize },
    #[error(transparent)]
    Engine(#[from] EngineError),
}

/// Answers linked histograms of one dataset, and remembers what a dragged brush needs.
pub struct Crossfilter {
    dataset: Arc<Dataset>,
    /// Counts.
    engine: Arc<dyn Engine>,
    /// Makes cubes and means.
    host: CpuEngine,
    cubes: Cubes,
}

/// A request in keys.
pub struct CrossfilterQuestion {
    plans: Vec<ColumnPlan>,
    base: Arc<Filter>,
    brushes: Vec<(Brush, String)>,
    groups: Arc<Groups>,
    /// Whether counts are kept apart by them.
    is_grouped: bool,
    area: Option<Region>,
    /// The column whose brush is about to be dragged.
    active: Option<ColumnId>,
    filter: String,
}

impl Crossfilter {
    pub fn new(dataset: Arc<Dataset>, engine: Arc<dyn Engine>) -> Crossfilter {
        let host = CpuEngine::new(dataset.clone());
        Crossfilter { dataset, engine, host, cubes: Cubes::default() }
    }

    /// Answers a request; `groups` are those of its `by`, or `None` where counts need not be kept apart.
    ///
    /// # Errors
    /// A request that makes no sense (all variants but `Engine`), or one that is no longer wanted.
    pub fn answer(
        &self,
        request: &CrossfilterRequest,
        groups: Option<&Arc<Groups>>,
        cancel: &Cancel,
    ) -> Result<CrossfilterAnswer, CrossfilterError> {
        self.answer_to(&self.question(request, groups)?, cancel)
    }

    /// As [`Crossfilter::answer`], for who goes on to [`Crossfilter::prepare`].
    ///
    /// # Errors
    /// The answer is no longer wanted.
    pub fn answer_to(&self, question: &CrossfilterQuestion, cancel: &Cancel) -> Result<CrossfilterAnswer, CrossfilterError> {
        let contexts = question.contexts();
        let (plans, counts) = match self.answered_by_cubes(question, &contexts, cancel)? {
            Some(answered) => answered,
            None => self.directly(question, cancel)?,
        };
        let groups = question.is_grouped.then_some(&*question.groups);
        self.cubes.saw(contexts.into_iter().map(|(_, context)| context));
        let mut histograms = Map::new();
        for (plan, histogram) in plans.iter().zip(&counts.histograms) {
            let answer = plan.answer(histogram, groups, &self.dataset);
            let value = serde_json::to_value(&answer).expect("a histogram has no keys that are not text");
            histograms.insert(answer.column, value);
        }
        Ok(CrossfilterAnswer {
            histograms,
            selected: counts.selected,
            selected_total: counts.selected_total,
            total: self.dataset.rows(),
            filter: question.filter.clone(),
        })
    }

    /// One histogram under a filter, as `GET /{dataset}/histogram` wants it.
    ///
    /// # Errors
    /// As [`Crossfilter::answer`].
    pub fn histogram(
        &self,
        column: &ColumnQuestion,
        filter: &Arc<Filter>,
        groups: Option<&Arc<Groups>>,
        area: Option<Region>,
        cancel: &Cancel,
    ) -> Result<HistogramAnswer, CrossfilterError> {
        let question = CrossfilterQuestion {
            plans: vec![ColumnPlan::new(column, &self.dataset)?],
            base: filter.clone(),
            brushes: Vec::new(),
            groups: groups.cloned().unwrap_or_else(|| Arc::new(Groups::none(&self.dataset))),
            is_grouped: groups.is_some(),
            area: area.filter(|area| !self.holds_everything(area)),
            active: None,
            filter: String::new(),
        };
        let (plans, counts) = self.directly(&question, cancel)?;
        Ok(plans[0].answer(&counts.histograms[0], groups.map(|groups| &**groups), &self.dataset))
    }

    /// Summaries of all number and time columns under a filter, inside an area: what `GET /{dataset}/stats?filter=&bbox=` tells.
    ///
    /// # Errors
    /// The answer is no longer wanted.
    pub fn summaries(&self, filter: &Filter, area: Option<Region>, cancel: &Cancel) -> Result<Vec<Summary>, CrossfilterError> {
        let area = area.filter(|area| !self.holds_everything(area));
        Ok(summaries(&self.dataset, &self.host, filter, area.as_ref(), cancel)?)
    }

    /// Resolves a request; `groups` as for [`Crossfilter::answer`].
    ///
    /// # Errors
    /// A request that makes no sense.
    pub fn question(&self, request: &CrossfilterRequest, groups: Option<&Arc<Groups>>) -> Result<CrossfilterQuestion, CrossfilterError> {
        for (what, asked, limit) in
            [("columns", request.columns.len(), COLUMNS_MAX), ("brushes", request.brushes.len(), BRUSHES_MAX)]
        {
            if asked > limit {
                return Err(CrossfilterError::TooMany { what, asked, limit });
            }
        }
        let base = parse(&request.filter)?;
        let mut terms: Vec<Expr> = base.iter().cloned().collect();
        let mut brushes: Vec<(Brush, String)> = Vec::new();
        for (column, value) in &request.brushes {
            let Some(expr) = brush::expr(column, value, &self.dataset)? else { continue };
            let filter = Filter::bind(&expr, &self.dataset)?;
            let id = self.dataset.column_id(column).expect("the brush's column was found");
            let ranges = match filter.predicate() {
                Predicate::Keys { ranges, .. } => ranges.clone(),
                Predicate::All => vec![(0, u64::MAX)],
                _ => Vec::new(),
            };
            brushes.push((Brush { column: id, ranges }, filter.canonical().to_owned()));
            terms.push(expr);
        }
        let filter = if terms.is_empty() { Filter::all() } else { Filter::bind(&Expr::And(terms), &self.dataset)? };
        let base = match base {
            Some(expr) => Filter::bind(&expr, &self.dataset)?,
            None => Filter::all(),
        };
        let plans = request.columns.iter().map(|column| ColumnPlan::new(column, &self.dataset));
        Ok(CrossfilterQuestion {
            plans: plans.collect::<Result<_, _>>()?,
            base: Arc::new(base),
            brushes,
            groups: groups.cloned().unwrap_or_else(|| Arc::new(Groups::none(&self.dataset))),
            is_grouped: groups.is_some(),
            area: request.bbox.map(area_of).transpose()?.filter(|area| !self.holds_everything(area)),
            active: request.active.as_deref().map(|name| self.column(name)).transpose()?,
            filter: filter.canonical().to_owned(),
        })
    }

    fn column(&self, name: &str) -> Result<ColumnId, HistogramError> {
        Ok(ColumnPlan::new(&ColumnQuestion::Name(name.to_owned()), &self.dataset)?.column)
    }

    /// Whether an area need not be looked at. The manifest's bounds are rounded to degrees, hence the margin.
    fn holds_everything(&self, area: &Region) -> bool {
        const MARGIN: u32 = 2;
        self.dataset.manifest.bounds.world_boxes().iter().all(|bounds| {
            let mut grown = *bounds;
            grown.min.x = grown.min.x.saturating_sub(MARGIN);
            grown.min.y = grown.min.y.saturating_sub(MARGIN);
            grown.max.x = grown.max.x.saturating_add(MARGIN);
            grown.max.y = grown.max.y.saturating_add(MARGIN);
            area.boxes.iter().any(|b: &WorldBox| b.contains_box(&grown))
        })
    }

    /// One pass over the points; two, where the values of a column must be ranked before they are shown.
    fn directly(&self, question: &CrossfilterQuestion, cancel: &Cancel) -> Result<(Vec<ColumnPlan>, LinkedCounts), CrossfilterError> {
        let plans = self.ranked(question, cancel)?;
        let counts = self.engine.linked_counts(&question.linked(&plans, &self.dataset, None), cancel)?;
        Ok((plans, counts))
    }

    fn ranked(&self, question: &CrossfilterQuestion, cancel: &Cancel) -> Result<Vec<ColumnPlan>, EngineError> {
        let wanting: Vec<&ColumnPlan> = question.plans.iter().filter(|plan| plan.wants_ranking(&self.dataset)).collect();
        if wanting.is_empty() {
            return Ok(question.plans.clone());
        }
        let mut linked = question.linked(&[], &self.dataset, None);
        linked.groups = Arc::new(Groups::none(&self.dataset));
        linked.histograms = wanting.iter().map(|plan| plan.request(&self.dataset)).collect();
        let mut counted = self.engine.linked_counts(&linked, cancel)?.histograms.into_iter();
        let ranked = |plan: &ColumnPlan| match plan.wants_ranking(&self.dataset) {
            true => plan.ranked(&counted.next().expect("it was counted"), &self.dataset),
            false => plan.clone(),
        };
        Ok(question.plans.iter().map(ranked).collect())
    }
}

impl CrossfilterQuestion {
    /// Whether it says which brush is about to be dragged.
    pub fn has_active(&self) -> bool {
        self.active.is_some()
    }

    fn brush(&self, column: ColumnId) -> Option<&Brush> {
        self.brushes.iter().map(|(brush, _)| brush).find(|brush| brush.column == column)
    }

    /// The brush of a column, or one that lets everything through.
    fn brush_or_all(&self, column: ColumnId) -> Brush {
        self.brush(column).cloned().unwrap_or_else(|| Brush { column, ranges: vec![(0, u64::MAX)] })
    }

    fn linked(&self, plans: &[ColumnPlan], dataset: &Dataset, active: Option<Active>) -> LinkedQuestion {
        let histograms: Vec<HistogramRequest> = plans.iter().map(|plan| plan.request(dataset)).collect();
        LinkedQuestion {
            base: self.base.predicate().clone(),
            brushes: self.brushes.iter().map(|(brush, _)| brush.clone()).collect(),
            histograms,
            groups: self.groups.clone(),
            area: self.area.clone(),
            active,
        }
    }

    /// Per column that a brush may be dragged on: everything of the question but that brush, as text.
    fn contexts(&self) -> Vec<(ColumnId, String)> {
        let mut columns: Vec<ColumnId> = self.plans.iter().map(|plan| plan.column).collect();
        columns.extend(self.brushes.iter().map(|(brush, _)| brush.column).chain(self.active));
        columns.sort_unstable();
        columns.dedup();
        let common = format!("{:?}|{:?}|{:?}|{}", self.plans, self.area, self.groups.column(), self.base.canonical());
        columns
            .into_iter()
            .map(|column| {
                let mut others: Vec<&str> =
                    self.brushes.iter().filter(|(brush, _)| brush.column != column).map(|(_, text)| text.as_str()).collect();
                others.sort_unstable();
                (column, format!("{}|{}|{common}", column.0, others.join(" AND ")))
            })
            .collect()
    }
}

/// # Errors
/// Numbers that are no box.
pub fn area_of(bbox: [f64; 4]) -> Result<Region, CrossfilterError> {
    let text = bbox.map(|edge| edge.to_string()).join(",");
    let degrees: LonLatBox = text.parse().map_err(|_| CrossfilterError::Box(text))?;
    Ok(Region::of_boxes(degrees.world_boxes()))
}
