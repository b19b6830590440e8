//! Summaries of number and time columns: count, smallest, largest, mean and quantiles, exact, over a filter and an area.
//!
//! A quantile is SQL's `quantile_disc`: the smallest value that at least that share of the values does not exceed. Its key is
//! found by counting keys in ever finer bins around it: three passes for 32-bit keys, all columns and quantiles at once.

use crate::dataset::{ColumnId, ColumnKind, Dataset, Value};
use crate::engine::cpu::CpuEngine;
use crate::engine::{Bins, Cancel, Engine, EngineError, Groups, HistogramRequest, LinkedQuestion};
use crate::filter::{Filter, Region};
use serde::Serialize;
use std::sync::Arc;

/// The quantiles that are told.
pub const QUANTILES: [f64; 5] = [0.05, 0.25, 0.5, 0.75, 0.95];

/// Parts that the keys around a quantile are divided into at a pass.
const FANOUT: u64 = 1024;

#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Summary {
    pub column: String,
    #[serde(rename = "type")]
    pub kind: ColumnKind,
    /// Points with a value.
    pub count: u64,
    pub nulls: u64,
    pub min: Value,
    pub max: Value,
    /// Of times, in microseconds since the epoch.
    pub mean: Option<f64>,
    pub quantiles: Vec<Quantile>,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Quantile {
    pub share: f64,
    pub value: Value,
}

/// One order statistic that is being looked for: the `rank`-th smallest (from 0) of the keys `from..to`.
#[derive(Clone, Copy)]
struct Search {
    from: u64,
    to: u64,
    rank: u64,
}

/// Summaries of all number and time columns.
///
/// # Errors
/// The answer is no longer wanted.
pub fn summaries(
    dataset: &Arc<Dataset>,
    engine: &CpuEngine,
    filter: &Filter,
    area: Option<&Region>,
    cancel: &Cancel,
) -> Result<Vec<Summary>, EngineError> {
    let wanted = |kind| matches!(kind, ColumnKind::Integer | ColumnKind::Float | ColumnKind::Timestamp);
    let columns: Vec<ColumnId> =
        (0..dataset.columns().len()).map(ColumnId).filter(|&id| wanted(dataset.column(id).kind)).collect();
    let count = |bins: Vec<Vec<u64>>| {
        let histograms = columns.iter().zip(bins).map(|(&column, edges)| HistogramRequest { column, bins: Bins::Edges(edges) });
        let question = LinkedQuestion {
            base: filter.predicate().clone(),
            brushes: Vec::new(),
            histograms: histograms.collect(),
            groups: Arc::new(Groups::none(dataset)),
            area: area.cloned(),
            active: None,
        };
        engine.linked_counts(&question, cancel).map(|counts| counts.histograms)
    };
    let means = engine.means(filter.predicate(), &columns, area, cancel)?;
    let nulls: Vec<u64> = count(columns.iter().map(|_| vec![1, u64::MAX]).collect())?.iter().map(|h| h.nulls[0]).collect();
    // Smallest, quantiles, largest.
    let mut searches: Vec<Vec<Search>> = columns
        .iter()
        .zip(&means)
        .map(|(&id, mean)| {
            let to = dataset.column(id).key_max.saturating_add(1);
            let rank = |share: f64| ((share * mean.count as f64).ceil() as u64).clamp(1, mean.count.max(1)) - 1;
            let ranks = [0].into_iter().chain(QUANTILES.map(rank)).chain([mean.count.saturating_sub(1)]);
            ranks.map(|rank| Search { from: 1, to, rank }).collect()
        })
        .collect();
    while searches.iter().flatten().any(|search| search.to - search.from > 1) {
        let edges: Vec<Vec<u64>> = searches.iter().map(|searches| finer(searches)).collect();
        let counted = count(edges.clone())?;
        for ((searches, edges), histogram) in searches.iter_mut().zip(&edges).zip(&counted) {
            searches.iter_mut().for_each(|search| search.narrow(edges, &histogram.counts));
        }
    }
    let summary = |((&id, mean), (searches, nulls)): ((&ColumnId, &crate::engine::cpu::Mean), (&Vec<Search>, u64))| {
        let column = dataset.column(id);
        let value = |search: &Search| if mean.count == 0 { Value::Null } else { dataset.value(id, search.from) };
        let inner = &searches[1..=QUANTILES.len()];
        Summary {
            column: column.name.clone(),
            kind: column.kind,
            count: mean.count,
            nulls,
            min: value(&searches[0]),
            max: value(&searches[QUANTILES.len() + 1]),
            mean: mean.mean,
            quantiles: QUANTILES.iter().zip(inner).map(|(&share, search)| Quantile { share, value: value(search) }).collect(),
        }
    };
    Ok(columns.iter().zip(&means).zip(searches.iter().zip(nulls)).map(summary).collect())
}

