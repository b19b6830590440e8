//! Histograms in the units of values: what a client asks, what the engines are asked in keys, and the answer with labels.
//!
//! Bins of numbers and times are half-open, `lo <= value < hi`, but the last, which ends at the column's maximum and includes
//! it. Edges become keys by comparison with the values of keys, so a bin's count is exactly SQL's. This module knows nothing
//! of HTTP.

mod axis;
mod summary;

pub use summary::{QUANTILES, Quantile, Summary, summaries};

use crate::dataset::{ColumnId, ColumnKind, Dataset, Value};
use crate::engine::{Bins, Groups, Histogram, HistogramRequest};
use crate::filter::{Literal, Number, first_key_at_least, nearest, nearest_hint};
use axis::Edges;
use serde::{Deserialize, Serialize};
use std::cmp::Reverse;
use thiserror::Error;

/// Bins of a number or time unless the client says otherwise: what a chart of some 300 pixels shows.
pub const BINS_DEFAULT: usize = 64;
pub const BINS_MAX: usize = 1024;
/// Values of a text column that are shown by themselves unless the client says otherwise.
pub const VALUES_DEFAULT: usize = 30;
pub const VALUES_MAX: usize = 1000;

/// Texts and booleans with at most this many values are always counted value by value.
const VALUES_COUNTED: usize = 128;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Scale {
    #[default]
    Linear,
    Log10,
}

/// What a client wants to see of a column: its name, or a name with particulars.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum ColumnQuestion {
    Name(String),
    Full(Box<FullQuestion>),
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FullQuestion {
    pub column: String,
    #[serde(default)]
    pub bins: Option<usize>,
    #[serde(default)]
    pub scale: Scale,
    /// The axis of a number, instead of the data's own: from `min` to under `max`.
    #[serde(default)]
    pub min: Option<f64>,
    #[serde(default)]
    pub max: Option<f64>,
    /// Of a text column, only values that contain this, whatever their case, are shown by themselves.
    #[serde(default)]
    pub search: Option<String>,
    /// Of a text column, how many values are shown by themselves.
    #[serde(default)]
    pub limit: Option<usize>,
}

#[derive(Clone, Debug, Error, PartialEq)]
pub enum HistogramError {
    #[error("there is no column '{name}'; {}the columns are {}", nearest_hint(nearest.as_deref()), .known.join(", "))]
    UnknownColumn { name: String, nearest: Option<String>, known: Vec<String> },
    #[error("{what} of {asked} is not possible: ask for 1 to {limit}")]
    OutOfRange { what: &'static str, asked: usize, limit: usize },
    #[error("an axis from {min} to {max} is empty: min must be less than max")]
    EmptyAxis { min: f64, max: f64 },
    #[error("an axis cannot end at {0}: give min and max as numbers")]
    EndlessAxis(f64),
    #[error("column '{column}' is {kind}, and min and max are of numbers: leave them out, or filter instead")]
    NoAxis { column: String, kind: &'static str },
}

/// The answer for one column.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct HistogramAnswer {
    pub column: String,
    #[serde(rename = "type")]
    pub kind: ColumnKind,
    pub bins: Vec<Bin>,
    /// Of times: `second`, `minute`, `hour`, `day`, `week`, `month`, `year` (or several), or `span`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unit: Option<&'static str>,
    /// Of texts: values not shown by themselves.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub other: Option<Other>,
    pub nulls: u64,
    /// Points with a value beyond the axis.
    #[serde(skip_serializing_if = "is_zero")]
    pub outside: u64,
    /// All points counted: in bins, other, outside and null.
    pub total: u64,
}

fn is_zero(n: &u64) -> bool {
    *n == 0
}

#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(untagged)]
pub enum Bin {
    Range {
        lo: Edge,
        hi: Edge,
        count: u64,
        /// Per group, where the points are kept apart.
        #[serde(skip_serializing_if = "Option::is_none")]
        counts: Option<Vec<u64>>,
    },
    Value {
        value: Value,
        count: u64,
        #[serde(skip_serializing_if = "Option::is_none")]
        counts: Option<Vec<u64>>,
    },
}

#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(untagged)]
pub enum Edge {
    Integer(i64),
    Number(f64),
    /// ISO 8601, UTC.
    Time(String),
}

#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Other {
    /// How many values.
    pub values: u64,
    pub count: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub counts: Option<Vec<u64>>,
}

/// A question about a column, in terms of its keys.
#[derive(Clone, Debug)]
pub struct ColumnPlan {
    pub column: ColumnId,
    shape: Shape,
}

#[derive(Clone, Debug)]
enum Shape {
    Ranges { edges: Edges, keys: Vec<u64> },
    Values { limit: usize, search: Option<String>, shown: Shown },
}

/// Which values have a bin.
#[derive(Clone, Debug, PartialEq)]
enum Shown {
    Every,
    /// These keys, in this order.
    Keys(Vec<u64>),
}

impl ColumnPlan {
    /// # Errors
    /// An unknown column, or numbers out of range.
    pub fn new(question: &ColumnQuestion, dataset: &Dataset) -> Result<ColumnPlan, HistogramError> {
        let full = match question {
            ColumnQuestion::Name(name) => &FullQuestion { column: name.clone(), ..FullQuestion::default() },
            ColumnQuestion::Full(full) => &**full,
        };
        let Some(column) = dataset.column_id(&full.column) else {
            let nearest = nearest(&full.column, dataset.columns().iter().map(|column| column.name.as_str()));
            let known = dataset.columns().iter().map(|column| column.name.clone()).collect();
            return Err(HistogramError::UnknownColumn { name: full.column.clone(), nearest, known });
        };
        let kind = dataset.column(column).kind;
        if (full.min.is_some() || full.max.is_some()) && !matches!(kind, ColumnKind::Integer | ColumnKind::Float) {
            let kind = match kind {
                ColumnKind::Timestamp => "a time",
                ColumnKind::Boolean => "a boolean",
                _ => "text",
            };
            return Err(HistogramError::NoAxis { column: full.column.clone(), kind });
        }
        let shape = match kind {
            ColumnKind::Text | ColumnKind::Boolean => Shape::Values {
                limit: within("limit", full.limit.unwrap_or(VALUES_DEFAULT), VALUES_MAX)?,
                search: full.search.clone().filter(|search| !search.is_empty()),
                shown: Shown::Every,
            },
            _ => ranges(full, dataset, column)?,
        };
        Ok(ColumnPlan { column, shape })
    }

    /// Whether the values that are shown by themselves must first be found, by counting all of them.
    pub fn wants_ranking(&self, dataset: &Dataset) -> bool {
        matches!(&self.shape, Shape::Values { shown: Shown::Every, .. })
            && dataset.column(self.column).key_max > VALUES_COUNTED as u64
    }

    /// The plan with the values that `counted` (an answer to this plan's request) ranks first.
    pub fn ranked(&self, counted: &Histogram, dataset: &Dataset) -> ColumnPlan {
        let Shape::Values { limit, search, .. } = &self.shape else { return self.clone() };
        let keys = self.top(counted, dataset, *limit, search.as_deref());
        let shape = Shape::Values { limit: *limit, search: search.clone(), shown: Shown::Keys(keys) };
        ColumnPlan { column: self.column, shape }
    }

    pub fn request(&self, dataset: &Dataset) -> HistogramRequest {
        let key_max = dataset.column(self.column).key_max;
        let bins = match &self.shape {
            Shape::Ranges { keys, .. } => Bins::Edges(keys.clone()),
            Shape::Values { shown: Shown::Every, .. } => Bins::each_key(key_max),
            Shape::Values { shown: Shown::Keys(keys), .. } => {
                let mut bin_of_key = vec![Bins::NONE; key_max as usize + 1];
                for (bin, &key) in keys.iter().enumerate() {
                    bin_of_key[key as usize] = bin as u16;
                }
                Bins::OfKey { bin_of_key, bins: keys.len() }
            }
        };
        HistogramRequest { column: self.column, bins }
    }

    /// Keys at which bins begin, and `parts` even parts of them: where a brush may be expected to begin or end.
    pub fn brush_keys(&self, dataset: &Dataset, parts: usize) -> Vec<u64> {
        let Shape::Ranges { edges, keys } = &self.shape else {
            return (0..=dataset.column(self.column).key_max).collect();
        };
        let mut all = keys.clone();
        for bin in 0..keys.len() - 1 {
            for part in 1..parts {
                let literal = edges.between(bin, part as f64 / parts as f64);
                all.extend(literal.map(|literal| first_key_at_least(dataset, self.column, &literal)));
            }
        }
        all
    }