/// Edges that divide the keys of every search.
fn finer(searches: &[Search]) -> Vec<u64> {
    let mut edges: Vec<u64> = searches
        .iter()
        .flat_map(|search| {
            let step = ((search.to - search.from).div_ceil(FANOUT)).max(1);
            let inner = (0..FANOUT).map(move |i| search.from.saturating_add(i.saturating_mul(step)));
            inner.take_while(move |&edge| edge < search.to).chain([search.to])
        })
        .collect();
    edges.sort_unstable();
    edges.dedup();
    edges
}

impl Search {
    fn narrow(&mut self, edges: &[u64], counts: &[u64]) {
        let first = edges.partition_point(|&edge| edge < self.from);
        let last = edges.partition_point(|&edge| edge < self.to);
        for bin in first..last {
            if self.rank < counts[bin] {
                (self.from, self.to) = (edges[bin], edges[bin + 1]);
                return;
            }
            self.rank -= counts[bin];
        }
        // No points: nothing is left to find.
        self.to = self.from + 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dataset::testing::{TestColumn, dataset};
    use crate::world::WorldPoint;
    use proptest::prelude::*;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]

        #[test]
        fn summaries_are_those_of_the_sorted_values(
            rows in proptest::collection::vec((proptest::option::weighted(0.9, -9_000_000_000i64..9_000_000_000),
                proptest::option::weighted(0.8, -1e6f64..1e6)), 1..300),
            least in -5_000_000_000i64..9_000_000_000,
        ) {
            let points: Vec<WorldPoint> = (0..rows.len() as u32).map(|i| WorldPoint { x: i << 20, y: 1 << 31 }).collect();
            let columns = [
                ("size", TestColumn::Integer(rows.iter().map(|row| row.0).collect())),
                ("speed", TestColumn::Float(rows.iter().map(|row| row.1).collect())),
            ];
            let (_folder, sample) = dataset(&points, &columns, 100);
            let sample = Arc::new(sample);
            let engine = CpuEngine::new(sample.clone());
            let filter = Filter::parse(&format!("size >= {least}"), &sample).unwrap();
            let answer = summaries(&sample, &engine, &filter, None, &Cancel::never()).unwrap();
            let passing: Vec<_> = rows.iter().filter(|row| row.0.is_some_and(|size| size >= least)).collect();
            let mut sizes: Vec<i64> = passing.iter().filter_map(|row| row.0).collect();
            let mut speeds: Vec<f64> = passing.iter().filter_map(|row| row.1).collect();
            sizes.sort_unstable();
            speeds.sort_by(f64::total_cmp);
            prop_assert_eq!((answer[0].count, answer[0].nulls), (sizes.len() as u64, 0));
            prop_assert_eq!((answer[1].count, answer[1].nulls), (speeds.len() as u64, (passing.len() - speeds.len()) as u64));
            let at = |share: f64, n: usize| ((share * n as f64).ceil() as usize).clamp(1, n) - 1;
            if !sizes.is_empty() {
                prop_assert_eq!(&answer[0].min, &Value::Integer(sizes[0]));
                prop_assert_eq!(&answer[0].max, &Value::Integer(sizes[sizes.len() - 1]));
                let mean = sizes.iter().map(|&v| v as i128).sum::<i128>() as f64 / sizes.len() as f64;
                prop_assert!((answer[0].mean.unwrap() - mean).abs() <= 1e-3, "{:?} {mean}", answer[0].mean);
                for quantile in &answer[0].quantiles {
                    prop_assert_eq!(&quantile.value, &Value::Integer(sizes[at(quantile.share, sizes.len())]));
                }
            }
            if speeds.is_empty() {
                prop_assert_eq!((&answer[1].min, answer[1].mean), (&Value::Null, None));
            } else {
                for quantile in &answer[1].quantiles {
                    prop_assert_eq!(&quantile.value, &Value::Float(speeds[at(quantile.share, speeds.len())]));
                }
                let mean = speeds.iter().sum::<f64>() / speeds.len() as f64;
                prop_assert!((answer[1].mean.unwrap() - mean).abs() < 1e-3);
            }
        }
    }
}