    /// Labels the counts that an engine gave for [`ColumnPlan::request`].
    pub fn answer(&self, histogram: &Histogram, groups: Option<&Groups>, dataset: &Dataset) -> HistogramAnswer {
        let described = dataset.column(self.column);
        let counts = |bin: usize| groups.map(|groups| (0..groups.len()).map(|g| histogram.counts[g * histogram.bins + bin]).collect());
        let nulls = histogram.nulls.iter().sum::<u64>();
        let in_bins = histogram.counts.iter().sum::<u64>();
        let beyond = histogram.outside.iter().sum::<u64>();
        let (bins, unit, other, outside) = match &self.shape {
            Shape::Ranges { edges, .. } => {
                let bins = (0..histogram.bins)
                    .map(|bin| Bin::Range { lo: edges.label(bin), hi: edges.label(bin + 1), count: histogram.total(bin), counts: counts(bin) })
                    .collect();
                (bins, edges.unit(), None, beyond)
            }
            Shape::Values { limit, search, shown } => {
                let keys = match shown {
                    Shown::Keys(keys) => keys.clone(),
                    Shown::Every => self.top(histogram, dataset, *limit, search.as_deref()),
                };
                let bin_of = |place: usize, key: u64| if *shown == Shown::Every { key as usize - 1 } else { place };
                let bins: Vec<Bin> = keys
                    .iter()
                    .enumerate()
                    .map(|(place, &key)| {
                        let bin = bin_of(place, key);
                        Bin::Value { value: dataset.value(self.column, key), count: histogram.total(bin), counts: counts(bin) }
                    })
                    .collect();
                let count_of = |bin: &Bin| match bin {
                    Bin::Range { count, .. } | Bin::Value { count, .. } => *count,
                };
                let shown_count: u64 = bins.iter().map(count_of).sum();
                let values = described.key_max - keys.len() as u64;
                let by_group = groups.map(|groups| {
                    let of_group = |g: usize| {
                        let all: u64 = histogram.counts[g * histogram.bins..][..histogram.bins].iter().sum();
                        let shown: u64 = keys.iter().enumerate().map(|(i, &k)| histogram.counts[g * histogram.bins + bin_of(i, k)]).sum();
                        all - shown + histogram.outside[g]
                    };
                    (0..groups.len()).map(of_group).collect()
                });
                let other = Other { values, count: in_bins - shown_count + beyond, counts: by_group };
                (bins, None, (values > 0).then_some(other), 0)
            }
        };
        let name = described.name.clone();
        HistogramAnswer { column: name, kind: described.kind, bins, unit, other, nulls, outside, total: in_bins + beyond + nulls }
    }

    /// The most frequent keys of an answer that counted every key; of equals the first, and booleans in their order.
    fn top(&self, counted: &Histogram, dataset: &Dataset, limit: usize, search: Option<&str>) -> Vec<u64> {
        let wanted = search.map(str::to_lowercase);
        let is_wanted = |key: u64| match (&wanted, dataset.dictionary(self.column).and_then(|d| d.text(key))) {
            (Some(wanted), Some(text)) => text.to_lowercase().contains(wanted),
            _ => true,
        };
        let mut keys: Vec<(u64, u64)> = (1..=dataset.column(self.column).key_max)
            .map(|key| (counted.total(key as usize - 1), key))
            .filter(|&(count, key)| (count > 0 || counted.bins <= VALUES_COUNTED) && is_wanted(key))
            .collect();
        if dataset.column(self.column).kind == ColumnKind::Text {
            keys.sort_unstable_by_key(|&(count, key)| (Reverse(count), key));
        }
        keys.truncate(limit);
        keys.into_iter().map(|(_, key)| key).collect()
    }
}

fn within(what: &'static str, asked: usize, limit: usize) -> Result<usize, HistogramError> {
    if (1..=limit).contains(&asked) { Ok(asked) } else { Err(HistogramError::OutOfRange { what, asked, limit }) }
}

fn ranges(question: &FullQuestion, dataset: &Dataset, column: ColumnId) -> Result<Shape, HistogramError> {
    let described = dataset.column(column);
    let bins = within("a number of bins", question.bins.unwrap_or(BINS_DEFAULT), BINS_MAX)?;
    if let Some(endless) = [question.min, question.max].into_iter().flatten().find(|end| !end.is_finite()) {
        return Err(HistogramError::EndlessAxis(endless));
    }
    if let (Some(min), Some(max)) = (question.min, question.max)
        && min >= max
    {
        return Err(HistogramError::EmptyAxis { min, max });
    }
    let edges = match (&described.min, &described.max) {
        (Value::Integer(min), Value::Integer(max)) => {
            let min = question.min.map_or(*min, |min| min.ceil() as i64);
            // The axis ends before its `max`.
            let max = question.max.map_or(*max, |max| (max.ceil() as i64).saturating_sub(1)).max(min);
            axis::integers(min, max, bins, question.scale)
        }
        (Value::Timestamp { us: min }, Value::Timestamp { us: max }) => axis::times(*min, *max, bins),
        (Value::Float(min), Value::Float(max)) => {
            let finite = |value: f64| value.clamp(f64::MIN, f64::MAX);
            let (min, max) = (question.min.unwrap_or(finite(*min)), question.max.unwrap_or(finite(*max)));
            axis::numbers(min, max.max(min), bins, question.scale)
        }
        // Every value is null: one bin, that nothing is in.
        _ => Edges::Numbers(vec![0.0, 1.0]),
    };
    let mut keys: Vec<u64> = (0..edges.len()).map(|i| first_key_at_least(dataset, column, &edges.literal(i))).collect();
    let ends_with_data = match (&edges, &described.max) {
        (Edges::Numbers(edges), Value::Float(max)) => edges[edges.len() - 1] >= max.clamp(f64::MIN, f64::MAX),
        (Edges::Integers(edges), Value::Integer(max)) => edges[edges.len() - 1] >= *max && question.max.is_none(),
        (Edges::Times { us, .. }, Value::Timestamp { us: max }) => us[us.len() - 1] >= *max,
        _ => false,
    };
    if ends_with_data && let Some(last) = keys.last_mut() {
        *last = described.key_max.saturating_add(1);
    }
    Ok(Shape::Ranges { edges, keys })
}

impl Edges {
    fn len(&self) -> usize {
        match self {
            Edges::Integers(edges) => edges.len(),
            Edges::Numbers(edges) => edges.len(),
            Edges::Times { us, .. } => us.len(),
        }
    }

    fn literal(&self, i: usize) -> Literal {
        match self {
            Edges::Integers(edges) => Literal::Number(Number::from_i64(edges[i])),
            Edges::Numbers(edges) => Literal::Number(Number::from_f64(edges[i]).expect("edges are finite")),
            Edges::Times { us, .. } => Literal::Time { ns: i128::from(us[i]) * 1000 },
        }
    }

    /// The value at a fraction of a bin, as a client computes it: `lo + (hi - lo) * fraction`, of times in milliseconds.
    fn between(&self, bin: usize, fraction: f64) -> Option<Literal> {
        let between = |lo: f64, hi: f64| lo + (hi - lo) * fraction;
        Some(match self {
            Edges::Integers(edges) => Literal::Number(Number::from_f64(between(edges[bin] as f64, edges[bin + 1] as f64))?),
            Edges::Numbers(edges) => Literal::Number(Number::from_f64(between(edges[bin], edges[bin + 1]))?),
            Edges::Times { us, .. } => {
                let ms = |us: i64| us as f64 / 1000.0;
                Literal::Time { ns: between(ms(us[bin]), ms(us[bin + 1])).round() as i128 * 1_000_000 }
            }
        })
    }

    fn label(&self, i: usize) -> Edge {
        match self {
            Edges::Integers(edges) => Edge::Integer(edges[i]),
            Edges::Numbers(edges) => Edge::Number(edges[i]),
            Edges::Times { us, .. } => Edge::Time(Value::Timestamp { us: us[i] }.to_string()),
        }
    }

    fn unit(&self) -> Option<&'static str> {
        match self {
            Edges::Times { unit, .. } => Some(unit),
            _ => None,
        }
    }
}
